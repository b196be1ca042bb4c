//! Durations in words, and where the ticks of a time axis stand.

/// Units from small to large, with how many nanoseconds each is.
const UNITS: [(&str, u64); 4] = [("ns", 1), ("µs", 1_000), ("ms", 1_000_000), ("s", 1_000_000_000)];

/// Three digits and a unit: `850 ns`, `1.25 µs`, `20.4 ms`; whole seconds from 1,000 s on.
pub(super) fn duration(ns: u64) -> String {
    // 999,500 ns is 1 ms to three digits, not 1000 µs.
    let (unit, per) =
        UNITS.into_iter().rfind(|(_, per)| ns >= *per - *per / 2_000).unwrap_or(UNITS[0]);
    let value = ns as f64 / per as f64;
    let decimals = match value {
        _ if per == 1 || value >= 99.95 => 0,
        _ if value >= 9.995 => 1,
        _ => 2,
    };
    let digits = format!("{value:.decimals$}");
    let digits = match digits.contains('.') {
        true => digits.trim_end_matches('0').trim_end_matches('.'),
        false => &digits,
    };
    format!("{digits} {unit}")
}

/// The ticks of an axis: at most `most` steps of 1, 2 or 5 times a power of ten.
pub(super) struct Ticks {
    step_ns: u64,
    unit: &'static str,
    per: u64,
    decimals: usize,
    end_ns: u64,
}

impl Ticks {
    /// For an axis from 0 to `span_ns`.
    pub(super) fn new(span_ns: u64, most: u64) -> Self {
        let rough = span_ns.div_ceil(most.max(1));
        let mut power = 1_u64;
        let step_ns = loop {
            let fits =
                [1, 2, 5].into_iter().find_map(|n| power.checked_mul(n).filter(|s| *s >= rough));
            match (fits, power.checked_mul(10)) {
                (Some(step), _) => break step,
                (None, Some(next)) => power = next,
                (None, None) => break power,
            }
        };
        // The unit of the largest tick, so that all have the same.
        let last = span_ns / step_ns * step_ns;
        let (unit, per) = UNITS.into_iter().rfind(|(_, per)| last >= *per).unwrap_or(UNITS[0]);
        let mut decimals = 0;
        while !step_ns.is_multiple_of((per / 10_u64.pow(decimals)).max(1)) {
            decimals += 1;
        }
        Self { step_ns, unit, per, decimals: decimals as usize, end_ns: span_ns }
    }

    /// Each tick with what is written at it.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u64, String)> + '_ {
        (0..=self.end_ns / self.step_ns).map(|number| {
            let at = number * self.step_ns;
            let value = at as f64 / self.per as f64;
            let text = match at {
                0 => "0".to_owned(),
                _ => format!("{value:.*} {}", self.decimals, self.unit),
            };
            (at, text)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_three_digits_and_a_fitting_unit() {
        for (ns, text) in [
            (0, "0 ns"),
            (1, "1 ns"),
            (999, "999 ns"),
            (1_000, "1 µs"),
            (1_250, "1.25 µs"),
            (12_345, "12.3 µs"),
            (99_960, "100 µs"),
            (999_499, "999 µs"),
            (999_600, "1 ms"),
            (20_400_000, "20.4 ms"),
            (1_000_000_000, "1 s"),
            (3_600_000_000_000, "3600 s"),
            (u64::MAX, "18446744074 s"),
        ] {
            assert_eq!(duration(ns), text);
        }
    }

    #[test]
    fn ticks_are_round_and_share_a_unit() {
        for (span, most, texts) in [
            (1, 5, "0|1 ns"),
            (10, 5, "0|2 ns|4 ns|6 ns|8 ns|10 ns"),
            (1_000, 4, "0|0.5 µs|1.0 µs"),
            (1_500_000, 4, "0|0.5 ms|1.0 ms|1.5 ms"),
            (12_400_000, 7, "0|2 ms|4 ms|6 ms|8 ms|10 ms|12 ms"),
            (900, 2, "0|500 ns"),
        ] {
            let found: Vec<String> = Ticks::new(span, most).iter().map(|(_, text)| text).collect();
            assert_eq!(found.join("|"), texts);
        }
    }

    #[test]
    fn any_span_has_few_ticks() {
        let mut span = 1_u64;
        loop {
            for most in [1, 2, 7, 12] {
                let ticks: Vec<_> = Ticks::new(span, most).iter().collect();
                assert!((1..=most as usize + 1).contains(&ticks.len()), "{span} {most}: {ticks:?}");
                assert!(ticks.iter().all(|(at, _)| *at <= span));
            }
            match span.checked_mul(3) {
                Some(next) => span = next,
                None if span == u64::MAX => break,
                None => span = u64::MAX,
            }
        }
    }
}
