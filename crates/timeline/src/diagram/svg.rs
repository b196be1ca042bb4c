//! The diagram as one SVG, for documents and for print: nothing moves, and everything that is
//! pointed at says what it is.
//!
//! ```text
//!  title, summary
//!  ┌ gutter ─┬ axis: ticks ──────────────────────────────┐
//!  │ name    │   ┌─┐                                      │  a lane: rows from the bottom up
//!  │ kind    │ ┌─┴─┴───────┐                              │
//!  ├─────────┼────────────────────────────────────────────┤
//!  └─────────┴────────────────────────────────────────────┘
//!  legend: what was used
//! ```
//!
//! Its size is bounded, however long the recording: of boxes of one row that fall into one pixel
//! the first is drawn, more than 500 arrows are only counted, and so are lanes after the 200th.

use super::about::{about, about_pause, lane_word, outcome_word};
use super::legend::{self, PATTERNS, class};
use super::measure::{fit, width};
use super::palette::COLOURS;
use super::scale::{Ticks, duration};
use super::{ArrowKind, BoxKind, Diagram, LaneKind, Pause, PauseKind, TimeBox};
use std::collections::HashSet;
use std::fmt::Write;

const WIDTH: f64 = 1200.0;
const ROW: f64 = 20.0;
const LANE_GAP: f64 = 13.0;
const PLOT_TOP: f64 = 86.0;
const RIGHT: f64 = 20.0;
const LEFT: f64 = 16.0;
const TEXT: f64 = 11.0;
/// Lanes that are drawn; the others are in the page and in the trace.
const MAX_LANES: usize = 200;
/// More arrows than these are not drawn.
const MAX_ARROWS: usize = 500;
/// Pieces of a box that are looked at to find a place for its label.
const MAX_PIECES: usize = 64;
/// What takes less than a pixel is drawn as wide as this.
const SLIVER: f64 = 1.25;

impl Diagram {
    /// The diagram as an SVG of 1200 pixels' width, light or dark as its reader prefers, and light
    /// in print.
    ///
    /// The root element bears the numbers of lanes, boxes, pauses and arrows as `data-lanes` and
    /// so on. At most 200 lanes are drawn, and the others counted below them.
    ///
    /// ```
    /// # use bifilar_timeline::{Diagram, Recording};
    /// let recording: Recording = "thread main\n0 span-begin task=0 span=1 name=fetch".parse()?;
    /// let svg = Diagram::from(&recording).svg();
    /// assert!(svg.contains(r#"data-lanes="1" data-boxes="1""#));
    /// # Ok::<(), bifilar_timeline::ParseError>(())
    /// ```
    pub fn svg(&self) -> String {
        Picture::new(self).draw()
    }
}

struct Picture<'a> {
    diagram: &'a Diagram,
    gutter: f64,
    /// For each lane that is drawn, where row 0 stands.
    floors: Vec<f64>,
    bottom: f64,
    /// Grows in the order in which things lie on one another.
    out: String,
}

impl<'a> Picture<'a> {
    fn new(diagram: &'a Diagram) -> Self {
        let drawn = &diagram.lanes[..diagram.lanes.len().min(MAX_LANES)];
        let names = drawn.iter().map(|lane| width(&lane.name, 12.0));
        let gutter = (names.fold(0.0, f64::max) + LEFT + 14.0).clamp(96.0, 240.0);
        let mut y = PLOT_TOP;
        let mut floors = Vec::new();
        for (number, lane) in drawn.iter().enumerate() {
            let was_thread = number > 0 && !is_task(drawn[number - 1].kind);
            if is_task(lane.kind) && was_thread {
                y += LANE_GAP;
            }
            y += f64::from(lane.rows.max(1)) * ROW + LANE_GAP;
            floors.push(y - LANE_GAP / 2.0);
        }
        Self { diagram, gutter, floors, bottom: y, out: String::new() }
    }

    fn x(&self, time_ns: u64) -> f64 {
        let passed = time_ns.saturating_sub(self.diagram.start_ns) as f64;
        self.gutter + passed / self.diagram.span_ns() as f64 * (WIDTH - RIGHT - self.gutter)
    }

    /// The upper edge of a row.
    fn y(&self, lane: usize, row: u32) -> f64 {
        self.floors[lane] - f64::from(row + 1) * ROW
    }

