//! Simulated runtimes: the same seed gives the same run, and time passes when nothing else can.

use bifilar::{
    Builder, Wait, fiber, scope, shield,
    sync::{CancelToken, Mutex, Notify, Semaphore, channel, oneshot},
    task,
    time::{self, now, sleep, timeout, with_deadline},
    try_scope, until,
};
use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

const HOUR: Duration = Duration::from_secs(3600);

/// What ten tasks of several kinds write down while they push one another about.
fn story(seed: u64) -> Vec<(u32, u32, Duration)> {
    Builder::new().simulate(seed).run(|| {
        let start = now();
        let log = Arc::new(std::sync::Mutex::new(Vec::new()));
        let (sender, receiver) = channel::bounded(2);
        let turn = Arc::new(Mutex::new(()));
        let tasks: Vec<_> = (0..10)
            .map(|i| {
                let (log, turn) = (log.clone(), turn.clone());
                let (sender, receiver) = (sender.clone(), receiver.clone());
                let write = move |line| log.lock().unwrap().push((i, line, now() - start));
                match i % 3 {
                    0 => fiber::spawn(move || {
                        for line in 0..5 {
                            sender.send(line).wait().unwrap();
                            let _held = turn.lock().wait();
                            write(line);
                            fiber::yield_now();
                        }
                    }),
                    1 => task::spawn(async move {
                        for line in 0..5 {
                            let _ = timeout(Duration::from_millis(7), receiver.recv()).await;
                            write(line);
                            let _held = turn.lock().await;
                            task::yield_now().await;
                        }
                    }),
                    _ => task::spawn(async move {
                        for line in 0..5 {
                            sleep(Duration::from_millis(u64::from(i))).await;
                            async { receiver.try_recv().ok() }.wait();
                            write(line);
                        }
                    }),
                }
            })
            .collect();
        drop((sender, receiver));
        for task in tasks {
            // Senders may be left alone with a full channel.
            let _ = timeout(HOUR, task).wait();
        }
        let log = log.lock().unwrap();
        log.clone()
    })
}

#[test]
fn a_seed_gives_one_run_and_another_seed_another() {
    let runs: Vec<_> = (0..20).map(story).collect();
    for (seed, run) in runs.iter().enumerate() {
        assert_eq!(*run, story(seed as u64), "seed {seed} twice");
    }
    let different: std::collections::HashSet<_> = runs.iter().collect();
    assert!(different.len() > 15, "{} of 20 runs differ", different.len());
}

#[test]
fn time_passes_from_timer_to_timer() {
    let real = Instant::now();
    Builder::new().simulate(7).run(|| {
        let start = now();
        let woken = Arc::new(std::sync::Mutex::new(Vec::new()));
        let sleepers: Vec<_> = [5, 1, 4, 2, 3]
            .map(|hours| {
                let woken = woken.clone();
                fiber::spawn(move || {
                    sleep(HOUR * hours).wait();
                    assert_eq!(now() - start, HOUR * hours);
                    woken.lock().unwrap().push(hours);
                })
            })
            .into();
        sleepers.into_iter().for_each(|sleeper| sleeper.join().unwrap());
        assert_eq!(*woken.lock().unwrap(), [1, 2, 3, 4, 5]);
        assert_eq!(now() - start, HOUR * 5);

        assert!(with_deadline(HOUR, || sleep(HOUR * 2).wait()).is_err());
        assert!(with_deadline(HOUR * 2, || sleep(HOUR).wait()).is_ok());
        assert_eq!(now() - start, HOUR * 7);
        let ticks = time::interval(HOUR);
        let mut ticks = std::pin::pin!(ticks);
        for _ in 0..3 {
            std::future::poll_fn(|cx| futures_core::Stream::poll_next(ticks.as_mut(), cx)).wait();
        }
        // The first tick is at once.
        assert_eq!(now() - start, HOUR * 9);
    });
    assert!(real.elapsed() < HOUR);
}

/// Counts what has been made and not been dropped.
struct Alive<'a>(&'a AtomicUsize);

impl<'a> Alive<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Alive(count)
    }
}

