//! SIGINT and SIGTERM: what was taken is delivered, and the end comes.

use std::{
    fs,
    io::{Write, pipe},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

use crate::{
    in_each_style,
    server::{CHAT, LEFT_UNREAD, Server, wait},
};

in_each_style!(
    sigint_delivers_what_was_taken,
    sigterm_ends_an_idle_server_at_once,
    a_client_that_does_not_read_is_not_waited_for_for_ever,
    the_names_of_those_cut_off_are_not_too_many,
    a_signal_while_it_starts_is_not_lost,
    a_second_signal_ends_it_at_once,
    without_a_reader_of_the_log_it_ends_all_the_same,
    a_log_that_is_not_read_does_not_hold_up_the_second_signal,
    a_port_in_use_is_an_error,
);

/// What a pipe holds: pipe(7).
const PIPE_BYTES: usize = 64 * 1024;

fn sigint_delivers_what_was_taken(style: &str) {
    let mut server = Server::start(style);
    let mut idle = server.client();
    idle.fence();
    let (mut members, padding) = server.deaf_members(2);
    server.signal(Signal::INT);
    server.refuses();
    for member in &mut members {
        (0..LEFT_UNREAD).for_each(|n| member.gets_plain("Deaf", &format!("{n} {padding}")));
        member.goodbye();
    }
    idle.goodbye();
    drop((members, idle));
    assert_eq!(server.ended().code(), Some(0));
    server.logs("everything was delivered");
}

fn sigterm_ends_an_idle_server_at_once(style: &str) {
    let mut server = Server::start(style);
    let since = Instant::now();
    server.signal(Signal::TERM);
    assert_eq!(server.ended().code(), Some(0));
    // Less than clients have to close their side: there are none.
    assert!(since.elapsed() < Duration::from_secs(1), "{:?}", since.elapsed());
}

fn a_client_that_does_not_read_is_not_waited_for_for_ever(style: &str) {
    const LIMIT: u64 = 2;
    let mut server = Server::start_with(style, &["--shutdown-limit", &LIMIT.to_string()]);
    let (members, _) = server.deaf_members(1);
    let mut reading = server.member("Dogs");
    let since = Instant::now();
    server.signal(Signal::TERM);
    reading.goodbye();
    assert_eq!(server.ended().code(), Some(3));
    assert!(since.elapsed() >= Duration::from_secs(LIMIT), "it was waited for");
    assert!(since.elapsed() < Duration::from_secs(LIMIT + 5), "{:?}", since.elapsed());
    server.logs("some clients had not read everything");
    if let "fibers" | "tasks" = style {
        let name = format!("'writer {}'", members[0].stream.local_addr().unwrap());
        let log = server.log();
        let line = log.lines().find(|line| line.contains(&name));
        let line = line.unwrap_or_else(|| panic!("{name} is not named: {log}"));
        assert!(line.contains(&format!("spawned at apps/chat/src/serve/{style}.rs")), "{line}");
        assert!(line.contains("to be writable"), "{line}");
    }
}

fn the_names_of_those_cut_off_are_not_too_many(style: &str) {
    let mut server = Server::start_with(style, &["--shutdown-limit", "1"]);
    let _members = server.deaf_members(11);
    server.signal(Signal::INT);
    assert_eq!(server.ended().code(), Some(3));
    server.logs("cut_off=11");
    if let "fibers" | "tasks" = style {
        server.logs("… and 2 more");
        assert_eq!(server.log().matches("still there: ").count(), 20);
    }
}

fn a_signal_while_it_starts_is_not_lost(style: &str) {
    for _ in 0..20 {
        let mut child = Command::new(CHAT)
            .args(["serve", "--listen", "127.0.0.1:0", "--style", style])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // From the first of its handlers on, the signal no longer ends the process by itself.
        while !catches(&child, Signal::INT) {
            thread::yield_now();
        }
        kill_process(Pid::from_child(&child), Signal::INT).unwrap();
        assert_eq!(wait(&mut child).code(), Some(0));
    }
}

/// Whether the process has a handler for the signal.
fn catches(child: &Child, signal: Signal) -> bool {
    let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap();
    u64::from_str_radix(mask.trim(), 16).unwrap() & 1 << (signal.as_raw() - 1) != 0
}

fn a_second_signal_ends_it_at_once(style: &str) {
    let mut server = Server::start(style);
    let _members = server.deaf_members(1);
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
        let _member = (signals == 2).then(|| server.deaf_members(1));
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
    let output = Command::new(CHAT)
        .args(["serve", "--style", style, "--listen", &server.address])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8_lossy(&output.stderr);
    let expected = format!("cannot serve on {}: Address already in use", server.address);
    assert!(text.contains(&expected), "{text}");
}
