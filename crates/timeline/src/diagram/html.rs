//! The diagram as one HTML page that needs nothing else: no network, no other file.
//!
//! ```text
//!  page/page.html   ─┐   head, search field, buttons, help, legend, table
//!  page/page.css    ─┼─► the page
//!  page/layout.js   ─┤   knows the order of the fields written here, and where things are
//!  page/draw.js     ─┤   draws
//!  page/look.js     ─┤   moves, selects and searches
//!  data, as JSON    ─┘   flat lists of numbers; strings once, by number
//! ```
//!
//! What the picture shows is said once more in elements: the numbers of lanes, boxes, pauses and
//! arrows as attributes of `main`, and the sums of the lanes in a table, which can be read aloud.

use super::about::{Sums, about, about_pause, lane_word, sums};
use super::legend::{self, CLASSES, PATTERNS, class};
use super::scale::duration;
use super::svg::escaped;
use super::{ArrowKind, Diagram, PauseKind, json, palette};
use crate::event::Outcome;
use std::collections::HashMap;
use std::fmt::Write;

const PAGE: &str = include_str!("page/page.html");
const STYLE: &str = include_str!("page/page.css");
const LAYOUT: &str = include_str!("page/layout.js");
const DRAW: &str = include_str!("page/draw.js");
const LOOK: &str = include_str!("page/look.js");
/// Lanes in the table; the others are counted.
const MAX_LANES: usize = 500;

impl Diagram {
    /// The diagram as a page to look around in: zoom with the wheel, drag, search, and follow a
    /// wake-up from one end to the other. It stays quick with a hundred thousand boxes.
    ///
    /// The element `main` bears the numbers of lanes, boxes, pauses and arrows as `data-lanes` and
    /// so on, and what is shown at the moment as `data-from`, `data-to`, `data-matches` and
    /// `data-selected`.
    ///
    /// ```
    /// # use bifilar_timeline::{Diagram, Recording};
    /// let recording: Recording = "thread main\n0 span-begin task=0 span=1 name=fetch".parse()?;
    /// let page = Diagram::from(&recording).html();
    /// assert!(page.contains(r#"data-lanes="1" data-boxes="1""#));
    /// # Ok::<(), bifilar_timeline::ParseError>(())
    /// ```
    pub fn html(&self) -> String {
        let title = if self.title.is_empty() { "Timeline" } else { &self.title };
        fill(PAGE, |place| match place {
            "title" => escaped(title),
            "summary" => escaped(&self.summary()),
            "light" => palette::variables(false),
            "dark" => palette::variables(true),
            "style" => STYLE.to_owned(),
            "layout" => LAYOUT.to_owned(),
            "draw" => DRAW.to_owned(),
            "look" => LOOK.to_owned(),
            "counts" => self.counts(),
            "patterns" => PATTERNS.to_owned(),
            "legend" => self.legend(),
            "table" => self.table(),
            "data" => self.data(),
            other => unreachable!("page.html has a place called {other}"),
        })
    }

    fn counts(&self) -> String {
        format!(
            "data-lanes=\"{}\" data-boxes=\"{}\" data-pauses=\"{}\" data-arrows=\"{}\"",
            self.lanes.len(),
            self.boxes.len(),
            self.pauses.len(),
            self.arrows.len()
        )
    }

    fn legend(&self) -> String {
        let mut out = String::new();
        for (sample, text) in legend::lines(self) {
            let _ = write!(
                out,
                "<li><svg width=\"27\" height=\"15\" viewBox=\"0 -12 27 15\" aria-hidden=\"true\">\
                 {sample}</svg>{text}</li>"
            );
        }
        out
    }

    /// A line for each lane.
    fn table(&self) -> String {
        let mut woken = vec![0_usize; self.lanes.len()];
        for arrow in self.arrows.iter().filter(|arrow| arrow.kind == ArrowKind::Wake) {
            woken[arrow.to] += 1;
        }
        let mut out = String::new();
        let lanes = self.lanes.iter().zip(self.by_lane()).zip(woken);
        for ((lane, (boxes, pauses)), woken) in lanes.take(MAX_LANES) {
            let Sums { ran_ns, in_calls_ns, waited_ns, ready_ns } = sums(boxes, pauses);
            let _ = write!(
                out,
                "<tr><th scope=\"row\">{}</th><td>{}</td><td>{}</td>",
                escaped(&lane.name),
                lane_word(lane.kind),
                boxes.len()
            );
            for time_ns in [ran_ns, in_calls_ns, waited_ns, ready_ns] {
                let time = if time_ns == 0 { "–".to_owned() } else { duration(time_ns) };
                let _ = write!(out, "<td>{time}</td>");
            }
            let _ = writeln!(out, "<td>{woken}×</td></tr>");
        }
        if self.lanes.len() > MAX_LANES {
            let more = self.lanes.len() - MAX_LANES;
            let _ = writeln!(out, "<tr><td colspan=\"8\">and {more} more lanes</td></tr>");
        }
        out
    }

