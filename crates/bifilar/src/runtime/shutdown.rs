//! What is left when a runtime ends.

use crate::{
    cell::{TaskKind, TaskReport},
    scheduler::Shared,
};
use std::fmt;

/// What [`Runtime::shutdown`](crate::Runtime::shutdown) found at its end: the tasks that were still
/// alive.
///
/// ```
/// use std::time::Duration;
/// let report = bifilar::Runtime::new()?.shutdown(Duration::from_secs(1));
/// assert!(report.is_clean());
/// assert_eq!(report.to_string(), "all tasks have ended");
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Debug)]
#[must_use = "a report says which tasks did not end"]
pub struct ShutdownReport {
    alive: Vec<TaskReport>,
}

impl ShutdownReport {
    /// What is alive in `shared`.
    pub(super) fn of(shared: &Shared) -> Self {
        ShutdownReport { alive: shared.reports() }
    }

    /// Whether all tasks have ended.
    pub fn is_clean(&self) -> bool {
        self.alive.is_empty()
    }

    /// The tasks that have not ended.
    pub fn alive(&self) -> &[TaskReport] {
        &self.alive
    }

    /// Tells the log, where nobody else is there to be told.
    pub(super) fn log(&self, runtime: &str) {
        // Calls on the blocking pool are not waited for there, and end by themselves.
        let tasks = || self.alive.iter().filter(|task| task.kind() != TaskKind::Blocking);
        let count = tasks().count();
        if count == 0 {
            return;
        }
        tracing::warn!(
            runtime,
            tasks = count,
            "tasks did not end in time when their runtime did; their memory is never freed"
        );
        for task in tasks().take(MOST_LINES) {
            tracing::warn!(runtime, "{task}");
        }
    }
}

/// As many tasks are named in a log.
const MOST_LINES: usize = 20;

impl fmt::Display for ShutdownReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_clean() {
            return f.write_str("all tasks have ended");
        }
        match self.alive.len() {
            1 => f.write_str("1 task has not ended:")?,
            many => write!(f, "{many} tasks have not ended:")?,
        }
        self.alive.iter().try_for_each(|task| write!(f, "\n  {task}"))
    }
}
