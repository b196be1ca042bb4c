//! A worker's bounded queue from which others may steal.
//!
//! ```text
//!        head (all)                 tail (owner)
//!          ▼                          ▼
//!   ┌───┬───┬───┬───┬───┬───┬───┬───┬───┬───┐      pop, steal: read the slot, then move `head`
//!   │   │ 1 │ 2 │ 3 │ 4 │ 5 │ 6 │ 7 │   │   │      by compare-and-swap: whoever moves it owns it
//!   └───┴───┴───┴───┴───┴───┴───┴───┴───┴───┘      push: fill the slot, then move `tail`
//! ```
//!
//! The scheme of Go's `runq` and of tokio's local queue, with a single `head`: a thief copies up to
//! half of the slots and then claims them all at once by moving `head`. If the owner or another
//! thief was faster, the claim fails and the copies are forgotten; the slots are atomic, so that
//! reading one that is being overwritten is no data race. Indices wrap at 2^32; a thief that sleeps
//! between its read and its claim for exactly 2^32 pops is not provided for.
//!
//! Orderings: `push` releases the slot through `tail` to the Acquire of `steal`; a moved `head`
//! releases to the Acquire of `push` that the slots before it may be overwritten.
//!
//! What it deliberately does not do: grow. What doesn't fit goes to the overflow list
//! ([`super::queue`]).

use crate::{
    cell::{Header, TaskRef},
    primitives::{AtomicPtr, AtomicU32, Ordering},
};
use std::ptr::{self, NonNull};

pub(super) struct Ring<const N: usize> {
    head: AtomicU32,
    tail: AtomicU32,
    slots: [AtomicPtr<Header>; N],
}

impl<const N: usize> Ring<N> {
    pub fn new() -> Self {
        const { assert!(N.is_power_of_two() && N >= 2) };
        Ring {
            head: AtomicU32::new(0),
            tail: AtomicU32::new(0),
            slots: std::array::from_fn(|_| AtomicPtr::new(ptr::null_mut())),
        }
    }

    fn slot(&self, index: u32) -> &AtomicPtr<Header> {
        &self.slots[index as usize & (N - 1)]
    }

    /// Exact for the owner, if nobody steals.
    pub fn len(&self) -> usize {
        let head = self.head.load(Ordering::Acquire);
        self.tail.load(Ordering::Acquire).wrapping_sub(head) as usize
    }

    pub fn is_empty(&self) -> bool {
        self.head.load(Ordering::Acquire) == self.tail.load(Ordering::Acquire)
    }

    /// Owner only. Gives the task back when there is no room.
    pub fn push(&self, task: TaskRef) -> Result<(), TaskRef> {
        let tail = self.tail.load(Ordering::Relaxed);
        let head = self.head.load(Ordering::Acquire);
        if tail.wrapping_sub(head) as usize >= N {
            return Err(task);
        }
        self.slot(tail).store(task.as_ptr(), Ordering::Relaxed);
        self.tail.store(tail.wrapping_add(1), Ordering::Release);
        Ok(())
    }

    /// Owner only: the oldest task.
    pub fn pop(&self) -> Option<TaskRef> {
        let tail = self.tail.load(Ordering::Relaxed);
        let mut head = self.head.load(Ordering::Acquire);
        while head != tail {
            let task = self.slot(head).load(Ordering::Relaxed);
            match self.head.compare_exchange_weak(
                head,
                head.wrapping_add(1),
                Ordering::AcqRel,
                Ordering::Acquire,
            ) {
                Ok(_) => return NonNull::new(task),
                Err(now) => head = now,
            }
        }
        None
    }