    fn draw(mut self) -> String {
        self.axis();
        self.lanes();
        let lanes = self.diagram.by_lane();
        let shown = || lanes.iter().take(self.floors.len()).copied();
        let boxes: String = shown().map(|(boxes, _)| self.boxes(boxes)).collect();
        let pauses: String = shown().map(|(boxes, pauses)| self.pauses(boxes, pauses)).collect();
        let labels: String = shown().map(|(boxes, pauses)| self.labels(boxes, pauses)).collect();
        let (arrows, marks, crosses) = (self.arrows(), self.marks(), self.crosses());
        self.out += &(boxes + &pauses + &marks + &arrows + &labels + &crosses);
        let height = self.legend();
        self.framed(height)
    }

    /// Head and end around what has been drawn.
    fn framed(self, height: f64) -> String {
        let Diagram { title, lanes, boxes, pauses, arrows, .. } = self.diagram;
        let title = escaped(if title.is_empty() { "Timeline" } else { title });
        let summary = escaped(&self.diagram.summary());
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" \
             width=\"{WIDTH}\" height=\"{height}\" role=\"img\" \
             aria-labelledby=\"title summary\" data-lanes=\"{}\" data-boxes=\"{}\" \
             data-pauses=\"{}\" data-arrows=\"{}\">\n<style>\n{}</style>\n<defs>\n{PATTERNS}</defs>\n\
             <rect class=\"ground\" width=\"100%\" height=\"100%\"/>\n\
             <text id=\"title\" class=\"title\" x=\"{LEFT}\" y=\"31\">{title}</text>\n\
             <text id=\"summary\" class=\"faint\" x=\"{LEFT}\" y=\"51\">{summary}</text>\n{}</svg>\n",
            lanes.len(),
            boxes.len(),
            pauses.len(),
            arrows.len(),
            style(),
            self.out,
            height = number(height),
        )
    }

    fn axis(&mut self) {
        let ticks = Ticks::new(self.diagram.span_ns(), 10);
        for (at, text) in ticks.iter() {
            let x = self.x(self.diagram.start_ns.saturating_add(at));
            let end = x + width(&text, TEXT) / 2.0;
            let anchor = if end > WIDTH - 4.0 { "end" } else { "middle" };
            self.put(format_args!(
                "<path class=\"grid\" d=\"M{x} {top}V{bottom}\"/>\
                 <text class=\"tick\" x=\"{x}\" y=\"{y}\" text-anchor=\"{anchor}\">{text}</text>\n",
                x = number(x),
                top = number(PLOT_TOP - 4.0),
                bottom = number(self.bottom),
                y = number(PLOT_TOP - 10.0),
            ));
        }
    }

    fn lanes(&mut self) {
        let room = self.gutter - LEFT - 10.0;
        for (number_of, lane) in self.diagram.lanes.iter().enumerate().take(self.floors.len()) {
            let floor = self.floors[number_of];
            let name = escaped(&fit(&lane.name, room, 12.0).unwrap_or_default());
            let mut title = format!("{} ({})", escaped(&lane.name), lane_word(lane.kind));
            if lane.lost > 0 {
                let _ = write!(title, ", {} older events were overwritten", lane.lost);
            }
            self.put(format_args!(
                "<g class=\"lane\"><title>{title}</title>\
                 <path class=\"floor\" d=\"M{LEFT} {floor}H{right}\"/>\
                 <text class=\"name\" x=\"{LEFT}\" y=\"{y}\">{name}</text>",
                floor = number(floor),
                right = number(WIDTH - RIGHT),
                y = number(floor - 6.0),
            ));
            if lane.rows > 1 {
                let y = number(floor - 20.0);
                let word = lane_word(lane.kind);
                self.put(format_args!("<text class=\"tick\" x=\"{LEFT}\" y=\"{y}\">{word}</text>"));
            }
            self.out += "</g>\n";
        }
        let hidden = self.diagram.lanes.len() - self.floors.len();
        if hidden > 0 {
            self.bottom += 24.0;
            let y = number(self.bottom - 8.0);
            self.put(format_args!(
                "<text class=\"faint\" x=\"{LEFT}\" y=\"{y}\">and {hidden} more lanes</text>\n"
            ));
        }
    }

    /// Where a box is drawn: left edge and width.
    fn extent(&self, drawn: &TimeBox) -> (f64, f64) {
        let (from, to) = (self.x(drawn.start_ns), self.x(drawn.end_ns));
        (from, (to - from).max(SLIVER))
    }

    /// The boxes of a lane.
    fn boxes(&self, boxes: &[TimeBox]) -> String {
        let mut out = String::new();
        let mut rest = boxes;
        while let [first, others @ ..] = rest {
            let (x, width) = self.extent(first);
            // Those that would fall onto the same pixel are counted with it.
            let same = |next: &TimeBox| {
                let (next_x, next_width) = self.extent(next);
                next.row == first.row && next_x - x < 1.0 && next_width <= SLIVER
            };
            let more = match width <= SLIVER {
                true => others.iter().take_while(|next| same(next)).count(),
                false => 0,
            };
            let y = self.y(first.lane, first.row);
            let length = duration(first.end_ns - first.start_ns);
            let mut title = format!("{} · {length}", first.label);
            let about = about(first);
            if !about.is_empty() {
                let _ = write!(title, "\n{about}");
            }
            if more > 0 {
                let _ = write!(title, "\nand {more} more");
            }
            let thin = if width < 3.0 { " thin" } else { "" };
            let _ = writeln!(
                out,
                "<rect class=\"box {}{thin}\" x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\">\
                 <title>{}</title></rect>",
                class(first.kind),
                number(x),
                number(y + 1.0),
                number(width),
                number(ROW - 2.0),
                escaped(&title),
            );
            for (cut, edge, into) in
                [(first.cut_start, x, 4.0_f64), (first.cut_end, x + width, -4.0_f64)]
            {
                if cut && width > 10.0 {
                    out += &torn(edge, y, into);
                }
            }
            rest = &others[more..];
        }
        out
    }

    /// What lies over the boxes of a lane where they don't run.
    fn pauses(&self, boxes: &[TimeBox], pauses: &[Pause]) -> String {
        let mut out = String::new();
        let mut ended: Vec<f64> = Vec::new(); // by row, where the last pause ended
        for pause in pauses {
            let (from, to) = self.pause_extent(boxes, pause);
            let row = pause.row as usize;
            ended.resize(ended.len().max(row + 1), f64::MIN);
            let from = from.max(ended[row] + SLIVER); // between two, it ran
            if to - from < 0.8 || pause.rows == 0 {
                continue; // as much as that is not seen
            }
            ended[row] = to;
            let ready = pause.woken_ns.map_or(to, |woken| self.x(woken).clamp(from, to));
            let y = self.y(pause.lane, pause.row + pause.rows - 1);
            let height = f64::from(pause.rows) * ROW;
            let length = duration(pause.end_ns - pause.start_ns);
            let title = escaped(&format!("{length}: {}", about_pause(pause)));
            let kind = pause_class(pause.kind);
            let _ = write!(out, "<g class=\"pause\"><title>{title}</title>");
            for (class, from, to) in [(kind, from, ready), ("queued", ready, to)] {
                if to - from < 0.3 {
                    continue;
                }
                let veil = if pause.kind == PauseKind::StackKept { "veil" } else { "ground" };
                // Of boxes that are put away nothing is left, of others their edges.
                let edge = if pause.kind == PauseKind::StackKept { 1.5 } else { 0.5 };
                let place = format!(
                    "x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\"",
                    number(from),
                    number(y + edge),
                    number(to - from),
                    number(height - 2.0 * edge),
                );
                let _ = write!(out, "<rect class=\"{veil}\" {place}/>");
                match pause.kind {
                    PauseKind::StackKept => {
                        let _ = write!(out, "<rect fill=\"url(#{class})\" {place}/>");
                    }
                    PauseKind::StackPutAway => {
                        for row in pause.row..pause.row + pause.rows {
                            let middle = number(self.y(pause.lane, row) + ROW / 2.0);
                            let (from, to) = (number(from), number(to));
                            let line = format!("d=\"M{from} {middle}H{to}\"");
                            let _ = write!(out, "<path class=\"thread {class}\" {line}/>");
                        }
                    }
                }
            }
            out += "</g>\n";
        }
        out
    }

    /// Where a pause is drawn: it leaves a sliver of the box before and after it, if the box does
    /// run there.
    fn pause_extent(&self, boxes: &[TimeBox], pause: &Pause) -> (f64, f64) {
        let (from, to) = (self.x(pause.start_ns), self.x(pause.end_ns));
        let at = boxes
            .partition_point(|drawn| (drawn.row, drawn.start_ns) <= (pause.row, pause.start_ns));
        let Some(under) = at.checked_sub(1).map(|at| &boxes[at]) else { return (from, to) };
        let (box_from, box_width) = self.extent(under);
        let from = if pause.start_ns > under.start_ns { from.max(box_from + SLIVER) } else { from };
        let ends = pause.end_ns < under.end_ns;
        (from, if ends { to.min(box_from + box_width - SLIVER) } else { to })
    }

    /// The labels of a lane's boxes, each where it fits.
    fn labels(&self, boxes: &[TimeBox], pauses: &[Pause]) -> String {
        let mut out = String::new();
        let mut last = (u32::MAX, f64::MIN);
        for (at, drawn) in boxes.iter().enumerate() {
            let (x, box_width) = self.extent(drawn);
            let next = boxes.get(at + 1).filter(|next| next.row == drawn.row);
            let next_x = next.map_or(WIDTH - RIGHT, |next| self.x(next.start_ns));
            if last.0 == drawn.row && x < last.1 {
                continue; // under the label of a box too narrow for it
            }
            let (room_x, room, over_pause) = self.room_for_label(drawn, pauses);
            let inside = fit(&drawn.label, room - 8.0, TEXT);
            let beside_room = next_x - (x + box_width) - 6.0;
            let beside = || {
                let open = !matches!(drawn.kind, BoxKind::Parked { .. });
                let fits = open && width(&drawn.label, TEXT) <= beside_room;
                Some(drawn.label.to_string()).filter(|label| fits && !label.is_empty())
            };
            let (text, text_x, class) = match inside {
                Some(text) if !text.ends_with('…') || box_width > 48.0 => {
                    (text, room_x + 4.0, if over_pause { "label halo" } else { "label" })
                }
                _ => match beside() {
                    Some(text) => (text, x + box_width + 3.0, "label halo beside"),
                    None => continue,
                },
            };
            last = (drawn.row, text_x + width(&text, TEXT));
            let _ = writeln!(
                out,
                "<text class=\"{class}\" x=\"{}\" y=\"{}\">{}</text>",
                number(text_x),
                number(self.y(drawn.lane, drawn.row) + 14.0),
                escaped(&text),
            );
        }
        out
    }

    /// Where a label stands best: in the first stretch that is wide enough and runs, or in the
    /// first that is wide enough, or over all of the box. Left edge, width, whether it is over a
    /// pause.
    fn room_for_label(&self, drawn: &TimeBox, pauses: &[Pause]) -> (f64, f64, bool) {
        let (x, box_width) = self.extent(drawn);
        let wanted = width(&drawn.label, TEXT) + 8.0;
        let begins = pauses.partition_point(|pause| pause.end_ns <= drawn.start_ns);
        let covers = |pause: &&Pause| {
            let rows = pause.row..pause.row + pause.rows;
            rows.contains(&drawn.row) && pause.end_ns > drawn.start_ns
        };
        let mut paused_room = None;
        let (mut from, mut any) = (x, false);
        let meets = pauses[begins..].iter().take_while(|pause| pause.start_ns < drawn.end_ns);
        for (number, pause) in meets.filter(covers).enumerate() {
            if number == MAX_PIECES {
                return (x, box_width, true);
            }
            let (pause_from, pause_to) =
                (self.x(pause.start_ns).max(x), self.x(pause.end_ns).min(x + box_width));
            if pause_from - from >= wanted {
                return (from, pause_from - from, false);
            }
            if pause_to - pause_from >= wanted && paused_room.is_none() {
                paused_room = Some((pause_from, pause_to - pause_from, true));
            }
            (from, any) = (pause_to, true);
        }
        if any && x + box_width - from >= wanted {
            return (from, x + box_width - from, false);
        }
        paused_room.unwrap_or((x, box_width, any))
    }

    fn arrows(&self) -> String {
        let mut out = String::new();
        let mut seen = HashSet::new();
        if self.diagram.arrows.len() > MAX_ARROWS {
            return out; // they would cover everything; the legend says so
        }
        for arrow in &self.diagram.arrows {
            let x = self.x(arrow.time_ns);
            let shown = arrow.from < self.floors.len() && arrow.to < self.floors.len();
            if !shown || !seen.insert((x as u32, arrow.from, arrow.to, arrow.kind)) {
                continue;
            }
            let (class, verb) = match arrow.kind {
                ArrowKind::Wake => ("wake", "wakes"),
                ArrowKind::Spawn => ("spawn", "spawns"),
            };
            let down = arrow.to > arrow.from;
            let (from, to) = match (down, arrow.from == arrow.to) {
                (_, true) => {
                    let top = self.y(arrow.to, arrow.to_row);
                    (top - 9.0, top)
                }
                (true, _) => (self.floors[arrow.from], self.y(arrow.to, arrow.to_row)),
                (false, _) => (self.y(arrow.from, arrow.from_row), self.floors[arrow.to]),
            };
            let back = if to > from { -5.0 } else { 5.0 };
            let lane = |lane: usize| escaped(&self.diagram.lanes[lane].name);
            let _ = writeln!(
                out,
                "<g class=\"arrow {class}\"><title>{from_name} {verb} {to_name} at {at}</title>\
                 <path d=\"M{x} {from}V{shaft}\"/><circle cx=\"{x}\" cy=\"{from}\" r=\"1.8\"/>\
                 <path class=\"head\" d=\"M{x} {to}l-3 {back}h6z\"/></g>",
                from_name = lane(arrow.from),
                to_name = lane(arrow.to),
                at = duration(arrow.time_ns.saturating_sub(self.diagram.start_ns)),
                x = number(x),
                from = number(from),
                shaft = number(to + back),
                to = number(to),
            );
        }
        out
    }

    fn marks(&self) -> String {
        let mut out = String::new();
        let mut last = (usize::MAX, f64::MIN);
        for mark in self.diagram.marks.iter().filter(|mark| mark.lane < self.floors.len()) {
            let (x, y) = (self.x(mark.time_ns), self.floors[mark.lane]);
            if last.0 == mark.lane && x - last.1 < 1.0 {
                continue;
            }
            last = (mark.lane, x);
            let (x, y) = (number(x), number(y));
            let label = escaped(&mark.label);
            let _ = writeln!(
                out,
                "<circle class=\"mark\" cx=\"{x}\" cy=\"{y}\" r=\"3.4\"><title>{label}</title></circle>"
            );
        }
        out
    }

    /// Where tasks panicked or were cancelled.
    fn crosses(&self) -> String {
        let mut out = String::new();
        let shown = self.diagram.boxes.iter().filter(|drawn| drawn.lane < self.floors.len());
        for (drawn, end) in shown.filter_map(|drawn| drawn.broke_off().map(|end| (drawn, end))) {
            let (x, box_width) = self.extent(drawn);
            let (x, y) = (number(x + box_width - 4.0), self.y(drawn.lane, drawn.row));
            let (y, class) = (number(y + ROW / 2.0 - 4.0), outcome_word(end));
            let _ = writeln!(out, "<path class=\"cross {class}\" d=\"M{x} {y}l8 8m0 -8l-8 8\"/>");
        }
        out
    }

    /// Explains what was used; returns the height of the picture.
    fn legend(&mut self) -> f64 {
        let (mut x, mut y) = (LEFT, self.bottom + 30.0);
        let mut lines = legend::lines(self.diagram);
        if self.diagram.arrows.len() > MAX_ARROWS {
            let none = "wake-ups are too many to draw: zoom in on the page to see them";
            lines.retain(|(_, text)| !["wakes", "spawns"].contains(text));
            lines.push((String::new(), none));
        }
        for (sample, text) in lines {
            let needed = 34.0 + width(text, 12.0) + 22.0;
            if x + needed > WIDTH {
                (x, y) = (LEFT, y + 24.0);
            }
            let at = format!("{} {}", number(x), number(y));
            self.put(format_args!(
                "<g class=\"key\" transform=\"translate({at})\">{sample}\
                 <text class=\"faint\" x=\"34\">{text}</text></g>\n"
            ));
            x += needed;
        }
        y + 18.0
    }

    fn put(&mut self, text: std::fmt::Arguments<'_>) {
        let _ = self.out.write_fmt(text); // strings don't fail
    }
}

