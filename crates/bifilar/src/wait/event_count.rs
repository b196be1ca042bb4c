//! An event count: how a waiter sleeps without losing a notification.
//!
//! ```text
//!   bit 0      WAITING: the waiter sleeps, or is about to
//!   bits 1..   how many notifications there have been (wraps)
//!
//!   waiter                                  notifier
//!   ──────                                  ────────
//!   seen = observe()
//!   look at the condition: not yet          make the condition true
//!   begin_wait(seen) ── false: look again   notify() ── true: make the waiter run
//!   sleep
//! ```
//!
//! The waiter observes *before* it looks at its condition, and falls asleep only if nobody notified
//! it since. Waits nest (a future polled by `wait` may call `wait` itself), and the inner one may
//! eat a notification that was meant for the outer one; but the outer one's `seen` is older, so it
//! looks again instead of sleeping. That is why this is a count and not a flag.
//!
//! Orderings: `notify` releases what was written before it; `observe` and a failed `begin_wait`
//! acquire it. A waiter that was woken has been ordered by the queue that carried it.

use crate::{
    context::Seen,
    primitives::{AtomicU32, Ordering},
};

const WAITING: u32 = 1;
const ONE: u32 = 2;

#[derive(Debug)]
pub(crate) struct EventCount(AtomicU32);

impl EventCount {
    pub fn new() -> Self {
        EventCount(AtomicU32::new(0))
    }

    /// For the waiter, before it looks at its condition.
    #[inline]
    pub fn observe(&self) -> Seen {
        Seen(self.0.load(Ordering::Acquire))
    }

    /// For the waiter, after the condition did not hold. `true`: it must sleep until a `notify` has
    /// returned `true`. `false`: it was notified since `seen` and must look again.
    #[inline]
    #[must_use]
    pub fn begin_wait(&self, seen: Seen) -> bool {
        debug_assert_eq!(seen.0 & WAITING, 0);
        self.0
            .compare_exchange(seen.0, seen.0 | WAITING, Ordering::AcqRel, Ordering::Acquire)
            .is_ok()
    }

    /// Whether the waiter still sleeps: for a waiter whose sleep can end by itself.
    #[inline]
    pub fn is_waiting(&self) -> bool {
        self.0.load(Ordering::Acquire) & WAITING != 0
    }

    /// Notifies the waiter. `true`: it sleeps, and this caller alone must make it run.
    #[inline]
    #[must_use]
    pub fn notify(&self) -> bool {
        // Adding 2 to a word with bit 0 set leaves bit 0 set; the loop clears it in the same step.
        let mut state = self.0.load(Ordering::Relaxed);
        loop {
            let next = state.wrapping_add(ONE) & !WAITING;
            match self.0.compare_exchange_weak(state, next, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) => return state & WAITING != 0,
                Err(now) => state = now,
            }
        }
    }
}

#[cfg(all(test, loom))]
mod loom_tests {
    use super::*;
    use crate::primitives::{Arc, AtomicBool};
    use loom::thread;

    /// A waiter parked on a loom thread: `notify` that returns true unparks it.
    fn sleep(count: &EventCount) {
        while count.is_waiting() {
            thread::yield_now();
        }
    }

    fn wait_for(count: &EventCount, flag: &AtomicBool) {
        loop {
            let seen = count.observe();
            if flag.load(Ordering::Relaxed) {
                return;
            }
            if count.begin_wait(seen) {
                sleep(count);
            }
        }
    }

    #[test]
    fn loom_no_notification_is_lost() {
        loom::model(|| {
            let count = Arc::new(EventCount::new());
            let flag = Arc::new(AtomicBool::new(false));
            let notifier = {
                let (count, flag) = (count.clone(), flag.clone());
                thread::spawn(move || {
                    flag.store(true, Ordering::Relaxed);
                    let _ = count.notify();
                })
            };
            wait_for(&count, &flag);
            notifier.join().unwrap();
        });
    }

    #[test]
    fn loom_an_inner_wait_does_not_eat_the_outer_ones_notification() {
        let mut model = loom::model::Builder::new();
        // Three threads that wait in loops: all interleavings would take hours.
        model.preemption_bound = Some(2);
        model.check(|| {
            let count = Arc::new(EventCount::new());
            let flags = Arc::new([AtomicBool::new(false), AtomicBool::new(false)]);
            let notifiers: Vec<_> = (0..2)
                .map(|i| {
                    let (count, flags) = (count.clone(), flags.clone());
                    thread::spawn(move || {
                        flags[i].store(true, Ordering::Relaxed);
                        let _ = count.notify();
                    })
                })
                .collect();
            // The outer future: looks at its own flag, then waits for the inner one.
            let mut inner_done = false;
            loop {
                let seen = count.observe();
                let outer = flags[0].load(Ordering::Relaxed);
                if !inner_done {
                    wait_for(&count, &flags[1]);
                    inner_done = true;
                }
                if outer {
                    break;
                }
                if count.begin_wait(seen) {
                    sleep(&count);
                }
            }
            for notifier in notifiers {
                notifier.join().unwrap();
            }
        });
    }

    #[test]
    fn loom_one_notifier_alone_wakes() {
        loom::model(|| {
            let count = Arc::new(EventCount::new());
            let seen = count.observe();
            let slept = count.begin_wait(seen);
            assert!(slept);
            let other = {
                let count = count.clone();
                thread::spawn(move || count.notify())
            };
            let mine = count.notify();
            let theirs = other.join().unwrap();
            assert!(mine ^ theirs);
        });
    }
}
