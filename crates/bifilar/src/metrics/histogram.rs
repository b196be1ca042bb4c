//! Counts of values by size, as they can be seen from outside.

use crate::scheduler::{self, BUCKETS};

/// How many values of each size there were. Each bucket is twice as wide as the one before it, so a
/// bound is wrong by a factor of two at most.
///
/// ```
/// use bifilar::{Builder, Handle, fiber};
///
/// Builder::new().workers(1).measure(true).run(|| {
///     fiber::spawn(|| ()).join().unwrap();
///     let metrics = Handle::current().metrics();
///     let runs = metrics.workers[0].runs.as_ref().unwrap();
///     let median = runs.quantile(0.5).unwrap();
///     assert!(runs.count() >= 2 && runs.sum() > 0 && median >= 256);
///     for (bound, count) in runs.buckets() {
///         println!("{count} runs of up to {bound:?} ns");
///     }
/// });
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Histogram {
    shift: u32,
    counts: [u64; BUCKETS],
    sum: u64,
}

impl Histogram {
    pub(super) fn of(live: &scheduler::Histogram) -> Self {
        Histogram { shift: live.shift, counts: live.counts(), sum: live.sum.get() }
    }

    /// How many values there were.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// The sum of all values.
    pub fn sum(&self) -> u64 {
        self.sum
    }

    /// The buckets in order: the largest value that falls into each, and how many there were. The last
    /// one has no bound.
    pub fn buckets(&self) -> impl Iterator<Item = (Option<u64>, u64)> {
        self.counts.iter().enumerate().map(|(i, &count)| (self.bound(i), count))
    }

    /// A value that a share of `quantile` (0 to 1) of all values doesn't exceed: the bound of a bucket.
    /// `None` without values, or when they are larger than every bound.
    pub fn quantile(&self, quantile: f64) -> Option<u64> {
        let rank = (quantile.clamp(0.0, 1.0) * self.count() as f64).ceil().max(1.0) as u64;
        let mut seen = 0;
        let bucket = self.counts.iter().position(|count| {
            seen += count;
            seen >= rank
        });
        self.bound(bucket?)
    }

    fn bound(&self, bucket: usize) -> Option<u64> {
        (bucket < BUCKETS - 1).then(|| 1 << (self.shift as usize + bucket))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn histogram(filled: &[(usize, u64)]) -> Histogram {
        let mut counts = [0; BUCKETS];
        filled.iter().for_each(|&(bucket, count)| counts[bucket] = count);
        Histogram { shift: 8, counts, sum: 0 }
    }

    #[test]
    fn quantiles_are_bounds_of_buckets() {
        let filled = histogram(&[(0, 50), (2, 49), (BUCKETS - 1, 1)]);
        let cases = [
            (0.0, Some(256)),
            (0.5, Some(256)),
            (0.51, Some(1024)),
            (0.99, Some(1024)),
            (0.991, None),
            (1.0, None),
        ];
        for (quantile, bound) in cases {
            assert_eq!(filled.quantile(quantile), bound, "{quantile}");
        }
        assert_eq!(histogram(&[]).quantile(0.5), None);
        assert_eq!(filled.count(), 100);
        assert_eq!(filled.buckets().last(), Some((None, 1)));
    }
}
