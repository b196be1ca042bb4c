//! Tells when all tasks wait for one another: a hang that says why.
//!
//! Looked for when a runtime has stood still for [`STANDSTILL`] and has neither a timer nor a socket
//! that somebody waits for: by the only worker itself, or by the monitor. If then every task waits for
//! a lock, a channel, a task, or another signal of ours, only a thread that isn't the runtime's could
//! end it. When the process has no such thread it is a deadlock; otherwise it is one in all
//! likelihood, and is told with that proviso. A future of foreign make that says nothing of what it
//! waits for, or a call on the blocking pool, may be woken by anything: then there is no telling.
//!
//! What it deliberately does not do: end anything.

use super::Shared;
use crate::cell::{Activity, TaskReport};
use std::{
    collections::{HashMap, HashSet},
    fmt::Write,
    hash::{DefaultHasher, Hash, Hasher},
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

/// How long nothing must have happened.
pub(super) const STANDSTILL: Duration = Duration::from_secs(1);

/// As many tasks are named.
const MOST_LINES: usize = 20;

/// Which tasks were told of last, so that each standstill is told once.
#[derive(Debug, Default)]
pub(super) struct Told(AtomicU64);

impl Shared {
    /// Whether something from outside may still come: a timer or a socket.
    pub(super) fn expects_events(&self) -> bool {
        self.remotes.iter().any(|remote| remote.reactor.expects_events())
    }

    /// For whoever sees that the runtime stands still: tells if it is for ever.
    pub(super) fn tell_if_deadlocked(&self) {
        if self.expects_events() {
            return;
        }
        let tasks = self.reports();
        if tasks.is_empty() || !tasks.iter().all(waits_for_a_task) {
            return;
        }
        let mut hasher = DefaultHasher::new();
        tasks.iter().for_each(|task| task.id().hash(&mut hasher));
        let hash = hasher.finish();
        if self.told.0.swap(hash, Ordering::Relaxed) == hash {
            return;
        }
        let others = other_threads(self.threads());
        let message = message(&tasks, others);
        let runtime = &self.config.name;
        if !tracing::dispatcher::has_been_set() {
            // Nobody listens, and nothing will ever happen again.
            eprintln!("{runtime}: {message}");
        } else if others > 0 {
            tracing::warn!(runtime, "{message}");
        } else {
            tracing::error!(runtime, "{message}");
        }
    }

    /// The threads of this runtime.
    fn threads(&self) -> usize {
        let workers = self.config.workers;
        let monitor = usize::from(self.has_monitor());
        workers + monitor + self.blocking.get().map_or(0, |blocking| blocking.threads())
    }
}

fn waits_for_a_task(task: &TaskReport) -> bool {
    matches!(task.activity(), Activity::Idle | Activity::Suspended)
        && task.waiting.is_some_and(|waiting| waiting.is_among_tasks())
}

/// How many threads the process has besides `ours`. If the system doesn't say, there may be one.
fn other_threads(ours: usize) -> usize {
    match std::fs::read_dir("/proc/self/task") {
        Ok(threads) => threads.count().saturating_sub(ours),
        Err(_) => 1,
    }
}

fn message(tasks: &[TaskReport], others: usize) -> String {
    let mut text = match (others, tasks) {
        (0, [_]) => "deadlock: the only task waits for what nobody can do any more".to_string(),
        (0, _) => format!("deadlock: all {} tasks wait for one another", tasks.len()),
        (_, [_]) => "standstill: the only task waits for what no other task can do".to_string(),
        _ => format!("standstill: all {} tasks wait for one another", tasks.len()),
    };
    if others > 0 {
        let _ = write!(text, "; only one of the {others} other threads of this process can end it");
    }
    for task in tasks.iter().take(MOST_LINES) {
        let _ = write!(text, "\n  {task}");
    }
    if let Some(more) = tasks.len().checked_sub(MOST_LINES + 1) {
        let _ = write!(text, "\n  and {} more", more + 1);
    }
    if let Some(cycle) = cycle(tasks) {
        let cycle: Vec<_> = cycle.iter().map(u64::to_string).collect();
        let _ = write!(text, "\n  in a circle: {} → {}", cycle.join(" → "), cycle[0]);
    }
    text
}

/// Tasks of which each waits for the next, and the last for the first.
fn cycle(tasks: &[TaskReport]) -> Option<Vec<u64>> {
    let waits: HashMap<u64, u64> =
        tasks.iter().filter_map(|task| Some((task.id().get(), task.waiting?.task()?))).collect();
    let mut seen = HashSet::new();
    for task in tasks {
        let mut path = Vec::new();
        let mut next = Some(task.id().get());
        while let Some(here) = next {
            if let Some(start) = path.iter().position(|&before| before == here) {
                return Some(path.split_off(start));
            }
            if !seen.insert(here) {
                break;
            }
            path.push(here);
            next = waits.get(&here).copied();
        }
    }
    None
}
