//! Tables of what was done to a source and what the queue says then.
//!
//! Everything here happens in the kernel before the call that causes it returns, so looking
//! without waiting (`ready`) is enough; TCP over loopback is the exception and waits.

mod support;

use Step::*;
use bifilar_events::{EventQueue, Events, Interest, Mode, Token};
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use support::{describe, ready};

const R: Interest = Interest::READABLE;
const W: Interest = Interest::WRITABLE;

#[derive(Clone, Copy, Debug)]
enum Step {
    /// The queue says this at this moment, registering and modifying included.
    See(&'static str),
    /// The other end sends so many bytes.
    Send(usize),
    /// Our end reads so many bytes.
    Take(usize),
    /// Our end writes until it would block.
    Fill,
    /// The other end reads everything.
    Drain,
    /// The other end shuts down its writing side.
    ShutdownPeer,
    /// The other end is closed.
    ClosePeer,
    /// The same registration again, through `modify`.
    Rearm,
    Modify(Interest, Mode),
    Deregister,
    Register(Interest, Mode),
}

fn play(name: &str, interest: Interest, mode: Mode, steps: &[Step]) {
    let queue = EventQueue::new().unwrap();
    let (mut ours, peer) = UnixStream::pair().unwrap();
    ours.set_nonblocking(true).unwrap();
    peer.set_nonblocking(true).unwrap();
    let mut peer = Some(peer);
    queue.register(&ours, Token(1), interest, mode).unwrap();
    for (at, step) in steps.iter().enumerate() {
        match *step {
            See(expected) => assert_eq!(ready(&queue), expected, "{name}, step {at} of {steps:?}"),
            Send(count) => peer.as_ref().unwrap().write_all(&vec![b'x'; count]).unwrap(),
            Take(count) => ours.read_exact(&mut vec![0; count]).unwrap(),
            Fill => fill(&mut ours),
            Drain => drain(peer.as_mut().unwrap()),
            ShutdownPeer => peer.as_ref().unwrap().shutdown(Shutdown::Write).unwrap(),
            ClosePeer => drop(peer.take()),
            Rearm => queue.modify(&ours, Token(1), interest, mode).unwrap(),
            Modify(interest, mode) => queue.modify(&ours, Token(1), interest, mode).unwrap(),
            Deregister => queue.deregister(&ours).unwrap(),
            Register(interest, mode) => {
                queue.register(&ours, Token(1), interest, mode).unwrap();
            }
        }
    }
}

fn fill(stream: &mut UnixStream) {
    loop {
        match stream.write(&[0; 4096]) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
            Err(error) => panic!("{error}"),
        }
    }
}

fn drain(stream: &mut UnixStream) {
    let mut buffer = [0; 65536];
    while stream.read(&mut buffer).is_ok_and(|count| count > 0) {}
}

#[test]
fn each_mode_reports_as_often_as_it_says() {
    use Mode::*;
    let cases: &[(&str, Interest, Mode, &[Step])] = &[
        ("edge: silent until ready", R, Edge, &[See(""), Send(1), See("1:r"), See("")]),
        ("edge: more bytes, another edge", R, Edge, &[Send(1), See("1:r"), Send(1), See("1:r")]),
        ("edge: edges coalesce", R, Edge, &[Send(1), Send(1), See("1:r"), See("")]),
        ("edge: unread bytes stay unseen", R, Edge, &[Send(2), See("1:r"), Take(1), See("")]),
        ("edge: readiness gone before the wait", R, Edge, &[Send(1), Take(1), See("")]),
        ("level: as long as it lasts", R, Level, &[Send(2), See("1:r"), Take(1), See("1:r")]),
        ("level: until it is read", R, Level, &[Send(1), See("1:r"), Take(1), See("")]),
        ("one shot: once", R, OneShot, &[Send(1), See("1:r"), See(""), Send(1), See("")]),
        ("one shot: re-armed", R, OneShot, &[Send(1), See("1:r"), Rearm, See("1:r"), See("")]),
        (
            "one shot: re-armed, not ready",
            R,
            OneShot,
            &[Send(1), See("1:r"), Take(1), Rearm, See(""), Send(1), See("1:r")],
        ),
        (
            "one shot: silent even when closed",
            R,
            OneShot,
            &[Send(1), See("1:r"), ClosePeer, See("")],
        ),
    ];
    for (name, interest, mode, steps) in cases {
        play(name, *interest, *mode, steps);
    }
}

#[test]
fn each_interest_reports_its_own_direction() {
    use Mode::*;
    let cases: &[(&str, Interest, Mode, &[Step])] = &[
        ("writable at once, edge", W, Edge, &[See("1:w"), See("")]),
        ("writable at once, level", W, Level, &[See("1:w"), See("1:w")]),
        ("writable at once, one shot", W, OneShot, &[See("1:w"), See("")]),
        ("not writable when full", W, Level, &[Fill, See(""), Drain, See("1:w")]),
        ("edge when there is room again", W, Edge, &[See("1:w"), Fill, See(""), Drain, See("1:w")]),
        ("bytes mean nothing to a writer", W, Edge, &[See("1:w"), Fill, Send(1), See("")]),
        ("both, edge", R | W, Edge, &[See("1:w"), Send(1), See("1:rw"), See("")]),
        ("both, full", R | W, Level, &[Fill, Send(1), See("1:r"), Drain, See("1:rw")]),
        ("both, one shot: one report for both", R | W, OneShot, &[See("1:w"), Send(1), See("")]),
        ("priority hears nothing of bytes", Interest::PRIORITY, Level, &[Send(1), See("")]),
    ];
    for (name, interest, mode, steps) in cases {
        play(name, *interest, *mode, steps);
    }
}

