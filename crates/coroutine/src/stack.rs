//! Stacks: memory with a guard page below it, cheap to get and to give back, 1,000,000 at once.
//!
//! ```text
//!  one slot of a slab
//!  ├───────┬───────────────────────────────────────────┬────────┤
//!  │ guard │                   usable                  │ colour │
//!  └───────┴───────────────────────────────────────────┴────────┘
//!          ▲                                           ▲
//!        limit              ◄── stack grows ──        top
//! ```
//!
//! - *Reserve big, commit on touch.* A slab is address space, not memory: the kernel puts a page
//!   under an address when something first writes there. So a stack costs the pages its deepest
//!   call chain has touched, plus page tables.
//! - *Size classes.* Slots are powers of two from [`MIN_SIZE`] to [`MAX_SIZE`]; each size has
//!   slabs of its own in each [`Pool`].
//! - *Guards.* The lowest page of a slot is inaccessible: running off the end of a stack corrupts
//!   nothing, but ends the process with a message that names who it was, as for threads. A handler
//!   for SIGSEGV and SIGBUS, installed with the first stack, sees to that; faults elsewhere go on to
//!   the handler that was there before. Where the kernel knows light guards (Linux 6.13,
//!   `MADV_GUARD_INSTALL`) they leave the mapping in one piece. Elsewhere `mprotect` splits it, and
//!   the limit `vm.max_map_count` (65,530 by default) ends at about 32,000 stacks. [`guard_kind`]
//!   says which it is. A guard is installed when its slot is first used, and stays until all the
//!   memory around it is given up.
//! - *Colours.* Tops of neighbours differ in their distance from the slot's end, by 0 to 31 cache
//!   lines, so that the busiest lines of many stacks don't compete for the same few cache sets.
//! - *Never unmapped.* A stale pointer into a stack, or to its companion, reaches memory of this
//!   module, never a stranger's. Memory goes back to the system all the same: pages and page tables.
//!
//! | module | holds |
//! |---|---|
//! | `pool` | which stack is next, which keep their pages, when the others give them up |
//! | `slab` | one mapping: where its slots are, which of them are free, how memory is given up |
//! | `guard` | the two kinds of guards |
//! | `overflow` | who is told when a guard is hit |
//! | `resident` | which pages were touched |
//!
//! What it does not do: it does not grow stacks, and keeps no per-thread cache.

use core::ptr::NonNull;
use std::io;

use crate::sanitizer;

mod guard;
mod overflow;
mod pool;
mod resident;
mod slab;

pub use guard::{GuardKind, guard_kind, set_guard_size};
pub use overflow::{Describe, Line, Overflow, describe_overflows, prepare_thread};
pub use pool::{Pool, Usage};

/// The size of a stack when nothing else is asked for: 256 KiB, guard page and colour included.
///
/// A trade of depth against page tables, which cost 2 KiB for each megabyte of address space, used
/// or not. Bytes of memory for each of 100,000 bifilar fibers that block shallowly (their one page,
/// page tables, and 250 bytes of heap and companion; Linux 6.18, x86_64, release):
///
/// | 16 KiB | 32 KiB | 64 KiB | 128 KiB | **256 KiB** | 512 KiB | 1 MiB |
/// |---|---|---|---|---|---|---|
/// | 4,364 | 4,399 | 4,461 | 4,591 | **4,848** | 5,361 | 6,387 |
///
/// And what code takes, in KiB (Rust 1.95):
///
/// | | release | debug |
/// |---|---|---|
/// | `println!` of floats | 2.7 | 3.4 |
/// | `getaddrinfo` of glibc | 12 | 13 |
/// | a panic with a printed backtrace | 20 | 21 |
/// | serde_json, 127 arrays deep, its limit | 28 | **200** |
///
/// So 256 KiB is the smallest size on which recursive parsers of this kind run in debug builds too,
/// and costs 6 % more memory than half of it.
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
pub const MIN_SIZE: usize = 1 << pool::MIN_BITS;

/// The largest size of a stack: larger wishes are refused.
///
/// ```
/// use bifilar_coroutine::stack::{MAX_SIZE, Stack};
/// assert_eq!(Stack::new(MAX_SIZE)?.reserved(), MAX_SIZE); // address space, not memory
/// assert!(Stack::new(MAX_SIZE + 1).is_err());
/// # Ok::<(), std::io::Error>(())
/// ```
pub const MAX_SIZE: usize = 1 << pool::MAX_BITS;

/// What a stack of `size` bytes will occupy: [`Stack::reserved`] of [`Stack::new`] with this size.
///
/// # Errors
///
/// [`InvalidInput`](io::ErrorKind::InvalidInput) if `size` is larger than [`MAX_SIZE`].
///
/// ```
/// use bifilar_coroutine::stack::{MIN_SIZE, round_up};
/// assert_eq!(round_up(0)?, MIN_SIZE);
/// assert_eq!(round_up(100_000)?, 128 * 1024);
/// assert!(round_up(usize::MAX).is_err());
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn round_up(size: usize) -> io::Result<usize> {
    if size > MAX_SIZE {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("a stack of {size} bytes: the largest possible is {MAX_SIZE}"),
        ));
    }
    let least = MIN_SIZE.max(4 * guard::page_size()).max(2 * guard::size());
    Ok(size.max(least).next_power_of_two())
}

