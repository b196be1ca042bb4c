//! Stacks with their headers: what `wait` suspends and what wakers of stacks point to.
//!
//! ```text
//!             prepare, switch            begin_wait            notify: WAITING → queued
//!   pooled ─────────────────► running ─────────────► suspended ─────────────► queued
//!     ▲                         │  ▲                                            │
//!     └──────── retired ────────┘  └──────────────── switch ────────────────────┘
//! ```
//!
//! A header is *never freed*, and stays with its stack for ever. So a stack's waker is a plain
//! pointer: cloning and dropping it costs nothing, and one that is stale notifies a stack that may
//! belong to somebody else by now, which looks again and goes on waiting.

use super::Remote;
use crate::{
    cell::{Kind, Link},
    context::Regions,
    wait::EventCount,
};
use bifilar_coroutine::{raw::Suspended, stack::Stack};
use std::{
    cell::Cell,
    io,
    ptr::{self, NonNull},
    sync::{
        Mutex,
        atomic::{AtomicPtr, Ordering},
    },
};

#[repr(C)]
pub(super) struct StackHeader {
    /// Must stay first: a `*mut Link` of kind `Stack` is a `*mut StackHeader`.
    pub link: Link,
    pub count: EventCount,
    /// Written before the stack is first suspended, read by whoever won `notify`.
    pub owner: AtomicPtr<Remote>,
    /// Where it is suspended. For the owner's thread alone.
    pub suspended: Cell<Option<Suspended>>,
    pub stack: Stack,
    /// For the owner's thread alone.
    pub regions: Regions,
}

// SAFETY: `suspended` and `regions` are touched by the owner's thread alone; all else is atomic or immutable.
unsafe impl Sync for StackHeader {}
// SAFETY: a header moves between workers through the pool only, while nothing stands on its stack.
unsafe impl Send for StackHeader {}

/// Headers of stacks nobody uses, by the base-2 logarithm of their size.
static POOL: [Mutex<Vec<&'static StackHeader>>; usize::BITS as usize] =
    [const { Mutex::new(Vec::new()) }; _];

/// As many stacks of each size keep their pages in the pool; more give them back.
const WARM: usize = 64;

impl StackHeader {
    /// A stack of this class (what `stack::round_up` makes of a size), used or new.
    pub fn take(class: usize) -> io::Result<&'static StackHeader> {
        let pooled = POOL[class.ilog2() as usize].lock().unwrap().pop();
        if let Some(header) = pooled {
            return Ok(header);
        }
        let header = StackHeader {
            link: Link::new(Kind::Stack),
            count: EventCount::new(),
            owner: AtomicPtr::new(ptr::null_mut()),
            suspended: Cell::new(None),
            stack: Stack::new(class)?,
            regions: Regions::new(),
        };
        Ok(Box::leak(Box::new(header)))
    }

    /// Gives a stack back on which nothing stands any more.
    pub fn give_back(&'static self) {
        let mut pool = POOL[self.class().ilog2() as usize].lock().unwrap();
        if pool.len() >= WARM {
            // SAFETY: nothing stands on it.
            unsafe { self.stack.discard() };
        }
        pool.push(self);
    }

    pub fn class(&self) -> usize {
        self.stack.reserved()
    }

    /// # Safety
    /// `link` is of kind `Stack`.
    pub unsafe fn from_link(link: NonNull<Link>) -> &'static StackHeader {
        // SAFETY: a link of this kind is the first field of a header, and headers live for ever.
        unsafe { link.cast::<StackHeader>().as_ref() }
    }

    /// Notifies the stack, from any thread: makes it run if it is suspended.
    pub fn notify(&'static self) {
        if self.count.notify() {
            // Relaxed: `notify` acquired what `begin_wait` released, and that came after the store.
            let owner = self.owner.load(Ordering::Relaxed);
            // SAFETY: it is suspended and this caller alone may queue it, so its worker's runtime
            // waits for it.
            unsafe { Remote::resume(owner, NonNull::from(&self.link)) };
        }
    }
}
