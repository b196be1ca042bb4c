//! A count of permits that one can wait for: what [`Mutex`](super::Mutex),
//! [`RwLock`](super::RwLock), [`Semaphore`](super::Semaphore) and
//! [`OnceCell`](super::OnceCell) are made of.
//!
//! One atomic word says everything a passer-by must know. Without waiters, taking permits is one
//! compare-exchange and giving them back one addition.
//!
//! | bits | name | says | written |
//! |---|---|---|---|
//! | 0 | `CLOSED` | no more permits are given | by `close`, once |
//! | 1 | `WAITING` | the line is not empty | under the lock only, by `settle` |
//! | 2 | `WOKEN` | the first in line has been woken and has not polled since | the same |
//! | 3 | `RESERVED` | nobody may overtake the first in line | the same |
//! | 4.. | count | permits free to be taken | by anybody |
//!
//! | transition | performed by | ordering, and its partner |
//! |---|---|---|
//! | count − need, if count ≥ need and neither `RESERVED` nor `CLOSED` | `try_acquire` | Acquire ← `release` |
//! | the same with the lock held, as the [`Turnstile`] allows | `poll_acquire`, `try_acquire_slow` | Acquire ← `release` |
//! | count + n | `release`, `try_release` | Release → the acquiring transitions |
//! | count − up to n | `forget` | Relaxed: nothing is done under these permits |
//! | `CLOSED` set | `close` | Release → `is_closed`, and the acquiring transitions when they fail |
//! | flags := the turnstile's | `settle` | Relaxed: the lock orders those who wait |
//!
//! `WOKEN` and `RESERVED` imply `WAITING`. All changes are read-modify-writes, so what one
//! `release` published stays visible through any later change.
//!
//! **No wake-up is lost.** Whoever waits stands in line before `settle` sets `WAITING`, and
//! `settle`'s compare-exchange succeeds only on the very count it has judged to be too small. So a
//! release either comes earlier in the word's order, and `settle` sees its permits and wakes; or
//! later, and sees `WAITING`. Then it calls `settle` itself, unless `WOKEN` is set and the count
//! is now 1: that permit is the first in line's, who is on its way and will either take it or
//! call `settle` when it polls or is dropped.

use super::{
    lock,
    turnstile::{Flags, Place, Turnstile},
    wake_batch::{WakeBatch, wake_in_rounds},
};
use crate::primitives::{
    AtomicUsize, Mutex,
    Ordering::{Acquire, Relaxed, Release},
    const_fn,
};
use std::{
    pin::Pin,
    task::{Context, Poll},
};

const CLOSED: usize = 1;
const WAITING: usize = 1 << 1;
const WOKEN: usize = 1 << 2;
const RESERVED: usize = 1 << 3;
const SHIFT: u32 = 4;

fn count(state: usize) -> usize {
    state >> SHIFT
}

pub(crate) struct Permits {
    state: AtomicUsize,
    line: Mutex<Turnstile>,
}

/// Why no permits were given.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Refused {
    Closed,
    /// Too few are free, or they are reserved.
    TooFew,
}

impl Permits {
    /// The greatest possible count.
    pub(crate) const MAX: usize = usize::MAX >> SHIFT;

    const_fn! {
        /// `count` must not exceed [`Permits::MAX`].
        pub(crate) fn new(count: usize) -> Self {
            Self { state: AtomicUsize::new(count << SHIFT), line: Mutex::new(Turnstile::new()) }
        }
    }

    /// Permits free at this moment.
    pub(crate) fn available(&self) -> usize {
        count(self.state.load(Relaxed))
    }

    pub(crate) fn is_closed(&self) -> bool {
        // Acquire pairs with `close`: what happened before closing is seen.
        self.state.load(Acquire) & CLOSED != 0
    }

    /// Takes `need` permits if they are free.
    #[inline]
    pub(crate) fn try_acquire(&self, need: usize) -> Result<(), Refused> {
        match self.try_acquire_fast(need) {
            Err(state) if state & RESERVED != 0 && count(state) >= need => {
                self.try_acquire_slow(need)
            }
            Err(state) if state & CLOSED != 0 => Err(Refused::Closed),
            result => result.map_err(|_| Refused::TooFew),
        }
    }

    /// One attempt without the lock; on failure the state that forbade it.
    #[inline]
    fn try_acquire_fast(&self, need: usize) -> Result<(), usize> {
        let mut state = self.state.load(Relaxed);
        while state & (RESERVED | CLOSED) == 0 && count(state) >= need {
            let taken = state - (need << SHIFT);
            // Acquire pairs with the Release in `release`.
            match self.state.compare_exchange_weak(state, taken, Acquire, Acquire) {
                Ok(_) => return Ok(()),
                Err(now) => state = now,
            }
        }
        Err(state)
    }

    /// The first in line has a reservation; perhaps there is enough for both.
    #[cold]
    fn try_acquire_slow(&self, need: usize) -> Result<(), Refused> {
        self.take(&mut lock(&self.line), &None, need)
    }

