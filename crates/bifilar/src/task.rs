//! Tasks: what a runtime runs.
//!
//! A task's body is a future ([`spawn`]) or a closure ([`fiber::spawn`](crate::fiber::spawn)); both
//! may `.await` or `.wait()` as the place demands.

use crate::{
    cell::{JoinError, TaskKind},
    scheduler::{self, Birth},
    wait::Wait,
};
use std::{future::Future, pin::Pin};

#[doc(no_inline)]
pub use crate::cell::{Id as TaskId, JoinHandle, Task};
pub use crate::context::{BoundFuture, Local};
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
    Task::current()
}

/// Whether the task that calls this has been asked to end early.
///
/// For long computations, which never wait and so are never interrupted. Shields don't hide it.
/// Outside of a task it is false.
///
/// ```
/// bifilar::run(|| assert!(!bifilar::task::is_cancelled()));
/// ```
pub fn is_cancelled() -> bool {
    Task::current().is_some_and(|task| task.is_cancelled())
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
    /// Waits for the task and gives its result: [`wait`](Wait::wait) under its usual name.
    ///
    /// # Errors
    /// A [`JoinError`](crate::JoinError) if the task panicked, with the payload, or was cancelled.
    pub fn join(self) -> Result<T, JoinError> {
        self.wait()
    }
}
