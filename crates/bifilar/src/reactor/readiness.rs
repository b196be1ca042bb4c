//! Whether a source is ready, and who waits for it.
//!
//! ```text
//!   bits 0–1   READABLE, WRITABLE: an operation is worth trying
//!   bits 2–3   READ_CLOSED, WRITE_CLOSED: the peer is done; operations never block again
//!   bits 4..   how many events have arrived (wraps)
//! ```
//!
//! Events are edge-triggered: the kernel speaks once, and readiness holds until an operation says
//! "would block" or comes up short. Who tries an operation remembers the count, and clears readiness
//! only if no event has come since: an event that arrives between the attempt and the clearing is
//! not lost.
//!
//! A waiter leaves its waker *and then looks at the word again*; an event changes the word *and
//! then takes the wakers*. Both go through the lock of the wakers, so one of them sees the other.

use crate::primitives::{AtomicU32, Mutex, Ordering};
use std::task::Waker;

/// What a source can be ready for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    Read,
    Write,
}

const READABLE: u32 = 1;
const WRITABLE: u32 = 1 << 1;
const READ_CLOSED: u32 = 1 << 2;
const WRITE_CLOSED: u32 = 1 << 3;
const EVENT: u32 = 1 << 4;

impl Direction {
    fn ready(self) -> u32 {
        match self {
            Direction::Read => READABLE,
            Direction::Write => WRITABLE,
        }
    }

    fn closed(self) -> u32 {
        match self {
            Direction::Read => READ_CLOSED,
            Direction::Write => WRITE_CLOSED,
        }
    }
}

/// What an event reported.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Reported {
    pub readable: bool,
    pub writable: bool,
    pub read_closed: bool,
    pub write_closed: bool,
}

/// The count of events at the time of an attempt.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Attempt(u32);

#[derive(Debug)]
pub(crate) struct Readiness {
    word: AtomicU32,
    waiters: Mutex<[Wakers; 2]>,
}

impl Readiness {
    /// A source that just said "would block" for one direction. The other one is worth a try.
    pub fn new(blocked: Direction) -> Self {
        Readiness {
            word: AtomicU32::new((READABLE | WRITABLE) & !blocked.ready()),
            waiters: Mutex::new(Default::default()),
        }
    }

    /// Whether an operation is worth trying.
    #[inline]
    pub fn ready(&self, direction: Direction) -> Option<Attempt> {
        // Acquire: partner of `report`.
        let word = self.word.load(Ordering::Acquire);
        (word & (direction.ready() | direction.closed()) != 0).then_some(Attempt(word / EVENT))
    }

    /// The attempt came up short: there is nothing more to do. A closed direction stays ready: no
    /// event will come for it any more.
    pub fn clear(&self, direction: Direction, attempt: Attempt) {
        self.clear_bits(direction.ready(), attempt);
    }

    /// The attempt would have blocked, so the direction can't be closed either, whatever an event
    /// may have said of an error.
    pub fn clear_blocked(&self, direction: Direction, attempt: Attempt) {
        self.clear_bits(direction.ready() | direction.closed(), attempt);
    }

    fn clear_bits(&self, bits: u32, attempt: Attempt) {
        let _ = self.word.fetch_update(Ordering::AcqRel, Ordering::Acquire, |word| {
            (word / EVENT == attempt.0).then_some(word & !bits)
        });
    }

    /// Leaves a waker, then looks again: `Some` if the source became ready meanwhile.
    pub fn wait(&self, direction: Direction, waker: &Waker) -> Option<Attempt> {
        // Cloned, dropped and woken outside of the lock: a waker may be anybody's.
        let waker = waker.clone();
        let (refused, overflow) = self.waiters.lock().unwrap()[direction as usize].add(waker);
        drop(refused);
        overflow.into_iter().for_each(Waker::wake);
        self.ready(direction)
    }

    /// Whether somebody waits here.
    pub fn is_waited_for(&self) -> bool {
        self.waiters.lock().unwrap().iter().any(|wakers| wakers.first.is_some())
    }

    /// An event has arrived: moves the wakers of those who waited for it to `woken`.
    pub fn report(&self, reported: Reported, woken: &mut Vec<Waker>) {
        let mut bits = 0;
        for (set, bit) in [
            (reported.readable, READABLE),
            (reported.writable, WRITABLE),
            (reported.read_closed, READ_CLOSED),
            (reported.write_closed, WRITE_CLOSED),
        ] {
            bits |= if set { bit } else { 0 };
        }
        let _ = self.word.fetch_update(Ordering::AcqRel, Ordering::Acquire, |word| {
            Some((word | bits).wrapping_add(EVENT))
        });
        let mut waiters = self.waiters.lock().unwrap();
        for direction in [Direction::Read, Direction::Write] {
            if bits & (direction.ready() | direction.closed()) != 0 {
                waiters[direction as usize].take(woken);
            }
        }
    }
}

