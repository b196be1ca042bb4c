//! Standing on stacks: how a worker's loop leaves one, and comes back to one.
//!
//! ```text
//!  thread's native stack ── drive ──► loop stack A: run_loop ─ poll(task) ─ … ─ wait
//!                                                                              │ suspend
//!            ┌─────────────────────────────────────────────────────────────────┤
//!            ▼ a spare: enters run_loop afresh                                  ▼ or straight to
//!     loop stack B: run_loop ─ poll … ─ next: "stack A"                 a stack that is ready
//!            │ retire                                                          
//!            └──► A continues in wait; B, which holds nothing, is a spare again
//! ```
//!
//! A stack that stands at the top of its loop holds nothing worth keeping, so it is not suspended
//! but *left for ever*: a spare is just a stack with nobody on it. It can't be given back while
//! it is stood on; the next arrival does that (`retired`).
//!
//! **Invariant:** whoever arrives on a stack calls `arrive` before anything else.

use super::{Run, dump::Visit, stack::StackHeader, worker::Worker};
use crate::{
    cell::{Header, TaskRef},
    context::{self, Regions, Seen, Suspend, waiting},
    primitives::Ordering,
    record,
};
use bifilar_coroutine::raw::{self, Suspended};
use bifilar_timeline::Event;
use std::{
    cell::Cell,
    io,
    ptr::{self, NonNull},
    task::{RawWaker, RawWakerVTable, Waker},
};

/// Warm stacks that a worker keeps for itself, last in, first out. More go back to the pool, which
/// all workers share.
const MOST_SPARES: usize = 64;

impl Suspend for StackHeader {
    #[inline]
    fn waker(&'static self) -> Waker {
        // SAFETY: the vtable keeps `RawWaker`'s contract: headers live for ever and `notify` may be
        // called from any thread.
        unsafe { Waker::new(ptr::from_ref(self).cast(), &WAKER) }
    }

    #[inline]
    fn observe(&self) -> Seen {
        self.count.observe()
    }

    fn suspend(&'static self, seen: Seen) {
        Worker::with_current(|worker| {
            let worker = worker.expect("a stack runs on a worker");
            if let Err(error) = worker.keep_a_spare() {
                return worker.without_a_spare(self, &error);
            }
            self.record_suspension(|| context::with(|context| context.waiting.get().what.word()));
            if !self.count.begin_wait(seen) {
                worker.push_local(NonNull::from(&self.link));
            }
            worker.leave(self);
        });
    }

    fn yield_now(&'static self) {
        Worker::with_current(|worker| {
            let worker = worker.expect("a stack runs on a worker");
            if worker.keep_a_spare().is_err() {
                return worker.give_way_to_stacks(self);
            }
            self.record_suspension(|| "its turn");
            worker.push_local(NonNull::from(&self.link));
            worker.leave(self);
        });
    }

    fn notify_when_not_panicking(&'static self) {
        Worker::with_current(|worker| {
            let mut deferred = worker.expect("a stack runs on a worker").deferred.borrow_mut();
            if !deferred.iter().any(|stack| ptr::eq(*stack, self)) {
                deferred.push(self);
            }
        });
    }

    fn address(&'static self) -> *mut () {
        ptr::from_ref(self).cast_mut().cast()
    }

    fn regions(&'static self) -> &'static Regions {
        &self.regions
    }

    fn contains(&self, address: *const ()) -> bool {
        let stack = self.stack();
        (stack.limit().addr().get()..stack.top().addr().get()).contains(&address.addr())
    }
}

static WAKER: RawWakerVTable =
    RawWakerVTable::new(|stack| RawWaker::new(stack, &WAKER), wake_stack, wake_stack, |_| {});

/// # Safety
/// `stack` points to a `StackHeader`.
unsafe fn wake_stack(stack: *const ()) {
    // SAFETY: as promised; headers live for ever.
    unsafe { &*stack.cast::<StackHeader>() }.notify();
}

/// See [`Worker::put_away`].
struct PutAway {
    #[cfg(feature = "tracing-layer")]
    spans: crate::entered::PutAway,
    context: context::Saved,
}

impl StackHeader {
    /// For the record: it is about to be suspended. Before it waits, since it may be woken then.
    #[inline]
    fn record_suspension(&self, waits_for: impl FnOnce() -> &'static str) {
        if record::enabled() {
            self.record_suspension_now(waits_for());
        } else {
            self.note_no_task();
        }
    }

