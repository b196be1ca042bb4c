//! One message, from one sender to one receiver.
//!
//! One atomic word says who may touch what:
//!
//! | bit | name | says | set by |
//! |---|---|---|---|
//! | 0 | `SENT` | the message is in its cell | `Sender::send` |
//! | 1 | `SENDER_GONE` | there will be no message | dropping the unused sender |
//! | 2 | `CLOSED` | the receiver wants none any more | `Receiver::close`, dropping the receiver |
//! | 3 | `RECEIVER_WAITS` | the receiver's waker is in its cell | polling the receiver |
//! | 4 | `SENDER_WAITS` | the sender's waker is in its cell | polling `Closed` |
//!
//! | transition | performed by | ordering, and its partner |
//! |---|---|---|
//! | `SENT` set, unless `CLOSED` | `send`, after writing the message | Release → polling the receiver |
//! | `SENDER_GONE` set | dropping the sender | Release → polling the receiver |
//! | `CLOSED` set | `close` | Release → polling `Closed` |
//! | `*_WAITS` cleared, to change the waker | `register` | Acquire ← the three above |
//! | `*_WAITS` set, after writing the waker | `register` | Release → whoever sets one of the three, which acquires |
//!
//! The message belongs to the sender until `SENT`, then to the receiver. If `CLOSED` comes first,
//! `SENT` never comes, and the sender takes the message back. A waker's cell belongs to the side
//! that waits while its bit is clear; while it is set, and until the waiting side has cleared it
//! and found that nothing had been set before, it belongs to the other side, which reads it once.

use crate::console::Resource;
use crate::context::waiting::{self, What};
use crate::primitives::{
    Arc, AtomicUsize,
    Ordering::{AcqRel, Acquire, Relaxed},
    UnsafeCell,
};
use std::{
    error::Error,
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll, Waker},
};

const SENT: usize = 1;
const SENDER_GONE: usize = 1 << 1;
const CLOSED: usize = 1 << 2;
const RECEIVER_WAITS: usize = 1 << 3;
const SENDER_WAITS: usize = 1 << 4;

/// A sender and a receiver of one message.
///
/// ```
/// # bifilar::block_on(async {
/// let (sender, receiver) = bifilar::sync::oneshot::channel();
/// std::thread::spawn(move || sender.send(6 * 7));
/// assert_eq!(receiver.await, Ok(42));
/// # })
/// ```
#[track_caller]
pub fn channel<T>() -> (Sender<T>, Receiver<T>) {
    let shared = Arc::new(Shared {
        state: AtomicUsize::new(0),
        message: UnsafeCell::new(None),
        receiver: UnsafeCell::new(None),
        sender: UnsafeCell::new(None),
        shown: Resource::new(),
    });
    (Sender { shared: shared.clone(), sent: false }, Receiver { shared, done: false })
}

struct Shared<T> {
    state: AtomicUsize,
    message: UnsafeCell<Option<T>>,
    receiver: UnsafeCell<Option<Waker>>,
    sender: UnsafeCell<Option<Waker>>,
    shown: Resource,
}

// SAFETY: the two handles may be on different threads; each cell is touched by one at a time, as
// the table says. The message is sent from one to the other; wakers are `Send` and `Sync`.
unsafe impl<T: Send> Send for Shared<T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for Shared<T> {}

impl<T> Shared<T> {
    /// Puts the waker into `cell` and sets its bit `waits`, unless one of the bits in `news` is
    /// set. Returns the state, in which `waits` says whether the waker is in place.
    fn register(
        &self,
        cell: &UnsafeCell<Option<Waker>>,
        waits: usize,
        news: usize,
        waker: &Waker,
    ) -> usize {
        // Acquire, here and twice below, pairs with the Release of whoever brings the news.
        let mut state = self.state.load(Acquire);
        if state & news != 0 {
            return state;
        }
        if state & waits != 0 {
            // SAFETY: the bit is set; both sides may read the cell, none writes it.
            let same =
                cell.with(|old| unsafe { (*old).as_ref() }.is_some_and(|w| w.will_wake(waker)));
            if same {
                return state;
            }
            state = self.state.fetch_and(!waits, AcqRel);
            if state & news != 0 {
                return state; // the other side may be reading the waker now
            }
        }
        let new = Some(waker.clone());
        // SAFETY: the bit is clear, and was so before any news: the cell is ours.
        let old = cell.with_mut(|cell| std::mem::replace(unsafe { &mut *cell }, new));
        // Release pairs with the Acquire of whoever brings the news and reads the waker.
        state = self.state.fetch_or(waits, AcqRel) | waits;
        drop(old);
        state
    }

