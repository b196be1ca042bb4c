//! `chat load`: nothing gets lost in any style, and what a faulty server does is seen.

use std::{
    collections::HashMap,
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    process::{Command, Output},
    sync::{Arc, Mutex},
    thread,
};

use serde_json::Value;

use crate::{
    in_each_style,
    server::{CHAT, Server},
};

in_each_style!(nothing_is_lost_duplicated_or_out_of_order);

fn load(address: &str, arguments: &[&str]) -> Output {
    Command::new(CHAT).args(["load", address]).args(arguments).output().unwrap()
}

fn nothing_is_lost_duplicated_or_out_of_order(style: &str) {
    let server = Server::start(style);
    let amount = ["--clients", "200", "--groups", "5", "--messages", "2000", "--json"];
    let output = load(&server.address, &amount);
    let text = String::from_utf8_lossy(&output.stdout);
    let report: Value = serde_json::from_str(&text).unwrap();
    for (field, value) in [
        ("sent", 2_000),
        ("expected", 80_000),
        ("delivered", 80_000),
        ("lost", 0),
        ("duplicated", 0),
        ("out_of_order", 0),
    ] {
        assert_eq!(report[field], value, "{field} in {text}");
    }
    let latency = ["p50_us", "p99_us", "p999_us", "max_us"].map(|field| report[field].as_u64());
    assert!(latency.is_sorted() && latency[0] > Some(0), "{text}");
    assert!(report["per_second"].as_u64() > Some(0), "{text}");
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert!(output.stderr.is_empty(), "no progress bar without a terminal");
}

/// A message that a faulty server treats in its own way.
const FAULTY: usize = 50;

#[derive(Clone, Copy, PartialEq)]
enum Fault {
    None,
    Lose,
    Duplicate,
    Swap,
    Complain,
    Close,
}

/// A server of the simplest kind, but for one fault in what its second member gets.
fn faulty_server(fault: Fault) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let groups: Arc<Mutex<HashMap<String, Vec<Member>>>> = Arc::default();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (stream, groups) = (stream.unwrap(), groups.clone());
            thread::spawn(move || serve(fault, stream, &groups));
        }
    });
    address
}

struct Member {
    stream: TcpStream,
    count: usize,
    held: Option<String>,
}

fn serve(fault: Fault, stream: TcpStream, groups: &Mutex<HashMap<String, Vec<Member>>>) {
    for line in BufReader::new(stream.try_clone().unwrap()).lines() {
        let Ok(line) = line else { break };
        let value: Value = serde_json::from_str(&line).unwrap();
        let mut groups = groups.lock().unwrap();
        if let Some(name) = value["Join"]["group_name"].as_str() {
            let stream = stream.try_clone().unwrap();
            let member = Member { stream, count: 0, held: None };
            groups.entry(name.to_owned()).or_default().push(member);
            continue;
        }
        let name = value["Post"]["group_name"].as_str().unwrap();
        let line = format!("{}\n", line.replace("{\"Post\"", "{\"Message\""));
        match groups.get_mut(name) {
            Some(members) => members.iter_mut().enumerate().for_each(|(at, member)| {
                member.tell(if at == 1 { fault } else { Fault::None }, &line);
            }),
            None => {
                let error = format!("{{\"Error\":\"Group '{name}' does not exist\"}}\n");
                (&stream).write_all(error.as_bytes()).unwrap();
            }
        }
    }
    let _ = stream.shutdown(std::net::Shutdown::Both);
}

impl Member {
    fn tell(&mut self, fault: Fault, line: &str) {
        self.count += 1;
        let now = self.count == FAULTY;
        let text = match fault {
            Fault::Lose if now => String::new(),
            Fault::Duplicate if now => format!("{line}{line}"),
            Fault::Complain if now => "{\"Error\":\"Dropped 1 messages from x.\"}\n".into(),
            Fault::Swap if now => {
                self.held = Some(line.to_owned());
                String::new()
            }
            Fault::Close if now => {
                let _ = self.stream.shutdown(std::net::Shutdown::Both);
                return;
            }
            _ => format!("{line}{}", self.held.take().unwrap_or_default()),
        };
        let _ = self.stream.write_all(text.as_bytes());
    }
}

#[test]
fn what_a_faulty_server_does_is_seen() {
    let cases = [
        (Fault::None, [0, 0, 0, 0], ""),
        (Fault::Lose, [1, 0, 0, 0], "nothing arrived for 1 s, 1 of 400 deliveries are missing"),
        (Fault::Duplicate, [0, 1, 0, 0], ""),
        (Fault::Swap, [0, 0, 1, 0], ""),
        (Fault::Complain, [1, 0, 0, 0], "Dropped 1 messages from x."),
        (Fault::Close, [51, 0, 0, 1], "the server closed a connection"),
    ];
    for (fault, [lost, duplicated, out_of_order, disconnected], text) in cases {
        let address = faulty_server(fault);
        let amount = ["--clients", "4", "--groups", "1", "--messages", "100", "--window", "100"];
        let output = load(&address, &[&amount[..], &["--stall", "1", "--json"]].concat());
        let json = String::from_utf8_lossy(&output.stdout);
        let report: Value = serde_json::from_str(&json).unwrap();
        for (field, value) in [
            ("lost", lost),
            ("duplicated", duplicated),
            ("out_of_order", out_of_order),
            ("disconnected", disconnected),
        ] {
            assert_eq!(report[field], value, "{field} in {json}");
        }
        assert!(json.contains(text), "{json}");
        assert_eq!(output.status.code(), Some(i32::from(fault != Fault::None)), "{json}");
        let people = load(&address, &[&amount[..], &["--stall", "1"]].concat());
        let people = String::from_utf8_lossy(&people.stdout);
        assert!(people.lines().all(|line| line.chars().count() <= 80), "{people}");
    }
}
