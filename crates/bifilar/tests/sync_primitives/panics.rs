//! Code of others panics: in a message, a value's maker, a waker. The primitive stays usable, and
//! nobody else misses anything.

use crate::support::{Polled, waiting};
use bifilar::sync::{Mutex, Notify, OnceCell, broadcast, channel, watch};
use std::{
    future::{Future, poll_fn, ready},
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::Arc,
    task::{Context, Wake},
};

/// Runs what must panic with our word.
#[track_caller]
fn panics<T>(f: impl FnOnce() -> T) {
    let panic = catch_unwind(AssertUnwindSafe(f)).map(|_| ()).expect_err("did not panic");
    assert_eq!(panic.downcast_ref::<&str>(), Some(&"bang"));
}

/// Panics when it is cloned, or dropped.
struct Bomb {
    in_clone: bool,
    in_drop: bool,
}

impl Clone for Bomb {
    fn clone(&self) -> Self {
        if self.in_clone {
            panic!("bang");
        }
        Self { ..*self }
    }
}

impl Drop for Bomb {
    fn drop(&mut self) {
        if self.in_drop && !std::thread::panicking() {
            panic!("bang");
        }
    }
}

struct BadWaker;

impl Wake for BadWaker {
    fn wake(self: Arc<Self>) {
        panic!("bang");
    }
}

/// A future that has been polled with a waker that panics.
fn with_bad_waker<F: Future>(future: F) -> Pin<Box<F>> {
    let mut future = Box::pin(future);
    let waker = Arc::new(BadWaker).into();
    assert!(future.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    future
}

#[test]
fn a_guard_dropped_by_a_panic_unlocks() {
    let mutex = Mutex::new(0);
    panics(|| {
        let mut guard = mutex.try_lock().unwrap();
        *guard = 1;
        panic!("bang");
    });
    assert_eq!(*mutex.try_lock().unwrap(), 1);
}

#[test]
fn a_cell_whose_maker_panics_stays_empty() {
    let cell = OnceCell::new();
    let making = || cell.get_or_init(|| poll_fn(|_| -> std::task::Poll<u32> { panic!("bang") }));
    panics(|| Polled::new(making()).poll());
    panics(|| {
        Polled::new(cell.get_or_init(|| -> std::future::Ready<u32> { panic!("bang") })).poll()
    });
    assert_eq!(cell.get(), None);
    assert_eq!(*Polled::new(cell.get_or_init(|| ready(3))).ready(), 3);
}

#[test]
fn a_waker_that_panics_keeps_no_other_from_being_called() {
    let bell = Notify::new();
    let before: Vec<_> = (0..20).map(|_| waiting(bell.notified(), 1)).collect();
    let bad = with_bad_waker(bell.notified());
    let after: Vec<_> = (0..30).map(|_| waiting(bell.notified(), 1)).collect();
    panics(|| bell.notify_waiters());
    drop(bad);
    assert!(before.iter().chain(&after).all(|waiter| waiter.rings() == 1));
}

#[test]
fn a_waker_that_panics_on_unlock_leaves_the_lock_free() {
    let mutex = Mutex::new(());
    let holder = mutex.try_lock().unwrap();
    let bad = with_bad_waker(mutex.lock());
    let mut next = waiting(mutex.lock(), 1);
    panics(|| drop(holder));
    drop(bad);
    assert_eq!(next.rings(), 1);
    drop(next.ready());
}

#[test]
fn a_message_whose_clone_panics_is_skipped() {
    let (sender, mut receiver) = broadcast::channel(4);
    let _other = sender.subscribe(); // so that the message must be cloned
    for in_clone in [true, false] {
        assert!(sender.send(Bomb { in_clone, in_drop: false }).is_ok());
    }
    panics(|| Polled::new(receiver.recv()).poll());
    assert!(Polled::new(receiver.recv()).ready().is_ok());
    assert!(matches!(receiver.try_recv(), Err(broadcast::TryRecvError::Empty)));
}

#[test]
fn a_message_whose_drop_panics_leaves_the_channels_usable() {
    let bomb = |in_drop| Bomb { in_clone: false, in_drop };

    let (sender, mut receiver) = broadcast::channel(1);
    assert!(sender.send(bomb(true)).is_ok());
    panics(|| sender.send(bomb(false)).is_ok()); // pushes the first one out
    assert!(matches!(receiver.try_recv(), Err(broadcast::TryRecvError::Lagged(1))));
    assert!(receiver.try_recv().is_ok());

    let (sender, receiver) = channel::bounded(1);
    assert!(sender.try_send(bomb(true)).is_ok());
    panics(|| drop(receiver));
    assert!(sender.is_closed() && sender.is_empty());

    let (sender, receiver) = watch::channel(bomb(true));
    panics(|| sender.send(bomb(false)).is_ok());
    assert!(!receiver.borrow().in_drop);
}

#[test]
fn a_change_that_panics_changes_nothing() {
    let (sender, receiver) = watch::channel(1);
    panics(|| sender.send_modify(|_| panic!("bang")));
    assert_eq!(*receiver.borrow(), 1);
    sender.send_modify(|value| *value += 1);
    assert_eq!(*receiver.borrow(), 2);
}
