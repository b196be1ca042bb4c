//! How often triggers that come by themselves are taken: a storm of them must not fill a disk.
//!
//! Panics and slow polls each have an interval of their own, so that a storm of the one doesn't hide the
//! other; the bound is for both together. Calls and signals are somebody's wish, and not limited here.

use super::{Trigger, builder::Settings};
use std::time::Instant;

#[derive(Default)]
pub(super) struct Limits {
    taken: u32,
    /// When the last one was taken: of panics, of slow polls.
    last: [Option<Instant>; 2],
    /// How many were passed over since the last one of any kind.
    passed_over: u64,
}

/// What becomes of a trigger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Taken,
    /// The last one that is taken.
    TakenAsLast,
    PassedOver,
}

impl Limits {
    pub fn judge(&mut self, trigger: &Trigger, settings: &Settings, now: Instant) -> Verdict {
        let kind = match trigger {
            Trigger::Panic { .. } => 0,
            Trigger::SlowPoll { .. } => 1,
            Trigger::Call | Trigger::Signal(_) => return Verdict::Taken,
        };
        let too_soon = self.last[kind]
            .is_some_and(|last| now.saturating_duration_since(last) < settings.apart);
        if too_soon || self.taken >= settings.most {
            self.pass_over();
            return Verdict::PassedOver;
        }
        self.last[kind] = Some(now);
        self.taken += 1;
        if self.taken == settings.most { Verdict::TakenAsLast } else { Verdict::Taken }
    }

    pub fn pass_over(&mut self) {
        self.passed_over += 1;
    }

    /// How many were passed over since this was asked last.
    pub fn take_passed_over(&mut self) -> u64 {
        std::mem::take(&mut self.passed_over)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::{Verdict::*, *};
    use crate::flight::FlightRecorder;
    use bifilar_timeline::Recorder;
    use std::time::Duration;

    #[test]
    fn each_kind_has_its_interval_and_both_have_one_bound() {
        const PANIC: Trigger = Trigger::Panic { task: 1 };
        const SLOW: Trigger = Trigger::SlowPoll { task: 1, took: Duration::ZERO, ended: true };
        let builder = FlightRecorder::builder(&Recorder::new(1));
        let settings = builder.at_least_apart(Duration::from_secs(10)).at_most(4).settings;
        let mut limits = Limits::default();
        let start = Instant::now();
        for (second, trigger, verdict) in [
            (0, PANIC, Taken),
            (1, PANIC, PassedOver),
            (1, SLOW, Taken),
            (9, PANIC, PassedOver),
            (9, Trigger::Call, Taken),
            (10, PANIC, Taken),
            (10, SLOW, PassedOver),
            (11, SLOW, TakenAsLast),
            (100, SLOW, PassedOver),
            (100, PANIC, PassedOver),
            (100, Trigger::Signal(10), Taken),
        ] {
            let now = start + Duration::from_secs(second);
            assert_eq!(limits.judge(&trigger, &settings, now), verdict, "{second} {trigger}");
        }
        assert_eq!((limits.take_passed_over(), limits.take_passed_over()), (5, 0));
    }
}