/// How many bytes of a stack are left below `address`; `None` if that isn't on a [`Stack`], but on one
/// of the system's or of foreign make.
///
/// For code that needs much of a stack, and can do without. Takes no lock.
///
/// ```
/// use bifilar_coroutine::{Coroutine, CoroutineState, stack::room_below};
///
/// fn room() -> Option<usize> {
///     let here = 0;
///     room_below(&raw const here)
/// }
///
/// let mut coroutine: Coroutine<(), (), Option<usize>> = Coroutine::new(|_, ()| room());
/// let CoroutineState::Returned(Some(left)) = coroutine.resume(()) else { panic!() };
/// assert!(left > 200_000, "of 256 KiB: {left}");
/// assert_eq!(room(), None);
/// ```
pub fn room_below<T: ?Sized>(address: *const T) -> Option<usize> {
    let (_, within) = overflow::slot_at(address.addr())?;
    Some(within.saturating_sub(guard::size()))
}

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
    slot: Slot,
}

/// A place in a slab. To hold one is not yet to own it.
#[derive(Clone, Copy, Debug)]
struct Slot {
    slab: &'static slab::Slab,
    index: u32,
}

/// The size of a stack's [companion](Stack::companion), and its alignment.
pub const COMPANION_SIZE: usize = 64;

impl Stack {
    /// Takes a stack from the pool that all share. It occupies `size` bytes, rounded up to a
    /// power of two of at least [`MIN_SIZE`].
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
        Pool::shared().take(size)
    }

    /// The address below which the stack begins; it grows downwards from here. 16-aligned.
    #[inline]
    pub fn top(&self) -> NonNull<u8> {
        let Slot { slab, index } = self.slot;
        let colour = (index + slab.number) as usize % COLOURS * CACHE_LINE;
        // SAFETY: a slot is larger than all colours together, so this stays within it.
        unsafe { self.start().add(self.reserved() - colour) }
    }

    /// The lowest usable address: the guard ends here.
    #[inline]
    pub fn limit(&self) -> NonNull<u8> {
        // SAFETY: a slot is larger than its guard, so this stays within it.
        unsafe { self.start().add(guard::size()) }
    }

    /// The usable bytes, from [`Stack::limit`] to [`Stack::top`].
    #[inline]
    pub fn size(&self) -> usize {
        self.top().as_ptr().addr() - self.limit().as_ptr().addr()
    }

    /// The bytes of address space this stack occupies, guard and colour included: a power of two.
    #[inline]
    pub fn reserved(&self) -> usize {
        1 << self.slot.slab.bits
    }

    /// [`COMPANION_SIZE`] bytes beside the stacks that belong to this one, for whoever keeps track of
    /// it: what must outlive the stack, but comes and goes with it.
    ///
    /// It stays where it is *for ever*, readable and writable. Zero when the stack is taken for the
    /// first time; afterwards, when no stack is there, it may become zero again at any moment. It
    /// goes from one user of the stack to the next, but not from one [`Pool`] to another.
    ///
    /// ```
    /// use bifilar_coroutine::stack::{COMPANION_SIZE, Pool};
    /// use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
    ///
    /// static POOL: Pool = Pool::new();
    ///
    /// let stack = POOL.take(0)?;
    /// assert!(stack.companion().addr().get().is_multiple_of(COMPANION_SIZE));
    /// // SAFETY: large enough and aligned; zero is a valid value; stays valid for ever, and all users
    /// // of this pool take it for the same.
    /// let count: &'static AtomicU64 = unsafe { stack.companion().cast().as_ref() };
    /// count.fetch_add(1, Relaxed);
    /// drop(stack);
    /// count.fetch_add(1, Relaxed); // stale, and harmless
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[inline]
    pub fn companion(&self) -> NonNull<u8> {
        self.slot.slab.companion(self.slot.index)
    }

    /// The lowest address of the slot, where the guard is.
    #[inline]
    fn start(&self) -> NonNull<u8> {
        self.slot.slab.slot(self.slot.index)
    }

    /// Makes the whole stack read as zero, so that [`depth`](Stack::depth) can say later how much of
    /// it was used since.
    ///
    /// # Safety
    ///
    /// Nothing needs the content of the stack: no execution is suspended or running there.
    pub unsafe fn clear(&self) {
        let low = self.limit();
        let length = self.reserved() - guard::size();
        // SAFETY: whole pages of this slot, above the guard, whose content the caller gave up. The
        // mapping is private and anonymous, so they read as zero.
        if unsafe { libc::madvise(low.as_ptr().cast(), length, libc::MADV_DONTNEED) } != 0 {
            // Locked memory stays, so it is written.
            for page in resident::pages(low, length) {
                // SAFETY: a page of this slot above the guard, whose content the caller gave up.
                unsafe { page.write_bytes(0, guard::page_size()) };
            }
        }
    }

    /// How many bytes of the stack have been used since it was [cleared](Stack::clear): from the top
    /// to the lowest word that isn't zero.
    ///
    /// A frame below the last call, of which only zeroes were written, doesn't count; nor does what
    /// the system has swapped out. A stack that was never cleared tells of earlier users, too.
    /// [`Coroutine::stack_depth`](crate::Coroutine::stack_depth) has an example.
    ///
    /// # Safety
    ///
    /// No other thread runs on the stack meanwhile.
    pub unsafe fn depth(&self) -> usize {
        let (low, length) = (self.limit(), self.reserved() - guard::size());
        let words = guard::page_size() / size_of::<usize>();
        let lowest = resident::pages(low, length).find_map(|page| {
            (0..words).map(|word| page.as_ptr().cast::<usize>().wrapping_add(word)).find(|word| {
                // SAFETY: a word of a page of this slot above the guard. Volatile, since the frames
                // of this very thread may stand there.
                let word = unsafe { word.read_volatile() };
                word != 0
            })
        });
        lowest.map_or(0, |word| self.top().as_ptr().addr().saturating_sub(word.addr()))
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        sanitizer::given_back(self);
        self.slot.slab.pool.give_back(self.slot);
    }
}

const COLOURS: usize = 32;
const CACHE_LINE: usize = 64;
