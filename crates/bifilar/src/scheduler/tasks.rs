//! How tasks come in, and where they are queued: the scheduler as spawners and task cells know it.
//!
//! ```text
//!   spawn ──► cell ──► registry ──┐                      ┌──► a worker's queue, or its `next`
//!                                 ├──► Scheduler::queue ─┼──► the inbox of the worker it is pinned to
//!   wake ── Schedule::schedule ───┘                      └──► the injector
//! ```
//!
//! What it deliberately does not do: run them.

use super::{OUTSIDE, Remote, Shared, hold, stack, worker::Worker};
use crate::{
    cell::{self, Extra, Header, JoinHandle, Link, Meta, Schedule, TaskKind, TaskRef},
    context::{self, waiting},
    record,
};
use bifilar_timeline::{Event, Outcome};
use std::{future::Future, panic::Location, ptr, sync::Arc};

impl Shared {
    /// Spawns a task that any worker may run.
    pub fn spawn<F>(self: &Arc<Self>, future: F, birth: Birth) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        // SAFETY: nothing is borrowed.
        unsafe { self.spawn_borrowing(future, birth) }
    }

    /// Spawns a task that any worker may run, and that may borrow.
    ///
    /// # Safety
    /// What the future borrows lives as long as the task is not complete; what the output borrows, as
    /// long as that isn't joined.
    pub unsafe fn spawn_borrowing<F>(
        self: &Arc<Self>,
        future: F,
        birth: Birth,
    ) -> JoinHandle<F::Output>
    where
        F: Future + Send,
        F::Output: Send,
    {
        let here = Worker::with_current(|worker| {
            worker.filter(|worker| Arc::ptr_eq(&worker.shared, self)).map(|worker| worker.index)
        });
        let shard = here.unwrap_or_else(|| self.deal());
        // SAFETY: the future is `Send`; the rest is the caller's promise.
        unsafe { self.spawn_unchecked(future, birth, None, shard) }
    }

    /// Spawns a task without looking at its type.
    ///
    /// # Safety
    /// The future may be polled and dropped by worker `pinned` (by any, if none is named), and
    /// lives as long as the task is not complete. The same for the output until it is joined.
    pub unsafe fn spawn_unchecked<F: Future>(
        self: &Arc<Self>,
        future: F,
        birth: Birth,
        pinned: Option<usize>,
        shard: usize,
    ) -> JoinHandle<F::Output> {
        let meta = Meta {
            id: cell::Id::next(),
            kind: birth.kind,
            main: birth.main,
            pinned: pinned.map(|worker| worker as u16),
            shard: shard as u16,
            location: birth.location,
            extra: birth.extra,
        };
        let (task, handle) = cell::new::<F, Scheduler>(future, Arc::as_ptr(self).cast(), meta);
        // SAFETY: new, so alive.
        unsafe { task.as_ref() }.record_spawn(self.record.as_ref());
        // SAFETY: new, so alive and in no registry.
        if unsafe { self.remotes[shard].registry.insert(task) } {
            Scheduler::born(task);
        } else {
            // Shutting down: the task ends before it starts, on this thread.
            handle.cancel();
            // SAFETY: a new task is SCHEDULED, which is ours; being cancelled, it is only dropped.
            // The spawner may do that, since it just held the future itself.
            unsafe { Header::poll(task) };
        }
        handle
    }
}

/// Spawns a task that stays on this worker.
///
/// # Panics
/// On a thread that is no worker.
#[track_caller]
pub(crate) fn spawn_local<F: Future + 'static>(future: F, birth: Birth) -> JoinHandle<F::Output> {
    let here =
        Worker::with_current(|worker| worker.map(|worker| (worker.shared.clone(), worker.index)));
    let Some((shared, index)) = here else {
        panic!("spawn_local on a thread that is no worker: {OUTSIDE}")
    };
    // SAFETY: `'static`, and pinned to the worker of this thread.
    unsafe { shared.spawn_unchecked(future, birth, Some(index), index) }
}

