//! Mutual exclusion: one permit, and the value that it guards.
//!
//! The protocol, its states and its fairness are those of [`permits`](super::permits); here is
//! only the value, and who may reach it: the guard, while it holds the permit. Who took the lock is
//! noted for reports alone: it can't be taken twice by one task.

use super::{permits::Permits, turnstile::Place};
use crate::context::{self, Owner, waiting::What};
use crate::primitives::{UnsafeCell, const_fn};
use pin_project_lite::pin_project;
use std::{
    error::Error,
    fmt,
    future::Future,
    marker::PhantomData,
    ops::{Deref, DerefMut},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

/// A lock for tasks: waiting for it suspends the task, not the thread.
///
/// The guard may be held across `.await` and `.wait()`, and sent to other threads.
///
/// ```
/// use bifilar::sync::Mutex;
///
/// static HITS: Mutex<u32> = Mutex::new(0);
///
/// # bifilar::block_on(async {
/// *HITS.lock().await += 1;
/// assert_eq!(*HITS.lock().await, 1);
/// # })
/// ```
///
/// # Fairness
///
/// Whoever finds the lock free may take it, also ahead of tasks that wait: handing the lock on in
/// strict order would force a switch per lock. A waiting task loses its patience after a few
/// vain wake-ups, or about a hundred overtakings; then the lock is reserved for it.
///
/// # Panics
///
/// A panic while the guard is held releases the lock and doesn't poison it: the next owner sees
/// the value as the panic left it.
///
/// # Which values can be shared
///
/// The lock is `Sync` if the value is `Send`, like `std`'s:
///
/// ```compile_fail
/// fn share<T: Sync>(_: T) {}
/// share(bifilar::sync::Mutex::new(std::rc::Rc::new(1))); // an Rc can't be sent
/// ```
pub struct Mutex<T: ?Sized> {
    permits: Permits,
    owner: Owner,
    value: UnsafeCell<T>,
}

// SAFETY: the mutex owns the value, and sending it sends the value.
unsafe impl<T: ?Sized + Send> Send for Mutex<T> {}
// SAFETY: a shared mutex gives the value to one guard at a time, on whichever thread: it is sent.
unsafe impl<T: ?Sized + Send> Sync for Mutex<T> {}

/// The lock was held, or reserved for a task that has waited for long.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TryLockError(pub(super) ());

impl fmt::Display for TryLockError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the lock is held")
    }
}

impl Error for TryLockError {}

impl<T> Mutex<T> {
    const_fn! {
        /// A mutex, unlocked.
        #[track_caller]
        pub fn new(value: T) -> Self {
            Self { permits: Permits::new(1), owner: Owner::nobody(), value: UnsafeCell::new(value) }
        }
    }

    /// The value, once nobody shares the mutex any more.
    ///
    /// ```
    /// assert_eq!(bifilar::sync::Mutex::new(7).into_inner(), 7);
    /// ```
    pub fn into_inner(self) -> T {
        self.value.into_inner()
    }
}

impl<T: ?Sized> Mutex<T> {
    /// Locks, waiting for as long as another holds the lock.
    ///
    /// # Cancellation
    ///
    /// Dropping the future gives up the place in line; the lock is not taken.
    #[inline]
    pub fn lock(&self) -> Lock<'_, T> {
        Lock { mutex: self, place: None }
    }

    /// [`lock`](Self::lock) with a guard that keeps the mutex alive instead of borrowing it.
    ///
    /// ```
    /// use bifilar::sync::Mutex;
    /// use std::sync::Arc;
    ///
    /// # bifilar::block_on(async {
    /// let names = Arc::new(Mutex::new(vec!["anna"]));
    /// let mut guard = names.clone().lock_owned().await;
    /// let sender = std::thread::spawn(move || guard.push("berta"));
    /// sender.join().unwrap();
    /// assert_eq!(*names.lock().await, ["anna", "berta"]);
    /// # })
    /// ```
    #[inline]
    pub fn lock_owned(self: Arc<Self>) -> LockOwned<T> {
        LockOwned { mutex: Some(self), place: None }
    }

    /// Locks if that can be done at once.
    ///
    /// ```
    /// let mutex = bifilar::sync::Mutex::new(1);
    /// let guard = mutex.try_lock().unwrap();
    /// assert!(mutex.try_lock().is_err());
    /// ```
    ///
    /// # Errors
    ///
    /// [`TryLockError`] if the lock is held, or reserved for a task that has waited for long.
    #[inline]
    pub fn try_lock(&self) -> Result<MutexGuard<'_, T>, TryLockError> {
        self.permits.try_acquire(1).map_err(|_| TryLockError(()))?;
        self.owner.take();
        Ok(MutexGuard { mutex: self, _value: PhantomData })
    }

    /// [`try_lock`](Self::try_lock) with a guard that keeps the mutex alive.
    ///
    /// # Errors
    ///
    /// As for [`try_lock`](Self::try_lock).
    pub fn try_lock_owned(self: Arc<Self>) -> Result<OwnedMutexGuard<T>, TryLockError> {
        self.permits.try_acquire(1).map_err(|_| TryLockError(()))?;
        self.owner.take();
        Ok(OwnedMutexGuard { mutex: self, _value: PhantomData })
    }

    /// The value, without locking: that nobody else has the mutex is proof enough.
    ///
    /// ```
    /// let mut mutex = bifilar::sync::Mutex::new(1);
    /// *mutex.get_mut() = 2;
    /// assert_eq!(mutex.into_inner(), 2);
    /// ```
    pub fn get_mut(&mut self) -> &mut T {
        // SAFETY: nobody else has a reference to the mutex, so no guard exists.
        self.value.with_mut(|value| unsafe { &mut *value })
    }
}

