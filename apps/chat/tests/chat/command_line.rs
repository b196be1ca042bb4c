//! What is said about a wrong command line.

use std::{
    fs,
    process::{Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use crate::{
    PATIENCE,
    server::{CHAT, Server},
};

fn chat(arguments: &[&str]) -> Output {
    Command::new(CHAT).args(arguments).output().unwrap()
}

#[test]
fn mistakes_are_named_and_end_with_a_code() {
    let cases: [(&[&str], i32, &str); 19] = [
        (&["serv"], 2, "a similar subcommand exists: 'serve'"),
        (&["serve", "--lisen", "127.0.0.1:0"], 2, "a similar argument exists: '--listen'"),
        (&["serve", "--style", "fibres"], 2, "a similar value exists: 'fibers'"),
        (&["serve", "--style", "green"], 2, "threads, callbacks, fibers, tasks"),
        (&["serve", "--workers", "0"], 2, "invalid value '0' for '--workers <N>'"),
        (&["--style", "tasks", "--workers", "99999999"], 2, "99999999 is not in 1..=4096"),
        (&["serve", "--listen", "nowhere"], 1, "cannot serve on nowhere: "),
        (&["serve", "--listen", "192.0.2.1:7000"], 1, "cannot serve on 192.0.2.1:7000: "),
        (
            &["serve", "--metrics", "nowhere"],
            1,
            "cannot serve metrics on nowhere: the port is missing",
        ),
        (
            &["serve", "--metrics", "192.0.2.1:7001"],
            1,
            "cannot serve metrics on 192.0.2.1:7001: Cannot assign requested address",
        ),
        (
            &["serve", "--metrics", "127.0.0.1:0", "--style", "threads"],
            1,
            "cannot serve metrics on 127.0.0.1:0: the style threads has no runtime",
        ),
        (&["join"], 2, "<ADDR:PORT>"),
        (&["join", "127.0.0.1"], 1, "127.0.0.1: the port is missing, as in 127.0.0.1:7000"),
        (&["load", "localhost"], 1, "localhost: the port is missing, as in localhost:7000"),
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
fn without_a_command_it_serves() {
    let server = Server::without_a_command();
    server.member("Dogs").fence();
}

#[test]
fn compare_prints_a_row_for_each_style() {
    let amount = ["compare", "--clients", "20", "--groups", "2", "--messages", "100"];
    let output = chat(&amount);
    let table = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{table}");
    assert!(table.lines().all(|line| line.chars().count() <= 80), "{table}");
    for style in ["threads", "callbacks", "fibers", "tasks"] {
        assert!(table.lines().any(|line| line.starts_with(style)), "{style}: {table}");
    }
    let output = chat(&[&amount[..], &["--styles", "tasks,threads", "--json"]].concat());
    let rows: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (rows[0]["style"].as_str(), rows[1]["style"].as_str()),
        (Some("tasks"), Some("threads"))
    );
    for row in rows.as_array().unwrap() {
        assert_eq!((row["delivered"].as_u64(), row["lost"].as_u64()), (Some(1_000), Some(0)));
        assert!(row["memory_kib"].as_u64() > Some(0) && row["threads"].as_u64() > Some(0), "{row}");
    }
}

#[test]
fn a_server_under_comparison_ends_with_the_comparison() {
    for style in ["threads", "callbacks", "fibers", "tasks"] {
        let mut compare = Command::new(CHAT)
            .args(["compare", "--messages", "100000000", "--styles", style])
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let pid = compare.id();
        let children = format!("/proc/{pid}/task/{pid}/children");
        let find = || fs::read_to_string(&children).unwrap().trim().parse::<u32>().ok();
        let server = until(|| find().filter(|&server| is_listening(server)));
        compare.kill().unwrap();
        compare.wait().unwrap();
        until(|| (!is_running(server)).then_some(()));
    }
}

/// Whether the process is past its start: it waits for signals.
fn is_listening(pid: u32) -> bool {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let mut names = threads.map(|thread| fs::read_to_string(thread.path().join("comm")));
    names.any(|name| name.is_ok_and(|name| name == "signals\n"))
}

/// Whether the process is there and no zombie.
fn is_running(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, state)| !state.starts_with('Z'))
}

/// Waits for an answer.
fn until<T>(mut ask: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < end, "it does not happen");
        thread::sleep(Duration::from_millis(5));
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
