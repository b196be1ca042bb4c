//! The sentry: one idle worker that looks after workers which don't come round.
//!
//! A worker in a long poll (a computation, or a call that blocks for real) doesn't look at its event
//! queue, and what it has just woken stands in its place for the next task. While others are busy
//! as well there is no help; but an idle worker could do that work. So one of those that are parked
//! sleeps for [`PERIOD`] at most, and then steals, and takes a turn at the event queue of each
//! worker whose heartbeat has stood still since its last round.
//!
//! ```text
//!             take_duty, by a worker that parks              QUIET rounds in which nobody moved
//!   nobody ─────────────────────────────────────► on duty ─────────────────────────────────────► resting
//!     ▲                                              │                                              │
//!     └─────────────────── leave_duty ───────────────┘                                              │
//!     └──────────── stir, by a worker that comes back to work; it wakes another to take duty ───────┘
//! ```
//!
//! So an idle process sleeps for good after a second. (Go's `sysmon` is a thread of its own with
//! the same duty, every 10 ms at its slowest.)

use super::{Remote, worker::Worker};
use crate::primitives::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

/// Go's figure: after 10 ms without a look, `sysmon` polls the network.
const PERIOD: Duration = Duration::from_millis(10);

/// Rounds without any movement after which the sentry goes to sleep, too: a second.
const QUIET: u32 = 100;

/// All Relaxed: these are hints, and the work itself is found through the queues.
pub(super) struct Sentry {
    on_duty: AtomicBool,
    resting: AtomicBool,
    quiet: AtomicU32,
}

impl Sentry {
    pub fn new() -> Self {
        Sentry {
            on_duty: AtomicBool::new(false),
            resting: AtomicBool::new(false),
            quiet: AtomicU32::new(0),
        }
    }

    /// For a worker about to sleep: for how long it may, if it is the sentry now.
    pub fn take_duty(&self) -> Option<Duration> {
        let free = !self.resting.load(Ordering::Relaxed)
            && !self.on_duty.load(Ordering::Relaxed)
            && !self.on_duty.swap(true, Ordering::Relaxed);
        free.then_some(PERIOD)
    }

    fn leave_duty(&self) {
        self.on_duty.store(false, Ordering::Relaxed);
    }

    /// For a worker that comes back to work. `true`: nobody is on duty, and the caller must wake
    /// somebody who will be.
    #[must_use]
    pub fn stir(&self) -> bool {
        self.resting.load(Ordering::Relaxed) && self.resting.swap(false, Ordering::Relaxed)
    }
}

/// Shows others that a worker comes round.
pub(super) struct Heartbeat {
    beats: AtomicU32,
    /// What the sentry saw in its last round.
    seen: AtomicU32,
}

impl Heartbeat {
    pub fn new() -> Self {
        Heartbeat { beats: AtomicU32::new(0), seen: AtomicU32::new(0) }
    }

    /// For the worker, whenever it looks around.
    pub fn beat(&self) {
        self.beats.store(self.beats.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
    }

    /// For the sentry, once in a round. `true`: it has stood still since the last one.
    fn stands_still(&self) -> bool {
        let beats = self.beats.load(Ordering::Relaxed);
        self.seen.swap(beats, Ordering::Relaxed) == beats
    }
}

impl Worker {
    /// Ends the duty with a round.
    pub(super) fn make_round(&self) {
        let sentry = &self.shared.sentry;
        let mut moved = false;
        let others = self.shared.remotes.iter().filter(|other| other.index != self.index);
        for Remote { heartbeat, parking, reactor, .. } in others {
            let still = heartbeat.stands_still();
            moved |= !still || !parking.is_parked();
            if still && !parking.is_parked() {
                self.turn_for(reactor);
            }
        }
        if moved {
            sentry.quiet.store(0, Ordering::Relaxed);
        } else if sentry.quiet.fetch_add(1, Ordering::Relaxed) >= QUIET {
            sentry.quiet.store(0, Ordering::Relaxed);
            sentry.resting.store(true, Ordering::Relaxed);
        }
        sentry.leave_duty();
    }
}
