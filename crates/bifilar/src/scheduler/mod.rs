//! The scheduler: workers that poll tasks and continue suspended stacks.
//!
//! ```text
//!   Shared (one for a runtime)
//!   ├── injector           tasks from outside, for anybody
//!   ├── idle               who sleeps, who searches ([`idle`])
//!   ├── monitor            a thread that looks after workers which don't come round ([`monitor`]), and
//!   │                      tells of them ([`watchdog`])
//!   └── Remote × workers   what others may touch of a worker
//!       ├── queue          tasks that others may steal ([`queue`], [`ring`])
//!       ├── next           the task that was woken last, runs first (may be stolen, too)
//!       ├── inbox          wake-ups of stacks and local tasks from other threads ([`inbox`])
//!       ├── parking        its park token
//!       ├── reactor        its event queue and timers
//!       └── registry       unfinished tasks that were spawned here
//!   Worker (on its thread)  the rest: local queue, stacks ([`worker`], [`switching`])
//! ```
//!
//! Tasks come in by [`tasks`], threads become workers by [`drive`], and [`current`] says to which runtime
//! the running code belongs.
//!
//! Where a task goes when it is woken:
//!
//! | task | woken by its own worker | by another thread |
//! |---|---|---|
//! | suspended stack, local task | the local queue | its worker's inbox |
//! | `Send` task | `next` from within a task, the queue from the reactor | a worker of the runtime: as its own; others: the injector |
//!
//! **Invariants:** a stack that was started is only ever continued by the thread that started it. A
//! `Shared` is not freed before all its tasks are complete; whoever is not one of its workers takes
//! a reference *before* it queues something, since what it queued may end the runtime.
//!
//! What it deliberately does not do: I/O and time, which it knows as "sleep in the reactor".

mod counters;
mod current;
mod deadlock;
mod dice;
mod drive;
mod dump;
mod idle;
mod inbox;
mod monitor;
mod overflow;
mod queue;
mod ring;
mod stack;
mod switching;
mod tasks;
mod unwinder;
mod watchdog;
mod worker;

pub(crate) use counters::{BUCKETS, Counters, Histogram};
pub(crate) use current::{Entered, OUTSIDE, enter, expect_current, on_worker, stands_on};
pub(crate) use drive::{Driver, FirstStacks};
pub(crate) use dump::{Leaf, Trace};
pub(crate) use monitor::monitor;
pub(crate) use stack::usage as stack_usage;
pub(crate) use switching::measure_stack;
pub(crate) use tasks::{Birth, spawn_local};

use current::leave_runtime;

use crate::{
    cell::{self, Header, Link, Registry, Tally, Task, TaskRef, TaskReport},
    flight::FlightRecorder,
    primitives::{AtomicBool, AtomicI32, AtomicPtr, AtomicUsize, Ordering},
    reactor::Reactor,
    record,
    time::Clock,
};
use bifilar_timeline::Recorder;
use dump::Questions;
use idle::{Idle, Parking};
use inbox::Inbox;
use monitor::{Heartbeat, Monitor};
use queue::{LockedFifo, Queue};
use std::{
    io,
    ptr::{self, NonNull},
    sync::Arc,
    time::{Duration, Instant},
};
use worker::Worker;

/// What a runtime is built with.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    pub workers: usize,
    pub name: String,
    /// The size class of a stack when a task asks for nothing else.
    pub stack_class: usize,
    /// How long its end waits for tasks.
    pub shutdown_limit: Duration,
    /// If time and the order of tasks are simulated: what the order is drawn from.
    pub seed: Option<u64>,
    /// Whether what costs looks at the clock is measured.
    pub measure: bool,
    /// After how long a worker that doesn't come round is told of, if ever.
    pub watchdog: Option<Duration>,
    pub recorder: Option<Recorder>,
    /// Who hands over what the recorder has, and is told of what may be a reason to.
    pub flight: Option<FlightRecorder>,
}

/// A runtime, as all its workers see it.
pub(crate) struct Shared {
    pub config: Config,
    pub started: Instant,
    injector: LockedFifo,
    idle: Idle,
    monitor: Monitor,
    told: deadlock::Told,
    inquiry: watchdog::Inquiry,
    remotes: Box<[Remote]>,
    /// Deals tasks from outside out to the registries, and sockets to the reactors.
    next_worker: AtomicUsize,
    /// All registries are closed and empty: workers may go.
    finished: AtomicBool,
    /// The blocking pool's, which stands higher; dropped with the runtime.
    pub blocking: std::sync::OnceLock<Box<dyn BlockingPool>>,
    /// What it records with, if it does.
    pub record: Option<Arc<record::Source>>,
}

/// The threads for calls that block for real, as far as the scheduler knows them.
pub(crate) trait BlockingPool: std::any::Any + Send + Sync {
    /// Says of each call what it is doing.
    fn report(&self, reports: &mut Vec<TaskReport>);
    /// How many threads there are.
    fn threads(&self) -> usize;
    /// What there is to know of it.
    fn figures(&self) -> PoolFigures;
}

