//! TCP: both styles, many readers, closing, errors, and running out of descriptors.

use bifilar::{
    Builder, Wait, WaitIter, fiber,
    net::{TcpListener, TcpStream},
    task, time,
};
use futures_util::StreamExt;
use std::{
    io::{self, ErrorKind, Read, Write},
    net::{Shutdown, SocketAddr},
    process::Command,
    time::Duration,
};

fn on_one_and_two(f: impl Fn() -> io::Result<()>) {
    for workers in [1, 2] {
        Builder::new().workers(workers).run(&f).unwrap();
    }
}

/// The other style, in a room of its own: the traits of both have the same method names.
mod in_async_style {
    use bifilar::net::TcpStream;
    use futures_util::{AsyncReadExt, AsyncWriteExt};
    use std::io;

    pub async fn send(mut stream: TcpStream, data: Vec<u8>) -> io::Result<()> {
        stream.write_all(&data).await?;
        stream.close().await
    }

    pub async fn receive(stream: TcpStream) -> io::Result<Vec<u8>> {
        let mut data = Vec::new();
        (&stream).read_to_end(&mut data).await.map(|_| data)
    }
}

/// Two ends of a connection.
fn pair() -> io::Result<(TcpStream, TcpStream)> {
    let listener = TcpListener::bind("127.0.0.1:0").wait()?;
    let client = TcpStream::connect(listener.local_addr()?).wait()?;
    Ok((client, listener.accept().wait()?.0))
}

#[test]
fn much_data_in_both_directions_at_once() {
    const LEN: usize = 4 << 20;
    on_one_and_two(|| {
        let (client, server) = pair()?;
        let data: Vec<u8> = (0..LEN).map(|i| ((i * 31) >> 3) as u8).collect();
        let send = |stream: TcpStream, data: Vec<u8>| {
            fiber::spawn(move || {
                (&stream).write_all(&data)?;
                stream.shutdown(Shutdown::Write)
            })
        };
        // One end in blocking style on two fibers, the other one in async style.
        let sender = send(client.clone(), data.clone());
        let other = task::spawn(in_async_style::send(server.clone(), data.clone()));
        let reader = task::spawn(in_async_style::receive(server));
        let mut got = Vec::new();
        (&client).read_to_end(&mut got)?;
        assert!(got == data);
        assert!(reader.join()?? == data);
        sender.join()??;
        other.join()?
    });
}

#[test]
fn a_thousand_conversations() {
    on_one_and_two(|| {
        let listener = TcpListener::bind("127.0.0.1:0").wait()?;
        let address = listener.local_addr()?;
        let server = task::spawn(async move {
            let mut incoming = listener.incoming();
            while let Some(stream) = incoming.next().await {
                let mut stream = stream.unwrap();
                // In turns an async and a blocking echo.
                drop(fiber::spawn(move || io::copy(&mut stream.clone(), &mut stream)));
            }
        });
        let clients: Vec<_> = (0..1_000_u32)
            .map(|i| {
                fiber::spawn(move || {
                    let mut stream = TcpStream::connect(address).wait()?;
                    for round in 0..5 {
                        let said = (i + round).to_be_bytes();
                        stream.write_all(&said)?;
                        let mut heard = [0; 4];
                        stream.read_exact(&mut heard)?;
                        assert_eq!(heard, said);
                    }
                    Ok::<(), io::Error>(())
                })
            })
            .collect();
        for client in clients {
            client.join()??;
        }
        server.cancel();
        Ok(())
    });
}

#[test]
fn the_end_is_seen_however_it_comes() {
    on_one_and_two(|| {
        // Data and end arrive together, before and after the reader is registered.
        for wait_first in [false, true] {
            let (mut client, mut server) = pair()?;
            let reader = fiber::spawn(move || {
                let mut got = Vec::new();
                server.read_to_end(&mut got).map(|_| got)
            });
            if wait_first {
                fiber::sleep(Duration::from_millis(2));
            }
            client.write_all(b"last words")?;
            drop(client);
            assert_eq!(reader.join()??, b"last words");
        }
        // Writing to a peer that is gone fails and kills nobody.
        let (mut client, server) = pair()?;
        drop(server);
        let error = loop {
            if let Err(error) = client.write_all(&[0; 65536]) {
                break error;
            }
        };
        assert!(matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset));
        Ok(())
    });
}

#[test]
fn several_tasks_wait_on_one_socket() {
    on_one_and_two(|| {
        let (mut client, server) = pair()?;
        let readers: Vec<_> = (0..50)
            .map(|_| {
                let mut server = server.clone();
                fiber::spawn(move || {
                    let mut one = [0];
                    server.read_exact(&mut one).map(|()| one[0])
                })
            })
            .collect();
        fiber::sleep(Duration::from_millis(1));
        for byte in 0..50 {
            client.write_all(&[byte])?;
            if byte % 10 == 0 {
                fiber::yield_now();
            }
        }
        let mut got =
            readers.into_iter().map(|reader| reader.join()?).collect::<io::Result<Vec<u8>>>()?;
        got.sort_unstable();
        assert!(got.into_iter().eq(0..50));
        Ok(())
    });
}

#[test]
fn peeking_takes_nothing_away() {
    on_one_and_two(|| {
        let (mut client, mut server) = pair()?;
        client.write_all(b"ab")?;
        server.readable().wait()?;
        let mut two = [0; 2];
        assert_eq!(server.peek(&mut two).wait()?, 2);
        server.read_exact(&mut two)?;
        assert_eq!(&two, b"ab");
        let silence = time::timeout(Duration::from_millis(2), server.readable());
        assert!(silence.wait().is_err());
        Ok(())
    });
}

