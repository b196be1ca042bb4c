//! The diagram in letters, for a terminal: a line for each row of a lane.
//!
//! ```text
//!                      [write]                    •          system calls
//!                      [fetch ░░░░░░░░░░░░░░░░░░░░░]         spans
//! fetch a              [fetch a ░░░░░░░░░░░░░░░░░░░]         the task
//!                 ┴────────────┴────────────┴───────────
//! ```
//!
//! Letters are taken to be one column wide each.

use super::scale::{Ticks, duration};
use super::{ArrowKind, BoxKind, Diagram, Pause, PauseKind, TimeBox};
use crate::event::Outcome;
use std::fmt::Write;

const MAX_NAME: usize = 20;
const MIN_WIDTH: usize = 40;
/// Arrows that are listed below the picture, and lanes that are drawn.
const MAX_ARROWS: usize = 20;
const MAX_LANES: usize = 200;

impl Diagram {
    /// The diagram in `width` columns of text, with the wake-ups listed below it; a width of less
    /// than 40 is taken for 40. At most 200 lanes and 20 wake-ups are shown, and others counted.
    ///
    /// ```
    /// # use bifilar_timeline::{Diagram, Recording};
    /// let recording: Recording = "\
    /// thread main
    /// 0 span-begin task=0 span=1 name=fetch
    /// 900000 system-call fd=5 bytes=64 result=64 took=600000 name=read
    /// 1000000 span-end task=0 span=1
    /// ".parse()?;
    /// let text = Diagram::from(&recording).text(50);
    /// assert!(text.contains("[fetch──"));
    /// assert!(text.contains("[read══"));
    /// # Ok::<(), bifilar_timeline::ParseError>(())
    /// ```
    pub fn text(&self, width: usize) -> String {
        let width = width.max(MIN_WIDTH);
        let names = self.lanes.iter().take(MAX_LANES).map(|lane| lane.name.chars().count());
        let gutter = names.max().unwrap_or(0).min(MAX_NAME) + 2;
        let canvas = Canvas { diagram: self, columns: width - gutter };

        let mut out = String::new();
        if !self.title.is_empty() {
            let _ = writeln!(out, "{}", plain(&self.title));
        }
        let _ = writeln!(out, "{}\n", self.summary());
        for (lane, (boxes, pauses)) in self.lanes.iter().zip(self.by_lane()).take(MAX_LANES) {
            let mut rows = vec![vec![' '; canvas.columns]; lane.rows.max(1) as usize];
            canvas.lane(boxes, pauses, &mut rows);
            for (row, cells) in rows.iter().enumerate().rev() {
                let name = if row == 0 { cut(&plain(&lane.name), MAX_NAME) } else { String::new() };
                let cells: String = cells.iter().collect();
                let line = format!("{name:<gutter$}{cells}");
                let _ = writeln!(out, "{}", line.trim_end());
            }
        }
        if self.lanes.len() > MAX_LANES {
            let _ = writeln!(out, "and {} more lanes", self.lanes.len() - MAX_LANES);
        }
        canvas.axis(gutter, &mut out);
        canvas.arrows(&mut out);
        out
    }
}

struct Canvas<'a> {
    diagram: &'a Diagram,
    columns: usize,
}

