//! Whose stack overflowed: what the message of `bifilar_coroutine::stack` says of our stacks.
//!
//! Runs in a signal handler, on the thread that overflowed: reads the context and the header of the
//! running task, allocates nothing and locks nothing.

use super::stack::StackHeader;
use crate::{
    cell::{Meta, TaskKind},
    context,
};
use bifilar_coroutine::stack::{Line, Overflow};
use std::fmt::{self, Write};

const FOR_A_FIBER: &str = "fiber::Builder::stack_size gives a fiber a larger one, \
                           Builder::stack_size gives larger ones to all";
const FOR_ALL: &str = "Builder::stack_size gives larger ones to all";
const FOR_A_COROUTINE: &str = "Coroutine::with_stack and Generator::with_stack take a larger one";

/// See [`bifilar_coroutine::stack::describe_overflows`].
pub(super) fn describe(overflow: &Overflow, line: &mut Line) -> Option<&'static str> {
    context::with(|context| {
        let ours = context.stack.get().is_some_and(|stack| {
            // SAFETY: the address is that of a stack header, and those live for ever.
            unsafe { &*stack.address().cast::<StackHeader>() }.is_at(overflow)
        });
        let Some(task) = context.task.get() else {
            return ours.then(|| {
                let _ = line.write_str("a worker's loop");
                FOR_ALL
            });
        };
        // SAFETY: the task being polled is alive.
        let meta = &unsafe { task.as_ref() }.meta;
        if !ours {
            let _ = line.write_str("a coroutine in ");
        }
        let _ = write_task(meta, line);
        Some(match meta.kind {
            _ if !ours => FOR_A_COROUTINE,
            TaskKind::Fiber => FOR_A_FIBER,
            TaskKind::Async | TaskKind::Blocking => FOR_ALL,
        })
    })
}

fn write_task(meta: &Meta, line: &mut Line) -> fmt::Result {
    line.write_str(match meta.kind {
        TaskKind::Async => "task",
        TaskKind::Fiber => "fiber",
        TaskKind::Blocking => "blocking call",
    })?;
    match meta.name() {
        // A line break in a name stays within the line.
        Some(name) => write!(line, " '{}'", name.escape_debug())?,
        None => write!(line, " {}", meta.id)?,
    }
    write!(line, " (spawned at {}:{})", meta.location.file(), meta.location.line())
}
