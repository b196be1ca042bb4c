//! `chat join` with a pipe for a terminal.

use std::{
    io::{BufRead, BufReader, Read, Write},
    process::{Child, Command, Stdio},
};

use rustix::process::Signal;

use crate::server::{CHAT, Server, wait};

fn join(address: &str) -> Child {
    Command::new(CHAT)
        .args(["join", address])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Types the text, closes the input, and returns the exit code with what was printed.
fn type_in(address: &str, text: &str) -> (Option<i32>, String, String) {
    let mut child = join(address);
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let status = wait(&mut child);
    let (mut out, mut err) = (String::new(), String::new());
    child.stdout.take().unwrap().read_to_string(&mut out).unwrap();
    child.stderr.take().unwrap().read_to_string(&mut err).unwrap();
    (status.code(), out, err)
}

#[test]
fn what_is_typed_last_is_still_answered() {
    let server = Server::start("fibers");
    for end in ["", "quit\n", "quit\npost Dogs unheard\n"] {
        let typed = format!("join Dogs\npost Dogs Samoyeds  rock!\npost Cats hi\n{end}");
        let (code, mut out, err) = type_in(&server.address, &typed);
        assert_eq!((code, err.as_str()), (Some(0), ""));
        // Errors come as they come, messages in their order.
        for line in ["[Dogs] Samoyeds  rock!\n", "Error: Group 'Cats' does not exist\n"] {
            assert!(out.contains(line), "{out}");
            out = out.replace(line, "");
        }
        assert_eq!(out, "");
    }
}

#[test]
fn mistakes_are_named_and_typing_goes_on() {
    let server = Server::start("fibers");
    let typed = "jion Dogs\njoin\njoin Dogs\npost Dogs\npost Dogs hi\n";
    let (code, out, err) = type_in(&server.address, typed);
    assert_eq!((code, out.as_str()), (Some(0), "[Dogs] hi\n"));
    let lines: Vec<_> = err.lines().collect();
    assert_eq!(lines.len(), 3, "{err}");
    assert!(lines[0].starts_with("Unknown command 'jion'. The commands are:"), "{err}");
    assert!(lines[1].contains("join GROUP"), "{err}");
    assert!(lines[2].contains("post GROUP MESSAGE"), "{err}");
}

#[test]
fn two_people_talk() {
    let server = Server::start("fibers");
    let (mut one, mut two) = (join(&server.address), server.member("Dogs"));
    let mut typed = one.stdin.take().unwrap();
    let mut printed = BufReader::new(one.stdout.take().unwrap()).lines();
    typed.write_all(b"join Dogs\npost Dogs hello\n").unwrap();
    assert_eq!(printed.next().unwrap().unwrap(), "[Dogs] hello");
    two.gets("Dogs", "hello");
    two.post("Dogs", "\u{1b}[31mred");
    assert_eq!(printed.next().unwrap().unwrap(), "[Dogs] \\u{1b}[31mred");
    drop(typed);
    assert_eq!(wait(&mut one).code(), Some(0));
}

#[test]
fn a_server_that_goes_away_is_noticed_while_nothing_is_typed() {
    let server = Server::start("fibers");
    let mut child = join(&server.address);
    let mut typed = child.stdin.take().unwrap();
    typed.write_all(b"join Dogs\npost Dogs hi\n").unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "[Dogs] hi\n");
    drop(server);
    assert_eq!(wait(&mut child).code(), Some(1));
    let mut err = String::new();
    child.stderr.take().unwrap().read_to_string(&mut err).unwrap();
    assert!(err.contains("has closed the connection"), "{err}");
    drop(typed);
}

#[test]
fn a_server_that_says_goodbye_ends_it_well() {
    let mut server = Server::start("fibers");
    let mut child = join(&server.address);
    let mut typed = child.stdin.take().unwrap();
    typed.write_all(b"join Dogs\npost Dogs hi\n").unwrap();
    let mut printed = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    printed.read_line(&mut line).unwrap();
    assert_eq!(line, "[Dogs] hi\n");
    server.signal(Signal::TERM);
    let mut rest = String::new();
    printed.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "The server is shutting down. Goodbye!\n");
    assert_eq!(wait(&mut child).code(), Some(0));
    assert_eq!(server.ended().code(), Some(0));
    drop(typed);
}
