//! What fibers and tasks promise beyond the others, since their waits can be interrupted: what had
//! arrived when the signal came is taken as well, also from very many at once.

use std::{
    fs,
    net::{SocketAddr, TcpStream},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use bifilar::{net, sync::Semaphore, task};
use futures_util::{AsyncReadExt, AsyncWriteExt};
use rustix::process::{Resource, Signal, getrlimit, setrlimit};
use serde_json::json;

use crate::{PATIENCE, in_styles, server::Server};

in_styles! { [fibers tasks] [what_had_arrived_is_delivered ten_thousand_are_told_the_same] }

fn what_had_arrived_is_delivered(style: &str) {
    const MESSAGES: usize = 900; // fewer than a member may lag
    const MISTAKES: usize = 200; // more than a reader may be ahead of its writer
    let mut server = Server::start(style);
    let (mut member, mut poster) = (server.member("Dogs"), server.client());
    let (mut mistaken, mut joiner) = (server.client(), server.client());
    joiner.fence();
    // While it stands still, everything stays in the kernel.
    server.signal(Signal::STOP);
    joiner.join("Dogs");
    arrived(&joiner.stream);
    (0..MESSAGES).for_each(|n| poster.post("Dogs", &n.to_string()));
    mistaken.send("?\n".repeat(MISTAKES));
    mistaken.post("Dogs", "after all");
    [&poster, &mistaken].iter().for_each(|client| arrived(&client.stream));
    server.signal(Signal::INT);
    server.signal(Signal::CONT);

    let mut messages: Vec<_> = (0..=MESSAGES).map(|_| member.line().unwrap()).collect();
    member.goodbye();
    let line = |text: &str| json!({"Message": {"group_name": "Dogs", "message": text}}).to_string();
    let last = messages.iter().position(|message| *message == line("after all"));
    messages.remove(last.expect("it is delivered, somewhere"));
    for (n, message) in messages.iter().enumerate() {
        assert_eq!(*message, line(&n.to_string()));
    }
    for _ in 0..MISTAKES {
        assert_eq!(mistaken.error(), "Bad JSON: expected value at column 1");
    }
    mistaken.goodbye();
    poster.goodbye();
    let goodbye = json!({"Goodbye": "The server is shutting down"});
    while joiner.next().expect("a goodbye, not the end") != goodbye {}
    joiner.end();
    drop((member, joiner, mistaken, poster));
    assert_eq!(server.ended().code(), Some(0));
}

/// Waits until the peer's kernel has taken everything that was sent: the queue of unacknowledged
/// bytes is empty.
fn arrived(stream: &TcpStream) {
    let hex = |address: SocketAddr| format!(":{:04X}", address.port());
    let local = hex(stream.local_addr().unwrap());
    let peer = hex(stream.peer_addr().unwrap());
    let end = Instant::now() + PATIENCE;
    loop {
        let table = fs::read_to_string("/proc/net/tcp").unwrap();
        let mut lines = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
        let line = lines.find(|line| line[1].ends_with(&local) && line[2].ends_with(&peer));
        if line.expect("the connection is there")[4].starts_with("00000000:") {
            return;
        }
        assert!(Instant::now() < end, "the peer takes nothing");
    }
}

const CLIENTS: usize = 10_000;
const GROUPS: usize = 100;

/// Messages of a group on their way at once: far fewer than a member may lag.
const WINDOW: usize = 4;

/// Deliveries, over all, after which the signal is sent.
const ENOUGH: usize = 30_000;

/// One at a time: this process may have 20,000 files.
static TURN: Mutex<()> = Mutex::new(());

fn ten_thousand_are_told_the_same(style: &str) {
    const LIMIT: Duration = Duration::from_secs(60);
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).unwrap();

    let limit = LIMIT.as_secs().to_string();
    let mut server = Server::start_with(style, &["--shutdown-limit", &limit]);
    let (deaf, _) = server.deaf_members(3);
    let (heard, signalled) = bifilar::block_on(async {
        let mut clients = Vec::new();
        for batch in 0..CLIENTS / GROUPS {
            let coming = (0..GROUPS).map(|group| {
                let address = server.address.clone();
                task::spawn(async move { come_in(&address, group).await })
            });
            let coming: Vec<_> = coming.collect();
            for (group, client) in coming.into_iter().enumerate() {
                clients.push((client.await.unwrap(), group, batch == 0));
            }
        }
        let deliveries = std::sync::Arc::new(Semaphore::new(0));
        let listening: Vec<_> = clients
            .into_iter()
            .map(|(stream, group, posts)| {
                task::spawn(talk(stream, group, posts, deliveries.clone()))
            })
            .collect();
        deliveries.acquire_many(ENOUGH).await.unwrap().forget();
        server.signal(Signal::INT);
        let signalled = Instant::now();
        let mut heard = Vec::new();
        for client in listening {
            heard.push(client.await.unwrap());
        }
        (heard, signalled)
    });
    // All that hold it up now are those who don't read.
    assert!(server.child.try_wait().unwrap().is_none(), "it ended too early");
    drop(deaf);
    assert_eq!(server.ended().code(), Some(0));
    assert!(signalled.elapsed() < LIMIT, "{:?}", signalled.elapsed());

    let mut deliveries = 0;
    for group in 0..GROUPS {
        let mut members = heard.iter().skip(group).step_by(GROUPS);
        let first = members.next().unwrap();
        let lines: Vec<_> = first.lines().collect();
        let (goodbye, messages) = lines.split_last().unwrap();
        assert_eq!(*goodbye, json!({"Goodbye": "The server is shutting down"}).to_string());
        for (n, line) in messages.iter().enumerate() {
            assert_eq!(*line, message("Message", group, n).trim_end());
        }
        assert!(members.all(|text| text == first), "not all of group {group} were told the same");
        deliveries += messages.len() * CLIENTS / GROUPS;
    }
    assert!(deliveries >= ENOUGH);
}

fn message(kind: &str, group: usize, n: usize) -> String {
    format!("{}\n", json!({kind: {"group_name": group.to_string(), "message": n.to_string()}}))
}

/// A connection whose join the server has taken.
async fn come_in(address: &str, group: usize) -> net::TcpStream {
    let stream = net::TcpStream::connect(address).await.unwrap();
    let join = json!({"Join": {"group_name": group.to_string()}});
    (&stream).write_all(format!("{join}\n?\n").as_bytes()).await.unwrap();
    let mut reply = [0; 1024];
    let count = (&stream).read(&mut reply).await.unwrap();
    assert!(reply[..count].starts_with(b"{\"Error\":\"Bad JSON") && reply[count - 1] == b'\n');
    stream
}

/// Listens until the server closes; returns what it said. Whoever `posts` keeps as many messages on
/// their way as there may be, and doesn't stop.
async fn talk(
    stream: net::TcpStream,
    group: usize,
    posts: bool,
    deliveries: std::sync::Arc<Semaphore>,
) -> String {
    let mut posted = 0;
    let mut heard = Vec::new();
    let mut seen = 0;
    let mut bytes = [0; 4096];
    loop {
        if posts {
            while posted < seen + WINDOW {
                // The server may be gone.
                let _ = (&stream).write_all(message("Post", group, posted).as_bytes()).await;
                posted += 1;
            }
        }
        let count = (&stream).read(&mut bytes).await.expect("no reset before the end");
        if count == 0 {
            return String::from_utf8(heard).unwrap();
        }
        heard.extend_from_slice(&bytes[..count]);
        let new = bytes[..count].iter().filter(|&&byte| byte == b'\n').count();
        seen += new;
        deliveries.add_permits(new);
    }
}
