//! What a worker counts: written by its own thread alone, on lines that no other thread writes, and read
//! by whoever wants to know.
//!
//! | counted | by | costs |
//! |---|---|---|
//! | polls, suspensions, steals, parks, waits for events | [`Counter`] | one addition to memory, each |
//! | queue depth, spare stacks | [`Counter`], as a gauge | one store at each look at the event queue |
//! | time at work | [`WorkClock`] | a look at the clock at each park |
//! | latency and length of runs, if the runtime measures | [`Histogram`] | two looks at the clock for each run |
//!
//! All is Relaxed: each number is right by itself, and two of them may be of different moments. How many
//! tasks there are and how they ended is counted elsewhere: `cell::Tally`.

use crate::primitives::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// A number with one writer.
#[derive(Debug)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    fn new() -> Self {
        Counter(AtomicU64::new(0))
    }

    /// For the owner.
    #[inline(always)]
    pub fn add(&self, count: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(count), Ordering::Relaxed);
    }

    /// For the owner.
    #[inline(always)]
    pub fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// See the module's head.
#[derive(Debug)]
#[repr(align(128))]
pub(crate) struct Counters {
    /// Looks at the event queue, sleeping or not: with the next two it shows that the worker comes
    /// round.
    pub waits: Counter,
    /// Polls that have begun.
    pub polls: Counter,
    /// Stacks that were suspended, or would have been if others had been ready.
    pub suspensions: Counter,
    /// Events that the looks have found.
    pub events: Counter,
    /// How often something was taken from another worker, and how many tasks that were.
    pub steals: Counter,
    pub stolen: Counter,
    pub parks: Counter,
    /// What only this worker may run, when it looked last.
    pub local: Counter,
    /// Warm stacks that it keeps for itself, when it looked last.
    pub spares: Counter,
    /// How often the watchdog found it held up. The monitor's to write.
    pub stalls: Counter,
    pub work: WorkClock,
    pub events_per_wait: Histogram,
    /// From being queued to being run.
    pub latency: Histogram,
    /// From being run to giving way.
    pub runs: Histogram,
}

impl Counters {
    pub fn new() -> Self {
        let counter = Counter::new;
        Counters {
            waits: counter(),
            polls: counter(),
            suspensions: counter(),
            events: counter(),
            steals: counter(),
            stolen: counter(),
            parks: counter(),
            local: counter(),
            spares: counter(),
            stalls: counter(),
            work: WorkClock::new(),
            events_per_wait: Histogram::new(0),
            latency: Histogram::new(TIME_SHIFT),
            runs: Histogram::new(TIME_SHIFT),
        }
    }

    /// Changes whenever the worker comes round.
    pub fn progress(&self) -> u64 {
        let sum = self.waits.get().wrapping_add(self.polls.get());
        sum.wrapping_add(self.suspensions.get())
    }
}

/// Nanoseconds are counted in buckets from 2⁸ on …
const TIME_SHIFT: u32 = 8;

/// … and stamps on queued tasks in units of as many, so that differences up to
/// 9 minutes fit into 32 bits.
pub(super) fn stamp(since: Instant) -> u32 {
    (since.elapsed().as_nanos() >> TIME_SHIFT) as u32
}

/// How long ago a stamp was made, in nanoseconds, when it is `now` in nanoseconds.
pub(super) fn since_stamp(now: u64, then: u32) -> u64 {
    // What was queued by another thread may seem to come from the future.
    let units = ((now >> TIME_SHIFT) as u32).wrapping_sub(then) as i32;
    (units.max(0) as u64) << TIME_SHIFT
}

/// Buckets of a histogram.
pub(crate) const BUCKETS: usize = 27;

/// Counts of values by their logarithm: bucket i has those up to `1 << (shift + i)`, that are larger than
/// those of bucket i - 1; the last one has the rest.
#[derive(Debug)]
pub(crate) struct Histogram {
    pub shift: u32,
    counts: [Counter; BUCKETS],
    pub sum: Counter,
}

