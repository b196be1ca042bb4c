//! Wakers: the latest one counts, and none is touched while an internal lock is held.

use crate::support::{Bell, Polled, waiting};
use bifilar::sync::{
    Barrier, Mutex, Notify, RwLock, Semaphore, broadcast, channel, oneshot, watch,
};
use std::{
    future::Future,
    pin::pin,
    sync::{Arc, Weak},
    task::{Context, RawWaker, RawWakerVTable, Waker},
};

/// Polls with one waker, then with another; only the second is called, and once.
fn the_second_waker_counts(future: impl Future, event: impl FnOnce()) {
    let mut future = pin!(future);
    let (first, first_waker) = Bell::new();
    let (second, second_waker) = Bell::new();
    assert!(future.as_mut().poll(&mut Context::from_waker(&first_waker)).is_pending());
    drop(first_waker);
    assert!(future.as_mut().poll(&mut Context::from_waker(&second_waker)).is_pending());
    assert_eq!(Arc::strong_count(&first), 1, "the first waker is kept for nothing");
    event();
    assert_eq!((first.rings(), second.rings()), (0, 1));
    assert!(future.as_mut().poll(&mut Context::from_waker(&second_waker)).is_ready());
    drop(second_waker);
}

#[test]
fn the_waker_of_the_last_poll_is_called() {
    let mutex = Mutex::new(());
    let guard = mutex.try_lock().unwrap();
    the_second_waker_counts(mutex.lock(), || drop(guard));

    let lock = RwLock::new(());
    let guard = lock.try_write().unwrap();
    the_second_waker_counts(lock.read(), || drop(guard));
    let guard = lock.try_read().unwrap();
    the_second_waker_counts(lock.write(), || drop(guard));

    let semaphore = Semaphore::new(0);
    the_second_waker_counts(semaphore.acquire(), || semaphore.add_permits(1));

    let bell = Notify::new();
    the_second_waker_counts(bell.notified(), || bell.notify_one());
    the_second_waker_counts(bell.notified(), || bell.notify_waiters());

    let barrier = Barrier::new(2);
    the_second_waker_counts(barrier.wait(), || {
        Polled::new(barrier.wait()).ready();
    });

    let (sender, receiver) = channel::bounded(1);
    the_second_waker_counts(receiver.recv(), || sender.try_send(1).unwrap());
    sender.try_send(1).unwrap();
    the_second_waker_counts(sender.send(2), || assert!(receiver.try_recv().is_ok()));

    let (sender, receiver) = oneshot::channel();
    the_second_waker_counts(receiver, || sender.send(1).unwrap());
    let (mut sender, receiver) = oneshot::channel::<u32>();
    the_second_waker_counts(sender.closed(), || drop(receiver));

    let (sender, mut receiver) = broadcast::channel(1);
    the_second_waker_counts(receiver.recv(), || assert!(sender.send(1).is_ok()));

    let (sender, mut receiver) = watch::channel(1);
    the_second_waker_counts(receiver.changed(), || assert!(sender.send(2).is_ok()));
}

