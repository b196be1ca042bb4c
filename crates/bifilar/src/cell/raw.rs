//! The cell with its future: made, polled, dropped and freed through one vtable per type.

use super::{
    header::{Header, Meta, TaskRef},
    join::{CancelUnwind, JoinError, JoinHandle},
    state::{StartPoll, Wake},
    waker,
};
use crate::{
    console::Operation,
    context::{self, Bound, waiting},
    primitives::{Ordering, UnsafeCell, fence},
    record,
};
use bifilar_timeline::{Event, Outcome};
use std::{
    any::Any,
    future::Future,
    marker::PhantomData,
    mem,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    ptr::NonNull,
    task::{Context, Poll, Waker},
};

/// What a task asks of its scheduler.
///
/// # Safety
/// `schedule` and `reschedule` see to it that `TaskRef`'s `poll` is called once, on a thread where
/// the future may be polled, or never; they don't lose the task while its runtime lives.
pub(crate) unsafe trait Schedule: 'static {
    /// The task was woken, or born: it owns the right to one poll.
    fn schedule(task: TaskRef);
    /// It was woken during its own poll: let others run first.
    fn reschedule(task: TaskRef);
    /// It is complete: take it out of the registry. The runtime's reference is dropped afterwards.
    fn finished(task: TaskRef, outcome: Outcome);
    /// Wakes the stack that `wait` noted in the task's header.
    fn interrupt(stack: *mut ());
}

pub(crate) struct Vtable {
    poll: unsafe fn(TaskRef),
    schedule: fn(TaskRef),
    interrupt: fn(*mut ()),
    /// Moves the output to `*mut Option<Result<T, JoinError>>`.
    take_output: unsafe fn(TaskRef, *mut ()),
    drop_output: unsafe fn(TaskRef),
    dealloc: unsafe fn(TaskRef),
}

enum Stage<F: Future> {
    Future(F),
    Output(Result<F::Output, JoinError>),
    Empty,
}

#[repr(C)]
struct Cell<F: Future, S> {
    header: Header,
    stage: UnsafeCell<Stage<F>>,
    scheduler: PhantomData<fn(S)>,
}

/// Puts a future into a cell. The task is born SCHEDULED: the caller owns the right to its first
/// poll and must queue it, and the `TaskRef` carries the runtime's reference.
pub(crate) fn new<F: Future, S: Schedule>(
    future: F,
    scheduler: *const (),
    meta: Meta,
) -> (TaskRef, JoinHandle<F::Output>) {
    let vtable: &'static Vtable = const {
        &Vtable {
            poll: poll::<F, S>,
            schedule: S::schedule,
            interrupt: S::interrupt,
            take_output: take_output::<F, S>,
            drop_output: drop_output::<F, S>,
            dealloc: dealloc::<F, S>,
        }
    };
    let cell = Box::new(Cell::<F, S> {
        header: Header::new(vtable, scheduler, meta, size_of::<F>()),
        stage: UnsafeCell::new(Stage::Future(future)),
        scheduler: PhantomData,
    });
    let task = NonNull::from(Box::leak(cell)).cast::<Header>();
    // SAFETY: a new task has two references; this handle takes one of them.
    (task, unsafe { JoinHandle::from_raw(task) })
}

/// The untyped operations. For all of them the task's memory must be alive, which a counted
/// reference sees to.
impl Header {
    /// # Safety
    /// The caller owns the right to one poll (SCHEDULED) and is on a thread where the future may
    /// be polled.
    pub unsafe fn poll(task: TaskRef) {
        // SAFETY: alive.
        let poll = unsafe { task.as_ref() }.vtable.poll;
        // SAFETY: the vtable was made with the type of this cell; the rest is the caller's promise.
        unsafe { poll(task) }
    }

    /// Wakes the task: schedules it unless it is scheduled, running or complete.
    ///
    /// # Safety
    /// The task is alive.
    pub unsafe fn wake(task: TaskRef) {
        // SAFETY: alive.
        let header = unsafe { task.as_ref() };
        match header.state.wake() {
            Wake::Schedule => (header.vtable.schedule)(task),
            // Its runtime may be gone before we could ask it for a log.
            Wake::Running => record::event(|_| Event::Wake {
                from: waiting::task_number(),
                to: header.meta.id.get(),
            }),
            Wake::Nothing => {}
        }
    }

    /// Asks the task to end early: see `JoinHandle::cancel`.
    ///
    /// # Safety
    /// The task is alive.
    pub unsafe fn cancel(task: TaskRef) {
        use super::state::Cancel;
        // SAFETY: alive.
        let header = unsafe { task.as_ref() };
        let cancel = header.state.cancel();
        if !matches!(cancel, Cancel::Nothing) {
            header.shown.waker(Operation::WakeByRef);
        }
        match cancel {
            Cancel::Schedule => (header.vtable.schedule)(task),
            Cancel::Interrupt => {
                // Partner of the fence in `note_stack`.
                fence(Ordering::SeqCst);
                let stack = header.stack.load(Ordering::Relaxed);
                if !stack.is_null() {
                    (header.vtable.interrupt)(stack);
                }
            }
            Cancel::Nothing => {}
        }
    }

