//! Who may take the next unit: the fairness policy of everything here that hands out countable
//! things – the locks (one permit), semaphores (many), channels (free places, messages).
//!
//! Strict first-come-first-served is slow under contention: the task that releases a lock can't
//! take it again without a switch to the next in line. So a newcomer who finds a unit free may
//! take it, even though others wait (*barging*). Those in line are protected by their *patience*:
//!
//! ```text
//!               wait                     call (a unit is free for it)
//!   not in line ────► sleeping ─────────────────────────► woken
//!        ▲                ▲  ▲                             │ │
//!        │                │  └── wait: somebody was faster ┘ │
//!        │          overtaken: released, and gone before     │
//!        │                     it could be called            │
//!        └──────────── leave: has its units, or gave up ─────┘
//! ```
//!
//! Being woken in vain costs the first in line [`WOKEN_IN_VAIN`] points of patience, being
//! overtaken one; once [`PATIENCE`] is used up, the place is *reserved*: nobody else may take
//! what the first in line needs. Whoever needs more than one unit (a writer, `acquire_many`)
//! reserves at once when it comes to stand first, because the units might never be free together
//! otherwise. A waiter keeps its place in line until it has what it came for.
//!
//! At most [`MOST_WOKEN`] waiters are on their way at any time. Each calls the next as it leaves,
//! so a burst of units makes no stampede; but a task that has been woken and does not poll its
//! future holds up its share, as in any queue.
//!
//! The turnstile counts nothing itself: its owner says how many units are available. It is used
//! under the owner's lock; [`permits`](super::permits) mirrors its [`Flags`] into an atomic so
//! that takers and releasers need not come here when nobody waits.

use super::{
    wait_list::{WaitList, Waiter},
    wake_batch::WakeBatch,
};
use crate::primitives::const_fn;
use std::{pin::Pin, task::Waker};

/// How much the first in line puts up with before its place is reserved. The dearest case is a
/// lock taken and released in a tight loop on another worker: 128 rounds are a few microseconds.
const PATIENCE: u16 = 128;
/// What a wake-up in vain costs: four of them use up the patience.
const WOKEN_IN_VAIN: u16 = 32;
/// How many waiters may be on their way at once.
const MOST_WOKEN: usize = 8;

/// The line, and how many in it have been woken.
pub(crate) struct Turnstile {
    line: WaitList<Turn>,
    woken: usize,
}

/// One waiter's place in line. A future holds it as a pinned field, and hands it in with each
/// poll; `None` means not in line, so that a future that never waits writes one word.
pub(crate) type Place = Option<Waiter<Turn>>;

/// What the turnstile knows about a waiter.
pub(crate) struct Turn {
    need: usize,
    woken: bool,
    patience: u16,
}

/// What those who pass by must know about the line.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Flags {
    /// Somebody stands in line.
    pub(crate) waiting: bool,
    /// The first in line has been woken and has not polled since.
    pub(crate) woken: bool,
    /// Nobody may take what the first in line needs.
    pub(crate) reserved: bool,
}

impl Turn {
    fn is_reserved(&self) -> bool {
        self.need > 1 || self.patience == 0
    }
}

