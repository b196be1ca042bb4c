//! Queues of tasks that any worker may run: a worker's own, and the injector.

use super::ring::Ring;
use crate::{
    cell::{Fifo, Link, TaskRef},
    primitives::{AtomicUsize, Mutex, Ordering},
};
use std::ptr::NonNull;

/// Places in a worker's ring; as in Go and tokio.
const RING: usize = 256;

/// How many tasks are moved at a time from a locked list to a ring.
const BATCH: usize = RING / 2;

/// An unbounded list under a lock, whose emptiness can be seen without it.
pub(super) struct LockedFifo {
    list: Mutex<Fifo>,
    len: AtomicUsize,
}

impl LockedFifo {
    pub fn new() -> Self {
        LockedFifo { list: Mutex::new(Fifo::new()), len: AtomicUsize::new(0) }
    }

    /// May be stale unless the caller has ordered itself with the pusher otherwise (the parking
    /// protocol does, see [`super::idle`]).
    pub fn is_empty(&self) -> bool {
        self.len.load(Ordering::Acquire) == 0
    }

    /// Stale as soon as others push and pop.
    pub fn len(&self) -> usize {
        self.len.load(Ordering::Relaxed)
    }

    pub fn push(&self, task: TaskRef) {
        let mut list = self.list.lock().unwrap();
        // SAFETY: the caller owns the right to run it, so it is alive and in no other queue.
        unsafe { list.push(task.cast::<Link>()) };
        self.len.store(list.len(), Ordering::Release);
    }

    /// Takes the oldest task, and moves some more to `ring`, which the caller owns.
    pub fn pop_batch(&self, ring: &Ring<RING>) -> Option<TaskRef> {
        if self.is_empty() {
            return None;
        }
        let mut list = self.list.lock().unwrap();
        let first = list.pop();
        // Leave half to others who may want some. Thieves only make more room in the ring.
        for _ in 0..BATCH.min(list.len() / 2).min(RING - ring.len()) {
            // Popped first: once a task is in the ring, a thief may run it, and free it.
            let Some(link) = list.pop() else { break };
            ring.push(link.cast()).expect("there was room, and nobody else pushes");
        }
        self.len.store(list.len(), Ordering::Release);
        first.map(NonNull::cast)
    }
}

/// A worker's queue: first in, first out over ring and overflow together, stealable from both.
pub(super) struct Queue {
    ring: Ring<RING>,
    /// What did not fit, in order, behind the ring. Not the injector: there it would starve while
    /// the ring is refilled from the front.
    overflow: LockedFifo,
}

impl Queue {
    pub fn new() -> Self {
        Queue { ring: Ring::new(), overflow: LockedFifo::new() }
    }

    pub fn is_empty(&self) -> bool {
        self.ring.is_empty() && self.overflow.is_empty()
    }

    /// Owner only, if it is to be exact.
    pub fn len(&self) -> usize {
        self.ring.len() + self.overflow.len()
    }

    /// Owner only.
    pub fn push(&self, task: TaskRef) {
        if !self.overflow.is_empty() {
            self.overflow.push(task);
        } else if let Err(task) = self.ring.push(task) {
            self.overflow.push(task);
        }
    }

    /// Owner only.
    pub fn pop(&self) -> Option<TaskRef> {
        self.ring.pop().or_else(|| self.overflow.pop_batch(&self.ring))
    }

    /// Owner only: takes over a share of a list that all workers see, in order and behind what is
    /// here; a single task when there is more here than the ring holds, so that neither starves.
    pub fn take_from(&self, injector: &LockedFifo) {
        if injector.is_empty() {
            return;
        }
        let mut list = injector.list.lock().unwrap();
        let share = if self.overflow.is_empty() { BATCH.min(list.len().div_ceil(2)) } else { 1 };
        for _ in 0..share {
            let Some(link) = list.pop() else { break };
            self.push(link.cast());
        }
        injector.len.store(list.len(), Ordering::Release);
    }

    /// Takes about half of `other`'s tasks. The caller owns `self`, which has an empty ring.
    pub fn steal_from(&self, other: &Queue) -> Option<TaskRef> {
        other.ring.steal_into(&self.ring).or_else(|| other.overflow.pop_batch(&self.ring))
    }
}

#[cfg(all(test, loom))]
mod tests {
    use super::*;
    use crate::cell::Kind;

    /// Whoever steals a task runs it, and may free it or put it into another queue.
    #[test]
    fn loom_a_list_lets_go_of_a_task_before_thieves_see_it() {
        loom::model(|| {
            let links: Vec<_> = (0..4).map(|_| Box::new(Link::new(Kind::Task))).collect();
            let list = LockedFifo::new();
            links.iter().for_each(|link| list.push(NonNull::from(&**link).cast()));
            let ring = loom::sync::Arc::new(Ring::<RING>::new());
            let thief = loom::thread::spawn({
                let ring = ring.clone();
                move || {
                    let mut elsewhere = Fifo::new();
                    if let Some(task) = ring.steal_into(&Ring::new()) {
                        // SAFETY: alive to the end of the model, and stolen.
                        unsafe { elsewhere.push(task.cast()) };
                    }
                }
            });
            // The first is returned, the second may be stolen, the others stay.
            let first = list.pop_batch(&ring).map(NonNull::cast);
            assert_eq!(first, Some(NonNull::from(&*links[0])));
            thief.join().unwrap();
            let mut list = list.list.lock().unwrap();
            let left: Vec<_> = std::iter::from_fn(|| list.pop()).collect();
            assert_eq!(left, [NonNull::from(&*links[2]), NonNull::from(&*links[3])]);
        });
    }
}