#[test]
fn a_waiter_can_move_to_another_thread_between_polls() {
    let mutex = Mutex::new(0);
    let guard = mutex.try_lock().unwrap();
    let mut first = Box::pin(mutex.lock());
    let (_, waker) = Bell::new();
    assert!(first.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    std::thread::scope(|s| {
        s.spawn(move || *crate::support::block_on(first) += 1);
        drop(guard);
    });
    assert_eq!(mutex.into_inner(), 1);
}

#[test]
fn broadcast_calls_back_from_a_waker_of_ones_own() {
    let (sender, mut receiver) = broadcast::channel(4);
    let (bell, waker) = Bell::new();
    let mut cx = Context::from_waker(&waker);
    for n in 0..3 {
        assert!(receiver.poll_recv(&mut cx).is_pending());
        sender.send(n).unwrap();
        sender.send(n).unwrap();
        assert_eq!(bell.rings(), n + 1, "called once per wait");
        assert!(receiver.poll_recv(&mut cx).is_ready());
        assert!(receiver.poll_recv(&mut cx).is_ready());
    }
    assert!(receiver.poll_recv(&mut cx).is_pending());
    drop(receiver);
    drop(waker);
    assert_eq!(Arc::strong_count(&bell), 1, "the waker is kept for nothing");
}

/// A waker that, at everything that happens to it, uses the primitive that it waits for. With the
/// internal lock held, that would be a deadlock.
struct Meddler {
    meddle: Box<dyn Fn() + Send + Sync>,
}

const MEDDLER: RawWakerVTable = RawWakerVTable::new(
    |data| {
        let meddler = borrow(data);
        (meddler.meddle)();
        RawWaker::new(Arc::into_raw(meddler) as *const (), &MEDDLER)
    },
    |data| {
        // SAFETY: made by `Arc::into_raw`; waking consumes it.
        let meddler = unsafe { Arc::from_raw(data as *const Meddler) };
        (meddler.meddle)();
    },
    |data| (borrow(data).meddle)(),
    |data| {
        // SAFETY: made by `Arc::into_raw`; dropping consumes it.
        let meddler = unsafe { Arc::from_raw(data as *const Meddler) };
        (meddler.meddle)();
    },
);

/// Another handle to the meddler of a waker.
fn borrow(data: *const ()) -> Arc<Meddler> {
    // SAFETY: the waker's own handle came from `Arc::into_raw`, and it is alive.
    unsafe {
        Arc::increment_strong_count(data as *const Meddler);
        Arc::from_raw(data as *const Meddler)
    }
}

fn meddler(meddle: impl Fn() + Send + Sync + 'static) -> Waker {
    let meddler = Arc::new(Meddler { meddle: Box::new(meddle) });
    // SAFETY: the table's functions take what `Arc::into_raw` made.
    unsafe { Waker::from_raw(RawWaker::new(Arc::into_raw(meddler) as *const (), &MEDDLER)) }
}

/// Polls twice with a meddling waker, lets something happen, and drops the future.
fn meddled<F: Future>(future: F, waker: &Waker, event: impl FnOnce()) {
    let mut future = pin!(future);
    let mut cx = Context::from_waker(waker);
    assert!(future.as_mut().poll(&mut cx).is_pending());
    assert!(future.as_mut().poll(&mut cx).is_pending());
    event();
    let _ = future.as_mut().poll(&mut cx);
}

/// A meddler that uses `T` while it is alive.
fn meddler_with<T: Send + Sync + 'static>(shared: &Arc<T>, using: fn(&T)) -> Waker {
    let shared: Weak<T> = Arc::downgrade(shared);
    meddler(move || {
        if let Some(shared) = shared.upgrade() {
            using(&shared);
        }
    })
}

/// Stands in line for a moment.
fn touch(future: impl Future) {
    let _ = Polled::new(future).poll();
}

#[test]
fn wakers_are_touched_with_no_lock_held() {
    let semaphore = Arc::new(Semaphore::new(0));
    let waker = meddler_with(&semaphore, |semaphore| {
        touch(semaphore.acquire_many(9));
    });
    meddled(semaphore.acquire(), &waker, || semaphore.add_permits(1));
    meddled(semaphore.acquire_many(5), &waker, || semaphore.close());

    let bell = Arc::new(Notify::new());
    let waker = meddler_with(&bell, |bell| touch(bell.notified()));
    meddled(bell.notified(), &waker, || bell.notify_waiters());
    meddled(bell.notified(), &waker, || bell.notify_one());

    let barrier = Arc::new(Barrier::new(3));
    let waker = meddler_with(&barrier, |barrier| touch(barrier.wait()));
    meddled(barrier.wait(), &waker, || {
        let mut second = waiting(barrier.wait(), 1);
        Polled::new(barrier.wait()).ready();
        second.ready();
    });

    let ends = Arc::new(channel::bounded::<u32>(1));
    let waker = meddler_with(&ends, |(sender, receiver)| {
        let _ = (sender.is_closed(), receiver.try_recv());
    });
    meddled(ends.1.recv(), &waker, || ends.0.try_send(1).unwrap());
    meddled(ends.1.recv(), &waker, || assert!(ends.0.close()));

    let (sender, mut receiver) = broadcast::channel::<u32>(1);
    let sender = Arc::new(sender);
    let waker = meddler_with(&sender, |sender| drop(sender.subscribe()));
    meddled(receiver.recv(), &waker, || assert!(sender.send(1).is_ok()));

    let (sender, mut receiver) = watch::channel(1);
    let sender = Arc::new(sender);
    let waker = meddler_with(&sender, |sender| assert!(*sender.borrow() > 0));
    meddled(receiver.changed(), &waker, || assert!(sender.send(2).is_ok()));
}
