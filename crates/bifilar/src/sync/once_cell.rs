//! A value that is made once, by whoever needs it first.
//!
//! | permits | flag `set` | means |
//! |---|---|---|
//! | 1 | false | empty |
//! | 0 | false | one task is making the value; others stand in line |
//! | closed | true | the value is there, for ever |
//!
//! Giving up (an error, a panic, a dropped future) gives the permit back, and the next in line
//! makes the value with its own closure. The cell doesn't notice when a closure waits for the
//! very cell it is to fill: that waits for ever.

use super::{
    permits::{Permits, Refused},
    turnstile::Place,
};
use crate::context::waiting::{self, What};
use crate::primitives::{
    AtomicBool,
    Ordering::{Acquire, Release},
    UnsafeCell, const_fn,
};
use pin_project_lite::pin_project;
use std::{
    convert::Infallible,
    error::Error,
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

/// A cell that is written once, asynchronously.
///
/// ```
/// use bifilar::sync::OnceCell;
///
/// static ADDRESS: OnceCell<String> = OnceCell::new();
///
/// # bifilar::block_on(async {
/// let looked_up = ADDRESS.get_or_init(async || "192.0.2.7".to_string()).await;
/// assert_eq!(looked_up, "192.0.2.7");
/// assert_eq!(ADDRESS.get_or_init(async || unreachable!()).await, looked_up);
/// # })
/// ```
pub struct OnceCell<T> {
    permits: Permits,
    /// Set with Release after the value was written; pairs with the Acquire in `get`.
    set: AtomicBool,
    value: UnsafeCell<Option<T>>,
}

// SAFETY: the cell owns the value.
unsafe impl<T: Send> Send for OnceCell<T> {}
// SAFETY: a shared cell takes a value from one thread, so it is sent, and lends it to many.
unsafe impl<T: Send + Sync> Sync for OnceCell<T> {}

impl<T> OnceCell<T> {
    const_fn! {
        /// An empty cell.
        pub fn new() -> Self {
            Self {
                permits: Permits::new(1),
                set: AtomicBool::new(false),
                value: UnsafeCell::new(None),
            }
        }
    }

    /// The value, if it is there.
    ///
    /// ```
    /// let cell = bifilar::sync::OnceCell::new();
    /// assert_eq!(cell.get(), None);
    /// cell.set(3).unwrap();
    /// assert_eq!(cell.get(), Some(&3));
    /// ```
    #[inline]
    pub fn get(&self) -> Option<&T> {
        // Acquire pairs with the Release in `fill`.
        if !self.set.load(Acquire) {
            return None;
        }
        // SAFETY: the value was written before the flag was set, and is not written again while
        // the cell is shared.
        self.value.with(|value| unsafe { &*value }).as_ref()
    }

    /// The value, to be changed by the cell's only owner.
    pub fn get_mut(&mut self) -> Option<&mut T> {
        // SAFETY: nobody else has a reference to the cell.
        self.value.with_mut(|value| unsafe { &mut *value }).as_mut()
    }

    /// Puts the value in.
    ///
    /// # Errors
    ///
    /// [`SetError`] gives the value back if there is one already, or one is being made.
    pub fn set(&self, value: T) -> Result<(), SetError<T>> {
        match self.permits.try_acquire(1) {
            Ok(()) => {
                self.fill(value);
                Ok(())
            }
            Err(Refused::Closed) => Err(SetError::Filled(value)),
            Err(Refused::TooFew) => Err(SetError::BeingFilled(value)),
        }
    }

    /// The value; if there is none yet, the one that `init` makes. Of those who come while it is
    /// being made, all wait and none makes another.
    ///
    /// # Panics
    ///
    /// If `init` or its future panics, so does this; the cell stays empty, and the next in line
    /// makes the value.
    ///
    /// # Cancellation
    ///
    /// Dropping the future drops the future of `init` with it, wherever that had got to; the
    /// next in line makes the value.
    pub fn get_or_init<F, Fut>(&self, init: F) -> GetOrInit<'_, T, F, Fut>
    where
        F: FnOnce() -> Fut,
        Fut: Future<Output = T>,
    {
        GetOrInit { filling: Filling::new(self, init) }
    }

    /// [`get_or_init`](Self::get_or_init) with an `init` that can fail.
    ///
    /// ```
    /// # bifilar::block_on(async {
    /// let cell = bifilar::sync::OnceCell::new();
    /// assert_eq!(cell.get_or_try_init(async || Err("not today")).await, Err("not today"));
    /// assert_eq!(cell.get_or_try_init(async || Ok::<_, &str>(1)).await, Ok(&1));
    /// # })
    /// ```
    ///
    /// # Errors
    ///
    /// What `init` fails with; the cell stays empty, and the next in line makes the value.
    ///
    /// # Panics and cancellation
    ///
    /// As for [`get_or_init`](Self::get_or_init).
    pub fn get_or_try_init<E, F, Fut>(&self, init: F) -> GetOrTryInit<'_, T, F, Fut>
    where
        F: FnOnce() -> Fut,
        Fut: Future<Output = Result<T, E>>,
    {
        GetOrTryInit { filling: Filling::new(self, init) }
    }

    /// The value, if one was put in.
    pub fn into_inner(self) -> Option<T> {
        self.value.into_inner()
    }

    /// Writes the value. The caller holds the permit.
    fn fill(&self, value: T) -> &T {
        // SAFETY: the permit is ours, and `set` is false, so nobody else touches the value.
        self.value.with_mut(|place| unsafe { *place = Some(value) });
        // Release pairs with the Acquire in `get`.
        self.set.store(true, Release);
        // Everybody in line is sent on; they find the flag set.
        self.permits.close();
        self.get().expect("just written")
    }
}

impl<T> Default for OnceCell<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: fmt::Debug> fmt::Debug for OnceCell<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.get() {
            Some(value) => f.debug_tuple("OnceCell").field(value).finish(),
            None => f.debug_tuple("OnceCell").field(&format_args!("<empty>")).finish(),
        }
    }
}

