//! `unblock`: threads for calls that block for real.
//!
//! A call into the file system, a C library or a computation that doesn't wait in bifilar's sense
//! would hold up a worker and all its tasks. Here it holds up a thread of a pool instead. The pool
//! grows to [`MOST_THREADS`] and no further (more calls queue up), and a thread that had nothing to
//! do for [`IDLE_LIMIT`] goes away.

use crate::{
    cell::{
        self, Fifo, Header, Id, JoinHandle, Link, Meta, Registry, Schedule, TaskKind, TaskRef,
        TaskReport,
    },
    context, record,
    scheduler::{self, Birth, BlockingPool, PoolFigures, Shared},
};
use bifilar_timeline::{Event, Outcome};
use std::{
    future::Future,
    io,
    pin::Pin,
    sync::{Arc, Condvar, Mutex, MutexGuard, Weak},
    task::{Context, Poll},
    thread,
    time::{Duration, Instant},
};

/// tokio's figure; async-std's and smol's is 500.
const MOST_THREADS: usize = 512;

/// tokio's figure is 10 s, smol's 0.5 s. Starting a thread takes 20 µs or so.
const IDLE_LIMIT: Duration = Duration::from_secs(10);

/// Runs a closure that blocks for real on a thread of its own, and gives its result.
///
/// For file I/O, name look-ups, C libraries and long computations. `.wait()` inside parks that
/// thread. The closure belongs to the runtime of its caller: it may spawn tasks.
///
/// At most 512 such closures run at a time for each runtime; others queue up.
///
/// # Cancellation
/// Cancelling takes effect only before the closure starts; the end of the runtime cancels those that
/// have not started and doesn't wait for the others, but [`Runtime::shutdown`](crate::Runtime::shutdown)
/// does. Who is interrupted while waiting for a closure that runs leaves it to itself; it goes on, and
/// its result is dropped with the handle.
///
/// # Panics
/// Outside of a runtime; when the system can't start a single thread.
///
/// ```
/// use bifilar::{Wait, unblock};
///
/// bifilar::run(|| {
///     let text = unblock(|| std::fs::read_to_string("/proc/self/comm")).wait().unwrap();
///     assert!(text.is_ok());
/// });
/// ```
#[track_caller]
pub fn unblock<T, F>(f: F) -> JoinHandle<T>
where
    T: Send + 'static,
    F: FnOnce() -> T + Send + 'static,
{
    let shared = scheduler::expect_current();
    let pool = pool_of(&shared);
    let birth = Birth::new(TaskKind::Blocking);
    let meta = Meta {
        id: Id::next(),
        kind: birth.kind,
        main: birth.main,
        pinned: None,
        shard: 0,
        location: birth.location,
        extra: birth.extra,
    };
    let (task, handle) = cell::new::<_, Pooled>(Call(Some(f)), Arc::as_ptr(pool).cast(), meta);
    // SAFETY: new, so alive and in no registry. The pool's is never closed.
    let _inserted = unsafe { pool.calls.insert(task) };
    // SAFETY: alive, since nobody runs it yet.
    unsafe { task.as_ref() }.record_spawn(shared.record.as_ref());
    if let Err(error) = pool.push(task) {
        cancel(task);
        panic!("cannot start a thread for a blocking call: {error}");
    }
    handle
}

/// The closure as a future: its only poll runs it to its end.
struct Call<F>(Option<F>);

impl<F> Unpin for Call<F> {}

impl<T, F: FnOnce() -> T> Future for Call<F> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<T> {
        Poll::Ready(self.0.take().expect("polled after completion")())
    }
}

struct Pool {
    /// The runtime that the closures belong to, if it still exists.
    shared: Weak<Shared>,
    name: String,
    state: Mutex<State>,
    /// Those that have not ended.
    calls: Registry,
    work: Condvar,
    /// A call has ended, and the pool is closed.
    ended: Condvar,
}

struct State {
    queue: Fifo,
    threads: usize,
    idle: usize,
    /// Calls for which an idle thread has been notified that isn't up yet.
    promised: usize,
    closed: bool,
}

/// The runtime's end of its pool: closes it when the runtime goes.
struct Owner(Arc<Pool>);

fn pool_of(shared: &Arc<Shared>) -> &Arc<Pool> {
    let owner = shared.blocking.get_or_init(|| {
        let state = State { queue: Fifo::new(), threads: 0, idle: 0, promised: 0, closed: false };
        Box::new(Owner(Arc::new(Pool {
            shared: Arc::downgrade(shared),
            name: format!("{}-unblock", shared.config.name),
            state: Mutex::new(state),
            calls: Registry::new(),
            work: Condvar::new(),
            ended: Condvar::new(),
        })))
    });
    &self::owner(owner).expect("set above only").0
}

