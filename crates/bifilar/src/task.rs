//! Tasks: what a runtime runs.
//!
//! A task's body is a future ([`spawn`]) or a closure ([`fiber::spawn`](crate::fiber::spawn)); both
//! may `.await` or `.wait()` as the place demands.

use crate::{
    cell::{Header, Id, JoinError, TaskKind, TaskRef},
    context,
    scheduler::{self, Birth},
    wait::Wait,
};
use std::{fmt, future::Future, panic::Location, pin::Pin};

#[doc(no_inline)]
pub use crate::cell::{Id as TaskId, JoinHandle};
pub use crate::{blocking::unblock as spawn_blocking, runtime::block_on, time::sleep};
#[doc(no_inline)]
pub use std::task::{Context, Poll};

/// Spawns a future as a task.
///
/// It may run on any worker, and move between workers whenever it stands at an `.await`. The
/// [`JoinHandle`] gives its result; dropping that detaches the task. A panic ends only the task, and
/// is told to who joins.
///
/// # Panics
/// Outside of a runtime: use [`Handle::spawn`](crate::Handle::spawn) there.
///
/// ```
/// bifilar::block_on(async {
///     let task = bifilar::task::spawn(async { 1 + 1 });
///     assert_eq!(task.await.unwrap(), 2);
/// });
/// ```
#[track_caller]
pub fn spawn<F>(future: F) -> JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    let birth = Birth::new(TaskKind::Async);
    scheduler::expect_current().spawn(future, birth)
}

/// Spawns a future that stays on this worker, and so needn't be `Send`.
///
/// # Panics
/// On a thread that is no worker.
///
/// ```
/// use std::rc::Rc;
/// bifilar::block_on(async {
///     let one = Rc::new(1);
///     assert_eq!(*bifilar::task::spawn_local(async move { one }).await.unwrap(), 1);
/// });
/// ```
#[track_caller]
pub fn spawn_local<F: Future + 'static>(future: F) -> JoinHandle<F::Output> {
    scheduler::spawn_local(future, Birth::new(TaskKind::Async))
}

/// Lets other tasks run.
///
/// ```
/// bifilar::block_on(async { bifilar::task::yield_now().await });
/// ```
pub fn yield_now() -> YieldNow {
    YieldNow { yielded: false }
}

/// The future of [`yield_now`].
#[derive(Debug)]
#[must_use = "futures do nothing unless you .await or .wait() for them"]
pub struct YieldNow {
    yielded: bool,
}

impl Future for YieldNow {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.yielded {
            return Poll::Ready(());
        }
        self.yielded = true;
        // A task that is woken while it is polled goes to the end of the queue.
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

/// The task that calls this.
///
/// # Panics
/// Outside of a task.
///
/// ```
/// bifilar::run(|| println!("{:?}", bifilar::task::current()));
/// ```
#[track_caller]
pub fn current() -> Task {
    try_current().expect("task::current() was called outside of a bifilar task")
}

/// The task that calls this, if it is one.
///
/// ```
/// assert!(bifilar::task::try_current().is_none());
/// ```
pub fn try_current() -> Option<Task> {
    let task = context::with(|context| context.task.get())?;
    // SAFETY: the task being polled is alive.
    unsafe { task.as_ref() }.state.ref_inc();
    Some(Task { task })
}

/// What is known of a task. It keeps neither the task running nor its result.
#[derive(PartialEq, Eq)]
pub struct Task {
    task: TaskRef,
}

// SAFETY: it gives access to what never changes in a task's header, whose memory it keeps alive.
unsafe impl Send for Task {}
// SAFETY: as above.
unsafe impl Sync for Task {}

impl Task {
    fn header(&self) -> &Header {
        // SAFETY: a counted reference is held.
        unsafe { self.task.as_ref() }
    }

    /// Its number.
    pub fn id(&self) -> Id {
        self.header().meta.id
    }

    /// The name given by a `Builder`.
    pub fn name(&self) -> Option<&str> {
        self.header().meta.name()
    }

    /// How its body is written.
    pub fn kind(&self) -> TaskKind {
        self.header().meta.kind
    }

    /// Where it was spawned.
    pub fn location(&self) -> &'static Location<'static> {
        self.header().meta.location
    }

    /// How many bytes of its stack a fiber has used at the deepest point, once it has ended, if
    /// [`fiber::Builder::measure_stack`](crate::fiber::Builder::measure_stack) asked for it.
    ///
    /// That is what it took of its stack's size, the runtime's own frames at the base included, and
    /// of a panic the unwinding. `None` for a fiber that never ran.
    pub fn stack_depth(&self) -> Option<usize> {
        let header = self.header();
        if header.state.is_complete() { header.meta.stack_depth() } else { None }
    }
}

impl Clone for Task {
    fn clone(&self) -> Self {
        self.header().state.ref_inc();
        Task { task: self.task }
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        // SAFETY: its own reference, used no more.
        unsafe { Header::release(self.task) }
    }
}

impl fmt::Debug for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Task")
            .field("id", &self.id().get())
            .field("name", &self.name())
            .field("kind", &self.kind())
            .field("location", &format_args!("{}", self.location()))
            .finish()
    }
}

/// Spawns tasks with a name.
///
/// ```
/// use bifilar::task;
///
/// bifilar::block_on(async {
///     let named = task::Builder::new().name("writer").spawn(async {
///         task::current().name() == Some("writer")
///     });
///     assert!(named?.await?);
///     Ok::<(), std::io::Error>(())
/// }).unwrap();
/// ```
#[derive(Clone, Debug, Default)]
#[must_use = "a Builder does nothing until you call spawn"]
pub struct Builder {
    name: Option<String>,
}

impl Builder {
    /// A task without a name.
    pub fn new() -> Self {
        Self::default()
    }

    /// Names the task, for messages and dumps.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Spawns the task: see [`spawn`].
    ///
    /// # Errors
    /// `Unsupported` outside of a runtime.
    #[track_caller]
    pub fn spawn<F>(self, future: F) -> std::io::Result<JoinHandle<F::Output>>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let mut birth = Birth::new(TaskKind::Async);
        if let Some(name) = self.name {
            birth.extra().name = Some(name.into_boxed_str());
        }
        let shared = scheduler::Shared::current().ok_or_else(|| {
            std::io::Error::new(std::io::ErrorKind::Unsupported, scheduler::OUTSIDE)
        })?;
        Ok(shared.spawn(future, birth))
    }
}

impl<T> JoinHandle<T> {
    /// The task itself, to be asked about later.
    ///
    /// ```
    /// bifilar::run(|| {
    ///     let handle = bifilar::fiber::spawn(|| bifilar::task::current());
    ///     let task = handle.task();
    ///     assert_eq!(handle.join().unwrap(), task);
    /// });
    /// ```
    pub fn task(&self) -> Task {
        let task = self.task_ref();
        // SAFETY: the handle owns a reference, so the task is alive.
        unsafe { task.as_ref() }.state.ref_inc();
        Task { task }
    }

    /// Waits for the task and gives its result: [`wait`](Wait::wait) under its usual name.
    ///
    /// # Errors
    /// A [`JoinError`](crate::JoinError) if the task panicked, with the payload, or was cancelled.
    pub fn join(self) -> Result<T, JoinError> {
        self.wait()
    }
}
