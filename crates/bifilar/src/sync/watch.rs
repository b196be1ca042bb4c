//! The latest value, for everybody who looks, and a signal when it has changed.
//!
//! ```text
//!   Sender ── send ──►  value: Arc<T>, version ── borrow ──►  Ref: the Arc at that moment
//!                                   └─────────── changed ──►  is it newer than what I have seen?
//! ```
//!
//! | `version` | says | changed by |
//! |---|---|---|
//! | bit 0 | all senders are gone | dropping the last sender, lock held |
//! | 1.. | how often the value was replaced | sending, lock held |
//!
//! It is stored with Release and loaded with Acquire, so that `changed` needs no lock when there
//! is news. Everything else lies under one lock, which is held for a pointer's exchange only:
//! readers get the `Arc`, and look at the value, clone it or hold it for as long as they like
//! with no lock held. That is also why changing a value in place means cloning it: readers may be
//! looking at the old one. Values that nobody looked at in time are gone; use
//! [`broadcast`](super::broadcast) if each one matters.

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
    Ordering::{AcqRel, Acquire, Relaxed, Release},
};
use pin_project_lite::pin_project;
use std::{
    error::Error,
    fmt,
    future::Future,
    ops::Deref,
    pin::Pin,
    sync::Arc as Value,
    task::{Context, Poll, ready},
};

/// A value that senders replace and receivers look at, with its first sender and receiver.
///
/// ```
/// use bifilar::sync::watch;
///
/// # bifilar::block_on(async {
/// let (sender, mut receiver) = watch::channel("starting");
/// assert_eq!(*receiver.borrow(), "starting");
/// sender.send("running").unwrap();
/// receiver.changed().await.unwrap();
/// assert_eq!(*receiver.borrow_and_update(), "running");
/// # })
/// ```
#[track_caller]
pub fn channel<T>(value: T) -> (Sender<T>, Receiver<T>) {
    let shared = Arc::new(Shared {
        state: Mutex::new(State { value: Value::new(value), waiters: WaitList::new() }),
        version: AtomicU64::new(0),
        senders: AtomicUsize::new(1),
        receivers: AtomicUsize::new(1),
        shown: Resource::new(),
    });
    (Sender { shared: shared.clone() }, Receiver { shared, seen: 0 })
}

const CLOSED: u64 = 1;
const STEP: u64 = 2;

struct Shared<T> {
    state: Mutex<State<T>>,
    version: AtomicU64,
    senders: AtomicUsize,
    receivers: AtomicUsize,
    shown: Resource,
}

struct State<T> {
    value: Value<T>,
    waiters: WaitList<()>,
}

impl<T> Shared<T> {
    fn value(&self) -> Ref<T> {
        Ref { value: lock(&self.state).value.clone() }
    }

    /// The value, and the version it has.
    fn value_and_version(&self) -> (Ref<T>, u64) {
        let state = lock(&self.state);
        // Relaxed: changed under the lock only.
        let version = self.version.load(Relaxed) & !CLOSED;
        (Ref { value: state.value.clone() }, version)
    }

    /// Puts a new value in, and tells everybody.
    fn replace(&self, mut state: MutexGuard<'_, State<T>>, value: Value<T>) {
        let old = std::mem::replace(&mut state.value, value);
        // Release pairs with the Acquire of receivers that look at the version without the lock.
        self.version.fetch_add(STEP, Release);
        self.wake_all(state);
        drop(old);
    }

    /// Wakes all that wait at this moment, releasing the lock.
    fn wake_all(&self, state: MutexGuard<'_, State<T>>) {
        wake_all(&self.state, state, |state| &mut state.waiters, |()| ());
    }

    /// The version, if it isn't `seen`; or that there will be no other.
    fn news(&self, seen: u64) -> Option<Result<u64, RecvError>> {
        // Acquire pairs with the Release of sending and of dropping the last sender.
        let version = self.version.load(Acquire);
        if version & !CLOSED != seen {
            Some(Ok(version & !CLOSED))
        } else {
            (version & CLOSED != 0).then_some(Err(RecvError(())))
        }
    }
}

