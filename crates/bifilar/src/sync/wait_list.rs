//! Who waits, in the order of arrival: a doubly linked list whose nodes live inside the waiting
//! futures, so that waiting allocates nothing.
//!
//! ```text
//!              under the primitive's lock
//!   WaitList ──first──► Waiter ◄──► Waiter ◄──► Waiter ◄──last── WaitList
//!                         │           │           │
//!                       inside      inside      inside a pinned future that is Pending
//!                       future A    future B    future C
//! ```
//!
//! A [`Waiter`] is in one of three states:
//!
//! | state | how it gets there | who may touch its entry |
//! |---|---|---|
//! | free | [`Waiter::new`], [`WaitList::remove`] | its future |
//! | linked | [`WaitList::push_back`] | whoever holds `&mut WaitList` |
//! | unlinked, still bound | [`WaitList::pop_front`] | whoever holds `&mut WaitList` |
//!
//! The interface is safe. The `&mut WaitList` that every call takes is the proof that the
//! primitive's lock is held. A waiter remembers which list it is bound to, and another list
//! refuses it. A waiter that is dropped while bound aborts the process, so a list never points
//! into freed memory: pinning promises that the memory of a waiter is not reused before its drop
//! has run. Every future that owns a waiter therefore removes it in its own `drop`.
//!
//! The list runs no code of others: wakers are handed in already cloned, and handed out to be
//! woken or dropped after the lock has been released (see [`WakeBatch`](super::wake_batch)).
//! It has no policy: who is woken, and when, is decided in [`turnstile`](super::turnstile) and in
//! the signals.

use crate::primitives::{UnsafeCell, const_fn};
use std::{marker::PhantomPinned, pin::Pin, ptr, task::Waker};

/// The list. It lies inside the lock of the primitive it belongs to.
pub(crate) struct WaitList<N> {
    first: *const Waiter<N>,
    last: *const Waiter<N>,
    /// The number that the next waiter gets; see [`WaitList::pop_front_before`].
    next_number: u64,
}

/// A node. It lies inside a pinned future, and is bound to one list at most.
pub(crate) struct Waiter<N> {
    /// The list this waiter is bound to, or null. Only the owner reads or writes it.
    list: *const WaitList<N>,
    entry: UnsafeCell<Entry<N>>,
    _pinned: PhantomPinned,
}

/// What a waiter says to its list.
pub(crate) struct Entry<N> {
    previous: *const Waiter<N>,
    next: *const Waiter<N>,
    linked: bool,
    number: u64,
    /// Called when it is this waiter's turn; `None` once it has been called.
    pub(crate) waker: Option<Waker>,
    /// What the primitive wants to know about this waiter.
    pub(crate) note: N,
}

// SAFETY: a list owns no waiter, it points to waiters whose notes and wakers may be touched from
// whichever thread holds the list; both must be `Send` for that, and `Waker` is.
unsafe impl<N: Send> Send for WaitList<N> {}
// SAFETY: as above; the pointers inside an entry are only followed with the list in hand.
unsafe impl<N: Send> Send for Waiter<N> {}
// SAFETY: nothing can be done with a shared reference to a waiter.
unsafe impl<N: Send> Sync for Waiter<N> {}

impl<N> Waiter<N> {
    pub(crate) fn new(note: N) -> Self {
        Self {
            list: ptr::null(),
            entry: UnsafeCell::new(Entry {
                previous: ptr::null(),
                next: ptr::null(),
                linked: false,
                number: 0,
                waker: None,
                note,
            }),
            _pinned: PhantomPinned,
        }
    }

    /// Whether this waiter must be removed from a list before it goes.
    pub(crate) fn is_bound(&self) -> bool {
        !self.list.is_null()
    }
}

impl<N> Drop for Waiter<N> {
    fn drop(&mut self) {
        if self.is_bound() {
            // Its list, or another thread in it, could still follow a pointer to here.
            std::process::abort();
        }
    }
}

