//! Who gets what, and in which order.

use std::thread;

use crate::{in_each_style, server::Server};

in_each_style!(
    every_member_gets_each_message_once,
    a_poster_need_not_be_a_member,
    joining_twice_is_joining_once,
    groups_are_kept_apart,
    many_posters_one_order,
    what_was_sent_before_a_half_close_is_answered,
    many_lines_in_one_write_and_one_line_in_many,
    a_group_ends_with_its_last_member,
);

fn every_member_gets_each_message_once(style: &str) {
    let server = Server::start(style);
    let mut members: Vec<_> = (0..3).map(|_| server.member("Dogs")).collect();
    members[0].post("Dogs", "Samoyeds rock!");
    members[1].post("Dogs", "\"Quotes\",\nlines and ünïcödé 🐕");
    for member in &mut members {
        let mut texts: Vec<_> = (0..2)
            .map(|_| member.next().unwrap()["Message"]["message"].as_str().unwrap().to_owned())
            .collect();
        texts.sort();
        assert_eq!(texts, ["\"Quotes\",\nlines and ünïcödé 🐕", "Samoyeds rock!"]);
        member.fence();
    }
}

fn a_poster_need_not_be_a_member(style: &str) {
    let server = Server::start(style);
    let mut member = server.member("Dogs");
    let mut poster = server.client();
    poster.post("Dogs", "hi");
    member.gets("Dogs", "hi");
    poster.fence();
}

fn joining_twice_is_joining_once(style: &str) {
    let server = Server::start(style);
    let mut member = server.member("Dogs");
    member.join("Dogs");
    member.post("Dogs", "a");
    member.join("Dogs");
    member.post("Dogs", "b");
    member.gets("Dogs", "a");
    member.gets("Dogs", "b");
    member.fence();
}

fn groups_are_kept_apart(style: &str) {
    let server = Server::start(style);
    let (mut dog, mut cat) = (server.member("Dogs"), server.member("Cats"));
    let mut both = server.member("Dogs");
    both.join("Cats");
    both.fence();
    both.post("Dogs", "woof");
    dog.gets("Dogs", "woof");
    both.gets("Dogs", "woof");
    both.post("Cats", "meow");
    cat.gets("Cats", "meow");
    both.gets("Cats", "meow");
    dog.fence();
    cat.fence();
}

fn many_posters_one_order(style: &str) {
    const POSTERS: usize = 4;
    const EACH: usize = 100;
    let server = Server::start(style);
    let mut members: Vec<_> = (0..3).map(|_| server.member("Dogs")).collect();
    thread::scope(|scope| {
        for poster in 0..POSTERS {
            let mut client = server.client();
            scope.spawn(move || {
                (0..EACH).for_each(|n| client.post("Dogs", &format!("{poster} {n}")));
                client.fence();
            });
        }
    });
    let orders: Vec<Vec<_>> = members
        .iter_mut()
        .map(|member| (0..POSTERS * EACH).map(|_| member.line().unwrap()).collect())
        .collect();
    assert!(orders.iter().all(|order| *order == orders[0]), "every member sees the same order");
    for poster in 0..POSTERS {
        let mut next = 0;
        for line in &orders[0] {
            next += usize::from(line.contains(&format!("\"{poster} {next}\"")));
        }
        assert_eq!(next, EACH, "a poster's messages keep their order");
    }
    members.iter_mut().for_each(|member| member.fence());
}

fn what_was_sent_before_a_half_close_is_answered(style: &str) {
    let server = Server::start(style);
    let mut client = server.client();
    client.join("Dogs");
    (0..100).for_each(|n| client.post("Dogs", &n.to_string()));
    client.finish();
    (0..100).for_each(|n| client.gets("Dogs", &n.to_string()));
    client.end();
}

fn many_lines_in_one_write_and_one_line_in_many(style: &str) {
    let server = Server::start(style);
    let mut client = server.client();
    let post = r#"{"Post":{"group_name":"Dogs","message":"hi"}}"#;
    client.send(format!("{}\r\n{post}\n{post}\n{post}\n", r#"{"Join":{"group_name":"Dogs"}}"#));
    (0..3).for_each(|_| client.gets("Dogs", "hi"));
    for byte in format!("{post}\n").bytes() {
        client.send([byte]);
    }
    client.gets("Dogs", "hi");
    client.fence();
}

fn a_group_ends_with_its_last_member(style: &str) {
    let server = Server::start(style);
    let mut member = server.member("Dogs");
    let mut poster = server.client();
    poster.post("Dogs", "a");
    member.gets("Dogs", "a");
    member.finish();
    member.end();
    // The member is told the end before it has left, by a hair.
    let gone = (0..1_000).any(|_| {
        poster.post("Dogs", "b");
        poster.post("nobody is here", "");
        let first = poster.error();
        first == "Group 'Dogs' does not exist" && poster.error().contains("nobody is here")
    });
    assert!(gone, "the group is still there");
}
