//! The program itself against a small server: every kind of answer in every style.
//!
//! The server is a few std threads. It answers the path `/NAME` with the bytes that the table
//! [`ANSWERS`] gives for NAME, after it has seen the whole request and the end of the client's
//! data.

use std::{
    io::{self, Read, Write},
    net::{Ipv4Addr, TcpListener, TcpStream},
    process::{Command, Output},
    thread,
    time::{Duration, Instant},
};

const STYLES: [&str; 4] = ["sync", "threads", "fibers", "tasks"];

/// What the program says: status and size, or a part of the reason.
type Row = Result<(&'static str, &'static str), &'static str>;

/// What is asked for, what comes back, and what the program says of it.
const ANSWERS: &[(&str, &str, Row)] = &[
    ("length", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", Ok(("200", "5"))),
    (
        "chunked",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\
         5\r\nhello\r\n6; a=b\r\n world\r\n0\r\n\r\n",
        Ok(("200", "11")),
    ),
    ("neither", "HTTP/1.1 200 OK\r\n\r\nuntil the end", Ok(("200", "13"))),
    ("bodiless", "HTTP/1.1 204 No Content\r\n\r\n", Ok(("204", "0"))),
    ("missing", "HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\ngone", Ok(("404", "4"))),
    ("nothing", "", Err("without an answer; --no-shutdown")),
    ("half-a-head", "HTTP/1.1 200 OK\r\nContent-", Err("within the head")),
    ("short", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello", Err("5 of 9 bytes")),
    (
        "short-chunk",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nhello",
        Err("after 5 bytes, before the last chunk"),
    ),
    ("not-http", "220 mail.example ESMTP\r\n", Err("not HTTP/1")),
];

/// What the path `/large` answers with, after its head.
const LARGE: usize = 3_000_000;

/// Starts a server that lives as long as the test; returns where it listens.
fn serve() -> String {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap().to_string();
    thread::spawn(move || {
        for stream in listener.incoming() {
            thread::spawn(move || answer(stream.unwrap()));
        }
    });
    address
}

fn answer(mut stream: TcpStream) -> io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    let mut request = String::new();
    let mut reader = &stream;
    // To the end of the head; then to the end of the data, unless the path asks for neither.
    while !request.ends_with("\r\n\r\n") {
        let mut byte = [0];
        reader.read_exact(&mut byte)?;
        request.push(byte[0].into());
    }
    let path = request.split(' ').nth(1).unwrap().trim_start_matches('/').to_string();
    if path != "open" {
        let rest = reader.read_to_end(&mut Vec::new())?;
        assert_eq!(rest, 0, "data after the request");
    }
    match path.as_str() {
        "silent" => thread::sleep(Duration::from_secs(20)),
        "open" => {
            // Whoever left the write side open is still there after a while.
            stream.set_read_timeout(Some(Duration::from_millis(50)))?;
            let open = reader.read(&mut [0]).is_err();
            let status = if open { 200 } else { 500 };
            write!(stream, "HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\r\n")?;
        }
        "echo" => write!(stream, "HTTP/1.1 200 OK\r\n\r\n{request}")?,
        "large" => {
            write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {LARGE}\r\n\r\n")?;
            stream.write_all(&vec![b'x'; LARGE])?;
        }
        name => {
            let found = ANSWERS.iter().find(|(path, ..)| *path == name);
            stream.write_all(found.unwrap_or_else(|| panic!("no `{name}`")).1.as_bytes())?;
        }
    }
    Ok(())
}

fn get(style: &str, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_get"));
    command.args(["--style", style, "--timeout", "10"]).args(arguments);
    command.output().unwrap()
}

fn text(output: &Output) -> String {
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[test]
fn every_answer_in_every_style() {
    let address = serve();
    for style in STYLES {
        for (path, _, expected) in ANSWERS {
            let url = format!("http://{address}/{path}");
            let output = get(style, &[&url]);
            let text = text(&output);
            let row: Vec<&str> = text.lines().nth(1).unwrap().split_whitespace().collect();
            match expected {
                Ok((status, bytes)) => {
                    assert_eq!(row[..2], [*status, *bytes], "{style} {path}:\n{text}");
                    assert_eq!(output.status.code(), Some(0), "{style} {path}:\n{text}");
                }
                Err(reason) => {
                    assert_eq!(row[..2], ["error", "-"], "{style} {path}:\n{text}");
                    assert!(text.lines().nth(2).unwrap().contains(reason), "{style}:\n{text}");
                    assert_eq!(output.status.code(), Some(1), "{style} {path}:\n{text}");
                }
            }
            assert!(row[3].ends_with(path), "{style} {path}:\n{text}");
        }
    }
}

#[test]
fn one_failure_does_not_stop_the_others() {
    let address = serve();
    let refused = {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        listener.local_addr().unwrap().to_string()
    };
    for style in STYLES {
        let output = get(
            style,
            &[
                &format!("http://{address}/length"),
                &format!("http://{refused}/"),
                "https://localhost/",
                "nonsense",
                &format!("http://{address}/short"),
                &format!("http://{address}/chunked"),
            ],
        );
        let text = text(&output);
        assert!(text.contains("https needs TLS"), "{style}:\n{text}");
        assert!(text.contains("a URL begins with http://"), "{style}:\n{text}");
        assert!(text.contains("cannot connect: "), "{style}:\n{text}");
        assert!(text.contains("\n2 of 6 fetched, 16 bytes in "), "{style}:\n{text}");
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{style}:\n{text}");
        assert_eq!(output.status.code(), Some(1), "{style}:\n{text}");
    }
}

#[test]
fn rows_come_in_the_order_of_the_command_line() {
    let address = serve();
    let url = |path: &str| format!("http://{address}/{path}");
    for style in STYLES {
        let output = get(style, &["--repeat", "3", &url("large"), &url("length"), &url("chunked")]);
        let text = text(&output);
        let found: Vec<&str> =
            text.lines().skip(1).filter_map(|row| row.split_whitespace().nth(1)).collect();
        let large = "3,000,000";
        assert_eq!(
            found,
            [large, large, large, "5", "5", "5", "11", "11", "11", "of"],
            "{style}:\n{text}"
        );
        assert!(text.contains("9 of 9 fetched, 9,000,048 bytes"), "{style}:\n{text}");
    }
}

#[test]
fn many_requests_at_once() {
    let address = serve();
    for style in STYLES {
        let output = get(style, &["--repeat", "200", &format!("http://{address}/length")]);
        let text = text(&output);
        assert!(text.contains("200 of 200 fetched, 1,000 bytes"), "{style}:\n{text}");
    }
}

#[test]
fn a_silent_server_is_given_up() {
    let address = serve();
    for style in STYLES {
        let begin = Instant::now();
        let output = get(
            style,
            &[
                "--timeout",
                "0.3",
                &format!("http://{address}/silent"),
                &format!("http://{address}/length"),
            ],
        );
        let text = text(&output);
        assert!(text.contains("no full answer in time"), "{style}:\n{text}");
        assert!(text.contains("1 of 2 fetched"), "{style}:\n{text}");
        assert!(begin.elapsed() < Duration::from_secs(9), "{style} took {:?}", begin.elapsed());
    }
}

#[test]
fn the_request_as_the_server_sees_it() {
    let address = serve();
    let expected = format!(
        "GET /echo HTTP/1.1\r\nHost: {address}\r\nUser-Agent: bifilar-get/{}\r\n\
         Accept: */*\r\nConnection: close\r\n\r\n",
        env!("CARGO_PKG_VERSION")
    );
    for style in STYLES {
        let output = get(style, &[&format!("http://{address}/echo#part")]);
        let text = text(&output);
        let row: Vec<&str> = text.lines().nth(1).unwrap().split_whitespace().collect();
        assert_eq!(row[1], expected.len().to_string(), "{style}:\n{text}");
    }
}

#[test]
fn the_write_side_can_stay_open() {
    let address = serve();
    let url = format!("http://{address}/open");
    for style in STYLES {
        for (arguments, status) in [(&[url.as_str()][..], "500"), (&["--no-shutdown", &url], "200")]
        {
            let output = get(style, arguments);
            let text = text(&output);
            assert!(text.lines().nth(1).unwrap().contains(status), "{style}:\n{text}");
        }
    }
}

#[test]
fn wrong_command_lines() {
    for (arguments, message) in [
        (&[][..], "<URL>"),
        (&["--repeat", "0", "http://a/"], "--repeat"),
        (&["--timeout", "0", "http://a/"], "must lie between"),
        (&["--timeout", "soon", "http://a/"], "not a number"),
        (&["--style", "callbacks", "http://a/"], "[possible values: sync, threads, fibers, tasks]"),
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_get")).args(arguments).output().unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(error.contains(message), "{arguments:?}: {error}");
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
    }
}

/// Each style does the same work, and its diagram names it: the same calls, in as many lanes as the
/// style has threads, fibers or tasks.
#[test]
fn the_diagram_of_each_style() {
    let address = serve();
    let url = format!("http://{address}/length");
    for (style, lanes) in [
        ("sync", &["main"][..]),
        ("threads", &["thread 1", "thread 2"]),
        ("fibers", &["worker 0", "fetch 1", "fetch 2"]),
        ("tasks", &["worker 0", "fetch 1", "fetch 2"]),
    ] {
        for ending in ["svg", "html", "json", "txt"] {
            let name = format!("get-{}-{style}.{ending}", std::process::id());
            let path = std::env::temp_dir().join(name);
            let output = get(style, &["--diagram", path.to_str().unwrap(), &url, &url]);
            assert!(text(&output).contains("2 of 2 fetched"), "{output:?}");
            let picture = std::fs::read_to_string(&path).unwrap();
            std::fs::remove_file(&path).unwrap();
            let calls = if ending == "txt" { &[][..] } else { &["connect", "receive", "recv"] };
            for word in lanes.iter().chain(calls) {
                assert!(picture.contains(word), "{style} {ending} without `{word}`:\n{picture}");
            }
        }
    }
    let output = get("sync", &["--diagram", "picture.png", &url]);
    let reason = String::from_utf8_lossy(&output.stderr);
    assert!(reason.contains("must end in .svg, .html, .json or .txt"), "{reason}");
}