/// The value as it was when it was borrowed.
///
/// It holds no lock: it can be kept across `.await` and `.wait()`, and does not keep senders from
/// sending. It does keep that value in memory.
pub struct Ref<T> {
    value: Value<T>,
}

impl<T> Deref for Ref<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T: fmt::Debug> fmt::Debug for Ref<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.value.fmt(f)
    }
}

/// Replaces the value. Clones replace the same value; when the last is dropped, the channel is
/// closed.
pub struct Sender<T> {
    shared: Arc<Shared<T>>,
}

impl<T> Sender<T> {
    /// Replaces the value, and wakes the receivers that wait for a change. It never waits.
    ///
    /// # Errors
    ///
    /// [`SendError`] gives the value back if there is no receiver; the old one stays. There may
    /// be a receiver later.
    pub fn send(&self, value: T) -> Result<(), SendError<T>> {
        // Relaxed: with a receiver coming or going at this moment, either answer is right.
        if self.shared.receivers.load(Relaxed) == 0 {
            return Err(SendError(value));
        }
        let value = Value::new(value);
        self.shared.replace(lock(&self.shared.state), value);
        Ok(())
    }

    /// Changes the value: clones it, lets `modify` change the clone, and puts that in. If another
    /// sender has replaced the value meanwhile, all is done again with the newer one, so no
    /// change is lost; `modify` may therefore be called more than once.
    ///
    /// ```
    /// let (sender, receiver) = bifilar::sync::watch::channel(vec![1]);
    /// sender.send_modify(|list| list.push(2));
    /// assert_eq!(*receiver.borrow(), [1, 2]);
    /// ```
    pub fn send_modify(&self, mut modify: impl FnMut(&mut T))
    where
        T: Clone,
    {
        self.send_if_modified(|value| {
            modify(value);
            true
        });
    }

    /// [`send_modify`](Self::send_modify) for those who see only while changing the value whether
    /// there is anything to change: if `modify` returns false, its clone is dropped and nobody is
    /// woken. Returns what `modify` has returned last.
    ///
    /// ```
    /// let (sender, receiver) = bifilar::sync::watch::channel(5);
    /// let raise_to = |n: u32| sender.send_if_modified(|value| {
    ///     let higher = n > *value;
    ///     *value = n.max(*value);
    ///     higher
    /// });
    /// assert!(!raise_to(3));
    /// assert!(raise_to(7));
    /// assert_eq!(*receiver.borrow(), 7);
    /// ```
    pub fn send_if_modified(&self, mut modify: impl FnMut(&mut T) -> bool) -> bool
    where
        T: Clone,
    {
        loop {
            let before = self.shared.value();
            let mut value = T::clone(&before);
            if !modify(&mut value) {
                return false;
            }
            let value = Value::new(value);
            let state = lock(&self.shared.state);
            if Value::ptr_eq(&state.value, &before.value) {
                self.shared.replace(state, value);
                return true;
            }
        }
    }

    /// The value at this moment.
    pub fn borrow(&self) -> Ref<T> {
        self.shared.value()
    }

    /// A new receiver, which has seen the value as it is now.
    pub fn subscribe(&self) -> Receiver<T> {
        self.shared.receivers.fetch_add(1, Relaxed);
        let (_, seen) = self.shared.value_and_version();
        Receiver { shared: self.shared.clone(), seen }
    }

    /// How many receivers there are at this moment.
    pub fn receiver_count(&self) -> usize {
        self.shared.receivers.load(Relaxed)
    }

    /// Whether there is no receiver at this moment.
    pub fn is_closed(&self) -> bool {
        self.receiver_count() == 0
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
            let state = lock(&self.shared.state);
            // Release pairs with the Acquire of receivers that look without the lock.
            self.shared.version.fetch_or(CLOSED, Release);
            self.shared.wake_all(state);
        }
    }
}

/// Looks at the value. A clone has seen what its original has seen.
pub struct Receiver<T> {
    shared: Arc<Shared<T>>,
    /// The version last seen, without the closed bit.
    seen: u64,
}

