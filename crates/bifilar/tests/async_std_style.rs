//! A chat as one writes it for async-std. Only the `use` lines differ from there, and the `Result`
//! that a `JoinHandle` gives.

use bifilar::{
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex},
    task::{self, JoinHandle},
    time::timeout,
};
use futures_util::{AsyncBufReadExt, AsyncWriteExt, StreamExt, io::BufReader};
use std::{cell::RefCell, collections::HashMap, io, rc::Rc, time::Duration};

const CLIENTS: usize = 5;
const POSTS: usize = 10;

/// Who is there. A lock for each, so that lines stay whole.
type Members = Arc<Mutex<HashMap<String, Arc<Mutex<TcpStream>>>>>;

async fn accept_loop(listener: TcpListener, members: Members) {
    let mut incoming = listener.incoming();
    while let Some(stream) = incoming.next().await {
        match stream {
            Ok(stream) => {
                let members = members.clone();
                task::spawn(async move {
                    if let Err(error) = connection_loop(stream, members).await {
                        eprintln!("connection: {error}");
                    }
                });
            }
            Err(error) => eprintln!("accept: {error}"),
        }
    }
}

/// The first line is the member's name; each other line goes to everybody else, in capitals.
async fn connection_loop(stream: TcpStream, members: Members) -> io::Result<()> {
    let mut lines = BufReader::new(&stream).lines();
    let Some(name) = lines.next().await else { return Ok(()) };
    let name = name?;
    let writer = Arc::new(Mutex::new(stream.clone()));
    members.lock().await.insert(name.clone(), writer.clone());
    writer.lock().await.write_all(format!("welcome {name}\n").as_bytes()).await?;

    while let Some(line) = lines.next().await {
        let line = line?;
        // As if it took long.
        let line = task::spawn_blocking(move || line.to_uppercase()).await.unwrap();
        let others: Vec<_> = {
            let members = members.lock().await;
            members.iter().filter(|(other, _)| **other != name).map(|(_, w)| w.clone()).collect()
        };
        for other in others {
            let post = format!("{name}: {line}\n");
            other.lock().await.write_all(post.as_bytes()).await?;
        }
    }
    members.lock().await.remove(&name);
    Ok(())
}

/// Joins, posts, reads what the others post, and leaves.
async fn client(
    name: String,
    stream: TcpStream,
    heard: Rc<RefCell<Vec<String>>>,
    all_are_there: Rc<bifilar::sync::Barrier>,
) -> io::Result<()> {
    let mut lines = BufReader::new(stream.clone()).lines();
    (&stream).write_all(format!("{name}\n").as_bytes()).await?;
    assert_eq!(lines.next().await.unwrap()?, format!("welcome {name}"));
    all_are_there.wait().await;

    let poster: JoinHandle<io::Result<()>> = task::spawn({
        let mut stream = stream.clone();
        async move {
            for post in 0..POSTS {
                stream.write_all(format!("post {post}\n").as_bytes()).await?;
                task::sleep(Duration::from_millis(1)).await;
            }
            Ok(())
        }
    });
    for _ in 0..POSTS * (CLIENTS - 1) {
        let line = lines.next().await.unwrap()?;
        heard.borrow_mut().push(line);
    }
    poster.await.unwrap()?;

    stream.shutdown(Shutdown::Write)?;
    assert!(lines.next().await.is_none(), "the server hangs up after us");
    Ok(())
}

async fn chat() -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address: SocketAddr = listener.local_addr()?;
    let members = Members::default();
    let server = task::spawn(accept_loop(listener, members.clone()));

    let heard = Rc::new(RefCell::new(Vec::new()));
    let all_are_there = Rc::new(bifilar::sync::Barrier::new(CLIENTS));
    let mut clients = Vec::new();
    for number in 0..CLIENTS {
        let stream = TcpStream::connect(address).await?;
        let (heard, all_are_there) = (heard.clone(), all_are_there.clone());
        clients.push(task::spawn_local(client(
            format!("member{number}"),
            stream,
            heard,
            all_are_there,
        )));
    }
    for client in clients {
        client.await.unwrap()?;
    }

    let mut heard = heard.take();
    assert_eq!(heard.len(), CLIENTS * (CLIENTS - 1) * POSTS);
    heard.sort_unstable();
    heard.dedup();
    assert_eq!(heard.len(), CLIENTS * POSTS);
    assert_eq!(heard[0], "member0: POST 0");
    assert!(members.lock().await.is_empty());
    server.cancel();
    assert!(server.await.unwrap_err().is_cancelled());
    Ok(())
}

#[test]
fn an_async_std_program_runs() {
    let end = task::block_on(timeout(Duration::from_secs(60), chat()));
    end.expect("in time").unwrap();
}

/// The names that belong to those of the runtime come from the same modules as there.
#[test]
fn names_of_std_are_where_async_std_has_them() {
    use bifilar::{net::IpAddr, sync::Weak, task::Context, task::Poll, task::TaskId};
    use std::{future::Future, pin::Pin};

    struct Whose(Weak<IpAddr>);
    impl Future for Whose {
        type Output = (TaskId, bool);
        fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Self::Output> {
            Poll::Ready((task::current().id(), self.0.upgrade().is_some()))
        }
    }
    task::block_on(async {
        let address = Arc::new(IpAddr::from([127, 0, 0, 1]));
        let (id, is_alive) = Whose(Arc::downgrade(&address)).await;
        assert_eq!(id, task::current().id());
        assert!(is_alive);
    });
}
