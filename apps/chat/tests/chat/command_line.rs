//! What is said about a wrong command line.

use std::process::{Command, Output};

use crate::server::CHAT;

fn chat(arguments: &[&str]) -> Output {
    Command::new(CHAT).args(arguments).output().unwrap()
}

#[test]
fn mistakes_are_named_and_end_with_a_code() {
    let cases: [(&[&str], i32, &str); 13] = [
        (&["serv"], 2, "a similar subcommand exists: 'serve'"),
        (&["serve", "--lisen", "127.0.0.1:0"], 2, "a similar argument exists: '--listen'"),
        (&["serve", "--style", "fibres"], 2, "a similar value exists: 'fibers'"),
        (&["serve", "--style", "green"], 2, "threads, callbacks, fibers, tasks"),
        (&["serve", "--workers", "0"], 2, "invalid value '0' for '--workers <N>'"),
        (&["serve", "--listen", "nowhere"], 1, "cannot serve on nowhere: "),
        (&["serve", "--listen", "192.0.2.1:7000"], 1, "cannot serve on 192.0.2.1:7000: "),
        (&["join"], 2, "<ADDR:PORT>"),
        (&["join", "127.0.0.1:1"], 1, "cannot connect to 127.0.0.1:1: Connection refused"),
        (&["load", "127.0.0.1:1"], 1, "cannot connect to 127.0.0.1:1: Connection refused"),
        (&["load", "127.0.0.1:1", "--clients", "0"], 2, "invalid value '0' for '--clients <N>'"),
        (
            &["load", "127.0.0.1:1", "--clients", "3", "--groups", "5"],
            1,
            "--groups 5 is more than --clients 3",
        ),
        (&["compare", "--clients", "100000000"], 1, "100000000 clients need 100000032 open files"),
    ];
    for (arguments, code, text) in cases {
        let output = chat(arguments);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(stderr.contains(text), "{arguments:?}: {stderr}");
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {stderr}");
    }
}

#[test]
fn too_few_files_for_the_clients_is_an_error() {
    let script = "ulimit -n 100 && exec \"$0\" load 127.0.0.1:1 --clients 200";
    let output = Command::new("sh").args(["-c", script, CHAT]).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    let text = "200 clients need 232 open files, but this process may have 100";
    assert!(stderr.contains(text), "{stderr}");
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn the_help_fits_a_terminal() {
    for command in ["serve", "join", "load", "compare"] {
        let output = chat(&[command, "-h"]);
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success());
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    }
}