impl<T> Receiver<T> {
    /// The value at this moment; [`changed`](Self::changed) will still report it if it is new.
    pub fn borrow(&self) -> Ref<T> {
        self.shared.value()
    }

    /// The value at this moment, which counts as seen.
    pub fn borrow_and_update(&mut self) -> Ref<T> {
        let (value, version) = self.shared.value_and_version();
        self.seen = version;
        value
    }

    /// Whether the value was replaced since this receiver last saw it.
    ///
    /// # Errors
    ///
    /// [`RecvError`] if all senders are gone and the last value was seen.
    pub fn has_changed(&self) -> Result<bool, RecvError> {
        self.shared.news(self.seen).transpose().map(|news| news.is_some())
    }

    /// Waits until the value was replaced since this receiver last saw it; then it counts as
    /// seen. Several replacements count as one.
    ///
    /// # Errors
    ///
    /// [`RecvError`] if all senders are gone and the last value was seen.
    ///
    /// # Cancellation
    ///
    /// Dropping a future that isn't ready changes nothing: a change is still to be seen.
    pub fn changed(&mut self) -> Changed<'_, T> {
        Changed { receiver: self, waiter: None }
    }
}

impl<T> Clone for Receiver<T> {
    fn clone(&self) -> Self {
        self.shared.receivers.fetch_add(1, Relaxed);
        Self { shared: self.shared.clone(), seen: self.seen }
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        // Relaxed: the count guards nothing.
        self.shared.receivers.fetch_sub(1, Relaxed);
    }
}

pin_project! {
    /// The future of [`Receiver::changed`].
    #[must_use = "futures do nothing unless awaited or waited for"]
    pub struct Changed<'a, T> {
        receiver: &'a mut Receiver<T>,
        #[pin]
        waiter: Option<Waiter<()>>,
    }

    impl<T> PinnedDrop for Changed<'_, T> {
        fn drop(this: Pin<&mut Self>) {
            let this = this.project();
            if let Some(waiter) = this.waiter.as_pin_mut() {
                let mut state = lock(&this.receiver.shared.state);
                let old = state.waiters.remove(waiter);
                drop(state);
                drop(old);
            }
        }
    }
}

impl<T> Future for Changed<'_, T> {
    type Output = Result<(), RecvError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        ready!(context::poll_budget(cx));
        let mut this = self.project();
        let Receiver { shared, seen } = &mut **this.receiver;
        if this.waiter.is_none()
            && let Some(news) = shared.news(*seen)
        {
            return Poll::Ready(news.map(|version| *seen = version));
        }
        let waker = cx.waker().clone();
        let mut state = lock(&shared.state);
        // A waiter that was called is out of the list, but bound to it: it starts afresh.
        let old = this.waiter.as_mut().as_pin_mut().and_then(|waiter| state.waiters.remove(waiter));
        // Looked at with the lock held: later news finds us in the list.
        let news = shared.news(*seen);
        if news.is_none() {
            this.waiter.set(Some(Waiter::new(())));
            state.waiters.push_back(this.waiter.as_pin_mut().expect("set above"), waker);
        } else {
            this.waiter.set(None);
        }
        drop(state);
        drop(old);
        let poll = match news {
            Some(news) => Poll::Ready(news.map(|version| *seen = version)),
            None => Poll::Pending,
        };
        waiting::noted_of(&shared.shown, What::Watch, poll)
    }
}

impl<T> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender").field("receivers", &self.receiver_count()).finish_non_exhaustive()
    }
}

impl<T> fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver").field("has_changed", &self.has_changed()).finish_non_exhaustive()
    }
}

impl<T> fmt::Debug for Changed<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Changed").finish_non_exhaustive()
    }
}

/// There is no receiver; here is the value.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SendError<T>(pub T);

/// All senders are gone, and the last value was seen.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RecvError(());

// Without the value, which need not be `Debug`.
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
        f.write_str("all senders are gone")
    }
}

impl<T> Error for SendError<T> {}
impl Error for RecvError {}