pin_project! {
    /// Waits for the right to fill the cell, then for the value.
    struct Filling<'a, T, F, Fut> {
        cell: &'a OnceCell<T>,
        init: Option<F>,
        #[pin]
        place: Place,
        // Declared, hence dropped, before the permit.
        #[pin]
        making: Option<Fut>,
        permit: Option<PermitOf<'a>>,
    }

    impl<T, F, Fut> PinnedDrop for Filling<'_, T, F, Fut> {
        fn drop(this: Pin<&mut Self>) {
            let this = this.project();
            this.cell.permits.cancel(this.place);
        }
    }
}

/// The right to fill the cell, given back unless it was used.
struct PermitOf<'a>(&'a Permits);

impl Drop for PermitOf<'_> {
    fn drop(&mut self) {
        self.0.release(1);
    }
}

impl<'a, T, F, Fut> Filling<'a, T, F, Fut>
where
    F: FnOnce() -> Fut,
    Fut: Future,
{
    fn new(cell: &'a OnceCell<T>, init: F) -> Self {
        Self { cell, init: Some(init), place: None, making: None, permit: None }
    }

    /// `finish` tells what the future of `init` has come to.
    fn poll<E>(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        finish: impl FnOnce(Fut::Output) -> Result<T, E>,
    ) -> Poll<Result<&'a T, E>> {
        let mut this = self.project();
        let cell = *this.cell;
        loop {
            if let Some(making) = this.making.as_mut().as_pin_mut() {
                let made = finish(ready!(making.poll(cx)));
                this.making.set(None);
                let permit = this.permit.take();
                let value = made?; // giving the permit back
                std::mem::forget(permit);
                return Poll::Ready(Ok(cell.fill(value)));
            }
            if let Some(value) = cell.get() {
                return Poll::Ready(Ok(value));
            }
            // If the permits are closed, the value is there: once more round the loop.
            if ready!(waiting::noted(
                What::OnceCell,
                cell.permits.poll_acquire(this.place.as_mut(), 1, cx)
            ))
            .is_ok()
            {
                *this.permit = Some(PermitOf(&cell.permits));
                let init = this.init.take().expect("has failed: don't poll again");
                this.making.set(Some(init()));
            }
        }
    }
}

pin_project! {
    /// The future of [`OnceCell::get_or_init`].
    #[must_use = "futures do nothing unless awaited or waited for"]
    pub struct GetOrInit<'a, T, F, Fut> {
        #[pin]
        filling: Filling<'a, T, F, Fut>,
    }
}

impl<'a, T, F, Fut> Future for GetOrInit<'a, T, F, Fut>
where
    F: FnOnce() -> Fut,
    Fut: Future<Output = T>,
{
    type Output = &'a T;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.project().filling.poll(cx, Ok::<T, Infallible>).map(|Ok(value)| value)
    }
}

pin_project! {
    /// The future of [`OnceCell::get_or_try_init`].
    ///
    /// # Panics
    ///
    /// When polled again after it was ready with an error.
    #[must_use = "futures do nothing unless awaited or waited for"]
    pub struct GetOrTryInit<'a, T, F, Fut> {
        #[pin]
        filling: Filling<'a, T, F, Fut>,
    }
}

impl<'a, T, F, Fut, E> Future for GetOrTryInit<'a, T, F, Fut>
where
    F: FnOnce() -> Fut,
    Fut: Future<Output = Result<T, E>>,
{
    type Output = Result<&'a T, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.project().filling.poll(cx, |made| made)
    }
}

impl<T, F, Fut> fmt::Debug for GetOrInit<'_, T, F, Fut> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GetOrInit").finish_non_exhaustive()
    }
}

impl<T, F, Fut> fmt::Debug for GetOrTryInit<'_, T, F, Fut> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GetOrTryInit").finish_non_exhaustive()
    }
}

/// The value was not put in; here it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SetError<T> {
    /// There is a value already.
    Filled(T),
    /// A task is making the value at this moment.
    BeingFilled(T),
}

impl<T> fmt::Display for SetError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Filled(_) => "the cell has a value already",
            Self::BeingFilled(_) => "the cell's value is being made",
        })
    }
}

impl<T: fmt::Debug> Error for SetError<T> {}
