//! The wheel against a sorted map, at its boundaries, and with many entries.

use super::slab::Entry;
use super::{Key, LEVELS, Wheel};
use std::collections::BTreeMap;
use std::task::Waker;

/// SplitMix64 (Steele, Lea & Flood, OOPSLA 2014).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    /// A distance in time: of any magnitude, often right at a power of 64.
    fn distance(&mut self, levels: u64) -> u64 {
        let power = 1_u64 << (6 * self.below(levels)).min(63);
        match self.below(4) {
            0 => power - 1,
            1 => power + self.below(3),
            2 => self.below(power),
            _ => self.below(power.saturating_mul(64)),
        }
    }
}

fn fired<T>(wheel: &mut Wheel<T>, tick: u64) -> Vec<T> {
    let mut values = Vec::new();
    wheel.advance(tick, |_, value| values.push(value));
    values
}

/// What the wheel must do, done simply.
#[derive(Default)]
struct Model {
    now: u64,
    /// By tick, then by insertion.
    waiting: BTreeMap<(u64, u64), Key>,
}

impl Model {
    fn advance(&mut self, tick: u64) -> Vec<(u64, u64)> {
        self.now = self.now.max(tick);
        let later = self.waiting.split_off(&(self.now, u64::MAX));
        std::mem::replace(&mut self.waiting, later).into_keys().collect()
    }
}

fn compare(seed: u64, levels: u64, operations: u64) {
    let mut random = Random(seed);
    let mut wheel = Wheel::new();
    let mut model = Model::default();
    let mut gone: Vec<Key> = Vec::new();
    for number in 0..operations {
        match random.below(8) {
            0..=3 => {
                let deadline = if random.below(8) == 0 {
                    model.now.saturating_sub(random.below(100))
                } else {
                    model.now.saturating_add(random.distance(levels))
                };
                let id = (deadline.max(model.now), number);
                model.waiting.insert(id, wheel.insert(deadline, id));
            }
            4 if !model.waiting.is_empty() => {
                let nth = random.below(model.waiting.len() as u64) as usize;
                let (&id, &key) = model.waiting.iter().nth(nth).unwrap();
                assert_eq!(wheel.get_mut(key), Some(&mut id.clone()));
                assert_eq!(wheel.cancel(key), Some(id), "seed {seed}");
                model.waiting.remove(&id);
                gone.push(key);
            }
            5 if !gone.is_empty() => {
                let key = gone[random.below(gone.len() as u64) as usize];
                assert_eq!(wheel.get_mut(key), None, "seed {seed}");
                assert_eq!(wheel.cancel(key), None, "seed {seed}");
            }
            6 => {
                let tick = wheel.next_deadline().unwrap_or(model.now);
                gone.extend(model.waiting.range(..=(tick, u64::MAX)).map(|(_, key)| *key));
                assert_eq!(fired(&mut wheel, tick), model.advance(tick), "seed {seed}");
            }
            _ => {
                let tick = model.now.saturating_add(random.distance(levels));
                gone.extend(model.waiting.range(..=(tick, u64::MAX)).map(|(_, key)| *key));
                assert_eq!(fired(&mut wheel, tick), model.advance(tick), "seed {seed}");
            }
        }
        let first = model.waiting.keys().next().map(|(tick, _)| *tick);
        let next = wheel.next_deadline();
        assert_eq!((wheel.now(), wheel.len()), (model.now, model.waiting.len()), "seed {seed}");
        assert_eq!(next.is_some(), first.is_some());
        if let (Some(next), Some(first)) = (next, first) {
            assert!(model.now <= next && next <= first, "seed {seed}: {next} for {first}");
            assert!(next == first || next / 64 != model.now / 64, "seed {seed}: inexact nearby");
        }
    }
    assert_eq!(fired(&mut wheel, u64::MAX), model.advance(u64::MAX), "seed {seed}");
}

#[test]
fn it_agrees_with_a_sorted_map() {
    for seed in 0..60 {
        for levels in [1, 2, 3, 4, 7, LEVELS as u64] {
            compare(seed, levels, 1_000);
        }
    }
}

