//! Pools: which stack is handed out next, and when memory goes back to the system.
//!
//! ```text
//!              ┌──────────────── drop ◄─────────────────┐
//!              ▼                                        │
//!   kept: with its pages, a few ─┐                      │
//!   free: in a slab, no pages   ─┴─ take, in this order ──► Stack
//!              ▲      └── a new slab, when none is free
//!              └── trim: when too many are kept
//! ```
//!
//! There is a [`Class`] for each power of two, behind a lock of its own. It keeps the stacks that
//! came back last as they are, so that the next one is warm. Past [`MOST_KEPT`] it trims: it sorts
//! them by address, keeps the lowest quarter and gives the others up, in runs as long as they come.
//!
//! *The lowest* first, wherever there is a choice: so what is in use gathers in few slabs, and those
//! above become free as a whole, page tables included, see [`slab`](super::slab). After a burst of
//! any size, what stays is a bounded number of kept stacks.
//!
//! What it does not do: trim in the background, or keep a cache for each thread.

use core::sync::atomic::{AtomicUsize, Ordering};
use std::{
    fmt, io,
    sync::{Mutex, MutexGuard, PoisonError},
};

use super::{
    GuardKind, Slot, Stack, guard, guard_kind, round_up,
    slab::{LARGEST_SLAB, Slab},
};
use crate::sanitizer;

/// 16 KiB: a guard, a topmost page, and something between them.
pub(super) const MIN_BITS: u32 = 14;
/// 1 GiB.
pub(super) const MAX_BITS: u32 = 30;

/// The first slab of a class, so that a process with few stacks reserves little. Each next one is
/// twice as large, up to [`LARGEST_SLAB`] …
const FIRST_SLAB: usize = 64 << 20;
/// … or so many slots: companions give up their memory by the slab.
const MOST_SLOTS: usize = 4096;

/// A slab where the system refuses the usual one.
const MODEST_SLAB: usize = 4 << 20;

/// How many stacks of one class keep their pages while nobody uses them …
const MOST_KEPT: usize = 64;
/// … and how much address space they may cover.
const MOST_KEPT_BYTES: usize = 16 << 20;

/// Where stacks come from and go back to. Stacks of one pool are never handed out by another, so
/// that all users of a stack's [companion](Stack::companion) agree on what it is.
///
/// [`Stack::new`] takes from a pool that all share, [`Pool::shared`].
///
/// ```
/// use bifilar_coroutine::stack::Pool;
///
/// static POOL: Pool = Pool::new();
///
/// let stack = POOL.take(64 * 1024)?;
/// let usage = POOL.usage();
/// assert_eq!((usage.in_use, usage.kept), (1, 0));
/// drop(stack);
/// let usage = POOL.usage();
/// assert_eq!((usage.in_use, usage.kept), (0, 1));
/// assert_eq!(usage.peak, 1);
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct Pool {
    classes: [Class; (MAX_BITS - MIN_BITS + 1) as usize],
}

/// How many stacks a [`Pool`] has, and what for.
///
/// See [`Pool`] for an example.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Usage {
    /// Stacks that were taken and not dropped yet.
    pub in_use: usize,
    /// The most that were in use at a time: the sum of what each size has had at most.
    pub peak: usize,
    /// Stacks that nobody uses, and that keep their pages for the next one.
    pub kept: usize,
    /// Bytes of address space. It only ever grows, and costs no memory by itself.
    pub reserved: usize,
    /// How stacks are guarded: see [`guard_kind`].
    pub guards: GuardKind,
}

/// All stacks of one size. The counters are written under the lock, and read without it.
struct Class {
    state: Mutex<State>,
    in_use: AtomicUsize,
    peak: AtomicUsize,
    kept: AtomicUsize,
    reserved: AtomicUsize,
}

struct State {
    slabs: Vec<Shelf>,
    /// No slab before this one has a free slot.
    first_free: usize,
    /// Used last in, first out.
    kept: Vec<Slot>,
    next_slab: usize,
}

struct Shelf {
    slab: &'static Slab,
    /// Slots that are not free: handed out, or kept.
    used: u32,
}

static SHARED: Pool = Pool::new();

impl Pool {
    /// A pool without any memory yet.
    #[expect(clippy::new_without_default, reason = "only of use in a static")]
    pub const fn new() -> Pool {
        Pool { classes: [const { Class::new() }; _] }
    }

    /// The pool of [`Stack::new`].
    ///
    /// ```
    /// use bifilar_coroutine::stack::{Pool, Stack};
    /// let _stack = Stack::new(0)?;
    /// assert!(Pool::shared().usage().in_use > 0);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn shared() -> &'static Pool {
        &SHARED
    }

    /// Takes a stack: see [`Stack::new`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn take(&'static self, size: usize) -> io::Result<Stack> {
        let bits = round_up(size)?.ilog2();
        self.class(bits).take(bits, self).inspect(sanitizer::taken)
    }

    /// Counts the stacks of all sizes. Cheap; while other threads take and drop stacks, the numbers
    /// may not be of the same moment.
    pub fn usage(&self) -> Usage {
        let sum = |counter: fn(&Class) -> &AtomicUsize| {
            self.classes.iter().map(|class| counter(class).load(Ordering::Relaxed)).sum()
        };
        Usage {
            in_use: sum(|class| &class.in_use),
            peak: sum(|class| &class.peak),
            kept: sum(|class| &class.kept),
            reserved: sum(|class| &class.reserved),
            guards: guard_kind(),
        }
    }

    /// Takes the memory of a stack that is being dropped.
    pub(super) fn give_back(&self, slot: Slot) {
        self.class(slot.slab.bits).give_back(slot);
    }

    fn class(&self, bits: u32) -> &Class {
        &self.classes[(bits - MIN_BITS) as usize]
    }
}