#[expect(clippy::borrowed_box, reason = "the signature of `Option::and_then` over what is kept")]
fn owner(pool: &Box<dyn BlockingPool>) -> Option<&Owner> {
    let pool: &dyn std::any::Any = &**pool;
    pool.downcast_ref()
}

/// The runtime ends: cancels the calls that have not started. Those that run are not waited for.
pub(crate) fn close(shared: &Shared) {
    if let Some(owner) = shared.blocking.get().and_then(owner) {
        owner.close();
    }
}

/// Waits for the calls that still run, until `deadline` (`None`: as long as it takes).
pub(crate) fn join(shared: &Shared, deadline: Option<Instant>) {
    let Some(Owner(pool)) = shared.blocking.get().and_then(owner) else { return };
    let mut state = pool.lock();
    while !pool.calls.is_empty() {
        let left = match deadline {
            Some(deadline) => deadline.saturating_duration_since(Instant::now()),
            None => Duration::MAX,
        };
        if left.is_zero() {
            return;
        }
        state = pool.ended.wait_timeout(state, left).unwrap().0;
    }
}

impl Pool {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    fn push(self: &Arc<Self>, task: TaskRef) -> io::Result<()> {
        let mut state = self.lock();
        if state.closed {
            drop(state);
            cancel(task);
            return Ok(());
        }
        if state.idle > state.promised {
            state.promised += 1;
            self.work.notify_one();
        } else if state.threads < MOST_THREADS {
            let pool = self.clone();
            match thread::Builder::new().name(self.name.clone()).spawn(move || pool.work()) {
                Ok(_) => state.threads += 1,
                // The others will come to it.
                Err(_) if state.threads > 0 => {}
                Err(error) => return Err(error),
            }
        }
        // SAFETY: new, so alive and in no queue.
        unsafe { state.queue.push(task.cast::<Link>()) };
        Ok(())
    }

    /// The life of a thread.
    fn work(&self) {
        let mut state = self.lock();
        loop {
            if let Some(link) = state.queue.pop() {
                drop(state);
                self.run(link.cast());
                state = self.lock();
                if state.closed {
                    self.ended.notify_all();
                }
                continue;
            }
            if state.closed {
                break;
            }
            state.idle += 1;
            let (back, waited) = self.work.wait_timeout(state, IDLE_LIMIT).unwrap();
            state = back;
            state.idle -= 1;
            state.promised = state.promised.saturating_sub(1);
            if waited.timed_out() && state.queue.is_empty() {
                break;
            }
        }
        state.threads -= 1;
    }

    fn run(&self, task: TaskRef) {
        let _entered = self.shared.upgrade().map(scheduler::enter);
        context::with(|context| context.task.set(Some(task)));
        record::event(|log| {
            // SAFETY: as above.
            let meta = &unsafe { task.as_ref() }.meta;
            Event::BlockingBegin { task: meta.id.get(), name: meta.recorded_name(log) }
        });
        // SAFETY: it came from the queue, which gives the right to its one poll; the closure is
        // `Send`.
        unsafe { Header::poll(task) };
        context::with(|context| context.task.set(None));
    }
}

impl BlockingPool for Owner {
    fn report(&self, reports: &mut Vec<TaskReport>) {
        self.0.calls.report(|report, _| reports.push(report));
    }

    fn threads(&self) -> usize {
        self.0.lock().threads
    }

    fn figures(&self) -> PoolFigures {
        let tally = self.0.calls.tally();
        let State { threads, idle, queue, .. } = &*self.0.lock();
        PoolFigures { threads: *threads, idle: *idle, queued: queue.len(), tally }
    }
}

impl Owner {
    fn close(&self) {
        let mut state = self.0.lock();
        state.closed = true;
        let mut abandoned = std::mem::replace(&mut state.queue, Fifo::new());
        drop(state);
        self.0.work.notify_all();
        while let Some(link) = abandoned.pop() {
            cancel(link.cast());
        }
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.close();
    }
}

/// Ends a call that was not run: the right to its one poll is the caller's.
fn cancel(task: TaskRef) {
    // SAFETY: as said; cancelled, the closure is only dropped.
    unsafe {
        Header::cancel(task);
        Header::poll(task);
    }
}

/// The pool as task cells know it: they are queued once, by `push`, and finish in their only poll.
struct Pooled;

// SAFETY: a call is pending for nothing, so it is never woken or rescheduled.
unsafe impl Schedule for Pooled {
    fn schedule(_: TaskRef) {}

    fn reschedule(_: TaskRef) {}

    fn finished(task: TaskRef, outcome: Outcome) {
        // SAFETY: alive until this returns; its pool is, since whoever polls it holds the pool; it was
        // inserted when it was made.
        unsafe {
            let pool = task.as_ref().scheduler.cast::<Pool>();
            (*pool).calls.remove(task, outcome);
        }
    }

    fn interrupt(_: *mut ()) {}
}
