//! So many at a time: [`permits`](super::permits) given out to whoever asks.
//!
//! The protocol and its fairness are described there. This module adds the guards, which give
//! their permits back, and the errors.

use super::{
    permits::{Permits, Refused},
    turnstile::Place,
};
use crate::console::Resource;
use crate::context::{
    self,
    waiting::{self, What},
};
use crate::primitives::const_fn;
use pin_project_lite::pin_project;
use std::{
    error::Error,
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

/// A number of permits that tasks take and give back.
///
/// ```
/// use bifilar::sync::Semaphore;
///
/// # bifilar::block_on(async {
/// let connections = Semaphore::new(2);
/// let first = connections.acquire().await.unwrap();
/// let second = connections.acquire().await.unwrap();
/// assert!(connections.try_acquire().is_err());
/// drop(first);
/// assert_eq!(connections.available_permits(), 1);
/// # })
/// ```
///
/// # Fairness
///
/// Whoever finds permits free may take them, also ahead of tasks that wait, until the first of
/// those loses its patience. A task that waits for more than one permit can't be overtaken once
/// it stands first in line.
pub struct Semaphore {
    permits: Permits,
    shown: Resource,
}

impl Semaphore {
    /// The most permits a semaphore can hold.
    pub const MAX_PERMITS: usize = Permits::MAX;

    const_fn! {
        /// A semaphore with `permits` permits to be taken.
        ///
        /// # Panics
        ///
        /// If that is more than [`MAX_PERMITS`](Self::MAX_PERMITS).
        #[track_caller]
        pub fn new(permits: usize) -> Self {
            assert!(permits <= Permits::MAX, "more than Semaphore::MAX_PERMITS permits");
            Self { permits: Permits::new(permits), shown: Resource::new() }
        }
    }

    /// Permits free at this moment.
    pub fn available_permits(&self) -> usize {
        self.permits.available()
    }

    /// Takes one permit, waiting until there is one.
    ///
    /// # Errors
    ///
    /// [`AcquireError`] if the semaphore is closed, before or meanwhile.
    ///
    /// # Cancellation
    ///
    /// Dropping the future gives up the place in line; no permit is taken.
    #[inline]
    pub fn acquire(&self) -> Acquire<'_> {
        self.acquire_many(1)
    }

    /// Takes `n` permits together, waiting until there are as many.
    ///
    /// ```
    /// # bifilar::block_on(async {
    /// let seats = bifilar::sync::Semaphore::new(5);
    /// let table = seats.acquire_many(4).await.unwrap();
    /// assert!(seats.try_acquire_many(2).is_err());
    /// # })
    /// ```
    ///
    /// # Errors
    ///
    /// [`AcquireError`] if the semaphore is closed, before or meanwhile.
    ///
    /// # Panics
    ///
    /// If `n` is more than [`MAX_PERMITS`](Self::MAX_PERMITS).
    ///
    /// # Cancellation
    ///
    /// Dropping the future gives up the place in line; no permit is taken.
    #[inline]
    #[track_caller]
    pub fn acquire_many(&self, n: usize) -> Acquire<'_> {
        assert!(n <= Permits::MAX, "more than Semaphore::MAX_PERMITS permits");
        Acquire { semaphore: self, n, place: None }
    }

    /// [`acquire`](Self::acquire) with a guard that keeps the semaphore alive instead of
    /// borrowing it.
    ///
    /// ```
    /// # bifilar::block_on(async {
    /// let semaphore = std::sync::Arc::new(bifilar::sync::Semaphore::new(1));
    /// let permit = semaphore.clone().acquire_owned().await.unwrap();
    /// std::thread::spawn(move || drop(permit)).join().unwrap();
    /// assert_eq!(semaphore.available_permits(), 1);
    /// # })
    /// ```
    ///
    /// # Errors
    ///
    /// [`AcquireError`] if the semaphore is closed, before or meanwhile.
    #[inline]
    pub fn acquire_owned(self: Arc<Self>) -> AcquireOwned {
        self.acquire_many_owned(1)
    }

    /// [`acquire_many`](Self::acquire_many) with a guard that keeps the semaphore alive.
    ///
    /// # Errors
    ///
    /// [`AcquireError`] if the semaphore is closed, before or meanwhile.
    ///
    /// # Panics
    ///
    /// If `n` is more than [`MAX_PERMITS`](Self::MAX_PERMITS).
    #[inline]
    #[track_caller]
    pub fn acquire_many_owned(self: Arc<Self>, n: usize) -> AcquireOwned {
        assert!(n <= Permits::MAX, "more than Semaphore::MAX_PERMITS permits");
        AcquireOwned { semaphore: Some(self), n, place: None }
    }

    /// Takes one permit if there is one.
    ///
    /// # Errors
    ///
    /// [`TryAcquireError`] says whether it is worth trying again.
    #[inline]
    pub fn try_acquire(&self) -> Result<SemaphorePermit<'_>, TryAcquireError> {
        self.try_acquire_many(1)
    }

    /// Takes `n` permits together if there are as many.
    ///
    /// # Errors
    ///
    /// [`TryAcquireError`] says whether it is worth trying again.
    #[inline]
    pub fn try_acquire_many(&self, n: usize) -> Result<SemaphorePermit<'_>, TryAcquireError> {
        self.permits.try_acquire(n)?;
        Ok(SemaphorePermit { semaphore: self, n })
    }

    /// Takes one permit if there is one, with a guard that keeps the semaphore alive.
    ///
    /// # Errors
    ///
    /// [`TryAcquireError`] says whether it is worth trying again.
    pub fn try_acquire_owned(self: Arc<Self>) -> Result<OwnedSemaphorePermit, TryAcquireError> {
        self.permits.try_acquire(1)?;
        Ok(OwnedSemaphorePermit { semaphore: self, n: 1 })
    }

    /// Adds `n` permits. It can be done from anywhere, by somebody who never took any.
    ///
    /// ```
    /// let messages = bifilar::sync::Semaphore::new(0);
    /// messages.add_permits(3);
    /// assert_eq!(messages.available_permits(), 3);
    /// ```
    ///
    /// # Panics
    ///
    /// If there were more than [`MAX_PERMITS`](Self::MAX_PERMITS) then. Permits that are taken
    /// at that moment don't count: bring no more into the world than that.
    #[track_caller]
    pub fn add_permits(&self, n: usize) {
        let added = self.permits.try_release(n);
        assert!(added.is_ok(), "more than Semaphore::MAX_PERMITS permits");
    }

    /// Takes up to `n` free permits out of the world, and says how many.
    ///
    /// ```
    /// let semaphore = bifilar::sync::Semaphore::new(5);
    /// assert_eq!(semaphore.forget_permits(3), 3);
    /// assert_eq!(semaphore.forget_permits(3), 2);
    /// ```
    pub fn forget_permits(&self, n: usize) -> usize {
        self.permits.forget(n)
    }

    /// Gives no more permits. Whoever waits gets an error; permits taken stay valid.
    ///
    /// ```
    /// use bifilar::sync::{Semaphore, TryAcquireError};
    ///
    /// let semaphore = Semaphore::new(1);
    /// semaphore.close();
    /// assert!(matches!(semaphore.try_acquire(), Err(TryAcquireError::Closed)));
    /// ```
    pub fn close(&self) {
        self.permits.close();
    }

    /// Whether [`close`](Self::close) has been called.
    pub fn is_closed(&self) -> bool {
        self.permits.is_closed()
    }
}