    /// Calls the waker that bit `waits` of `before` says is in `cell`. `before` is the state that
    /// the caller has just added news to.
    fn wake(&self, cell: &UnsafeCell<Option<Waker>>, waits: usize, before: usize) {
        if before & waits != 0 {
            // SAFETY: the bit was set when the news came, so the waiting side doesn't write the
            // cell any more, though it may be reading it too; our handle keeps it alive.
            cell.with(|cell| unsafe { (*cell).as_ref() }.inspect(|waker| waker.wake_by_ref()));
        }
    }

    /// The message, if it was sent and not yet taken.
    fn take(&self) -> Option<T> {
        // SAFETY: called by the receiver after it has acquired SENT, or by the sender after it
        // has acquired CLOSED without SENT.
        self.message.with_mut(|message| unsafe { (*message).take() })
    }
}

/// Sends the message. Dropped unused, it tells the receiver that there will be none.
pub struct Sender<T> {
    shared: Arc<Shared<T>>,
    sent: bool,
}

/// Receives the message: a future that is ready once it is there.
///
/// # Errors
///
/// [`RecvError`] if the sender was dropped unused, or the message was taken already.
///
/// # Cancellation
///
/// Polling and not waiting on loses nothing; the receiver can be polled again by reference.
/// Dropping it drops the message, or lets `send` fail.
#[must_use = "futures do nothing unless awaited or waited for"]
pub struct Receiver<T> {
    shared: Arc<Shared<T>>,
    /// The message was taken: the sender is done with this channel, and so are we.
    done: bool,
}

impl<T> Sender<T> {
    /// Sends the message; it never waits.
    ///
    /// ```
    /// let (sender, receiver) = bifilar::sync::oneshot::channel();
    /// drop(receiver);
    /// assert_eq!(sender.send(1), Err(1));
    /// ```
    ///
    /// # Errors
    ///
    /// The message comes back if the receiver is closed or gone. `Ok` means that it wasn't yet;
    /// it may still go without looking.
    pub fn send(mut self, message: T) -> Result<(), T> {
        self.sent = true; // whatever comes of it: `drop` has nothing to say
        let shared = &*self.shared;
        // SAFETY: the message's cell is the sender's until SENT.
        shared.message.with_mut(|cell| unsafe { *cell = Some(message) });
        let mut state = shared.state.load(Relaxed);
        loop {
            if state & CLOSED != 0 {
                return Err(shared.take().expect("put there above"));
            }
            // Release gives the message to the receiver; Acquire takes its waker.
            match shared.state.compare_exchange_weak(state, state | SENT, AcqRel, Relaxed) {
                Ok(before) => {
                    shared.wake(&shared.receiver, RECEIVER_WAITS, before);
                    return Ok(());
                }
                Err(now) => state = now,
            }
        }
    }

    /// A future that is ready once nobody wants the message any more: the receiver is closed or
    /// gone. So a sender can give up work that has become pointless.
    ///
    /// ```
    /// # bifilar::block_on(async {
    /// let (mut sender, receiver) = bifilar::sync::oneshot::channel::<u32>();
    /// drop(receiver);
    /// sender.closed().await;
    /// # })
    /// ```
    ///
    /// # Cancellation
    ///
    /// Dropping the future loses nothing; the sender can still send.
    pub fn closed(&mut self) -> Closed<'_, T> {
        Closed { sender: self }
    }

    /// Whether the receiver is closed or gone.
    pub fn is_closed(&self) -> bool {
        // Acquire pairs with the Release in `close`.
        self.shared.state.load(Acquire) & CLOSED != 0
    }

    /// [`closed`](Self::closed) for those who write futures by hand.
    pub fn poll_closed(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let shared = &*self.shared;
        let state = shared.register(&shared.sender, SENDER_WAITS, CLOSED, cx.waker());
        if state & CLOSED != 0 { Poll::Ready(()) } else { Poll::Pending }
    }
}

