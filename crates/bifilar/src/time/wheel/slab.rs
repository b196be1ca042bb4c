//! Where the wheel's entries live: one vector, with the free places chained through it.
//!
//! ```text
//!  index      0           1           2           3
//!          ┌───────────┬───────────┬───────────┬───────────┐
//!          │ deadline  │   free    │ deadline  │   free    │   24 bytes and the value
//!          │ prev next │ prev next │ prev next │ prev next │
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
//! The memory of a burst is given back from the end, a block at a time, as soon as the two last
//! blocks are free; one is kept so that a single entry that comes and goes moves nothing. A value
//! that stays keeps the blocks in front of it, for an entry cannot move: its key says where it is.
//!
//! The links of an entry in use belong to the wheel; the slab doesn't know what they mean.

use std::ops::{Index, IndexMut};

/// No entry.
pub(super) const NONE: u32 = u32::MAX;

/// Places are given back in blocks of so many.
const BLOCK: usize = 256;

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
    /// Neighbours in the wheel's ring, or in the chain of free places.
    pub(super) prev: u32,
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
    /// How many are in use in each block of places.
    used: Vec<u32>,
}

impl<T> Slab<T> {
    pub(super) fn new() -> Self {
        Self { entries: Vec::new(), len: 0, first_free: NONE, next_generation: 0, used: Vec::new() }
    }

    #[cfg(test)]
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
        self.len += 1;
        let index = self.first_free;
        if index != NONE {
            self.take_free(index);
            self.used[index as usize / BLOCK] += 1;
            self[index] = entry;
            return Key { index, generation };
        }
        let index = self.entries.len();
        assert!(index < NONE as usize, "a timer wheel holds at most {NONE} values");
        if index.is_multiple_of(BLOCK) {
            self.used.push(0);
        }
        self.used[index / BLOCK] += 1;
        self.entries.push(entry);
        Key { index: index as u32, generation }
    }

    /// Takes out the value of an entry that the caller has unlinked.
    pub(super) fn remove(&mut self, index: u32) -> T {
        let value = self[index].value.take().expect("an entry in a ring has a value");
        self.len -= 1;
        let first = self.first_free;
        self.set_links(index, NONE, first);
        if first != NONE {
            self[first].prev = index;
        }
        self.first_free = index;
        self.used[index as usize / BLOCK] -= 1;
        while let [.., 0, 0] = self.used[..] {
            self.drop_last_block();
        }
        value
    }

    /// Takes a place out of the chain of free ones.
    fn take_free(&mut self, index: u32) {
        let Entry { prev, next, .. } = self[index];
        if next != NONE {
            self[next].prev = prev;
        }
        if prev != NONE {
            self[prev].next = next;
        } else {
            self.first_free = next;
        }
    }

    /// Gives back the last block, which is free; a step for each place, paid by the removal of
    /// what was there.
    fn drop_last_block(&mut self) {
        let start = (self.used.len() - 1) * BLOCK;
        for index in start..self.entries.len() {
            self.take_free(index as u32);
        }
        self.entries.truncate(start);
        self.used.pop();
        if self.entries.len() <= self.entries.capacity() / 4 {
            self.entries.shrink_to(self.entries.capacity() / 2);
        }
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