/// See [`BlockingPool::figures`].
pub(crate) struct PoolFigures {
    pub threads: usize,
    /// Threads that have nothing to do.
    pub idle: usize,
    /// Calls that have not begun.
    pub queued: usize,
    pub tally: Tally,
}

/// What other threads may touch of a worker.
#[repr(align(128))]
pub(crate) struct Remote {
    shared: *const Shared,
    index: usize,
    queue: Queue,
    next: AtomicPtr<Header>,
    inbox: Inbox,
    parking: Parking,
    heartbeat: Heartbeat,
    registry: Registry,
    pub counters: Counters,
    /// The system's number of the thread that drives it, or 0.
    thread: AtomicI32,
    pub reactor: Arc<Reactor>,
    /// Asks the loop to go back to the native stack: set by the waker of what drives it.
    leave: AtomicBool,
    questions: Questions,
}

// SAFETY: `shared` is the `Shared` in which this stands; the queues hold pointers to tasks and
// stacks, whose rules the scheduler keeps.
unsafe impl Send for Remote {}
// SAFETY: as above.
unsafe impl Sync for Remote {}

impl Shared {
    pub fn new(config: Config) -> io::Result<Arc<Self>> {
        bifilar_coroutine::stack::describe_overflows(overflow::describe);
        tracing::debug!(
            target: "bifilar",
            workers = config.workers,
            stack_size = config.stack_class,
            guards = ?bifilar_coroutine::stack::guard_kind(),
            "a runtime starts",
        );
        let reactors: Vec<_> = (0..config.workers)
            .map(|_| Reactor::new(Clock::new(config.seed.is_some())).map(Arc::new))
            .collect::<io::Result<_>>()?;
        let simulated_time = || -> Box<dyn Fn() -> u64 + Send + Sync> {
            let reactor = reactors[0].clone();
            Box::new(move || reactor.timers.clock.elapsed_ns())
        };
        let clock = config.seed.map(|_| simulated_time());
        let watch = config.flight.as_ref().map(FlightRecorder::watch);
        let record =
            config.recorder.clone().map(|recorder| record::Source::new(recorder, clock, watch));
        Ok(Arc::new_cyclic(|shared| Shared {
            record,
            injector: LockedFifo::new(),
            idle: Idle::new(config.workers),
            monitor: Monitor::new(),
            told: deadlock::Told::default(),
            inquiry: watchdog::Inquiry::new(),
            remotes: reactors
                .into_iter()
                .enumerate()
                .map(|(index, reactor)| Remote {
                    shared: shared.as_ptr(),
                    index,
                    queue: Queue::new(),
                    next: AtomicPtr::new(ptr::null_mut()),
                    inbox: Inbox::new(),
                    parking: Parking::new(),
                    heartbeat: Heartbeat::new(),
                    registry: Registry::new(),
                    counters: Counters::new(),
                    thread: AtomicI32::new(0),
                    reactor,
                    leave: AtomicBool::new(false),
                    questions: Questions::new(),
                })
                .collect(),
            next_worker: AtomicUsize::new(0),
            finished: AtomicBool::new(false),
            blocking: std::sync::OnceLock::new(),
            started: Instant::now(),
            config,
        }))
    }

    /// A reactor for code that has entered the runtime from outside.
    pub fn any_reactor(&self) -> Arc<Reactor> {
        self.remotes[self.deal()].reactor.clone()
    }

    fn deal(&self) -> usize {
        self.next_worker.fetch_add(1, Ordering::Relaxed) % self.remotes.len()
    }

    /// Takes no more tasks and cancels those that exist.
    pub fn close(&self) {
        // All are closed before the first task is cancelled: what its destructors spawn must not
        // find an open one.
        for remote in &self.remotes {
            remote.registry.close();
        }
        for remote in &self.remotes {
            remote.registry.cancel_all();
        }
        self.look_whether_finished();
    }

    /// Whether it takes no more tasks.
    pub fn is_closed(&self) -> bool {
        self.remotes[0].registry.is_closed()
    }

    pub fn is_finished(&self) -> bool {
        self.finished.load(Ordering::Acquire)
    }

    /// Unfinished tasks, and calls on the blocking pool, with what each is doing.
    pub fn reports(&self) -> Vec<TaskReport> {
        self.reports_and(|_, _, _| ())
    }

    /// The same, showing each unfinished task to `each` as well, with the number of the registry in which
    /// it stands. That registry is locked meanwhile.
    fn reports_and(
        &self,
        mut each: impl FnMut(usize, &TaskReport, &dyn Fn() -> Task),
    ) -> Vec<TaskReport> {
        let mut reports = Vec::new();
        for (shard, remote) in self.remotes.iter().enumerate() {
            remote.registry.report(|report, task| {
                each(shard, &report, task);
                reports.push(report);
            });
        }
        if let Some(blocking) = self.blocking.get() {
            blocking.report(&mut reports);
        }
        reports.sort_by_key(TaskReport::id);
        reports
    }

    /// Whether a thread looks after the workers. One that is alone has nobody to help it, but may be
    /// watched.
    pub fn has_monitor(&self) -> bool {
        self.config.workers > 1 || self.config.watchdog.is_some() || self.watches_polls()
    }