#[test]
fn closing_is_told_apart_from_bytes() {
    use Mode::*;
    let cases: &[(&str, Interest, Mode, &[Step])] = &[
        ("shutdown, read", R, Level, &[ShutdownPeer, See("1:rR")]),
        (
            "shutdown after bytes",
            R,
            Edge,
            &[Send(1), See("1:r"), ShutdownPeer, See("1:rR"), See("")],
        ),
        ("shutdown, write only", W, Edge, &[See("1:w"), ShutdownPeer, See("1:w")]),
        ("closed, read", R, Edge, &[ClosePeer, See("1:rRW"), See("")]),
        ("closed, read and write", R | W, Edge, &[See("1:w"), ClosePeer, See("1:rwRW")]),
        ("closed with bytes it had not read", R | W, Edge, &[Fill, ClosePeer, See("1:rwRWe")]),
    ];
    for (name, interest, mode, steps) in cases {
        play(name, *interest, *mode, steps);
    }
}

#[test]
fn registrations_change_and_end() {
    use Mode::*;
    let cases: &[(&str, Interest, Mode, &[Step])] = &[
        ("modify replaces the interest", R, Level, &[Send(1), Modify(W, Level), See("1:w")]),
        (
            "modify replaces the mode",
            R,
            Edge,
            &[Send(1), See("1:r"), Modify(R, Level), See("1:r"), See("1:r")],
        ),
        ("modify looks afresh", R, Edge, &[Send(1), See("1:r"), See(""), Rearm, See("1:r")]),
        ("deregister stops events", R, Level, &[Send(1), See("1:r"), Deregister, See("")]),
        ("even of what happened before", R, Edge, &[Send(1), Deregister, See("")]),
        ("and of what happens later", R, Edge, &[Deregister, Send(1), ClosePeer, See("")]),
        (
            "register again",
            R,
            Level,
            &[Deregister, Send(1), Register(R, Edge), See("1:r"), See("")],
        ),
    ];
    for (name, interest, mode, steps) in cases {
        play(name, *interest, *mode, steps);
    }
}

#[test]
fn pipes_report_the_end_that_is_left() {
    let full = || {
        let (reader, writer) = rustix::pipe::pipe().unwrap();
        rustix::io::ioctl_fionbio(&writer, true).unwrap();
        while rustix::io::write(&writer, &[0; 4096]).is_ok() {}
        (reader, writer)
    };
    let fresh = || rustix::pipe::pipe().unwrap();
    let queue = EventQueue::new().unwrap();
    let see = |end: &OwnedFd, interest| {
        queue.register(end, Token(1), interest, Mode::Level).unwrap();
        let said = ready(&queue);
        queue.deregister(end).unwrap();
        said
    };

    let (reader, writer) = fresh();
    assert_eq!((see(&reader, R), see(&writer, W)), ("".into(), "1:w".into()));
    drop(writer);
    assert_eq!(see(&reader, R), "1:RW");

    let (reader, writer) = fresh();
    drop(reader);
    assert_eq!(see(&writer, W), "1:wWe");

    let (reader, writer) = full();
    assert_eq!((see(&reader, R), see(&writer, W)), ("1:r".into(), "".into()));
    drop(reader);
    assert_eq!(see(&writer, W), "1:We");
}

/// Waits for `token` until its events, put together, satisfy `enough`.
fn wait_for(queue: &EventQueue, enough: impl Fn(&str) -> bool) {
    let mut events = Events::with_capacity(8);
    loop {
        queue.wait(&mut events, None).unwrap();
        if events.iter().any(|event| enough(&describe(event))) {
            return;
        }
    }
}

#[test]
fn tcp_connects_urges_and_resets() {
    let queue = EventQueue::new().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    queue.register(&listener, Token(1), R, Mode::Level).unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    wait_for(&queue, |event| event == "1:r");
    let (server, _) = listener.accept().unwrap();
    assert_eq!(ready(&queue), "");

    queue.register(&server, Token(2), R | W | Interest::PRIORITY, Mode::Edge).unwrap();
    wait_for(&queue, |event| event == "2:w");
    rustix::net::send(&client, b"!", rustix::net::SendFlags::OOB).unwrap();
    wait_for(&queue, |event| event.starts_with("2:") && event.ends_with('p'));

    // Closing with bytes unread makes the kernel send a reset.
    (&server).write_all(b"unread").unwrap();
    client.peek(&mut [0]).unwrap();
    drop(client);
    wait_for(&queue, |event| event.contains("RWe"));
}

#[test]
fn a_refused_connection_is_an_error_for_the_writer() {
    let port = {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap()
    };
    let socket = rustix::net::socket_with(
        rustix::net::AddressFamily::INET,
        rustix::net::SocketType::STREAM,
        rustix::net::SocketFlags::NONBLOCK,
        None,
    )
    .unwrap();
    let _ = rustix::net::connect(&socket, &port);
    let queue = EventQueue::new().unwrap();
    queue.register(&socket, Token(1), W, Mode::Edge).unwrap();
    wait_for(&queue, |event| event == "1:wRWe");
}
