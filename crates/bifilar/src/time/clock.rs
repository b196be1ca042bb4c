//! The clock of a runtime: the system's, or one that is only simulated.
//!
//! A simulated clock stands still while anything can run, and jumps to the next timer when nothing
//! can. So a program that sleeps for hours runs in no time, and every run of it sees the same times.

use crate::reactor;
use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

#[derive(Debug)]
pub(crate) struct Clock {
    start: Instant,
    /// Nanoseconds since `start`, unless they are the system's.
    simulated: Option<AtomicU64>,
}

impl Clock {
    pub fn new(simulated: bool) -> Self {
        Clock { start: Instant::now(), simulated: simulated.then(AtomicU64::default) }
    }

    pub fn start(&self) -> Instant {
        self.start
    }

    #[inline]
    pub fn now(&self) -> Instant {
        match &self.simulated {
            None => Instant::now(),
            Some(since) => self.start + Duration::from_nanos(since.load(Ordering::Relaxed)),
        }
    }

    /// Nanoseconds since the start.
    pub fn elapsed_ns(&self) -> u64 {
        self.now().saturating_duration_since(self.start).as_nanos() as u64 // 584 years
    }

    pub fn is_simulated(&self) -> bool {
        self.simulated.is_some()
    }

    /// Lets time pass, if it is simulated.
    pub fn jump_to(&self, time: Duration) {
        if let Some(since) = &self.simulated {
            since.fetch_max(time.as_nanos() as u64, Ordering::Relaxed);
        }
    }
}

/// The time on the clock of this runtime's timers: the system's, unless the runtime is
/// [simulated](crate::Builder::simulate). Outside of a runtime it is the system's.
///
/// ```
/// use bifilar::{Builder, Wait, time};
/// use std::time::{Duration, Instant};
///
/// let start = Instant::now();
/// Builder::new().simulate(1).run(|| {
///     let before = time::now();
///     time::sleep(Duration::from_secs(3600)).wait();
///     assert_eq!(time::now() - before, Duration::from_secs(3600));
/// });
/// assert!(start.elapsed() < Duration::from_secs(3600));
/// ```
pub fn now() -> Instant {
    reactor::with_current(|reactor| match reactor {
        Some(reactor) => reactor.timers.clock.now(),
        None => Instant::now(),
    })
}