impl<N> Entry<N> {
    /// Whether this waiter still stands in the list.
    pub(crate) fn is_linked(&self) -> bool {
        self.linked
    }
}

/// The entry of a waiter.
///
/// # Safety
///
/// `waiter` is alive, and the caller has exclusive use of its entry for `'a`: it holds the list
/// exclusively that the waiter is bound to.
unsafe fn entry_of<'a, N>(waiter: *const Waiter<N>) -> &'a mut Entry<N> {
    // SAFETY: alive, as the caller promises; no reference to the whole waiter is made.
    let cell = unsafe { &*ptr::addr_of!((*waiter).entry) };
    // SAFETY: exclusive, as the caller promises.
    cell.with_mut(|entry| unsafe { &mut *entry })
}

impl<N> WaitList<N> {
    const_fn! {
        pub(crate) fn new() -> Self {
            Self { first: ptr::null(), last: ptr::null(), next_number: 0 }
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.first.is_null()
    }

    /// Binds a free waiter to this list and puts it last.
    pub(crate) fn push_back(&mut self, waiter: Pin<&mut Waiter<N>>, waker: Waker) {
        assert!(!waiter.is_bound(), "a waiter stands in one list, once");
        // SAFETY: the waiter is not moved out of the reference.
        let waiter = unsafe { waiter.get_unchecked_mut() };
        waiter.list = self;
        let waiter: *const Waiter<N> = waiter;
        // SAFETY: a free waiter is its owner's alone, and we borrow it from its owner.
        let entry = unsafe { entry_of(waiter) };
        entry.waker = Some(waker);
        entry.number = self.next_number;
        self.next_number += 1;
        entry.linked = true;
        entry.previous = self.last;
        entry.next = ptr::null();
        if self.last.is_null() {
            self.first = waiter;
        } else {
            // SAFETY: linked waiters are alive, and the list is held exclusively.
            unsafe { entry_of(self.last) }.next = waiter;
        }
        self.last = waiter;
    }

    /// What stands in a waiter that is bound to this list, linked or not.
    pub(crate) fn entry<'a>(&'a mut self, waiter: Pin<&'a mut Waiter<N>>) -> &'a mut Entry<N> {
        assert!(ptr::eq(waiter.list, self), "a waiter of another list");
        // SAFETY: the waiter is borrowed, hence alive; it is bound to this list, held exclusively.
        unsafe { entry_of(&*waiter) }
    }

    /// Whether a waiter that is bound to this list stands first.
    pub(crate) fn is_first(&self, waiter: &Waiter<N>) -> bool {
        ptr::eq(self.first, waiter)
    }

    /// Makes a waiter free, if it isn't. Its waker is to be dropped once the lock is released.
    pub(crate) fn remove(&mut self, mut waiter: Pin<&mut Waiter<N>>) -> Option<Waker> {
        if !waiter.is_bound() {
            return None;
        }
        let waker = self.entry(waiter.as_mut()).waker.take();
        if self.entry(waiter.as_mut()).linked {
            self.unlink(&*waiter);
        }
        // SAFETY: the waiter is not moved out of the reference.
        unsafe { waiter.get_unchecked_mut() }.list = ptr::null();
        waker
    }

    /// Takes the first waiter out of the list; it stays bound until its owner removes it.
    pub(crate) fn pop_front(&mut self) -> Option<&mut Entry<N>> {
        let first = self.first;
        if first.is_null() {
            return None;
        }
        self.unlink(first);
        // SAFETY: the waiter is bound, hence alive, and its list is held exclusively.
        Some(unsafe { entry_of(first) })
    }

    /// The number of the waiter that will come next.
    pub(crate) fn next_number(&self) -> u64 {
        self.next_number
    }

    /// [`pop_front`](Self::pop_front) for those who came before number `limit`. Calling everybody
    /// takes several rounds with the lock released in between; the limit keeps those out who
    /// queue up again meanwhile.
    pub(crate) fn pop_front_before(&mut self, limit: u64) -> Option<&mut Entry<N>> {
        if self.first()?.number < limit { self.pop_front() } else { None }
    }

    /// The entry of the first waiter.
    pub(crate) fn first(&mut self) -> Option<&mut Entry<N>> {
        let first = self.first;
        // SAFETY: linked waiters are alive, and the list is held exclusively.
        (!first.is_null()).then(|| unsafe { entry_of(first) })
    }

    /// Visits the entries in order until `visit` returns false.
    pub(crate) fn visit(&mut self, mut visit: impl FnMut(&mut Entry<N>) -> bool) {
        let mut at = self.first;
        while !at.is_null() {
            // SAFETY: linked waiters are alive, and the list is held exclusively.
            let entry = unsafe { entry_of(at) };
            at = entry.next;
            if !visit(entry) {
                return;
            }
        }
    }

    /// Takes a linked waiter out of the chain.
    fn unlink(&mut self, waiter: *const Waiter<N>) {
        // SAFETY: linked waiters are alive, and the list is held exclusively.
        let entry = unsafe { entry_of(waiter) };
        debug_assert!(entry.linked);
        entry.linked = false;
        let (previous, next) = (entry.previous, entry.next);
        if previous.is_null() {
            self.first = next;
        } else {
            // SAFETY: as above, and the neighbour is another waiter than this one.
            unsafe { entry_of(previous) }.next = next;
        }
        if next.is_null() {
            self.last = previous;
        } else {
            // SAFETY: as above.
            unsafe { entry_of(next) }.previous = previous;
        }
    }
}

impl<N> Drop for WaitList<N> {
    fn drop(&mut self) {
        debug_assert!(self.is_empty(), "a future outlived the primitive it waits for");
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn numbers(list: &mut WaitList<u32>) -> Vec<u32> {
        let mut seen = Vec::new();
        list.visit(|entry| {
            seen.push(entry.note);
            true
        });
        seen
    }

    #[test]
    fn any_of_three_can_leave_and_come_back_last() {
        for leaver in 0..3 {
            let mut list = WaitList::new();
            let mut waiters: Vec<_> = (0..3).map(|n| Box::pin(Waiter::new(n))).collect();
            for waiter in &mut waiters {
                list.push_back(waiter.as_mut(), Waker::noop().clone());
            }
            assert!(list.remove(waiters[leaver].as_mut()).is_some());
            let rest: Vec<u32> = (0..3).filter(|n| *n != leaver as u32).collect();
            assert_eq!(numbers(&mut list), rest);

            list.push_back(waiters[leaver].as_mut(), Waker::noop().clone());
            assert_eq!(numbers(&mut list).last(), Some(&(leaver as u32)));

            for waiter in &mut waiters {
                list.remove(waiter.as_mut());
            }
            assert!(list.is_empty());
        }
    }

    #[test]
    fn a_limit_keeps_newcomers_in() {
        let mut list = WaitList::new();
        let mut old = Box::pin(Waiter::new("old"));
        let mut new = Box::pin(Waiter::new("new"));
        list.push_back(old.as_mut(), Waker::noop().clone());
        let limit = list.next_number();
        list.push_back(new.as_mut(), Waker::noop().clone());

        assert_eq!(list.pop_front_before(limit).map(|entry| entry.note), Some("old"));
        assert!(list.pop_front_before(limit).is_none());
        assert!(!list.entry(old.as_mut()).is_linked());
        assert!(list.entry(new.as_mut()).is_linked());
        list.remove(old.as_mut());
        list.remove(new.as_mut());
    }

    #[test]
    #[should_panic(expected = "a waiter of another list")]
    fn a_list_refuses_the_waiter_of_another() {
        // Forgotten on the way out: dropping a bound waiter would abort, as it must.
        let mut list = std::mem::ManuallyDrop::new(WaitList::new());
        let mut waiter = std::mem::ManuallyDrop::new(Box::pin(Waiter::new(())));
        list.push_back(waiter.as_mut(), Waker::noop().clone());
        WaitList::new().entry(waiter.as_mut());
    }
}