/// Selector, property, colour: written out twice, since not all who draw SVGs know variables.
const RULES: [(&str, &str, &str); 26] = [
    (".ground", "fill", "ground"),
    (".veil", "fill", "ground"),
    ("text", "fill", "ink"),
    (".faint,.tick", "fill", "faint"),
    (".halo", "stroke", "ground"),
    (".grid", "stroke", "grid"),
    (".floor", "stroke", "grid"),
    (".task", "fill", "task"),
    (".task", "stroke", "task-edge"),
    (".span", "fill", "span"),
    (".span", "stroke", "span-edge"),
    (".call", "fill", "call"),
    (".call", "stroke", "call-edge"),
    (".pool", "fill", "pool"),
    (".pool", "stroke", "pool-edge"),
    (".parked", "fill", "parked"),
    (".parked", "stroke", "parked-edge"),
    (".hatch", "stroke", "wait"),
    (".hatch.ready", "stroke", "ready"),
    (".thread", "stroke", "wait"),
    (".thread.queued", "stroke", "ready"),
    (".arrow", "stroke", "arrow"),
    (".arrow .head,.arrow circle", "fill", "arrow"),
    (".mark", "stroke", "arrow"),
    (".cross", "stroke", "faint"),
    (".cross.panicked", "stroke", "broken"),
];

