//! Runtimes: how they start, who drives them, and how they end.
//!
//! | made by | workers | driven by |
//! |---|---|---|
//! | [`run`], [`block_on`], `Builder::{run, block_on}` | N, the calling thread being the first | the call, which ends the runtime |
//! | [`Runtime`] | N threads of its own | itself, until it is dropped |
//! | [`LocalRuntime`] | the calling thread | each `block_on` |
//!
//! A runtime ends by taking no more tasks and cancelling those it has: tasks that stand at an
//! `.await` are dropped there, suspended stacks unwind, and both run their destructors, which may
//! wait. What has not ended after the limit ([`Builder::shutdown_limit`], or the one given to
//! [`Runtime::shutdown`]) is named, left as it is and never freed. [`dump()`] lists tasks while they
//! live.
//!
//! What it deliberately does not do: run tasks, which is the scheduler's.

mod builder;
mod dump;
mod handle;
mod shutdown;
mod sigquit;
mod threads;

pub use builder::Builder;
pub use dump::{Dump, Frame, LeafDump, TaskDump, dump};
pub use handle::{EnterGuard, Handle};
pub use shutdown::ShutdownReport;

use crate::{
    blocking,
    cell::{JoinHandle, TaskKind},
    fiber::Body,
    scheduler::{self, Birth, Driver, FirstStacks, Shared},
    wait::Wait,
};
use std::{
    fmt,
    future::{Future, IntoFuture},
    io,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};
use threads::Threads;

/// How long the end of a runtime waits for its tasks' destructors, when nobody says.
const SHUTDOWN_LIMIT: Duration =
    if cfg!(panic = "unwind") { Duration::from_secs(10) } else { UNWINDING_LIMIT };

/// The same where stacks can't be unwound, so that there is less to wait for: under
/// `panic = "abort"`, and for a [`LocalRuntime`] that is dropped by a panic.
const UNWINDING_LIMIT: Duration = Duration::from_millis(100);

/// Runs a closure as the main fiber of a runtime with one worker per core.
///
/// The calling thread is the first worker, and the closure stays on it: it needn't be `Send` and may
/// borrow. When it returns, the runtime ends: other tasks are cancelled. On a worker (inside another
/// `run`) the closure is simply called.
///
/// # Panics
/// With what the closure panics with; when the system has no memory, threads or descriptors for a
/// runtime. [`Builder::build`] returns them as errors.
///
/// ```
/// use bifilar::fiber;
///
/// let words = ["any", "task", "may", "block"];
/// let letters: usize = bifilar::run(|| {
///     let fibers: Vec<_> = words.map(|word| fiber::spawn(move || word.len())).into();
///     fibers.into_iter().map(|fiber| fiber.join().unwrap()).sum()
/// });
/// assert_eq!(letters, 15);
/// ```
#[track_caller]
pub fn run<T>(f: impl FnOnce() -> T) -> T {
    Builder::new().run(f)
}

/// Runs a future as the main task of a runtime with one worker per core.
///
/// The calling thread is the first worker, and the future stays on it: it needn't be `Send` and may
/// borrow. When it is ready, the runtime ends: other tasks are cancelled. On a worker, at any depth
/// of any task, it is the same as [`wait`](Wait::wait): the worker goes on.
///
/// # Panics
/// With what the future panics with; when the system has no memory, threads or descriptors for a
/// runtime.
///
/// ```
/// let answer = bifilar::block_on(async {
///     bifilar::task::spawn(async { 6 * 7 }).await.unwrap()
/// });
/// assert_eq!(answer, 42);
/// ```
#[track_caller]
pub fn block_on<F: IntoFuture>(future: F) -> F::Output {
    Builder::new().block_on(future)
}

/// A runtime with worker threads of its own.
///
/// It runs what is spawned on it whether or not somebody waits for it, until it is dropped. Most
/// programs need only [`run`] or [`block_on`], or the attribute `#[bifilar::main]`.
///
/// Dropping it ends it: tasks are cancelled, and the drop waits for their destructors (ten seconds
/// at most; what has not ended then is never freed). Dropped by one of its own tasks, it ends
/// without waiting.
///
/// ```
/// use bifilar::{Runtime, Wait};
///
/// let runtime = Runtime::new()?;
/// let task = runtime.spawn(async { 42 });
/// assert_eq!(task.wait().unwrap(), 42);   // parks this thread
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct Runtime {
    handle: Handle,
    threads: Threads,
}

impl Runtime {
    /// A runtime with one worker per core.
    ///
    /// # Errors
    /// What the system says when it has no memory, threads or descriptors for it.
    pub fn new() -> io::Result<Self> {
        Builder::new().build()
    }

