//! Waiting on a thread that is no worker: park it.

use super::EventCount;
use crate::{
    context::{self, Interruption},
    record,
};
use std::{
    future::Future,
    mem::MaybeUninit,
    ops::Range,
    panic::resume_unwind,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Wake, Waker},
    thread::{self, Thread},
};

/// Wakes a thread that waits. The count, and not the thread's own park token, decides: user code
/// may use `thread::park` for its own purposes, and waits may nest.
struct Parker {
    count: EventCount,
    thread: Thread,
}

impl Wake for Parker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.count.notify() {
            self.thread.unpark();
        }
    }
}

pub(super) fn park_until_ready<F: Future>(mut future: Pin<&mut F>) -> F::Output {
    thread_local! {
        static PARKER: Arc<Parker> =
            Arc::new(Parker { count: EventCount::new(), thread: thread::current() });
    }
    // In a destructor of a thread-local the cached parker may be gone already.
    let parker = PARKER.try_with(Arc::clone).unwrap_or_else(|_| {
        Arc::new(Parker { count: EventCount::new(), thread: thread::current() })
    });
    let waker = Waker::from(parker.clone());
    let mut cx = Context::from_waker(&waker);
    // As on a stack: code that always finds something ready can be interrupted.
    if !context::spend() {
        context::refill();
        unwind_if_interrupted(&mut cx);
    }
    loop {
        let seen = parker.count.observe();
        if let Poll::Ready(output) = future.as_mut().poll(&mut cx) {
            return output;
        }
        unwind_if_interrupted(&mut cx);
        if parker.count.begin_wait(seen) {
            while parker.count.is_waiting() {
                // What it is on Linux.
                let _ = record::system_call("futex", -1, 0, || {
                    thread::park();
                    Ok(())
                });
            }
        }
    }
}

/// Unwinds to the edge of a region that has come to its end. Not while the thread unwinds already.
fn unwind_if_interrupted(cx: &mut Context<'_>) {
    if cfg!(panic = "abort") || thread::panicking() {
        return;
    }
    // SAFETY: regions of a thread live as long as it does.
    let regions = unsafe { &*context::regions() };
    if let Interruption::Unwind(region) = regions.interrupted(cx, on_this_thread) {
        resume_unwind(Box::new(region));
    }
}

/// Whether this is an address on the thread's own stack, and not on that of a coroutine.
fn on_this_thread(address: *const ()) -> bool {
    thread_local! {
        static STACK: Range<usize> = own_stack();
    }
    STACK.try_with(|stack| stack.contains(&address.addr())).unwrap_or(false)
}

/// The addresses of this thread's own stack; none if the system doesn't say.
fn own_stack() -> Range<usize> {
    let mut attributes = MaybeUninit::<libc::pthread_attr_t>::uninit();
    // SAFETY: fills in what it is given, when it succeeds.
    if unsafe { libc::pthread_getattr_np(libc::pthread_self(), attributes.as_mut_ptr()) } != 0 {
        return 0..0;
    }
    let (mut lowest, mut size) = (std::ptr::null_mut(), 0);
    // SAFETY: filled in above.
    let told = unsafe { libc::pthread_attr_getstack(attributes.as_ptr(), &mut lowest, &mut size) };
    // SAFETY: as above, and used no more.
    unsafe { libc::pthread_attr_destroy(attributes.as_mut_ptr()) };
    if told == 0 { lowest.addr()..lowest.addr() + size } else { 0..0 }
}
