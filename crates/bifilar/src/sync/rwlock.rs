//! Many readers or one writer: a reader takes one permit, a writer takes all of them.
//!
//! | permits free | means |
//! |---|---|
//! | all | unlocked |
//! | some | that many fewer readers hold it |
//! | none | a writer holds it |
//!
//! Writers aren't starved: once a writer stands first in line, no new reader passes it (see
//! [`turnstile`](super::turnstile)). Readers aren't starved either: they lose their patience like
//! those who wait for a mutex. A guard can't be upgraded; two who tried would wait for each other.

use super::{mutex::TryLockError, permits::Permits, turnstile::Place};
use crate::context::{self, Owner, waiting::What};
use crate::primitives::{UnsafeCell, const_fn};
use pin_project_lite::pin_project;
use std::{
    fmt,
    future::Future,
    marker::PhantomData,
    ops::{Deref, DerefMut},
    pin::Pin,
    task::{Context, Poll, ready},
};

/// A lock for tasks that many readers or one writer can hold.
///
/// ```
/// use bifilar::sync::RwLock;
///
/// # bifilar::block_on(async {
/// let words = RwLock::new(vec!["one"]);
/// {
///     let (first, second) = (words.read().await, words.read().await);
///     assert_eq!(first.len() + second.len(), 2);
/// }
/// words.write().await.push("two");
/// assert_eq!(words.read().await.len(), 2);
/// # })
/// ```
///
/// A task that holds a read guard must not wait for a second one: a writer may have come in
/// between, and neither would get on.
///
/// # Panics
///
/// A panic while a guard is held releases the lock and doesn't poison it.
///
/// # Which values can be shared
///
/// Those that are `Send` and `Sync`, since readers share them:
///
/// ```compile_fail
/// fn share<T: Sync>(_: T) {}
/// share(bifilar::sync::RwLock::new(std::cell::Cell::new(1)));
/// ```
pub struct RwLock<T: ?Sized> {
    permits: Permits,
    owner: Owner,
    value: UnsafeCell<T>,
}

/// What a writer takes. As many readers at once are out of reach of any memory.
const ALL: usize = Permits::MAX;

// SAFETY: the lock owns the value, and sending it sends the value.
unsafe impl<T: ?Sized + Send> Send for RwLock<T> {}
// SAFETY: a shared lock gives the value to one writer on any thread, so it is sent, or to readers
// on several, so it is shared.
unsafe impl<T: ?Sized + Send + Sync> Sync for RwLock<T> {}

impl<T> RwLock<T> {
    const_fn! {
        /// A lock that nobody holds.
        #[track_caller]
        pub fn new(value: T) -> Self {
            Self { permits: Permits::new(ALL), owner: Owner::nobody(), value: UnsafeCell::new(value) }
        }
    }

    /// The value, once nobody shares the lock any more.
    pub fn into_inner(self) -> T {
        self.value.into_inner()
    }
}

impl<T: ?Sized> RwLock<T> {
    /// Locks for reading, waiting for as long as a writer holds the lock or stands first in line.
    ///
    /// # Cancellation
    ///
    /// Dropping the future gives up the place in line; the lock is not taken.
    #[inline]
    pub fn read(&self) -> Read<'_, T> {
        Read { lock: self, place: None }
    }

    /// Locks for writing, waiting for as long as anybody else holds the lock.
    ///
    /// # Cancellation
    ///
    /// Dropping the future gives up the place in line, and lets readers pass who had to wait
    /// behind it; the lock is not taken.
    #[inline]
    pub fn write(&self) -> Write<'_, T> {
        Write { lock: self, place: None }
    }

    /// Locks for reading if that can be done at once.
    ///
    /// ```
    /// let lock = bifilar::sync::RwLock::new(1);
    /// let reader = lock.try_read().unwrap();
    /// assert!(lock.try_read().is_ok());
    /// assert!(lock.try_write().is_err());
    /// ```
    ///
    /// # Errors
    ///
    /// [`TryLockError`] if a writer holds the lock or stands first in line.
    #[inline]
    pub fn try_read(&self) -> Result<RwLockReadGuard<'_, T>, TryLockError> {
        self.permits.try_acquire(1).map_err(|_| TryLockError(()))?;
        Ok(RwLockReadGuard { lock: self })
    }

    /// Locks for writing if that can be done at once.
    ///
    /// # Errors
    ///
    /// [`TryLockError`] if anybody holds the lock, or it is reserved for a task that has waited.
    #[inline]
    pub fn try_write(&self) -> Result<RwLockWriteGuard<'_, T>, TryLockError> {
        self.permits.try_acquire(ALL).map_err(|_| TryLockError(()))?;
        self.owner.take();
        Ok(RwLockWriteGuard { lock: self, _value: PhantomData })
    }

    /// The value, without locking: that nobody else has the lock is proof enough.
    pub fn get_mut(&mut self) -> &mut T {
        // SAFETY: nobody else has a reference to the lock, so no guard exists.
        self.value.with_mut(|value| unsafe { &mut *value })
    }
}

