//! A member that reads too slowly loses the oldest messages, is told exactly how many, and goes on.

use crate::{in_each_style, server::Server};

in_each_style!(a_slow_reader_is_told_what_it_lost);

fn a_slow_reader_is_told_what_it_lost(style: &str) {
    // Far more than the kernel's buffers and the 1,000 messages a member may lag.
    const MESSAGES: u64 = 4_000;
    let padding = "x".repeat(2 * 1024);
    let server = Server::start(style);
    let mut slow = server.member("Dogs");
    slow.read_slowly();
    let mut poster = server.client();
    (0..MESSAGES).for_each(|n| poster.post_plain("Dogs", &format!("{n} {padding}")));
    poster.fence(); // all taken

    let (mut next, mut dropped) = (0, 0);
    while next < MESSAGES {
        let line = slow.line().unwrap();
        if let Some(text) = line.strip_prefix("{\"Error\":\"Dropped ") {
            let count = text.strip_suffix(" messages from Dogs.\"}").unwrap();
            let count: u64 = count.parse().unwrap();
            assert!(count > 0);
            dropped += count;
            next += count;
        } else {
            let message = line.strip_prefix("{\"Message\":{\"group_name\":\"Dogs\",\"message\":\"");
            let number = message.unwrap().split_once(' ').unwrap().0;
            assert_eq!(number.parse(), Ok(next));
            next += 1;
        }
    }
    assert!(dropped > 0, "the test is to lose some");
    assert!(MESSAGES - dropped >= 1_000, "a member may lag by 1,000 messages");

    poster.post("Dogs", "on");
    slow.gets("Dogs", "on");
    slow.fence();
}
