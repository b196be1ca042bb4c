//! Locks, channels and signals between tasks.
//!
//! Everything here works on `std::task` alone: in fibers, in async tasks, in plain threads, on
//! this runtime or any other. Whatever can block returns a named future: `.await` it in async
//! code, `.wait()` for it anywhere else. What can be had without blocking has a `try_` form.
//!
//! | for | there is |
//! |---|---|
//! | one at a time | [`Mutex`], [`RwLock`] |
//! | so many at a time | [`Semaphore`] |
//! | all together | [`Barrier`] |
//! | once | [`OnceCell`] |
//! | "something has happened" | [`Notify`] |
//! | "stop, please" | [`CancelToken`] |
//! | each message to one receiver | [`channel`] |
//! | one message to one receiver, once | [`oneshot`] |
//! | each message to every receiver | [`broadcast`] |
//! | the latest value to every receiver | [`watch`] |
//!
//! # Cancellation
//!
//! Dropping any of these futures before it is ready is safe, and never loses a permit, a message
//! or a wake-up: what had been meant for it goes to the next in line. Each method says what its
//! own future does. A future that has been woken but is not polled (because its task is busy
//! with another branch of a `select`, say) holds up what was meant for it until it is polled or
//! dropped; so don't leave a half-waited future lying about.
//!
//! # Panics
//!
//! Nothing here is poisoned by a panic. No code of others runs while an internal lock is held:
//! not a `Waker`, not a `Clone` or `Drop` of a message. If one of these panics, the primitive
//! stays usable.
//!
//! # How it is built
//!
//! ```text
//!   Mutex  RwLock  Semaphore  OnceCell     channel     Notify  Barrier  broadcast  watch   oneshot
//!      └──────┴────┬────┴────────┘            │           └───────┴──┬──────┴────────┘        │
//!               permits ──────► turnstile ◄───┘                      │                 an atomic of
//!               (one atomic)    (fairness) ────────► wait_list ◄─────┘                  its own
//! ```
//!
//! `wait_list` keeps waiters in order inside their own futures, `turnstile` decides whose
//! turn it is, `permits` spares those the lock who need not wait. The internal lock is `std`'s:
//! it spins briefly and then parks, and is held for a few instructions, never across a call of
//! foreign code, so never while a stack is suspended. The locks and channels don't detect
//! deadlocks, and hold no record of their owners.

mod barrier;
pub mod broadcast;
mod cancel_token;
pub mod channel;
#[cfg(all(test, loom))]
mod loom_models;
mod mutex;
mod notify;
mod once_cell;
pub mod oneshot;
mod permits;
mod rwlock;
mod semaphore;
mod turnstile;
mod wait_list;
mod wake_batch;
pub mod watch;

pub use barrier::{Barrier, BarrierWait, BarrierWaitResult};
pub use cancel_token::{CancelOnDrop, CancelToken, Cancelled};
pub use mutex::{Lock, LockOwned, Mutex, MutexGuard, OwnedMutexGuard, TryLockError};
pub use notify::{Notified, Notify};
pub use once_cell::{GetOrInit, GetOrTryInit, OnceCell, SetError};
pub use rwlock::{Read, RwLock, RwLockReadGuard, RwLockWriteGuard, Write};
pub use semaphore::{
    Acquire, AcquireError, AcquireOwned, OwnedSemaphorePermit, Semaphore, SemaphorePermit,
    TryAcquireError,
};
#[doc(no_inline)]
pub use std::sync::{Arc, Weak};

use crate::primitives;
use std::sync::PoisonError;

/// Takes an internal lock, of this module or of one above. A panic can't leave what it guards half-changed, since no code of
/// others runs under it; so poisoning says nothing, and is passed over.
#[inline]
pub(crate) fn lock<T>(mutex: &primitives::Mutex<T>) -> primitives::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
