//! Waiting for the end of a task: `JoinHandle`, and what it may find.

use super::{
    header::{Header, Id, TaskRef},
    task::Task,
};
use crate::context::waiting::{self, Waiting, What};
use std::{
    any::Any,
    fmt,
    future::Future,
    marker::PhantomData,
    panic::{RefUnwindSafe, UnwindSafe},
    pin::Pin,
    task::{Context, Poll, Waker},
};

/// The payload with which a cancelled stack unwinds. Private: user code can hold the box that
/// `catch_unwind` gives it, but not tell what it is.
pub(crate) struct CancelUnwind;

/// Waits for a task and gives its result.
///
/// It is a future (`.await`, `.wait()`); [`join`](JoinHandle::join) is the word for it in blocking
/// style. Works on any thread, inside and outside of a runtime. Dropping it detaches the task, which
/// goes on.
///
/// # Cancellation
/// Polling it and not waiting on loses nothing: wait for `&mut handle` to have it back when a
/// deadline or a cancellation interrupts the wait. [`join`](JoinHandle::join) and `handle.wait()` own
/// the handle, so there the task is detached then, and its result is dropped.
///
/// ```
/// bifilar::run(|| {
///     let handle = bifilar::fiber::spawn(|| 6 * 7);
///     assert_eq!(handle.join().unwrap(), 42);
/// });
/// ```
pub struct JoinHandle<T> {
    task: TaskRef,
    output: PhantomData<T>,
}

// SAFETY: the handle gives access to the output alone, which `T: Send` lets it carry to any thread;
// the rest of the cell is touched through atomics.
unsafe impl<T: Send> Send for JoinHandle<T> {}
// SAFETY: as above; `&JoinHandle` gives no access to the output.
unsafe impl<T: Send> Sync for JoinHandle<T> {}
impl<T> UnwindSafe for JoinHandle<T> {}
impl<T> RefUnwindSafe for JoinHandle<T> {}
impl<T> Unpin for JoinHandle<T> {}

impl<T> JoinHandle<T> {
    /// # Safety
    /// The caller gives a reference of the task, its JOIN_INTEREST, and the right output type.
    pub(super) unsafe fn from_raw(task: TaskRef) -> Self {
        JoinHandle { task, output: PhantomData }
    }

    fn header(&self) -> &Header {
        // SAFETY: this handle owns a reference.
        unsafe { self.task.as_ref() }
    }

    /// Asks the task to end early; returns at once.
    ///
    /// A task that stands at an `.await` is dropped there. One that is suspended in a
    /// [`wait`](crate::Wait::wait) unwinds from it, and both run their destructors, which may wait.
    /// One that is running goes on to its next `await` or `wait`, and one that has ended keeps its
    /// result. A `wait` whose future is ready returns its value first: nothing is lost. Joining a
    /// task that was cancelled in time gives an error whose
    /// [`is_cancelled`](JoinError::is_cancelled) is true.
    ///
    /// A closure given to [`unblock`](crate::unblock) is cancelled only before it starts.
    ///
    /// ```
    /// use bifilar::{Wait, fiber, time::sleep};
    /// use std::time::Duration;
    /// bifilar::run(|| {
    ///     let fiber = fiber::spawn(|| sleep(Duration::from_secs(3600)).wait());
    ///     fiber.cancel();
    ///     assert!(fiber.join().unwrap_err().is_cancelled());
    /// });
    /// ```
    pub fn cancel(&self) {
        // SAFETY: this handle owns a reference.
        unsafe { Header::cancel(self.task) }
    }

    /// Whether the task has ended; then joining doesn't wait.
    ///
    /// ```
    /// bifilar::run(|| {
    ///     let handle = bifilar::fiber::spawn(|| ());
    ///     while !handle.is_finished() {
    ///         bifilar::fiber::yield_now();
    ///     }
    /// });
    /// ```
    pub fn is_finished(&self) -> bool {
        self.header().state.is_complete()
    }

    /// What is known of the task, to be passed around: [`Task`] can be cloned, and can cancel.
    pub fn task(&self) -> Task {
        // SAFETY: this handle owns a reference.
        unsafe { Task::from_ref(self.task) }
    }

    /// The number of the task.
    pub fn id(&self) -> Id {
        self.header().meta.id
    }

    /// The name given by a `Builder`.
    pub fn name(&self) -> Option<&str> {
        self.header().meta.name()
    }

