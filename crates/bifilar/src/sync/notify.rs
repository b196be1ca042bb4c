//! "Something has happened", without a value.
//!
//! One atomic word:
//!
//! | bits | name | says |
//! |---|---|---|
//! | 0..2 | mode | `EMPTY`, `PERMIT` (the next to ask needn't wait), `WAITING` (look into the list) |
//! | 2.. | round | how often everybody has been notified |
//!
//! | transition | performed by | ordering, and its partner |
//! |---|---|---|
//! | `EMPTY` or `PERMIT` → `PERMIT` | `notify_one` | Release → taking the permit |
//! | `PERMIT` → `EMPTY` | polling `Notified` | Acquire ← `notify_one` |
//! | `EMPTY` → `WAITING` | polling `Notified`, lock held | Acquire on failure ← `notify_one` |
//! | `WAITING` → `PERMIT` | `notify_one`, dropping `Notified`, lock held, list empty | Release → taking the permit |
//! | round + 1 | `notify_waiters`, lock held | Release → polling `Notified`, which compares rounds |
//!
//! While anybody is in the list the mode is `WAITING`, which only the holder of the lock changes.
//! It may also be `WAITING` with the list empty; the next `notify_one` puts that right. A waiter
//! that was notified is out of the list, and its entry says by whom; if it is dropped before it has
//! looked, a `notify_one` goes on to the next. It doesn't count: two calls of `notify_one` with
//! nobody waiting leave one permit (use a [`Semaphore`](super::Semaphore) to count).

use super::{
    lock,
    wait_list::{WaitList, Waiter},
    wake_batch::{WakeBatch, wake_all},
};
use crate::console::Resource;
use crate::context::{
    self,
    waiting::{self, What},
};
use crate::primitives::{
    AtomicUsize, Mutex,
    Ordering::{Acquire, Relaxed, Release},
    const_fn,
};
use pin_project_lite::pin_project;
use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll, Waker, ready},
};

const EMPTY: usize = 0;
const PERMIT: usize = 1;
const WAITING: usize = 2;
const MODE: usize = 0b11;
const ROUND: usize = 0b100;

/// Wakes tasks that wait for something to happen.
///
/// ```
/// use bifilar::sync::Notify;
///
/// # bifilar::block_on(async {
/// let bell = Notify::new();
/// bell.notify_one(); // nobody is waiting: kept for the next to come
/// bell.notified().await;
/// # })
/// ```
///
/// To wait for a condition, create the future, then look, then wait: nothing that happens in
/// between is missed, neither a `notify_one` nor a `notify_waiters`.
///
/// ```
/// use bifilar::sync::Notify;
/// use std::sync::atomic::{AtomicBool, Ordering};
///
/// async fn wait_until_open(open: &AtomicBool, changed: &Notify) {
///     loop {
///         let notified = changed.notified();
///         if open.load(Ordering::Acquire) {
///             return;
///         }
///         notified.await;
///     }
/// }
/// # bifilar::block_on(wait_until_open(&AtomicBool::new(true), &Notify::new()));
/// ```
pub struct Notify {
    state: AtomicUsize,
    waiters: Mutex<WaitList<Option<By>>>,
    shown: Resource,
}

/// Who notified a waiter.
#[derive(Clone, Copy, PartialEq, Eq)]
enum By {
    /// `notify_one`, for nobody else.
    One,
    /// `notify_waiters`.
    All,
}

impl Notify {
    const_fn! {
        /// Nothing has happened yet.
        #[track_caller]
        pub fn new() -> Self {
            Self {
                state: AtomicUsize::new(EMPTY),
                waiters: Mutex::new(WaitList::new()),
                shown: Resource::new(),
            }
        }
    }

    /// Wakes the task that has waited longest; if none waits, the next to ask needn't.
    pub fn notify_one(&self) {
        let mut state = self.state.load(Relaxed);
        while state & MODE != WAITING {
            // Also from PERMIT to PERMIT: whoever takes it must see what we did before.
            // Release pairs with the Acquire of whoever takes the permit.
            let permit = state & !MODE | PERMIT;
            match self.state.compare_exchange_weak(state, permit, Release, Relaxed) {
                Ok(_) => return,
                Err(now) => state = now,
            }
        }
        let mut batch = WakeBatch::new();
        let mut waiters = lock(&self.waiters);
        batch.push(self.hand_to_one(&mut waiters));
        drop(waiters);
        batch.wake();
    }

    /// Notifies the first in the list, or leaves a permit; the lock is held.
    fn hand_to_one(&self, waiters: &mut WaitList<Option<By>>) -> Option<Waker> {
        if let Some(first) = waiters.pop_front() {
            first.note = Some(By::One);
            return first.waker.take();
        }
        let mut state = self.state.load(Relaxed);
        loop {
            // Release pairs with the Acquire of whoever takes the permit.
            let permit = state & !MODE | PERMIT;
            match self.state.compare_exchange_weak(state, permit, Release, Relaxed) {
                Ok(_) => return None,
                Err(now) => state = now,
            }
        }
    }

