//! What a client is told about its mistakes, and that it may go on after most of them.

use std::io::Write;

use crate::{in_each_style, server::Server};

in_each_style!(
    a_mistake_is_answered_and_the_connection_goes_on,
    a_line_too_long_is_answered_and_the_connection_closed,
    an_endless_line_is_cut_off,
    the_limit_on_lines_can_be_set,
    mistakes_in_plenty,
);

fn a_mistake_is_answered_and_the_connection_goes_on(style: &str) {
    let server = Server::start(style);
    let mut client = server.member("Dogs");
    let cases: [(&[u8], &str); 9] = [
        (br#"{"Post":{"group_name":"Cats","message":"hi"}}"#, "Group 'Cats' does not exist"),
        (b"hello", "Bad JSON: expected value at column 1"),
        (br#"{"Join":{"group_name":"Dogs""#, "Bad JSON: EOF while parsing an object at column 28"),
        (b"", "Bad JSON: the line is empty"),
        (b"{\"Join\":\xff\xfe}", "Bad line: not UTF-8 from byte 9 on"),
        (
            br#"{"Dance":{"group_name":"Dogs"}}"#,
            "Bad request: unknown variant `Dance`, expected `Join` or `Post` at column 8",
        ),
        (b"[]", "Bad request: expected an object with one key, found an array"),
        (br#"{"Post":{"group_name":"Dogs"}}"#, "Bad request: missing field `message` at column 29"),
        (
            br#"{"Join":{"group_name":["Dogs"]}}"#,
            "Bad request: invalid type: sequence, expected a string at column 22",
        ),
    ];
    for (line, text) in cases {
        client.send([line, b"\n"].concat());
        assert_eq!(client.error(), text);
        client.post("Dogs", "still here");
        client.gets("Dogs", "still here");
    }
}

fn a_line_too_long_is_answered_and_the_connection_closed(style: &str) {
    let server = Server::start(style);
    let mut other = server.member("Dogs");
    // The longest line that is allowed, and then one byte more.
    for (length, allowed) in [(65_536, true), (65_537, false)] {
        let mut client = server.member("Dogs");
        let frame = r#"{"Post":{"group_name":"Dogs","message":""}}"#.len();
        let message = "x".repeat(length - frame);
        client.post("Dogs", &message);
        if allowed {
            client.gets("Dogs", &message);
            other.gets("Dogs", &message);
        } else {
            assert_eq!(client.error(), "Line too long: the limit is 65536 bytes");
            client.end();
        }
    }
    other.fence();
}

fn an_endless_line_is_cut_off(style: &str) {
    let server = Server::start(style);
    let mut client = server.client();
    let mut sender = client.stream.try_clone().unwrap();
    let sending = std::thread::spawn(move || {
        // Ends with an error when the server has closed.
        while sender.write_all(&[b'x'; 16 * 1024]).is_ok() {}
    });
    assert_eq!(client.error(), "Line too long: the limit is 65536 bytes");
    client.end();
    sending.join().unwrap();
    server.member("Dogs").fence();
}

fn the_limit_on_lines_can_be_set(style: &str) {
    let server = Server::start_with(style, &["--max-line", "100"]);
    let mut client = server.client();
    client.fence();
    client.send("x".repeat(101));
    assert_eq!(client.error(), "Line too long: the limit is 100 bytes");
    client.end();
}

fn mistakes_in_plenty(style: &str) {
    const MISTAKES: usize = 5_000;
    let server = Server::start(style);
    let mut client = server.client();
    let mut sender = client.stream.try_clone().unwrap();
    let sending = std::thread::spawn(move || sender.write_all(&b"?\n".repeat(MISTAKES)).unwrap());
    for _ in 0..MISTAKES {
        assert_eq!(client.error(), "Bad JSON: expected value at column 1");
    }
    sending.join().unwrap();
    client.fence();
}