    fn start(shared: Arc<Shared>) -> io::Result<Self> {
        let threads = Threads::start(&shared, 0)?;
        Ok(Runtime { handle: Handle::new(shared), threads })
    }

    /// What to spawn with from elsewhere.
    pub fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Runs a future on the calling thread, which belongs to the runtime meanwhile: tasks that it
    /// spawns, sockets and timers are the runtime's.
    ///
    /// The thread is parked while the future waits; on a worker the stack is suspended instead.
    ///
    /// # Panics
    /// With what the future panics with.
    ///
    /// ```
    /// # let runtime = bifilar::Runtime::new()?;
    /// let sum = runtime.block_on(async {
    ///     bifilar::task::spawn(async { 1 }).await.unwrap() + 1
    /// });
    /// assert_eq!(sum, 2);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn block_on<F: IntoFuture>(&self, future: F) -> F::Output {
        self.handle.block_on(future)
    }

    /// Spawns a future, as [`task::spawn`](crate::task::spawn) does within the runtime.
    #[track_caller]
    pub fn spawn<F>(&self, future: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.handle.spawn(future)
    }

    /// Spawns a fiber, as [`fiber::spawn`](crate::fiber::spawn) does within the runtime.
    #[track_caller]
    pub fn spawn_fiber<T: Send + 'static>(
        &self,
        f: impl FnOnce() -> T + Send + 'static,
    ) -> JoinHandle<T> {
        self.handle.spawn_fiber(f)
    }
}

impl Runtime {
    /// Ends the runtime, and says what did not end with it.
    ///
    /// It takes no more tasks and cancels those it has: what stands at an `.await` is dropped there,
    /// suspended stacks unwind, and both run their destructors, which may wait; and calls of
    /// [`unblock`](crate::unblock) that have started go on. It waits for all of them for `limit` at most.
    /// Tasks that are still alive then are named in the report. They go on if they can, and nothing of
    /// theirs is ever freed.
    ///
    /// Called by one of its own tasks, it doesn't wait. To let tasks end by themselves first, tell
    /// them (by a [`CancelToken`](crate::sync::CancelToken), say) and join them.
    ///
    /// ```
    /// use bifilar::{Runtime, Wait, time::sleep};
    /// use std::time::Duration;
    ///
    /// let runtime = Runtime::new()?;
    /// runtime.spawn(sleep(Duration::from_secs(3600)));
    /// let report = runtime.shutdown(Duration::from_secs(5));
    /// assert!(report.is_clean(), "{report}");
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn shutdown(mut self, limit: Duration) -> ShutdownReport {
        let deadline = Instant::now().checked_add(limit);
        self.end(limit);
        let shared = self.handle.shared();
        if !scheduler::stands_on(shared) {
            blocking::join(shared, deadline);
        }
        ShutdownReport::of(shared)
    }

    fn end(&mut self, limit: Duration) {
        let deadline = Instant::now().checked_add(limit);
        let shared = self.handle.shared();
        shared.close();
        blocking::close(shared);
        // One of its own tasks can't wait for itself; the last worker closes the reactors.
        if !scheduler::stands_on(shared) {
            self.threads.join(limit);
            shared.land(deadline);
        }
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        // After `shutdown` there is nothing to end.
        if self.handle.shared().is_closed() {
            return;
        }
        self.end(self.handle.shared().config.shutdown_limit);
        let shared = self.handle.shared();
        if !scheduler::stands_on(shared) {
            ShutdownReport::of(shared).log(&shared.config.name);
        }
    }
}

impl fmt::Debug for Runtime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Runtime")
            .field("workers", &self.handle.shared().config.workers)
            .finish_non_exhaustive()
    }
}

/// A runtime whose only worker is the thread that made it.
///
/// Nothing runs but within [`block_on`](LocalRuntime::block_on); between two calls its tasks stand
/// still. Tasks needn't be `Send`. Dropping it ends it, as for [`Runtime`].
///
/// ```
/// use bifilar::{Builder, task};
/// use std::rc::Rc;
///
/// let runtime = Builder::new().build_local()?;
/// let shared = Rc::new(5);
/// let task = runtime.spawn_local({ let shared = shared.clone(); async move { *shared } });
/// assert_eq!(runtime.block_on(task).unwrap(), 5);
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// It stays on its thread:
/// ```compile_fail
/// fn send<T: Send>(_: T) {}
/// send(bifilar::Builder::new().build_local().unwrap());
/// ```
pub struct LocalRuntime {
    driver: Driver,
    /// The monitor's alone, if there is one.
    threads: Threads,
}

