//! What the server says of its runtime.

use std::{
    io::{Read, Write},
    net::TcpStream,
};

use crate::{PATIENCE, server::Server};

#[test]
fn fibers() {
    the_numbers_of_the_runtime_are_served("fibers", "fiber");
}

#[test]
fn tasks() {
    the_numbers_of_the_runtime_are_served("tasks", "async");
}

fn the_numbers_of_the_runtime_are_served(style: &str, kind: &str) {
    let server = Server::start_with(style, &["--metrics", "127.0.0.1:0"]);
    let address = address(&server);
    let spawned = format!("bifilar_tasks_spawned_total{{runtime=\"chat\",kind=\"{kind}\"}} ");
    let before = number(&ask(&address, GET), &spawned);
    let _members = [server.member("Dogs"), server.member("Dogs")];
    let after = number(&ask(&address, GET), &spawned);
    // Two for each connection. With fibers, those that answer this count as well.
    let own = if style == "fibers" { 1.0 } else { 0.0 };
    assert_eq!(after - before, 4.0 + own);
}

#[test]
fn only_what_there_is_can_be_had() {
    let server = Server::start_with("fibers", &["--metrics", "127.0.0.1:0"]);
    let address = address(&server);
    let cases = [
        (GET, "HTTP/1.1 200 OK\r\n"),
        ("GET /metrics?a=b HTTP/1.0\n\n", "HTTP/1.1 200 OK\r\n"),
        ("HEAD /metrics HTTP/1.1\r\n\r\n", "HTTP/1.1 200 OK\r\n"),
        ("GET / HTTP/1.1\r\n\r\n", "HTTP/1.1 404 Not Found\r\n"),
        ("POST /metrics HTTP/1.1\r\n\r\n", "HTTP/1.1 405 Method Not Allowed\r\nAllow: GET, HEAD"),
        ("{\"Join\":{\"group_name\":\"Dogs\"}}\n\n", "HTTP/1.1 400 Bad Request\r\n"),
    ];
    for (request, status) in cases {
        let answer = ask(&address, request);
        assert!(answer.starts_with(status), "{request:?}: {answer}");
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: "));
        let length: usize = length.unwrap().parse().unwrap();
        let without_body = request.starts_with("HEAD");
        assert_eq!(body.len(), if without_body { 0 } else { length }, "{request:?}");
        assert!(length > 0);
    }
    // Neither a client that is silent nor one that talks without end holds anybody up.
    let _silent = TcpStream::connect(&address).unwrap();
    assert!(ask(&address, &"x".repeat(8 * 1024)).starts_with("HTTP/1.1 400"));
    assert!(ask(&address, GET).starts_with("HTTP/1.1 200"));
    server.member("Dogs").fence();
}

const GET: &str = "GET /metrics HTTP/1.1\r\nHost: here\r\n\r\n";

/// Where the server says that its metrics are.
fn address(server: &Server) -> String {
    server.logs("/metrics");
    let log = server.log();
    let (_, rest) = log.split_once("metrics on http://").unwrap();
    rest.split_once("/metrics").unwrap().0.to_owned()
}

/// All that comes back.
fn ask(address: &str, request: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// The number behind `sample`.
fn number(text: &str, sample: &str) -> f64 {
    let line = text.lines().find_map(|line| line.strip_prefix(sample));
    line.unwrap_or_else(|| panic!("no {sample} in:\n{text}")).parse().unwrap()
}
