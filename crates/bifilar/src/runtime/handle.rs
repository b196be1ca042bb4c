//! Reaching a runtime from elsewhere.

use super::wait_within;
use crate::{
    cell::{JoinHandle, TaskKind, TaskReport},
    fiber::Body,
    metrics::Metrics,
    scheduler::{self, Birth, Shared},
};
use std::{
    fmt,
    future::{Future, IntoFuture},
    marker::PhantomData,
    sync::Arc,
};

/// Spawns tasks on a runtime from any thread.
///
/// A handle doesn't keep its runtime running: once that has ended, what is spawned is cancelled at
/// once.
///
/// ```
/// use bifilar::{Handle, Wait};
///
/// bifilar::run(|| {
///     let handle = Handle::current();
///     let thread = std::thread::spawn(move || handle.spawn(async { 1 }).wait().unwrap());
///     assert_eq!(bifilar::unblock(|| thread.join().unwrap()).wait().unwrap(), 1);
/// });
/// ```
#[derive(Clone)]
pub struct Handle {
    shared: Arc<Shared>,
}

impl Handle {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Handle { shared }
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// The runtime of the code that calls this: of its task, its blocking-pool thread, or the one
    /// that the thread has [entered](Handle::enter).
    ///
    /// # Panics
    /// Outside of a runtime.
    #[track_caller]
    pub fn current() -> Self {
        Handle::new(scheduler::expect_current())
    }

    /// The runtime of the code that calls this, if there is one.
    ///
    /// ```
    /// assert!(bifilar::Handle::try_current().is_none());
    /// bifilar::run(|| assert!(bifilar::Handle::try_current().is_some()));
    /// ```
    pub fn try_current() -> Option<Self> {
        Shared::current().map(Handle::new)
    }

    /// Spawns a future on this runtime, as [`task::spawn`](crate::task::spawn) does within it.
    #[track_caller]
    pub fn spawn<F>(&self, future: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.shared.spawn(future, Birth::new(TaskKind::Async))
    }

    /// Spawns a fiber on this runtime, as [`fiber::spawn`](crate::fiber::spawn) does within it.
    #[track_caller]
    pub fn spawn_fiber<T: Send + 'static>(
        &self,
        f: impl FnOnce() -> T + Send + 'static,
    ) -> JoinHandle<T> {
        self.shared.spawn(Body::new(f), Birth::new(TaskKind::Fiber))
    }

    /// Runs a future on the calling thread, as part of this runtime: see
    /// [`Runtime::block_on`](crate::Runtime::block_on).
    pub fn block_on<F: IntoFuture>(&self, future: F) -> F::Output {
        wait_within(&self.shared, future)
    }

    /// What the runtime has done so far, and what it has now. Cheap: it stops nobody, and takes the lock
    /// of each worker's list of tasks for a moment.
    ///
    /// ```
    /// use bifilar::{Handle, fiber};
    ///
    /// bifilar::run(|| {
    ///     fiber::spawn(|| ()).join().unwrap();
    ///     let metrics = Handle::current().metrics();
    ///     assert_eq!((metrics.fibers.spawned, metrics.fibers.returned), (2, 1)); // and this one
    ///     println!("{metrics}"); // for Prometheus
    /// });
    /// ```
    pub fn metrics(&self) -> Metrics {
        Metrics::of(&self.shared)
    }

    /// The tasks of this runtime that have not ended, and what each is doing; calls of
    /// [`unblock`](crate::unblock) included, in the order in which they were spawned.
    ///
    /// Tasks go on meanwhile, so that the reports are no picture of one moment.
    ///
    /// ```
    /// use bifilar::{Handle, fiber, sync::channel, Wait};
    ///
    /// bifilar::run(|| {
    ///     let (_sender, receiver) = channel::unbounded::<()>();
    ///     fiber::Builder::new().name("listener").spawn(move || receiver.recv().wait())?;
    ///     fiber::yield_now();
    ///     let tasks = Handle::current().tasks();
    ///     assert_eq!(tasks[0].name(), Some("main"));
    ///     assert_eq!(tasks[1].name(), Some("listener"));
    ///     Ok::<(), std::io::Error>(())
    /// }).unwrap();
    /// ```
    pub fn tasks(&self) -> Vec<TaskReport> {
        self.shared.reports()
    }

    /// Makes this the runtime of the calling code until the guard is dropped: for `spawn`, sockets
    /// and timers on threads that are no workers.
    ///
    /// Guards are dropped in the reverse order of their making. A guard belongs to the task or
    /// thread that made it.
    ///
    /// ```
    /// use bifilar::{Runtime, Wait, task};
    ///
    /// let runtime = Runtime::new()?;
    /// let _entered = runtime.handle().enter();
    /// assert_eq!(task::spawn(async { 7 }).wait().unwrap(), 7);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn enter(&self) -> EnterGuard<'_> {
        EnterGuard { _entered: scheduler::enter(self.shared.clone()), handle: PhantomData }
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle").field("runtime", &self.shared.config.name).finish_non_exhaustive()
    }
}

/// Ends what [`Handle::enter`] began when it is dropped.
#[derive(Debug)]
#[must_use = "the runtime is left when the guard is dropped"]
pub struct EnterGuard<'a> {
    _entered: scheduler::Entered,
    handle: PhantomData<&'a Handle>,
}
