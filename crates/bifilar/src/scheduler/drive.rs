//! Making a thread a worker, for as long as it drives one.
//!
//! The worker outlives single drives: between two calls of `block_on` on a current-thread runtime
//! its tasks and suspended stacks stand still.

use super::{Birth, Shared, stack::StackHeader, switching::run_on_stacks, worker::Worker};
use crate::{context, primitives::Ordering, reactor, record, wait::Wait};
use bifilar_coroutine::stack;
use std::{
    future::Future,
    io,
    marker::PhantomData,
    mem::ManuallyDrop,
    panic::resume_unwind,
    pin::pin,
    ptr,
    sync::Arc,
    task::{Context, Poll, Wake, Waker},
    time::Instant,
};

/// A worker that belongs to the thread that made it.
pub(crate) struct Driver {
    worker: ManuallyDrop<Box<Worker>>,
    not_send: PhantomData<*const ()>,
}

/// What a worker begins on, taken before its thread is started, so that it is the one who starts the
/// runtime who learns that there is no memory.
pub(crate) struct FirstStacks {
    spare: &'static StackHeader,
    reserve: &'static StackHeader,
}

impl FirstStacks {
    /// # Errors
    /// When the system has no memory for it.
    pub fn take(shared: &Shared) -> io::Result<Self> {
        let take = || StackHeader::take(shared.config.stack_class);
        let spare = take()?;
        let reserve = take().inspect_err(|_| spare.give_back())?;
        Ok(FirstStacks { spare, reserve })
    }
}

impl Drop for FirstStacks {
    fn drop(&mut self) {
        self.spare.give_back();
        self.reserve.give_back();
    }
}

impl Driver {
    pub fn new(shared: Arc<Shared>, index: usize, first: FirstStacks) -> Self {
        let worker = Worker::new(shared, index);
        let first = ManuallyDrop::new(first);
        worker.spare.borrow_mut().push(first.spare);
        worker.reserve.set(Some(first.reserve));
        Driver { worker: ManuallyDrop::new(Box::new(worker)), not_send: PhantomData }
    }

    pub fn shared(&self) -> &Arc<Shared> {
        &self.worker.shared
    }

    /// The worker's number.
    pub fn index(&self) -> usize {
        self.worker.index
    }

    /// Runs the worker until `future` is ready. It may borrow: it is gone when this returns.
    ///
    /// Called within itself, it is `wait`.
    ///
    /// # Panics
    /// With what the future panics with; if this worker is blocked beneath another runtime that one
    /// of its own tasks drives on this thread.
    #[track_caller]
    pub fn block_on<F: Future>(&self, future: F, mut birth: Birth) -> F::Output {
        if ptr::eq(context::with(|context| context.worker.get()), self.address()) {
            return future.wait();
        }
        assert!(
            self.worker.root.get().is_none(),
            "this runtime is blocked by the one that its task runs: use .wait() there"
        );
        let _entered = self.enter();
        birth.main = true;
        let (shared, index) = (self.shared(), self.index());
        let leave = Waker::from(Arc::new(Leave { shared: shared.clone(), index }));
        let unwinding = AbortOnUnwind;
        // SAFETY: polled and dropped by this worker only, on this thread. It is complete, and its
        // output taken, when the loop below ends, and nothing leaves that loop otherwise.
        let mut handle = pin!(unsafe { shared.spawn_unchecked(future, birth, Some(index), index) });
        let result = loop {
            shared.remotes[index].leave.store(false, Ordering::Relaxed);
            match handle.as_mut().poll(&mut Context::from_waker(&leave)) {
                Poll::Ready(result) => break result,
                Poll::Pending => run_on_stacks(&self.worker),
            }
        };
        std::mem::forget(unwinding);
        result.unwrap_or_else(|error| match error.try_into_panic() {
            Ok(payload) => resume_unwind(payload),
            Err(_) if shared.is_closed() => panic!("the bifilar runtime has been shut down"),
            Err(_) => panic!("the main task was cancelled"),
        })
    }

    /// Runs the worker until its runtime has no unfinished task any more, or until `deadline`.
    pub fn run_until_finished(&self, deadline: Option<Instant>) {
        let _entered = self.enter();
        self.worker.deadline.set(deadline);
        self.shared().remotes[self.index()].leave.store(false, Ordering::Relaxed);
        run_on_stacks(&self.worker);
    }

    fn enter(&self) -> Entered {
        stack::prepare_thread();
        let remote = &self.shared().remotes[self.index()];
        // SAFETY: asks for a number.
        remote.thread.store(unsafe { libc::gettid() }, Ordering::Relaxed);
        remote.counters.work.begin();
        // It is no longer at rest.
        self.shared().monitor.stir();
        remote.questions.open();
        let reactor = remote.reactor.clone();
        let worker = context::with(|context| context.worker.replace(self.address()));
        self.worker.outer.set(worker.cast());
        // Each worker begins with another one to rob; a simulated run, with what its seed says.
        let lot = self
            .shared()
            .config
            .seed
            .map_or(0x9E37_79B9 ^ (self.index() as u32 + 1), |seed| seed as u32 | 1);
        context::with(|context| context.lot.set(lot));
        let name = || format!("worker {}", self.index());
        let record = record::enter(self.shared().record.as_ref(), name);
        context::with(|context| Entered {
            worker,
            stack: context.stack.take(),
            saved: Some(context.save()),
            shared: self.shared().clone(),
            index: self.index(),
            _reactor: reactor::enter(reactor),
            _record: record,
        })
    }

    /// As the context knows it.
    fn address(&self) -> *const () {
        ptr::from_ref(&**self.worker).cast()
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        // Stacks that are still suspended refer to the worker: then it is never freed. Nor is its
        // runtime, of which it holds a reference.
        if self.shared().is_finished() {
            for stack in self.worker.spare.take().into_iter().chain(self.worker.reserve.take()) {
                stack.give_back();
            }
            // SAFETY: dropped once, here; no loop is left that could refer to it.
            unsafe { ManuallyDrop::drop(&mut self.worker) };
        }
    }
}

/// What the thread was before it became this worker: nothing, or another worker that is blocked
/// meanwhile.
struct Entered {
    worker: *const (),
    stack: Option<&'static dyn context::Suspend>,
    saved: Option<context::Saved>,
    shared: Arc<Shared>,
    index: usize,
    _reactor: reactor::Entered,
    _record: record::Entered,
}

impl Drop for Entered {
    fn drop(&mut self) {
        let remote = &self.shared.remotes[self.index];
        remote.counters.work.end();
        remote.thread.store(0, Ordering::Relaxed);
        remote.questions.close();
        context::with(|context| {
            context.worker.set(self.worker);
            context.stack.set(self.stack);
            if let Some(saved) = self.saved.take() {
                context.restore(saved);
            }
        });
    }
}

/// Calls the loop back to the native stack.
struct Leave {
    shared: Arc<Shared>,
    index: usize,
}

impl Wake for Leave {
    fn wake(self: Arc<Self>) {
        let remote = &self.shared.remotes[self.index];
        remote.leave.store(true, Ordering::Relaxed);
        remote.unpark();
    }
}

/// A task that may borrow from this frame must not outlive it.
struct AbortOnUnwind;

impl Drop for AbortOnUnwind {
    fn drop(&mut self) {
        eprintln!("bifilar: a worker's loop panicked; this is a bug in bifilar");
        std::process::abort();
    }
}
