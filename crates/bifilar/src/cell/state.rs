//! The state of a task: one word, and every legal change of it.
//!
//! ```text
//!             wake / cancel              start_poll
//!   IDLE ───────────────────► SCHEDULED ────────────► RUNNING ──complete──► COMPLETE
//!    ▲                            ▲                    │  ▲ │
//!    │                            │  wake while        │  └─┘ wake: sets SCHEDULED,
//!    │                            │  running           │      end_poll sees it
//!    └──────── end_poll ──────────┴──── end_poll ──────┘
//! ```
//!
//! | bit | set by | cleared by | means |
//! |---|---|---|---|
//! | SCHEDULED | `wake`, `cancel`, birth | `start_poll` | stands in a run queue, or whoever set it is about to put it there, or (with RUNNING) the poller will |
//! | RUNNING | `start_poll` | `end_poll`, `complete` | a worker is inside `poll`, perhaps suspended in the middle of it |
//! | COMPLETE | `complete` | never | the future is gone; the output, if any, is stored |
//! | CANCELLED | `cancel` | never | the next `start_poll` drops the future; a `wait` inside the poll unwinds |
//! | JOIN_INTEREST | birth | `drop_join_handle` | a `JoinHandle` exists and owns the output once COMPLETE |
//! | JOIN_WAKER | `set_join_waker` | `unset_join_waker`, `drop_join_handle`, `give_join_waker_back` | the waker field is filled and belongs to whoever completes the task |
//! | the rest | `ref_inc` | `ref_dec` | references: the runtime's own (until COMPLETE), the `JoinHandle`'s, each `Waker`'s |
//!
//! What it deliberately does not do: touch the queues, the future or the wakers. Each method says
//! what its caller must do next.

use super::report::Activity;
use crate::primitives::{AtomicUsize, Ordering};

const SCHEDULED: usize = 1;
const RUNNING: usize = 1 << 1;
const COMPLETE: usize = 1 << 2;
const CANCELLED: usize = 1 << 3;
const JOIN_INTEREST: usize = 1 << 4;
const JOIN_WAKER: usize = 1 << 5;
const REF_ONE: usize = 1 << 6;

#[derive(Debug)]
pub(crate) struct State(AtomicUsize);

/// What `start_poll` found.
#[must_use]
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum StartPoll {
    /// Poll the future.
    Poll,
    /// Drop the future and complete as cancelled.
    Cancelled,
}

/// What whoever completed the task owes.
#[must_use]
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Completed {
    /// Nobody will ever join: drop the output.
    pub drop_output: bool,
    /// The join waker is set: wake it.
    pub wake_joiner: bool,
}

/// What the `JoinHandle` leaves behind when it is dropped.
#[must_use]
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Detached {
    /// The output is stored and is the handle's to drop.
    pub drop_output: bool,
    /// The join waker is the handle's to drop.
    pub drop_waker: bool,
}

/// Whether the caller has won the right to put the task into a run queue.
#[must_use]
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Wake {
    Schedule,
    /// The end of the poll that is going on will tell who has.
    Running,
    Nothing,
}

/// What a cancellation calls for.
#[must_use]
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Cancel {
    /// It was idle: schedule it, so that a worker drops its future.
    Schedule,
    /// It is in mid-poll: wake the stack it may be suspended on.
    Interrupt,
    /// It is in a queue, or complete.
    Nothing,
}

impl State {
    /// A task about to be put into its first queue, with two references: the runtime's and the
    /// `JoinHandle`'s.
    pub fn new() -> Self {
        State(AtomicUsize::new(SCHEDULED | JOIN_INTEREST | (2 * REF_ONE)))
    }

    /// Claims the right to schedule. AcqRel even when there is nothing to do, so that what the
    /// waker wrote is seen by the poll that follows (its partner is `start_poll`).
    pub fn wake(&self) -> Wake {
        let before = self.0.fetch_or(SCHEDULED, Ordering::AcqRel);
        match before & (SCHEDULED | RUNNING | COMPLETE) {
            0 => Wake::Schedule,
            RUNNING => Wake::Running,
            _ => Wake::Nothing,
        }
    }

    /// IDLE → SCHEDULED, for somebody who isn't a waker. `true`: the caller has won the right to schedule.
    #[must_use]
    pub fn claim_if_idle(&self) -> bool {
        let claim =
            |state| (state & (SCHEDULED | RUNNING | COMPLETE) == 0).then_some(state | SCHEDULED);
        self.0.fetch_update(Ordering::AcqRel, Ordering::Acquire, claim).is_ok()
    }

    pub fn cancel(&self) -> Cancel {
        let before = self.0.fetch_or(SCHEDULED | CANCELLED, Ordering::AcqRel);
        if before & COMPLETE != 0 {
            Cancel::Nothing
        } else if before & RUNNING != 0 {
            Cancel::Interrupt
        } else if before & SCHEDULED != 0 {
            Cancel::Nothing
        } else {
            Cancel::Schedule
        }
    }