#[test]
fn deadlines_at_the_edges_of_levels() {
    let around = |tick: u64| [tick.saturating_sub(1), tick, tick.saturating_add(1)];
    let powers = (0..LEVELS as u32).map(|level| 1_u64 << (6 * level));
    let ticks: Vec<u64> = powers
        .flat_map(|power| around(power).into_iter().chain(around(power.saturating_mul(63))))
        .chain([0, 2, 128, u64::MAX - 1, u64::MAX])
        .collect();
    for &now in &ticks {
        for &deadline in &ticks {
            let at = deadline.max(now);

            // One jump to the tick before, then one to the tick.
            let mut wheel = Wheel::new();
            wheel.advance(now, |_, ()| unreachable!());
            wheel.insert(deadline, ());
            if at > now {
                assert_eq!(fired(&mut wheel, at - 1).len(), 0, "{deadline} set at {now}");
            }
            assert_eq!(fired(&mut wheel, at).len(), 1, "{deadline} set at {now}");
            assert_eq!((wheel.now(), wheel.len(), wheel.next_deadline()), (at, 0, None));

            // By way of the wheel's own answers: at most one for each level, and the last exact.
            let mut wheel = Wheel::new();
            wheel.advance(now, |_, ()| unreachable!());
            wheel.insert(deadline, ());
            let mut answers = 0;
            while let Some(next) = wheel.next_deadline() {
                answers += 1;
                assert!(next <= at && answers <= LEVELS);
                assert_eq!(fired(&mut wheel, next).len(), usize::from(next == at));
            }
        }
    }
}

#[test]
fn one_tick_at_a_time_over_three_levels() {
    let mut wheel = Wheel::new();
    let last = 3 * 4096;
    for tick in (0..=last).rev() {
        wheel.insert(tick, tick);
    }
    for tick in 0..=last {
        assert_eq!(fired(&mut wheel, tick), [tick]);
    }
}

#[test]
fn a_tick_is_first_in_first_out_across_levels() {
    let mut wheel = Wheel::new();
    wheel.insert(5000, "from level 2");
    wheel.insert(5000, "from level 2, second");
    wheel.advance(4096, |_, _| unreachable!());
    wheel.insert(5000, "from level 1");
    wheel.advance(4990, |_, _| unreachable!());
    wheel.insert(5000, "from level 0");
    wheel.insert(4999, "earlier, though set last");
    assert_eq!(
        fired(&mut wheel, 6000),
        [
            "earlier, though set last",
            "from level 2",
            "from level 2, second",
            "from level 1",
            "from level 0",
        ]
    );
}

#[test]
fn the_past_fires_at_the_next_advance() {
    let mut wheel = Wheel::new();
    wheel.advance(1000, |_, _| unreachable!());
    wheel.insert(1000, 'a');
    wheel.insert(3, 'b');
    wheel.insert(1001, 'c');
    assert_eq!(wheel.next_deadline(), Some(1000));
    assert_eq!(fired(&mut wheel, 1000), ['a', 'b']);
    wheel.insert(0, 'd');
    assert_eq!(fired(&mut wheel, 0), ['d'], "an advance into the past stays where it is");
    assert_eq!(wheel.now(), 1000);
    assert_eq!(fired(&mut wheel, 1001), ['c']);
}

#[test]
fn entries_are_cancelled_wherever_they_have_come_to() {
    // The same entries at each stage of their way down, and at each place in their ring.
    for stop in [0, 1, 4095, 4096, 4097, 4991, 4992, 4999, 5000] {
        for nth in 0..3 {
            let mut wheel = Wheel::new();
            let keys: Vec<Key> = (0..3).map(|value| wheel.insert(5000, value)).collect();
            let out = fired(&mut wheel, stop);
            if stop < 5000 {
                assert_eq!(wheel.cancel(keys[nth]), Some(nth));
            }
            assert_eq!(wheel.cancel(keys[nth]), None);
            let mut expected: Vec<usize> = (0..3).collect();
            if stop < 5000 {
                expected.remove(nth);
            }
            assert_eq!([out, fired(&mut wheel, 5000)].concat(), expected);
            assert_eq!((wheel.len(), wheel.next_deadline()), (0, None));
        }
    }
}