impl Class {
    const fn new() -> Class {
        let state =
            State { slabs: Vec::new(), first_free: 0, kept: Vec::new(), next_slab: FIRST_SLAB };
        Class {
            state: Mutex::new(state),
            in_use: AtomicUsize::new(0),
            peak: AtomicUsize::new(0),
            kept: AtomicUsize::new(0),
            reserved: AtomicUsize::new(0),
        }
    }

    fn take(&self, bits: u32, pool: &'static Pool) -> io::Result<Stack> {
        let mut state = self.lock();
        let (slot, guarded) = match state.kept.pop() {
            Some(slot) => (slot, true),
            None => self.take_free(&mut state, bits, pool)?,
        };
        self.count(&state, 1);
        drop(state);
        if !guarded {
            // Outside of the lock: the slot is ours already.
            // SAFETY: the lowest page of a slot that was just taken.
            if let Err(error) = unsafe { guard::install(slot.slab.slot(slot.index)) } {
                let mut state = self.lock();
                // SAFETY: under the lock; it was just taken.
                unsafe { slot.slab.untake(slot.index) };
                state.freed(slot.slab.number as usize, 1);
                self.count(&state, -1);
                return Err(error);
            }
        }
        Ok(Stack { slot })
    }

    /// The lowest free slot, from a new slab if need be; and whether it has a guard.
    fn take_free(
        &self,
        state: &mut State,
        bits: u32,
        pool: &'static Pool,
    ) -> io::Result<(Slot, bool)> {
        loop {
            let State { slabs, first_free, .. } = state;
            for shelf in &mut slabs[*first_free..] {
                if shelf.used < shelf.slab.slots() {
                    // SAFETY: under the lock.
                    let taken = unsafe { shelf.slab.take() };
                    let (index, guarded) = taken.expect("not all of its slots are used");
                    shelf.used += 1;
                    return Ok((Slot { slab: shelf.slab, index }, guarded));
                }
                *first_free += 1;
            }
            let number = state.slabs.len() as u32;
            let slab = Slab::map(bits, state.next_slab, number, pool).or_else(|_| {
                // `RLIMIT_AS` or strict overcommit: be modest, and leave something to others.
                Slab::map(bits, MODEST_SLAB, number, pool)
            })?;
            let largest = (MOST_SLOTS << bits).clamp(FIRST_SLAB, LARGEST_SLAB);
            state.next_slab = (state.next_slab * 2).min(largest);
            state.slabs.push(Shelf { slab, used: 0 });
            self.reserved.fetch_add(slab.bytes(), Ordering::Relaxed);
        }
    }

    fn give_back(&self, slot: Slot) {
        let mut state = self.lock();
        let most = MOST_KEPT.min(MOST_KEPT_BYTES >> slot.slab.bits);
        state.kept.push(slot);
        if state.kept.len() > most {
            state.trim(most / 4);
        }
        self.count(&state, -1);
    }

    fn count(&self, state: &State, taken: isize) {
        let in_use = self.in_use.load(Ordering::Relaxed).wrapping_add_signed(taken);
        self.in_use.store(in_use, Ordering::Relaxed);
        if in_use > self.peak.load(Ordering::Relaxed) {
            self.peak.store(in_use, Ordering::Relaxed);
        }
        self.kept.store(state.kept.len(), Ordering::Relaxed);
    }

    /// A panic under this lock (out of memory) leaves the lists as they were.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Keeps the `keep` lowest of the kept stacks, and gives the others up.
    fn trim(&mut self, keep: usize) {
        self.kept.sort_unstable_by_key(|slot| (slot.slab.number, slot.index));
        let surplus = self.kept.split_off(keep);
        self.kept.reverse();
        for slots in surplus.chunk_by(|a, b| a.slab.number == b.slab.number) {
            let slab = slots[0].slab;
            let indices: Vec<u32> = slots.iter().map(|slot| slot.index).collect();
            let used = self.freed(slab.number as usize, indices.len() as u32);
            // SAFETY: under the lock; they are in order, and their stacks were dropped, so whoever ran
            // on them is gone.
            unsafe { slab.give_up(&indices, used == 0) };
        }
    }

    /// Counts slots as free, and says how many of their slab are not.
    fn freed(&mut self, slab: usize, slots: u32) -> u32 {
        self.first_free = self.first_free.min(slab);
        let shelf = &mut self.slabs[slab];
        shelf.used -= slots;
        shelf.used
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("usage", &self.usage()).finish_non_exhaustive()
    }
}
