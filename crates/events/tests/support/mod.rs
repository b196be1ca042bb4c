//! What the tests say in one word: a queue that is asked for events and answers in a string.
#![allow(dead_code)] // each test file uses some of it

use bifilar_events::{Event, EventQueue, Events};
use std::time::Duration;

/// One event as `token:letters`; r readable, w writable, R read closed, W write closed, e error,
/// p priority.
pub fn describe(event: Event) -> String {
    let letters = [
        ('r', event.is_readable()),
        ('w', event.is_writable()),
        ('R', event.is_read_closed()),
        ('W', event.is_write_closed()),
        ('e', event.is_error()),
        ('p', event.is_priority()),
    ];
    let letters: String =
        letters.iter().filter(|(_, yes)| *yes).map(|(letter, _)| letter).collect();
    format!("{}:{letters}", event.token().0)
}

/// What is ready at this moment, sorted by token: `"1:r 2:rw"`, with `!` in front if woken.
pub fn ready(queue: &EventQueue) -> String {
    let mut events = Events::with_capacity(64);
    queue.wait(&mut events, Some(Duration::ZERO)).unwrap();
    let mut found: Vec<String> = events.iter().map(describe).collect();
    found.sort();
    assert_eq!(found.len(), events.len());
    if events.woken() {
        found.insert(0, "!".into());
    }
    found.join(" ")
}
