//! The diagram as a trace-event file, which Perfetto, Chrome's tracing page and speedscope open.
//!
//! | here | there |
//! |---|---|
//! | lane | a thread: of the process "threads" or of the process "tasks" |
//! | box | complete event, `X` |
//! | box that its supporter doesn't outlast | nestable asynchronous events, `b` and `e`, since slices of a thread must nest |
//! | pause | complete events atop the box: "suspended", then "ready" |
//! | arrow | flow, `s` and `f`, bound to the slices that enclose its ends |
//! | mark | instant, `i` |
//!
//! The format is that of the "Trace Event Format" document; times are in microseconds.

use super::about::{about, outcome_word};
use super::json::{microseconds, string};
use super::{ArrowKind, BoxKind, Diagram, LaneKind, Pause, PauseKind, TimeBox};
use std::fmt::Write;

const THREADS: u32 = 1;
const TASKS: u32 = 2;

impl Diagram {
    /// The diagram as JSON in the trace-event format, for Perfetto (<https://ui.perfetto.dev>),
    /// `chrome://tracing` and speedscope.
    ///
    /// ```
    /// # use bifilar_timeline::{Diagram, Recording};
    /// let recording: Recording = "thread main\n0 span-begin task=0 span=1 name=fetch".parse()?;
    /// let trace = Diagram::from(&recording).trace_json();
    /// assert!(trace.contains(r#""ph":"X","pid":1,"tid":1,"ts":0,"dur":0,"name":"fetch""#));
    /// # Ok::<(), bifilar_timeline::ParseError>(())
    /// ```
    pub fn trace_json(&self) -> String {
        let mut events = Vec::new();
        for (pid, name) in [(THREADS, "threads"), (TASKS, "tasks")] {
            let args = format!("\"args\":{{\"name\":\"{name}\"}}");
            let order = format!("\"args\":{{\"sort_index\":{pid}}}");
            events.push(format!("\"ph\":\"M\",\"pid\":{pid},\"name\":\"process_name\",{args}"));
            events.push(format!(
                "\"ph\":\"M\",\"pid\":{pid},\"name\":\"process_sort_index\",{order}"
            ));
        }
        for (number, lane) in self.lanes.iter().enumerate() {
            let place = self.place(number);
            let name = string(&lane.name);
            let title = |event: &str, args: String| {
                format!("\"ph\":\"M\",{place},\"name\":\"{event}\",\"args\":{{{args}}}")
            };
            events.push(title("thread_name", format!("\"name\":{name}")));
            events.push(title("thread_sort_index", format!("\"sort_index\":{number}")));
        }
        for (boxes, pauses) in self.by_lane() {
            self.lane_events(boxes, pauses, &mut events);
        }
        for mark in &self.marks {
            let (place, at) = (self.place(mark.lane), self.at(mark.time_ns));
            let name = string(&mark.label);
            events.push(format!("\"ph\":\"i\",{place},\"ts\":{at},\"s\":\"t\",\"name\":{name}"));
        }
        for (id, arrow) in self.arrows.iter().enumerate() {
            let name = match arrow.kind {
                ArrowKind::Wake => "wake",
                ArrowKind::Spawn => "spawn",
            };
            let at = self.at(arrow.time_ns);
            let rest = format!("\"ts\":{at},\"id\":{id},\"cat\":\"arrow\",\"name\":\"{name}\"");
            events.push(format!("\"ph\":\"s\",{},{rest}", self.place(arrow.from)));
            events.push(format!("\"ph\":\"f\",{},{rest},\"bp\":\"e\"", self.place(arrow.to)));
        }

        let mut out = format!(
            "{{\"displayTimeUnit\":\"ns\",\"otherData\":{{\"title\":{}}},\"traceEvents\":[",
            string(&self.title)
        );
        for (number, event) in events.iter().enumerate() {
            let comma = if number > 0 { "," } else { "" };
            let _ = write!(out, "{comma}\n{{{event}}}"); // strings don't fail
        }
        out + "\n]}\n"
    }

    fn place(&self, lane: usize) -> String {
        let pid = match self.lanes[lane].kind {
            LaneKind::Task(_) => TASKS,
            _ => THREADS,
        };
        format!("\"pid\":{pid},\"tid\":{}", lane + 1)
    }