    /// What the script draws from. Times count from the beginning of the recording.
    fn data(&self) -> String {
        let mut strings = Strings::default();
        let since = |time_ns: u64| time_ns.saturating_sub(self.start_ns);
        let boxes = list(self.boxes.iter().map(|drawn| {
            let kind = CLASSES.iter().position(|name| *name == class(drawn.kind)).unwrap_or(0);
            let (label, about) = (strings.number(&drawn.label), strings.number(&about(drawn)));
            let (start, end) = (since(drawn.start_ns), since(drawn.end_ns));
            let broken = match drawn.broke_off() {
                Some(Outcome::Panicked) => 4,
                Some(_) => 8,
                None => 0,
            };
            let ends = u8::from(drawn.cut_start) | u8::from(drawn.cut_end) << 1 | broken;
            let (lane, row) = (drawn.lane, drawn.row);
            format!("{lane},{row},{start},{end},{label},{kind},{ends},{about}")
        }));
        let pauses = list(self.pauses.iter().map(|pause| {
            let woken = pause.woken_ns.map_or("-1".to_owned(), |woken| since(woken).to_string());
            let kept = u8::from(pause.kind == PauseKind::StackKept);
            let (start, end) = (since(pause.start_ns), since(pause.end_ns));
            let about = strings.number(&about_pause(pause));
            let (lane, row, rows) = (pause.lane, pause.row, pause.rows);
            format!("{lane},{row},{rows},{start},{end},{woken},{kept},{about}")
        }));
        let arrows = list(self.arrows.iter().map(|arrow| {
            let spawn = u8::from(arrow.kind == ArrowKind::Spawn);
            let (from, to) = (arrow.from, arrow.to);
            let at = since(arrow.time_ns);
            format!("{at},{spawn},{from},{},{to},{}", arrow.from_row, arrow.to_row)
        }));
        let marks = list(self.marks.iter().map(|mark| {
            format!("{},{},{}", mark.lane, since(mark.time_ns), strings.number(&mark.label))
        }));
        let lanes = list(self.lanes.iter().map(|lane| {
            let (name, kind) = (json::string(&lane.name), json::string(lane_word(lane.kind)));
            format!("{{\"name\":{name},\"kind\":{kind},\"rows\":{}}}", lane.rows)
        }));
        let strings = list(strings.list.iter().map(|text| json::string(text)));
        format!(
            "{{\"span\":{},\n\"lanes\":{lanes},\n\"boxes\":{boxes},\n\"pauses\":{pauses},\n\
             \"arrows\":{arrows},\n\"marks\":{marks},\n\"strings\":{strings}}}\n",
            self.span_ns()
        )
    }
}

/// Each text once.
#[derive(Default)]
struct Strings {
    numbers: HashMap<String, usize>,
    list: Vec<String>,
}

impl Strings {
    fn number(&mut self, text: &str) -> usize {
        if let Some(number) = self.numbers.get(text) {
            return *number;
        }
        let number = self.list.len();
        self.numbers.insert(text.to_owned(), number);
        self.list.push(text.to_owned());
        number
    }
}

/// A JSON list with an entry, or the fields of a record, on each line.
fn list(entries: impl Iterator<Item = String>) -> String {
    let mut out = String::from("[");
    for (number, entry) in entries.enumerate() {
        out += if number > 0 { ",\n" } else { "\n" };
        out += &entry;
    }
    out + "]"
}

/// Puts something into each place that is marked `{{name}}`; what is put in isn't looked at again.
fn fill(page: &str, value: impl Fn(&str) -> String) -> String {
    let mut out = String::new();
    let mut rest = page;
    while let Some((before, after)) = rest.split_once("{{") {
        let (place, behind) = after.split_once("}}").unwrap_or((after, ""));
        out += before;
        out += &value(place);
        rest = behind;
    }
    out + rest
}
