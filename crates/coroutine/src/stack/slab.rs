//! Slabs: address space for many stacks of one size, in one mapping that is never unmapped.
//!
//! ```text
//!  base                               first
//!  ├── bitmap ──┬──── companions ────┬──┼──── slot 0 ────┬──── slot 1 ────┬── slot 2 …
//!  │ a used and │ 64 bytes for each  │  │ guard │ usable │ guard │ usable │
//!  │ a guarded  │ slot, for whoever  │
//!  │ bit a slot │ uses the stack     │      64 slots: a block, one word of the bitmap
//! ```
//!
//! A slot is in one of three states, in the bits of its [`Block`]:
//!
//! | used | guarded | the slot is |
//! |---|---|---|
//! | 0 | 0 | as fresh from the kernel: no guard, no pages |
//! | 0 | 1 | free: its guard is there, but no pages |
//! | 1 | 1 | handed out, or kept by its pool with its pages |
//!
//! *Giving memory up* has three sizes. Slots whose block stays in use lose their pages, a whole run
//! of them by one call (`MADV_DONTNEED`, which leaves light guards alone). That leaves the page
//! tables, 2 KiB for a megabyte of address space: more than the pages, once stacks are large. So a
//! block that nobody uses is *mapped anew* in place: the kernel drops pages, guards and tables, and
//! the address range stays ours; the page with its companions goes, too. A slab that nobody uses at all is mapped anew as a whole, bitmap and
//! companions included, so zeroes there must mean what they mean in a new slab. `first` lies at a
//! multiple of what one page table covers, so that a block shares no table with its neighbours.
//!
//! What it does not do: lock. A slab's bitmap is touched under its pool's lock alone.

use core::{
    ops::Range,
    ptr::{NonNull, null_mut},
    slice,
};
use std::io;

use super::{COMPANION_SIZE, Pool, guard, overflow};

/// The largest slab: as much as one table of the second level covers, and aligned to that, so that
/// mapping a slab anew drops that table, too.
pub(super) const LARGEST_SLAB: usize = 1 << 30;

/// What a page table of the lowest level covers, where pages have 4 KiB.
const TABLE: usize = 2 << 20;

/// Slots in a block: bits in a word.
const BLOCK: usize = 64;

/// One mapping, cut into slots of `1 << bits` bytes. Its record is never freed.
#[derive(Debug)]
pub(super) struct Slab {
    base: NonNull<u8>,
    bytes: usize,
    companions: NonNull<u8>,
    first: NonNull<u8>,
    slots: u32,
    pub bits: u32,
    /// Its place among the slabs of its pool and size.
    pub number: u32,
    pub pool: &'static Pool,
}

// SAFETY: addresses that never change; what they lead to is touched under the pool's lock, or by
// the owner of a slot.
unsafe impl Send for Slab {}
// SAFETY: as above.
unsafe impl Sync for Slab {}

/// What is known of 64 slots; bit `n` is for the slot number `n` of them.
#[derive(Clone, Copy)]
struct Block {
    used: u64,
    guarded: u64,
}