    /// Ends a task that can't be started: its next poll drops it, as if it had panicked with
    /// `reason`. For tasks with an `Extra`.
    ///
    /// # Safety
    /// The task is alive.
    pub unsafe fn refuse(task: TaskRef, reason: String) {
        // SAFETY: alive.
        if let Some(extra) = &unsafe { task.as_ref() }.meta.extra {
            let _ = extra.refused.set(reason);
        }
        // SAFETY: alive.
        unsafe { Header::cancel(task) }
    }

    /// # Safety
    /// The task is alive and complete, its output has not been taken, and the caller is the
    /// `JoinHandle`, whose type parameter `out` points to an `Option<Result<T, JoinError>>` of.
    pub(super) unsafe fn take_output(task: TaskRef, out: *mut ()) {
        // SAFETY: as promised.
        unsafe { (task.as_ref().vtable.take_output)(task, out) }
    }

    /// # Safety
    /// The task is alive and complete, and the output is the caller's to drop.
    pub(super) unsafe fn drop_output(task: TaskRef) {
        // SAFETY: as promised.
        unsafe { (task.as_ref().vtable.drop_output)(task) }
    }

    /// Gives a counted reference back and frees the cell with the last one.
    ///
    /// # Safety
    /// The caller owns a reference, and doesn't use the task afterwards.
    pub unsafe fn release(task: TaskRef) {
        // SAFETY: alive, as the caller owns a reference.
        let header = unsafe { task.as_ref() };
        if header.state.ref_dec() {
            // SAFETY: it was the last reference. The runtime's own is dropped only after COMPLETE,
            // so the future is gone.
            unsafe { (header.vtable.dealloc)(task) }
        }
    }
}

/// # Safety
/// As `Header::poll`; the cell is a `Cell<F, S>`.
unsafe fn poll<F: Future, S: Schedule>(task: TaskRef) {
    // SAFETY: the cell is alive: it isn't complete, so the runtime's reference exists.
    let cell = unsafe { task.cast::<Cell<F, S>>().as_ref() };
    cell.header.shown.enter();
    let result = match cell.header.state.start_poll() {
        StartPoll::Cancelled => Err(cell.header.not_polled()),
        StartPoll::Poll => {
            // SAFETY: the task is alive while it is polled, and the borrowed waker isn't dropped.
            let waker = unsafe { waker::borrowed(task) };
            waiting::forget();
            cell.header.waiting.clear();
            let polled = catch_unwind(AssertUnwindSafe(|| {
                // SAFETY: RUNNING makes them ours.
                let _bound = Bound::new(unsafe { cell.header.meta.locals() });
                let mut cx = Context::from_waker(&waker);
                // SAFETY: RUNNING makes the stage ours.
                unsafe { cell.poll_future(&mut cx) }
            }));
            match polled {
                Ok(Poll::Pending) => {
                    cell.header.waiting.keep();
                    cell.header.record_end(Outcome::Pending);
                    if cell.header.state.end_poll() == Wake::Schedule {
                        S::reschedule(task);
                    }
                    return;
                }
                Ok(Poll::Ready(output)) => Ok(output),
                Err(payload) => Err(cell.header.join_error(payload)),
            }
        }
    };
    // SAFETY: still RUNNING, so the stage is ours.
    let result = match unsafe { cell.drop_future() } {
        Ok(()) => result,
        // The result of a future whose destructor panics is dropped, as std's threads do it: the
        // panic is the worse news.
        Err(payload) => {
            let error = cell.header.join_error(payload);
            drop_quietly(result);
            Err(error)
        }
    };
    let outcome = match &result {
        Ok(_) => Outcome::Ready,
        Err(error) if error.is_panic() => Outcome::Panicked,
        Err(_) => Outcome::Cancelled,
    };
    cell.header.record_end(outcome);
    // SAFETY: as above.
    unsafe { cell.stage.with_mut(|stage| *stage = Stage::Output(result)) };
    // SAFETY: still RUNNING, and the output is stored.
    unsafe { Cell::<F, S>::finish(task, outcome) };
}

impl<F: Future, S: Schedule> Cell<F, S> {
    /// # Safety
    /// The caller set RUNNING and the stage is `Future`.
    unsafe fn poll_future(&self, cx: &mut Context<'_>) -> Poll<F::Output> {
        let future = self.stage.with_mut(|stage| {
            // SAFETY: RUNNING gives the caller exclusive access.
            match unsafe { &mut *stage } {
                Stage::Future(future) => NonNull::from(future),
                _ => unreachable!("polled after completion"),
            }
        });
        // SAFETY: the cell is on the heap and the future is never moved out of it.
        let future = unsafe { Pin::new_unchecked(&mut *future.as_ptr()) };
        future.poll(cx)
    }