impl<T: Default> Default for Mutex<T> {
    #[track_caller]
    fn default() -> Self {
        Self::new(T::default())
    }
}

impl<T> From<T> for Mutex<T> {
    #[track_caller]
    fn from(value: T) -> Self {
        Self::new(value)
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for Mutex<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.try_lock() {
            Ok(guard) => f.debug_struct("Mutex").field("value", &&*guard).finish(),
            Err(_) => f.debug_struct("Mutex").field("value", &format_args!("<locked>")).finish(),
        }
    }
}

pin_project! {
    /// The future of [`Mutex::lock`].
    #[must_use = "futures do nothing unless awaited or waited for"]
    pub struct Lock<'a, T: ?Sized> {
        mutex: &'a Mutex<T>,
        #[pin]
        place: Place,
    }

    impl<T: ?Sized> PinnedDrop for Lock<'_, T> {
        fn drop(this: Pin<&mut Self>) {
            let this = this.project();
            this.mutex.permits.cancel(this.place);
        }
    }
}

impl<'a, T: ?Sized> Future for Lock<'a, T> {
    type Output = MutexGuard<'a, T>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        ready!(context::poll_budget(cx));
        let this = self.project();
        let mutex = *this.mutex;
        let poll = mutex.owner.noted(What::Mutex, mutex.permits.poll_acquire(this.place, 1, cx));
        poll.map(|_| {
            // The permits of a mutex are never closed.
            MutexGuard { mutex, _value: PhantomData }
        })
    }
}

impl<T: ?Sized> fmt::Debug for Lock<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lock").finish_non_exhaustive()
    }
}

pin_project! {
    /// The future of [`Mutex::lock_owned`].
    ///
    /// # Panics
    ///
    /// When polled again after it was ready.
    #[must_use = "futures do nothing unless awaited or waited for"]
    pub struct LockOwned<T: ?Sized> {
        mutex: Option<Arc<Mutex<T>>>,
        #[pin]
        place: Place,
    }

    impl<T: ?Sized> PinnedDrop for LockOwned<T> {
        fn drop(this: Pin<&mut Self>) {
            let this = this.project();
            if let Some(mutex) = this.mutex {
                mutex.permits.cancel(this.place);
            }
        }
    }
}

impl<T: ?Sized> Future for LockOwned<T> {
    type Output = OwnedMutexGuard<T>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        ready!(context::poll_budget(cx));
        let this = self.project();
        let mutex = this.mutex.as_ref().expect("the lock was taken: don't poll again");
        let poll = mutex.owner.noted(What::Mutex, mutex.permits.poll_acquire(this.place, 1, cx));
        poll.map(|_| OwnedMutexGuard {
            mutex: this.mutex.take().expect("seen above"),
            _value: PhantomData,
        })
    }
}

impl<T: ?Sized> fmt::Debug for LockOwned<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LockOwned").finish_non_exhaustive()
    }
}

/// The lock, held; dropping the guard releases it.
///
/// It can be sent if the value can, and shared if the value can be:
///
/// ```compile_fail
/// let mutex = bifilar::sync::Mutex::new(std::cell::Cell::new(1));
/// let guard = mutex.try_lock().unwrap();
/// std::thread::scope(|s| { s.spawn(|| guard.set(2)); }); // a Cell can't be shared
/// ```
#[must_use = "the lock is released when the guard is dropped"]
pub struct MutexGuard<'a, T: ?Sized> {
    mutex: &'a Mutex<T>,
    /// Guards are sent and shared as exclusive references are.
    _value: PhantomData<&'a mut T>,
}

/// The lock, held, in an [`Arc`]; dropping the guard releases it.
#[must_use = "the lock is released when the guard is dropped"]
pub struct OwnedMutexGuard<T: ?Sized> {
    mutex: Arc<Mutex<T>>,
    /// Guards are sent and shared as values are.
    _value: PhantomData<T>,
}

/// What both guards do.
macro_rules! guard {
    ([$($generics:tt)*] $guard:ty) => {
        impl<$($generics)*> Drop for $guard {
            #[inline]
            fn drop(&mut self) {
                self.mutex.owner.release();
                self.mutex.permits.release(1);
            }
        }

        impl<$($generics)*> Deref for $guard {
            type Target = T;

            #[inline]
            fn deref(&self) -> &T {
                // SAFETY: the guard holds the only permit, and lends the value no longer than
                // it is itself borrowed.
                self.mutex.value.with(|value| unsafe { &*value })
            }
        }

        impl<$($generics)*> DerefMut for $guard {
            #[inline]
            fn deref_mut(&mut self) -> &mut T {
                // SAFETY: as in `deref`; and the guard is borrowed exclusively.
                self.mutex.value.with_mut(|value| unsafe { &mut *value })
            }
        }

        impl<$($generics)* + fmt::Debug> fmt::Debug for $guard {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                (**self).fmt(f)
            }
        }

        impl<$($generics)* + fmt::Display> fmt::Display for $guard {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                (**self).fmt(f)
            }
        }
    };
}

guard!(['a, T: ?Sized] MutexGuard<'a, T>);
guard!([T: ?Sized] OwnedMutexGuard<T>);
