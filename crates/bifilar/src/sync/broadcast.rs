//! Each message to every receiver, in order; who is too slow is told how much was missed.
//!
//! ```text
//!                      ◄──────── at most `capacity` ────────►
//!   position            41      42      43      44      45      46 = next
//!                 ...  [m 2]   [m 2]   [m 3]   [m 3]   [m 3]  │
//!                        ▲       ▲                            ▲
//!       oldest retained ─┘   receiver at 42         receivers that have seen everything
//! ```
//!
//! One lock guards the messages, each with the number of receivers that have yet to see it, and
//! the list of those who wait. A message goes as soon as the last of them has seen it; if there are
//! `capacity` messages when another is sent, the oldest goes, and whoever hadn't seen it lags. The
//! numbers never fall towards newer messages, since whoever has yet to see a message has yet
//! to see those after it; so messages always go from the front.
//!
//! A message lies in an `Arc`, so that receivers clone it after the lock has been released; the
//! last to see it gets the message itself. Sending costs one allocation, the lock, and a waker's
//! call for each receiver that waits; none for those that don't. A sender never waits.

use super::{
    lock,
    wait_list::{WaitList, Waiter},
    wake_batch::wake_all,
};
use crate::console::Resource;
use crate::context::{
    self,
    waiting::{self, What},
};
use crate::primitives::{
    Arc, AtomicU64, AtomicUsize, Mutex, MutexGuard,
    Ordering::{AcqRel, Relaxed},
};
use futures_core::Stream;
use std::{
    collections::VecDeque,
    error::Error,
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc as Message,
    task::{Context, Poll, ready},
};

/// A channel on which every receiver sees every message sent after it subscribed.
///
/// ```
/// use bifilar::sync::broadcast;
///
/// # bifilar::block_on(async {
/// let (sender, mut anna) = broadcast::channel(16);
/// let mut berta = sender.subscribe();
/// sender.send("hello").unwrap();
/// assert_eq!(anna.recv().await, Ok("hello"));
/// assert_eq!(berta.recv().await, Ok("hello"));
/// # })
/// ```
///
/// A receiver that is more than `capacity` messages behind is told so once, with the exact
/// number it missed, and goes on with the oldest message still there:
///
/// ```
/// use bifilar::sync::broadcast::{self, RecvError};
///
/// # bifilar::block_on(async {
/// let (sender, mut receiver) = broadcast::channel(2);
/// for n in 0..5 {
///     sender.send(n).unwrap();
/// }
/// assert_eq!(receiver.recv().await, Err(RecvError::Lagged(3)));
/// assert_eq!(receiver.recv().await, Ok(3));
/// assert_eq!(receiver.recv().await, Ok(4));
/// # })
/// ```
///
/// # Panics
///
/// If `capacity` is 0.
#[track_caller]
pub fn channel<T>(capacity: usize) -> (Sender<T>, Receiver<T>) {
    assert!(capacity > 0, "a channel needs a capacity of at least 1");
    let shared = Arc::new(Shared {
        state: Mutex::new(State {
            messages: VecDeque::new(),
            next: 0,
            receivers: 1,
            closed: false,
            waiters: WaitList::new(),
        }),
        next: AtomicU64::new(0),
        senders: AtomicUsize::new(1),
        capacity,
        shown: Resource::new(),
    });
    (Sender { shared: shared.clone() }, Receiver { shared, next: 0, seat: None })
}

struct Shared<T> {
    state: Mutex<State<T>>,
    /// `State::next` outside the lock: a guess whether a receiver will have to wait.
    next: AtomicU64,
    senders: AtomicUsize,
    capacity: usize,
    shown: Resource,
}

struct State<T> {
    messages: VecDeque<Slot<T>>,
    /// The position of the next message to be sent.
    next: u64,
    receivers: usize,
    closed: bool,
    waiters: WaitList<()>,
}

struct Slot<T> {
    /// How many receivers have yet to see it.
    unseen_by: usize,
    message: Message<T>,
}

impl<T> State<T> {
    /// The position of the oldest message retained.
    fn oldest(&self) -> u64 {
        self.next - self.messages.len() as u64
    }

    /// The message for the receiver at `position`, which moves on.
    fn take(&mut self, position: &mut u64) -> Result<Message<T>, TryRecvError> {
        let oldest = self.oldest();
        if *position < oldest {
            let missed = oldest - *position;
            *position = oldest;
            return Err(TryRecvError::Lagged(missed));
        }
        let Some(slot) = self.messages.get_mut((*position - oldest) as usize) else {
            return Err(if self.closed { TryRecvError::Closed } else { TryRecvError::Empty });
        };
        *position += 1;
        slot.unseen_by -= 1;
        if slot.unseen_by > 0 {
            return Ok(slot.message.clone());
        }
        let slot = self.messages.pop_front().expect("this one, the others being seen before it");
        Ok(slot.message)
    }

