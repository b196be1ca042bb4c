//! What tasks wait for: timers, locks, channels.
//!
//! ```text
//!   a task must wait for it, the first time   span "runtime.resource": type, kind, where it was made
//!   a task begins to wait for it              span "runtime.resource.async_op"
//!   each poll of the future that waits        both are entered; the first time with the event
//!                                             "runtime::resource::poll_op", by which the console
//!                                             learns which task it is
//!   the future is ready, or isn't polled      the operation's span is closed
//!   any more
//!   the resource is dropped                   its span is closed
//! ```
//!
//! So what nobody ever waits for isn't told of; and a future needs to keep nothing for it, since a
//! wait belongs to the *task*: what was waited for and hasn't been polled by the end of the task's
//! poll has been given up.
//!
//! Events are few, since `console-subscriber` 0.5 takes in no more than 128 in each of its rounds (that
//! is when its own runtime makes it give way), and shows the others later.

use super::{OpenSpan, TaskSpan};
use std::{
    mem,
    panic::Location,
    sync::{Arc, MutexGuard, OnceLock, PoisonError},
};

/// Something that can be waited for, as the console knows it. Part of it.
pub(crate) struct Resource {
    #[cfg(feature = "console")]
    made: Made,
}

/// See [`Resource`].
struct Made {
    at: &'static Location<'static>,
    span: OnceLock<ResourceSpan>,
}

/// How a resource and a wait for it are called.
#[derive(Clone, Copy)]
pub(crate) struct Form {
    /// "timer" or "sync".
    pub kind: &'static str,
    pub concrete_type: &'static str,
    pub operation: &'static str,
}

impl Resource {
    /// Made where the caller is called.
    #[inline]
    #[track_caller]
    pub const fn new() -> Self {
        Resource {
            #[cfg(feature = "console")]
            made: Made { at: Location::caller(), span: OnceLock::new() },
        }
    }

    #[inline(always)]
    fn made(&self) -> Option<&Made> {
        #[cfg(feature = "console")]
        return Some(&self.made);
        #[cfg(not(feature = "console"))]
        None
    }
}

impl Made {
    /// Opens the span, if somebody wants to know.
    fn open(&self, form: Form) -> Option<&ResourceSpan> {
        if self.span.get().is_none() {
            let span = OpenSpan::of(&tracing::trace_span!(
                target: "bifilar::resource",
                parent: None,
                "runtime.resource",
                concrete_type = form.concrete_type,
                kind = form.kind,
                loc.file = self.at.file(),
                loc.line = self.at.line(),
                loc.col = self.at.column(),
            ))?;
            // Two may come at a time. The second one's is closed again.
            let _ = self.span.set(ResourceSpan(Arc::new(span)));
        }
        self.span.get()
    }
}

/// Closed with the resource.
struct ResourceSpan(Arc<OpenSpan>);

impl Drop for ResourceSpan {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// A task waits for a resource.
pub(super) struct Wait {
    resource: Arc<OpenSpan>,
    operation: &'static str,
    span: OpenSpan,
    /// In this poll of the task.
    polled: bool,
}

impl Wait {
    /// A task has polled for the first time, and must wait.
    fn begin(resource: &ResourceSpan, operation: &'static str) -> Option<Self> {
        let resource = resource.0.clone();
        resource.enter();
        let span = OpenSpan::of(&tracing::trace_span!(
            target: "bifilar::resource",
            parent: None,
            "runtime.resource.async_op",
            source = operation,
        ));
        resource.exit();
        let wait = Wait { span: span?, resource, operation, polled: true };
        wait.within(|| {
            tracing::trace!(
                target: "runtime::resource::poll_op",
                op_name = operation,
                is_ready = false,
            );
        });
        Some(wait)
    }

    fn is(&self, resource: &ResourceSpan, operation: &str) -> bool {
        Arc::ptr_eq(&self.resource, &resource.0) && self.operation == operation
    }

    fn within(&self, f: impl FnOnce()) {
        self.resource.enter();
        self.span.enter();
        f();
        self.span.exit();
        self.resource.exit();
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        self.span.close();
    }
}

impl TaskSpan {
    #[cold]
    pub(super) fn polled(&self, resource: &Resource, form: Form, is_ready: bool) {
        let Some(made) = resource.made() else { return };
        if is_ready && made.span.get().is_none() {
            return;
        }
        let Some(resource) = made.open(form) else { return };
        // Taken out: who is told might wait for something himself.
        let mut waits = mem::take(&mut *self.waits());
        match waits.iter().position(|wait| wait.is(resource, form.operation)) {
            Some(place) => {
                waits[place].polled = true;
                waits[place].within(|| ());
                if is_ready {
                    waits.remove(place);
                }
            }
            None if is_ready => {}
            None => waits.extend(Wait::begin(resource, form.operation)),
        }
        self.waits().append(&mut waits);
    }

    pub(super) fn begin_poll(&self) {
        self.waits().iter_mut().for_each(|wait| wait.polled = false);
    }

    pub(super) fn end_poll(&self) {
        let given_up: Vec<Wait> = self.waits().extract_if(.., |wait| !wait.polled).collect();
        drop(given_up);
    }

    pub(super) fn end_waits(&self) {
        let waits = mem::take(&mut *self.waits());
        drop(waits);
    }

    fn waits(&self) -> MutexGuard<'_, Vec<Wait>> {
        self.waits.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
