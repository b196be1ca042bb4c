//! The timer wheel: deadlines in, values out when their tick has come; set and cancel in O(1).
//!
//! A hierarchical wheel (scheme 7 of Varghese & Lauck, *Hashed and Hierarchical Timing Wheels*,
//! SOSP 1987). A tick is a number read as digits in base 64, and each digit has a wheel of 64
//! slots, a *level*. A deadline stands on the level of the highest digit in which it differs from
//! `now`, in the slot of that digit:
//!
//! ```text
//!            digit 2       digit 1       digit 0
//!  now  =      5             12            60           (one tick is 1 ms)
//!
//!  5·12·63 ────────────────────────────► level 0, slot 63    fires at its tick, exactly
//!  5·14·07 ──────────────► level 1, slot 14                  cascades when now is 5·14·00
//!  9·00·31 ─► level 2, slot 9                                cascades when now is 9·00·00
//!
//!  advance: now ──► the first slot that is not empty ──► level 0: fire its list in order
//!           (two trailing_zeros)                         others: move each one level or more down
//! ```
//!
//! Three things follow from that choice of level, and all of the code rests on them:
//!
//! 1. Whatever is on a level comes after everything on the levels below it.
//! 2. On its level, a slot in use has a number above the digit of `now` (on level 0: not below);
//!    so the lowest bit of the lowest level in use is next, and nothing ever wraps around.
//! 3. Advancing `now` up to the start of the next slot in use changes no entry's level or slot; so
//!    they are computed from the deadline when an entry is cancelled, and not stored.
//!
//! Within a tick the order is that of insertion: a slot's list is moved down in its order, before
//! anything can be inserted below it.
//!
//! Six levels span 2.2 years. There are eleven, enough for every `u64`: the other five are 1.3 KB
//! that nobody touches, and "beyond the range" is no case of its own.
//!
//! The wheel never reads a clock, wakes nobody and starts no thread: its owner tells it the tick,
//! so that a simulated clock does as well as a real one.

mod slab;
#[cfg(test)]
mod tests;

pub(crate) use slab::Key;
use slab::{NONE, Slab};

const DIGIT_BITS: u32 = 6;
const SLOTS: usize = 1 << DIGIT_BITS;
const DIGIT_MASK: u64 = SLOTS as u64 - 1;
const LEVELS: usize = u64::BITS.div_ceil(DIGIT_BITS) as usize;

/// Values that wait for their tick; see the module's head.
pub(crate) struct Wheel<T> {
    now: u64,
    slab: Slab<T>,
    /// The levels in use: bit n is set when `slots_used[n]` is not zero.
    levels_used: u16,
    /// The slots in use on each level: bit n is set when `heads[level][n]` is not `NONE`.
    slots_used: [u64; LEVELS],
    /// The first entry of each slot's list; the lists are rings, so its `prev` is the last.
    heads: [[u32; SLOTS]; LEVELS],
}

/// A slot of the wheel, by level and number.
#[derive(Clone, Copy)]
struct Place {
    level: usize,
    slot: usize,
}

impl Place {
    /// Where a deadline stands that is not before `now`.
    fn of(deadline: u64, now: u64) -> Self {
        let highest_bit = ((deadline ^ now) | 1).ilog2();
        let level = highest_bit / DIGIT_BITS;
        let slot = (deadline >> (level * DIGIT_BITS)) & DIGIT_MASK;
        Self { level: level as usize, slot: slot as usize }
    }

    /// The first tick that this slot stands for, seen from `now`.
    fn start(self, now: u64) -> u64 {
        let shift = self.level as u32 * DIGIT_BITS;
        let above = (now >> shift) & !DIGIT_MASK;
        (above | self.slot as u64) << shift
    }
}

impl<T> Wheel<T> {
    /// An empty wheel that stands at tick zero.
    pub(crate) fn new() -> Self {
        Self {
            now: 0,
            slab: Slab::new(),
            levels_used: 0,
            slots_used: [0; LEVELS],
            heads: [[NONE; SLOTS]; LEVELS],
        }
    }

