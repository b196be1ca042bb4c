//! SIGINT and SIGTERM: what was taken is delivered, and the end comes.

use std::{
    io::{Write, pipe},
    time::{Duration, Instant},
};

use rustix::process::Signal;

use crate::{client::Client, in_each_style, server::Server};

in_each_style!(
    sigint_delivers_what_was_taken,
    sigterm_ends_an_idle_server_at_once,
    a_client_that_does_not_read_is_not_waited_for_for_ever,
    a_second_signal_ends_it_at_once,
    without_a_reader_of_the_log_it_ends_all_the_same,
    a_log_that_is_not_read_does_not_hold_up_the_second_signal,
    a_port_in_use_is_an_error,
);

/// Messages that a member who doesn't read leaves in the server's hands: more than the kernel's
/// buffers hold, fewer than a member may lag.
const MESSAGES: usize = 950;

/// What a pipe holds: pipe(7).
const PIPE_BYTES: usize = 64 * 1024;

fn fill(server: &Server) -> (Client, String) {
    let padding = "x".repeat(8 * 1024);
    let member = server.member("Dogs");
    member.read_slowly();
    let mut poster = server.client();
    (0..MESSAGES).for_each(|n| poster.post_plain("Dogs", &format!("{n} {padding}")));
    poster.fence();
    (member, padding)
}

fn sigint_delivers_what_was_taken(style: &str) {
    let mut server = Server::start(style);
    let mut idle = server.client();
    idle.fence();
    let (mut member, padding) = fill(&server);
    server.signal(Signal::INT);
    server.refuses();
    (0..MESSAGES).for_each(|n| member.gets_plain("Dogs", &format!("{n} {padding}")));
    member.end();
    idle.end();
    drop((member, idle));
    assert_eq!(server.ended().code(), Some(0));
    server.logs("everything was delivered");
}

fn sigterm_ends_an_idle_server_at_once(style: &str) {
    let mut server = Server::start(style);
    let since = Instant::now();
    server.signal(Signal::TERM);
    assert_eq!(server.ended().code(), Some(0));
    assert!(since.elapsed() < Duration::from_secs(4), "{:?}", since.elapsed());
}

fn a_client_that_does_not_read_is_not_waited_for_for_ever(style: &str) {
    let mut server = Server::start(style);
    let _member = fill(&server);
    server.signal(Signal::TERM);
    assert_eq!(server.ended().code(), Some(0));
    server.logs("some clients had not read everything");
}

fn a_second_signal_ends_it_at_once(style: &str) {
    let mut server = Server::start(style);
    let _member = fill(&server);
    server.signal(Signal::INT);
    server.logs("SIGINT: delivering what was taken");
    server.signal(Signal::INT);
    assert_eq!(server.ended().code(), Some(130));
}

fn without_a_reader_of_the_log_it_ends_all_the_same(style: &str) {
    for (signals, code) in [(1, 0), (2, 130)] {
        let (reader, writer) = pipe().unwrap();
        drop(reader);
        let mut server = Server::start_logging_to(style, writer);
        let _member = (signals == 2).then(|| fill(&server));
        server.signal(Signal::INT);
        server.refuses();
        (1..signals).for_each(|_| server.signal(Signal::INT));
        assert_eq!(server.ended().code(), Some(code), "{signals}");
    }
}

fn a_log_that_is_not_read_does_not_hold_up_the_second_signal(style: &str) {
    let (_reader, mut writer) = pipe().unwrap();
    let mut server = Server::start_logging_to(style, writer.try_clone().unwrap());
    writer.write_all(&[b'x'; PIPE_BYTES]).unwrap();
    server.signal(Signal::INT);
    server.signal(Signal::TERM);
    // The kernel may deliver two signals that are pending in either order.
    assert!(matches!(server.ended().code(), Some(130 | 143)));
}

fn a_port_in_use_is_an_error(style: &str) {
    let server = Server::start(style);
    let output = std::process::Command::new(crate::server::CHAT)
        .args(["serve", "--style", style, "--listen", &server.address])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8_lossy(&output.stderr);
    let expected = format!("cannot serve on {}: Address already in use", server.address);
    assert!(text.contains(&expected), "{text}");
}
