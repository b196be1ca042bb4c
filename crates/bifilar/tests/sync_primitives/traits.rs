//! What can be sent and shared, moved and printed. What can't is shown by the `compile_fail`
//! examples in the documentation.

use bifilar::sync::*;
use std::{
    cell::Cell,
    fmt::Debug,
    future::{Ready, pending, ready},
};

fn send<T: Send>() {}
fn share<T: Sync>() {}
fn both<T: Send + Sync + Debug>() {}
fn movable<T: Unpin>() {}

/// A value that can be sent but not shared.
type Sent = Cell<u32>;

#[test]
fn primitives_can_be_shared_between_threads() {
    both::<Mutex<u32>>();
    share::<Mutex<Sent>>();
    both::<RwLock<u32>>();
    both::<(Semaphore, Barrier, Notify)>();
    both::<OnceCell<u32>>();
    send::<OnceCell<Sent>>();
    both::<(channel::Sender<u32>, channel::Receiver<u32>)>();
    share::<(channel::Sender<Sent>, channel::Receiver<Sent>)>();
    both::<(oneshot::Sender<u32>, oneshot::Receiver<u32>)>();
    share::<(oneshot::Sender<Sent>, oneshot::Receiver<Sent>)>();
    both::<(broadcast::Sender<u32>, broadcast::Receiver<u32>)>();
    both::<(watch::Sender<u32>, watch::Receiver<u32>, watch::Ref<u32>)>();
}

#[test]
fn guards_can_be_held_across_waits_and_sent() {
    both::<MutexGuard<'_, u32>>();
    send::<MutexGuard<'_, Sent>>();
    both::<OwnedMutexGuard<u32>>();
    send::<OwnedMutexGuard<Sent>>();
    both::<(RwLockReadGuard<'_, u32>, RwLockWriteGuard<'_, u32>)>();
    both::<(SemaphorePermit<'_>, OwnedSemaphorePermit)>();
}

#[test]
fn futures_can_be_sent() {
    both::<(Lock<'_, u32>, LockOwned<u32>, Read<'_, u32>, Write<'_, u32>)>();
    send::<Lock<'_, Sent>>();
    both::<(Acquire<'_>, AcquireOwned, BarrierWait<'_>, Notified<'_>)>();
    type Init = fn() -> Ready<u32>;
    both::<GetOrInit<'_, u32, Init, Ready<u32>>>();
    both::<GetOrTryInit<'_, u32, Init, Ready<u32>>>();
    both::<(channel::Send<'_, u32>, channel::Recv<'_, u32>)>();
    both::<(oneshot::Closed<'_, u32>, broadcast::Recv<'_, u32>, watch::Changed<'_, u32>)>();
}

#[test]
fn ends_can_be_moved_whatever_they_carry() {
    movable::<channel::Receiver<std::marker::PhantomPinned>>();
    movable::<oneshot::Receiver<std::marker::PhantomPinned>>();
    movable::<broadcast::Receiver<std::marker::PhantomPinned>>();
}

#[test]
fn values_may_be_unsized() {
    let mutex: Box<Mutex<dyn Debug + Send>> = Box::new(Mutex::new(1));
    assert_eq!(format!("{mutex:?}"), "Mutex { value: 1 }");
    let _guard = mutex.try_lock().unwrap();
    assert_eq!(format!("{mutex:?}"), "Mutex { value: <locked> }");
    let lock: Box<RwLock<[u32]>> = Box::new(RwLock::new([1, 2]));
    assert_eq!(lock.try_read().unwrap().len(), 2);
}

#[test]
fn errors_say_what_is_wrong() {
    let mutex = Mutex::new(());
    let _guard = mutex.try_lock().unwrap();
    let errors: [(&dyn std::error::Error, &str); 6] = [
        (&mutex.try_lock().unwrap_err(), "the lock is held"),
        (&TryAcquireError::NoPermits, "too few permits are free"),
        (&SetError::Filled(1), "the cell has a value already"),
        (&channel::TrySendError::Full(1), "the channel is full"),
        (&oneshot::RecvError, "the sender is gone"),
        (&broadcast::RecvError::Lagged(3), "missed 3 messages"),
    ];
    for (error, text) in errors {
        assert_eq!(error.to_string(), text);
    }
}

#[test]
fn a_cell_is_set_once() {
    let cell = OnceCell::new();
    let mut making = crate::support::waiting(cell.get_or_init(pending::<u32>), 1);
    assert_eq!(cell.set(1), Err(SetError::BeingFilled(1)));
    assert!(making.poll().is_pending());
    drop(making);
    assert_eq!(cell.set(2), Ok(()));
    assert_eq!(cell.set(3), Err(SetError::Filled(3)));
    assert_eq!(*crate::support::Polled::new(cell.get_or_init(|| ready(4))).ready(), 2);
    assert_eq!(cell.into_inner(), Some(2));
}

#[test]
#[should_panic(expected = "capacity of at least 1")]
fn a_channel_without_room_is_refused() {
    channel::bounded::<u32>(0);
}

#[test]
#[should_panic(expected = "MAX_PERMITS")]
fn too_many_permits_are_refused() {
    Semaphore::new(Semaphore::MAX_PERMITS).add_permits(1);
}
