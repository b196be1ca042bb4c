//! What tasks do, told to tokio-console (feature `console`).
//!
//! ```text
//!   spawn                           span "runtime.spawn" with kind, name, number, size and place
//!   a poll begins, a stack goes on  the span is entered ─┐ what the console calls a poll
//!   it ends, a stack is suspended   the span is exited  ─┘
//!   a waker is cloned, dropped,     event of target "runtime::waker", which names the span; within
//!   used; a task is cancelled       the task's own span, the console takes a wake-up for a self-wake
//!   the task ends                   the span is closed
//! ```
//!
//! These are the names that the crate `console-subscriber` looks for; other subscribers see them as
//! well. Whether anybody wants to know of a task is asked once, when it is spawned. After that, a task
//! of which nobody wants to know costs one look at a null pointer at each of these places. Without the
//! feature, [`Shown`] has no size, and none of this is ever called.
//!
//! The waker of a *stack* is a plain pointer, which doesn't say whose it is. When a task that is shown
//! waits in blocking style, it lends out one that does: [`Lent`].
//!
//! What it deliberately does not do: know tasks, which say of themselves what is told; or keep the
//! program's own spans right across suspensions (see `entered`).

use std::{
    mem::ManuallyDrop,
    ops::Deref,
    panic::Location,
    sync::Arc,
    task::{RawWaker, RawWakerVTable, Waker},
};
use tracing::{Dispatch, Span, span};

/// A task as the console knows it, if somebody wants to know.
#[derive(Clone)]
pub(crate) struct Shown {
    #[cfg(feature = "console")]
    span: Option<Arc<OpenSpan>>,
}

/// A span of which one reference is held, from [`Shown::task`] to [`Shown::close`]. A `tracing::Span`
/// would be closed when it is dropped, and wakers may outlive their task.
struct OpenSpan {
    id: span::Id,
    subscriber: Dispatch,
}

impl Shown {
    /// A task is about to be spawned. `kind` is in the console's words.
    #[inline]
    pub fn task(
        kind: &'static str,
        name: Option<&str>,
        number: u64,
        bytes: usize,
        place: &'static Location<'static>,
    ) -> Self {
        Shown::opened(|| {
            tracing::trace_span!(
                target: "bifilar::task",
                parent: None,
                "runtime.spawn",
                kind,
                task.name = name,
                task.id = number,
                size.bytes = bytes,
                loc.file = place.file(),
                loc.line = place.line(),
                loc.col = place.column(),
            )
        })
    }

    #[inline(always)]
    #[cfg_attr(not(feature = "console"), expect(unused_variables))]
    fn opened(span: impl FnOnce() -> Span) -> Self {
        Shown {
            #[cfg(feature = "console")]
            span: span().with_subscriber(|(id, subscriber)| {
                let (id, subscriber) = (subscriber.clone_span(id), subscriber.clone());
                Arc::new(OpenSpan { id, subscriber })
            }),
        }
    }

    #[inline(always)]
    fn span(&self) -> Option<&Arc<OpenSpan>> {
        #[cfg(feature = "console")]
        return self.span.as_ref();
        #[cfg(not(feature = "console"))]
        None
    }

    /// What the task does from now on is its own.
    #[inline]
    pub fn enter(&self) {
        if let Some(span) = self.span() {
            span.enter();
        }
    }

    /// The task stands still.
    #[inline]
    pub fn exit(&self) {
        if let Some(span) = self.span() {
            span.exit();
        }
    }

    /// The task has ended. Once only.
    #[inline]
    pub fn close(&self) {
        if let Some(span) = self.span() {
            span.close();
        }
    }

    /// One of its wakers is about to do what `operation` says.
    #[inline]
    pub fn waker(&self, operation: Operation) {
        if let Some(span) = self.span() {
            span.waker(operation);
        }
    }

    /// Lends out `waker` for the length of a wait.
    #[inline]
    pub fn lend(&self, waker: Waker) -> Lent {
        match self.span() {
            Some(span) => span.lend(waker),
            None => Lent::Plain(waker),
        }
    }
}

