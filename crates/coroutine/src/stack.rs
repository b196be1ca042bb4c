//! Stacks: memory with a guard page below it, cheap to get and to give back, 1,000,000 at once.
//!
//! ```text
//!  slab (one mmap, never unmapped)
//!  ├────────────── slot 0 ──────────────┼────────────── slot 1 ─────────────┼── slot 2 …
//!  │ guard │          usable      │ colour│ guard │        usable     │ colour│
//!          ▲                      ▲
//!        limit ◄── stack grows ── top        colour = (slot number mod 32) · 64 bytes
//! ```
//!
//! - *Reserve big, commit on touch.* A slab is address space, not memory: the kernel puts a page
//!   under an address when something first writes there. So a stack costs the pages its deepest
//!   call chain has touched, plus page tables.
//! - *Size classes.* Slots are powers of two from [`MIN_SIZE`] to [`MAX_SIZE`]; each size has
//!   slabs and a free list of its own.
//! - *Guards.* The lowest page of a slot is inaccessible: running off the end of a stack raises
//!   SIGSEGV and corrupts nothing. Where the kernel knows light guards (Linux 6.13,
//!   `MADV_GUARD_INSTALL`) they leave the mapping in one piece. Elsewhere `mprotect` splits it, and
//!   the limit `vm.max_map_count` (65,530 by default) ends at about 32,000 stacks. [`guard_kind`]
//!   says which it is. A guard is installed when its slot is first used, and stays.
//! - *Colours.* Tops of neighbours differ in their distance from the slot's end, so that the
//!   busiest lines of many stacks don't compete for the same few cache sets.
//! - *Never unmapped.* A stale pointer into a stack reaches a stack, never foreign memory.
//!
//! What it does not do: it does not grow stacks, does not say whose stack overflowed, and keeps no
//! per-thread cache.

use core::ptr::NonNull;
use std::io;

use crate::sanitizer;

mod guard;
mod slab;

pub use guard::{GuardKind, guard_kind};

/// The size of a stack when nothing else is asked for: 256 KiB, guard page and colour included.
///
/// A compromise: as much as careful code needs, while a million of them cost 500 MB of page tables.
///
/// ```
/// use bifilar_coroutine::stack::{DEFAULT_SIZE, Stack};
/// assert_eq!(DEFAULT_SIZE, 256 * 1024);
/// assert!(Stack::new(DEFAULT_SIZE)?.size() > 240 * 1024);
/// # Ok::<(), std::io::Error>(())
/// ```
pub const DEFAULT_SIZE: usize = 256 * 1024;

/// The smallest size of a stack: smaller wishes get this.
///
/// Enough for a generator that does little, and for unwinding it. The report of a panic with a
/// backtrace takes more: see [`Stack::new`].
///
/// ```
/// use bifilar_coroutine::stack::{MIN_SIZE, Stack};
/// assert_eq!(Stack::new(1)?.reserved(), MIN_SIZE);
/// # Ok::<(), std::io::Error>(())
/// ```
pub const MIN_SIZE: usize = 1 << slab::MIN_BITS;

/// The largest size of a stack: larger wishes are refused.
///
/// ```
/// use bifilar_coroutine::stack::{MAX_SIZE, Stack};
/// assert_eq!(Stack::new(MAX_SIZE)?.reserved(), MAX_SIZE); // address space, not memory
/// assert!(Stack::new(MAX_SIZE + 1).is_err());
/// # Ok::<(), std::io::Error>(())
/// ```
pub const MAX_SIZE: usize = 1 << slab::MAX_BITS;

/// One stack: the right to use its memory. Dropping it gives the memory back for reuse.
///
/// ```
/// use bifilar_coroutine::stack::Stack;
///
/// let stack = Stack::new(64 * 1024)?;
/// assert_eq!(stack.reserved(), 64 * 1024);
/// assert!(stack.size() < stack.reserved()); // without guard and colour
/// assert_eq!(stack.top().as_ptr().addr() - stack.limit().as_ptr().addr(), stack.size());
/// // SAFETY: this memory is ours until `stack` is dropped.
/// unsafe { stack.limit().write(1) };
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// Its memory must not be used after the drop, which is why everything that runs on a stack is
/// `unsafe` or owns it: [`Coroutine`](crate::Coroutine) does.
#[derive(Debug)]
pub struct Stack {
    /// The lowest address of the slot, where the guard is.
    slot: NonNull<u8>,
    /// The slot's number within its slab.
    index: u32,
    /// The slot's size is `1 << bits`.
    bits: u32,
}

