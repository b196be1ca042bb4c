//! A member that reads too slowly loses the oldest messages, is told exactly how many, and goes on.

use crate::{in_each_style, server::Server};

in_each_style!(a_slow_reader_is_told_what_it_lost);

fn a_slow_reader_is_told_what_it_lost(style: &str) {
    // Far more than the kernel's buffers and the 1,000 messages a member may lag.
    const MESSAGES: u64 = 4_000;
    let padding = "x".repeat(8 * 1024);
    let server = Server::start(style);
    let mut slow = server.member("Dogs");
    let mut poster = server.client();
    (0..MESSAGES).for_each(|n| poster.post("Dogs", &format!("{n} {padding}")));
    poster.fence(); // all taken

    let (mut next, mut dropped) = (0, 0);
    while next < MESSAGES {
        let value = slow.next().unwrap();
        if let Some(text) = value["Error"].as_str() {
            let count = text.strip_prefix("Dropped ").unwrap();
            let count: u64 = count.strip_suffix(" messages from Dogs.").unwrap().parse().unwrap();
            assert!(count > 0);
            dropped += count;
            next += count;
        } else {
            let message = value["Message"]["message"].as_str().unwrap();
            assert_eq!(message.split_once(' ').unwrap().0.parse(), Ok(next));
            next += 1;
        }
    }
    assert!(dropped > 0, "the test is to lose some");
    assert!(MESSAGES - dropped >= 1_000, "a member may lag by 1,000 messages");

    poster.post("Dogs", "on");
    slow.gets("Dogs", "on");
    slow.fence();
}