impl fmt::Debug for Semaphore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Semaphore")
            .field("available_permits", &self.available_permits())
            .field("closed", &self.is_closed())
            .finish()
    }
}

pin_project! {
    /// The future of [`Semaphore::acquire`] and [`Semaphore::acquire_many`].
    #[must_use = "futures do nothing unless awaited or waited for"]
    pub struct Acquire<'a> {
        semaphore: &'a Semaphore,
        n: usize,
        #[pin]
        place: Place,
    }

    impl PinnedDrop for Acquire<'_> {
        fn drop(this: Pin<&mut Self>) {
            let this = this.project();
            this.semaphore.permits.cancel(this.place);
        }
    }
}

impl<'a> Future for Acquire<'a> {
    type Output = Result<SemaphorePermit<'a>, AcquireError>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        ready!(context::poll_budget(cx));
        let this = self.project();
        let (semaphore, n) = (*this.semaphore, *this.n);
        let poll = semaphore.permits.poll_acquire(this.place, n, cx);
        waiting::noted_of(&semaphore.shown, What::Semaphore, poll).map(|result| match result {
            Ok(()) => Ok(SemaphorePermit { semaphore, n }),
            Err(_) => Err(AcquireError(())),
        })
    }
}

impl fmt::Debug for Acquire<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Acquire").field("n", &self.n).finish_non_exhaustive()
    }
}

