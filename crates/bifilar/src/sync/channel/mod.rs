//! Channels: many senders, many receivers, each message to one receiver, in the order sent.
//!
//! ```text
//!   Sender ──┐                  under one lock                   ┌── Receiver
//!   Sender ──┼─►  line of senders ─► [ m m m m ] ─► line of receivers ──┤
//!   Sender ──┘     (turnstile)         queue          (turnstile)└── Receiver
//! ```
//!
//! | state | may be sent | may be received | how it gets there |
//! |---|---|---|---|
//! | open | while there is room | while there are messages | [`bounded`], [`unbounded`] |
//! | closed | no | what is left, then [`RecvError`] | `close`, or the last sender dropped |
//! | abandoned | no | – | the last receiver dropped; what is left is dropped |
//!
//! `state` is the queue with its two lines; here are the handles and the futures. The channel has
//! no lock-free path: the lock is held for a few instructions, and an uncontended one costs as
//! much as an atomic queue would. It has no rendezvous form (capacity 0), no priorities and no
//! selection over several channels: select over the futures.

mod error;
mod state;

pub use error::{RecvError, SendError, TryRecvError, TrySendError};

use super::turnstile::Place;
use crate::console::Resource;
use crate::context::{
    self,
    waiting::{self, What},
};
use crate::primitives::{
    Arc, AtomicUsize,
    Ordering::{AcqRel, Relaxed},
};
use futures_core::Stream;
use pin_project_lite::pin_project;
use state::Channel;
use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

/// A channel that holds up to `capacity` messages; senders wait while it is full.
///
/// ```
/// # bifilar::block_on(async {
/// let (sender, receiver) = bifilar::sync::channel::bounded(1);
/// sender.send("hello").await.unwrap();
/// assert!(sender.try_send("too much").is_err());
/// assert_eq!(receiver.recv().await, Ok("hello"));
/// # })
/// ```
///
/// # Panics
///
/// If `capacity` is 0: a message needs a place to lie in.
#[track_caller]
pub fn bounded<T>(capacity: usize) -> (Sender<T>, Receiver<T>) {
    assert!(capacity > 0, "a channel needs a capacity of at least 1");
    handles(capacity)
}

/// A channel without bounds: sending never waits, and a slow receiver costs memory.
///
/// ```
/// let (sender, receiver) = bifilar::sync::channel::unbounded();
/// for n in 0..1000 {
///     sender.try_send(n).unwrap();
/// }
/// assert_eq!(receiver.len(), 1000);
/// ```
#[track_caller]
pub fn unbounded<T>() -> (Sender<T>, Receiver<T>) {
    handles(usize::MAX)
}

#[track_caller]
fn handles<T>(capacity: usize) -> (Sender<T>, Receiver<T>) {
    let shared = Arc::new(Shared {
        channel: Channel::new(capacity),
        shown: Resource::new(),
        senders: AtomicUsize::new(1),
        receivers: AtomicUsize::new(1),
    });
    (Sender { shared: shared.clone() }, Receiver { shared, place: None })
}

struct Shared<T> {
    channel: Channel<T>,
    shown: Resource,
    senders: AtomicUsize,
    receivers: AtomicUsize,
}

/// The end of a channel that messages go into. Clones send into the same channel; when the last
/// is dropped, the channel is closed.
pub struct Sender<T> {
    shared: Arc<Shared<T>>,
}

/// The end of a channel that messages come out of. Clones take messages from the same channel,
/// each message once; when the last is dropped, the channel is closed and what is left in it is
/// dropped.
///
/// It is also a [`Stream`] that ends when the channel is closed and empty:
///
/// ```
/// use futures_util::StreamExt;
///
/// # bifilar::block_on(async {
/// let (sender, receiver) = bifilar::sync::channel::unbounded();
/// sender.try_send(1).unwrap();
/// sender.try_send(2).unwrap();
/// drop(sender);
/// assert_eq!(receiver.collect::<Vec<_>>().await, [1, 2]);
/// # })
/// ```
pub struct Receiver<T> {
    shared: Arc<Shared<T>>,
    /// Where this receiver stands in line when it is used as a stream. On the heap, since the
    /// receiver itself can be moved.
    place: Option<Pin<Box<Place>>>,
}

impl<T> Sender<T> {
    /// Sends a message, waiting while the channel is full.
    ///
    /// # Errors
    ///
    /// [`SendError`] gives the message back if the channel is closed, before or meanwhile.
    ///
    /// # Cancellation
    ///
    /// The message goes into the channel at the moment the future is ready, not before: dropping
    /// a future that isn't ready drops the message with it, and nothing is sent.
    #[inline]
    pub fn send(&self, message: T) -> Send<'_, T> {
        Send { shared: &self.shared, message: Some(message), place: None }
    }

    /// Sends a message if that can be done at once.
    ///
    /// ```
    /// use bifilar::sync::channel::{TrySendError, bounded};
    ///
    /// let (sender, receiver) = bounded(1);
    /// assert_eq!(sender.try_send(1), Ok(()));
    /// assert_eq!(sender.try_send(2), Err(TrySendError::Full(2)));
    /// drop(receiver);
    /// assert_eq!(sender.try_send(3), Err(TrySendError::Closed(3)));
    /// ```
    ///
    /// # Errors
    ///
    /// [`TrySendError`] gives the message back.
    #[inline]
    pub fn try_send(&self, message: T) -> Result<(), TrySendError<T>> {
        self.shared.channel.try_send(message)
    }
}

