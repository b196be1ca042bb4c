//! Clients that go away in the middle of something disturb nobody.

use crate::{in_each_style, server::Server};

in_each_style!(vanishing_in_mid_line, vanishing_in_mid_write, vanishing_in_numbers);

fn vanishing_in_mid_line(style: &str) {
    let server = Server::start(style);
    let mut member = server.member("Dogs");
    for half in [
        r#"{"Post":{"group_name":"Dogs","mess"#,
        r#"{"Post":{"group_name":"Dogs","message":"whole, but without its line feed"}}"#,
    ] {
        let mut client = server.member("Dogs");
        client.send(half);
        drop(client);
        member.post("Dogs", "on");
        member.gets("Dogs", "on");
    }
    member.fence();
}

fn vanishing_in_mid_write(style: &str) {
    const MESSAGES: usize = 1_000;
    let message = "x".repeat(8 * 1024);
    let server = Server::start(style);
    let mut member = server.member("Dogs");
    let vanishing = server.member("Dogs"); // doesn't read, so the server is left in mid-write
    vanishing.read_slowly();
    let mut poster = server.client();
    for n in 0..MESSAGES {
        poster.post_plain("Dogs", &format!("{n} {message}"));
        member.gets_plain("Dogs", &format!("{n} {message}"));
    }
    drop(vanishing); // with unread bytes: the connection is reset
    poster.post("Dogs", "on");
    member.gets("Dogs", "on");
    member.fence();
}

fn vanishing_in_numbers(style: &str) {
    let server = Server::start(style);
    let mut member = server.member("Dogs");
    for round in 0..20 {
        let clients: Vec<_> = (0..10)
            .map(|_| {
                let mut client = server.client();
                client.join("Dogs");
                client.post("Cats", "nobody there");
                client
            })
            .collect();
        drop(clients);
        member.post("Dogs", &round.to_string());
        member.gets("Dogs", &round.to_string());
    }
    member.fence();
}