    /// Whether somebody wants to know of slow polls; in simulated time there are none.
    fn watches_polls(&self) -> bool {
        let slow_poll = self.config.flight.as_ref().and_then(FlightRecorder::slow_poll);
        slow_poll.is_some() && self.config.seed.is_none()
    }

    /// Waits, until `deadline`, for what the flight recorder has still to deliver.
    pub fn land(&self, deadline: Option<Instant>) {
        if let Some(flight) = &self.config.flight
            && !flight.flush(deadline)
        {
            let runtime = &*self.config.name;
            tracing::warn!(
                target: "bifilar::recording", runtime,
                "the runtime has ended before its flight recorder has delivered what it was to"
            );
        }
    }

    /// What others may know of each worker.
    pub fn remotes(&self) -> &[Remote] {
        &self.remotes
    }

    /// How many tasks are in the queue that all workers share.
    pub fn injected(&self) -> usize {
        self.injector.len()
    }

    /// How many tasks there were, and what became of them; without calls on the blocking pool.
    pub fn tally(&self) -> Tally {
        let mut sum = Tally::default();
        self.remotes.iter().for_each(|remote| sum.add(&remote.registry.tally()));
        sum
    }

    /// Notes when something was queued, if that is measured. For who is about to queue it, so that it is
    /// alive.
    #[cold]
    fn stamp(&self, link: NonNull<Link>) {
        // SAFETY: as said.
        let link = unsafe { link.as_ref() };
        link.queued.store(counters::stamp(self.started), Ordering::Relaxed);
    }

    fn look_whether_finished(&self) {
        if self.remotes.iter().all(|remote| remote.registry.is_closed_and_empty()) {
            self.finished.store(true, Ordering::Release);
            for remote in &self.remotes {
                remote.unpark();
            }
            self.monitor.unpark();
        }
    }

    /// The reactors will not be turned any more.
    pub fn close_reactors(&self) {
        for remote in &self.remotes {
            remote.reactor.close();
        }
    }

    fn notify_one(&self) {
        if let Some(worker) = self.idle.notify_one() {
            self.remotes[worker].unpark();
        }
    }
}

impl Remote {
    /// How many tasks others may steal, roughly.
    pub fn queued(&self) -> usize {
        self.queue.len() + usize::from(!self.next.load(Ordering::Relaxed).is_null())
    }

    /// Whether it sleeps.
    pub fn is_parked(&self) -> bool {
        self.parking.is_parked()
    }

    /// What its runtime records with, which must be alive.
    fn record(&self) -> Option<&Arc<record::Source>> {
        // SAFETY: the `Shared` in which this stands.
        unsafe { &*self.shared }.record.as_ref()
    }

    /// Makes the worker look around, wherever it is.
    fn unpark(&self) {
        if self.parking.unpark() {
            self.reactor.ring();
        }
    }

    /// Queues what only this worker may run.
    ///
    /// # Safety
    /// The caller alone has the right to queue `link`, and the worker's runtime is alive until it
    /// has run.
    unsafe fn resume(this: *const Remote, link: NonNull<Link>) {
        // SAFETY: alive, as promised.
        let (shared, index) = unsafe { ((*this).shared, (*this).index) };
        let other = Worker::with_current(|worker| match worker {
            Some(worker) if ptr::eq(Arc::as_ptr(&worker.shared), shared) => {
                if worker.index == index {
                    worker.push_local(link);
                    return None;
                }
                Some(None)
            }
            // Not one of its workers: what is queued may end the runtime, so hold on to it first.
            // SAFETY: alive, as promised.
            _ => Some(Some(unsafe { hold(shared) })),
        });
        if let Some(_hold) = other {
            // SAFETY: this thread is a worker of the runtime or holds a reference.
            let shared = unsafe { &*shared };
            if shared.config.measure {
                shared.stamp(link);
            }
            // SAFETY: this thread is a worker of the runtime or holds a reference; the link is
            // the caller's to queue.
            unsafe {
                if (*this).inbox.push(link) {
                    (*this).unpark();
                }
            }
        }
    }
}

/// # Safety
/// The runtime is alive.
unsafe fn hold(shared: *const Shared) -> Arc<Shared> {
    // SAFETY: as promised; the pointer came from an `Arc`.
    unsafe {
        Arc::increment_strong_count(shared);
        Arc::from_raw(shared)
    }
}

/// Where a `Fifo` of a worker holds tasks and stacks alike, `Link::kind` tells them apart.
fn split(link: NonNull<Link>) -> Run {
    // SAFETY: whoever popped the link owns it, so it is alive.
    match unsafe { link.as_ref() }.kind {
        cell::Kind::Task => Run::Task(link.cast()),
        // SAFETY: just looked.
        cell::Kind::Stack => Run::Stack(unsafe { stack::StackHeader::from_link(link) }),
    }
}

/// What a worker runs next.
enum Run {
    Task(TaskRef),
    Stack(&'static stack::StackHeader),
    /// Others have asked something: see [`dump`].
    Answer,
}