    /// How many values wait.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.slab.len()
    }

    /// The tick of the last [`advance`](Self::advance).
    #[cfg(test)]
    pub(crate) fn now(&self) -> u64 {
        self.now
    }

    /// Keeps `value` until the wheel has advanced to `deadline`; one that is not after
    /// [`now`](Self::now) comes out at the next advance, whatever its tick.
    ///
    /// # Panics
    ///
    /// With 4,294,967,294 values waiting.
    pub(crate) fn insert(&mut self, deadline: u64, value: T) -> Key {
        let deadline = deadline.max(self.now);
        let key = self.slab.insert(deadline, value);
        self.link(key.index(), deadline);
        key
    }

    /// Takes a value out before its time; `None` when it is out already.
    pub(crate) fn cancel(&mut self, key: Key) -> Option<T> {
        let deadline = self.slab.deadline(key)?;
        self.unlink(key.index(), Place::of(deadline, self.now));
        Some(self.slab.remove(key.index()))
    }

    /// The value of a key, to look at or replace; `None` when it is out already.
    pub(crate) fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        self.slab.get_mut(key)
    }

    /// A tick to advance to next: nothing comes out before it. `None` when nothing waits.
    ///
    /// It is exact when it is at most 63 ticks away and in the same block of 64 as
    /// [`now`](Self::now). Otherwise it is the start of the block in which the first deadline
    /// lies: advancing to it moves that block down, and the next answer is closer. A deadline is
    /// thus preceded by at most one early answer for each level it comes down, two for ten
    /// seconds, three for an hour.
    pub(crate) fn next_deadline(&self) -> Option<u64> {
        self.next_place().map(|place| place.start(self.now))
    }

    /// Moves on to `tick` and hands over what is due, with its tick: in the order of the deadlines, and within a
    /// tick in the order of insertion. A tick before [`now`](Self::now) counts as `now`.
    ///
    /// Costs a step for each value handed over, and one for each that comes down a level; empty
    /// stretches of time cost nothing, however long. A panic in `fired` leaves the wheel at the
    /// tick it was handing over, with the rest still in it.
    pub(crate) fn advance(&mut self, tick: u64, mut fired: impl FnMut(u64, T)) {
        while let Some(place) = self.next_place() {
            let start = place.start(self.now);
            if start > tick.max(self.now) {
                break;
            }
            self.now = start;
            if place.level == 0 {
                while let Some(index) = self.first(place) {
                    self.unlink(index, place);
                    fired(start, self.slab.remove(index));
                }
            } else {
                self.cascade(place);
            }
        }
        self.now = self.now.max(tick);
    }

    /// Moves a slot's entries to the levels below, now that `now` is at its start.
    fn cascade(&mut self, place: Place) {
        while let Some(index) = self.first(place) {
            self.unlink(index, place);
            self.link(index, self.slab[index].deadline);
        }
    }

    /// The slot in use that comes first.
    fn next_place(&self) -> Option<Place> {
        if self.levels_used == 0 {
            return None;
        }
        let level = self.levels_used.trailing_zeros() as usize;
        let slot = self.slots_used[level].trailing_zeros() as usize;
        Some(Place { level, slot })
    }

    fn first(&self, place: Place) -> Option<u32> {
        let head = self.heads[place.level][place.slot];
        (head != NONE).then_some(head)
    }

    /// Puts an entry at the end of its slot's ring.
    fn link(&mut self, index: u32, deadline: u64) {
        let Place { level, slot } = Place::of(deadline, self.now);
        let head = self.heads[level][slot];
        if head == NONE {
            self.heads[level][slot] = index;
            self.slots_used[level] |= 1 << slot;
            self.levels_used |= 1 << level;
            self.slab.set_links(index, index, index);
        } else {
            let last = self.slab[head].prev;
            self.slab.set_links(index, last, head);
            self.slab[last].next = index;
            self.slab[head].prev = index;
        }
    }

    /// Takes an entry out of the ring of `place`, where it stands.
    fn unlink(&mut self, index: u32, Place { level, slot }: Place) {
        let (prev, next) = (self.slab[index].prev, self.slab[index].next);
        if next == index {
            self.heads[level][slot] = NONE;
            self.slots_used[level] &= !(1 << slot);
            if self.slots_used[level] == 0 {
                self.levels_used &= !(1 << level);
            }
            return;
        }
        self.slab[prev].next = next;
        self.slab[next].prev = prev;
        if self.heads[level][slot] == index {
            self.heads[level][slot] = next;
        }
    }
}
