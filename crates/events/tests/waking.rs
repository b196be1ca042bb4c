//! Waking and timeouts: a wake-up ends a wait wherever the two meet, and time is never cut short.

mod support;

use bifilar_events::{EventQueue, Events, Interest, Mode, Token};
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};
use support::ready;

#[test]
fn a_wake_before_the_wait_counts_once() {
    let queue = EventQueue::new().unwrap();
    assert_eq!(ready(&queue), "");
    for _ in 0..3 {
        queue.wake().unwrap();
        queue.wake().unwrap();
        assert_eq!(ready(&queue), "!");
        assert_eq!(ready(&queue), "");
    }
}

#[test]
fn a_wake_comes_along_with_events() {
    let queue = EventQueue::new().unwrap();
    let (end, mut other) = UnixStream::pair().unwrap();
    queue.register(&end, Token(1), Interest::READABLE, Mode::Edge).unwrap();
    other.write_all(b"x").unwrap();
    queue.wake().unwrap();
    assert_eq!(ready(&queue), "! 1:r");
}

#[test]
fn a_wait_in_progress_is_ended() {
    // The waiter is in `wait` or about to be: both must end, in each of many rounds.
    let queue = EventQueue::new().unwrap();
    let (say, hear) = mpsc::channel();
    thread::scope(|scope| {
        scope.spawn(|| {
            let say = say;
            let mut events = Events::with_capacity(4);
            for _ in 0..1_000 {
                queue.wait(&mut events, None).unwrap();
                assert!(events.woken() && events.is_empty());
                say.send(()).unwrap();
            }
        });
        for _ in 0..1_000 {
            queue.wake().unwrap();
            hear.recv().unwrap();
        }
    });
}

#[test]
fn no_wake_is_lost_among_many_wakers() {
    // Each waker publishes a number, wakes, and waits until the number was taken up. A lost
    // wake-up would leave all of them waiting.
    const WAKERS: usize = 4;
    const ROUNDS: u64 = 2_000;
    let queue = EventQueue::new().unwrap();
    let said: [AtomicU64; WAKERS] = Default::default();
    let taken: [AtomicU64; WAKERS] = Default::default();
    thread::scope(|scope| {
        for (said, taken) in said.iter().zip(&taken) {
            let queue = &queue;
            scope.spawn(move || {
                for round in 1..=ROUNDS {
                    // Relaxed: what makes it visible is `wake`, which is the point.
                    said.store(round, Ordering::Relaxed);
                    queue.wake().unwrap();
                    while taken.load(Ordering::Acquire) != round {
                        thread::yield_now();
                    }
                }
            });
        }
        let mut events = Events::with_capacity(4);
        let mut finished = 0;
        while finished < WAKERS {
            queue.wait(&mut events, None).unwrap();
            assert!(events.woken());
            finished = 0;
            for (said, taken) in said.iter().zip(&taken) {
                let round = said.load(Ordering::Relaxed);
                taken.store(round, Ordering::Release);
                finished += usize::from(round == ROUNDS);
            }
        }
    });
}

#[test]
fn one_wake_releases_one_of_several_waiters() {
    let queue = EventQueue::new().unwrap();
    let returned = AtomicU64::new(0);
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                let mut events = Events::with_capacity(4);
                queue.wait(&mut events, None).unwrap();
                assert!(events.woken());
                returned.fetch_add(1, Ordering::Relaxed);
            });
        }
        for expected in 1..=3 {
            queue.wake().unwrap();
            while returned.load(Ordering::Relaxed) < expected {
                thread::yield_now();
            }
            assert_eq!(returned.load(Ordering::Relaxed), expected);
        }
    });
}

#[test]
fn registering_reaches_a_wait_in_progress() {
    let queue = EventQueue::new().unwrap();
    let (end, _other) = UnixStream::pair().unwrap();
    thread::scope(|scope| {
        let waiter = scope.spawn(|| {
            let mut events = Events::with_capacity(4);
            queue.wait(&mut events, None).unwrap();
            events.iter().next().map(|event| event.token())
        });
        queue.register(&end, Token(9), Interest::WRITABLE, Mode::Edge).unwrap();
        assert_eq!(waiter.join().unwrap(), Some(Token(9)));
    });
}

#[test]
fn a_wait_is_never_shorter_than_its_timeout() {
    let queue = EventQueue::new().unwrap();
    let mut events = Events::with_capacity(4);
    for micros in [1, 10, 100, 999, 1_000, 1_001, 1_500, 5_000, 20_000] {
        let timeout = Duration::from_micros(micros);
        for _ in 0..5 {
            let start = Instant::now();
            queue.wait(&mut events, Some(timeout)).unwrap();
            assert!(start.elapsed() >= timeout, "{:?} < {timeout:?}", start.elapsed());
            assert!(events.is_empty() && !events.woken());
        }
    }
}

#[test]
fn the_longest_timeouts_are_accepted() {
    let queue = EventQueue::new().unwrap();
    let mut events = Events::with_capacity(4);
    for timeout in
        [Duration::MAX, Duration::from_secs(i32::MAX as u64), Duration::from_secs(1 << 40)]
    {
        queue.wake().unwrap();
        queue.wait(&mut events, Some(timeout)).unwrap();
        assert!(events.woken());
    }
}

#[test]
fn a_wait_forgets_the_events_of_the_last() {
    let queue = EventQueue::new().unwrap();
    let (end, _other) = UnixStream::pair().unwrap();
    queue.register(&end, Token(1), Interest::WRITABLE, Mode::Edge).unwrap();
    let mut events = Events::with_capacity(4);
    queue.wait(&mut events, None).unwrap();
    assert_eq!(events.len(), 1);
    queue.wait(&mut events, Some(Duration::ZERO)).unwrap();
    assert_eq!((events.len(), events.iter().count()), (0, 0));
}

#[test]
fn queues_and_buffers_move_between_threads() {
    fn check<T: Send + Sync>() {}
    check::<EventQueue>();
    check::<Events>();

    // An idle thread can look after the queue of a busy one.
    let queue = EventQueue::new().unwrap();
    let (end, mut other) = UnixStream::pair().unwrap();
    queue.register(&end, Token(1), Interest::READABLE, Mode::Edge).unwrap();
    other.write_all(b"x").unwrap();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            assert_eq!(ready(&queue), "1:r");
            done.store(true, Ordering::Release);
        });
    });
    assert!(done.load(Ordering::Acquire));
    assert_eq!(ready(&queue), "");
}
