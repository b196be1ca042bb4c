//! The watchdog: says which task holds up its worker, and where it stands.
//!
//! ```text
//!   the monitor, each round            the worker's thread
//!   ───────────────────────            ───────────────────
//!   progress unchanged for LIMIT
//!   ask, SIGURG ─────────────────────► in the signal handler: which task, which addresses ([`inquiry`])
//!   names for the addresses ◄───────── answered, or too late
//!   one event, target `bifilar::watchdog`
//! ```
//!
//! A worker makes progress with each poll, each suspension and each look at its event queue, so it is held
//! up by what computes or blocks the thread without a wait. Each time is told once, however long it
//! lasts. What counts is the time that the monitor was awake for, so that a process that was stopped, or a
//! machine that slept, isn't taken for stuck.
//!
//! While the monitor looks for names, which takes some 100 ms the first time, it looks after nobody.
//! Nobody is asked, and no handler is installed, unless somebody listens to the event.
//!
//! What it deliberately does not do: interrupt anything.

mod inquiry;
mod symbols;
mod turn;

pub(super) use inquiry::Inquiry;

use super::{Remote, Shared};
use crate::cell::TaskKind;
use inquiry::{Answer, Who};
use std::{
    fmt::{self, Display, Formatter},
    panic::{AssertUnwindSafe, catch_unwind},
    time::{Duration, Instant},
};

/// What the monitor knows of each worker.
pub(super) struct Watchdog {
    limit: Duration,
    /// Of which a round counts for at most two.
    period: Duration,
    last_round: Instant,
    watched: Vec<Watched>,
}

#[derive(Clone, Default)]
struct Watched {
    progress: u64,
    still: Duration,
    told: bool,
}

impl Watchdog {
    pub fn new(workers: usize, limit: Duration, period: Duration) -> Self {
        let watched = vec![Watched::default(); workers];
        Watchdog { limit, period, last_round: Instant::now(), watched }
    }

    /// Looks at each worker, and tells of those that are held up.
    pub fn make_round(&mut self, shared: &Shared) {
        let now = Instant::now();
        let step = now.duration_since(self.last_round).min(2 * self.period);
        self.last_round = now;
        for (remote, watched) in shared.remotes.iter().zip(&mut self.watched) {
            let at_work = remote.counters.work.is_at_work();
            if watched.is_stuck(remote.counters.progress(), at_work, step, self.limit) {
                remote.counters.stalls.add(1);
                // The subscriber is foreign code, and its panic must not be the monitor's end.
                let told = catch_unwind(AssertUnwindSafe(|| tell(shared, remote, watched)));
                if let Err(payload) = told {
                    std::mem::forget(payload);
                }
            }
        }
    }
}

impl Watched {
    /// After `step` more. `true`: it is to be told now.
    fn is_stuck(&mut self, progress: u64, at_work: bool, step: Duration, limit: Duration) -> bool {
        if progress != self.progress || !at_work {
            *self = Watched { progress, ..Watched::default() };
            return false;
        }
        self.still += step;
        self.still >= limit && !std::mem::replace(&mut self.told, self.still >= limit)
    }
}

fn tell(shared: &Shared, remote: &Remote, watched: &Watched) {
    if !tracing::enabled!(target: "bifilar::watchdog", tracing::Level::WARN) {
        return;
    }
    let answer = shared.inquiry.ask(remote, watched.progress);
    let who = match &answer {
        // It came round in the meantime.
        Some(answer) if answer.too_late => return,
        Some(answer) => answer.who(),
        None => Who::Unknown,
    };
    let (runtime, worker) = (&*shared.config.name, remote.index);
    let time = watched.still.as_millis() as u64;
    let trace = Trace(answer.as_deref().map_or(&[], Answer::frames));
    let message = format_args!(
        "{who} has held up worker {worker} of \"{runtime}\" for {time} ms: it computes or blocks \
         the thread, without a wait{trace}"
    );
    let (task, name, location) = match &who {
        Who::Task(task) => (Some(task.id), task.name.as_deref(), Some(task.location.to_string())),
        _ => (None, None, None),
    };
    tracing::warn!(
        target: "bifilar::watchdog", runtime, worker, task, name, location, stalled_ms = time, "{message}"
    );
}

impl Display for Who {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let task = match self {
            Who::Task(task) => task,
            Who::Loop => return f.write_str("the runtime's own work (a waker, or a subscriber)"),
            Who::OtherRuntime => return f.write_str("a task that drives another runtime"),
            Who::Unknown => return f.write_str("something that doesn't take signals"),
        };
        f.write_str(match task.kind {
            TaskKind::Async => "task",
            TaskKind::Fiber => "fiber",
            TaskKind::Blocking => "blocking call",
        })?;
        write!(f, " {}", task.id)?;
        if let Some(name) = &task.name {
            write!(f, " '{}'", name.escape_debug())?;
        }
        write!(f, ", spawned at {},", task.location)
    }
}

/// Where it stands, one line for each call.
struct Trace<'a>(&'a [usize]);

impl Display for Trace<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        symbols::write(self.0, f)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn each_time_is_told_once() {
        const STEP: Duration = Duration::from_millis(10);
        const LIMIT: Duration = Duration::from_millis(20);
        // Progress, whether it is at work, and whether it is told.
        let rounds = [
            (5, true, false),
            (5, true, false),
            (5, true, true),
            (5, true, false),
            (5, true, false),
            (6, true, false),
            (6, true, false),
            (6, false, false),
            (6, true, false),
            (6, true, true),
            (6, true, false),
            (7, true, false),
            (8, true, false),
            (9, true, false),
        ];
        let mut watched = Watched::default();
        for (round, (progress, at_work, told)) in rounds.into_iter().enumerate() {
            assert_eq!(watched.is_stuck(progress, at_work, STEP, LIMIT), told, "round {round}");
        }
    }
}
