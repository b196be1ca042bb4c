//! [`Event`]: everything that can happen on a timeline, and nothing else.
//!
//! The list is closed so that a reader (a diagram, a test that compares two lists) handles every
//! case, and so that each fits a record of fixed size. When it happened is not here but in
//! [`Record`](crate::Record); on which thread, in [`Track`](crate::Track).

/// Number of a task; [`NO_TASK`] stands for none.
pub type TaskId = u64;

/// Number of a stack.
pub type StackId = u32;

/// Number of a worker.
pub type WorkerId = u32;

/// The task number of what happens outside any task: in a worker's loop, on a foreign thread.
///
/// ```
/// use bifilar_timeline::{Event, NO_TASK};
/// let from_outside = Event::Wake { from: NO_TASK, to: 7 };
/// assert_eq!(from_outside, Event::Wake { from: 0, to: 7 });
/// ```
pub const NO_TASK: TaskId = 0;

/// A string that is kept once by the [`Recorder`](crate::Recorder) and recorded by its number.
///
/// ```
/// use bifilar_timeline::{Name, Recorder};
/// let recorder = Recorder::new(16);
/// let name = recorder.name("read");
/// assert_eq!(name, recorder.name("read"));
/// assert_eq!(recorder.snapshot().name(name), "read");
/// assert_eq!(recorder.snapshot().name(Name::NONE), "");
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name(pub(crate) u32);

impl Name {
    /// The empty name, of what has none.
    pub const NONE: Name = Name(0);
}

/// How a poll ended.
///
/// ```
/// use bifilar_timeline::{Event, Outcome};
/// let finished = Event::PollEnd { task: 7, outcome: Outcome::Ready };
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// The task is not finished, and will be woken.
    Pending,
    /// The task has finished.
    Ready,
    /// The task has panicked.
    Panicked,
    /// The task was cancelled and has been dropped or unwound.
    Cancelled,
}

/// Something that happened.
///
/// A worker that polls a task, which waits in the middle and is woken by another:
///
/// ```
/// use bifilar_timeline::{Event, Name, Outcome};
/// let story = [
///     Event::PollBegin { task: 7, stack: 3 },
///     Event::StackSuspend { task: 7, stack: 3, waits_for: Name::NONE },
///     Event::PollBegin { task: 8, stack: 4 },
///     Event::Wake { from: 8, to: 7 },
///     Event::PollEnd { task: 8, outcome: Outcome::Ready },
///     Event::StackResume { task: 7, stack: 3 },
///     Event::PollEnd { task: 7, outcome: Outcome::Ready },
/// ];
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Event {
    /// A task has come into being.
    Spawn {
        /// The new task.
        task: TaskId,
        /// Who spawned it, or [`NO_TASK`].
        parent: TaskId,
        /// Its name, or where it was spawned.
        name: Name,
    },
    /// A poll of a task begins.
    PollBegin {
        /// The task.
        task: TaskId,
        /// The loop stack it is polled on.
        stack: StackId,
    },
    /// The poll of a task ends.
    PollEnd {
        /// The task.
        task: TaskId,
        /// How.
        outcome: Outcome,
    },
    /// A stack is suspended in the middle of a poll.
    StackSuspend {
        /// The task it belongs to from now on.
        task: TaskId,
        /// The stack.
        stack: StackId,
        /// What is waited for.
        waits_for: Name,
    },
    /// A suspended stack goes on.
    StackResume {
        /// The task it belonged to.
        task: TaskId,
        /// The stack.
        stack: StackId,
    },
    /// One task has made another runnable.
    Wake {
        /// Who called the waker, or [`NO_TASK`].
        from: TaskId,
        /// Whose waker it was.
        to: TaskId,
    },
    /// A worker has nothing to do and goes to sleep in its event queue.
    WorkerPark {
        /// The worker.
        worker: WorkerId,
    },
    /// A worker is awake again.
    WorkerUnpark {
        /// The worker.
        worker: WorkerId,
    },
    /// The event queue has reported a source.
    IoReady {
        /// The token of the source.
        token: u64,
        /// A read would not block.
        readable: bool,
        /// A write would not block.
        writable: bool,
        /// One side or both are closed, or failed.
        closed: bool,
    },
    /// A timer has fired.
    TimerFired {
        /// When it was due, on the clock of the recorder, in nanoseconds.
        deadline_ns: u64,
    },
    /// A call begins on a thread of the blocking pool.
    BlockingBegin {
        /// The task of the call.
        task: TaskId,
        /// What is called.
        name: Name,
    },
    /// A call on a thread of the blocking pool ends.
    BlockingEnd {
        /// The task of the call.
        task: TaskId,
        /// What was called.
        name: Name,
    },
    /// A system call has returned; the record's time is that of its return.
    SystemCall {
        /// Its name.
        name: Name,
        /// The file descriptor, or -1.
        fd: i32,
        /// How many bytes were asked for.
        bytes: u32,
        /// What it returned; an error as the negative of its number, as the kernel does.
        result: i32,
        /// How long it took, in nanoseconds; 4.29 seconds stand for that and more.
        took_ns: u32,
    },
    /// A span of the user's begins.
    SpanBegin {
        /// The task in which it is entered, or [`NO_TASK`].
        task: TaskId,
        /// Its number.
        span: u64,
        /// Its name.
        name: Name,
    },
    /// A span of the user's ends.
    SpanEnd {
        /// The task in which it is left, or [`NO_TASK`].
        task: TaskId,
        /// Its number.
        span: u64,
    },
}
