//! What a load found, for people and for programs.

use std::fmt;

use hdrhistogram::Histogram;
use serde::Serialize;

use super::{
    accounting::Verdict,
    totals::{Complaint, Complaints},
};

/// What a load found.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Clients connected.
    pub clients: usize,
    /// Groups they were in.
    pub groups: usize,
    /// The seed of the load.
    pub seed: u64,
    /// Messages sent.
    pub sent: u64,
    /// Deliveries that there should have been: each message to each member of its group.
    pub expected: u64,
    /// Deliveries that there were, each counted once.
    pub delivered: u64,
    /// Expected and not delivered.
    pub lost: u64,
    /// Delivered again.
    pub duplicated: u64,
    /// Delivered in another order than the group's or their poster's.
    pub out_of_order: u64,
    /// Arrived though nobody sent them.
    pub unknown: u64,
    /// Seconds from the first message to the last delivery.
    pub seconds: f64,
    /// Deliveries in a second.
    pub per_second: u64,
    /// Latency in microseconds, from sending to arrival: the median.
    pub p50_us: u64,
    /// 99 of 100 took no longer.
    pub p99_us: u64,
    /// 999 of 1,000 took no longer.
    pub p999_us: u64,
    /// The longest.
    pub max_us: u64,
    /// Messages that were planned but not sent before the load was given up.
    pub unsent: u64,
    /// Connections that the server ended.
    pub disconnected: u64,
    /// What the server complained of, the first few that differ.
    pub complaints: Vec<Complaint>,
    /// How many complaints there were.
    pub complaints_count: u64,
    /// Why the load was given up, if it was.
    pub given_up: Option<String>,
}

/// What [`Report::new`] makes a report of.
#[derive(Debug)]
pub struct Findings {
    /// Clients connected.
    pub clients: usize,
    /// Groups they were in.
    pub groups: usize,
    /// The seed of the load.
    pub seed: u64,
    /// Messages that should have been sent.
    pub planned: u64,
    /// All groups' verdicts, added up.
    pub verdict: Verdict,
    /// All groups' unknown messages.
    pub unknown: u64,
    /// All groups' latencies.
    pub latency_us: Histogram<u64>,
    /// From the first message to the last delivery.
    pub seconds: f64,
    /// Connections that the server ended.
    pub disconnected: u64,
    /// What the server complained of.
    pub complaints: Complaints,
    /// Why the load was given up, if it was.
    pub given_up: Option<String>,
}

impl Report {
    /// Sums up.
    pub fn new(findings: Findings) -> Self {
        let Findings { verdict, latency_us, seconds, complaints, .. } = findings;
        Self {
            clients: findings.clients,
            groups: findings.groups,
            seed: findings.seed,
            sent: verdict.sent,
            expected: verdict.expected,
            delivered: verdict.delivered,
            lost: verdict.lost,
            duplicated: verdict.duplicated,
            out_of_order: verdict.out_of_order,
            unknown: findings.unknown,
            seconds,
            per_second: if seconds > 0.0 { (verdict.delivered as f64 / seconds) as u64 } else { 0 },
            p50_us: latency_us.value_at_quantile(0.5),
            p99_us: latency_us.value_at_quantile(0.99),
            p999_us: latency_us.value_at_quantile(0.999),
            max_us: latency_us.max(),
            unsent: findings.planned - verdict.sent,
            disconnected: findings.disconnected,
            complaints: complaints.first,
            complaints_count: complaints.count,
            given_up: findings.given_up,
        }
    }

    /// Whether everything arrived as it should.
    pub fn is_clean(&self) -> bool {
        self.faults().is_empty()
    }