    /// Drops the future in its place. Its destructors may wait, so cancellation is held off.
    ///
    /// # Safety
    /// The caller set RUNNING.
    unsafe fn drop_future(&self) -> Result<(), Box<dyn Any + Send>> {
        let stage = self.stage.with_mut(|stage| stage);
        catch_unwind(AssertUnwindSafe(|| {
            if !mem::needs_drop::<F>() && self.header.meta.extra.is_none() {
                // SAFETY: RUNNING gives the caller exclusive access.
                return unsafe { *stage = Stage::Empty };
            }
            context::shielded(|| {
                // Destructors see what is bound; then it goes itself, the last that the task had.
                // SAFETY: RUNNING makes it ours.
                let locals = unsafe { self.header.meta.take_locals() };
                let _bound = Bound::new(locals.clone());
                /// Marks the stage as empty even if the destructor panics.
                struct Emptied<F: Future>(*mut Stage<F>);
                impl<F: Future> Drop for Emptied<F> {
                    fn drop(&mut self) {
                        // SAFETY: what stands there has been dropped; `write` doesn't drop again.
                        unsafe { self.0.write(Stage::Empty) };
                    }
                }
                let emptied = Emptied(stage);
                // SAFETY: RUNNING gives exclusive access; dropped in place as `Pin` demands.
                unsafe { std::ptr::drop_in_place(emptied.0) };
            })
        }))
    }

    /// RUNNING → COMPLETE, and everything that is owed then. The last thing done with the cell.
    ///
    /// # Safety
    /// The caller set RUNNING, and stored the output.
    unsafe fn finish(task: TaskRef, outcome: Outcome) {
        // SAFETY: alive until the runtime's reference is given back below.
        let cell = unsafe { task.cast::<Self>().as_ref() };
        let owed = cell.header.state.complete();
        if owed.drop_output {
            // SAFETY: no `JoinHandle` exists, so the output is ours.
            drop_quietly(unsafe { cell.take_stage() });
        } else if owed.wake_joiner {
            let woken = cell.header.join_waker.with(|waker| {
                // SAFETY: JOIN_WAKER was set at completion: nobody writes the field meanwhile.
                let waker = unsafe { (*waker).as_ref() };
                catch_unwind(AssertUnwindSafe(|| waker.map(Waker::wake_by_ref)))
            });
            if let Err(payload) = woken {
                mem::forget(payload);
            }
            if cell.header.state.give_join_waker_back() {
                // Dropped here, so that no foreign code is left to run when the cell is freed.
                drop_quietly(cell.header.join_waker.with_mut(|waker| {
                    // SAFETY: the handle is gone, and has left the field to us.
                    unsafe { (*waker).take() }
                }));
            }
        }
        S::finished(task, outcome);
        // SAFETY: this is the runtime's own reference; nothing follows.
        unsafe { Header::release(task) };
    }

    /// # Safety
    /// The stage is the caller's.
    unsafe fn take_stage(&self) -> Stage<F> {
        // SAFETY: as promised; `Output` may be moved, and `Future` never stands here once COMPLETE.
        self.stage.with_mut(|stage| unsafe { mem::replace(&mut *stage, Stage::Empty) })
    }
}

impl Header {
    pub(super) fn join_error(&self, payload: Box<dyn Any + Send>) -> JoinError {
        // A region's unwinding comes here if user code has kept the payload and raised it later.
        if payload.is::<CancelUnwind>() || payload.is::<context::RegionUnwind>() {
            JoinError::cancelled(self.meta.id)
        } else {
            JoinError::panicked(self.meta.id, payload)
        }
    }
}

/// Drops a value whose destructor may panic where nobody is left to be told: the panic hook has
/// printed it, and the worker goes on.
fn drop_quietly<T>(value: T) {
    let dropped = catch_unwind(AssertUnwindSafe(|| context::shielded(|| drop(value))));
    if let Err(payload) = dropped {
        // The payload's own destructor could panic as well.
        mem::forget(payload);
    }
}

/// # Safety
/// As `Header::take_output`; the cell is a `Cell<F, S>`.
unsafe fn take_output<F: Future, S: Schedule>(task: TaskRef, out: *mut ()) {
    // SAFETY: alive, and of this type.
    let cell = unsafe { task.cast::<Cell<F, S>>().as_ref() };
    // SAFETY: complete, and the `JoinHandle` asks: the stage is its own.
    if let Stage::Output(result) = unsafe { cell.take_stage() } {
        // SAFETY: `out` points to an `Option` of this type.
        unsafe { *out.cast::<Option<Result<F::Output, JoinError>>>() = Some(result) };
    }
}

/// # Safety
/// As `Header::drop_output`; the cell is a `Cell<F, S>`.
unsafe fn drop_output<F: Future, S: Schedule>(task: TaskRef) {
    // SAFETY: alive, and of this type.
    let cell = unsafe { task.cast::<Cell<F, S>>().as_ref() };
    // SAFETY: the stage is the caller's.
    drop_quietly(unsafe { cell.take_stage() });
}

/// # Safety
/// The last reference is gone; the cell is a `Cell<F, S>`.
unsafe fn dealloc<F: Future, S: Schedule>(task: TaskRef) {
    // SAFETY: it was made by `Box` in `new`, and nobody else can reach it any more.
    drop(unsafe { Box::from_raw(task.cast::<Cell<F, S>>().as_ptr()) });
}
