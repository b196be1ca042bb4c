//! Many threads, every count accounted for. Threads block on the futures, so every lock and
//! channel is shared by tasks that really run at the same time.

use crate::support::block_on;
use bifilar::sync::{
    Barrier, Mutex, Notify, OnceCell, RwLock, Semaphore, broadcast, channel, watch,
};
use std::{
    future::Future,
    pin::pin,
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
    task::{Context, Waker},
    thread,
};

const THREADS: usize = 4;
const ROUNDS: usize = if cfg!(debug_assertions) { 2_000 } else { 10_000 };

/// Runs `body` on several threads, and returns what they return.
fn on_threads<T: Send>(body: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let body = &body;
    thread::scope(|s| {
        let threads: Vec<_> = (0..THREADS).map(|n| s.spawn(move || body(n))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

/// Polls once and gives up, as the loser of a race does.
fn give_up(future: impl Future) {
    let _ = pin!(future).poll(&mut Context::from_waker(Waker::noop()));
}

#[test]
fn a_mutex_counts() {
    let mutex = Mutex::new(0);
    on_threads(|_| {
        for round in 0..ROUNDS {
            if round % 3 == 0 {
                give_up(mutex.lock());
            }
            *block_on(mutex.lock()) += 1;
        }
    });
    assert_eq!(mutex.into_inner(), THREADS * ROUNDS);
}

#[test]
fn a_read_write_lock_shows_no_half_written_value() {
    let lock = RwLock::new((0, 0));
    on_threads(|n| {
        for round in 0..ROUNDS {
            if (n + round) % 4 == 0 {
                let mut pair = block_on(lock.write());
                pair.0 += 1;
                pair.1 += 1;
            } else {
                give_up(lock.write());
                let pair = block_on(lock.read());
                assert_eq!(pair.0, pair.1);
            }
        }
    });
    assert_eq!(lock.into_inner().0, THREADS * ROUNDS / 4);
}

#[test]
fn a_semaphore_lets_in_no_more_than_it_has() {
    let semaphore = Semaphore::new(3);
    let inside = AtomicUsize::new(0);
    on_threads(|n| {
        for round in 0..ROUNDS {
            let need = 1 + (n + round) % 3;
            give_up(semaphore.acquire_many(need));
            let permit = block_on(semaphore.acquire_many(need)).unwrap();
            assert!(inside.fetch_add(need, Relaxed) + need <= 3);
            inside.fetch_sub(need, Relaxed);
            drop(permit);
        }
    });
    assert_eq!(semaphore.available_permits(), 3);
}

#[test]
fn a_channel_delivers_every_message_once() {
    for capacity in [1, 7, 1_000] {
        let (sender, receiver) = channel::bounded(capacity);
        let sums = thread::scope(|s| {
            for n in 0..THREADS {
                let sender = sender.clone();
                s.spawn(move || {
                    for round in 0..ROUNDS {
                        block_on(sender.send(n * ROUNDS + round)).unwrap();
                    }
                });
            }
            drop(sender);
            on_threads(|_| {
                let (mut sum, mut last) = (0, [None; THREADS]);
                let receiver = receiver.clone();
                loop {
                    let Ok(message) = block_on(receiver.recv()) else { return sum };
                    // Each receiver sees each sender's messages in order.
                    assert!(last[message / ROUNDS].replace(message) < Some(message));
                    sum += message;
                }
            })
        });
        let all = THREADS * ROUNDS;
        assert_eq!(sums.iter().sum::<usize>(), all * (all - 1) / 2);
    }
}

#[test]
fn quitters_lose_no_message() {
    let (sender, receiver) = channel::bounded(2);
    let received = AtomicUsize::new(0);
    on_threads(|n| {
        for round in 0..ROUNDS {
            if n % 2 == 0 {
                give_up(receiver.recv().then_count(&received));
                block_on(sender.send(())).unwrap();
            } else {
                if round % 2 == 0 {
                    give_up(receiver.recv().then_count(&received));
                }
                if receiver.try_recv().is_ok() {
                    received.fetch_add(1, Relaxed);
                }
            }
            while receiver.len() == 2 {
                if receiver.try_recv().is_ok() {
                    received.fetch_add(1, Relaxed);
                }
            }
        }
        // Whoever still has to send must find room.
        while received.load(Relaxed) + receiver.len() < THREADS / 2 * ROUNDS {
            if receiver.try_recv().is_ok() {
                received.fetch_add(1, Relaxed);
            }
            thread::yield_now();
        }
    });
    assert_eq!(received.into_inner() + receiver.len(), THREADS / 2 * ROUNDS);
}

trait ThenCount: Future + Sized {
    /// Counts when ready, so that a message received by a quitter is not lost to the test.
    fn then_count<T>(self, count: &AtomicUsize) -> impl Future
    where
        Self: Future<Output = Result<T, channel::RecvError>>,
    {
        async move {
            if self.await.is_ok() {
                count.fetch_add(1, Relaxed);
            }
        }
    }
}

impl<F: Future> ThenCount for F {}

#[test]
fn a_barrier_has_one_leader_a_round() {
    let barrier = Barrier::new(THREADS);
    let leaders =
        on_threads(|_| (0..ROUNDS / 10).filter(|_| block_on(barrier.wait()).is_leader()).count());
    assert_eq!(leaders.iter().sum::<usize>(), ROUNDS / 10);
}

#[test]
fn a_notification_is_handed_round() {
    let bell = Notify::new();
    bell.notify_one();
    let turns = AtomicUsize::new(0);
    on_threads(|_| {
        for _ in 0..ROUNDS / 4 {
            give_up(async {
                bell.notified().await;
                bell.notify_one();
            });
            block_on(bell.notified());
            turns.fetch_add(1, Relaxed);
            bell.notify_one();
        }
    });
    assert_eq!(turns.into_inner(), THREADS * (ROUNDS / 4));
}

#[test]
fn a_cell_is_filled_by_one() {
    for _ in 0..ROUNDS / 20 {
        let (cell, made) = (OnceCell::new(), AtomicUsize::new(0));
        on_threads(|n| {
            block_on(cell.get_or_init(async || {
                made.fetch_add(1, Relaxed);
                n
            }))
            .to_owned()
        });
        assert_eq!(made.into_inner(), 1);
    }
}

#[test]
fn a_broadcast_reaches_everybody_or_says_how_much_did_not() {
    let (sender, first) = broadcast::channel(16);
    let mut receivers = vec![first];
    receivers.extend((1..THREADS).map(|_| sender.subscribe()));
    thread::scope(|s| {
        for mut receiver in receivers {
            s.spawn(move || {
                let (mut next, mut told) = (0, 0);
                loop {
                    match block_on(receiver.recv()) {
                        Ok(message) => {
                            assert_eq!(message, next);
                            next += 1;
                            told = 0;
                        }
                        Err(broadcast::RecvError::Lagged(missed)) => {
                            next += missed as usize;
                            told += 1;
                            assert!(missed > 0 && told < ROUNDS);
                        }
                        Err(broadcast::RecvError::Closed) => break,
                    }
                }
                assert_eq!(next, ROUNDS);
            });
        }
        for n in 0..ROUNDS {
            sender.send(n).unwrap();
        }
        drop(sender);
    });
}

#[test]
fn a_watched_counter_misses_no_increment() {
    let (sender, receiver) = watch::channel(0);
    thread::scope(|s| {
        let watcher = s.spawn({
            let mut receiver = receiver.clone();
            move || {
                let mut last = 0;
                while block_on(receiver.changed()).is_ok() {
                    let value = *receiver.borrow_and_update();
                    assert!(value >= last);
                    last = value;
                }
                last
            }
        });
        on_threads(|_| {
            for _ in 0..ROUNDS {
                sender.send_modify(|value| *value += 1);
            }
        });
        drop(sender);
        assert_eq!(watcher.join().unwrap(), THREADS * ROUNDS);
    });
}