    #[cold]
    fn record_suspension_now(&self, waits_for: &'static str) {
        let task = waiting::task_number();
        self.note_task(task);
        let stack = self.number();
        record::event(|log| Event::StackSuspend { task, stack, waits_for: log.word(waits_for) });
    }
}

impl Worker {
    /// Makes sure that `leave` finds a stack for a new loop, before anything is irrevocable.
    ///
    /// # Errors
    /// When the system has no memory for another stack.
    pub fn keep_a_spare(&self) -> io::Result<()> {
        if self.spare.borrow().is_empty() {
            let stack = StackHeader::take(self.shared.config.stack_class).or_else(|error| {
                // What waits while it unwinds can't be told by another panic.
                let reserve = if std::thread::panicking() { self.reserve.take() } else { None };
                reserve.ok_or(error)
            })?;
            self.spare.borrow_mut().push(stack);
        }
        Ok(())
    }

    /// There is no memory for the stack on which the worker would go on, so `here` can't be suspended.
    #[cold]
    fn without_a_spare(&self, here: &'static StackHeader, error: &io::Error) {
        if !std::thread::panicking() {
            panic!("cannot wait: no other stack for the worker to go on with: {error}");
        }
        // Likely for this very reason, and a second panic would end the process. `wait` polls again.
        self.give_way_to_stacks(here);
    }

    /// Lets others run as far as that takes no new stack: the reactor has a turn, and then a suspended
    /// stack that is ready.
    #[cold]
    fn give_way_to_stacks(&self, here: &'static StackHeader) {
        here.record_suspension(|| "its turn");
        let saved = Self::put_away();
        match self.ready_stack() {
            Some(stack) => {
                self.push_local(NonNull::from(&here.link));
                self.switch(here, continuation(stack), &saved.context);
            }
            None => std::thread::yield_now(),
        }
        self.restore(saved, here);
    }

    /// Suspends the stack it is called on, and returns when it is continued.
    fn leave(&self, here: &'static StackHeader) {
        let saved = Self::put_away();
        let to = match self.next_stack() {
            // It gave way, and nobody was waiting for its place.
            Some(stack) if ptr::eq(stack, here) => {
                self.remote().counters.suspensions.add(1);
                return self.restore(saved, here);
            }
            Some(stack) => continuation(stack),
            None => {
                let spare = self.spare.borrow_mut().pop().expect("kept by keep_a_spare");
                self.new_loop(spare)
            }
        };
        self.switch(here, to, &saved.context);
        self.restore(saved, here);
    }

    /// Suspends `here`, which this runs on, and continues `to`: what was in this worker's queue, or is
    /// a new loop on its spare.
    fn switch(&self, here: &'static StackHeader, mut to: Suspended, saved: &context::Saved) {
        self.remote().counters.suspensions.add(1);
        self.end_run();
        loop {
            // SAFETY: `here` is what we stand on, and its header outlives the suspension; `to` is
            // suspended on this thread, or new, and nobody else continues it, as said above.
            unsafe { suspend_into(&here.suspended, to) };
            // SAFETY: a visitor stands still on its own stack until we go back to it.
            let Some(visit) = (unsafe { self.visit.replace(ptr::null()).as_ref() }) else { break };
            visit.look_around(saved.task_id());
            to = visit.back.take().expect("the visitor is suspended");
        }
        self.arrive(here);
        self.begin_run(&here.link);
    }

    /// Continues `at`, a stack that is suspended in `switch`, until it has done with `visit`.
    pub fn switch_for(&self, visit: &Visit<'_>, at: Suspended) {
        self.visit.set(ptr::from_ref(visit).cast());
        // SAFETY: `at` is suspended on this thread, and the caller has taken it out of its header; it
        // sees the visit first, and comes back.
        unsafe { suspend_into(&visit.back, at) };
    }