    /// Takes `need` permits for `place` if the turnstile allows it.
    fn take(&self, line: &mut Turnstile, place: &Place, need: usize) -> Result<(), Refused> {
        // Acquire, here and below on failure, pairs with the Release in `close`.
        let mut state = self.state.load(Acquire);
        loop {
            if state & CLOSED != 0 {
                return Err(Refused::Closed);
            }
            if !line.may_take(place, need, count(state)) {
                return Err(Refused::TooFew);
            }
            let taken = state - (need << SHIFT);
            // Acquire pairs with the Release in `release`.
            match self.state.compare_exchange_weak(state, taken, Acquire, Acquire) {
                Ok(_) => return Ok(()),
                Err(now) => state = now,
            }
        }
    }

    /// Takes `need` permits, or stands in line for them. The caller must see to it that
    /// [`cancel`](Self::cancel) is called if it loses interest while pending.
    #[inline]
    pub(crate) fn poll_acquire(
        &self,
        place: Pin<&mut Place>,
        need: usize,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Closed>> {
        if place.is_none() && self.try_acquire_fast(need).is_ok() {
            return Poll::Ready(Ok(()));
        }
        self.poll_acquire_slow(place, need, cx)
    }

    #[cold]
    fn poll_acquire_slow(
        &self,
        mut place: Pin<&mut Place>,
        need: usize,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Closed>> {
        let waker = cx.waker().clone();
        let mut batch = WakeBatch::new();
        let mut line = lock(&self.line);
        let (result, old) = match self.take(&mut line, &place, need) {
            Err(Refused::TooFew) => (Poll::Pending, line.wait(place, need, waker)),
            Err(Refused::Closed) => (Poll::Ready(Err(Closed)), line.leave(place.as_mut())),
            Ok(()) => (Poll::Ready(Ok(())), line.leave(place.as_mut())),
        };
        self.settle(&mut line, &mut batch);
        drop(line);
        batch.wake();
        drop(old);
        result
    }

    /// Leaves the line; a wake-up received in vain is passed on.
    #[inline]
    pub(crate) fn cancel(&self, place: Pin<&mut Place>) {
        if place.is_some() {
            self.cancel_slow(place);
        }
    }

    #[cold]
    fn cancel_slow(&self, place: Pin<&mut Place>) {
        let mut batch = WakeBatch::new();
        let mut line = lock(&self.line);
        let old = line.leave(place);
        self.settle(&mut line, &mut batch);
        drop(line);
        batch.wake();
        drop(old);
    }

    /// Gives `n` permits back. The sum must not exceed [`Permits::MAX`].
    #[inline]
    pub(crate) fn release(&self, n: usize) {
        // Release pairs with the Acquire of whoever takes these permits.
        let before = self.state.fetch_add(n << SHIFT, Release);
        debug_assert!(count(before) + n <= Self::MAX);
        if before & WAITING != 0 && (before & WOKEN == 0 || count(before) + n > 1) {
            self.release_slow();
        }
    }

    /// Gives `n` permits back unless the sum would exceed [`Permits::MAX`].
    pub(crate) fn try_release(&self, n: usize) -> Result<(), ()> {
        let mut state = self.state.load(Relaxed);
        loop {
            if n > Self::MAX - count(state) {
                return Err(());
            }
            // Release pairs with the Acquire of whoever takes these permits.
            match self.state.compare_exchange_weak(state, state + (n << SHIFT), Release, Relaxed) {
                Ok(_) => break,
                Err(now) => state = now,
            }
        }
        if state & WAITING != 0 {
            self.release_slow();
        }
        Ok(())
    }

    /// Takes up to `n` free permits, reserved or not, and says how many. They may never return,
    /// so nobody in line is called.
    pub(crate) fn forget(&self, n: usize) -> usize {
        let mut state = self.state.load(Relaxed);
        loop {
            let taken = n.min(count(state));
            // Relaxed: a number is taken out of the world, and nothing is done under it.
            match self.state.compare_exchange_weak(
                state,
                state - (taken << SHIFT),
                Relaxed,
                Relaxed,
            ) {
                Ok(_) => return taken,
                Err(now) => state = now,
            }
        }
    }

    #[cold]
    fn release_slow(&self) {
        let mut batch = WakeBatch::new();
        let mut line = lock(&self.line);
        if self.available() == 0 {
            line.overtaken();
        }
        self.settle(&mut line, &mut batch);
        drop(line);
        batch.wake();
    }

    /// Gives no more permits, and sends everybody in line away.
    pub(crate) fn close(&self) {
        // Release pairs with the Acquire of those who find it closed.
        self.state.fetch_or(CLOSED, Release);
        wake_in_rounds(&self.line, lock(&self.line), |line, batch| {
            // Nobody joins the line any more: `take` looks at CLOSED with the lock held.
            let more = line.dismiss(batch);
            self.settle(line, batch);
            more
        });
    }

    /// Wakes whom the free permits are for, and says in the word how the line stands.
    fn settle(&self, line: &mut Turnstile, batch: &mut WakeBatch) {
        let mut state = self.state.load(Relaxed);
        loop {
            line.call(count(state), batch);
            let Flags { waiting, woken, reserved } = line.flags();
            let settled = state & !(WAITING | WOKEN | RESERVED)
                | if waiting { WAITING } else { 0 }
                | if woken { WOKEN } else { 0 }
                | if reserved { RESERVED } else { 0 };
            if settled == state {
                return; // the flags have stood like this since they were last written
            }
            match self.state.compare_exchange_weak(state, settled, Relaxed, Relaxed) {
                Ok(_) => return,
                Err(now) => state = now,
            }
        }
    }
}

/// The permits have been closed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Closed;
