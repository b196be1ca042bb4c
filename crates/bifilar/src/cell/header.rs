//! The part of a task cell that doesn't depend on the future's type.

use super::{
    join::JoinError,
    link::{Kind, Link},
    raw::Vtable,
    registry,
    state::State,
};
use crate::console::Shown;
use crate::context::{
    Bindings,
    waiting::{self, Noted},
};
use crate::primitives::{AtomicPtr, Ordering, UnsafeCell, fence};
use crate::record;
use bifilar_timeline::{Event, Name, Outcome};
use std::{
    cell::Cell,
    fmt,
    num::NonZeroU64,
    panic::Location,
    ptr::NonNull,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    task::Waker,
    thread::LocalKey,
};

/// A number that no other task of this process has or had.
///
/// ```
/// bifilar::run(|| {
///     let me = bifilar::task::current().id();
///     assert_ne!(me, bifilar::fiber::spawn(|| bifilar::task::current().id()).join().unwrap());
/// });
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Id(NonZeroU64);

/// How the body of a task is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TaskKind {
    /// A future.
    Async,
    /// A closure in blocking style.
    Fiber,
    /// A closure on the pool of threads for calls that block for real.
    Blocking,
}

impl fmt::Display for TaskKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            TaskKind::Async => "task",
            TaskKind::Fiber => "fiber",
            TaskKind::Blocking => "blocking call",
        })
    }
}

/// What is known of a task from its birth on.
pub(crate) struct Meta {
    pub id: Id,
    pub kind: TaskKind,
    /// Whether it is what a `block_on` drives.
    pub main: bool,
    /// The worker that alone may run it, if there is one.
    pub pinned: Option<u16>,
    /// Whose registry it stands in.
    pub shard: u16,
    pub location: &'static Location<'static>,
    /// What few tasks have, so that the others don't pay for it.
    pub extra: Option<Box<Extra>>,
}

/// See [`Meta::extra`].
#[derive(Default)]
pub(crate) struct Extra {
    pub name: Option<Box<str>>,
    /// The size class of the stack it asked for; `None` takes the runtime's default.
    pub stack_class: Option<usize>,
    /// Whether it is to be found out how deep its stack goes.
    pub measure_stack: bool,
    /// What was found, in bytes; 0 before it has ended.
    pub stack_depth: AtomicUsize,
    /// Why it could not be started.
    pub refused: OnceLock<String>,
    /// The task-locals that were bound where it was spawned. For whoever set RUNNING; taken with the
    /// future, so that no destructor of a user's is left to run when the cell is freed.
    pub locals: std::cell::UnsafeCell<Bindings>,
}

impl Meta {
    /// What tokio-console calls this kind of task. Those that it calls "block_on" and "blocking" may keep
    /// their thread.
    fn kind_in_console(&self) -> &'static str {
        match self.kind {
            _ if self.main => "block_on",
            TaskKind::Blocking => "blocking",
            TaskKind::Fiber => "fiber",
            TaskKind::Async if self.pinned.is_some() => "local",
            TaskKind::Async => "task",
        }
    }

    /// Its name, or where it was spawned.
    pub fn recorded_name(&self, log: &record::Log) -> Name {
        self.name().map_or_else(|| log.place(self.location), |name| log.name(name))
    }

    pub fn name(&self) -> Option<&str> {
        self.extra.as_ref()?.name.as_deref()
    }

    /// # Safety
    /// The caller set RUNNING.
    pub unsafe fn locals(&self) -> Bindings {
        let locals = self.extra.as_ref()?.locals.get();
        // SAFETY: RUNNING makes them the caller's.
        unsafe { &*locals }.clone()
    }

    /// # Safety
    /// The caller set RUNNING.
    pub unsafe fn take_locals(&self) -> Bindings {
        let locals = self.extra.as_ref()?.locals.get();
        // SAFETY: RUNNING makes them the caller's.
        unsafe { &mut *locals }.take()
    }

    pub fn stack_class(&self) -> Option<usize> {
        self.extra.as_ref()?.stack_class
    }

    pub fn is_stack_measured(&self) -> bool {
        self.extra.as_ref().is_some_and(|extra| extra.measure_stack)
    }

    pub fn set_stack_depth(&self, bytes: usize) {
        if let Some(extra) = &self.extra {
            extra.stack_depth.store(bytes, Relaxed);
        }
    }

    /// For who knows that the task is complete: its end has released what was stored before.
    pub fn stack_depth(&self) -> Option<usize> {
        let bytes = self.extra.as_ref()?.stack_depth.load(Relaxed);
        (bytes > 0).then_some(bytes)
    }
}

