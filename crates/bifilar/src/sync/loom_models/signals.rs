//! Notify, Barrier.

use super::{block_on, model, poll_once};
use crate::primitives::{AtomicBool, Ordering::Relaxed, UnsafeCell, thread};
use crate::sync::{Barrier, Notify};
use std::{pin::pin, sync::Arc};

#[test]
fn a_permit_carries_what_came_before() {
    struct Shared {
        bell: Notify,
        value: UnsafeCell<i32>,
    }
    // SAFETY: the model is about exactly this.
    unsafe impl Sync for Shared {}

    model(None, || {
        let shared = Arc::new(Shared { bell: Notify::new(), value: UnsafeCell::new(0) });
        let waiter = thread::spawn({
            let shared = shared.clone();
            move || {
                block_on(shared.bell.notified());
                // SAFETY: written before the notification.
                shared.value.with(|value| unsafe { assert_eq!(*value, 1) });
            }
        });
        // SAFETY: not read before the notification.
        shared.value.with_mut(|value| unsafe { *value = 1 });
        shared.bell.notify_one();
        waiter.join().unwrap();
    });
}

#[test]
fn two_notifications_reach_two_waiters() {
    model(Some(2), || {
        let bell = Arc::new(Notify::new());
        let waiters: Vec<_> = (0..2)
            .map(|_| {
                let bell = bell.clone();
                thread::spawn(move || {
                    block_on(bell.notified());
                    bell.notify_one();
                })
            })
            .collect();
        bell.notify_one();
        for waiter in waiters {
            waiter.join().unwrap();
        }
    });
}

#[test]
fn a_dropped_waiter_passes_its_notification_on() {
    model(Some(3), || {
        let bell = Arc::new(Notify::new());
        let quitter = thread::spawn({
            let bell = bell.clone();
            move || {
                let mut notified = pin!(bell.notified());
                // If it is ready it has used the notification up, and owes another.
                if poll_once(notified.as_mut()).is_ready() {
                    bell.notify_one();
                }
            }
        });
        let waiter = thread::spawn({
            let bell = bell.clone();
            move || block_on(bell.notified())
        });
        bell.notify_one();
        quitter.join().unwrap();
        waiter.join().unwrap();
    });
}

#[test]
fn nobody_misses_a_general_notification() {
    model(Some(2), || {
        let shared = Arc::new((Notify::new(), AtomicBool::new(false)));
        let waiters: Vec<_> = (0..2)
            .map(|_| {
                let shared = shared.clone();
                thread::spawn(move || {
                    loop {
                        let notified = shared.0.notified();
                        if shared.1.load(Relaxed) {
                            break;
                        }
                        block_on(notified);
                    }
                })
            })
            .collect();
        shared.1.store(true, Relaxed);
        shared.0.notify_waiters();
        for waiter in waiters {
            waiter.join().unwrap();
        }
    });
}

#[test]
fn a_barrier_lets_both_go_on_twice() {
    model(Some(3), || {
        let barrier = Arc::new(Barrier::new(2));
        let meet_twice =
            |barrier: &Barrier| (0..2).filter(|_| block_on(barrier.wait()).is_leader()).count();
        let other = thread::spawn({
            let barrier = barrier.clone();
            move || meet_twice(&barrier)
        });
        let mine = meet_twice(&barrier);
        assert_eq!(mine + other.join().unwrap(), 2);
    });
}