    /// What belongs to the running task rather than to the thread.
    fn put_away() -> PutAway {
        let put_away = PutAway {
            #[cfg(feature = "tracing-layer")]
            spans: crate::entered::put_away(),
            context: context::with(context::Context::save),
        };
        put_away.context.shown().inspect(|task| task.exit());
        put_away
    }

    fn restore(&self, saved: PutAway, here: &StackHeader) {
        saved.context.shown().inspect(|task| task.enter());
        context::with(|context| {
            context.restore(saved.context);
            context.budget.set(self.budget());
        });
        #[cfg(feature = "tracing-layer")]
        saved.spans.take_back();
        record::event(|_| Event::StackResume {
            task: waiting::task_number(),
            stack: here.number(),
        });
    }

    /// Leaves the stack it is called on for ever.
    ///
    /// # Safety
    /// Nothing on this stack is needed any more; `to` is suspended on this thread, or new, and the
    /// caller alone continues it.
    unsafe fn retire(&self, here: &'static StackHeader, to: Suspended) -> ! {
        self.retired.set(Some(here));
        // SAFETY: as promised.
        unsafe { raw::exit_to(to) }
    }

    /// On every arrival on a stack.
    fn arrive(&self, here: &'static StackHeader) {
        context::with(|context| context.stack.set(Some(here)));
        self.recycle();
    }

    /// Gives back the stack that was left for ever.
    pub fn recycle(&self) {
        let Some(stack) = self.retired.take() else { return };
        if stack.class() != self.shared.config.stack_class {
            return stack.give_back();
        }
        let mut spare = self.spare.borrow_mut();
        if spare.len() == MOST_SPARES {
            // The coldest half, so that not every stack after this one goes to the pool as well.
            spare.drain(..MOST_SPARES / 2).for_each(StackHeader::give_back);
        }
        if self.reserve.get().is_none() && !spare.is_empty() {
            self.reserve.set(Some(stack));
        } else {
            spare.push(stack);
        }
    }

    /// A loop about to begin on an unused stack.
    pub fn new_loop(&self, stack: &'static StackHeader) -> Suspended {
        stack
            .owner
            .store(ptr::from_ref(&self.shared.remotes[self.index]).cast_mut(), Ordering::Relaxed);
        let arg = ptr::from_ref(stack).cast_mut().cast();
        // SAFETY: nobody uses this stack, and its memory stays for ever.
        unsafe { raw::prepare(stack.stack().top(), loop_entry, arg) }
    }

    fn run_loop(&self, here: &'static StackHeader) -> ! {
        // What this stack was taken for.
        if let Some(task) = self.first.take() {
            self.run_task(task, here);
        }
        loop {
            match self.next() {
                Some(Run::Task(task)) => self.run(task, here),
                Some(Run::Answer) => {
                    if let Some(task) = self.answer() {
                        self.found();
                        self.run(task, here);
                    }
                }
                Some(Run::Stack(stack)) => {
                    let to = continuation(stack);
                    // SAFETY: this loop holds nothing; the stack was in this worker's queue, so it
                    // is suspended, and ours alone to continue.
                    unsafe { self.retire(here, to) }
                }
                None => {
                    let root = self.root.take().expect("the native stack is suspended in drive");
                    // SAFETY: this loop holds nothing; `drive` suspended the root on this thread.
                    unsafe { self.retire(here, root) }
                }
            }
        }
    }

    /// Runs a task here, or on a stack that suits it: then this loop ends.
    fn run(&self, task: TaskRef, here: &'static StackHeader) {
        let Some(stack) = self.stack_for(task, here) else { return self.run_task(task, here) };
        self.first.set(Some(task));
        let to = self.new_loop(stack);
        // SAFETY: this loop holds nothing; `to` is new.
        unsafe { self.retire(here, to) }
    }