#[repr(C)]
pub(crate) struct Header {
    /// Must stay first: a `*mut Link` of kind `Task` is a `*mut Header`.
    pub link: Link,
    pub state: State,
    pub(super) vtable: &'static Vtable,
    /// The scheduler's own; see the invariant in the module's head.
    pub scheduler: *const (),
    pub(super) join_waker: UnsafeCell<Option<Waker>>,
    pub(super) registry: UnsafeCell<registry::Links>,
    /// The stack on which this poll was last suspended: where `cancel` looks for it. May be stale,
    /// which costs a spurious wake-up.
    pub(super) stack: AtomicPtr<()>,
    /// What it waits for, at an `.await` or on a stack that is suspended.
    pub waiting: Noted,
    pub meta: Meta,
    /// For tokio-console.
    pub shown: Shown,
}

/// Points to a task whose memory is kept alive by a reference that is counted elsewhere.
pub(crate) type TaskRef = NonNull<Header>;

impl Header {
    /// `size`: of the future.
    pub(super) fn new(
        vtable: &'static Vtable,
        scheduler: *const (),
        meta: Meta,
        size: usize,
    ) -> Self {
        let (kind, number) = (meta.kind_in_console(), meta.id.get());
        let shown = Shown::task(kind, meta.name(), number, size, meta.location);
        Header {
            link: Link::new(Kind::Task),
            state: State::new(),
            vtable,
            scheduler,
            join_waker: UnsafeCell::new(None),
            registry: UnsafeCell::new(registry::Links::new()),
            stack: AtomicPtr::new(std::ptr::null_mut()),
            waiting: Noted::new(),
            meta,
            shown,
        }
    }

    /// For the record: it comes into being.
    #[inline]
    pub fn record_spawn(&self, source: Option<&Arc<record::Source>>) {
        record::event_for(
            || source,
            |log| Event::Spawn {
                task: self.meta.id.get(),
                parent: waiting::task_number(),
                name: self.meta.recorded_name(log),
            },
        );
    }

    /// For the record: its poll ends, by which a task that blocks for real does as well.
    #[inline]
    pub(super) fn record_end(&self, outcome: Outcome) {
        self.shown.exit();
        if outcome != Outcome::Pending {
            self.shown.close();
        }
        record::event(|log| {
            let task = self.meta.id.get();
            if self.meta.kind == TaskKind::Blocking && outcome != Outcome::Cancelled {
                return Event::BlockingEnd { task, name: self.meta.recorded_name(log) };
            }
            Event::PollEnd { task, outcome }
        });
        if outcome == Outcome::Panicked {
            record::panicked(self.meta.id.get());
        }
    }

    /// How a task ended whose future was dropped instead of polled.
    pub(super) fn not_polled(&self) -> JoinError {
        match self.meta.extra.as_ref().and_then(|extra| extra.refused.get()) {
            Some(reason) => JoinError::panicked(self.meta.id, Box::new(reason.clone())),
            None => JoinError::cancelled(self.meta.id),
        }
    }

    /// For `wait`, before it suspends the stack `here` in the middle of this task's poll: notes it
    /// for `cancel`, and says whether the task has been cancelled.
    ///
    /// The stack is noted *before* CANCELLED is read, and `cancel` sets CANCELLED before it reads the
    /// stack, each with a SeqCst fence between the two: one of them sees the other. A stack that is
    /// noted already was so before an earlier fence.
    #[inline]
    pub fn note_stack(&self, here: *mut ()) -> bool {
        if self.stack.load(Ordering::Relaxed) != here {
            self.stack.store(here, Ordering::Relaxed);
            fence(Ordering::SeqCst);
        }
        self.state.is_cancelled()
    }
}

/// The next number of `all`. A thread takes them in blocks, of which `mine` is what it has left, so that two
/// workers don't fight for the counter's cache line.
#[inline]
pub(crate) fn next_in_block(all: &AtomicU64, mine: &'static LocalKey<Cell<(u64, u64)>>) -> u64 {
    const BLOCK: u64 = 1024;
    let (mut next, mut end) = mine.get();
    if next == end {
        next = all.fetch_add(BLOCK, Relaxed);
        end = next + BLOCK;
    }
    mine.set((next + 1, end));
    next
}

impl Id {
    /// Takes the next free number of the whole process.
    pub(crate) fn next() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        thread_local! {
            static MINE: Cell<(u64, u64)> = const { Cell::new((0, 0)) };
        }
        Id(NonZeroU64::new(next_in_block(&NEXT, &MINE)).expect("2^64 tasks"))
    }

    /// The number.
    pub fn get(self) -> u64 {
        self.0.get()
    }
}

impl fmt::Debug for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "task {}", self.0)
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