#[test]
fn addresses_and_names() {
    on_one_and_two(|| {
        let listener = TcpListener::bind(("127.0.0.1", 0)).wait()?;
        let address = listener.local_addr()?;
        let closed = SocketAddr::from(([127, 0, 0, 1], 1));
        TcpStream::connect(address).wait()?;
        TcpStream::connect(address.to_string()).wait()?;
        TcpStream::connect(("localhost", address.port())).wait()?;
        TcpStream::connect(format!("localhost:{}", address.port())).wait()?;
        // The first address that answers.
        TcpStream::connect([closed, address]).wait()?;
        for (error, kind) in [
            (TcpStream::connect(closed).wait(), ErrorKind::ConnectionRefused),
            (TcpStream::connect(&[] as &[SocketAddr]).wait(), ErrorKind::InvalidInput),
            (TcpStream::connect("no port").wait(), ErrorKind::InvalidInput),
        ] {
            assert_eq!(error.unwrap_err().kind(), kind);
        }
        let taken = TcpListener::bind(address).wait().unwrap_err();
        assert_eq!(taken.kind(), ErrorKind::AddrInUse);
        Ok(())
    });
}

#[test]
fn a_cancelled_accept_loses_no_connection() {
    on_one_and_two(|| {
        let listener = TcpListener::bind("127.0.0.1:0").wait()?;
        let address = listener.local_addr()?;
        for _ in 0..20 {
            let impatient = fiber::spawn({
                let listener = listener.clone();
                move || listener.accept().wait().map(drop)
            });
            fiber::yield_now();
            impatient.cancel();
            let taken = impatient.join().is_ok();
            let client = TcpStream::connect(address).wait()?;
            if !taken {
                listener.accept().wait()?;
            }
            drop(client);
        }
        Ok(())
    });
}

#[test]
fn sockets_outlive_their_runtime_as_errors() {
    let runtime = Builder::new().workers(1).build().unwrap();
    let (mut client, _server) = runtime.block_on(async { pair() }).unwrap();
    runtime.block_on(async {
        let silence = time::timeout(Duration::from_millis(1), client.readable());
        assert!(silence.await.is_err());
    });
    drop(runtime);
    let error = client.read(&mut [0]).unwrap_err();
    assert!(error.to_string().contains("shut down"), "{error}");
    // One that was never waited for needs no reactor until then.
    let (_client, mut fresh) = bifilar::run(pair).unwrap();
    let error = fresh.read(&mut [0]).unwrap_err();
    assert!(error.to_string().contains("bifilar::run"), "{error}");
}

#[test]
fn many_listeners_streams_and_an_iterator() {
    on_one_and_two(|| {
        let listener = TcpListener::bind("127.0.0.1:0").wait()?;
        let address = listener.local_addr()?;
        let clients = fiber::spawn(move || {
            (0..100).map(|_| TcpStream::connect(address).wait()).collect::<io::Result<Vec<_>>>()
        });
        let other = listener.clone();
        let half = fiber::spawn(move || other.incoming().wait_iter().take(50).count());
        assert_eq!(listener.incoming().wait_iter().take(50).count(), 50);
        assert_eq!(half.join()?, 50);
        clients.join()?.map(drop)
    });
}

/// In a process of its own, which may have few descriptors and need not share them.
#[test]
fn a_listener_survives_running_out_of_descriptors() {
    const CHILD: &str = "BIFILAR_TEST_FEW_DESCRIPTORS";
    if std::env::var_os(CHILD).is_some() {
        return on_one_and_two(run_out_of_descriptors);
    }
    let test = "a_listener_survives_running_out_of_descriptors";
    let child = Command::new("sh")
        .args(["-c", "ulimit -n 64; exec \"$0\" \"$@\""])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(CHILD, "1")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&child.stdout);
    assert!(child.status.success(), "{text}{}", String::from_utf8_lossy(&child.stderr));
    assert!(text.contains("1 passed"), "{text}");
}

fn run_out_of_descriptors() -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").wait()?;
    let address = listener.local_addr()?;
    // Their connections wait in the listener's queue, where they cost no descriptor.
    let mut early = TcpStream::connect(address).wait()?;
    let late = TcpStream::connect(address).wait()?;

    // Leaves one descriptor, for the first connection.
    let mut hoard = Vec::new();
    let full = loop {
        match std::fs::File::open("/dev/null") {
            Ok(file) => hoard.push(file),
            Err(error) => break error,
        }
    };
    hoard.pop();

    let mut incoming = listener.incoming().wait_iter();
    let mut first = incoming.next().unwrap()?;
    for _ in 0..2 {
        let error = incoming.next().unwrap().unwrap_err();
        assert_eq!(error.raw_os_error(), full.raw_os_error(), "{error}");
    }
    // Who is in is served meanwhile.
    early.write_all(b"served")?;
    let mut served = [0; 6];
    first.read_exact(&mut served)?;
    assert_eq!(&served, b"served");

    drop(hoard);
    let second = incoming.next().unwrap()?;
    assert_eq!(second.peer_addr()?, late.local_addr()?);
    let third = TcpStream::connect(address).wait()?;
    assert_eq!(incoming.next().unwrap()?.peer_addr()?, third.local_addr()?);
    Ok(())
}
