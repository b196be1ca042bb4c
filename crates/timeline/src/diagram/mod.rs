//! [`Diagram`]: what a recording shows, as boxes in lanes; and the pictures drawn from it.
//!
//! ```text
//!  Recording ─► orphans ─► build ─► Diagram ─┬─► svg      for documents and print
//!               what was   events   lanes    ├─► html     to look around in: zoom, search, follow
//!               under way  to boxes boxes    ├─► trace    for Perfetto and its relatives
//!                                   pauses   └─► text     for a terminal
//!                                   arrows
//! ```
//!
//! Time runs from left to right, and a call stands atop its caller:
//!
//! ```text
//!          ┌────┐                 ┌────┐
//!          │read│                 │read│              row 2: a system call
//!        ┌─┴────┴─────────────────┴────┴──┐
//!        │ read_line   ░░░░░░░░░░         │           row 1: a span of the user's
//!     ┌──┴─────────────────────────────────┴──┐
//!     │ task 7         ░░░░░░░░░░             │       row 0: the task
//!     └────────────────────────────────────────┘
//!                      pause: suspended, then ready, then running again
//! ```
//!
//! There is a lane for each thread and one for each task. The lane of a plain thread holds its
//! calls; that of a worker says which task runs there, and that of a task holds the task's calls,
//! whichever worker they ran on. A [`Pause`] covers the boxes that stood there when a task was
//! suspended, and tells whether its stack was kept as it was (`.wait()`) or put away (`.await`).
//!
//! What it doesn't do: measure anything, guess what isn't in the recording, or depend on anything.
//! Every sequence of events makes a diagram, whether or not a runtime can bring it about; and
//! equal recordings make equal pictures, byte for byte.

mod about;
mod build;
mod crop;
mod html;
mod json;
mod legend;
mod measure;
mod orphans;
mod palette;
mod save;
mod scale;
mod svg;
mod text;
mod trace;

use crate::event::{Outcome, StackId, TaskId, WorkerId};
use crate::recording::Recording;
use std::sync::Arc;

/// What a recording shows: boxes in lanes, pauses over them, arrows between them.
///
/// Time runs from left to right, and a call stands on its caller, up to the system calls. Each
/// thread has a lane: that of a plain thread holds its calls, that of a worker says which task runs
/// there. Each task has a lane with its calls, whichever worker they ran on. Where a task is
/// suspended, a [`Pause`] lies over its boxes: they stay in sight, hatched, if the stack was kept
/// (`.wait()`), and are gone but for a dotted line if it was put away (`.await`). An [`Arrow`] says
/// who woke whom, or spawned it. Blue runs, orange is in a system call, green is on the blocking
/// pool, purple is ready and waits for a worker.
///
/// ```
/// use bifilar_timeline::{Diagram, Recording};
/// let recording: Recording = "\
/// thread worker 0
/// 0 poll-begin task=7 stack=0
/// 10 span-begin task=7 span=1 name=fetch
/// 40 system-call fd=5 bytes=64 result=64 took=20 name=write
/// 50 span-end task=7 span=1
/// 60 poll-end task=7 outcome=ready
/// ".parse()?;
/// let diagram = Diagram::from(&recording).titled("one fetch");
/// let rows: Vec<(u32, &str)> = diagram
///     .boxes
///     .iter()
///     .filter(|drawn| diagram.lanes[drawn.lane].name == "task 7")
///     .map(|drawn| (drawn.row, &*drawn.label))
///     .collect();
/// assert_eq!(rows, [(0, "task 7"), (1, "fetch"), (2, "write")]);
/// assert!(diagram.svg().starts_with("<svg"));
/// # Ok::<(), bifilar_timeline::ParseError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Diagram {
    /// What stands above the picture.
    pub title: String,
    /// When the recording begins, in nanoseconds.
    pub start_ns: u64,
    /// When it ends.
    pub end_ns: u64,
    /// From top to bottom: threads in the order of the recording, then tasks by birth.
    pub lanes: Vec<Lane>,
    /// By lane, row and time; those of one row never overlap.
    pub boxes: Vec<TimeBox>,
    /// By lane and time.
    pub pauses: Vec<Pause>,
    /// By time.
    pub arrows: Vec<Arrow>,
    /// By time.
    pub marks: Vec<Mark>,
}

/// One line of the picture, as high as its boxes are stacked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lane {
    /// Of the thread or the task.
    pub name: String,
    /// Whose it is.
    pub kind: LaneKind,
    /// How many boxes stand on one another at most.
    pub rows: u32,
    /// How many records of this thread were overwritten before the recording was taken.
    pub lost: u64,
}

/// Whose lane it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LaneKind {
    /// A thread that the runtime doesn't run.
    Thread,
    /// A thread that polls tasks.
    Worker,
    /// A thread of the blocking pool.
    Pool,
    /// A task, wherever it runs.
    Task(TaskId),
}

/// A box: something that took time, atop what called it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimeBox {
    /// Index into [`Diagram::lanes`].
    pub lane: usize,
    /// Counted from 0, upwards.
    pub row: u32,
    /// Not before [`Diagram::start_ns`].
    pub start_ns: u64,
    /// Not before `start_ns`.
    pub end_ns: u64,
    /// Its name.
    pub label: Arc<str>,
    /// What it stands for.
    pub kind: BoxKind,
    /// It began before the recording, or before what is left of it.
    pub cut_start: bool,
    /// It hadn't ended when the recording was taken.
    pub cut_end: bool,
}