impl<T> Receiver<T> {
    /// Receives the next message, waiting while there is none.
    ///
    /// # Errors
    ///
    /// [`RecvError`] if the channel is closed and empty.
    ///
    /// # Cancellation
    ///
    /// A message leaves the channel at the moment the future is ready, not before: dropping a
    /// future that isn't ready loses none.
    #[inline]
    pub fn recv(&self) -> Recv<'_, T> {
        Recv { shared: &self.shared, place: None }
    }

    /// Receives a message if there is one.
    ///
    /// ```
    /// use bifilar::sync::channel::{TryRecvError, bounded};
    ///
    /// let (sender, receiver) = bounded(1);
    /// assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty));
    /// sender.try_send(1).unwrap();
    /// sender.close();
    /// assert_eq!(receiver.try_recv(), Ok(1));
    /// assert_eq!(receiver.try_recv(), Err(TryRecvError::Closed));
    /// ```
    ///
    /// # Errors
    ///
    /// [`TryRecvError`] says whether it is worth trying again.
    #[inline]
    pub fn try_recv(&self) -> Result<T, TryRecvError> {
        self.shared.channel.try_recv()
    }
}

/// What both ends can do.
macro_rules! both_ends {
    ($($end:ident)*) => { $(
        impl<T> $end<T> {
            /// Closes the channel for all: nothing more can be sent, what is in it can still be
            /// received. Returns whether it was open.
            pub fn close(&self) -> bool {
                self.shared.channel.close()
            }

            /// Whether the channel is closed: by [`close`](Self::close), or because all senders
            /// or all receivers were dropped.
            pub fn is_closed(&self) -> bool {
                self.shared.channel.is_closed()
            }

            /// How many messages are in the channel at this moment.
            pub fn len(&self) -> usize {
                self.shared.channel.len()
            }

            /// Whether the channel is empty at this moment.
            pub fn is_empty(&self) -> bool {
                self.len() == 0
            }

            /// How many messages the channel can hold; `None` if it is unbounded.
            pub fn capacity(&self) -> Option<usize> {
                self.shared.channel.capacity()
            }
        }

        impl<T> fmt::Debug for $end<T> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($end))
                    .field("len", &self.len())
                    .field("capacity", &self.capacity())
                    .field("closed", &self.is_closed())
                    .finish()
            }
        }
    )* };
}

both_ends!(Sender Receiver);

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        self.shared.senders.fetch_add(1, Relaxed);
        Self { shared: self.shared.clone() }
    }
}

impl<T> Clone for Receiver<T> {
    fn clone(&self) -> Self {
        self.shared.receivers.fetch_add(1, Relaxed);
        Self { shared: self.shared.clone(), place: None }
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        // AcqRel among the drops: the last one closes after whatever the others have sent.
        if self.shared.senders.fetch_sub(1, AcqRel) == 1 {
            self.shared.channel.close();
        }
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        if let Some(place) = &mut self.place {
            self.shared.channel.cancel_recv(place.as_mut());
        }
        // AcqRel among the drops: the last one empties the channel after the others' leaving.
        if self.shared.receivers.fetch_sub(1, AcqRel) == 1 {
            self.shared.channel.abandon();
        }
    }
}

impl<T> Stream for Receiver<T> {
    type Item = T;

    /// The next message, or `None` when the channel is closed and empty. Loses no message if the
    /// stream isn't polled again; but see [`sync`](crate::sync#cancellation) about half-waited
    /// futures: dropping the receiver gives up its place in line.
    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<T>> {
        let this = self.get_mut();
        let place = this.place.get_or_insert_with(|| Box::pin(None));
        this.shared.channel.poll_recv(place.as_mut(), cx).map(Result::ok)
    }
}

pin_project! {
    /// The future of [`Sender::send`].
    ///
    /// # Panics
    ///
    /// When polled again after it was ready.
    #[must_use = "futures do nothing unless awaited or waited for"]
    pub struct Send<'a, T> {
        shared: &'a Shared<T>,
        message: Option<T>,
        #[pin]
        place: Place,
    }

    impl<T> PinnedDrop for Send<'_, T> {
        fn drop(this: Pin<&mut Self>) {
            let this = this.project();
            this.shared.channel.cancel_send(this.place);
        }
    }
}

impl<T> Future for Send<'_, T> {
    type Output = Result<(), SendError<T>>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        ready!(context::poll_budget(cx));
        let this = self.project();
        let poll = this.shared.channel.poll_send(this.place, this.message, cx);
        waiting::noted_of(&this.shared.shown, What::Send, poll)
    }
}

pin_project! {
    /// The future of [`Receiver::recv`].
    #[must_use = "futures do nothing unless awaited or waited for"]
    pub struct Recv<'a, T> {
        shared: &'a Shared<T>,
        #[pin]
        place: Place,
    }

    impl<T> PinnedDrop for Recv<'_, T> {
        fn drop(this: Pin<&mut Self>) {
            let this = this.project();
            this.shared.channel.cancel_recv(this.place);
        }
    }
}

impl<T> Future for Recv<'_, T> {
    type Output = Result<T, RecvError>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        ready!(context::poll_budget(cx));
        let this = self.project();
        let poll = this.shared.channel.poll_recv(this.place, cx);
        waiting::noted_of(&this.shared.shown, What::Receive, poll)
    }
}

impl<T> fmt::Debug for Send<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Send").finish_non_exhaustive()
    }
}

impl<T> fmt::Debug for Recv<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recv").finish_non_exhaustive()
    }
}