    pub fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Acquire) & CANCELLED != 0
    }

    /// Where the task stands; `suspended` says of one in mid-poll whether it is.
    pub fn activity(&self, suspended: impl FnOnce() -> bool) -> Activity {
        let state = self.0.load(Ordering::Acquire);
        if state & RUNNING != 0 {
            if suspended() { Activity::Suspended } else { Activity::Running }
        } else if state & SCHEDULED != 0 {
            Activity::Queued
        } else {
            Activity::Idle
        }
    }

    pub fn is_complete(&self) -> bool {
        self.0.load(Ordering::Acquire) & COMPLETE != 0
    }

    /// SCHEDULED → RUNNING.
    pub fn start_poll(&self) -> StartPoll {
        let before = self.0.fetch_xor(SCHEDULED | RUNNING, Ordering::AcqRel);
        debug_assert_eq!(before & (SCHEDULED | RUNNING | COMPLETE), SCHEDULED);
        if before & CANCELLED != 0 { StartPoll::Cancelled } else { StartPoll::Poll }
    }

    /// RUNNING → IDLE, or → SCHEDULED when it was woken meanwhile: then the caller schedules it.
    /// After `Nothing` the task may already be running elsewhere: the caller must not touch it.
    pub fn end_poll(&self) -> Wake {
        let before = self.0.fetch_and(!RUNNING, Ordering::AcqRel);
        debug_assert_eq!(before & (RUNNING | COMPLETE), RUNNING);
        if before & SCHEDULED != 0 { Wake::Schedule } else { Wake::Nothing }
    }

    /// RUNNING → COMPLETE. Releases the output to the `JoinHandle` and acquires the join waker.
    pub fn complete(&self) -> Completed {
        let before = self.0.fetch_xor(RUNNING | COMPLETE, Ordering::AcqRel);
        debug_assert_eq!(before & (RUNNING | COMPLETE), RUNNING);
        Completed {
            drop_output: before & JOIN_INTEREST == 0,
            wake_joiner: before & JOIN_WAKER != 0,
        }
    }

    /// Hands the filled waker field to whoever completes the task. `false`: it is complete already
    /// and the field stays the handle's.
    pub fn set_join_waker(&self) -> bool {
        self.update_unless_complete(|state| state | JOIN_WAKER).is_ok()
    }

    /// Takes the waker field back. `false`: too late, the task is complete.
    pub fn unset_join_waker(&self) -> bool {
        self.update_unless_complete(|state| state & !JOIN_WAKER).is_ok()
    }

    pub fn has_join_waker(&self) -> bool {
        self.0.load(Ordering::Acquire) & JOIN_WAKER != 0
    }

    /// Whoever completed the task has woken the joiner. `true`: the handle is gone, so the waker is
    /// the caller's to drop; else the handle drops it.
    #[must_use]
    pub fn give_join_waker_back(&self) -> bool {
        self.0.fetch_and(!JOIN_WAKER, Ordering::AcqRel) & JOIN_INTEREST == 0
    }

    /// The handle goes. It owns the output if the task is complete; and the waker field, unless
    /// whoever completed the task is still using it.
    pub fn drop_join_handle(&self) -> Detached {
        let change = |state| {
            let gone = JOIN_INTEREST | if state & COMPLETE == 0 { JOIN_WAKER } else { 0 };
            Some(state & !gone)
        };
        let (Ok(before) | Err(before)) =
            self.0.fetch_update(Ordering::AcqRel, Ordering::Acquire, change);
        let complete = before & COMPLETE != 0;
        Detached { drop_output: complete, drop_waker: !complete || before & JOIN_WAKER == 0 }
    }

    pub fn ref_inc(&self) {
        // Relaxed: a new reference is made from one that exists.
        let before = self.0.fetch_add(REF_ONE, Ordering::Relaxed);
        // 2^57 references would take longer to make than the machine lives; this guards against a
        // loop that forgets wakers on a 32-bit system.
        assert!(before <= usize::MAX / 2, "too many references to one task");
    }

    /// `true`: it was the last reference, free the cell.
    #[must_use]
    pub fn ref_dec(&self) -> bool {
        let before = self.0.fetch_sub(REF_ONE, Ordering::AcqRel);
        debug_assert!(before >= REF_ONE);
        before < 2 * REF_ONE
    }

    fn update_unless_complete(&self, change: impl Fn(usize) -> usize) -> Result<usize, usize> {
        self.0.fetch_update(Ordering::AcqRel, Ordering::Acquire, |state| {
            (state & COMPLETE == 0).then(|| change(state))
        })
    }
}
