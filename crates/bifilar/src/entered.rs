//! The spans of `tracing` that are entered on a stack go with the stack.
//!
//! ```text
//!   enter(span) ──► registry's span stack of this *thread*      what `tracing` calls the current span
//!        └────────► list of this thread, here
//!
//!   stack is suspended:  the list is taken; its spans are exited, newest first
//!   other tasks run:     with an empty list, and no current span
//!   stack goes on:       its spans are entered again, oldest first
//! ```
//!
//! A subscriber keeps the spans that are entered in a list for each thread, and counts on calls to
//! nest. A stack that is suspended in the middle of a span would leave it entered for whoever runs
//! next on the worker, whose events and spans would then seem to belong to it. So the layer notes what
//! is entered, and the scheduler takes and restores it around each suspension, as `Instrumented`
//! does around each `.await`.
//!
//! What it deliberately does not do: anything unless a [layer](crate::recording::TracingLayer) was
//! made.

use std::{
    cell::{Cell, RefCell},
    sync::atomic::{AtomicBool, Ordering},
};
use tracing::{Dispatch, dispatcher, span::Id};

/// Whether a layer notes what is entered. Relaxed: spans that were entered before it are unknown
/// anyway.
static WATCHED: AtomicBool = AtomicBool::new(false);

thread_local! {
    static ENTERED: RefCell<Vec<Id>> = const { RefCell::new(Vec::new()) };
    static MOVING: Cell<bool> = const { Cell::new(false) };
}

/// From now on somebody notes what is entered.
pub(crate) fn watch() {
    WATCHED.store(true, Ordering::Relaxed);
}

/// For the layer: a span was entered on this thread. `false`: only since its stack goes on.
pub(crate) fn enter(id: &Id) -> bool {
    if MOVING.get() {
        return false;
    }
    let _ = ENTERED.try_with(|entered| entered.borrow_mut().push(id.clone()));
    true
}

/// For the layer: a span was exited on this thread. `false`: only since its stack is suspended.
pub(crate) fn exit(id: &Id) -> bool {
    if MOVING.get() {
        return false;
    }
    let _ = ENTERED.try_with(|entered| {
        let mut entered = entered.borrow_mut();
        if let Some(place) = entered.iter().rposition(|other| other == id) {
            entered.remove(place);
        }
    });
    true
}

/// What was entered on a stack that is suspended.
pub(crate) struct PutAway {
    spans: Vec<Id>,
    dispatch: Option<Dispatch>,
}

/// The stack that this runs on is about to be suspended.
#[inline]
pub(crate) fn put_away() -> PutAway {
    if WATCHED.load(Ordering::Relaxed) { exit_all() } else { PutAway::NOTHING }
}

impl PutAway {
    const NOTHING: PutAway = PutAway { spans: Vec::new(), dispatch: None };

    /// The stack goes on.
    #[inline]
    pub fn take_back(self) {
        if let Some(dispatch) = self.dispatch {
            moving(|| self.spans.iter().for_each(|id| dispatch.enter(id)));
            let _ = ENTERED.try_with(|entered| *entered.borrow_mut() = self.spans);
        }
    }
}

#[cold]
fn exit_all() -> PutAway {
    let spans = ENTERED.try_with(RefCell::take).unwrap_or_default();
    if spans.is_empty() {
        return PutAway::NOTHING;
    }
    let dispatch = dispatcher::get_default(Dispatch::clone);
    moving(|| spans.iter().rev().for_each(|id| dispatch.exit(id)));
    PutAway { spans, dispatch: Some(dispatch) }
}

/// Runs what is not the program's own entering and exiting.
pub(crate) fn moving(f: impl FnOnce()) {
    MOVING.set(true);
    f();
    MOVING.set(false);
}