    /// Wakes all tasks that wait at this moment, and those whose [`notified`](Self::notified)
    /// future exists already. Leaves nothing for those who come later.
    ///
    /// ```
    /// # bifilar::block_on(async {
    /// let bell = bifilar::sync::Notify::new();
    /// let (first, second) = (bell.notified(), bell.notified());
    /// bell.notify_waiters();
    /// first.await;
    /// second.await;
    /// # })
    /// ```
    pub fn notify_waiters(&self) {
        let waiters = lock(&self.waiters);
        // Release pairs with the Acquire with which `Notified` looks at the round.
        self.state.fetch_add(ROUND, Release);
        wake_all(&self.waiters, waiters, |list| list, |by| *by = Some(By::All));
    }

    /// A future that is ready once this has been notified.
    ///
    /// It counts as waiting for [`notify_waiters`](Self::notify_waiters) from now on, for
    /// [`notify_one`](Self::notify_one) from its first poll on.
    ///
    /// # Cancellation
    ///
    /// Dropping the future loses nothing: a `notify_one` that had reached it goes on to the next
    /// task in line, or stays for the next to ask.
    pub fn notified(&self) -> Notified<'_> {
        // Acquire: what came before the last `notify_waiters` is seen by whoever looks next.
        let round = self.state.load(Acquire) & !MODE;
        Notified { notify: self, round, waiter: None }
    }
}

impl Default for Notify {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Notify {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mode = match self.state.load(Relaxed) & MODE {
            EMPTY => "empty",
            PERMIT => "permit",
            _ => "waiting",
        };
        f.debug_struct("Notify").field("mode", &format_args!("{mode}")).finish()
    }
}

pin_project! {
    /// The future of [`Notify::notified`].
    #[must_use = "futures do nothing unless awaited or waited for"]
    pub struct Notified<'a> {
        notify: &'a Notify,
        round: usize,
        #[pin]
        waiter: Option<Waiter<Option<By>>>,
    }

    impl PinnedDrop for Notified<'_> {
        fn drop(this: Pin<&mut Self>) {
            let this = this.project();
            if this.waiter.is_some() {
                this.notify.leave(this.waiter);
            }
        }
    }
}

impl Notify {
    /// Takes the permit, if there is one, or finds that the round is over.
    fn take(&self, round: usize) -> Result<(), usize> {
        // Acquire, twice, pairs with the Release of `notify_one` and `notify_waiters`.
        let mut state = self.state.load(Acquire);
        loop {
            if state & !MODE != round {
                return Ok(());
            }
            if state & MODE != PERMIT {
                return Err(state);
            }
            match self.state.compare_exchange_weak(state, round | EMPTY, Acquire, Acquire) {
                Ok(_) => return Ok(()),
                Err(now) => state = now,
            }
        }
    }

    /// Queues up, unless there is reason to go on at once.
    fn join(
        &self,
        mut place: Pin<&mut Option<Waiter<Option<By>>>>,
        round: usize,
        cx: &mut Context<'_>,
    ) -> Poll<()> {
        let waker = cx.waker().clone();
        let mut waiters = lock(&self.waiters);
        loop {
            let Err(state) = self.take(round) else { return Poll::Ready(()) };
            if state & MODE == WAITING
                // Relaxed: on failure `take` looks again, and acquires.
                || self
                    .state
                    .compare_exchange(state, round | WAITING, Relaxed, Relaxed)
                    .is_ok()
            {
                break;
            }
        }
        place.set(Some(Waiter::new(None)));
        waiters.push_back(place.as_pin_mut().expect("set above"), waker);
        Poll::Pending
    }

    /// Looks whether a waiter was notified, or is to be woken through another waker now.
    fn look(
        &self,
        mut place: Pin<&mut Option<Waiter<Option<By>>>>,
        cx: &mut Context<'_>,
    ) -> Poll<()> {
        let waker = cx.waker().clone();
        let mut waiters = lock(&self.waiters);
        let mut waiter = place.as_mut().as_pin_mut().expect("queued before");
        let entry = waiters.entry(waiter.as_mut());
        let (result, old) = match entry.note {
            None => (Poll::Pending, entry.waker.replace(waker)),
            Some(_) => {
                let old = waiters.remove(waiter);
                place.set(None);
                (Poll::Ready(()), old)
            }
        };
        drop(waiters);
        drop(old);
        result
    }

    /// Gives a waiter's place up, and a `notify_one` that had reached it to the next.
    fn leave(&self, mut place: Pin<&mut Option<Waiter<Option<By>>>>) {
        let mut batch = WakeBatch::new();
        let mut waiters = lock(&self.waiters);
        let mut waiter = place.as_mut().as_pin_mut().expect("queued before");
        let by = waiters.entry(waiter.as_mut()).note;
        let old = waiters.remove(waiter);
        place.set(None);
        if by == Some(By::One) {
            batch.push(self.hand_to_one(&mut waiters));
        }
        drop(waiters);
        batch.wake();
        drop(old);
    }
}

impl Future for Notified<'_> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        ready!(context::poll_budget(cx));
        let this = self.project();
        let notify = *this.notify;
        if this.waiter.is_some() {
            let poll = notify.look(this.waiter, cx);
            return waiting::noted_of(&notify.shown, What::Notify, poll);
        }
        if notify.take(*this.round).is_ok() {
            return Poll::Ready(());
        }
        let poll = notify.join(this.waiter, *this.round, cx);
        waiting::noted_of(&notify.shown, What::Notify, poll)
    }
}

impl fmt::Debug for Notified<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Notified").finish_non_exhaustive()
    }
}