    /// Another stack to run this task on, if it asks for another class than this one's, or for one
    /// that is clean.
    fn stack_for(&self, task: TaskRef, here: &'static StackHeader) -> Option<&'static StackHeader> {
        // SAFETY: it was queued, so it is alive.
        let meta = &unsafe { task.as_ref() }.meta;
        let (wish, measured) = (meta.stack_class(), meta.is_stack_measured());
        let class = wish.unwrap_or(self.shared.config.stack_class);
        if class == here.class() && !measured {
            return None;
        }
        if wish.is_none()
            && !measured
            && let Some(spare) = self.spare.borrow_mut().pop()
        {
            return Some(spare);
        }
        match StackHeader::take(class) {
            Ok(stack) => {
                if measured {
                    // SAFETY: nobody stands on a stack from the pool.
                    unsafe { stack.stack().clear() };
                }
                Some(stack)
            }
            Err(error) => {
                // On a smaller stack it might run off the end. It is dropped here, as if it had
                // panicked at its beginning.
                let reason = format!("cannot start: no stack of {class} bytes: {error}");
                tracing::error!(task = %meta.id, "{reason}");
                // SAFETY: it was queued, so it is alive.
                unsafe { Header::refuse(task, reason) };
                None
            }
        }
    }

    fn run_task(&self, task: TaskRef, here: &'static StackHeader) {
        context::with(|context| {
            context.task.set(Some(task));
            context.budget.set(self.budget());
        });
        self.remote().counters.polls.add(1);
        // SAFETY: as above.
        self.begin_run(&unsafe { task.as_ref() }.link);
        record::event(|_| Event::PollBegin {
            task: waiting::task_number(),
            stack: stack_under_us().map_or(0, StackHeader::number),
        });
        // SAFETY: it came from a queue, which gives the right to one poll, and this worker may poll
        // what stands in its queues.
        unsafe { Header::poll(task) };
        self.end_run();
        context::with(|context| context.task.set(None));
        // A runtime that the task has entered, by a guard that it holds across an await, isn't the
        // next task's.
        super::leave_runtime(ptr::null());
        here.regions.clear();
    }
}

/// How deep the stack that this runs on has been used since the task on it began, if that was asked
/// for, in bytes; and the size of the stack.
pub(crate) fn measure_stack() -> Option<(usize, usize)> {
    let header = stack_under_us()?;
    // SAFETY: this thread stands on it, so no other does.
    Some((unsafe { header.stack().depth() }, header.class()))
}

/// The stack that this runs on, if it is a worker's.
fn stack_under_us() -> Option<&'static StackHeader> {
    let stack = context::with(|context| context.stack.get())?;
    // SAFETY: the address is that of a stack header, and those live for ever.
    Some(unsafe { &*stack.address().cast::<StackHeader>() })
}

/// Where a suspended stack goes on.
fn continuation(stack: &'static StackHeader) -> Suspended {
    stack.suspended.take().expect("a queued stack is suspended")
}

/// # Safety
/// The place outlives the suspension, and only this thread reads it; otherwise as `raw::switch`.
unsafe fn suspend_into(place: &Cell<Option<Suspended>>, to: Suspended) {
    // `Option<Suspended>` is one pointer wide (as its docs say), `Some` being the pointer itself.
    const { assert!(size_of::<Option<Suspended>>() == size_of::<Suspended>()) };
    // SAFETY: as promised; the place is written before anything else runs on this thread.
    unsafe { raw::switch(place.as_ptr().cast::<Suspended>(), to) };
}

/// Suspends the native stack, and runs a loop on a stack of its own until it leaves.
pub(super) fn run_on_stacks(worker: &Worker) {
    if let Err(error) = worker.keep_a_spare() {
        panic!("cannot run: no memory for a stack: {error}");
    }
    let spare = worker.spare.borrow_mut().pop().expect("kept by keep_a_spare");
    let to = worker.new_loop(spare);
    // SAFETY: `to` is new; the worker lives until its thread has left it.
    unsafe { suspend_into(&worker.root, to) };
    worker.recycle();
    worker.look_away();
}

/// Where a new loop stack begins.
///
/// # Safety
/// `stack` points to the header of the stack this runs on, and this thread has a worker.
unsafe extern "C" fn loop_entry(stack: *mut ()) -> ! {
    // SAFETY: as promised; headers live for ever.
    let here: &'static StackHeader = unsafe { &*stack.cast::<StackHeader>() };
    let worker = context::with(|context| context.worker.get()).cast::<Worker>();
    // SAFETY: as promised; `drive` frees a worker only after its last loop was left.
    let worker = unsafe { &*worker };
    worker.arrive(here);
    worker.run_loop(here)
}
