//! The hook by which tasks and suspended stacks stand in the scheduler's queues.
//!
//! A `Link` is the first field of a task's header and of a stack's header, so a queue needs no
//! memory of its own and one queue can hold both. An element stands in at most one queue at a time:
//! for a task its SCHEDULED bit says so, for a stack that it is suspended and was woken.

use crate::primitives::{AtomicPtr, AtomicU16, AtomicU32, Ordering};
use std::ptr::{self, NonNull};

/// What a link is embedded in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    /// Zero, since a stack's header may be all zeroes.
    Stack,
    Task,
}

#[derive(Debug)]
pub(crate) struct Link {
    next: AtomicPtr<Link>,
    pub kind: Kind,
    /// For whoever embeds it, since there is room.
    pub note: AtomicU16,
    /// When it was queued, if that is measured: on the scheduler's clock, whose matter this is.
    pub queued: AtomicU32,
}

impl Link {
    pub fn new(kind: Kind) -> Self {
        Link {
            next: AtomicPtr::new(ptr::null_mut()),
            kind,
            note: AtomicU16::new(0),
            queued: AtomicU32::new(0),
        }
    }

    /// Only the holder of the queue in which this element stands may call this. Relaxed: queues
    /// that are shared order their accesses themselves.
    pub fn next(&self) -> *mut Link {
        self.next.load(Ordering::Relaxed)
    }

    /// As `next`.
    pub fn set_next(&self, next: *mut Link) {
        self.next.store(next, Ordering::Relaxed);
    }
}

/// A first-in first-out list of linked elements. It does not own them: whoever pops one takes over
/// the right to run it.
#[derive(Debug)]
pub(crate) struct Fifo {
    head: *mut Link,
    tail: *mut Link,
    len: usize,
}

// SAFETY: the pointers are only followed by the one who holds the list, and the elements may be
// handed from thread to thread (what must not leave its thread is kept out of shared lists by the
// scheduler).
unsafe impl Send for Fifo {}

impl Fifo {
    pub const fn new() -> Self {
        Fifo { head: ptr::null_mut(), tail: ptr::null_mut(), len: 0 }
    }

    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.head.is_null()
    }

    /// # Safety
    /// `link` is alive until it is popped, and stands in no other queue.
    pub unsafe fn push(&mut self, link: NonNull<Link>) {
        // SAFETY: alive, and ours alone while it stands in this list.
        unsafe { link.as_ref() }.set_next(ptr::null_mut());
        match NonNull::new(self.tail) {
            // SAFETY: elements of the list are alive, by the promise of `push`.
            Some(tail) => unsafe { tail.as_ref() }.set_next(link.as_ptr()),
            None => self.head = link.as_ptr(),
        }
        self.tail = link.as_ptr();
        self.len += 1;
    }

    /// Puts back what `pop` gave.
    ///
    /// # Safety
    /// As `push`.
    pub unsafe fn push_front(&mut self, link: NonNull<Link>) {
        // SAFETY: alive, and ours alone while it stands in this list.
        unsafe { link.as_ref() }.set_next(self.head);
        self.head = link.as_ptr();
        if self.tail.is_null() {
            self.tail = link.as_ptr();
        }
        self.len += 1;
    }

    pub fn pop(&mut self) -> Option<NonNull<Link>> {
        let link = NonNull::new(self.head)?;
        // SAFETY: elements of the list are alive, by the promise of `push`.
        self.head = unsafe { link.as_ref() }.next();
        if self.head.is_null() {
            self.tail = ptr::null_mut();
        }
        self.len -= 1;
        Some(link)
    }

    /// What `pop` would give.
    pub fn front(&self) -> Option<NonNull<Link>> {
        NonNull::new(self.head)
    }
}
