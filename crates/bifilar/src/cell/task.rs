//! What anybody may know of a task, and ask of it.

use super::{
    header::{Header, Id, TaskKind, TaskRef},
    join::JoinError,
};
use crate::context;
use std::{any::Any, fmt, panic::Location};

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
    /// The task being polled on this thread.
    pub(crate) fn current() -> Option<Self> {
        let task = context::with(|context| context.task.get())?;
        // SAFETY: the task being polled is alive.
        Some(unsafe { Self::from_ref(task) })
    }

    /// # Safety
    /// The task is alive.
    pub(super) unsafe fn from_ref(task: TaskRef) -> Self {
        // SAFETY: alive, as promised.
        unsafe { task.as_ref() }.state.ref_inc();
        Task { task }
    }

    /// The right to the next poll, which the caller must make use of where the task may be polled. `None`:
    /// it isn't between two polls.
    pub(crate) fn claim_if_idle(&self) -> Option<TaskRef> {
        self.header().state.claim_if_idle().then_some(self.task)
    }

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

    /// Asks it to end early: see [`JoinHandle::cancel`](super::JoinHandle::cancel).
    ///
    /// ```
    /// use bifilar::{Wait, fiber, time::sleep};
    /// use std::time::Duration;
    /// bifilar::run(|| {
    ///     let fiber = fiber::spawn(|| sleep(Duration::from_secs(3600)).wait());
    ///     let task = fiber.task(); // can be cloned and passed around
    ///     task.cancel();
    ///     assert!(fiber.join().unwrap_err().is_cancelled());
    /// });
    /// ```
    pub fn cancel(&self) {
        // SAFETY: a counted reference is held.
        unsafe { Header::cancel(self.task) }
    }

    /// Whether it has been asked to end early.
    pub fn is_cancelled(&self) -> bool {
        self.header().state.is_cancelled()
    }

    /// Whether it has ended.
    pub fn is_finished(&self) -> bool {
        self.header().state.is_complete()
    }

    /// What a panic or a cancellation of this task is to whoever joins it.
    pub(crate) fn join_error(&self, payload: Box<dyn Any + Send>) -> JoinError {
        self.header().join_error(payload)
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