    /// Moves half of this ring, rounded up, to `mine`, which the caller owns and which is empty.
    /// Returns one of the tasks instead of queueing it.
    pub fn steal_into(&self, mine: &Ring<N>) -> Option<TaskRef> {
        let mine_tail = mine.tail.load(Ordering::Relaxed);
        let mut head = self.head.load(Ordering::Acquire);
        loop {
            let tail = self.tail.load(Ordering::Acquire);
            let len = tail.wrapping_sub(head);
            if len == 0 {
                return None;
            }
            let count = len - len / 2;
            if count as usize > N / 2 {
                // `head` is older than `tail`: look again.
                head = self.head.load(Ordering::Acquire);
                continue;
            }
            for i in 0..count {
                let task = self.slot(head.wrapping_add(i)).load(Ordering::Relaxed);
                mine.slot(mine_tail.wrapping_add(i)).store(task, Ordering::Relaxed);
            }
            match self.head.compare_exchange_weak(
                head,
                head.wrapping_add(count),
                Ordering::AcqRel,
                Ordering::Acquire,
            ) {
                Ok(_) => {
                    // The last copy is the one returned, so it is not published.
                    let last = mine_tail.wrapping_add(count - 1);
                    let task = mine.slot(last).load(Ordering::Relaxed);
                    mine.tail.store(last, Ordering::Release);
                    return NonNull::new(task);
                }
                Err(now) => head = now,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rings never follow the pointers, so any non-null number will do.
    fn task(number: usize) -> TaskRef {
        NonNull::new(ptr::without_provenance_mut(number * 8)).unwrap()
    }

    fn number(task: TaskRef) -> usize {
        task.as_ptr().addr() / 8
    }

    #[cfg(not(loom))]
    #[test]
    fn first_in_first_out_to_the_bound() {
        let ring = Ring::<4>::new();
        for round in 0..3 {
            for i in 1..=4 {
                assert!(ring.push(task(round * 10 + i)).is_ok());
            }
            assert_eq!(ring.push(task(99)).unwrap_err(), task(99));
            for i in 1..=4 {
                assert_eq!(ring.pop().map(number), Some(round * 10 + i));
            }
            assert!(ring.pop().is_none() && ring.is_empty());
        }
    }

    #[cfg(not(loom))]
    #[test]
    fn a_thief_takes_half_rounded_up() {
        for (len, left) in [(0, 0), (1, 0), (2, 1), (3, 1), (4, 2)] {
            let (ring, mine) = (Ring::<4>::new(), Ring::<4>::new());
            for i in 1..=len {
                ring.push(task(i)).unwrap();
            }
            let mut stolen: Vec<_> = ring.steal_into(&mine).into_iter().collect();
            stolen.extend(std::iter::from_fn(|| mine.pop()));
            assert_eq!(stolen.len(), len - left, "of {len}");
            assert_eq!(std::iter::from_fn(|| ring.pop()).count(), left, "of {len}");
        }
    }

    #[cfg(loom)]
    #[test]
    fn loom_each_task_is_taken_once() {
        loom::model(|| {
            let ring = crate::primitives::Arc::new(Ring::<2>::new());
            ring.push(task(1)).unwrap();
            ring.push(task(2)).unwrap();
            let thief = {
                let ring = ring.clone();
                loom::thread::spawn(move || {
                    let mine = Ring::<2>::new();
                    let mut got: Vec<_> = ring.steal_into(&mine).map(number).into_iter().collect();
                    got.extend(std::iter::from_fn(|| mine.pop()).map(number));
                    got
                })
            };
            let mut got: Vec<_> = ring.pop().map(number).into_iter().collect();
            // Wraps around within the ring while the thief may still be copying.
            if ring.push(task(3)).is_err() {
                got.push(3);
            }
            got.extend(std::iter::from_fn(|| ring.pop()).map(number));
            got.extend(thief.join().unwrap());
            got.sort_unstable();
            assert_eq!(got, [1, 2, 3]);
        });
    }

    #[cfg(loom)]
    #[test]
    fn loom_two_thieves() {
        loom::model(|| {
            let ring = crate::primitives::Arc::new(Ring::<4>::new());
            for i in 1..=3 {
                ring.push(task(i)).unwrap();
            }
            let thieves: Vec<_> = (0..2)
                .map(|_| {
                    let ring = ring.clone();
                    loom::thread::spawn(move || {
                        let mine = Ring::<4>::new();
                        let mut got: Vec<_> =
                            ring.steal_into(&mine).map(number).into_iter().collect();
                        got.extend(std::iter::from_fn(|| mine.pop()).map(number));
                        got
                    })
                })
                .collect();
            let mut got: Vec<_> = ring.pop().map(number).into_iter().collect();
            for thief in thieves {
                got.extend(thief.join().unwrap());
            }
            got.extend(std::iter::from_fn(|| ring.pop()).map(number));
            got.sort_unstable();
            assert_eq!(got, [1, 2, 3]);
        });
    }
}
