//! What a task is doing, as it can be seen from outside.

use super::header::{Header, Id, TaskKind};
use crate::{context::waiting::Waiting, primitives::Ordering};
use std::{fmt, panic::Location, time::Duration};

/// What a task was doing at the moment of a report.
///
/// Reports are made while tasks run, so a task may have moved on since.
///
/// ```
/// use bifilar::{Builder, fiber, sync::channel, Wait};
/// use std::time::Duration;
///
/// let runtime = Builder::new().workers(1).build()?;
/// let (_sender, receiver) = channel::unbounded::<()>();
/// runtime.spawn_fiber(move || bifilar::shield(|| receiver.recv().wait()));
///
/// let report = runtime.shutdown(Duration::from_millis(20));
/// # if !report.alive().is_empty() { // the fiber had started
/// let task = &report.alive()[0];
/// assert_eq!(task.waits_for().unwrap(), "a message from a channel");
/// # }
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct TaskReport {
    id: Id,
    name: Option<Box<str>>,
    kind: TaskKind,
    location: &'static Location<'static>,
    activity: Activity,
    cancelled: bool,
    duration: Duration,
    pub(crate) waiting: Option<Waiting>,
    /// Where it is suspended, if it is.
    stack: *mut (),
}

// SAFETY: the address is that of a stack header, which lives for ever and is made to be shared.
unsafe impl Send for TaskReport {}
// SAFETY: as above.
unsafe impl Sync for TaskReport {}

/// Where a task stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Activity {
    /// Ready to run, in a queue.
    Queued,
    /// On a worker, or on a thread of the blocking pool.
    Running,
    /// In the middle of a poll, on a stack that is suspended in a [`wait`](crate::Wait::wait).
    Suspended,
    /// Between two polls, at an `.await`.
    Idle,
}

impl TaskReport {
    pub(super) fn of(header: &Header) -> Self {
        let activity = header.state.activity(|| header.waiting.get().is_some());
        let waits = matches!(activity, Activity::Suspended | Activity::Idle);
        TaskReport {
            id: header.meta.id,
            name: header.meta.name().map(Into::into),
            kind: header.meta.kind,
            location: header.meta.location,
            activity,
            cancelled: header.state.is_cancelled(),
            duration: header.waiting.duration(),
            waiting: if waits { header.waiting.get() } else { None },
            stack: header.stack.load(Ordering::Relaxed),
        }
    }

    /// The header of the stack on which it is suspended.
    pub(crate) fn stack(&self) -> Option<*mut ()> {
        (self.activity == Activity::Suspended && !self.stack.is_null()).then_some(self.stack)
    }

    /// As text, but for what it waits for.
    pub(crate) fn without_wait(&self) -> impl fmt::Display {
        fmt::from_fn(|f| {
            write!(f, "{} {}", self.kind, self.id)?;
            if let Some(name) = self.name() {
                write!(f, " '{name}'")?;
            }
            write!(f, ", spawned at {}: {}", self.location, self.activity)?;
            if let Some(duration) = self.duration() {
                write!(f, " for {:.3} s", duration.as_secs_f64())?;
            }
            if self.cancelled {
                f.write_str(", cancelled")?;
            }
            Ok(())
        })
    }

    /// Its number.
    pub fn id(&self) -> Id {
        self.id
    }

    /// The name given by a `Builder`.
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// How its body is written.
    pub fn kind(&self) -> TaskKind {
        self.kind
    }

    /// Where it was spawned.
    pub fn location(&self) -> &'static Location<'static> {
        self.location
    }

    /// Where it stood.
    pub fn activity(&self) -> Activity {
        self.activity
    }

    /// For how long it had been suspended, idle or running, roughly: a busy worker looks at the clock
    /// now and then only. What is queued has no duration.
    pub fn duration(&self) -> Option<Duration> {
        (self.activity != Activity::Queued).then_some(self.duration)
    }

    /// Whether it had been asked to end early.
    pub fn is_cancelled(&self) -> bool {
        self.cancelled
    }

    /// What it waited for, in words, if it waited.
    pub fn waits_for(&self) -> Option<String> {
        self.waiting.map(|waiting| waiting.to_string())
    }
}

/// `fiber 12 'writer', spawned at src/main.rs:7:5: suspended for 1.250 s, waits for …`
impl fmt::Display for TaskReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.without_wait().fmt(f)?;
        match self.waiting {
            Some(waiting) => write!(f, ", waits for {waiting}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Activity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Activity::Queued => "queued",
            Activity::Running => "running",
            Activity::Suspended => "suspended",
            Activity::Idle => "idle",
        })
    }
}
