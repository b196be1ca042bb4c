//! Slabs: where the memory of stacks comes from, and where it waits to be used again.
//!
//! ```text
//!            ┌────────────────────── give_back ──────────────────────┐
//!            ▼                                                       │
//!   warm: as it was left, a few   ─┐                                 │
//!   cold: pages given up, any     ─┼─ take, in this order ──► Stack ─┘
//!   fresh: never used, no guard   ─┘
//!            ▲
//!            └── mmap of the next slab
//! ```
//!
//! There is one [`Class`] for each power of two, behind a lock of its own. Slots that come back
//! are taken again last in, first out: the warmest first.
//!
//! What it does not do: unmap, or trim in the background.

use core::ptr::{NonNull, null_mut};
use std::{
    io,
    sync::{Mutex, PoisonError},
};

use super::{Stack, guard, overflow};

/// 16 KiB: a guard, a topmost page, and something between them.
pub(super) const MIN_BITS: u32 = 14;
/// 1 GiB.
pub(super) const MAX_BITS: u32 = 30;

/// The first slab of a class, so that a process with few stacks reserves little.
const FIRST_SLAB: usize = 64 << 20;
/// Each next slab is twice as large, up to this.
const LARGEST_SLAB: usize = 1 << 30;

/// A slab where the system refuses the usual one.
const MODEST_SLAB: usize = 2 << 20;

/// How much address space of returned stacks may keep its pages, for each class.
const WARM_BYTES: usize = 8 << 20;
/// And how many stacks at most.
const WARM_STACKS: usize = 32;

/// A slot that nobody uses; it has its guard.
struct Slot {
    address: NonNull<u8>,
    index: u32,
}

// SAFETY: a slot is unused memory, owned by the list it is in.
unsafe impl Send for Slot {}

/// All slots of one size.
struct Class {
    warm: Vec<Slot>,
    cold: Vec<Slot>,
    /// The slots of the newest slab that were never handed out.
    fresh: Fresh,
}

/// `left` slots in a row from `slot` on.
struct Fresh {
    slot: Slot,
    left: u32,
    /// How large the next slab will be.
    next_slab: usize,
}

static CLASSES: [Mutex<Class>; (MAX_BITS - MIN_BITS + 1) as usize] = [const {
    let slot = Slot { address: NonNull::dangling(), index: 0 };
    let fresh = Fresh { slot, left: 0, next_slab: FIRST_SLAB };
    Mutex::new(Class { warm: Vec::new(), cold: Vec::new(), fresh })
}; _];

/// Takes a slot of `1 << bits` bytes.
pub(super) fn take(bits: u32) -> io::Result<Stack> {
    let mut class = lock(bits);
    let slot = match class.warm.pop().or_else(|| class.cold.pop()) {
        Some(slot) => slot,
        None => class.fresh.take(bits)?,
    };
    Ok(Stack { slot: slot.address, index: slot.index, bits })
}

/// Takes the memory of `stack`, which is being dropped.
pub(super) fn give_back(stack: &Stack) {
    let slot = Slot { address: stack.slot, index: stack.index };
    let mut class = lock(stack.bits);
    if class.warm.len() < WARM_STACKS.min(WARM_BYTES >> stack.bits) {
        class.warm.push(slot);
        return;
    }
    drop(class);
    // SAFETY: whoever ran on the stack owned it, and is gone now that it is dropped.
    unsafe { stack.discard() };
    lock(stack.bits).cold.push(slot);
}

/// A panic under this lock (out of memory) leaves the lists as they were.
fn lock(bits: u32) -> std::sync::MutexGuard<'static, Class> {
    CLASSES[(bits - MIN_BITS) as usize].lock().unwrap_or_else(PoisonError::into_inner)
}

impl Fresh {
    /// Puts a guard under the next slot, from a new slab if need be.
    fn take(&mut self, bits: u32) -> io::Result<Slot> {
        if self.left == 0 {
            let mut bytes = self.next_slab.max(1 << bits);
            let address = map(bytes).or_else(|_| {
                // `RLIMIT_AS` or strict overcommit: be modest, and leave something to others.
                bytes = MODEST_SLAB.max(1 << bits);
                map(bytes)
            })?;
            overflow::note(address, bytes, bits);
            self.slot = Slot { address, index: 0 };
            self.left = (bytes >> bits) as u32;
            self.next_slab = (bytes * 2).min(LARGEST_SLAB);
        }
        let Slot { address, index } = self.slot;
        // SAFETY: the lowest page of a slot that was never handed out.
        unsafe { guard::install(address)? };
        // SAFETY: `left` slots follow one another, so this is at most the end of the slab.
        self.slot = Slot { address: unsafe { address.add(1 << bits) }, index: index + 1 };
        self.left -= 1;
        Ok(Slot { address, index })
    }
}

/// Reserves address space for a slab.
fn map(bytes: usize) -> io::Result<NonNull<u8>> {
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE | libc::MAP_STACK;
    // SAFETY: a fresh mapping at an address of the kernel's choice touches nothing that exists.
    let address = unsafe { libc::mmap(null_mut(), bytes, protection, flags, -1, 0) };
    if address == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    // A huge page would back 2 MiB at the first touch of one stack. A kernel without huge pages
    // refuses the advice, and needs none.
    // SAFETY: advice on the mapping made above.
    let _ = unsafe { libc::madvise(address, bytes, libc::MADV_NOHUGEPAGE) };
    Ok(NonNull::new(address.cast()).expect("mmap never returns the null page"))
}
