//! All go on when the last has come.
//!
//! Everything lies under one lock: how many have come in this round, the number of the round, and
//! the list of those who wait. The last one starts the next round, and wakes the others; a waiter
//! sees that it may go on by the round's being over. A barrier is not for thousands of rounds a
//! millisecond: it has no lock-free path.

use super::{
    lock,
    wait_list::{WaitList, Waiter},
    wake_batch::wake_all,
};
use crate::console::Resource;
use crate::context::waiting::{self, What};
use crate::primitives::{Mutex, const_fn};
use pin_project_lite::pin_project;
use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

/// Lets a fixed number of tasks meet: nobody goes on before all have come.
///
/// It can be used again and again. One of each round is told that it is the leader.
///
/// ```
/// use bifilar::{Wait, sync::Barrier};
///
/// let barrier = Barrier::new(2);
/// std::thread::scope(|s| {
///     let other = s.spawn(|| barrier.wait().wait().is_leader());
///     let me = barrier.wait().wait().is_leader();
///     assert!(me != other.join().unwrap());
/// });
/// ```
pub struct Barrier {
    parties: usize,
    meeting: Mutex<Meeting>,
    shown: Resource,
}

struct Meeting {
    arrived: usize,
    round: u64,
    waiters: WaitList<()>,
}

impl Barrier {
    const_fn! {
        /// A barrier for `parties` tasks; 0 means the same as 1.
        #[track_caller]
        pub fn new(parties: usize) -> Self {
            let meeting = Meeting { arrived: 0, round: 0, waiters: WaitList::new() };
            Self { parties, meeting: Mutex::new(meeting), shown: Resource::new() }
        }
    }

    /// Waits until as many tasks as the barrier is for have come here: those who have polled the
    /// future and not dropped it.
    ///
    /// # Cancellation
    ///
    /// Dropping the future before the last has come takes the arrival back. Afterwards the others
    /// have gone on, and dropping it changes nothing.
    pub fn wait(&self) -> BarrierWait<'_> {
        BarrierWait { barrier: self, round: 0, waiter: None }
    }
}

impl fmt::Debug for Barrier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Barrier").field("parties", &self.parties).finish_non_exhaustive()
    }
}

pin_project! {
    /// The future of [`Barrier::wait`].
    #[must_use = "futures do nothing unless awaited or waited for"]
    pub struct BarrierWait<'a> {
        barrier: &'a Barrier,
        // In which round we have arrived, once there is a waiter.
        round: u64,
        #[pin]
        waiter: Option<Waiter<()>>,
    }

    impl PinnedDrop for BarrierWait<'_> {
        fn drop(this: Pin<&mut Self>) {
            let mut this = this.project();
            let Some(waiter) = this.waiter.as_mut().as_pin_mut() else { return };
            let mut meeting = lock(&this.barrier.meeting);
            let old = meeting.waiters.remove(waiter);
            if meeting.round == *this.round {
                meeting.arrived -= 1;
            }
            drop(meeting);
            drop(old);
        }
    }
}

impl Future for BarrierWait<'_> {
    type Output = BarrierWaitResult;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<BarrierWaitResult> {
        let mut this = self.project();
        let barrier = *this.barrier;
        let waker = cx.waker().clone();
        let mut meeting = lock(&barrier.meeting);
        if let Some(mut waiter) = this.waiter.as_mut().as_pin_mut() {
            let over = meeting.round != *this.round;
            let old = if over {
                meeting.waiters.remove(waiter)
            } else {
                meeting.waiters.entry(waiter.as_mut()).waker.replace(waker)
            };
            drop(meeting);
            drop(old);
            waiting::tell(&barrier.shown, What::Barrier, over);
            if !over {
                return waiting::noted(What::Barrier, Poll::Pending);
            }
            this.waiter.set(None);
            return Poll::Ready(BarrierWaitResult { leader: false });
        }
        if meeting.arrived + 1 < barrier.parties {
            meeting.arrived += 1;
            *this.round = meeting.round;
            this.waiter.set(Some(Waiter::new(())));
            meeting.waiters.push_back(this.waiter.as_pin_mut().expect("set above"), waker);
            drop(meeting);
            return waiting::noted_of(&barrier.shown, What::Barrier, Poll::Pending);
        }
        meeting.arrived = 0;
        meeting.round += 1;
        wake_all(&barrier.meeting, meeting, |meeting| &mut meeting.waiters, |_| ());
        Poll::Ready(BarrierWaitResult { leader: true })
    }
}

impl fmt::Debug for BarrierWait<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BarrierWait").finish_non_exhaustive()
    }
}

/// What [`Barrier::wait`] tells each of those who met.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BarrierWaitResult {
    leader: bool,
}

impl BarrierWaitResult {
    /// Whether this is the one task of the round that came last.
    pub fn is_leader(&self) -> bool {
        self.leader
    }
}
