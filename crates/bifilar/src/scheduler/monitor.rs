//! The monitor: a thread that looks after workers which don't come round.
//!
//! A worker in a long poll (a computation, or a call that blocks for real) doesn't look at its event
//! queue and timers, and what it has queued stays there unless somebody steals it. While all others
//! are busy as well there is no help; but an idle one could do that work. So every [`PERIOD`] the
//! monitor takes a turn at the event queue of each worker whose heartbeat has stood still since its
//! last round, and wakes an idle worker to steal.
//!
//! ```text
//!   rounds every PERIOD ── QUIET rounds in which every worker was at rest ──► resting
//!        ▲                                                                      │
//!        └───────── stir, by a worker that comes back to work ◄─────────────────┘
//! ```
//!
//! So an idle process sleeps for good after a second. The scheme of Go's `sysmon`. A worker could do
//! it in its sleep, but would have to wake another in its place each time it goes back to work.
//! Before it rests it looks for a [deadlock](super::deadlock).
//!
//! A runtime with a single worker has nobody to help; there is a monitor for the
//! [watchdog](super::watchdog) alone, if that isn't switched off, and for a flight recorder that wants to
//! know of slow polls.
//!
//! **Why `stir` isn't missed:** the monitor says `resting` and *then* looks once more whether all
//! are at rest; a worker says that it isn't and *then* looks at `resting`. Between the two stands
//! a SeqCst fence on either side, so one of them sees the other.

use super::{Remote, Shared, watchdog::Watchdog};
use crate::{
    primitives::{AtomicBool, AtomicU64, Ordering, fence},
    reactor::TurnBuffer,
    record,
};
use std::{
    sync::{Arc, OnceLock},
    thread::{self, Thread},
    time::Duration,
};

/// Go's figure: after 10 ms without a look, `sysmon` polls the network.
const PERIOD: Duration = Duration::from_millis(10);

/// However short the watchdog's limit.
const SHORTEST_PERIOD: Duration = Duration::from_millis(1);

/// Rounds without any movement after which it rests: a second.
const QUIET: u32 = 100;

pub(super) struct Monitor {
    resting: AtomicBool,
    thread: OnceLock<Thread>,
}

impl Monitor {
    pub fn new() -> Self {
        Monitor { resting: AtomicBool::new(false), thread: OnceLock::new() }
    }

    /// For a worker that comes back to work.
    pub fn stir(&self) {
        // Partner of the fence in `rest`.
        fence(Ordering::SeqCst);
        if self.resting.load(Ordering::Relaxed) && self.resting.swap(false, Ordering::Relaxed) {
            self.unpark();
        }
    }

    /// For the monitor, before it looks whether all are parked.
    fn rest(&self) {
        self.resting.store(true, Ordering::Relaxed);
        // Partner of the fence in `stir`.
        fence(Ordering::SeqCst);
    }

    /// Makes it look whether the runtime has finished.
    pub fn unpark(&self) {
        if let Some(thread) = self.thread.get() {
            thread.unpark();
        }
    }
}

/// What the monitor saw of a worker in its last round. Relaxed: it is a hint, and a round that takes one
/// for stuck that isn't does no harm.
pub(super) struct Heartbeat {
    seen: AtomicU64,
}

impl Heartbeat {
    pub fn new() -> Self {
        Heartbeat { seen: AtomicU64::new(0) }
    }

    /// For the monitor, once in a round. `true`: the worker, which has looked at its event queue
    /// `looks` times, hasn't done so since the last one.
    fn stands_still(&self, looks: u64) -> bool {
        self.seen.swap(looks, Ordering::Relaxed) == looks
    }
}

/// The life of the monitor's thread.
pub(crate) fn monitor(shared: &Arc<Shared>) {
    let _recorded = record::enter(shared.record.as_ref(), record::thread_name);
    let me = &shared.monitor;
    let _ = me.thread.set(thread::current());
    let mut buffer = TurnBuffer::new();
    let crowd = shared.config.workers > 1;
    let watches_polls = shared.watches_polls();
    let limit = shared.config.watchdog;
    // Two rounds within the limit, so that it isn't exceeded by much.
    let period = limit.map_or(PERIOD, |limit| PERIOD.min(limit / 2)).max(SHORTEST_PERIOD);
    let mut watchdog = limit.map(|limit| Watchdog::new(shared.config.workers, limit, period));
    let mut quiet = 0;
    while !shared.is_finished() {
        if quiet < QUIET {
            thread::park_timeout(period);
            if let Some(watchdog) = &mut watchdog {
                watchdog.make_round(shared);
            }
            if watches_polls && let Some(source) = &shared.record {
                source.look_at_polls();
            }
            if crowd {
                shared.help_who_is_busy(&mut buffer);
            }
            quiet = if shared.all_rest() { quiet + 1 } else { 0 };
            continue;
        }
        if crowd {
            shared.tell_if_deadlocked();
        }
        me.rest();
        while me.resting.load(Ordering::Relaxed) && shared.all_rest() && !shared.is_finished() {
            thread::park();
        }
        me.resting.store(false, Ordering::Relaxed);
        quiet = 0;
    }
}

impl Shared {
    /// Whether all workers are parked, or driven by nobody.
    fn all_rest(&self) -> bool {
        let rests = |remote: &Remote| !remote.counters.work.is_at_work();
        self.remotes.iter().all(|remote| remote.parking.is_parked() || rests(remote))
    }

    /// Looks after each worker that is stuck.
    fn help_who_is_busy(&self, buffer: &mut TurnBuffer) {
        for Remote { heartbeat, counters, parking, reactor, queue, next, .. } in &self.remotes {
            if !heartbeat.stands_still(counters.waits.get()) || parking.is_parked() {
                continue;
            }
            reactor.turn(buffer, Some(Duration::ZERO));
            if buffer.rung() {
                // It was meant for the worker, which may have gone to sleep just now.
                reactor.ring();
            }
            if !queue.is_empty() || !next.load(Ordering::Relaxed).is_null() {
                self.notify_one();
            }
        }
    }
}

#[cfg(all(test, loom))]
mod loom_tests {
    use super::*;
    use crate::scheduler::idle::Parking;

    /// The monitor goes to rest while the only worker comes back to work: it sees that it isn't
    /// parked, or it is stirred.
    #[test]
    fn loom_going_to_rest_meets_coming_back() {
        loom::model(|| {
            let monitor = loom::sync::Arc::new(Monitor::new());
            let parking = loom::sync::Arc::new(Parking::new());
            assert!(parking.prepare());
            let worker = {
                let (monitor, parking) = (monitor.clone(), parking.clone());
                loom::thread::spawn(move || {
                    parking.finish();
                    monitor.stir();
                })
            };
            monitor.rest();
            let sleeps = parking.is_parked();
            worker.join().unwrap();
            let stirred = !monitor.resting.load(Ordering::Relaxed);
            assert!(!sleeps || stirred, "it rests while a worker is busy");
        });
    }
}