fn style() -> String {
    let rules = |dark: bool| -> String {
        let rules = RULES.iter().map(|(selector, property, name)| {
            let colour = COLOURS.iter().find(|(known, _, _)| known == name);
            let value = colour.map_or("", |(_, light, dimmed)| if dark { dimmed } else { light });
            format!("{selector}{{{property}:{value}}}\n")
        });
        rules.collect()
    };
    let fixed = "text{font:11px system-ui,-apple-system,'Segoe UI',Roboto,'DejaVu Sans',sans-serif}\n\
         .title{font-size:18px;font-weight:600}\n.name,.faint{font-size:12px}\n\
         .halo{paint-order:stroke;stroke-width:3px;stroke-linejoin:round}\n\
         .box{stroke-width:.8}\n.thin{stroke:none}\n.veil{opacity:.6}\n.torn{stroke:none}\n\
         .hatch{stroke-width:.9;fill:none}\n.hatch.ready{stroke-width:1.1}\n\
         .thread{stroke-width:1.2;stroke-dasharray:1.5 3.5;fill:none}\n\
         .thread.queued{stroke-dasharray:none;stroke-width:2}\n\
         .arrow{fill:none;stroke-width:1}\n.arrow.spawn{stroke-dasharray:3 2.5}\n\
         .arrow .head,.arrow circle{stroke:none}\n.mark{fill:none}\n.cross{fill:none;stroke-width:2.2}\n";
    let (light, dark) = (rules(false), rules(true));
    // The fixed ones last: of two that concern the same element, the later one counts.
    format!("{light}@media screen and (prefers-color-scheme:dark){{\n{dark}}}\n{fixed}")
}