pin_project! {
    /// The future of [`Semaphore::acquire_owned`] and [`Semaphore::acquire_many_owned`].
    ///
    /// # Panics
    ///
    /// When polled again after it was ready with a permit.
    #[must_use = "futures do nothing unless awaited or waited for"]
    pub struct AcquireOwned {
        semaphore: Option<Arc<Semaphore>>,
        n: usize,
        #[pin]
        place: Place,
    }

    impl PinnedDrop for AcquireOwned {
        fn drop(this: Pin<&mut Self>) {
            let this = this.project();
            if let Some(semaphore) = this.semaphore {
                semaphore.permits.cancel(this.place);
            }
        }
    }
}

impl Future for AcquireOwned {
    type Output = Result<OwnedSemaphorePermit, AcquireError>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        ready!(context::poll_budget(cx));
        let this = self.project();
        let n = *this.n;
        let semaphore = this.semaphore.as_ref().expect("the permit was taken: don't poll again");
        let poll = semaphore.permits.poll_acquire(this.place, n, cx);
        waiting::noted_of(&semaphore.shown, What::Semaphore, poll).map(|result| match result {
            Ok(()) => {
                let semaphore = this.semaphore.take().expect("seen above");
                Ok(OwnedSemaphorePermit { semaphore, n })
            }
            Err(_) => Err(AcquireError(())),
        })
    }
}

impl fmt::Debug for AcquireOwned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AcquireOwned").field("n", &self.n).finish_non_exhaustive()
    }
}

/// Permits taken; dropping this gives them back.
#[must_use = "the permits are given back when this is dropped"]
#[derive(Debug)]
pub struct SemaphorePermit<'a> {
    semaphore: &'a Semaphore,
    n: usize,
}

/// Permits taken, in an [`Arc`]; dropping this gives them back.
#[must_use = "the permits are given back when this is dropped"]
#[derive(Debug)]
pub struct OwnedSemaphorePermit {
    semaphore: Arc<Semaphore>,
    n: usize,
}

impl SemaphorePermit<'_> {
    /// Takes these permits out of the world: they are not given back.
    ///
    /// ```
    /// let semaphore = bifilar::sync::Semaphore::new(2);
    /// semaphore.try_acquire().unwrap().forget();
    /// assert_eq!(semaphore.available_permits(), 1);
    /// ```
    pub fn forget(mut self) {
        self.n = 0;
    }

    /// How many permits these are.
    pub fn num_permits(&self) -> usize {
        self.n
    }
}

impl OwnedSemaphorePermit {
    /// Takes these permits out of the world: they are not given back.
    pub fn forget(mut self) {
        self.n = 0;
    }

    /// How many permits these are.
    pub fn num_permits(&self) -> usize {
        self.n
    }
}

impl Drop for SemaphorePermit<'_> {
    #[inline]
    fn drop(&mut self) {
        self.semaphore.permits.release(self.n);
    }
}

impl Drop for OwnedSemaphorePermit {
    #[inline]
    fn drop(&mut self) {
        self.semaphore.permits.release(self.n);
    }
}

/// The semaphore is closed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AcquireError(());

/// No permit was to be had at once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TryAcquireError {
    /// The semaphore is closed, for ever.
    Closed,
    /// Too few permits are free, or they are reserved for a task that waits.
    NoPermits,
}

impl From<Refused> for TryAcquireError {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Closed => Self::Closed,
            Refused::TooFew => Self::NoPermits,
        }
    }
}

impl fmt::Display for AcquireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the semaphore is closed")
    }
}

impl fmt::Display for TryAcquireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Closed => "the semaphore is closed",
            Self::NoPermits => "too few permits are free",
        })
    }
}

impl Error for AcquireError {}
impl Error for TryAcquireError {}