impl Slab {
    /// Maps a slab of about `bytes`, with at least one slot.
    pub fn map(
        bits: u32,
        bytes: usize,
        number: u32,
        pool: &'static Pool,
    ) -> io::Result<&'static Slab> {
        let size = 1_usize << bits;
        let bytes = bytes.max(size + TABLE);
        let most = bytes / size;
        let bitmap =
            (most.div_ceil(BLOCK) * size_of::<Block>()).next_multiple_of(guard::page_size());
        let lead = (bitmap + most * COMPANION_SIZE).next_multiple_of(TABLE);
        let base = reserve(bytes)?;
        // SAFETY: both are less than `bytes`.
        let (companions, first) = unsafe { (base.add(bitmap), base.add(lead)) };
        let slots = ((bytes - lead) / size) as u32;
        overflow::note(first, (slots as usize) << bits, bits);
        let slab = Slab { base, bytes, companions, first, slots, bits, number, pool };
        Ok(Box::leak(Box::new(slab)))
    }

    /// The number of slots.
    pub fn slots(&self) -> u32 {
        self.slots
    }

    /// The bytes of address space.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The lowest address of a slot, where its guard is.
    #[inline]
    pub fn slot(&self, index: u32) -> NonNull<u8> {
        debug_assert!(index <= self.slots);
        // SAFETY: at most the end of the slab.
        unsafe { self.first.add((index as usize) << self.bits) }
    }

    /// The companion of a slot.
    #[inline]
    pub fn companion(&self, index: u32) -> NonNull<u8> {
        debug_assert!(index < self.slots);
        // SAFETY: there is one for each slot.
        unsafe { self.companions.add(index as usize * COMPANION_SIZE) }
    }

    /// Marks the lowest free slot as used and guarded, and says whether it has its guard already.
    /// If not, the caller installs it.
    ///
    /// # Safety
    ///
    /// The caller holds the pool's lock.
    pub unsafe fn take(&self) -> Option<(u32, bool)> {
        // SAFETY: the caller's promise.
        let blocks = unsafe { self.blocks() };
        let (number, block) = blocks.iter_mut().enumerate().find(|(_, b)| b.used != u64::MAX)?;
        let bit = block.used.trailing_ones();
        let index = (number * BLOCK) as u32 + bit;
        if index >= self.slots {
            return None;
        }
        let guarded = block.guarded & 1 << bit != 0;
        block.used |= 1 << bit;
        block.guarded |= 1 << bit;
        Some((index, guarded))
    }

    /// Takes back a slot whose guard could not be installed.
    ///
    /// # Safety
    ///
    /// The caller holds the pool's lock, and `take` gave it this slot.
    pub unsafe fn untake(&self, index: u32) {
        let bit = 1_u64 << (index as usize % BLOCK);
        // SAFETY: the caller's promise.
        let block = unsafe { &mut self.blocks()[index as usize / BLOCK] };
        block.used &= !bit;
        block.guarded &= !bit;
    }

    /// Marks slots as free and gives up their memory.
    ///
    /// # Safety
    ///
    /// The caller holds the pool's lock. The slots, in ascending order, were handed out by `take`,
    /// and nobody needs their content. If `all`, then no other slot of this slab is used.
    pub unsafe fn give_up(&self, slots: &[u32], all: bool) {
        // SAFETY: the caller's promise.
        let blocks = unsafe { self.blocks() };
        for slot in slots {
            blocks[*slot as usize / BLOCK].used &= !(1 << (*slot as usize % BLOCK));
        }
        if all {
            // SAFETY: nobody uses anything of this slab. Stale pointers to companions stay valid, and
            // see zeroes; so does the next look at the bitmap.
            unsafe { map_anew(self.base, self.bytes) };
            return;
        }
        let mut unused: Range<usize> = 0..0;
        for slots in slots.chunk_by(|a, b| *a as usize / BLOCK == *b as usize / BLOCK) {
            let number = slots[0] as usize / BLOCK;
            let freed = slots.iter().fold(0_u64, |bits, slot| bits | 1 << (*slot as usize % BLOCK));
            let block = &mut blocks[number];
            if block.used != 0 {
                // SAFETY: the slots with these bits were given up.
                unsafe { self.discard(number, freed) };
                continue;
            }
            block.guarded = 0;
            if unused.end == number {
                unused.end += 1;
            } else {
                // SAFETY: no slot of these blocks is used.
                unsafe { self.map_blocks_anew(unused) };
                unused = number..number + 1;
            }
        }
        // SAFETY: as above.
        unsafe { self.map_blocks_anew(unused) };
    }

    /// # Safety
    ///
    /// Nobody uses a slot of these blocks.
    unsafe fn map_blocks_anew(&self, blocks: Range<usize>) {
        if blocks.is_empty() {
            return;
        }
        let from = (blocks.start * BLOCK) as u32;
        let to = ((blocks.end * BLOCK) as u32).min(self.slots);
        // SAFETY: the caller's promise.
        unsafe { map_anew(self.slot(from), ((to - from) as usize) << self.bits) };
        // Their companions fill whole pages, where pages have 4 KiB. What doesn't, stays.
        let page = guard::page_size();
        let start = from as usize * COMPANION_SIZE;
        let end = to as usize * COMPANION_SIZE / page * page;
        if start.is_multiple_of(page) && start < end {
            // SAFETY: within the companions, and those of unused slots may become zero.
            let _ = unsafe { discard(self.companions.add(start), end - start) };
        }
    }

    /// Drops the pages of some slots of one block: one call for each run of neighbours.
    ///
    /// # Safety
    ///
    /// Nobody needs the content of the slots whose bit is set.
    unsafe fn discard(&self, block: usize, mut slots: u64) {
        while slots != 0 {
            let from = slots.trailing_zeros();
            let run = (slots >> from).trailing_ones();
            let start = self.slot((block * BLOCK) as u32 + from);
            // SAFETY: the caller's promise. Guards in between stay.
            let result = unsafe { discard(start, (run as usize) << self.bits) };
            // Fails only for memory locked by mlockall, which then simply stays.
            let _ = result;
            slots &= !(u64::MAX >> (u64::BITS - run) << from);
        }
    }

    /// # Safety
    ///
    /// The caller holds the pool's lock, and lets go of the slice before anybody maps anew.
    #[expect(clippy::mut_from_ref, reason = "the lock makes it exclusive")]
    unsafe fn blocks(&self) -> &mut [Block] {
        let count = (self.slots as usize).div_ceil(BLOCK);
        // SAFETY: this many fit before the companions, all bit patterns are valid, and the lock that
        // the caller holds makes them ours.
        unsafe { slice::from_raw_parts_mut(self.base.cast().as_ptr(), count) }
    }
}

