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
//! feature, [`Shown`] and [`Resource`] have no size, and none of this is ever called.
//!
//! The waker of a *stack* is a plain pointer, which doesn't say whose it is. When a task that is shown
//! waits in blocking style, it lends out one that does: [`waker`]. What tasks wait for is told by
//! [`resource`].
//!
//! What it deliberately does not do: know tasks and locks, which say of themselves what is told; or
//! keep the program's own spans right across suspensions (see `entered`).

mod resource;
mod waker;

pub(crate) use resource::{Form, Resource};
pub(crate) use waker::Lent;

use std::{
    panic::{Location, RefUnwindSafe, UnwindSafe},
    sync::{Arc, Mutex},
    task::Waker,
};
use tracing::{Dispatch, Span, span};

/// A task as the console knows it, if somebody wants to know.
pub(crate) struct Shown {
    #[cfg(feature = "console")]
    span: Option<Arc<TaskSpan>>,
}

/// A task that somebody wants to know of. Its wakers share it.
struct TaskSpan {
    span: OpenSpan,
    /// What it waits for. Only touched where the task runs.
    waits: Mutex<Vec<resource::Wait>>,
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
            span: OpenSpan::of(&span())
                .map(|span| Arc::new(TaskSpan { span, waits: Mutex::default() })),
        }
    }

    #[inline(always)]
    fn span(&self) -> Option<&Arc<TaskSpan>> {
        #[cfg(feature = "console")]
        return self.span.as_ref();
        #[cfg(not(feature = "console"))]
        None
    }

    /// What the task does from now on is its own.
    #[inline]
    pub fn enter(&self) {
        if let Some(task) = self.span() {
            task.enter();
        }
    }

    /// The task stands still.
    #[inline]
    pub fn exit(&self) {
        if let Some(task) = self.span() {
            task.exit();
        }
    }

    /// The task has ended. Once only.
    #[inline]
    pub fn close(&self) {
        if let Some(task) = self.span() {
            task.close();
        }
    }

    /// One of its wakers is about to do what `operation` says.
    #[inline]
    pub fn waker(&self, operation: Operation) {
        if let Some(task) = self.span() {
            task.waker(operation);
        }
    }

    /// Lends out `waker` for the length of a wait.
    #[inline]
    pub fn lend(&self, waker: Waker) -> Lent {
        match self.span() {
            Some(task) => task.lend(waker),
            None => Lent::plain(waker),
        }
    }

    /// The task has polled a future that waits for `resource`, in the way that `form` says.
    #[inline]
    pub fn polled(&self, resource: &Resource, form: Form, is_ready: bool) {
        if let Some(task) = self.span() {
            task.polled(resource, form, is_ready);
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

impl TaskSpan {
    #[cold]
    fn enter(&self) {
        self.span.enter();
        self.begin_poll();
    }

    #[cold]
    fn exit(&self) {
        self.end_poll();
        self.span.exit();
    }

    #[cold]
    fn close(&self) {
        self.end_waits();
        self.span.close();
    }

    #[cold]
    fn waker(&self, operation: Operation) {
        let operation = match operation {
            Operation::Clone => "waker.clone",
            Operation::Drop => "waker.drop",
            Operation::Wake => "waker.wake",
            Operation::WakeByRef => "waker.wake_by_ref",
        };
        let task = self.span.id.into_u64();
        tracing::trace!(target: "runtime::waker", op = operation, task.id = task);
    }
}

/// A span of which one reference is held, up to [`OpenSpan::close`]. A `tracing::Span` would be closed
/// when it is dropped, and wakers may outlive their task.
struct OpenSpan {
    id: span::Id,
    subscriber: Dispatch,
}

// Nothing is left half-done in it: it is only ever read.
impl UnwindSafe for OpenSpan {}
impl RefUnwindSafe for OpenSpan {}

impl OpenSpan {
    /// `None`: nobody wants to know of it.
    fn of(span: &Span) -> Option<Self> {
        span.with_subscriber(|(id, subscriber)| OpenSpan {
            id: subscriber.clone_span(id),
            subscriber: subscriber.clone(),
        })
    }

    fn enter(&self) {
        not_the_program_s(|| self.subscriber.enter(&self.id));
    }

    fn exit(&self) {
        not_the_program_s(|| self.subscriber.exit(&self.id));
    }

    fn close(&self) {
        self.subscriber.try_close(self.id.clone());
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