/// The edge of a box that was cut off there: teeth in the colour of the ground.
fn torn(edge: f64, y: f64, into: f64) -> String {
    let step = number((ROW - 1.0) / 6.0);
    let teeth: String = (0..6)
        .map(|tooth| format!("l{} {step}", number(if tooth % 2 == 0 { into } else { -into })))
        .collect();
    let (x, y) = (number(edge - into.signum()), number(y + 0.5));
    format!("<path class=\"ground torn\" d=\"M{x} {y}{teeth}z\"/>\n")
}

fn pause_class(kind: PauseKind) -> &'static str {
    match kind {
        PauseKind::StackKept => "kept",
        PauseKind::StackPutAway => "away",
    }
}

fn is_task(kind: LaneKind) -> bool {
    matches!(kind, LaneKind::Task(_))
}

/// Two digits behind the point, and none that say nothing.
fn number(value: f64) -> String {
    let digits = format!("{value:.2}");
    match digits.trim_end_matches('0').trim_end_matches('.') {
        "-0" => "0".to_owned(),
        digits => digits.to_owned(),
    }
}

/// A text inside an element; characters that XML can't hold are replaced.
pub(super) fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\n' | '\t' => safe.push(letter),
            '\u{0}'..='\u{1f}' | '\u{fffe}' | '\u{ffff}' => safe.push('\u{fffd}'),
            other => safe.push(other),
        }
    }
    safe
}