impl Turnstile {
    const_fn! {
        pub(crate) fn new() -> Self {
            Self { line: WaitList::new(), woken: 0 }
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.line.is_empty()
    }

    pub(crate) fn flags(&mut self) -> Flags {
        match self.line.first() {
            None => Flags { waiting: false, woken: false, reserved: false },
            Some(first) => {
                Flags { waiting: true, woken: first.note.woken, reserved: first.note.is_reserved() }
            }
        }
    }

    /// Whether `need` of the `available` units may be taken from this place.
    #[inline]
    pub(crate) fn may_take(&mut self, place: &Place, need: usize, available: usize) -> bool {
        if need == 0 || need > available {
            return need == 0;
        }
        let is_first = place.as_ref().is_some_and(|waiter| self.line.is_first(waiter));
        match self.line.first() {
            Some(first) if !is_first && first.note.is_reserved() => {
                available - need >= first.note.need
            }
            _ => true,
        }
    }

    /// Stands in line, last if not there yet; if it was woken, it was so in vain. Returns the
    /// former waker, to be dropped once the lock is released.
    pub(crate) fn wait(
        &mut self,
        mut place: Pin<&mut Place>,
        need: usize,
        waker: Waker,
    ) -> Option<Waker> {
        if let Some(waiter) = place.as_mut().as_pin_mut() {
            let entry = self.line.entry(waiter);
            debug_assert!(entry.is_linked());
            if entry.note.woken {
                entry.note.woken = false;
                entry.note.patience = entry.note.patience.saturating_sub(WOKEN_IN_VAIN);
                self.woken -= 1;
            }
            return entry.waker.replace(waker);
        }
        place.set(Some(Waiter::new(Turn { need, woken: false, patience: PATIENCE })));
        let waiter = place.as_pin_mut().expect("set above");
        self.line.push_back(waiter, waker);
        None
    }

    /// Leaves the line. Returns the waker, to be dropped once the lock is released. What was
    /// meant for this place is free for the next: [`call`](Self::call) must follow.
    pub(crate) fn leave(&mut self, mut place: Pin<&mut Place>) -> Option<Waker> {
        let mut waiter = place.as_mut().as_pin_mut()?;
        let entry = self.line.entry(waiter.as_mut());
        if entry.is_linked() && entry.note.woken {
            self.woken -= 1;
        }
        let waker = self.line.remove(waiter);
        place.set(None);
        waker
    }

    /// Wakes those at the head of the line whose needs the available units cover. To be called
    /// after every change of what is available and of the line.
    #[inline]
    pub(crate) fn call(&mut self, available: usize, batch: &mut WakeBatch) {
        if available > 0 && !self.line.is_empty() {
            self.call_line(available, batch);
        }
    }

    fn call_line(&mut self, available: usize, batch: &mut WakeBatch) {
        let woken = &mut self.woken;
        let mut claimed = 0usize;
        let mut first = true;
        self.line.visit(|entry| {
            if first && entry.note.woken && *woken >= available.min(MOST_WOKEN) {
                return false; // all that is available has its taker on the way
            }
            claimed = claimed.saturating_add(entry.note.need);
            if claimed > available || batch.is_full() || (!first && *woken >= MOST_WOKEN) {
                return false;
            }
            first = false;
            if !entry.note.woken {
                entry.note.woken = true;
                *woken += 1;
                batch.push(entry.waker.take());
            }
            true
        });
    }

    /// A unit was released, and is gone before the first in line could be called.
    pub(crate) fn overtaken(&mut self) {
        if let Some(first) = self.line.first()
            && !first.note.woken
        {
            first.note.patience = first.note.patience.saturating_sub(1);
        }
    }

    /// Takes waiters out of the line until it is empty or the batch is full: there is nothing
    /// more to wait for. Returns whether some are left.
    pub(crate) fn dismiss(&mut self, batch: &mut WakeBatch) -> bool {
        while !batch.is_full() {
            let Some(entry) = self.line.pop_front() else { return false };
            if entry.note.woken {
                self.woken -= 1;
            }
            batch.push(entry.waker.take());
        }
        !self.is_empty()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use std::pin::pin;

    fn waker() -> Waker {
        Waker::noop().clone()
    }

    fn flags(waiting: bool, woken: bool, reserved: bool) -> Flags {
        Flags { waiting, woken, reserved }
    }

    #[test]
    fn patience_ends_in_a_reservation() {
        let mut turnstile = Turnstile::new();
        let mut place = pin!(None);
        let newcomer = None;
        turnstile.wait(place.as_mut(), 1, waker());
        for _ in 0..PATIENCE / WOKEN_IN_VAIN {
            assert!(turnstile.may_take(&newcomer, 1, 1));
            turnstile.call(1, &mut WakeBatch::new());
            assert_eq!(turnstile.flags(), flags(true, true, false));
            turnstile.wait(place.as_mut(), 1, waker());
        }
        assert_eq!(turnstile.flags(), flags(true, false, true));
        assert!(!turnstile.may_take(&newcomer, 1, 1), "the only unit is reserved");
        assert!(turnstile.may_take(&newcomer, 1, 2), "one is left over");
        assert!(turnstile.may_take(&place, 1, 1));
        turnstile.leave(place.as_mut());
        assert_eq!(turnstile.flags(), flags(false, false, false));
    }

    #[test]
    fn being_overtaken_uses_up_patience_too() {
        let mut turnstile = Turnstile::new();
        let mut place = pin!(None);
        turnstile.wait(place.as_mut(), 1, waker());
        for _ in 0..PATIENCE {
            assert!(!turnstile.flags().reserved);
            turnstile.overtaken();
        }
        assert!(turnstile.flags().reserved);
        turnstile.leave(place.as_mut());
    }

    #[test]
    fn a_large_need_reserves_once_it_stands_first() {
        let mut turnstile = Turnstile::new();
        let (mut small, mut large) = (pin!(None), pin!(None));
        turnstile.wait(small.as_mut(), 1, waker());
        turnstile.wait(large.as_mut(), 5, waker());
        assert_eq!(turnstile.flags(), flags(true, false, false));
        turnstile.leave(small.as_mut());
        assert_eq!(turnstile.flags(), flags(true, false, true));
        turnstile.call(4, &mut WakeBatch::new());
        assert_eq!(turnstile.flags(), flags(true, false, true));
        turnstile.call(5, &mut WakeBatch::new());
        assert_eq!(turnstile.flags(), flags(true, true, true));
        turnstile.leave(large.as_mut());
    }

    #[test]
    fn only_so_many_are_on_their_way() {
        let mut turnstile = Turnstile::new();
        let mut places: Vec<_> = (0..MOST_WOKEN + 3).map(|_| Box::pin(None)).collect();
        for place in &mut places {
            turnstile.wait(place.as_mut(), 1, waker());
        }
        turnstile.call(usize::MAX, &mut WakeBatch::new());
        assert_eq!(turnstile.woken, MOST_WOKEN);
        let mut left = places.len();
        for place in &mut places {
            turnstile.leave(place.as_mut());
            turnstile.call(usize::MAX, &mut WakeBatch::new());
            left -= 1;
            assert_eq!(turnstile.woken, left.min(MOST_WOKEN));
        }
    }
}
