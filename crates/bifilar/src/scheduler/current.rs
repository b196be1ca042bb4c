//! Which runtime the running code belongs to: its worker's, or one that it has entered.
//!
//! ```text
//!   on a worker             the worker's runtime; its reactor
//!   within an `Entered`     the runtime that was entered; on a thread that is no worker, one of its
//!                           reactors and its log as well
//!   otherwise               none
//! ```
//!
//! What it deliberately does not do: make a thread a worker; see [`drive`](super::drive).

use super::{Shared, worker::Worker};
use crate::{context, reactor, record};
use std::{fmt, ptr, sync::Arc};

impl Shared {
    /// The runtime of the code on this thread: its worker's, or the one it has entered.
    pub fn current() -> Option<Arc<Shared>> {
        let entered = context::with(|context| context.runtime.get()).cast::<Shared>();
        let shared = if entered.is_null() {
            Worker::with_current(|worker| Some(Arc::as_ptr(&worker?.shared)))?
        } else {
            entered
        };
        // SAFETY: the worker, or the guard that entered, holds a reference.
        unsafe {
            Arc::increment_strong_count(shared);
            Some(Arc::from_raw(shared))
        }
    }
}

/// Makes `shared` the runtime of the running code until what is returned is dropped.
pub(crate) fn enter(shared: Arc<Shared>) -> Entered {
    let outside = (!on_worker()).then(|| {
        let record = record::enter(shared.record.as_ref(), record::thread_name);
        (reactor::enter(shared.any_reactor()), record)
    });
    let before = context::with(|context| context.runtime.replace(Arc::into_raw(shared).cast()));
    Entered { before, _outside: outside }
}

/// See [`enter`]. The context owns a reference of the runtime it names, and this one of the runtime
/// before it; so guards that are dropped in another order, or elsewhere, leave the wrong runtime
/// behind, but none that is gone.
pub(crate) struct Entered {
    before: *const (),
    /// On a worker, sockets and timers stay with the worker's own reactor, and events with its log.
    _outside: Option<(reactor::Entered, record::Entered)>,
}

impl Drop for Entered {
    fn drop(&mut self) {
        leave_runtime(self.before);
    }
}

/// Puts `before` into the context, and gives back the reference of what stood there.
pub(super) fn leave_runtime(before: *const ()) {
    let left = context::with(|context| context.runtime.replace(before)).cast::<Shared>();
    if !left.is_null() {
        // SAFETY: the context owned this reference, made by `enter`.
        drop(unsafe { Arc::from_raw(left) });
    }
}

impl fmt::Debug for Entered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Entered")
    }
}

/// Whether this thread is a worker of `shared`, if only beneath another runtime that one of its
/// tasks drives.
pub(crate) fn stands_on(shared: &Shared) -> bool {
    Worker::with_current(|mut worker| {
        while let Some(this) = worker {
            if ptr::eq(Arc::as_ptr(&this.shared), shared) {
                return true;
            }
            // SAFETY: set by `Driver::enter` to the worker that is blocked on this very thread.
            worker = unsafe { this.outer.get().as_ref() };
        }
        false
    })
}

/// Whether this thread is a worker of some runtime.
pub(crate) fn on_worker() -> bool {
    !context::with(|context| context.worker.get()).is_null()
}

pub(crate) const OUTSIDE: &str = "outside of a bifilar runtime: use bifilar::run, \
                                  bifilar::block_on, #[bifilar::main] or Handle::enter";

/// The runtime of the code on this thread.
///
/// # Panics
/// If there is none.
#[track_caller]
pub(crate) fn expect_current() -> Arc<Shared> {
    match Shared::current() {
        Some(shared) => shared,
        None => panic!("{OUTSIDE}"),
    }
}
