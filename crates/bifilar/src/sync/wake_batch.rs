//! Wakers on their way out of a lock: collected while the lock is held, called after its release.
//!
//! A waker is code of others. It may take any lock, also the one it is called under, and it may
//! panic; so nobody calls it in a critical section. A batch has room for [`WakeBatch::CAPACITY`]
//! wakers and allocates nothing. Whoever has more to wake does it in rounds.

use super::{lock, wait_list::WaitList};
use crate::primitives::{Mutex, MutexGuard};
use std::{
    mem::{MaybeUninit, forget},
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    task::Waker,
};

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

    fn wake_each(&mut self) {
        while self.first < self.end {
            // SAFETY: `first..end` are initialised.
            let waker = unsafe { self.wakers[self.first].assume_init_read() };
            self.first += 1; // before the call, which may panic: each is read once
            waker.wake();
        }
    }

    /// Calls every waker. Call it with no lock held.
    #[inline]
    pub(crate) fn wake(self) {
        drop(self);
    }
}

impl Drop for WakeBatch {
    #[inline]
    fn drop(&mut self) {
        /// Goes on when a waker panics; a second panic aborts, as any in a drop does.
        struct Rest<'a>(&'a mut WakeBatch);

        impl Drop for Rest<'_> {
            fn drop(&mut self) {
                self.0.wake_each();
            }
        }

        let rest = Rest(self);
        rest.0.wake_each();
        forget(rest);
    }
}

/// Wakes more than a batch can hold: `fill` puts wakers into a batch with the lock held and says
/// whether there are more; then they are woken with the lock released, and so on. `guard` holds
/// `mutex` at first. A waker that panics keeps nobody from being woken.
pub(crate) fn wake_in_rounds<'a, S>(
    mutex: &'a Mutex<S>,
    mut guard: MutexGuard<'a, S>,
    mut fill: impl FnMut(&mut S, &mut WakeBatch) -> bool,
) {
    let mut panicked = None;
    loop {
        let mut batch = WakeBatch::new();
        let more = fill(&mut guard, &mut batch);
        drop(guard);
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| batch.wake())) {
            panicked.get_or_insert(panic);
        }
        if !more {
            break;
        }
        guard = lock(mutex);
    }
    if let Some(panic) = panicked {
        resume_unwind(panic);
    }
}

/// Takes everybody out of a list who stands there at this moment, says so in their notes, and
/// wakes them. `guard` holds `mutex`, which the list lies in. Those who queue up between two
/// rounds stay in the list.
pub(crate) fn wake_all<S, N>(
    mutex: &Mutex<S>,
    mut guard: MutexGuard<'_, S>,
    list: impl Fn(&mut S) -> &mut WaitList<N>,
    note: impl Fn(&mut N),
) {
    let limit = list(&mut guard).next_number();
    wake_in_rounds(mutex, guard, |state, batch| {
        while !batch.is_full()
            && let Some(waiter) = list(state).pop_front_before(limit)
        {
            note(&mut waiter.note);
            batch.push(waiter.waker.take());
        }
        batch.is_full()
    });
}
