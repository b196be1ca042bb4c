//! Waiting on a thread that is no worker: park it.

use super::EventCount;
use std::{
    future::Future,
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
    loop {
        let seen = parker.count.observe();
        if let Poll::Ready(output) = future.as_mut().poll(&mut cx) {
            return output;
        }
        if parker.count.begin_wait(seen) {
            while parker.count.is_waiting() {
                thread::park();
            }
        }
    }
}
