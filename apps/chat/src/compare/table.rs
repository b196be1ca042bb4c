//! The table, 80 columns wide at most.

use super::{Outcome, Row};
use crate::load::{Report, milliseconds, thousands};

/// Over the columns of [`line()`].
const HEAD: &str = concat!(
    "                       ───────── latency, ms ─────────      peak    peak    CPU\n",
    "style     deliveries/s     p50     p99   p99.9     max    memory threads      s\n",
);

/// Renders the rows, and under them what was wrong with any.
pub fn render(rows: &[Row]) -> String {
    let mut text = String::new();
    let measured = rows.iter().find_map(|row| match &row.outcome {
        Outcome::Measured { report, .. } => Some(report),
        Outcome::Failed { .. } => None,
    });
    if let Some(report) = measured {
        text += &format!(
            "{} clients, {} groups, {} messages, {} deliveries\n\n",
            thousands(report.clients as u64),
            thousands(report.groups as u64),
            thousands(report.sent),
            thousands(report.expected)
        );
    }
    text += HEAD;
    for Row { style, outcome } in rows {
        text += &match outcome {
            Outcome::Measured { report, usage } => line([
                style.clone(),
                thousands(report.per_second),
                milliseconds(report.p50_us),
                milliseconds(report.p99_us),
                milliseconds(report.p999_us),
                milliseconds(report.max_us),
                format!("{:.1} MB", usage.memory_kib as f64 / 1024.0),
                thousands(usage.threads),
                format!("{:.2}", usage.cpu_seconds),
            ]),
            Outcome::Failed { .. } => format!("{style:<9} {:>12}\n", "failed"),
        };
    }
    for Row { style, outcome } in rows {
        text += &match outcome {
            Outcome::Failed { error } => format!("\n{style}: {error}\n"),
            Outcome::Measured { report, .. } => faults(style, report),
        };
    }
    text
}

/// What is wrong with a style's report; empty when nothing is.
fn faults(style: &str, report: &Report) -> String {
    if report.is_clean() {
        return String::new();
    }
    let given_up = report.given_up.iter().map(|reason| format!("given up: {reason}"));
    let notes = given_up.chain(report.complaints.iter().map(ToString::to_string));
    let notes: String = notes.map(|note| format!("  {note}\n")).collect();
    format!("\n{style}: {}\n{notes}", report.faults())
}

fn line(cells: [String; 9]) -> String {
    let [style, rate, p50, p99, p999, max, memory, threads, cpu] = cells;
    let line = format!(
        "{style:<9} {rate:>12} {p50:>7} {p99:>7} {p999:>7} {max:>7} {memory:>9} {threads:>7} {cpu:>6}"
    );
    format!("{}\n", line.trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_stand_under_the_head_and_fit_80_columns() {
        let cells =
            ["callbacks", "12,345,678", "9.99", "99.9", "9,999", "99,999", "12.3 MB", "2,002"];
        let [style, rate, p50, p99, p999, max, memory, threads] = cells.map(String::from);
        let line = line([style, rate, p50, p99, p999, max, memory, threads, "123.45".into()]);
        for text in HEAD.lines().chain(line.lines()) {
            assert_eq!(text.chars().count(), 79, "{text}");
        }
    }
}