impl<T: Default> Default for RwLock<T> {
    #[track_caller]
    fn default() -> Self {
        Self::new(T::default())
    }
}

impl<T> From<T> for RwLock<T> {
    #[track_caller]
    fn from(value: T) -> Self {
        Self::new(value)
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for RwLock<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.try_read() {
            Ok(guard) => f.debug_struct("RwLock").field("value", &&*guard).finish(),
            Err(_) => f.debug_struct("RwLock").field("value", &format_args!("<locked>")).finish(),
        }
    }
}

pin_project! {
    /// The future of [`RwLock::read`].
    #[must_use = "futures do nothing unless awaited or waited for"]
    pub struct Read<'a, T: ?Sized> {
        lock: &'a RwLock<T>,
        #[pin]
        place: Place,
    }

    impl<T: ?Sized> PinnedDrop for Read<'_, T> {
        fn drop(this: Pin<&mut Self>) {
            let this = this.project();
            this.lock.permits.cancel(this.place);
        }
    }
}

impl<'a, T: ?Sized> Future for Read<'a, T> {
    type Output = RwLockReadGuard<'a, T>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        ready!(context::poll_budget(cx));
        let this = self.project();
        let lock = *this.lock;
        // The permits of a lock are never closed.
        let poll = lock.owner.noted(What::Read, lock.permits.poll_acquire(this.place, 1, cx));
        poll.map(|_| RwLockReadGuard { lock })
    }
}

pin_project! {
    /// The future of [`RwLock::write`].
    #[must_use = "futures do nothing unless awaited or waited for"]
    pub struct Write<'a, T: ?Sized> {
        lock: &'a RwLock<T>,
        #[pin]
        place: Place,
    }

    impl<T: ?Sized> PinnedDrop for Write<'_, T> {
        fn drop(this: Pin<&mut Self>) {
            let this = this.project();
            this.lock.permits.cancel(this.place);
        }
    }
}

impl<'a, T: ?Sized> Future for Write<'a, T> {
    type Output = RwLockWriteGuard<'a, T>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        ready!(context::poll_budget(cx));
        let this = self.project();
        let lock = *this.lock;
        // The permits of a lock are never closed.
        let poll = lock.owner.noted(What::Write, lock.permits.poll_acquire(this.place, ALL, cx));
        poll.map(|_| RwLockWriteGuard { lock, _value: PhantomData })
    }
}

impl<T: ?Sized> fmt::Debug for Read<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Read").finish_non_exhaustive()
    }
}

impl<T: ?Sized> fmt::Debug for Write<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Write").finish_non_exhaustive()
    }
}

/// The lock, held for reading; dropping the guard releases it.
#[must_use = "the lock is released when the guard is dropped"]
pub struct RwLockReadGuard<'a, T: ?Sized> {
    lock: &'a RwLock<T>,
}

/// The lock, held for writing; dropping the guard releases it.
#[must_use = "the lock is released when the guard is dropped"]
pub struct RwLockWriteGuard<'a, T: ?Sized> {
    lock: &'a RwLock<T>,
    /// This guard is sent and shared as exclusive references are.
    _value: PhantomData<&'a mut T>,
}

impl<'a, T: ?Sized> RwLockWriteGuard<'a, T> {
    /// Goes on as a reader, letting no writer come in between.
    ///
    /// ```
    /// use bifilar::sync::{RwLock, RwLockWriteGuard};
    ///
    /// let lock = RwLock::new(1);
    /// let mut writer = lock.try_write().unwrap();
    /// *writer = 2;
    /// let reader = RwLockWriteGuard::downgrade(writer);
    /// assert_eq!((*reader, *lock.try_read().unwrap()), (2, 2));
    /// ```
    pub fn downgrade(guard: Self) -> RwLockReadGuard<'a, T> {
        let lock = guard.lock;
        std::mem::forget(guard);
        lock.owner.release();
        lock.permits.release(ALL - 1);
        RwLockReadGuard { lock }
    }
}

impl<T: ?Sized> Drop for RwLockReadGuard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        self.lock.permits.release(1);
    }
}

impl<T: ?Sized> Drop for RwLockWriteGuard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        self.lock.owner.release();
        self.lock.permits.release(ALL);
    }
}

impl<T: ?Sized> Deref for RwLockReadGuard<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: while this guard holds one permit no writer can have all, and the value is lent
        // no longer than the guard is borrowed.
        self.lock.value.with(|value| unsafe { &*value })
    }
}

impl<T: ?Sized> Deref for RwLockWriteGuard<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: this guard holds all permits, so nobody else has any; the value is lent no
        // longer than the guard is borrowed.
        self.lock.value.with(|value| unsafe { &*value })
    }
}

impl<T: ?Sized> DerefMut for RwLockWriteGuard<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: as in `deref`; and the guard is borrowed exclusively.
        self.lock.value.with_mut(|value| unsafe { &mut *value })
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for RwLockReadGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for RwLockWriteGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}