/// What is done with a waker, in the console's words.
#[derive(Clone, Copy)]
pub(crate) enum Operation {
    Clone,
    Drop,
    /// The waker is gone afterwards, and isn't told of as dropped.
    Wake,
    WakeByRef,
}

impl OpenSpan {
    #[cold]
    fn enter(&self) {
        not_the_program_s(|| self.subscriber.enter(&self.id));
    }

    #[cold]
    fn exit(&self) {
        not_the_program_s(|| self.subscriber.exit(&self.id));
    }

    #[cold]
    fn close(&self) {
        self.subscriber.try_close(self.id.clone());
    }

    #[cold]
    fn waker(&self, operation: Operation) {
        let operation = match operation {
            Operation::Clone => "waker.clone",
            Operation::Drop => "waker.drop",
            Operation::Wake => "waker.wake",
            Operation::WakeByRef => "waker.wake_by_ref",
        };
        tracing::trace!(target: "runtime::waker", op = operation, task.id = self.id.into_u64());
    }

    #[cold]
    fn lend(self: &Arc<Self>, waker: Waker) -> Lent {
        let counted = Arc::new(Counted { of: self.clone(), waker });
        // SAFETY: the vtable keeps `RawWaker`'s contract: what it points to is counted, and may be
        // used on any thread.
        let waker = unsafe { Waker::new(Arc::as_ptr(&counted).cast(), &COUNTED) };
        Lent::Counted { waker: ManuallyDrop::new(waker), _keeps: counted }
    }
}

/// Enters or exits a span that isn't the program's own: no box in recordings, and not to be moved
/// with the program's when a stack is suspended.
fn not_the_program_s(f: impl FnOnce()) {
    #[cfg(feature = "tracing-layer")]
    crate::entered::moving(f);
    #[cfg(not(feature = "tracing-layer"))]
    f();
}

/// A waker for the length of a wait. That it ends is not told to the console, for which it is what a
/// task's poll is given: only clones count.
pub(crate) enum Lent {
    Plain(Waker),
    Counted { waker: ManuallyDrop<Waker>, _keeps: Arc<Counted> },
}

impl Deref for Lent {
    type Target = Waker;

    fn deref(&self) -> &Waker {
        match self {
            Lent::Plain(waker) => waker,
            Lent::Counted { waker, .. } => waker,
        }
    }
}

/// A waker that says whose it is.
pub(crate) struct Counted {
    of: Arc<OpenSpan>,
    waker: Waker,
}

static COUNTED: RawWakerVTable = RawWakerVTable::new(clone, wake, wake_by_ref, drop);

/// # Safety
/// `data` comes from an `Arc<Counted>` of which a reference is held meanwhile.
unsafe fn counted<'a>(data: *const ()) -> &'a Counted {
    // SAFETY: as promised.
    unsafe { &*data.cast::<Counted>() }
}

unsafe fn clone(data: *const ()) -> RawWaker {
    // SAFETY: a waker holds a reference.
    unsafe {
        counted(data).of.waker(Operation::Clone);
        Arc::increment_strong_count(data.cast::<Counted>());
    }
    RawWaker::new(data, &COUNTED)
}

unsafe fn wake(data: *const ()) {
    // SAFETY: a waker holds a reference, which is this function's to give back.
    let counted = unsafe { Arc::from_raw(data.cast::<Counted>()) };
    counted.of.waker(Operation::Wake);
    counted.waker.wake_by_ref();
}

unsafe fn wake_by_ref(data: *const ()) {
    // SAFETY: a waker holds a reference.
    let counted = unsafe { counted(data) };
    counted.of.waker(Operation::WakeByRef);
    counted.waker.wake_by_ref();
}

unsafe fn drop(data: *const ()) {
    // SAFETY: a waker holds a reference, which is this function's to give back.
    let counted = unsafe { Arc::from_raw(data.cast::<Counted>()) };
    counted.of.waker(Operation::Drop);
}
