//! Stacks with their headers: what `wait` suspends and what wakers of stacks point to.
//!
//! ```text
//!             prepare, switch            begin_wait            notify: WAITING → queued
//!   pooled ─────────────────► running ─────────────► suspended ─────────────► queued
//!     ▲                         │  ▲                                            │
//!     └──────── retired ────────┘  └──────────────── switch ────────────────────┘
//! ```
//!
//! A header is *never freed*: it is the stack's companion, which stays with the place where the stack
//! is. So a stack's waker is a plain pointer: cloning and dropping it costs nothing, and one that is
//! stale notifies a stack that may belong to somebody else by now, which looks again and goes on
//! waiting; or one that nobody uses, where it is a notification that nobody waits for.
//!
//! **Invariant:** a header of zeroes is the valid header of a stack that nobody uses. That is how they
//! all begin; and when the memory of many unused stacks goes back to the system, theirs goes too, and
//! they are zeroes once more. A count that starts again can't be mistaken for the old one, since who
//! compares counts is in the middle of using the stack.

use super::Remote;
use crate::{
    cell::{Kind, Link},
    context::{Regions, waiting},
    record,
    wait::EventCount,
};
use bifilar_coroutine::{
    raw::Suspended,
    stack::{COMPANION_SIZE, Overflow, Pool, Stack, Usage},
};
use bifilar_timeline::Event;
use std::{
    cell::Cell,
    io,
    mem::{align_of, size_of, transmute},
    ptr::{self, NonNull},
    sync::atomic::{AtomicPtr, AtomicU32, Ordering},
};

#[repr(C)]
pub(super) struct StackHeader {
    /// Must stay first: a `*mut Link` of kind `Stack` is a `*mut StackHeader`.
    pub link: Link,
    pub count: EventCount,
    /// The task that is suspended on it, if that was recorded: 32 bits of its number, and 16 more in
    /// `link.note`.
    task: AtomicU32,
    /// Written before the stack is first suspended, read by whoever won `notify`.
    pub owner: AtomicPtr<Remote>,
    /// Where it is suspended. For the owner's thread alone.
    pub suspended: Cell<Option<Suspended>>,
    /// While somebody uses it. For the owner's thread alone.
    stack: Cell<Option<Stack>>,
    /// For the owner's thread alone. None is zero.
    pub regions: Regions,
}

// SAFETY: `suspended`, `stack` and `regions` are touched by the owner's thread alone; all else is
// atomic or immutable.
unsafe impl Sync for StackHeader {}

const _: () = {
    // Loom's atomics are larger; in its models, no scheduler runs.
    assert!(cfg!(loom) || size_of::<StackHeader>() <= COMPANION_SIZE);
    assert!(align_of::<StackHeader>() <= COMPANION_SIZE);
    // What a header of zeroes says. The atomics have all values; `Option<Suspended>` is a pointer, as is
    // `Regions`, and that one is null when it is new.
    // SAFETY: as large, and the compiler evaluates it here and now, and refuses an invalid value.
    let stack: Option<Stack> = unsafe { transmute([0_u8; size_of::<Option<Stack>>()]) };
    assert!(stack.is_none());
    std::mem::forget(stack);
    assert!(Kind::Stack as u8 == 0);
};

static POOL: Pool = Pool::new();

/// The stacks of all runtimes of this process.
pub(crate) fn usage() -> Usage {
    POOL.usage()
}

impl StackHeader {
    /// A stack of this class (what `stack::round_up` makes of a size), used or new.
    pub fn take(class: usize) -> io::Result<&'static StackHeader> {
        let stack = POOL.take(class)?;
        // SAFETY: large enough, aligned, and valid for ever. Our pool's companions are all headers,
        // be it of zeroes.
        let header: &'static StackHeader = unsafe { stack.companion().cast().as_ref() };
        header.stack.set(Some(stack));
        Ok(header)
    }

    /// Gives a stack back on which nothing stands any more.
    pub fn give_back(&'static self) {
        debug_assert!(self.suspended.get().is_none());
        // So that a worker which finds itself here can be sure that the rest is its own.
        self.owner.store(ptr::null_mut(), Ordering::Relaxed);
        drop(self.stack.take());
    }

    /// The memory; for the owner's thread alone.
    pub fn stack(&self) -> &Stack {
        // SAFETY: set as long as somebody uses the header, which whoever asks does.
        let stack = unsafe { &*self.stack.as_ptr() };
        stack.as_ref().expect("somebody uses it")
    }

    pub fn class(&self) -> usize {
        self.stack().reserved()
    }

    /// Whether this is the stack that overflowed.
    pub fn is_at(&self, overflow: &Overflow) -> bool {
        // SAFETY: the owner's thread asks.
        let stack = unsafe { &*self.stack.as_ptr() };
        stack.as_ref().is_some_and(|stack| overflow.is_of(stack))
    }

    /// Its number in recordings: companions lie 64 bytes apart, so those of 256 GiB have different ones.
    pub fn number(&self) -> u32 {
        (ptr::from_ref(self).addr() / COMPANION_SIZE) as u32
    }

    /// Notes which task is suspended here, for `notify`. Before the stack waits.
    pub fn note_task(&self, task: u64) {
        self.task.store(task as u32, Ordering::Relaxed);
        self.link.note.store((task >> 32) as u16, Ordering::Relaxed);
    }

    /// The same when it isn't recorded.
    #[inline]
    pub fn note_no_task(&self) {
        self.task.store(0, Ordering::Relaxed);
    }

    /// One in four billion tasks is taken for none.
    fn noted_task(&self) -> Option<u64> {
        let low = u64::from(self.task.load(Ordering::Relaxed));
        let high = u64::from(self.link.note.load(Ordering::Relaxed));
        (low != 0).then_some(high << 32 | low)
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
            // SAFETY: as below.
            record::event_for(
                || unsafe { (*owner).record() },
                |_| {
                    let to = self.noted_task()?;
                    Some(Event::Wake { from: waiting::task_number(), to })
                },
            );
            // SAFETY: it is suspended and this caller alone may queue it, so its worker's runtime
            // waits for it.
            unsafe { Remote::resume(owner, NonNull::from(&self.link)) };
        }
    }
}
