//! Looks at what futures await: each is polled once more, and its leaves say where they were called.

use super::{Answers, Leaf, Trace};
use crate::{
    cell::{Id, Task, TaskRef},
    context::waiting::{self, Look, Waiting},
    scheduler::worker::Worker,
};
use std::{cell::RefCell, ptr::NonNull, rc::Rc, sync::Arc};

/// Those of one task, seen in one poll.
pub(in crate::scheduler) struct Leaves {
    task: Id,
    answers: Arc<Answers>,
    seen: RefCell<Vec<Leaf>>,
}

impl Look for Leaves {
    fn see(&self, waiting: Waiting) {
        // Its poll may have been suspended, and another task is running.
        if waiting::task_number() == self.task.get() {
            let trace = self.answers.capture();
            self.seen.borrow_mut().push(Leaf { waiting, trace });
        }
    }
}

impl Worker {
    /// Looks at `task` from now on. It is to be run at once, if it is between two polls.
    pub(super) fn look_at(&self, task: &Task, answers: &Arc<Answers>) -> Option<TaskRef> {
        let claimed = task.claim_if_idle()?;
        self.stamp_queued(claimed);
        let seen = RefCell::default();
        let leaves = Rc::new(Leaves { task: task.id(), answers: answers.clone(), seen });
        let look: NonNull<dyn Look> = NonNull::from(&*leaves);
        // SAFETY: kept until `look_away`, which this worker calls before it ends.
        unsafe { waiting::look(look) };
        self.look.set(Some(leaves));
        Some(claimed)
    }

    /// Tells what was seen. Once the task's poll has ended, or was suspended.
    pub fn look_away(&self) {
        waiting::look_away();
        let Some(leaves) = self.look.take() else { return };
        let seen = leaves.seen.take();
        if !seen.is_empty() {
            let mut state = leaves.answers.state.lock().unwrap();
            state.traces.insert(leaves.task, Trace::Leaves(seen));
        }
    }
}
