//! What a runtime has done, and what it has now: a [`Metrics`] from [`Handle::metrics`].
//!
//! ```
//! use bifilar::{Builder, Handle, fiber};
//!
//! Builder::new().name("demo").workers(2).run(|| {
//!     for _ in 0..3 {
//!         fiber::spawn(fiber::yield_now).join().unwrap();
//!     }
//!     let metrics = Handle::current().metrics();
//!     assert_eq!(metrics.fibers.returned, 3);
//!     assert_eq!(metrics.fibers.alive(), 1); // this one
//!     assert!(metrics.workers.iter().map(|worker| worker.polls).sum::<u64>() >= 4);
//!
//!     let text = metrics.to_string(); // the text that Prometheus reads
//!     assert!(text.contains(r#"bifilar_tasks_spawned_total{runtime="demo",kind="fiber"} 4"#));
//! });
//! ```
//!
//! Counting costs a few additions for each poll, on memory that only the worker writes. What needs a look
//! at the clock for each poll, the histograms of latency and of runs, is measured where
//! [`Builder::measure`] asks for it.
//!
//! Each number is right by itself. They are read one after another while the runtime runs, so two of them
//! may be of slightly different moments; a task that was joined just now may count as alive still. Rates and ratios come of two snapshots: subtract.
//!
//! What it does not do: serve them. Prometheus wants them by HTTP, whose body is
//! [`to_string`](std::string::ToString::to_string).
//!
//! [`Handle::metrics`]: crate::Handle::metrics
//! [`Builder::measure`]: crate::Builder::measure

mod histogram;
mod prometheus;

pub use histogram::Histogram;

use crate::{
    cell::{Tally, TaskKind},
    scheduler::{self, Remote, Shared},
};
use bifilar_timeline::Outcome;
use std::time::Duration;

/// What a runtime has done so far, and what it has now. Its `Display` is the text that Prometheus reads
/// (its exposition format, version 0.0.4).
///
/// See the [module](self) for an example.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Metrics {
    /// The runtime's name.
    pub runtime: String,
    /// How long ago it was made.
    pub uptime: Duration,
    /// Tasks whose body is a future.
    pub async_tasks: TaskMetrics,
    /// Tasks whose body is a closure.
    pub fibers: TaskMetrics,
    /// Calls of [`unblock`](crate::unblock).
    pub blocking_calls: TaskMetrics,
    /// Tasks in the queue that all workers share: they were woken or spawned from outside.
    pub injected: usize,
    /// One for each worker.
    pub workers: Vec<WorkerMetrics>,
    /// The stacks of all runtimes of this process, which share them.
    pub stacks: StackMetrics,
    /// The threads for calls that block for real.
    pub blocking_pool: BlockingPoolMetrics,
}

/// How many tasks of one kind there were, and what became of them.
///
/// ```
/// bifilar::run(|| {
///     let task = bifilar::task::spawn(std::future::pending::<()>());
///     task.cancel();
///     let _ = task.join();
///     let tasks = bifilar::Handle::current().metrics().async_tasks;
///     assert_eq!((tasks.spawned, tasks.cancelled, tasks.alive()), (1, 1, 0));
/// });
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TaskMetrics {
    /// All that there ever were.
    pub spawned: u64,
    /// Those that came to their end.
    pub returned: u64,
    /// Those that panicked.
    pub panicked: u64,
    /// Those that were cancelled before their end.
    pub cancelled: u64,
}

impl TaskMetrics {
    fn of(tally: &Tally, kind: TaskKind) -> Self {
        TaskMetrics {
            spawned: tally.count_born(kind),
            returned: tally.count_ended(kind, Outcome::Ready),
            panicked: tally.count_ended(kind, Outcome::Panicked),
            cancelled: tally.count_ended(kind, Outcome::Cancelled),
        }
    }

    /// Those that have ended.
    pub fn finished(&self) -> u64 {
        self.returned + self.panicked + self.cancelled
    }

    /// Those that have not.
    pub fn alive(&self) -> u64 {
        self.spawned - self.finished()
    }
}

/// What a worker has done so far, and what it has now.
///
/// See the [module](self) for an example.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct WorkerMetrics {
    /// Polls of tasks; a fiber has one.
    pub polls: u64,
    /// How often a stack was suspended: in a [`wait`](crate::Wait::wait), or to let others run (also when
    /// there were none).
    pub suspensions: u64,
    /// How often it took tasks from another worker.
    pub steals: u64,
    /// How many tasks that were.
    pub stolen_tasks: u64,
    /// How often it went to sleep.
    pub parks: u64,
    /// Whether it sleeps.
    pub is_parked: bool,
    /// How long it has worked: was driven and didn't sleep. Divided by the time that has passed, it is
    /// how busy the worker was.
    pub busy: Duration,
    /// How often the watchdog found it held up.
    pub stalls: u64,
    /// Tasks in its queue that other workers may steal.
    pub queued: usize,
    /// Tasks and suspended stacks in its queue that only it may run, as of its last look at the event
    /// queue; wake-ups from other threads that it hasn't seen yet are not among them.
    pub queued_local: usize,
    /// Warm stacks that it keeps for itself, as of its last look at the event queue.
    pub spare_stacks: usize,
    /// Events from the operating system.
    pub events: u64,
    /// How many each look at the event queue found; looks that find none count as well.
    pub events_per_wait: Histogram,
    /// How long tasks and suspended stacks stood in a queue before they ran, in nanoseconds: if it is
    /// [measured](crate::Builder::measure), to 256 ns.
    pub latency: Option<Histogram>,
    /// How long they then kept the worker, until they waited, gave way or ended, in nanoseconds: if it
    /// is [measured](crate::Builder::measure).
    pub runs: Option<Histogram>,
}

