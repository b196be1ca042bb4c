//! Where the wheel's entries live: one vector, with the free places chained through it.
//!
//! ```text
//!  index      0           1           2           3
//!          ┌───────────┬───────────┬───────────┬───────────┐
//!          │ deadline  │   free    │ deadline  │   free    │   24 bytes and the value
//!          │ prev next │ next: 3   │ prev next │ next: ─   │
//!          │ stamp 17  │           │ stamp 21  │           │
//!          │ value     │           │ value     │           │
//!          └───────────┴───────────┴───────────┴───────────┘
//!  first_free: 1                         Key = (index, stamp)
//! ```
//!
//! Every insertion has a stamp of its own, counted over the whole slab, so a key of something that
//! has left finds another stamp in its place, or nothing; also after the slab has been shrunk. The
//! count is 32 bits wide: a key must outlive its value by an exact multiple of 2³² insertions, and
//! find the last of them in its own place, to be taken for another's.
//!
//! The links belong to the wheel; the slab doesn't know what they mean.

use std::ops::{Index, IndexMut};

/// No entry.
pub(super) const NONE: u32 = u32::MAX;

/// Places that are kept however few are in use.
const KEPT: usize = 256;

/// Names a value in a wheel; still safe to use, and of no effect, when the value has left it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Key {
    index: u32,
    generation: u32,
}

impl Key {
    pub(super) fn index(self) -> u32 {
        self.index
    }
}

pub(super) struct Entry<T> {
    pub(super) deadline: u64,
    pub(super) prev: u32,
    /// The next in the ring, or the next free place.
    pub(super) next: u32,
    generation: u32,
    /// `None` in a free place.
    value: Option<T>,
}

pub(super) struct Slab<T> {
    entries: Vec<Entry<T>>,
    len: usize,
    first_free: u32,
    next_generation: u32,
    /// When no more than this many are left, `trim` looks whether there is memory to give back.
    trim_at: usize,
}

impl<T> Slab<T> {
    pub(super) fn new() -> Self {
        Self { entries: Vec::new(), len: 0, first_free: NONE, next_generation: 0, trim_at: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Room for so many without asking for memory.
    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.entries.capacity()
    }

    /// Keeps a value; its links are for the caller to set.
    pub(super) fn insert(&mut self, deadline: u64, value: T) -> Key {
        let generation = self.next_generation;
        self.next_generation = generation.wrapping_add(1);
        let entry = Entry { deadline, prev: NONE, next: NONE, generation, value: Some(value) };
        let index = self.first_free;
        self.len += 1;
        if self.len > self.entries.len() / 4 {
            self.trim_at = self.entries.len() / 8;
        }
        if index != NONE {
            self.first_free = self[index].next;
            self[index] = entry;
            return Key { index, generation };
        }
        let index = self.entries.len();
        assert!(index < NONE as usize, "a timer wheel holds at most {NONE} values");
        self.entries.push(entry);
        Key { index: index as u32, generation }
    }

    /// Takes out the value of an entry that the caller has unlinked.
    pub(super) fn remove(&mut self, index: u32) -> T {
        let value = self[index].value.take().expect("an entry in a ring has a value");
        self[index].next = self.first_free;
        self.first_free = index;
        self.len -= 1;
        if self.len <= self.trim_at {
            self.trim();
        }
        value
    }

    /// The deadline of a key's entry, if it is still there.
    pub(super) fn deadline(&self, key: Key) -> Option<u64> {
        let entry = self.entries.get(key.index as usize)?;
        (entry.generation == key.generation && entry.value.is_some()).then_some(entry.deadline)
    }

    pub(super) fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        let entry = self.entries.get_mut(key.index as usize)?;
        if entry.generation == key.generation { entry.value.as_mut() } else { None }
    }

    pub(super) fn set_links(&mut self, index: u32, prev: u32, next: u32) {
        let entry = &mut self[index];
        entry.prev = prev;
        entry.next = next;
    }

    /// Gives back the memory of a burst: the free places behind the last one in use, if they are
    /// half of all or more. The others are chained anew, lowest first, so that the slab fills from
    /// the front.
    ///
    /// It looks when seven places of eight are free, and again each time what is left has halved:
    /// so a burst that leaves in the order it came costs a dozen looks, each no longer than the
    /// free places at the end.
    fn trim(&mut self) {
        self.trim_at = self.len / 2;
        if self.entries.len() <= KEPT {
            return;
        }
        let last_used = self.entries.iter().rposition(|entry| entry.value.is_some());
        let used = last_used.map_or(0, |last| last + 1);
        if used > self.entries.len() / 2 {
            return;
        }
        self.entries.truncate(used);
        self.entries.shrink_to((2 * used).max(KEPT));
        self.first_free = NONE;
        for index in (0..used).rev() {
            if self.entries[index].value.is_none() {
                self.entries[index].next = self.first_free;
                self.first_free = index as u32;
            }
        }
    }
}

impl<T> Index<u32> for Slab<T> {
    type Output = Entry<T>;

    fn index(&self, index: u32) -> &Entry<T> {
        &self.entries[index as usize]
    }
}

impl<T> IndexMut<u32> for Slab<T> {
    fn index_mut(&mut self, index: u32) -> &mut Entry<T> {
        &mut self.entries[index as usize]
    }
}
