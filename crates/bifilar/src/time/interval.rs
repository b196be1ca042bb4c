//! `interval`: ticks at a steady pace.

use super::{Sleep, now, sleep_until};
use futures_core::Stream;
use std::{
    future::{Future, poll_fn},
    pin::Pin,
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

/// Ticks now and then every `period`.
///
/// The pace is kept: a tick that comes late doesn't delay those after it. Ticks that were missed
/// altogether are skipped, so that there is never a burst.
///
/// # Panics
/// If `period` is zero; when polled outside of a runtime.
///
/// ```
/// use bifilar::{WaitIter, time::interval};
/// use std::time::{Duration, Instant};
///
/// bifilar::run(|| {
///     let start = Instant::now();
///     interval(Duration::from_millis(2)).wait_iter().nth(2);
///     assert!(start.elapsed() >= Duration::from_millis(4));
/// });
/// ```
#[track_caller]
pub fn interval(period: Duration) -> Interval {
    interval_at(now(), period)
}

/// Ticks at `start` and then every `period`: see [`interval`].
///
/// # Panics
/// If `period` is zero; when polled outside of a runtime.
///
/// ```
/// use bifilar::{Wait, time::interval_at};
/// use std::time::{Duration, Instant};
///
/// bifilar::run(|| {
///     let later = Instant::now() + Duration::from_millis(2);
///     assert_eq!(interval_at(later, Duration::from_secs(1)).tick().wait(), later);
/// });
/// ```
#[track_caller]
pub fn interval_at(start: Instant, period: Duration) -> Interval {
    assert!(!period.is_zero(), "the period of an interval must not be zero");
    Interval { sleep: sleep_until(start), next: start, period }
}

/// A stream of ticks, made by [`interval`].
#[derive(Debug)]
pub struct Interval {
    sleep: Sleep,
    next: Instant,
    period: Duration,
}

impl Interval {
    /// Waits for the next tick and returns the time it was due.
    ///
    /// # Cancellation
    /// Dropping the future loses no tick.
    pub fn tick(&mut self) -> impl Future<Output = Instant> + '_ {
        poll_fn(|cx| self.poll_tick(cx))
    }

    /// The pace.
    pub fn period(&self) -> Duration {
        self.period
    }

    fn poll_tick(&mut self, cx: &mut Context<'_>) -> Poll<Instant> {
        ready!(Pin::new(&mut self.sleep).poll(cx));
        let due = self.next;
        let late = now().saturating_duration_since(due);
        let missed = late.as_nanos() / self.period.as_nanos();
        let step = self.period.saturating_mul(u32::try_from(missed + 1).unwrap_or(u32::MAX));
        if let Some(next) = due.checked_add(step) {
            self.next = next;
            self.sleep.reset(next);
        }
        Poll::Ready(due)
    }
}

impl Stream for Interval {
    type Item = Instant;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Instant>> {
        self.poll_tick(cx).map(Some)
    }
}
