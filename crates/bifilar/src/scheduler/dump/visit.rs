//! Visits to suspended stacks, which walk themselves.

use super::{Answers, Trace};
use crate::{
    cell::Id,
    scheduler::{stack::StackHeader, worker::Worker},
};
use bifilar_coroutine::raw::Suspended;
use std::{cell::Cell, sync::atomic::Ordering};

/// What a visit needs below the place where a stack is suspended: unwinding takes 6 KiB (measured),
/// 8 in a debug build.
const ROOM: usize = 12 << 10;

impl Worker {
    /// Has `stack` capture its backtrace, if `task` is suspended there, on this worker.
    pub(super) fn visit(
        &self,
        stack: &'static StackHeader,
        task: Id,
        answers: &Answers,
    ) -> Option<Trace> {
        let me = std::ptr::from_ref(&self.shared.remotes[self.index]);
        if !std::ptr::eq(stack.owner.load(Ordering::Relaxed), me) {
            return None;
        }
        // Ours: so what follows is touched by this thread alone.
        let at = stack.suspended.take()?;
        if at.as_ptr().addr() < stack.stack().limit().addr().get() + ROOM {
            stack.suspended.set(Some(at));
            return Some(Trace::NoRoom);
        }
        let visit = Visit { back: Cell::new(None), task, answers, trace: Cell::new(None) };
        self.switch_for(&visit, at);
        visit.trace.take()
    }
}

/// A visit of a loop to a suspended stack, as the stack sees it.
pub(in crate::scheduler) struct Visit<'a> {
    /// Where the loop is suspended.
    pub back: Cell<Option<Suspended>>,
    task: Id,
    answers: &'a Answers,
    trace: Cell<Option<Trace>>,
}

impl Visit<'_> {
    /// On the stack that is visited, which belongs to `task`.
    #[cold]
    #[inline(never)]
    pub fn look_around(&self, task: Option<Id>) {
        if task != Some(self.task) {
            return;
        }
        self.trace.set(Some(Trace::Stack(self.answers.capture())));
    }
}
