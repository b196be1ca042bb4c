//! The report: one aligned row for each request, in the order of the command line, and a sum.
//!
//! Rows fit into 80 columns: a URL that is too long loses its end, a reason goes on lines of its
//! own. A failure to write is kept, and told at the end.

use std::{io, io::Write, time::Duration};

use crate::styles::{Outcome, Style};

/// Columns that a line may fill.
const WIDTH: usize = 80;

/// What a row leaves for the URL.
const URL_WIDTH: usize = WIDTH - 33;

/// What stands before a reason.
const INDENT: &str = "       ";

/// Writes rows to `output` and adds them up.
#[derive(Debug)]
pub struct Report<W> {
    output: W,
    written: io::Result<()>,
    fetched: u64,
    failed: u64,
    bytes: u64,
}

impl<W: Write> Report<W> {
    /// Begins with the names of the columns.
    pub fn new(mut output: W) -> Self {
        let written = writeln!(output, "status          bytes        ms  url");
        Self { output, written, fetched: 0, failed: 0, bytes: 0 }
    }

    /// One request's row.
    pub fn row(&mut self, outcome: &Outcome) {
        let url = cut(&outcome.url, URL_WIDTH);
        let time_ms = milliseconds(outcome.elapsed);
        let text = match &outcome.result {
            Ok(response) => {
                self.fetched += 1;
                self.bytes += response.body_len;
                let bytes = thousands(response.body_len);
                format!("{:>6} {bytes:>14} {time_ms:>9}  {url}\n", response.status)
            }
            Err(error) => {
                self.failed += 1;
                let reason = wrap(&error.to_string());
                format!("{:>6} {:>14} {time_ms:>9}  {url}\n{reason}", "error", "-")
            }
        };
        self.write(&text);
    }

    /// Writes the sum; returns how many requests failed.
    pub fn close(mut self, style: Style, elapsed: Duration) -> io::Result<u64> {
        let text = format!(
            "{} of {} fetched, {} bytes in {} ms ({style})\n",
            thousands(self.fetched),
            thousands(self.fetched + self.failed),
            thousands(self.bytes),
            milliseconds(elapsed),
        );
        self.write(&text);
        self.written?;
        self.output.flush()?;
        Ok(self.failed)
    }

    fn write(&mut self, text: &str) {
        if self.written.is_ok() {
            self.written = self.output.write_all(text.as_bytes());
        }
    }
}

fn milliseconds(time: Duration) -> String {
    format!("{:.1}", time.as_secs_f64() * 1e3)
}

/// 1234567 as 1,234,567.
fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `text`, or as much of it as fits into `width` with a mark that something is missing.
fn cut(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_string();
    }
    text.chars().take(width - 1).chain(['…']).collect()
}

/// `text` as indented lines, broken at spaces.
fn wrap(text: &str) -> String {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= WIDTH => {
                *line += &format!(" {word}");
            }
            _ => lines.push(format!("{INDENT}{word}")),
        }
    }
    lines.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{exchange::FetchError, response::Response};

    #[test]
    fn rows_are_aligned_and_fit() {
        let mut output = Vec::new();
        let mut report = Report::new(&mut output);
        let long = format!("http://host/{}", "x".repeat(90));
        for (url, result) in [
            ("http://a/", Ok(Response { status: 200, body_len: 1_234_567 })),
            ("http://b/", Err(FetchError::TimedOut)),
            (long.as_str(), Ok(Response { status: 404, body_len: 0 })),
        ] {
            let elapsed = Duration::from_micros(12_345);
            report.row(&Outcome { url: url.to_string(), result, elapsed });
        }
        assert_eq!(report.close(Style::Sync, Duration::from_secs(2)).unwrap(), 1);
        let text = String::from_utf8(output).unwrap();
        let expected = "\
status          bytes        ms  url
   200      1,234,567      12.3  http://a/
 error              -      12.3  http://b/
       no full answer in time (see --timeout)
   404              0      12.3  http://host/xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx…
2 of 3 fetched, 1,234,567 bytes in 2000.0 ms (sync)
";
        assert_eq!(text, expected);
        assert!(text.lines().all(|line| line.chars().count() <= 80));
    }

    #[test]
    fn long_reasons_are_broken() {
        let text = wrap(&"word ".repeat(30));
        let widths: Vec<usize> = text.lines().map(str::len).collect();
        assert_eq!(widths, [7 + 14 * 5 - 1, 7 + 14 * 5 - 1, 7 + 2 * 5 - 1]);
        assert_eq!(wrap("short"), "       short\n");
    }

    #[test]
    fn groups_of_three() {
        for (number, text) in [(0, "0"), (999, "999"), (1000, "1,000"), (1_000_000, "1,000,000")] {
            assert_eq!(thousands(number), text);
        }
    }
}