impl<T> Receiver<T> {
    /// Takes the message if it is there.
    ///
    /// ```
    /// use bifilar::sync::oneshot::{self, TryRecvError};
    ///
    /// let (sender, mut receiver) = oneshot::channel();
    /// assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty));
    /// sender.send(1).unwrap();
    /// assert_eq!(receiver.try_recv(), Ok(1));
    /// assert_eq!(receiver.try_recv(), Err(TryRecvError::Closed));
    /// ```
    ///
    /// # Errors
    ///
    /// [`TryRecvError`] says whether it is worth trying again.
    pub fn try_recv(&mut self) -> Result<T, TryRecvError> {
        // Acquire pairs with the Release in `send`.
        self.received(self.shared.state.load(Acquire))
    }

    /// Wants no message any more: `send` will fail. One that was sent before is still here for
    /// [`try_recv`](Self::try_recv) or for waiting.
    pub fn close(&mut self) {
        let shared = &*self.shared;
        // Release pairs with the Acquire of the sender that sees it; Acquire takes its waker, and
        // a message sent before.
        let before = shared.state.fetch_or(CLOSED, AcqRel);
        if before & CLOSED == 0 {
            shared.wake(&shared.sender, SENDER_WAITS, before);
        }
    }

    /// What there is for the receiver in a state it has acquired.
    fn received(&mut self, state: usize) -> Result<T, TryRecvError> {
        if self.done {
            return Err(TryRecvError::Closed);
        }
        if state & SENT != 0 {
            self.done = true;
            return self.shared.take().ok_or(TryRecvError::Closed);
        }
        let over = state & (SENDER_GONE | CLOSED) != 0;
        Err(if over { TryRecvError::Closed } else { TryRecvError::Empty })
    }
}

impl<T> Future for Receiver<T> {
    type Output = Result<T, RecvError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        let news = SENT | SENDER_GONE | CLOSED;
        let shared = &*this.shared;
        let state = shared.register(&shared.receiver, RECEIVER_WAITS, news, cx.waker());
        let poll = match this.received(state) {
            Ok(message) => Poll::Ready(Ok(message)),
            Err(TryRecvError::Closed) => Poll::Ready(Err(RecvError)),
            Err(TryRecvError::Empty) => Poll::Pending,
        };
        waiting::noted_of(&this.shared.shown, What::Oneshot, poll)
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        if !self.sent {
            let shared = &*self.shared;
            // Release pairs with the Acquire of the receiver; Acquire takes its waker.
            let before = shared.state.fetch_or(SENDER_GONE, AcqRel);
            shared.wake(&shared.receiver, RECEIVER_WAITS, before);
        }
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        if self.done {
            return;
        }
        self.close();
        // A message that nobody will read goes now, not when the sender's handle goes.
        // Acquire pairs with the Release in `send`.
        if self.shared.state.load(Acquire) & SENT != 0 {
            drop(self.shared.take());
        }
    }
}

/// The future of [`Sender::closed`].
#[must_use = "futures do nothing unless awaited or waited for"]
#[derive(Debug)]
pub struct Closed<'a, T> {
    sender: &'a mut Sender<T>,
}

impl<T> Future for Closed<'_, T> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        waiting::noted(What::Oneshot, self.sender.poll_closed(cx))
    }
}

impl<T> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender").field("closed", &self.is_closed()).finish_non_exhaustive()
    }
}

impl<T> fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sent = self.shared.state.load(Relaxed) & SENT != 0;
        f.debug_struct("Receiver").field("sent", &sent).finish_non_exhaustive()
    }
}

/// There is no message, and there will be none.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RecvError;

/// The message was not to be had at once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TryRecvError {
    /// It may still come.
    Empty,
    /// There is none, and there will be none.
    Closed,
}

impl fmt::Display for RecvError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the sender is gone")
    }
}

impl fmt::Display for TryRecvError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "nothing was sent yet",
            Self::Closed => "the sender is gone",
        })
    }
}

impl Error for RecvError {}
impl Error for TryRecvError {}
