//! Recordings with small numbers, the same in every run.
//!
//! The numbers of tasks, stacks, sources and descriptors come from counters and addresses of the whole
//! process. Whatever else happened in it before shows in them, though it has nothing to do with the
//! recording.

use crate::event::{Event, NO_TASK};
use crate::recording::Recording;
use std::collections::HashMap;

/// The first descriptor that a recording has after it was renumbered: below are those that every
/// process has.
const FIRST_FD: i32 = 3;

impl Recording {
    /// The same with numbers of its own: tasks, stacks, spans and the tokens of sources count from 1,
    /// and descriptors from 3, in the order in which they first appear in
    /// [`in_order`](Recording::in_order).
    ///
    /// So the recordings of equal runs are equal, whatever happened in their processes before. What a
    /// system call returned stays as it is, even if it is a descriptor.
    ///
    /// ```
    /// use bifilar_timeline::Recording;
    /// let recording: Recording = "\
    /// thread worker 0
    /// 5 poll-begin task=1025 stack=93021
    /// 7 wake from=1025 to=17
    /// ".parse()?;
    /// assert_eq!(
    ///     recording.renumbered().to_string(),
    ///     "thread worker 0\n5 poll-begin task=1 stack=1\n7 wake from=1 to=2\n"
    /// );
    /// # Ok::<(), bifilar_timeline::ParseError>(())
    /// ```
    #[must_use]
    pub fn renumbered(&self) -> Recording {
        let mut renumbered = self.clone();
        let mut records: Vec<_> =
            renumbered.threads.iter_mut().flat_map(|track| &mut track.events).collect();
        records.sort_by_key(|record| record.time_ns); // stable, as in `in_order`
        let mut numbers = Numbers::default();
        for record in records {
            numbers.replace(&mut record.event);
        }
        renumbered
    }
}

/// New numbers by old ones.
#[derive(Default)]
struct Numbers {
    tasks: HashMap<u64, u64>,
    stacks: HashMap<u32, u32>,
    spans: HashMap<u64, u64>,
    tokens: HashMap<u64, u64>,
    fds: HashMap<i32, i32>,
}

impl Numbers {
    fn replace(&mut self, event: &mut Event) {
        match event {
            Event::Spawn { task, parent, .. } => {
                self.task(parent);
                self.task(task);
            }
            Event::PollBegin { task, stack }
            | Event::StackSuspend { task, stack, .. }
            | Event::StackResume { task, stack } => {
                self.task(task);
                let next = self.stacks.len() as u32 + 1;
                *stack = *self.stacks.entry(*stack).or_insert(next);
            }
            Event::Wake { from, to } => {
                self.task(from);
                self.task(to);
            }
            Event::PollEnd { task, .. }
            | Event::BlockingBegin { task, .. }
            | Event::BlockingEnd { task, .. } => self.task(task),
            Event::IoReady { token, .. } => next(&mut self.tokens, token),
            Event::SystemCall { fd, .. } if *fd >= 0 => {
                let next = FIRST_FD + self.fds.len() as i32;
                *fd = *self.fds.entry(*fd).or_insert(next);
            }
            Event::SpanBegin { task, span, .. } | Event::SpanEnd { task, span } => {
                self.task(task);
                next(&mut self.spans, span);
            }
            Event::SystemCall { .. }
            | Event::TimerFired { .. }
            | Event::WorkerPark { .. }
            | Event::WorkerUnpark { .. } => {}
        }
    }

    fn task(&mut self, task: &mut u64) {
        if *task != NO_TASK {
            next(&mut self.tasks, task);
        }
    }
}

/// Replaces `number` by the one that stands for it, or the next one.
fn next(known: &mut HashMap<u64, u64>, number: &mut u64) {
    let next = known.len() as u64 + 1;
    *number = *known.entry(*number).or_insert(next);
}
