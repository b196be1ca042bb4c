//! The one thread-local: what the running code stands on.
//!
//! | field | set by | means |
//! |---|---|---|
//! | `worker` | the scheduler, for as long as a thread runs a worker | the worker of this thread |
//! | `stack` | the scheduler, at each arrival on a stack | what `wait` suspends; none: it parks the thread |
//! | `task` | the scheduler around a poll; saved over suspensions | the task being polled |
//! | `runtime` | `Handle::enter` and threads of the blocking pool; saved | the runtime for code outside of workers |
//! | `reactor` | the scheduler with `worker`, and `Handle::enter` | where sockets and timers are registered |
//! | `time_ms` | the worker, when it looks at its event queue | roughly the time, for reports |
//! | `lot` | whoever draws; the scheduler begins it | with which branch a race begins, whom a worker robs first |
//! | `locals` | binding a task-local, the scheduler around a poll; saved | what is bound: [`local`] |
//! | `waiting` | leaves that aren't ready | what the running code will wait for: [`waiting`] |
//! | `look` | the scheduler, for a dump | who wants to see what leaves note |
//! | `looks` | with `look` | how often that has changed |
//! | `budget` | the scheduler before a poll and at each arrival | ready operations left before others must have a turn |
//!
//! Pointers to what stands higher in the crate are kept untyped here; the module that sets one is
//! the only one that reads it. What may interrupt a wait is kept beside the stack: [`region`].

mod local;
mod owner;
mod region;
pub(crate) mod waiting;

pub(crate) use local::{Bindings, Bound, bindings};
pub use local::{BoundFuture, Local};
pub(crate) use owner::Owner;
pub(crate) use region::{Interruption, RegionUnwind, Regions, shielded, until};

use crate::{
    cell::{Id, TaskRef},
    console::Shown,
};
use std::{
    cell::Cell,
    ptr::{self, NonNull},
    task::{Context as TaskContext, Poll, Waker},
};
use waiting::Waiting;

/// Ready operations that a task may perform before it must let others run. tokio's figure is 128
/// since 2020 ("Reducing tail latencies with automatic cooperative task yielding"); Go preempts
/// after 10 ms.
pub(crate) const BUDGET: u32 = 128;

/// A stack that `wait` can suspend. The scheduler implements it.
pub(crate) trait Suspend {
    /// A waker that notifies this stack; cloning and dropping it costs nothing.
    fn waker(&'static self) -> Waker;
    /// What to give to `wait_unless_notified` after the future has been polled.
    fn observe(&self) -> Seen;
    /// Suspends the stack until it is notified, unless it was since `seen`: then it goes to the end
    /// of the queue instead, so that others have a turn.
    fn suspend(&'static self, seen: Seen);
    /// Goes to the end of the queue.
    fn yield_now(&'static self);
    /// Notifies this stack as soon as no stack of this thread is unwinding.
    fn notify_when_not_panicking(&'static self);
    /// Where `JoinHandle::cancel` finds this stack: what `Schedule::interrupt` takes.
    fn address(&'static self) -> *mut ();
    /// What may interrupt the waits of this stack.
    fn regions(&'static self) -> &'static Regions;
    /// Whether this is an address on the stack.
    fn contains(&self, address: *const ()) -> bool;
}

/// How often a stack had been notified when `observe` was called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seen(pub u32);

pub(crate) struct Context {
    pub worker: Cell<*const ()>,
    pub stack: Cell<Option<&'static dyn Suspend>>,
    pub task: Cell<Option<TaskRef>>,
    pub runtime: Cell<*const ()>,
    pub reactor: Cell<*const ()>,
    pub locals: local::Place,
    pub waiting: Cell<Waiting>,
    pub look: Cell<Option<NonNull<dyn waiting::Look>>>,
    pub looks: Cell<u64>,
    pub budget: Cell<u32>,
    pub lot: Cell<u32>,
    pub time_ms: Cell<u32>,
}

thread_local! {
    static CONTEXT: Context = const {
        Context {
            worker: Cell::new(ptr::null()),
            stack: Cell::new(None),
            task: Cell::new(None),
            runtime: Cell::new(ptr::null()),
            reactor: Cell::new(ptr::null()),
            locals: local::Place::new(),
            waiting: Cell::new(Waiting::UNKNOWN),
            look: Cell::new(None),
            looks: Cell::new(0),
            budget: Cell::new(BUDGET),
            lot: Cell::new(1),
            time_ms: Cell::new(0),
        }
    };
}

/// Everything here is `const`-initialised and without a destructor, so this never fails, not even
/// while the thread ends.
#[inline]
pub(crate) fn with<R>(f: impl FnOnce(&Context) -> R) -> R {
    CONTEXT.with(f)
}

/// What belongs to the running task rather than to the thread: put away while it is suspended.
pub(crate) struct Saved {
    task: Option<TaskRef>,
    runtime: *const (),
    locals: Bindings,
}

impl Saved {
    /// The task that is put away, as tokio-console knows it.
    pub fn shown(&self) -> Option<&Shown> {
        // SAFETY: its poll is only suspended, so it is alive.
        Some(&unsafe { self.task.as_ref()?.as_ref() }.shown)
    }

    /// The number of the task that is put away.
    pub fn task_id(&self) -> Option<Id> {
        // SAFETY: its poll is only suspended, so it is alive.
        Some(unsafe { self.task?.as_ref() }.meta.id)
    }
}

impl Context {
    pub fn save(&self) -> Saved {
        Saved {
            task: self.task.take(),
            runtime: self.runtime.replace(ptr::null()),
            locals: self.locals.replace(None),
        }
    }

    pub fn restore(&self, saved: Saved) {
        self.task.set(saved.task);
        self.runtime.set(saved.runtime);
        drop(self.locals.replace(saved.locals));
        self.budget.set(BUDGET);
    }
}

/// The regions for code on this thread: those of its stack, or its own.
pub(crate) fn regions() -> *const Regions {
    region::current()
}

/// A number below `count`, for a choice that should be fair and needn't be anything else. Xorshift
/// (Marsaglia 2003).
pub(crate) fn draw_lot(count: usize) -> usize {
    with(|context| {
        let mut x = context.lot.get();
        x ^= x << 13;
        x ^= x >> 17;
        x ^= x << 5;
        context.lot.set(x);
        x as usize % count
    })
}

/// Spends one ready operation. `false`: the budget is used up.
#[inline]
pub(crate) fn spend() -> bool {
    with(|context| {
        let left = context.budget.get();
        context.budget.set(left.saturating_sub(1));
        left != 0
    })
}

/// Grants a new budget, after one that was used up has had its effect.
pub(crate) fn refill() {
    with(|context| context.budget.set(BUDGET));
}

/// For a future's `poll`, before it does a ready operation: when the budget is used up, wakes the
/// task and says `Pending`, so that others have a turn.
#[inline]
pub(crate) fn poll_budget(cx: &mut TaskContext<'_>) -> Poll<()> {
    // A thread that waits, or a task of another runtime, keeps none of ours from running.
    if with(|context| context.task.get().is_none()) || spend() {
        return Poll::Ready(());
    }
    // Refused once: who polls again within the same turn (an executor that is nested in the task, and
    // can't leave it) must get on.
    refill();
    cx.waker().wake_by_ref();
    Poll::Pending
}