impl Histogram {
    fn new(shift: u32) -> Self {
        Histogram { shift, counts: std::array::from_fn(|_| Counter::new()), sum: Counter::new() }
    }

    /// For the owner.
    #[inline]
    pub fn record(&self, value: u64) {
        let above = value.saturating_sub(1) >> self.shift;
        let bucket = (u64::BITS - above.leading_zeros()) as usize;
        self.counts[bucket.min(BUCKETS - 1)].add(1);
        self.sum.add(value);
    }

    pub fn counts(&self) -> [u64; BUCKETS] {
        std::array::from_fn(|bucket| self.counts[bucket].get())
    }
}

/// How long the worker has been at work: neither asleep in its event queue nor, when nobody drives it, at
/// rest. One word, so that a reader sees time and state of one moment:
///
/// | low bit | the rest, in nanoseconds |
/// |---|---|
/// | 0: at rest | how long it has worked |
/// | 1: at work | that, subtracted from when this work began |
#[derive(Debug)]
pub(crate) struct WorkClock {
    start: Instant,
    word: AtomicU64,
}

impl WorkClock {
    fn new() -> Self {
        WorkClock { start: Instant::now(), word: AtomicU64::new(0) }
    }

    fn now(&self) -> u64 {
        self.start.elapsed().as_nanos() as u64
    }

    /// For the owner: it comes to work.
    pub fn begin(&self) {
        let word = self.word.load(Ordering::Relaxed);
        if word & 1 == 0 {
            self.word.store((self.now() - (word >> 1)) << 1 | 1, Ordering::Relaxed);
        }
    }

    /// For the owner: it goes to rest.
    pub fn end(&self) {
        let word = self.word.load(Ordering::Relaxed);
        if word & 1 == 1 {
            self.word.store((self.now() - (word >> 1)) << 1, Ordering::Relaxed);
        }
    }

    pub fn is_at_work(&self) -> bool {
        self.word.load(Ordering::Relaxed) & 1 == 1
    }

    pub fn worked(&self) -> Duration {
        let word = self.word.load(Ordering::Relaxed);
        let worked = word >> 1;
        // Read after the word, so never before what the word says.
        let worked = if word & 1 == 1 { self.now().saturating_sub(worked) } else { worked };
        Duration::from_nanos(worked)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn values_fall_into_the_bucket_whose_bound_they_do_not_exceed() {
        let cases: [(u32, u64, usize); 11] = [
            (0, 0, 0),
            (0, 1, 0),
            (0, 2, 1),
            (0, 3, 2),
            (0, 4, 2),
            (0, 5, 3),
            (8, 256, 0),
            (8, 257, 1),
            (8, 512, 1),
            (8, 1 << 33, 25),
            (8, (1 << 33) + 1, 26),
        ];
        for (shift, value, bucket) in cases {
            let histogram = Histogram::new(shift);
            histogram.record(value);
            let counts = histogram.counts();
            assert_eq!(counts.iter().position(|&count| count == 1), Some(bucket), "{value}");
            assert_eq!(histogram.sum.get(), value);
        }
        let histogram = Histogram::new(8);
        histogram.record(u64::MAX);
        assert_eq!(histogram.counts()[BUCKETS - 1], 1);
    }

    #[test]
    fn time_at_rest_is_not_work() {
        let clock = WorkClock::new();
        let mut last = Duration::ZERO;
        for _ in 0..3 {
            clock.end();
            assert_eq!(clock.worked(), clock.worked());
            assert!(clock.worked() >= last && !clock.is_at_work());
            clock.begin();
            last = clock.worked();
            while clock.worked() == last {}
            assert!(clock.is_at_work());
        }
        assert!(clock.worked() <= clock.start.elapsed());
    }

    #[test]
    fn stamps_wrap_around() {
        assert_eq!(since_stamp(2 << 8, u32::MAX), 3 << 8);
        assert_eq!(since_stamp(5 << 8, 7), 0, "from the future");
    }
}