    /// Takes the receiver at `position` off the messages it hasn't seen. Returns those that
    /// nobody has yet to see, to be dropped once the lock is released.
    fn leave(&mut self, position: u64) -> Vec<Slot<T>> {
        let seen = position.saturating_sub(self.oldest()) as usize;
        for slot in self.messages.range_mut(seen..) {
            slot.unseen_by -= 1;
        }
        self.receivers -= 1;
        let done = self.messages.iter().take_while(|slot| slot.unseen_by == 0).count();
        self.messages.drain(..done).collect()
    }
}

impl<T> Shared<T> {
    /// Wakes all that wait at this moment, releasing the lock.
    fn wake_all(&self, state: MutexGuard<'_, State<T>>) {
        wake_all(&self.state, state, |state| &mut state.waiters, |()| ());
    }
}

/// The end that messages go into. Clones send on the same channel; when the last is dropped, the
/// channel is closed.
pub struct Sender<T> {
    shared: Arc<Shared<T>>,
}

impl<T> Sender<T> {
    /// Sends a message to all receivers, and says how many they are. It never waits: if there
    /// are `capacity` messages that somebody has yet to see, the oldest goes.
    ///
    /// # Errors
    ///
    /// [`SendError`] gives the message back if there is no receiver. There may be one later.
    pub fn send(&self, message: T) -> Result<usize, SendError<T>> {
        let message = Message::new(message);
        let mut state = lock(&self.shared.state);
        let receivers = state.receivers;
        if receivers == 0 {
            drop(state);
            let message = Message::into_inner(message).expect("shared with nobody");
            return Err(SendError(message));
        }
        let full = state.messages.len() == self.shared.capacity;
        let overtaken = if full { state.messages.pop_front() } else { None };
        state.messages.push_back(Slot { unseen_by: receivers, message });
        state.next += 1;
        self.shared.next.store(state.next, Relaxed);
        self.shared.wake_all(state);
        drop(overtaken);
        Ok(receivers)
    }

    /// A new receiver, which sees what is sent from now on.
    ///
    /// ```
    /// let (sender, first) = bifilar::sync::broadcast::channel(4);
    /// sender.send(1).unwrap();
    /// let mut second = sender.subscribe();
    /// sender.send(2).unwrap();
    /// assert_eq!(second.try_recv(), Ok(2));
    /// ```
    pub fn subscribe(&self) -> Receiver<T> {
        let mut state = lock(&self.shared.state);
        state.receivers += 1;
        Receiver { shared: self.shared.clone(), next: state.next, seat: None }
    }

    /// How many receivers there are at this moment.
    pub fn receiver_count(&self) -> usize {
        lock(&self.shared.state).receivers
    }

    /// How many messages are retained because somebody has yet to see them.
    pub fn len(&self) -> usize {
        lock(&self.shared.state).messages.len()
    }

    /// Whether every receiver has seen every message.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        self.shared.senders.fetch_add(1, Relaxed);
        Self { shared: self.shared.clone() }
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        // AcqRel among the drops: the last one closes after whatever the others have sent.
        if self.shared.senders.fetch_sub(1, AcqRel) == 1 {
            let mut state = lock(&self.shared.state);
            state.closed = true;
            self.shared.wake_all(state);
        }
    }
}

/// The end that every message comes out of.
///
/// It is also a [`Stream`] of messages and of [`RecvError::Lagged`], which ends when the channel
/// is closed and everything in it was seen.
pub struct Receiver<T> {
    shared: Arc<Shared<T>>,
    /// The position of the next message for this receiver.
    next: u64,
    /// This receiver's place in the list. On the heap, since the receiver itself can be moved.
    seat: Option<Pin<Box<Waiter<()>>>>,
}

impl<T> Receiver<T> {
    /// Takes this receiver out of the list.
    fn stop_waiting(&mut self) {
        if let Some(seat) = &mut self.seat
            && seat.is_bound()
        {
            let mut state = lock(&self.shared.state);
            let old = state.waiters.remove(seat.as_mut());
            drop(state);
            drop(old);
        }
    }
}

/// The message itself if nobody else has it, or a clone.
fn into_inner<T: Clone>(message: Message<T>) -> T {
    Message::try_unwrap(message).unwrap_or_else(|shared| (*shared).clone())
}