#[test]
fn a_value_can_be_replaced_in_place() {
    let mut wheel = Wheel::new();
    let key = wheel.insert(100, "old");
    *wheel.get_mut(key).unwrap() = "new";
    assert_eq!(fired(&mut wheel, 100), ["new"]);
    assert_eq!(wheel.get_mut(key), None);
}

#[test]
fn a_key_does_not_reach_its_successor() {
    let mut wheel = Wheel::new();
    let old = wheel.insert(1, 'a');
    assert_eq!(wheel.cancel(old), Some('a'));
    let new = wheel.insert(1, 'b');
    assert_eq!(old.index(), new.index(), "the place is used again");
    assert_eq!((wheel.cancel(old), wheel.get_mut(old)), (None, None));
    assert_eq!(wheel.cancel(new), Some('b'));
}

#[test]
fn a_panic_while_firing_loses_only_what_was_handed_over() {
    let mut wheel = Wheel::new();
    for value in 0..4 {
        wheel.insert(100 + value / 2, value);
    }
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        wheel.advance(1000, |_, value| assert_ne!(value, 0, "expected by the test"));
    }));
    assert!(outcome.is_err());
    assert_eq!((wheel.len(), wheel.now()), (3, 100));
    assert_eq!(fired(&mut wheel, 1000), [1, 2, 3]);
}

#[test]
fn a_million_entries() {
    const COUNT: u64 = 1_000_000;
    let mut random = Random(1);
    let mut wheel = Wheel::new();
    let mut keys: Vec<(Key, u64)> = (0..COUNT)
        .map(|_| {
            let deadline = random.below(100_000_000);
            (wheel.insert(deadline, deadline), deadline)
        })
        .collect();
    assert_eq!(wheel.len() as u64, COUNT);
    for (key, deadline) in keys.drain(COUNT as usize / 2..) {
        assert_eq!(wheel.cancel(key), Some(deadline));
    }
    let mut expected: Vec<u64> = keys.iter().map(|(_, deadline)| *deadline).collect();
    expected.sort_unstable();
    let mut seen = Vec::new();
    for tick in (0..=100_000_000).step_by(1_000_003).chain([100_000_000]) {
        wheel.advance(tick, |_, deadline| seen.push(deadline));
        assert!(seen.last().is_none_or(|last| *last <= tick));
    }
    assert!(seen == expected);
    assert_eq!(wheel.len(), 0);
}

#[test]
fn memory_per_entry_and_after_a_burst() {
    assert_eq!(size_of::<Entry<Waker>>(), 24 + size_of::<Waker>());
    assert_eq!(size_of::<Key>(), 8);

    for newest_first in [false, true] {
        let mut wheel = Wheel::new();
        let stays = wheel.insert(u64::MAX, 0);
        // The second time the burst reuses places that are there.
        for _ in 0..2 {
            a_burst_comes_and_goes(&mut wheel, newest_first);
        }
        assert_eq!(wheel.cancel(stays), Some(0));
        assert_eq!(fired(&mut wheel, 1_000).len(), 2_000);
        assert!(wheel.slab.capacity() <= 1_024);
    }
}

fn a_burst_comes_and_goes(wheel: &mut Wheel<u64>, newest_first: bool) {
    let mut burst: Vec<Key> = (1..100_000).map(|value| wheel.insert(value, value)).collect();
    assert!(wheel.slab.capacity() >= 100_000);
    if newest_first {
        burst.reverse();
    }
    for key in &burst {
        assert!(wheel.cancel(*key).is_some());
    }
    assert!(wheel.slab.capacity() <= 4_096, "{}", wheel.slab.capacity());

    // Keys from before mean nothing to the entries that use the memory now.
    for value in 0..1_000 {
        wheel.insert(value, value);
    }
    for key in burst {
        assert_eq!(wheel.cancel(key), None);
    }
}
