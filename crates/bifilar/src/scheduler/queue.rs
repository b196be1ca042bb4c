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
        // Leave half to others who may want some.
        for _ in 0..BATCH.min(list.len() / 2) {
            // Out of the list first: from the ring it may be stolen, run and freed at once.
            let Some(link) = list.pop() else { break };
            if let Err(task) = ring.push(link.cast()) {
                // SAFETY: it was just popped, and the ring has refused it.
                unsafe { list.push_front(task.cast()) };
                break;
            }
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