impl LocalRuntime {
    /// Runs the worker until `future` is ready. The future may borrow.
    ///
    /// On a worker of another runtime this blocks that worker: use [`wait`](Wait::wait) there.
    ///
    /// # Panics
    /// With what the future panics with.
    #[track_caller]
    pub fn block_on<F: IntoFuture>(&self, future: F) -> F::Output {
        self.driver.block_on(future.into_future(), Birth::new(TaskKind::Async))
    }

    /// Runs the worker until the closure, as a fiber, returns. It may borrow.
    ///
    /// # Panics
    /// With what the closure panics with.
    #[track_caller]
    pub fn run<T>(&self, f: impl FnOnce() -> T) -> T {
        self.driver.block_on(Body::new(f), Birth::new(TaskKind::Fiber))
    }

    /// Spawns a future that needn't be `Send`. It runs within `block_on`.
    #[track_caller]
    pub fn spawn_local<F: Future + 'static>(&self, future: F) -> JoinHandle<F::Output> {
        let (shared, index) = (self.driver.shared(), self.driver.index());
        // SAFETY: `'static`, and this runtime can't leave the thread of its only worker, on which
        // we are.
        unsafe { shared.spawn_unchecked(future, Birth::new(TaskKind::Async), Some(index), index) }
    }

    /// What to spawn with from elsewhere.
    ///
    /// On this thread, outside of [`block_on`](Self::block_on), nobody runs what is spawned: waiting for it
    /// there waits for ever.
    pub fn handle(&self) -> Handle {
        Handle::new(self.driver.shared().clone())
    }
}

impl LocalRuntime {
    /// Ends the runtime, and says what did not end with it: see [`Runtime::shutdown`].
    pub fn shutdown(self, limit: Duration) -> ShutdownReport {
        let deadline = Instant::now().checked_add(limit);
        end(&self.driver, limit);
        blocking::join(self.driver.shared(), deadline);
        ShutdownReport::of(self.driver.shared())
    }
}

impl Drop for LocalRuntime {
    fn drop(&mut self) {
        let config = &self.driver.shared().config;
        // The second time, after `shutdown`, there is nothing to end.
        if !self.driver.shared().is_closed() {
            end(&self.driver, config.shutdown_limit);
            ShutdownReport::of(self.driver.shared()).log(&config.name);
        }
        if self.driver.shared().is_finished() {
            self.threads.join(Duration::MAX);
        }
    }
}

impl fmt::Debug for LocalRuntime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalRuntime").finish_non_exhaustive()
    }
}

/// Drives a runtime with the calling thread as its first worker, until `future` is ready; then
/// ends it.
fn drive_to_end<F: Future>(
    shared: Arc<Shared>,
    future: F,
    mut birth: Birth,
) -> io::Result<F::Output> {
    birth.extra().name = Some("main".into());
    let first = first_stacks(&shared)?;
    let mut threads = Threads::start(&shared, 1)?;
    let driver = Driver::new(shared.clone(), 0, first);
    // The end comes before the panic goes on: no stack can be unwound on a thread that is unwinding.
    let result = catch_unwind(AssertUnwindSafe(|| driver.block_on(future, birth)));
    end(&driver, shared.config.shutdown_limit);
    ShutdownReport::of(&shared).log(&shared.config.name);
    if shared.is_finished() {
        threads.join(Duration::MAX);
    }
    Ok(result.unwrap_or_else(|payload| resume_unwind(payload)))
}

fn first_stacks(shared: &Shared) -> io::Result<FirstStacks> {
    FirstStacks::take(shared).map_err(|error| {
        let size = shared.config.stack_class;
        io::Error::new(error.kind(), format!("no stack of {size} bytes for a worker: {error}"))
    })
}

/// Ends a runtime whose first worker this thread is.
fn end(driver: &Driver, limit: Duration) {
    let deadline = Instant::now().checked_add(limit);
    let shared = driver.shared();
    shared.close();
    if !shared.is_finished() {
        // While this thread unwinds, its suspended stacks can't; only what stands at an `.await`.
        let limit = if thread::panicking() { limit.min(UNWINDING_LIMIT) } else { limit };
        driver.run_until_finished(Instant::now().checked_add(limit));
    }
    blocking::close(shared);
    if shared.is_finished() {
        shared.close_reactors();
    }
    shared.land(deadline);
}

/// Waits for a future of a runtime on any thread.
fn wait_within<F: IntoFuture>(shared: &Arc<Shared>, future: F) -> F::Output {
    let _entered = scheduler::enter(shared.clone());
    future.wait()
}
