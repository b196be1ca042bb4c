//! `wait_iter`: any stream, iterated in blocking style.

use super::Wait;
use futures_core::Stream;
use std::{future::poll_fn, pin::Pin};

/// Iterates any stream in blocking style.
///
/// Implemented for every [`Stream`].
pub trait WaitIter: Stream + Sized {
    /// An iterator whose `next` waits for the stream's next item, as [`Wait::wait`] does.
    ///
    /// Allocates once, to pin the stream. Dropping the iterator drops the stream; an item is lost
    /// only if the stream itself loses it.
    ///
    /// ```
    /// use bifilar::{WaitIter, sync::channel};
    ///
    /// bifilar::run(|| {
    ///     let (sender, receiver) = channel::unbounded();
    ///     bifilar::fiber::spawn(move || (0..3).for_each(|i| sender.try_send(i).unwrap()));
    ///     assert_eq!(receiver.wait_iter().collect::<Vec<i32>>(), [0, 1, 2]);
    /// });
    /// ```
    fn wait_iter(self) -> WaitIterator<Self>;
}

impl<S: Stream> WaitIter for S {
    fn wait_iter(self) -> WaitIterator<Self> {
        WaitIterator { stream: Box::pin(self) }
    }
}

/// The iterator that [`WaitIter::wait_iter`] returns.
#[derive(Debug)]
pub struct WaitIterator<S> {
    stream: Pin<Box<S>>,
}

impl<S: Stream> Iterator for WaitIterator<S> {
    type Item = S::Item;

    fn next(&mut self) -> Option<S::Item> {
        poll_fn(|cx| self.stream.as_mut().poll_next(cx)).wait()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.stream.size_hint()
    }
}