/// The wakers of one direction: one place for the usual single waiter, and a bounded list.
///
/// A waiter that gives up leaves its waker behind; at the bound all are woken instead of kept, which
/// costs those who still wait a spurious wake-up and nothing else.
#[derive(Debug, Default)]
struct Wakers {
    first: Option<Waker>,
    more: Vec<Waker>,
}

const MOST_WAKERS: usize = 32;

impl Wakers {
    /// Returns the waker if it is here already, and others to be woken once the lock is given back.
    fn add(&mut self, waker: Waker) -> (Option<Waker>, Vec<Waker>) {
        let Some(first) = &self.first else {
            self.first = Some(waker);
            return (None, Vec::new());
        };
        if first.will_wake(&waker) || self.more.iter().any(|other| other.will_wake(&waker)) {
            return (Some(waker), Vec::new());
        }
        let full = self.more.len() == MOST_WAKERS;
        let overflow = if full { std::mem::take(&mut self.more) } else { Vec::new() };
        self.more.push(waker);
        (None, overflow)
    }

    fn take(&mut self, woken: &mut Vec<Waker>) {
        woken.extend(self.first.take());
        woken.append(&mut self.more);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::task::Wake;

    #[derive(Default)]
    struct Flag(std::sync::atomic::AtomicUsize);

    impl Wake for Flag {
        fn wake(self: std::sync::Arc<Self>) {
            self.0.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        }
    }

    const READ: Reported =
        Reported { readable: true, writable: false, read_closed: false, write_closed: false };

    #[cfg(not(loom))]
    #[test]
    fn an_event_after_the_attempt_survives_the_clearing() {
        let readiness = Readiness::new(Direction::Write);
        let attempt = readiness.ready(Direction::Read).unwrap();
        readiness.report(READ, &mut Vec::new());
        readiness.clear(Direction::Read, attempt);
        let attempt = readiness.ready(Direction::Read).expect("the event was lost");
        readiness.clear(Direction::Read, attempt);
        assert!(readiness.ready(Direction::Read).is_none());
    }

    #[cfg(not(loom))]
    #[test]
    fn a_closed_direction_stays_ready() {
        let readiness = Readiness::new(Direction::Read);
        readiness.report(Reported { read_closed: true, ..READ }, &mut Vec::new());
        let attempt = readiness.ready(Direction::Read).unwrap();
        readiness.clear(Direction::Read, attempt);
        assert!(readiness.ready(Direction::Read).is_some());
        readiness.clear_blocked(Direction::Read, attempt);
        assert!(readiness.ready(Direction::Read).is_none());
    }

    #[cfg(not(loom))]
    #[test]
    fn the_list_of_waiters_is_bounded_and_loses_nobody() {
        let readiness = Readiness::new(Direction::Read);
        let flags: Vec<_> = (0..100).map(|_| std::sync::Arc::new(Flag::default())).collect();
        for flag in &flags {
            assert!(readiness.wait(Direction::Read, &flag.clone().into()).is_none());
        }
        let mut woken = Vec::new();
        readiness.report(READ, &mut woken);
        assert!(woken.len() <= MOST_WAKERS + 1);
        woken.into_iter().for_each(Waker::wake);
        for (i, flag) in flags.iter().enumerate() {
            assert_eq!(flag.0.load(std::sync::atomic::Ordering::SeqCst), 1, "waiter {i}");
        }
    }

    #[cfg(loom)]
    #[test]
    fn loom_a_waiter_meets_an_event() {
        loom::model(|| {
            let readiness = loom::sync::Arc::new(Readiness::new(Direction::Read));
            let reactor = {
                let readiness = readiness.clone();
                loom::thread::spawn(move || {
                    let mut woken = Vec::new();
                    readiness.report(READ, &mut woken);
                    woken.len()
                })
            };
            let waker = Waker::from(std::sync::Arc::new(Flag::default()));
            let seen = readiness.wait(Direction::Read, &waker);
            let woken = reactor.join().unwrap();
            assert!(seen.is_some() || woken == 1);
        });
    }

    #[cfg(loom)]
    #[test]
    fn loom_clearing_meets_an_event() {
        loom::model(|| {
            let readiness = loom::sync::Arc::new(Readiness::new(Direction::Write));
            let attempt = readiness.ready(Direction::Read).unwrap();
            let reactor = {
                let readiness = readiness.clone();
                loom::thread::spawn(move || readiness.report(READ, &mut Vec::new()))
            };
            readiness.clear(Direction::Read, attempt);
            reactor.join().unwrap();
            assert!(readiness.ready(Direction::Read).is_some());
        });
    }
}
