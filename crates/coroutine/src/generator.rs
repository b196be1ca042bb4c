//! Generators: iterators written as functions that yield.
//!
//! ```text
//!   for value in generator { … }        body
//!            │ next ───────────────────► │ … output.suspend(1) …
//!            │ ◄──────────── Some(1) ─── │
//!            │ next ───────────────────► │ … returns
//!            │ ◄──────────────── None ── │
//! ```
//!
//! A [`Generator`] owns all it works on. A body that borrows is run by [`Generator::scope`], which
//! hands out [`Values`] and ends the body before it returns: a generator that borrows must not be
//! forgotten, see [`Coroutine`] on borrows.
//!
//! What it does not do: take inputs ([`Coroutine`] does), or know how many values will come.

use core::iter::FusedIterator;

use crate::{
    Coroutine, CoroutineState, Suspender,
    stack::{DEFAULT_SIZE, Stack},
};

/// An iterator written as a function that yields.
///
/// ```
/// use bifilar_coroutine::Generator;
///
/// let squares = Generator::new(|output| {
///     for n in 1.. {
///         output.suspend(n * n);
///     }
/// });
/// assert!(squares.take(4).eq([1, 4, 9, 16]));
/// ```
///
/// Dropping it early unwinds its body, as for every [`Coroutine`].
#[derive(Debug)]
pub struct Generator<T> {
    coroutine: Coroutine<(), T, ()>,
}

impl<T> Generator<T> {
    /// Makes a generator on a stack of [`DEFAULT_SIZE`]. Its body runs as values are asked for.
    ///
    /// # Panics
    ///
    /// If there is no memory for a stack; use [`with_stack`](Generator::with_stack) to handle that.
    ///
    /// See [`Generator`] for an example.
    #[track_caller]
    pub fn new<Body>(body: Body) -> Self
    where
        Body: FnOnce(&Suspender<(), T>) + 'static,
        T: 'static,
    {
        Self::with_stack(default_stack(), body)
    }

    /// Makes a generator whose body runs on `stack`.
    ///
    /// ```
    /// use bifilar_coroutine::{Generator, stack::Stack};
    /// let stack = Stack::new(16 * 1024)?;
    /// assert!(Generator::with_stack(stack, |output| output.suspend(7)).eq([7]));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn with_stack<Body>(stack: Stack, body: Body) -> Self
    where
        Body: FnOnce(&Suspender<(), T>) + 'static,
        T: 'static,
    {
        Generator { coroutine: Coroutine::with_stack(stack, |output, ()| body(output)) }
    }

    /// Runs `consume` with the values of a `body` that may borrow from its surroundings.
    ///
    /// When `consume` has had enough, the body is unwound before this returns.
    ///
    /// ```
    /// use bifilar_coroutine::Generator;
    ///
    /// let text = String::from("to be or not to be");
    /// let mut yielded = 0;
    /// let long = Generator::scope(
    ///     |output| {
    ///         for word in text.split(' ') {
    ///             yielded += 1;
    ///             output.suspend(word);
    ///         }
    ///     },
    ///     |values| values.filter(|word| word.len() > 2).next(),
    /// );
    /// assert_eq!((long, yielded), (Some("not"), 4));
    /// ```
    ///
    /// # Panics
    ///
    /// - If `body` or `consume` panics.
    /// - If there is no memory for a stack.
    /// - Where panics abort (`panic = "abort"`): if `consume` returns before `body` has, since the
    ///   body can't be unwound.
    #[track_caller]
    pub fn scope<Body, Consume, Return>(body: Body, consume: Consume) -> Return
    where
        Body: FnOnce(&Suspender<(), T>),
        Consume: FnOnce(Values<'_, T>) -> Return,
    {
        let stack = default_stack();
        // SAFETY: the coroutine stays in this frame: `consume` gets a borrow of it behind a private
        // field, so it can neither be forgotten nor exchanged for another. It is dropped before
        // this returns or unwinds, so before anything that `body` borrows ends. If this frame
        // itself is leaked with the stack it stands on, then so are the borrows, or they are
        // 'static. Where a drop would leak it, the check below ends the process first.
        let coroutine = unsafe { Coroutine::borrowing(stack, |output: &_, ()| body(output)) };
        let mut generator = Generator { coroutine };
        let result = consume(Values { generator: &mut generator });
        if cfg!(panic = "abort") && generator.coroutine.is_suspended() {
            panic!("a generator that borrows was left before its end, and can't be unwound here");
        }
        result
    }
}

impl<T> Iterator for Generator<T> {
    type Item = T;

    /// Runs the body up to its next value.
    ///
    /// # Panics
    ///
    /// If the body panics: with the same payload. After that there are no more values.
    #[inline]
    fn next(&mut self) -> Option<T> {
        if self.coroutine.is_done() {
            return None;
        }
        match self.coroutine.resume(()) {
            CoroutineState::Yielded(value) => Some(value),
            CoroutineState::Returned(()) => None,
        }
    }
}

impl<T> FusedIterator for Generator<T> {}

/// The values of a body that borrows: what [`Generator::scope`] lends out.
///
/// ```
/// use bifilar_coroutine::{Generator, Values};
///
/// fn longest<'a>(values: Values<'_, &'a str>) -> Option<&'a str> {
///     values.max_by_key(|word| word.len())
/// }
/// let text = String::from("as long as possible");
/// let split = Generator::scope(|output| text.split(' ').for_each(|w| output.suspend(w)), longest);
/// assert_eq!(split, Some("possible"));
/// ```
///
/// It can't leave the scope:
///
/// ```compile_fail,E0521
/// # use bifilar_coroutine::{Generator, Values};
/// let mut escaped: Option<Values<'_, u32>> = None;
/// Generator::scope(|output| output.suspend(1), |values| escaped = Some(values));
/// ```
#[derive(Debug)]
pub struct Values<'scope, T> {
    generator: &'scope mut Generator<T>,
}

impl<T> Iterator for Values<'_, T> {
    type Item = T;

    /// As for [`Generator`].
    #[inline]
    fn next(&mut self) -> Option<T> {
        self.generator.next()
    }
}

impl<T> FusedIterator for Values<'_, T> {}

#[track_caller]
fn default_stack() -> Stack {
    match Stack::new(DEFAULT_SIZE) {
        Ok(stack) => stack,
        Err(error) => panic!("no memory for the stack of a generator: {error}"),
    }
}