impl Canvas<'_> {
    /// The column of a time, or the one behind the last.
    fn column(&self, time_ns: u64) -> usize {
        let passed = u128::from(time_ns.saturating_sub(self.diagram.start_ns));
        let column = passed * self.columns as u128 / u128::from(self.diagram.span_ns());
        (column as usize).min(self.columns)
    }

    /// From a column up to before another, at least one, at most to the end.
    fn columns_of(&self, start_ns: u64, end_ns: u64) -> (usize, usize) {
        let from = self.column(start_ns).min(self.columns - 1);
        (from, self.column(end_ns).max(from + 1))
    }

    fn lane(&self, boxes: &[TimeBox], pauses: &[Pause], rows: &mut [Vec<char>]) {
        for drawn in boxes {
            let (from, to) = self.columns_of(drawn.start_ns, drawn.end_ns);
            rows[drawn.row as usize][from..to].fill(filling(drawn.kind));
        }
        for pause in pauses {
            let (from, to) = (self.column(pause.start_ns), self.column(pause.end_ns));
            let ready = pause.woken_ns.map_or(to, |woken| self.column(woken).clamp(from, to));
            let (waits, queued) = match pause.kind {
                PauseKind::StackKept => ('░', '▒'),
                PauseKind::StackPutAway => ('·', ':'),
            };
            for row in pause.row..pause.row + pause.rows {
                let Some(cells) = rows.get_mut(row as usize) else { break };
                cells[from..ready].fill(waits);
                cells[ready..to].fill(queued);
            }
        }
        for drawn in boxes {
            let (from, to) = self.columns_of(drawn.start_ns, drawn.end_ns);
            let cells = &mut rows[drawn.row as usize][from..to];
            if let [only] = cells {
                *only = match drawn.kind {
                    BoxKind::SystemCall { .. } => '•',
                    BoxKind::Parked { .. } => ' ',
                    _ => '┃',
                };
                continue;
            }
            if let [first, label @ .., last] = cells {
                *first = if drawn.cut_start { '«' } else { '[' };
                *last = match drawn.broke_off() {
                    Some(Outcome::Panicked) => '✗',
                    Some(_) => '×',
                    None => {
                        if drawn.cut_end {
                            '»'
                        } else {
                            ']'
                        }
                    }
                };
                if label.len() >= 2 {
                    let text = cut(&plain(&drawn.label), label.len());
                    for (cell, letter) in label.iter_mut().zip(text.chars()) {
                        *cell = letter;
                    }
                }
            }
        }
    }

    fn axis(&self, gutter: usize, out: &mut String) {
        let mut line = vec!['─'; self.columns];
        let mut labels = vec![' '; self.columns];
        let most = (self.columns / 12).max(1) as u64;
        for (at, text) in Ticks::new(self.diagram.span_ns(), most).iter() {
            let column =
                self.column(self.diagram.start_ns.saturating_add(at)).min(self.columns - 1);
            line[column] = '┴';
            let letters = text.chars().count();
            let from = column.min(self.columns.saturating_sub(letters));
            for (cell, letter) in labels[from..].iter_mut().zip(text.chars()) {
                *cell = letter;
            }
        }
        for cells in [line, labels] {
            let cells: String = cells.into_iter().collect();
            let _ = writeln!(out, "{:gutter$}{}", "", cells.trim_end());
        }
    }

    fn arrows(&self, out: &mut String) {
        let wakes = || self.diagram.arrows.iter().filter(|arrow| arrow.kind == ArrowKind::Wake);
        if wakes().next().is_some() {
            out.push('\n');
        }
        for arrow in wakes().take(MAX_ARROWS) {
            let at = duration(arrow.time_ns.saturating_sub(self.diagram.start_ns));
            let name = |lane: usize| cut(&plain(&self.diagram.lanes[lane].name), MAX_NAME);
            let _ = writeln!(out, "{at:>9}  {} wakes {}", name(arrow.from), name(arrow.to));
        }
        let more = wakes().count().saturating_sub(MAX_ARROWS);
        if more > 0 {
            let _ = writeln!(out, "{:>9}  and {more} more wake-ups", "…");
        }
    }
}

fn filling(kind: BoxKind) -> char {
    match kind {
        BoxKind::Task { .. } | BoxKind::Run { .. } => '━',
        BoxKind::Span { .. } => '─',
        BoxKind::SystemCall { .. } => '═',
        BoxKind::Blocking { .. } => '≈',
        BoxKind::Parked { .. } => ' ',
    }
}

/// Without letters that would move the cursor.
fn plain(text: &str) -> String {
    text.chars().map(|letter| if letter.is_control() { '?' } else { letter }).collect()
}

fn cut(text: &str, most: usize) -> String {
    match text.chars().count() <= most {
        true => text.to_owned(),
        false => text.chars().take(most.saturating_sub(1)).chain(['…']).collect(),
    }
}