    /// What is wrong, in words.
    pub fn faults(&self) -> String {
        let counted = [
            (self.unsent, "not sent"),
            (self.lost, "lost"),
            (self.duplicated, "duplicated"),
            (self.out_of_order, "out of order"),
            (self.unknown, "sent by nobody"),
            (self.disconnected, "disconnected"),
        ];
        let counted = counted.iter().filter(|(count, _)| *count > 0);
        let words: Vec<_> =
            counted.map(|(count, what)| format!("{} {what}", thousands(*count))).collect();
        words.join(", ")
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let line = |f: &mut fmt::Formatter<'_>, what: &str, count: u64, unit: &str| {
            writeln!(f, "  {what:<13}{:>13}{unit}", thousands(count))
        };
        writeln!(
            f,
            "{} clients in {} groups, seed {}",
            thousands(self.clients as u64),
            thousands(self.groups as u64),
            self.seed
        )?;
        line(f, "sent", self.sent, " messages")?;
        line(f, "expected", self.expected, " deliveries")?;
        line(f, "delivered", self.delivered, "")?;
        line(f, "lost", self.lost, "")?;
        line(f, "duplicated", self.duplicated, "")?;
        line(f, "out of order", self.out_of_order, "")?;
        for (what, count) in [
            ("not sent", self.unsent),
            ("unknown", self.unknown),
            ("disconnected", self.disconnected),
        ] {
            if count > 0 {
                line(f, what, count, "")?;
            }
        }
        line(f, "rate", self.per_second, &format!(" deliveries/s in {:.2} s", self.seconds))?;
        write!(f, "  latency      ")?;
        for (what, us) in [
            ("p50", self.p50_us),
            ("p99", self.p99_us),
            ("p99.9", self.p999_us),
            ("max", self.max_us),
        ] {
            write!(f, "  {what} {}", milliseconds(us))?;
        }
        writeln!(f, "  (ms)")?;
        if self.complaints_count > 0 {
            writeln!(f, "what the server complained of:")?;
            self.complaints.iter().try_for_each(|complaint| writeln!(f, "  {complaint}"))?;
            let named: u64 = self.complaints.iter().map(|complaint| complaint.count).sum();
            if named < self.complaints_count {
                writeln!(f, "  and {} more", thousands(self.complaints_count - named))?;
            }
        }
        match &self.given_up {
            Some(reason) => writeln!(f, "given up: {reason}"),
            None => Ok(()),
        }
    }
}

/// A number with its digits in groups of three.
pub fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Microseconds as milliseconds with three significant digits or so.
pub fn milliseconds(us: u64) -> String {
    let ms = us as f64 / 1_000.0;
    match us {
        0..10_000 => format!("{ms:.2}"),
        10_000..100_000 => format!("{ms:.1}"),
        _ => thousands(ms.round() as u64),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_as_text() {
        let cases = [(0, "0"), (999, "999"), (1_000, "1,000"), (1_234_567, "1,234,567")];
        for (number, text) in cases {
            assert_eq!(thousands(number), text);
        }
        let cases = [(0, "0.00"), (1_234, "1.23"), (12_345, "12.3"), (1_234_567, "1,235")];
        for (us, text) in cases {
            assert_eq!(milliseconds(us), text);
        }
    }

    fn findings(verdict: Verdict) -> Findings {
        let mut latency_us = Histogram::new(3).unwrap();
        (1..=1_000).for_each(|us| latency_us.record(us).unwrap());
        Findings {
            clients: 1_000,
            groups: 10,
            seed: 1,
            planned: 100,
            verdict,
            unknown: 0,
            latency_us,
            seconds: 2.0,
            disconnected: 0,
            complaints: Complaints::default(),
            given_up: None,
        }
    }

    #[test]
    fn a_clean_report_has_no_faults_and_every_field() {
        let verdict =
            Verdict { sent: 100, expected: 10_000, delivered: 10_000, ..Verdict::default() };
        let report = Report::new(findings(verdict));
        assert!(report.is_clean(), "{report}");
        let json = serde_json::to_value(&report).unwrap();
        for (field, value) in [
            ("sent", 100),
            ("expected", 10_000),
            ("delivered", 10_000),
            ("lost", 0),
            ("duplicated", 0),
            ("out_of_order", 0),
            ("per_second", 5_000),
            ("p50_us", 500),
            ("p99_us", 990),
            ("p999_us", 999),
            ("max_us", 1_000),
        ] {
            assert_eq!(json[field], value, "{field}");
        }
        assert!(report.to_string().lines().all(|line| line.chars().count() <= 80), "{report}");
    }

    #[test]
    fn every_fault_is_named() {
        let clean = Verdict { sent: 100, expected: 10, delivered: 10, ..Verdict::default() };
        for (verdict, text) in [
            (Verdict { lost: 1, ..clean }, "1 lost"),
            (Verdict { duplicated: 2_000, ..clean }, "2,000 duplicated"),
            (Verdict { out_of_order: 3, lost: 4, ..clean }, "4 lost, 3 out of order"),
            (Verdict { sent: 99, ..clean }, "1 not sent"),
        ] {
            let report = Report::new(findings(verdict));
            assert!(!report.is_clean());
            assert_eq!(report.faults(), text);
        }
    }
}
