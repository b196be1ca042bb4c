//! One thread's records: a ring that its owner overwrites and anybody may copy meanwhile.
//!
//! ```text
//!  written = 9, the ring keeps 4 and has 5 slots
//!
//!  slot      0     1     2     3     4
//!          ┌─────┬─────┬─────┬─────┬─────┐
//!          │  5  │  6  │  7  │  8  │  4  │ ◄─ record 9 will go here: this is why there is one
//!          └─────┴─────┴─────┴─────┴─────┘    slot more than is kept
//!            └────── kept ───────┘
//! ```
//!
//! `written` is the only sequence number, so a record carries none. It is a seqlock, turned
//! around: not one number for each slot, but one for all.
//!
//! | | owner: `push` | anybody: `copy` |
//! |---|---|---|
//! | 1 | (`written` was set to n by the push before) | load `written` → n, Acquire |
//! | 2 | fence, Release | load the words of records n-kept … n-1, Relaxed |
//! | 3 | store the words of record n, Relaxed | fence, Acquire |
//! | 4 | store n + 1 to `written`, Release | load `written` → m, Relaxed |
//! | 5 | | throw away each record that was in the slot of a record ≤ m |
//!
//! - Copy 1 pairs with push 4: the words of all records below n are seen, or those of later ones.
//! - Push 2 pairs with copy 3: when a load at copy 2 sees a word of some later record k, then
//!   copy 4 sees that `written` had been set to k before, so m ≥ k, and copy 5 throws it away.
//!
//! All words are atomics: a torn record is noticed, and reading it is no data race.
//!
//! What a ring does not do: wait, lock, grow, or let a second thread write.

use crate::packed::WORDS;
use crate::primitives::{AtomicU64, Ordering, fence};

/// On cache lines of its own (two, since processors fetch them in pairs): `written` changes with each
/// record, and the rings of other threads may be allocated beside it.
#[repr(align(128))]
pub(crate) struct Ring {
    slots: Box<[[AtomicU64; WORDS]]>,
    /// How many records have been written since the beginning.
    written: AtomicU64,
}

/// Where the owner of a ring stands; begins as the default, and is the owner's alone.
#[derive(Clone, Copy, Default)]
pub(crate) struct Cursor {
    /// The same as `Ring::written`.
    written: u64,
    /// `written` modulo the number of slots, without dividing.
    slot: usize,
}

/// What `copy` has found.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Copied {
    /// Oldest first.
    pub(crate) records: Vec<[u64; WORDS]>,
    /// How many were written before the first of these.
    pub(crate) lost: u64,
}

impl Ring {
    /// A ring that keeps the newest `kept` records.
    pub(crate) fn new(kept: usize) -> Self {
        let slots = (0..=kept).map(|_| std::array::from_fn(|_| AtomicU64::new(0))).collect();
        Self { slots, written: AtomicU64::new(0) }
    }

    /// Writes a record over the oldest one. For the owner alone, which passes its cursor from call
    /// to call. (Loading `written` here instead would hide `copy`'s loads from loom, which looks
    /// back one access only.)
    #[inline(always)]
    pub(crate) fn push(&self, cursor: &mut Cursor, words: [u64; WORDS]) {
        fence(Ordering::Release); // partner: the fence in `copy`
        for (place, word) in self.slots[cursor.slot].iter().zip(words) {
            place.store(word, Ordering::Relaxed);
        }
        cursor.written += 1;
        self.written.store(cursor.written, Ordering::Release); // partner: first load in `copy`
        cursor.slot = if cursor.slot + 1 == self.slots.len() { 0 } else { cursor.slot + 1 };
    }

    /// Copies what is there, without stopping the owner.
    pub(crate) fn copy(&self) -> Copied {
        let slots = self.slots.len() as u64;
        let end = self.written.load(Ordering::Acquire); // partner: the store in `push`
        let start = end.saturating_sub(slots - 1);
        let mut records: Vec<_> = (start..end)
            .map(|number| {
                let slot = &self.slots[(number % slots) as usize];
                std::array::from_fn(|at| slot[at].load(Ordering::Relaxed))
            })
            .collect();
        fence(Ordering::Acquire); // partner: the fence in `push`
        let written = self.written.load(Ordering::Relaxed);
        // Record `written` may be half there; it and those before it have replaced these.
        let intact_from = (written + 1).saturating_sub(slots).clamp(start, end);
        records.drain(..(intact_from - start) as usize);
        Copied { records, lost: intact_from }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicBool;
    use std::thread;

    fn record(number: u64) -> [u64; WORDS] {
        [number, number ^ 1, !number, number.rotate_left(32)]
    }

    #[test]
    fn the_newest_are_kept_and_the_others_counted() {
        for kept in [0, 1, 2, 3, 8, 100] {
            let ring = Ring::new(kept);
            let mut cursor = Cursor::default();
            for written in 0..=3 * kept as u64 + 3 {
                let first = written.saturating_sub(kept as u64);
                let records = (first..written).map(record).collect();
                assert_eq!(ring.copy(), Copied { records, lost: first }, "{kept} {written}");
                ring.push(&mut cursor, record(written));
            }
        }
    }

    #[test]
    fn copies_under_writing_hold_whole_records_in_order() {
        for kept in [1, 7, 64, 1000] {
            let ring = Ring::new(kept);
            let stop = AtomicBool::new(false);
            thread::scope(|scope| {
                scope.spawn(|| {
                    let mut cursor = Cursor::default();
                    for number in 0.. {
                        ring.push(&mut cursor, record(number));
                        if stop.load(Ordering::Relaxed) {
                            break;
                        }
                    }
                });
                let (mut copies, mut seen) = (0, 0);
                while copies < 2_000 || seen == 0 {
                    let Copied { records, lost } = ring.copy();
                    assert!(records.len() <= kept);
                    for (number, words) in (lost..).zip(&records) {
                        assert_eq!(*words, record(number), "{kept}");
                    }
                    copies += 1;
                    seen += records.len();
                    if records.is_empty() {
                        thread::yield_now(); // a ring of one is seldom seen whole
                    }
                }
                stop.store(true, Ordering::Relaxed);
            });
        }
    }
}

/// `RUSTFLAGS="--cfg loom" cargo test -p bifilar-timeline --lib --release`
#[cfg(all(test, loom))]
mod loom_tests {
    use super::*;
    use loom::sync::Arc;
    use loom::thread;

    #[test]
    fn no_interleaving_yields_a_torn_record() {
        loom::model(|| {
            let ring = Arc::new(Ring::new(1));
            let owner = thread::spawn({
                let ring = ring.clone();
                move || {
                    let mut cursor = Cursor::default();
                    for number in 1..=3 {
                        ring.push(&mut cursor, [number; WORDS]);
                    }
                }
            });
            let Copied { records, lost } = ring.copy();
            for (number, words) in (lost + 1..).zip(records) {
                assert_eq!(words, [number; WORDS]);
            }
            owner.join().unwrap();
        });
    }
}