// SAFETY: a stack is memory that nothing else refers to; all methods that touch it are unsafe or
// go through the lock of its slabs.
unsafe impl Send for Stack {}
// SAFETY: as for Send: `&Stack` gives out addresses only.
unsafe impl Sync for Stack {}

impl Stack {
    /// Takes a stack that occupies `size` bytes, rounded up to a power of two of at least
    /// [`MIN_SIZE`].
    ///
    /// The guard page and the colour (up to 1,984 bytes) are part of `size`: [`Stack::size`] says
    /// what remains. The content is whatever an earlier user of the memory left there, or zero.
    ///
    /// How much is enough depends on the code. Two amounts to add to its own (measured with Rust
    /// 1.95 on x86_64): unwinding, so every panic and every drop of a suspended coroutine, takes
    /// 6 KiB; the report of a panic with a backtrace takes 21 KiB.
    ///
    /// # Errors
    ///
    /// - [`InvalidInput`](io::ErrorKind::InvalidInput) if `size` is larger than [`MAX_SIZE`].
    /// - What the kernel reports when it refuses address space (`RLIMIT_AS`, strict overcommit) or
    ///   the guard (`vm.max_map_count`), mostly [`OutOfMemory`](io::ErrorKind::OutOfMemory).
    ///
    /// ```
    /// use bifilar_coroutine::stack::{MAX_SIZE, MIN_SIZE, Stack};
    /// assert_eq!(Stack::new(0)?.reserved(), MIN_SIZE);
    /// assert_eq!(Stack::new(100_000)?.reserved(), 128 * 1024);
    /// assert!(Stack::new(MAX_SIZE + 1).is_err());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn new(size: usize) -> io::Result<Stack> {
        if size > MAX_SIZE {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("a stack of {size} bytes: the largest possible is {MAX_SIZE}"),
            ));
        }
        let least = MIN_SIZE.max(4 * guard::page_size());
        let bits = size.max(least).next_power_of_two().ilog2();
        slab::take(bits).inspect(sanitizer::taken)
    }

    /// The address below which the stack begins; it grows downwards from here. 16-aligned.
    #[inline]
    pub fn top(&self) -> NonNull<u8> {
        let colour = (self.index as usize % COLOURS) * CACHE_LINE;
        // SAFETY: a slot is larger than all colours together, so this stays within it.
        unsafe { self.slot.add(self.reserved() - colour) }
    }

    /// The lowest usable address: the guard ends here.
    #[inline]
    pub fn limit(&self) -> NonNull<u8> {
        // SAFETY: a slot is larger than a page, so this stays within it.
        unsafe { self.slot.add(guard::page_size()) }
    }

    /// The usable bytes, from [`Stack::limit`] to [`Stack::top`].
    #[inline]
    pub fn size(&self) -> usize {
        self.top().as_ptr().addr() - self.limit().as_ptr().addr()
    }

    /// The bytes of address space this stack occupies, guard and colour included: a power of two.
    #[inline]
    pub fn reserved(&self) -> usize {
        1 << self.bits
    }

    /// Gives all pages but the topmost back to the operating system: their content is lost, and
    /// they cost nothing until they are touched again.
    ///
    /// ```
    /// # use bifilar_coroutine::stack::Stack;
    /// let stack = Stack::new(64 * 1024)?;
    /// // SAFETY: the memory is ours, and nothing runs on it.
    /// unsafe {
    ///     stack.limit().write(1);
    ///     stack.discard();
    ///     assert_eq!(stack.limit().read(), 0);
    /// }
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Safety
    ///
    /// Nothing needs the content of the stack below its topmost page: no execution is suspended or
    /// running there.
    pub unsafe fn discard(&self) {
        let low = self.limit();
        let length = self.reserved() - 2 * guard::page_size();
        // SAFETY: `low` and `length` name whole pages within this slot, above the guard, whose
        // content the caller gave up. The mapping is private and anonymous, so they read as zero.
        let result = unsafe { libc::madvise(low.as_ptr().cast(), length, libc::MADV_DONTNEED) };
        // Fails only for memory locked by mlockall, which then simply stays.
        let _ = result;
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        sanitizer::given_back(self);
        slab::give_back(self);
    }
}

const COLOURS: usize = 32;
const CACHE_LINE: usize = 64;