const PROTECTION: libc::c_int = libc::PROT_READ | libc::PROT_WRITE;
const FLAGS: libc::c_int =
    libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE | libc::MAP_STACK;

/// Reserves address space, aligned as its size is, up to [`LARGEST_SLAB`].
fn reserve(bytes: usize) -> io::Result<NonNull<u8>> {
    let alignment = (1 << bytes.trailing_zeros()).min(LARGEST_SLAB);
    // SAFETY: a fresh mapping at an address of the kernel's choice touches nothing that exists.
    let map = |bytes| unsafe { libc::mmap(null_mut(), bytes, PROTECTION, FLAGS, -1, 0) };
    let start = map(bytes + alignment);
    let address = if start == libc::MAP_FAILED {
        // Under a tight limit, do without alignment.
        map(bytes)
    } else {
        let before = start.addr().next_multiple_of(alignment) - start.addr();
        // SAFETY: within the mapping, as are both of the rests that are unmapped.
        unsafe {
            let aligned = start.byte_add(before);
            for (rest, length) in [(start, before), (aligned.byte_add(bytes), alignment - before)] {
                if length > 0 {
                    libc::munmap(rest, length);
                }
            }
            aligned
        }
    };
    if address == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the mapping made above.
    unsafe { refuse_huge_pages(address, bytes) };
    Ok(NonNull::new(address.cast()).expect("mmap never returns the null page"))
}

/// Replaces a part of a slab by a new mapping: pages, guards and page tables go, the address range
/// stays. Who touches it meanwhile finds the old or the new, for the kernel exchanges them under its
/// lock.
///
/// # Safety
///
/// The range consists of whole pages of one slab, and nobody needs their content.
unsafe fn map_anew(start: NonNull<u8>, bytes: usize) {
    let address = start.as_ptr().cast();
    // SAFETY: the caller's promise.
    let mapped = unsafe { libc::mmap(address, bytes, PROTECTION, FLAGS | libc::MAP_FIXED, -1, 0) };
    if mapped != libc::MAP_FAILED {
        // SAFETY: the mapping made above.
        return unsafe { refuse_huge_pages(address, bytes) };
    }
    // No memory for the record of a mapping. The old one is still there, with its guards, which may
    // be installed a second time. Kernels before 6.12 could in theory have lost it on the way; then
    // the range may become somebody else's at any time, and there is no way to go on.
    // SAFETY: the caller's promise.
    let discarded = unsafe { discard(start, bytes) };
    if discarded.is_err_and(|error| error.raw_os_error() == Some(libc::ENOMEM)) {
        std::process::abort();
    }
}

/// A huge page would back 2 MiB at the first touch of one stack.
///
/// # Safety
///
/// The range is a mapping of ours.
unsafe fn refuse_huge_pages(address: *mut libc::c_void, bytes: usize) {
    // SAFETY: advice on our own mapping. A kernel without huge pages refuses it, and needs none.
    let _ = unsafe { libc::madvise(address, bytes, libc::MADV_NOHUGEPAGE) };
}

/// Drops the pages of a range: it reads as zero again. Guards stay.
///
/// # Safety
///
/// The range consists of whole pages of a private anonymous mapping of ours, and nobody needs their
/// content.
unsafe fn discard(start: NonNull<u8>, bytes: usize) -> io::Result<()> {
    // SAFETY: the caller's promise.
    match unsafe { libc::madvise(start.as_ptr().cast(), bytes, libc::MADV_DONTNEED) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
