//! What is refused, what a closed descriptor leaves behind, and many sources at once.

mod support;

use bifilar_events::{EventQueue, Events, Interest, Mode, Token};
use std::collections::BTreeSet;
use std::io::{ErrorKind, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;
use support::ready;

const R: Interest = Interest::READABLE;

#[test]
fn mistakes_come_back_as_errors() {
    let queue = EventQueue::new().unwrap();
    let (end, _other) = UnixStream::pair().unwrap();
    let register = |token| queue.register(&end, Token(token), R, Mode::Edge).map_err(|e| e.kind());
    let modify = |token| queue.modify(&end, Token(token), R, Mode::Edge).map_err(|e| e.kind());
    let deregister = || queue.deregister(&end).map_err(|e| e.kind());

    assert_eq!(modify(1), Err(ErrorKind::NotFound));
    assert_eq!(deregister(), Err(ErrorKind::NotFound));
    assert_eq!(register(u64::MAX), Err(ErrorKind::InvalidInput));
    assert_eq!(register(u64::MAX - 1), Ok(()));
    assert_eq!(register(1), Err(ErrorKind::AlreadyExists));
    assert_eq!(modify(u64::MAX), Err(ErrorKind::InvalidInput));
    assert_eq!(modify(1), Ok(()));
    assert_eq!(deregister(), Ok(()));
    assert_eq!(deregister(), Err(ErrorKind::NotFound));
    assert_eq!(register(1), Ok(()));

    let file = std::fs::File::open("/proc/self/exe").unwrap();
    let regular = queue.register(&file, Token(2), R, Mode::Level).unwrap_err();
    assert_eq!(regular.kind(), ErrorKind::PermissionDenied);
}

#[test]
fn the_last_descriptor_takes_the_registration_with_it() {
    let queue = EventQueue::new().unwrap();
    let (end, mut other) = UnixStream::pair().unwrap();
    queue.register(&end, Token(1), R, Mode::Level).unwrap();
    other.write_all(b"x").unwrap();
    assert_eq!(ready(&queue), "1:r");

    let clone = end.try_clone().unwrap();
    drop(end);
    assert_eq!(ready(&queue), "1:r", "a clone keeps the registration alive");
    drop(clone);
    assert_eq!(ready(&queue), "");

    // The number of the closed descriptor is used anew, and starts unregistered.
    let (end, _other) = UnixStream::pair().unwrap();
    queue.register(&end, Token(2), R, Mode::Level).unwrap();
    assert_eq!(ready(&queue), "");
}

#[test]
fn many_sources_come_in_portions_and_none_is_left_out() {
    const COUNT: u64 = 1_000;
    let queue = EventQueue::new().unwrap();
    let pairs: Vec<_> = (0..COUNT).map(|_| UnixStream::pair().unwrap()).collect();
    for (token, (end, other)) in (0..).zip(&pairs) {
        queue.register(end, Token(token), R, Mode::Edge).unwrap();
        (&*other).write_all(b"x").unwrap();
    }
    queue.wake().unwrap();

    for capacity in [0, 1, 7, 64, 2_000] {
        let mut events = Events::with_capacity(capacity);
        let (mut seen, mut woken) = (BTreeSet::new(), 0);
        loop {
            queue.wait(&mut events, Some(Duration::ZERO)).unwrap();
            if events.is_empty() && !events.woken() {
                break;
            }
            assert!(events.len() <= capacity.max(1));
            assert_eq!(events.iter().len(), events.len());
            woken += u32::from(events.woken());
            for event in &events {
                assert!(event.is_readable());
                assert!(seen.insert(event.token().0), "{event:?} came twice");
            }
        }
        assert_eq!((seen.len() as u64, woken), (COUNT, 1), "with a capacity of {capacity}");

        for (end, other) in &pairs {
            (&*other).write_all(b"x").unwrap(); // another edge for the next capacity
            let _ = end;
        }
        queue.wake().unwrap();
    }
}

#[test]
fn a_level_source_does_not_keep_others_from_being_seen() {
    let queue = EventQueue::new().unwrap();
    let pairs: Vec<_> = (0..10).map(|_| UnixStream::pair().unwrap()).collect();
    for (token, (end, other)) in (0..).zip(&pairs) {
        queue.register(end, Token(token), R, Mode::Level).unwrap();
        (&*other).write_all(b"x").unwrap();
    }
    let mut events = Events::with_capacity(2);
    let mut seen = BTreeSet::new();
    for _ in 0..5 {
        queue.wait(&mut events, None).unwrap();
        seen.extend(events.iter().map(|event| event.token().0));
    }
    assert_eq!(seen.len(), 10);
}
