//! `wait`: any future, finished here and now, at any depth of any task.
//!
//! ```text
//!            ┌─ poll ──► Ready ─────────────────────────────► the value
//!   observe ─┤
//!            └─ poll ──► Pending ─► interrupted? ─► unwind
//!                  ▲                    │ no
//!                  │                    ▼
//!                  └── resumed ◄── suspend the stack (on a worker)
//!                                  park the thread   (elsewhere)
//! ```
//!
//! On a worker the *stack* is suspended, and the worker goes on with other tasks on another one;
//! elsewhere the thread is parked. Which of the two is decided by what [`context`] knows, so that
//! code that waits needn't know where it runs.
//!
//! What it deliberately does not do: know the scheduler. A stack is a `&dyn Suspend` to it.

mod event_count;
mod iter;
mod region;
mod thread;

pub(crate) use event_count::EventCount;
pub use iter::{WaitIter, WaitIterator};
pub use region::{shield, until};

use crate::{
    cell::{CancelUnwind, TaskRef},
    console::{Lent, Operation},
    context::{self, Interruption, Suspend, waiting},
};
use std::{
    any::Any,
    future::{Future, IntoFuture},
    panic::resume_unwind,
    pin::{Pin, pin},
    task::{Context, Poll},
};

/// Finishes any future in blocking style.
///
/// Implemented for everything that can be awaited.
pub trait Wait: IntoFuture {
    /// Runs the future to its end and returns its output: `.await` for where you can't await.
    ///
    /// Legal everywhere: in a fiber, and at any depth of an async task's `poll` — in a `Drop`, an
    /// iterator, a callback of a sync library. There it suspends the *stack*; the worker goes on
    /// with other tasks. Outside of a runtime and on threads of the blocking pool it parks the
    /// thread.
    ///
    /// What stands on the same stack waits as well: other branches of a `join!` or `select!` that
    /// the same task polls stand still meanwhile.
    ///
    /// # Cancellation
    /// When the task is cancelled ([`JoinHandle::cancel`](crate::JoinHandle::cancel)) and the
    /// future isn't ready, it is dropped and the stack unwinds from here, running destructors.
    /// Destructors may wait: nothing unwinds out of a `wait` while its task is already unwinding.
    /// The same happens, up to the edge of the region, when a
    /// [deadline](crate::time::with_deadline) passes or another [`until`](crate::until) is ready.
    /// Inside [`shield`](crate::shield) neither does. Code that always finds its futures ready is
    /// interrupted all the same: once in a while before the future is polled for the first time.
    ///
    /// A function that C calls back can't be unwound out of (the process aborts): it waits inside
    /// [`shield`](crate::shield).
    ///
    /// # Panics
    /// If the future panics. If the system has no memory for a stack on which the worker would go on
    /// meanwhile: with its reason, in this task only. A future that needs a reactor (a socket, a timer) panics or fails
    /// outside of a runtime, and its message says so.
    ///
    /// ```
    /// use bifilar::{Wait, fiber, time::sleep};
    /// use std::time::Duration;
    ///
    /// bifilar::run(|| {
    ///     sleep(Duration::from_millis(1)).wait();
    ///     let answer = fiber::spawn(|| 42);
    ///     assert_eq!(async { answer.await.unwrap() + 1 }.wait(), 43);
    /// });
    /// ```
    fn wait(self) -> Self::Output;
}

impl<F: IntoFuture> Wait for F {
    #[inline]
    fn wait(self) -> Self::Output {
        let future = pin!(self.into_future());
        match current_stack() {
            Some(stack) => on_stack(stack, future),
            None => thread::park_until_ready(future),
        }
    }
}

/// The stack that may be suspended here. Not without a task on it: the loop itself may be in the
/// middle of something (a foreign waker that waits), and nobody would know that it is gone.
#[inline]
fn current_stack() -> Option<&'static dyn Suspend> {
    context::with(|context| context.task.get().and(context.stack.get()))
}

/// The waker of `stack`, on which the current task stands.
#[inline]
fn lent_waker(stack: &'static dyn Suspend) -> Lent {
    match context::with(|context| context.task.get()) {
        // SAFETY: the task being polled is alive.
        Some(task) => unsafe { task.as_ref() }.shown.lend(stack.waker()),
        None => Lent::plain(stack.waker()),
    }
}