impl<T: Clone> Receiver<T> {
    /// Receives the next message, waiting while there is none.
    ///
    /// The message is a clone of what was sent; the last receiver to see it gets it as it is.
    ///
    /// # Errors
    ///
    /// [`RecvError::Lagged`] if messages were missed, [`RecvError::Closed`] if there will be no
    /// more.
    ///
    /// # Panics
    ///
    /// If the message's `clone` does; that message is skipped, and the receiver stays usable.
    ///
    /// # Cancellation
    ///
    /// Dropping a future that isn't ready loses no message.
    pub fn recv(&mut self) -> Recv<'_, T> {
        Recv { receiver: self }
    }

    /// [`recv`](Self::recv) for those who write futures by hand, or call back from a waker of
    /// their own. When pending, it has kept the waker, and calls it once: when there is a message
    /// or the channel is closed. A later call with another waker replaces it.
    ///
    /// ```
    /// use std::task::{Context, Poll, Waker};
    ///
    /// let (sender, mut receiver) = bifilar::sync::broadcast::channel(4);
    /// let mut cx = Context::from_waker(Waker::noop());
    /// assert_eq!(receiver.poll_recv(&mut cx), Poll::Pending);
    /// sender.send(1).unwrap();
    /// assert_eq!(receiver.poll_recv(&mut cx), Poll::Ready(Ok(1)));
    /// ```
    ///
    /// # Errors and panics
    ///
    /// As for [`recv`](Self::recv).
    pub fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Result<T, RecvError>> {
        // With nothing to see we shall wait: have the waker ready before the lock is taken.
        // Relaxed: it is a guess.
        let mut waker = (self.shared.next.load(Relaxed) == self.next).then(|| cx.waker().clone());
        loop {
            let mut state = lock(&self.shared.state);
            let received = match state.take(&mut self.next) {
                Ok(message) => Some(Ok(message)),
                Err(TryRecvError::Lagged(missed)) => Some(Err(RecvError::Lagged(missed))),
                Err(TryRecvError::Closed) => Some(Err(RecvError::Closed)),
                Err(TryRecvError::Empty) => None,
            };
            // We are here, so a place from before has served; whoever waits on starts afresh.
            let old = self.seat.as_mut().and_then(|seat| state.waiters.remove(seat.as_mut()));
            let waits = received.is_none() && waker.is_some();
            if waits && let Some(waker) = waker.take() {
                let seat = self.seat.get_or_insert_with(|| Box::pin(Waiter::new(())));
                state.waiters.push_back(seat.as_mut(), waker);
            }
            drop(state);
            drop(old);
            if let Some(received) = received {
                return Poll::Ready(received.map(into_inner));
            }
            if waits {
                return Poll::Pending;
            }
            waker = Some(cx.waker().clone());
        }
    }

    /// Receives the next message if there is one.
    ///
    /// # Errors
    ///
    /// [`TryRecvError`] says whether messages were missed, or it is worth trying again.
    pub fn try_recv(&mut self) -> Result<T, TryRecvError> {
        let taken = lock(&self.shared.state).take(&mut self.next);
        taken.map(into_inner)
    }
}

impl<T: Clone> Stream for Receiver<T> {
    type Item = Result<T, RecvError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let receiver = self.get_mut();
        let poll = receiver.poll_recv(cx);
        match ready!(waiting::noted_of(&receiver.shared.shown, What::Broadcast, poll)) {
            Err(RecvError::Closed) => Poll::Ready(None),
            item => Poll::Ready(Some(item)),
        }
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        self.stop_waiting();
        let mut state = lock(&self.shared.state);
        let unseen = state.leave(self.next);
        drop(state);
        drop(unseen);
    }
}

/// The future of [`Receiver::recv`].
#[must_use = "futures do nothing unless awaited or waited for"]
#[derive(Debug)]
pub struct Recv<'a, T> {
    receiver: &'a mut Receiver<T>,
}

impl<T: Clone> Future for Recv<'_, T> {
    type Output = Result<T, RecvError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        ready!(context::poll_budget(cx));
        let poll = self.receiver.poll_recv(cx);
        waiting::noted_of(&self.receiver.shared.shown, What::Broadcast, poll)
    }
}

impl<T> Drop for Recv<'_, T> {
    fn drop(&mut self) {
        self.receiver.stop_waiting();
    }
}

impl<T> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender")
            .field("receivers", &self.receiver_count())
            .field("capacity", &self.shared.capacity)
            .finish()
    }
}

impl<T> fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver").field("next", &self.next).finish_non_exhaustive()
    }
}

/// There is no receiver; here is the message.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SendError<T>(pub T);

/// There is no message to return.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RecvError {
    /// So many messages went unseen since the last one received. Said once for each gap; the
    /// next call goes on with the oldest message retained.
    Lagged(u64),
    /// All senders are gone, and everything was seen.
    Closed,
}

/// No message was to be had at once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TryRecvError {
    /// Everything sent so far was seen.
    Empty,
    /// As [`RecvError::Lagged`].
    Lagged(u64),
    /// As [`RecvError::Closed`].
    Closed,
}

// Without the message, which need not be `Debug`.
impl<T> fmt::Debug for SendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SendError").finish_non_exhaustive()
    }
}

impl<T> fmt::Display for SendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("there is no receiver")
    }
}

impl fmt::Display for RecvError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lagged(missed) => write!(f, "missed {missed} messages"),
            Self::Closed => f.write_str("the channel is closed"),
        }
    }
}

impl fmt::Display for TryRecvError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("nothing new was sent"),
            Self::Lagged(missed) => write!(f, "missed {missed} messages"),
            Self::Closed => f.write_str("the channel is closed"),
        }
    }
}

impl<T> Error for SendError<T> {}
impl Error for RecvError {}
impl Error for TryRecvError {}