    /// Leaves `waker` for whoever completes the task. `true`: it is complete already.
    fn register(&self, waker: &Waker) -> bool {
        let header = self.header();
        if header.state.is_complete() {
            return true;
        }
        if header.state.has_join_waker() {
            let same = header.join_waker.with(|field| {
                // SAFETY: only this handle ever changes the field; the completer merely reads.
                unsafe { (*field).as_ref() }.is_some_and(|field| field.will_wake(waker))
            });
            if same {
                return header.state.is_complete();
            }
            if !header.state.unset_join_waker() {
                return true;
            }
        }
        let waker = waker.clone();
        let old = header.join_waker.with_mut(|field| {
            // SAFETY: JOIN_WAKER is unset and the task not complete: the field is ours.
            unsafe { (*field).replace(waker) }
        });
        drop(old);
        !header.state.set_join_waker()
    }
}

impl<T> Future for JoinHandle<T> {
    type Output = Result<T, JoinError>;

    /// # Panics
    /// If it is polled again after it gave the result.
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if !self.register(cx.waker()) {
            waiting::note(Waiting::on(What::Join, self.id().get()));
            return Poll::Pending;
        }
        let mut output: Option<Result<T, JoinError>> = None;
        // SAFETY: complete, and `output` has the type that the handle stands for.
        unsafe { Header::take_output(self.task, (&raw mut output).cast()) };
        Poll::Ready(output.expect("a JoinHandle was polled after it had given its result"))
    }
}

impl<T> Drop for JoinHandle<T> {
    fn drop(&mut self) {
        let header = self.header();
        let left = header.state.drop_join_handle();
        if left.drop_waker {
            let waker = header.join_waker.with_mut(|field| {
                // SAFETY: the handle took the field back in the same step.
                unsafe { (*field).take() }
            });
            drop(waker);
        }
        if left.drop_output {
            // SAFETY: complete, and the output was this handle's (it may have been taken).
            unsafe { Header::drop_output(self.task) };
        }
        // SAFETY: the handle's own reference, used no more.
        unsafe { Header::release(self.task) }
    }
}

impl<T> fmt::Debug for JoinHandle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinHandle")
            .field("id", &self.id())
            .field("name", &self.name())
            .field("finished", &self.is_finished())
            .finish()
    }
}

/// Why a task has no result: it panicked, or it was cancelled.
///
/// ```
/// bifilar::run(|| {
///     let error = bifilar::fiber::spawn(|| panic!("oh")).join().unwrap_err();
///     assert!(error.is_panic());
///     assert_eq!(*error.into_panic().downcast::<&str>().unwrap(), "oh");
/// });
/// ```
pub struct JoinError {
    id: Id,
    cause: Cause,
}

enum Cause {
    Cancelled,
    Panic(PanicPayload),
}

/// What a panic carries is `Send` but not `Sync`; it is only ever reached by value.
struct PanicPayload(Box<dyn Any + Send>);

// SAFETY: no method lends the payload by shared reference, except to read a message of type `&str`
// or `String`, which are `Sync`.
unsafe impl Sync for PanicPayload {}

impl JoinError {
    pub(super) fn cancelled(id: Id) -> Self {
        JoinError { id, cause: Cause::Cancelled }
    }

    pub(super) fn panicked(id: Id, payload: Box<dyn Any + Send>) -> Self {
        JoinError { id, cause: Cause::Panic(PanicPayload(payload)) }
    }

    /// The task's number.
    pub fn id(&self) -> Id {
        self.id
    }

    /// Whether the task panicked.
    pub fn is_panic(&self) -> bool {
        matches!(self.cause, Cause::Panic(_))
    }

    /// Whether the task was cancelled.
    pub fn is_cancelled(&self) -> bool {
        matches!(self.cause, Cause::Cancelled)
    }

    /// What the task panicked with, as for `std::panic::resume_unwind`.
    ///
    /// # Panics
    /// If the task did not panic.
    #[track_caller]
    pub fn into_panic(self) -> Box<dyn Any + Send> {
        self.try_into_panic().expect("the task did not panic: it was cancelled")
    }

    /// What the task panicked with.
    ///
    /// # Errors
    /// Gives itself back if the task did not panic.
    pub fn try_into_panic(self) -> Result<Box<dyn Any + Send>, JoinError> {
        match self.cause {
            Cause::Panic(payload) => Ok(payload.0),
            Cause::Cancelled => Err(self),
        }
    }

    fn message(&self) -> Option<&str> {
        let Cause::Panic(PanicPayload(payload)) = &self.cause else { return None };
        payload
            .downcast_ref::<&str>()
            .copied()
            .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
    }
}

impl fmt::Display for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.cause, self.message()) {
            (Cause::Cancelled, _) => write!(f, "task {} was cancelled", self.id),
            (_, Some(message)) => write!(f, "task {} panicked: {message}", self.id),
            (_, None) => write!(f, "task {} panicked", self.id),
        }
    }
}

impl fmt::Debug for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "JoinError({self})")
    }
}

impl std::error::Error for JoinError {}

impl From<JoinError> for std::io::Error {
    fn from(error: JoinError) -> Self {
        std::io::Error::other(error)
    }
}