impl WorkerMetrics {
    fn of(remote: &Remote, measured: bool) -> Self {
        let counters = &remote.counters;
        WorkerMetrics {
            polls: counters.polls.get(),
            suspensions: counters.suspensions.get(),
            steals: counters.steals.get(),
            stolen_tasks: counters.stolen.get(),
            parks: counters.parks.get(),
            is_parked: remote.is_parked(),
            busy: counters.work.worked(),
            stalls: counters.stalls.get(),
            queued: remote.queued(),
            queued_local: counters.local.get() as usize,
            spare_stacks: counters.spares.get() as usize,
            events: counters.events.get(),
            events_per_wait: Histogram::of(&counters.events_per_wait),
            latency: measured.then(|| Histogram::of(&counters.latency)),
            runs: measured.then(|| Histogram::of(&counters.runs)),
        }
    }
}

/// The stacks of a process.
///
/// ```
/// bifilar::run(|| {
///     let stacks = bifilar::Handle::current().metrics().stacks;
///     assert!(stacks.in_use >= 1 && stacks.peak >= stacks.in_use);
/// });
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StackMetrics {
    /// Stacks that workers hold: with a task or a loop on them, or [spare](WorkerMetrics::spare_stacks).
    pub in_use: usize,
    /// The most that this ever was (the sum of the most of each size).
    pub peak: usize,
    /// Stacks that are warm, and nobody's.
    pub cached: usize,
    /// Bytes of address space; memory is used for pages that were touched only.
    pub reserved_bytes: usize,
    /// How stacks are guarded against overflow.
    pub guards: GuardKind,
}

/// How stacks are guarded against overflow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum GuardKind {
    /// Marks in the page table (Linux 6.13): any number of them.
    Madvise,
    /// Page protection: about 32,000 of them, unless `vm.max_map_count` is raised.
    Mprotect,
}

/// The threads of a runtime for calls that block for real.
///
/// ```
/// use bifilar::{Handle, Wait, unblock};
/// bifilar::run(|| {
///     unblock(|| ()).wait().unwrap();
///     let pool = Handle::current().metrics().blocking_pool;
///     assert_eq!((pool.threads, pool.queued), (1, 0));
/// });
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct BlockingPoolMetrics {
    /// Threads that exist.
    pub threads: usize,
    /// Those of them that have nothing to do.
    pub idle: usize,
    /// Calls that have not begun, since all threads are busy.
    pub queued: usize,
}

impl Metrics {
    pub(crate) fn of(shared: &Shared) -> Self {
        let tally = shared.tally();
        let (mut blocking_calls, mut blocking_pool) = Default::default();
        if let Some(pool) = shared.blocking.get() {
            let figures = pool.figures();
            blocking_calls = TaskMetrics::of(&figures.tally, TaskKind::Blocking);
            blocking_pool = BlockingPoolMetrics {
                threads: figures.threads,
                idle: figures.idle,
                queued: figures.queued,
            };
        }
        let worker = |remote| WorkerMetrics::of(remote, shared.config.measure);
        Metrics {
            runtime: shared.config.name.clone(),
            uptime: shared.started.elapsed(),
            async_tasks: TaskMetrics::of(&tally, TaskKind::Async),
            fibers: TaskMetrics::of(&tally, TaskKind::Fiber),
            blocking_calls,
            injected: shared.injected(),
            workers: shared.remotes().iter().map(worker).collect(),
            stacks: stacks(),
            blocking_pool,
        }
    }

    /// How busy the workers were since the runtime was made, or since `earlier`: from 0 to 1.
    ///
    /// ```
    /// bifilar::run(|| {
    ///     let handle = bifilar::Handle::current();
    ///     let before = handle.metrics();
    ///     bifilar::fiber::sleep(std::time::Duration::from_millis(50));
    ///     assert!(handle.metrics().busy_ratio(Some(&before)) < 0.9);
    /// });
    /// ```
    pub fn busy_ratio(&self, earlier: Option<&Metrics>) -> f64 {
        let busy = |metrics: &Metrics| metrics.workers.iter().map(|worker| worker.busy).sum();
        let since = |now: Duration, then: Option<Duration>| {
            now.saturating_sub(then.unwrap_or_default()).as_secs_f64()
        };
        let worked = since(busy(self), earlier.map(busy));
        let passed = since(self.uptime, earlier.map(|earlier| earlier.uptime));
        let whole = passed * self.workers.len() as f64;
        if whole > 0.0 { (worked / whole).min(1.0) } else { 0.0 }
    }
}

fn stacks() -> StackMetrics {
    use bifilar_coroutine::stack;
    let usage = scheduler::stack_usage();
    StackMetrics {
        in_use: usage.in_use,
        peak: usage.peak,
        cached: usage.kept,
        reserved_bytes: usage.reserved,
        guards: match usage.guards {
            stack::GuardKind::Madvise => GuardKind::Madvise,
            stack::GuardKind::Mprotect => GuardKind::Mprotect,
        },
    }
}