impl Drop for Alive<'_> {
    fn drop(&mut self) {
        // Destructors may wait, also while their stack unwinds.
        fiber::yield_now();
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// One run of everything that ends tasks early, in an order that the seed decides. Panics if
/// something is lost, leaked, or ends twice.
fn early_ends(seed: u64) {
    let alive = &AtomicUsize::new(0);
    let result = catch_unwind(AssertUnwindSafe(|| {
        Builder::new().simulate(seed).run(|| {
            messages_survive_cancellation();
            locks_survive_cancellation();
            scopes_end_whole(alive);
            errors_end_scopes(alive);
            regions_end_in_order(alive);
            shields_hold();
            every_kind_ends_in_every_way(alive);
            // Left to the end of the runtime.
            let (_sender, receiver) = channel::unbounded::<()>();
            fiber::spawn(move || receiver.recv().wait());
            task::spawn(async { Notify::new().notified().wait() });
        });
    }));
    let left = alive.load(Ordering::Relaxed);
    match result {
        Ok(()) if left == 0 => {}
        Ok(()) => panic!("seed {seed}: {left} values were never dropped"),
        Err(_) => panic!("seed {seed} failed: run this test with BIFILAR_SEED={seed}"),
    }
}

fn messages_survive_cancellation() {
    let (sender, receiver) = channel::bounded(1);
    let received = Arc::new(AtomicUsize::new(0));
    let receivers: Vec<_> = (0..4)
        .map(|i| {
            let (receiver, received) = (receiver.clone(), received.clone());
            let count = move || received.fetch_add(1, Ordering::Relaxed);
            if i % 2 == 0 {
                fiber::spawn(move || {
                    while receiver.recv().wait().is_ok() {
                        count();
                    }
                })
            } else {
                task::spawn(async move {
                    while receiver.recv().await.is_ok() {
                        count();
                    }
                })
            }
        })
        .collect();
    for i in 0..8 {
        sender.send(i).wait().unwrap();
        if i == 2 || i == 5 {
            receivers[i % 4].cancel();
        }
    }
    drop(sender);
    for handle in receivers {
        let _ = handle.join();
    }
    let left = std::iter::from_fn(|| receiver.try_recv().ok()).count();
    assert_eq!(received.load(Ordering::Relaxed) + left, 8);
}

fn locks_survive_cancellation() {
    let lock = Arc::new(Mutex::new(0));
    let permits = Arc::new(Semaphore::new(2));
    let handles: Vec<_> = (0..6)
        .map(|_| {
            let (lock, permits) = (lock.clone(), permits.clone());
            fiber::spawn(move || {
                let _permit = permits.acquire().wait().unwrap();
                let mut value = lock.lock().wait();
                fiber::yield_now();
                *value += 1;
            })
        })
        .collect();
    fiber::yield_now();
    handles[1].cancel();
    handles[4].cancel();
    let ended = handles.into_iter().filter_map(|handle| handle.join().ok()).count();
    assert_eq!(*lock.lock().wait(), ended);
    assert_eq!(permits.available_permits(), 2);
}

fn scopes_end_whole(alive: &AtomicUsize) {
    let before = alive.load(Ordering::Relaxed);
    let result = catch_unwind(AssertUnwindSafe(|| {
        scope(|s| {
            let (sender, receiver) = oneshot::channel::<()>();
            let waiting = s.spawn(move || {
                let _value = Alive::new(alive);
                receiver.wait()
            });
            s.spawn_future(async {
                let _value = Alive::new(alive);
                scope(|inner| {
                    inner.spawn(|| drop(Alive::new(alive)));
                    inner.spawn(|| sleep(HOUR).wait()).cancel();
                });
                task::yield_now().await;
            });
            s.spawn(|| {
                let _value = Alive::new(alive);
                std::panic::resume_unwind(Box::new("expected"))
            });
            drop(sender);
            assert!(waiting.join().unwrap().is_err());
        });
    }));
    let message = *result.unwrap_err().downcast::<&str>().unwrap();
    assert_eq!(message, "a scoped task panicked");
    assert_eq!(alive.load(Ordering::Relaxed), before);
}

fn errors_end_scopes(alive: &AtomicUsize) {
    let before = alive.load(Ordering::Relaxed);
    let start = now();
    let result: Result<(), u32> = try_scope(|s| {
        s.spawn(|| {
            let _value = Alive::new(alive);
            sleep(HOUR).wait();
            Ok(())
        });
        s.spawn_future(async {
            let _value = Alive::new(alive);
            sleep(Duration::from_millis(3)).await;
            Err::<(), _>(3)
        });
        s.spawn(|| {
            let _value = Alive::new(alive);
            sleep(Duration::from_millis(5)).wait();
            Err::<(), _>(5)
        });
        let _value = Alive::new(alive);
        sleep(HOUR).wait();
        Ok(())
    });
    assert_eq!(result, Err(3));
    assert_eq!(alive.load(Ordering::Relaxed), before);
    assert!(now() - start < HOUR);
}

fn regions_end_in_order(alive: &AtomicUsize) {
    let token = CancelToken::new();
    let inner = with_deadline(HOUR, || {
        until(token.child().cancelled(), || {
            let _value = Alive::new(alive);
            fiber::spawn({
                let token = token.clone();
                move || {
                    sleep(Duration::from_millis(2)).wait();
                    token.cancel();
                }
            });
            with_deadline(Duration::from_millis(1), || sleep(HOUR).wait()).unwrap_err();
            // Swallowed, and met again at the next wait.
            let caught = catch_unwind(|| sleep(HOUR).wait());
            assert!(caught.is_err());
            sleep(HOUR).wait();
        })
    });
    assert!(matches!(inner, Ok(Err(()))));
}

fn shields_hold() {
    let ended = Arc::new(AtomicUsize::new(0));
    let handle = fiber::spawn({
        let ended = ended.clone();
        move || {
            let _ = with_deadline(Duration::from_millis(1), || {
                shield(|| sleep(Duration::from_millis(5)).wait());
                ended.fetch_add(1, Ordering::Relaxed);
                sleep(HOUR).wait();
                ended.fetch_add(10, Ordering::Relaxed);
            });
            shield(|| sleep(Duration::from_millis(5)).wait());
            ended.fetch_add(100, Ordering::Relaxed);
        }
    });
    fiber::yield_now();
    let started = ended.load(Ordering::Relaxed);
    sleep(Duration::from_millis(2)).wait();
    handle.cancel();
    let _ = handle.join();
    assert_eq!(started, 0);
    assert!(matches!(ended.load(Ordering::Relaxed), 0 | 1 | 101), "{ended:?}");
}

/// Under sanitizers each takes many times as long.
const ORDERS: u64 = if cfg!(any(bifilar_sanitizer = "address", bifilar_sanitizer = "thread")) {
    2_000
} else {
    10_000
};

/// Many orders of the same program. `BIFILAR_SEED` repeats one of them.
/// (cancel, panic, deadline) × (fiber, async task, async task in mid-wait, scope child), each beside a
/// sibling that must not notice. The fourth way, the end of the runtime, is what the main fiber leaves
/// behind.
fn every_kind_ends_in_every_way(alive: &AtomicUsize) {
    let before = alive.load(Ordering::Relaxed);
    let end = |way: u32| {
        let _value = Alive::new(alive);
        match way {
            0 => sleep(HOUR).wait(),
            1 => std::panic::resume_unwind(Box::new("expected")),
            _ => drop(with_deadline(Duration::from_millis(1), || sleep(HOUR).wait()).unwrap_err()),
        }
    };
    let end_async = async |way: u32| {
        let _value = Alive::new(alive);
        match way {
            0 => sleep(HOUR).await,
            1 => std::panic::resume_unwind(Box::new("expected")),
            _ => drop(timeout(Duration::from_millis(1), sleep(HOUR)).await.unwrap_err()),
        }
    };
    for way in 0..3 {
        scope(|s| {
            let (go, gone) = oneshot::channel();
            let sibling = s.spawn(move || gone.wait());
            let ends = [
                s.spawn(move || end(way)),
                s.spawn_future(end_async(way)),
                s.spawn_future(async move { end(way) }),
                s.spawn(move || scope(|inner| inner.spawn(move || end(way)).join().unwrap())),
            ];
            for _ in 0..3 {
                fiber::yield_now();
            }
            for task in ends {
                if way == 0 {
                    task.cancel();
                }
                match (way, task.join()) {
                    (0, Err(error)) if error.is_cancelled() => {}
                    (1, Err(error)) if error.is_panic() => {}
                    (2, Ok(())) => {}
                    (way, other) => panic!("way {way}: {other:?}"),
                }
            }
            go.send(way).unwrap();
            assert_eq!(sibling.join().unwrap(), Ok(way));
        });
    }
    assert_eq!(alive.load(Ordering::Relaxed), before);
}

#[test]
fn early_ends_lose_nothing_in_any_order() {
    match std::env::var("BIFILAR_SEED") {
        Ok(seed) => early_ends(seed.parse().expect("BIFILAR_SEED is a number")),
        Err(_) => (0..ORDERS).for_each(early_ends),
    }
}