impl TimeBox {
    /// How the task ended whose life this is, if it neither finished nor is cut off.
    fn broke_off(&self) -> Option<Outcome> {
        match self.kind {
            BoxKind::Task { outcome, .. } if !self.cut_end => {
                outcome.filter(|end| matches!(end, Outcome::Panicked | Outcome::Cancelled))
            }
            _ => None,
        }
    }
}

/// What a box stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BoxKind {
    /// The life of a task, from its spawn (if that was recorded) to its end.
    Task {
        /// Which.
        task: TaskId,
        /// How it ended, if it did.
        outcome: Option<Outcome>,
    },
    /// A span of the user's: mostly, a function.
    Span {
        /// Its number.
        span: u64,
    },
    /// A system call.
    SystemCall {
        /// The file descriptor, or -1.
        fd: i32,
        /// How many bytes were asked for.
        bytes: u32,
        /// What it returned; an error as the negative of its number.
        result: i32,
        /// How long it took, in nanoseconds.
        took_ns: u32,
    },
    /// A call on the blocking pool.
    Blocking {
        /// The task of the call.
        task: TaskId,
    },
    /// In a worker's lane: the task that it runs.
    Run {
        /// Which.
        task: TaskId,
        /// On which stack, if that was recorded.
        stack: Option<StackId>,
    },
    /// In a worker's lane: it sleeps in its event queue.
    Parked {
        /// Which.
        worker: WorkerId,
    },
}

/// A time in which boxes stand and do not run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pause {
    /// Index into [`Diagram::lanes`].
    pub lane: usize,
    /// The lowest row that it covers.
    pub row: u32,
    /// How many rows it covers.
    pub rows: u32,
    /// When the task stopped running.
    pub start_ns: u64,
    /// When it went on.
    pub end_ns: u64,
    /// From when on it only waited for a worker.
    pub woken_ns: Option<u64>,
    /// Where its calls were meanwhile.
    pub kind: PauseKind,
    /// What was waited for; often empty.
    pub waits_for: Arc<str>,
    /// It hadn't ended when the recording was taken.
    pub cut_end: bool,
}

/// Where the calls of a task are while it doesn't run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PauseKind {
    /// On their stack, which stays as it is: `.wait()`.
    StackKept,
    /// Nowhere: the poll has returned, and what is needed to go on lies in the future. `.await`
    StackPutAway,
}

/// From one lane to another at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Arrow {
    /// When.
    pub time_ns: u64,
    /// Why.
    pub kind: ArrowKind,
    /// Index into [`Diagram::lanes`].
    pub from: usize,
    /// The highest box that stood there.
    pub from_row: u32,
    /// Index into [`Diagram::lanes`].
    pub to: usize,
    /// The highest box that stood there.
    pub to_row: u32,
}

/// What an arrow says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ArrowKind {
    /// Made runnable.
    Wake,
    /// Brought into being.
    Spawn,
}

/// Something that took no time: the event queue reported a source, or a timer fired.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// Index into [`Diagram::lanes`].
    pub lane: usize,
    /// When.
    pub time_ns: u64,
    /// What.
    pub label: Arc<str>,
}

impl From<&Recording> for Diagram {
    fn from(recording: &Recording) -> Self {
        build::build(recording)
    }
}

impl Diagram {
    /// The same with a title.
    ///
    /// ```
    /// # use bifilar_timeline::{Diagram, Recorder};
    /// let diagram = Diagram::from(&Recorder::new(16).snapshot()).titled("nothing yet");
    /// assert_eq!(diagram.title, "nothing yet");
    /// ```
    pub fn titled(mut self, title: &str) -> Self {
        title.clone_into(&mut self.title);
        self
    }

    /// How long the recording is, in nanoseconds; never 0, so that it can be divided by.
    fn span_ns(&self) -> u64 {
        (self.end_ns - self.start_ns).max(1)
    }

    /// What the picture holds, in words: `1.25 ms · 2 threads · 3 tasks · 7 wake-ups`.
    fn summary(&self) -> String {
        let tasks = self.lanes.iter().filter(|lane| matches!(lane.kind, LaneKind::Task(_))).count();
        let wakes = self.arrows.iter().filter(|arrow| arrow.kind == ArrowKind::Wake).count();
        let lost: u64 = self.lanes.iter().map(|lane| lane.lost).sum();
        let counts = [
            (self.lanes.len() - tasks, "thread", "threads"),
            (tasks, "task", "tasks"),
            (wakes, "wake-up", "wake-ups"),
        ];
        let mut words = scale::duration(self.end_ns - self.start_ns);
        for (count, one, many) in counts {
            if count > 0 {
                words += &format!(" · {count} {}", if count == 1 { one } else { many });
            }
        }
        if lost > 0 {
            words += &format!(" · {lost} older events were overwritten");
        }
        words
    }

    /// For each lane, where its boxes and its pauses stand in `boxes` and `pauses`.
    fn by_lane(&self) -> Vec<(&[TimeBox], &[Pause])> {
        let (mut boxes, mut pauses) = (&self.boxes[..], &self.pauses[..]);
        (0..self.lanes.len())
            .map(|lane| {
                let drawn = boxes.partition_point(|drawn| drawn.lane <= lane);
                let paused = pauses.partition_point(|pause| pause.lane <= lane);
                (boxes.split_off(..drawn).unwrap_or(&[]), pauses.split_off(..paused).unwrap_or(&[]))
            })
            .collect()
    }
}