#[inline]
fn on_stack<F: Future>(stack: &'static dyn Suspend, mut future: Pin<&mut F>) -> F::Output {
    let waker = lent_waker(stack);
    let mut cx = Context::from_waker(&waker);
    // Nobody starts to unwind within this call, whatever others of this thread do meanwhile.
    let clean = !std::thread::panicking();
    // A fiber that always finds something ready, or catches what a wait unwinds with and waits again,
    // lets others run all the same, and can be interrupted.
    if !context::spend() {
        yield_or_unwind(stack, &mut cx, clean);
    }
    let mut told = Told(None);
    loop {
        let seen = stack.observe();
        waiting::forget();
        if let Poll::Ready(output) = future.as_mut().poll(&mut cx) {
            return output;
        }
        // Before the futures of regions are looked at, which note themselves.
        told.tell();
        if let Some(payload) = interruption(stack, &mut cx, clean) {
            // At once: if others ran first, they could make the future ready, again and again. And not
            // a panic: the hook prints nothing. Who ends the unwinding tells it by its type.
            resume_unwind(payload);
        }
        stack.suspend(seen);
    }
}

/// Tells reports what the current task waits for, until this is dropped.
struct Told(Option<TaskRef>);

impl Told {
    fn tell(&mut self) {
        self.0 = context::with(|context| context.task.get());
        if let Some(task) = self.0 {
            // SAFETY: the task being polled is alive.
            unsafe { task.as_ref() }.waiting.keep();
        }
    }
}

impl Drop for Told {
    fn drop(&mut self) {
        if let Some(task) = self.0 {
            // SAFETY: this is its poll, so it is alive.
            unsafe { task.as_ref() }.waiting.clear();
        }
    }
}

/// Lets other tasks of this worker run; off a worker, other threads.
pub(crate) fn yield_stack() {
    match current_stack() {
        Some(stack) => {
            let waker = lent_waker(stack);
            let clean = !std::thread::panicking();
            yield_or_unwind(stack, &mut Context::from_waker(&waker), clean);
        }
        None => std::thread::yield_now(),
    }
}

/// Goes to the end of the queue, and unwinds then if something interrupts the code.
fn yield_or_unwind(stack: &'static dyn Suspend, cx: &mut Context<'_>, clean: bool) {
    let payload = interruption(stack, cx, clean);
    if let Some(task) = context::with(|context| context.task.get()) {
        // SAFETY: the task being polled is alive.
        unsafe { task.as_ref() }.shown.waker(Operation::WakeByRef);
    }
    stack.yield_now();
    if let Some(payload) = payload {
        resume_unwind(payload);
    }
}

/// What interrupts the code that waits here, if something does: a region that has come to its end,
/// or the cancellation of the task. To be unwound with.
///
/// A cancel that comes after this look finds the stack that was noted here and notifies it, and then
/// `suspend` doesn't sleep, since `seen` is older. The future of a region notifies it as any other.
#[inline]
fn interruption(
    stack: &'static dyn Suspend,
    cx: &mut Context<'_>,
    clean: bool,
) -> Option<Box<dyn Any + Send>> {
    match stack.regions().interrupted(cx, |address| stack.contains(address)) {
        Interruption::Unwind(region) => unless_unwinding(stack, clean, || Box::new(region)),
        Interruption::Shielded => None,
        Interruption::AskTheTask => {
            let task = context::with(|context| context.task.get())?;
            // SAFETY: the task being polled is alive.
            if !unsafe { task.as_ref() }.note_stack(stack.address()) {
                return None;
            }
            unless_unwinding(stack, clean, || Box::new(CancelUnwind))
        }
    }
}

#[cold]
fn unless_unwinding(
    stack: &'static dyn Suspend,
    clean: bool,
    payload: impl FnOnce() -> Box<dyn Any + Send>,
) -> Option<Box<dyn Any + Send>> {
    if cfg!(panic = "abort") {
        // Stacks can't be unwound; the interruption takes effect at the next `.await`.
        return None;
    }
    if !clean && std::thread::panicking() {
        // This stack is unwinding already; or another stack of this thread was suspended in the
        // middle of it when this wait began, which std's count per thread can't tell apart. Try
        // again when no stack is.
        stack.notify_when_not_panicking();
        return None;
    }
    Some(payload())
}