/// What a spawner says of a new task.
pub(crate) struct Birth {
    pub kind: TaskKind,
    /// Whether it is what a `block_on` drives.
    pub main: bool,
    pub location: &'static Location<'static>,
    pub extra: Option<Box<Extra>>,
}

impl Birth {
    #[track_caller]
    pub fn new(kind: TaskKind) -> Self {
        let mut birth = Birth { kind, main: false, location: Location::caller(), extra: None };
        if let Some(bound) = context::bindings() {
            *birth.extra().locals.get_mut() = Some(bound);
        }
        birth
    }

    /// What few tasks have.
    pub fn extra(&mut self) -> &mut Extra {
        self.extra.get_or_insert_default()
    }
}

/// The scheduler as task cells know it.
pub(crate) struct Scheduler;

impl Scheduler {
    /// Queues a new task: behind the others, so that a loop that spawns doesn't turn them around.
    fn born(task: TaskRef) {
        Scheduler::queue(task, false);
    }

    /// Queues a task; `first`: it was woken by the running task, run it next.
    fn queue(task: TaskRef, first: bool) {
        // SAFETY: the caller owns the right to schedule, so the task isn't complete.
        let header = unsafe { task.as_ref() };
        let shared = header.scheduler.cast::<Shared>();
        if let Some(pinned) = header.meta.pinned {
            // SAFETY: the task isn't complete, so its runtime is alive; the right to queue it is
            // ours.
            unsafe {
                let remote: *const Remote = &raw const (*shared).remotes[pinned as usize];
                Remote::resume(remote, task.cast::<Link>());
            }
            return;
        }
        // SAFETY: the task isn't complete, so its runtime is alive.
        let runtime = unsafe { &*shared };
        if runtime.config.measure {
            runtime.stamp(task.cast());
        }
        let queued = Worker::with_current(|worker| match worker {
            Some(worker) if ptr::eq(Arc::as_ptr(&worker.shared), shared) => {
                if first {
                    worker.push_next(task);
                } else {
                    worker.push(task);
                }
                true
            }
            _ => false,
        });
        if !queued {
            // SAFETY: the task isn't complete, so its runtime is alive.
            let shared = unsafe { hold(shared) };
            shared.injector.push(task);
            match &*shared.remotes {
                [only] => only.unpark(),
                _ => shared.notify_one(),
            }
        }
    }
}

// SAFETY: a task is queued where only workers of its runtime take it, pinned ones where only their
// worker does; queues are emptied before a runtime ends.
unsafe impl Schedule for Scheduler {
    fn schedule(task: TaskRef) {
        // Woken by a task, not by the reactor: likely its partner in a conversation.
        let by_task = context::with(|context| context.task.get().is_some());
        // SAFETY: the right to schedule it is ours, so it isn't complete, and its runtime is alive.
        let header = unsafe { task.as_ref() };
        // SAFETY: as above.
        let source = || unsafe { &*header.scheduler.cast::<Shared>() }.record.as_ref();
        record::event_for(source, |_| Event::Wake {
            from: waiting::task_number(),
            to: header.meta.id.get(),
        });
        Scheduler::queue(task, by_task);
    }

    fn reschedule(task: TaskRef) {
        Scheduler::queue(task, false);
    }

    fn finished(task: TaskRef, outcome: Outcome) {
        // SAFETY: it is still alive; `finished` is called by a worker of its runtime, or by the
        // spawner, who holds a reference of the runtime.
        let (shared, shard) = unsafe {
            let header = task.as_ref();
            (&*header.scheduler.cast::<Shared>(), header.meta.shard)
        };
        // SAFETY: it was inserted there when it was spawned, unless the registry was closed.
        if unsafe { shared.remotes[shard as usize].registry.remove(task, outcome) } {
            shared.look_whether_finished();
        }
    }

    fn interrupt(stack: *mut ()) {
        // SAFETY: only addresses of stack headers are noted, and those live for ever.
        unsafe { &*stack.cast::<stack::StackHeader>() }.notify();
    }
}
