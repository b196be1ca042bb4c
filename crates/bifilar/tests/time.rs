//! Timers: never early, in order, cancelled without a trace.

use bifilar::{
    Builder, Wait, WaitIter, fiber,
    sync::channel,
    task,
    time::{interval, sleep, sleep_until, timeout, timeout_at},
};
use std::{
    future::pending,
    pin::pin,
    time::{Duration, Instant},
};

const MS: Duration = Duration::from_millis(1);

#[test]
fn never_early() {
    bifilar::run(|| {
        let fibers: Vec<_> = (0..200)
            .map(|i| {
                fiber::spawn(move || {
                    let (start, wanted) = (Instant::now(), MS * (i % 20) + MS / 3);
                    sleep(wanted).wait();
                    assert!(start.elapsed() >= wanted);
                })
            })
            .collect();
        fibers.into_iter().for_each(|fiber| fiber.join().unwrap());
    });
}

#[test]
fn in_the_order_of_their_deadlines() {
    Builder::new().workers(1).run(|| {
        let (sender, receiver) = channel::unbounded();
        let start = Instant::now() + 5 * MS;
        for i in [3_u32, 1, 4, 0, 2] {
            let sender = sender.clone();
            drop(task::spawn(async move {
                sleep_until(start + 2 * i * MS).await;
                sender.try_send(i).unwrap();
            }));
        }
        drop(sender);
        assert_eq!(receiver.wait_iter().collect::<Vec<_>>(), [0, 1, 2, 3, 4]);
    });
}

#[test]
fn edges_of_time() {
    bifilar::run(|| {
        sleep(Duration::ZERO).wait();
        sleep_until(Instant::now() - MS).wait();
        // Further away than an `Instant` can say: never, but no panic.
        assert!(timeout(MS, sleep(Duration::MAX)).wait().is_err());
        assert!(timeout(Duration::MAX, async { 1 }).wait().is_ok());
        // A ready future wins even when the time is up.
        assert_eq!(timeout_at(Instant::now(), async { 1 }).wait(), Ok(1));
        assert!(timeout(MS, pending::<()>()).wait().is_err());
    });
}

#[test]
fn an_interval_skips_what_it_missed() {
    bifilar::run(|| {
        let mut ticks = interval(4 * MS);
        let first = ticks.tick().wait();
        // Late by several periods: one tick at once, then back in step.
        sleep(18 * MS).wait();
        let second = ticks.tick().wait();
        let third = ticks.tick().wait();
        assert_eq!(second - first, 4 * MS);
        let step = (third - second).as_micros();
        assert_eq!(step % 4_000, 0);
        assert!(step >= 16_000, "{step}");
    });
}

#[test]
fn a_sleep_may_be_reset_and_moved_between_tasks() {
    Builder::new().workers(2).run(|| {
        let mut long = sleep(Duration::from_secs(3600));
        assert!(timeout(MS, &mut long).wait().is_err());
        long.reset(Instant::now() + MS);
        // Set on one worker, waited for on whichever runs this.
        fiber::spawn(move || long.wait()).join().unwrap();
    });
}

/// A timer set from outside must wake a worker that sleeps without end.
#[test]
fn a_timer_from_another_thread_wakes_the_sleeping_worker() {
    let runtime = Builder::new().workers(1).build().unwrap();
    for _ in 0..20 {
        let start = Instant::now();
        runtime.block_on(sleep(2 * MS));
        assert!(start.elapsed() >= 2 * MS);
        // Polled once here, finished on the worker.
        let _entered = runtime.handle().enter();
        let mut sleep = Box::pin(sleep(2 * MS));
        assert!(timeout(Duration::ZERO, &mut sleep).wait().is_err());
        runtime.spawn(sleep).join().unwrap();
    }
}

#[test]
fn many_set_and_cancelled() {
    bifilar::run(|| {
        for _ in 0..100 {
            let sleeps: Vec<_> =
                (0..1_000).map(|i| timeout(MS * i * 60, pending::<()>())).collect();
            for mut sleep in sleeps {
                let mut once = pin!(std::future::poll_fn(|cx| {
                    let _ = std::pin::Pin::new(&mut sleep).poll(cx);
                    std::task::Poll::Ready(())
                }));
                once.as_mut().wait();
            }
        }
    });
}
