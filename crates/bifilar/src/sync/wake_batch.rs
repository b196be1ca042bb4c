//! Wakers on their way out of a lock: collected while the lock is held, called after its release.
//!
//! A waker is code of others. It may take any lock, also the one it is called under, and it may
//! panic; so nobody calls it in a critical section. A batch has room for [`WakeBatch::CAPACITY`]
//! wakers and allocates nothing. Whoever has more to wake does it in rounds: lock, fill, unlock,
//! wake.

use super::{lock, wait_list::WaitList};
use crate::primitives::{Mutex, MutexGuard};
use std::{mem::MaybeUninit, task::Waker};

/// Wakers to be called once the lock is released. Dropping the batch calls those left, so that
/// one waker's panic doesn't swallow the wake-ups of others.
pub(crate) struct WakeBatch {
    wakers: [MaybeUninit<Waker>; Self::CAPACITY],
    /// `wakers[first..end]` are initialised.
    first: usize,
    end: usize,
}

impl WakeBatch {
    /// How many wakers one round takes.
    pub(crate) const CAPACITY: usize = 16;

    #[inline]
    pub(crate) fn new() -> Self {
        Self { wakers: [const { MaybeUninit::uninit() }; Self::CAPACITY], first: 0, end: 0 }
    }

    #[inline]
    pub(crate) fn is_full(&self) -> bool {
        self.end == Self::CAPACITY
    }

    /// Adds a waker, if there is one. The batch must not be full.
    #[inline]
    pub(crate) fn push(&mut self, waker: Option<Waker>) {
        if let Some(waker) = waker {
            self.wakers[self.end].write(waker);
            self.end += 1;
        }
    }

    /// Calls every waker. Call it with no lock held.
    #[inline]
    pub(crate) fn wake(&mut self) {
        while self.first < self.end {
            // SAFETY: `first..end` are initialised.
            let waker = unsafe { self.wakers[self.first].assume_init_read() };
            self.first += 1; // before the call, which may panic: each is read once
            waker.wake();
        }
        self.first = 0;
        self.end = 0;
    }
}

impl Drop for WakeBatch {
    fn drop(&mut self) {
        self.wake();
    }
}

/// Takes everybody out of a list who stands there at this moment, says so in their notes, and
/// wakes them. `guard` holds `mutex`, which the list lies in; it is released between rounds, and
/// those who queue up meanwhile stay.
pub(crate) fn wake_all<'a, S, N>(
    mutex: &'a Mutex<S>,
    mut guard: MutexGuard<'a, S>,
    list: impl Fn(&mut S) -> &mut WaitList<N>,
    note: impl Fn(&mut N),
) {
    let limit = list(&mut guard).next_number();
    loop {
        let mut batch = WakeBatch::new();
        while !batch.is_full()
            && let Some(waiter) = list(&mut guard).pop_front_before(limit)
        {
            note(&mut waiter.note);
            batch.push(waiter.waker.take());
        }
        drop(guard);
        if !batch.is_full() {
            return; // dropping the batch wakes the last ones
        }
        batch.wake();
        guard = lock(mutex);
    }
}
