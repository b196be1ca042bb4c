//! Loom's models of what is here: every order of the atomic operations, every value that the
//! memory model allows a load to see, for two or three threads.
//!
//! `RUSTFLAGS="--cfg loom" cargo test -p bifilar --release --lib loom`
//!
//! A lost wake-up shows as a deadlock: the model's threads wait for ever. A value reached without
//! permission shows as a data race on loom's `UnsafeCell`. Wait list entries lie in such cells
//! too, so the models also check that these are touched under the lock only.

mod broadcast;
mod channel;
mod locks;
mod oneshot;
mod signals;
mod tokens;
mod watch;

use crate::primitives::{Condvar, Mutex};
use std::{
    future::Future,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, Wake, Waker},
};

/// Parks a loom thread.
struct Parker {
    woken: Mutex<bool>,
    changed: Condvar,
}

impl Wake for Parker {
    fn wake(self: Arc<Self>) {
        *self.woken.lock().unwrap() = true;
        self.changed.notify_one();
    }
}

/// Polls until ready, and never without having been woken: a lost wake-up is a deadlock.
pub(super) fn block_on<F: Future>(future: F) -> F::Output {
    let parker = Arc::new(Parker { woken: Mutex::new(false), changed: Condvar::new() });
    let waker = Waker::from(parker.clone());
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return output;
        }
        let mut woken = parker.woken.lock().unwrap();
        while !*woken {
            woken = parker.changed.wait(woken).unwrap();
        }
        *woken = false;
    }
}

/// Polls once, with a waker that does nothing.
pub(super) fn poll_once<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

/// Runs a model; three threads need their preemptions bounded to be through in seconds.
pub(super) fn model(preemptions: Option<usize>, body: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = preemptions;
    builder.check(body);
}