    fn at(&self, time_ns: u64) -> String {
        microseconds(time_ns.saturating_sub(self.start_ns))
    }

    /// The boxes and pauses of a lane, callers before callees.
    fn lane_events(&self, boxes: &[TimeBox], pauses: &[Pause], events: &mut Vec<String>) {
        let mut slices: Vec<Slice<'_>> = boxes.iter().map(Slice::of_box).collect();
        // The pauses of single rows only say that a call was put away a little before its task.
        slices.extend(pauses.iter().filter(|pause| pause.row == 0).flat_map(Slice::of_pause));
        slices.sort_by_key(|slice| (slice.start_ns, slice.row, u64::MAX - slice.end_ns));

        let mut ends: Vec<u64> = Vec::new();
        for slice in slices {
            while ends.last().is_some_and(|end| *end <= slice.start_ns) {
                ends.pop();
            }
            let place = self.place(slice.lane);
            let (at, name, category) =
                (self.at(slice.start_ns), string(slice.name), slice.category);
            let rest = format!("\"name\":{name},\"cat\":\"{category}\"");
            let args = format!("\"args\":{{{}}}", slice.args);
            if ends.last().is_none_or(|end| slice.end_ns <= *end) {
                ends.push(slice.end_ns);
                let length = microseconds(slice.end_ns - slice.start_ns);
                events.push(format!(
                    "\"ph\":\"X\",{place},\"ts\":{at},\"dur\":{length},{rest},{args}"
                ));
            } else {
                let id = format!("\"id\":\"box {}\"", events.len());
                let end = self.at(slice.end_ns);
                events.push(format!("\"ph\":\"b\",{place},\"ts\":{at},{id},{rest},{args}"));
                events.push(format!("\"ph\":\"e\",{place},\"ts\":{end},{id},{rest}"));
            }
        }
    }
}

struct Slice<'a> {
    lane: usize,
    row: u32,
    start_ns: u64,
    end_ns: u64,
    name: &'a str,
    category: &'static str,
    /// Members of a JSON object.
    args: String,
}

impl<'a> Slice<'a> {
    fn of_box(drawn: &'a TimeBox) -> Self {
        let (category, args) = match drawn.kind {
            BoxKind::Task { task, outcome } => {
                let end = outcome.map_or("running", outcome_word);
                ("task", format!("\"task\":{task},\"outcome\":\"{end}\""))
            }
            BoxKind::Span { span } => ("span", format!("\"span\":{span}")),
            BoxKind::SystemCall { fd, bytes, result, took_ns } => (
                "system call",
                format!("\"fd\":{fd},\"bytes\":{bytes},\"result\":{result},\"took_ns\":{took_ns}"),
            ),
            BoxKind::Blocking { task } => ("blocking", format!("\"task\":{task}")),
            BoxKind::Run { task, stack } => {
                let stack = stack.map_or(String::new(), |stack| format!(",\"stack\":{stack}"));
                ("run", format!("\"task\":{task}{stack}"))
            }
            BoxKind::Parked { worker } => ("parked", format!("\"worker\":{worker}")),
        };
        let about = match drawn.cut_start || drawn.cut_end {
            true => format!(",\"note\":{}", string(&about(drawn))),
            false => String::new(),
        };
        let TimeBox { lane, row, start_ns, end_ns, .. } = *drawn;
        Self { lane, row, start_ns, end_ns, name: &drawn.label, category, args: args + &about }
    }

    /// Waiting, and then waiting for a worker.
    fn of_pause(pause: &'a Pause) -> impl Iterator<Item = Self> {
        let ready_ns = pause.woken_ns.unwrap_or(pause.end_ns).clamp(pause.start_ns, pause.end_ns);
        let stack = match pause.kind {
            PauseKind::StackKept => "kept",
            PauseKind::StackPutAway => "put away",
        };
        let waits_for = string(&pause.waits_for);
        let parts = [("suspended", pause.start_ns, ready_ns), ("ready", ready_ns, pause.end_ns)];
        let taking_time = parts.into_iter().filter(|(_, start, end)| start < end);
        taking_time.map(move |(name, start_ns, end_ns)| Self {
            lane: pause.lane,
            row: pause.row + pause.rows,
            start_ns,
            end_ns,
            name,
            category: "pause",
            args: format!("\"stack\":\"{stack}\",\"waits_for\":{waits_for}"),
        })
    }
}
