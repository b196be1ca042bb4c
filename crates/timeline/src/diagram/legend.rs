//! What the colours and patterns mean, as far as a diagram uses them; for pictures made of SVG.

use super::{ArrowKind, BoxKind, Diagram, PauseKind};
use crate::event::Outcome;

/// Patterns that samples and pauses are filled with, to stand in `<defs>`.
pub(super) const PATTERNS: &str = "\
<pattern id=\"kept\" width=\"6\" height=\"6\" patternUnits=\"userSpaceOnUse\">\
<path class=\"hatch\" d=\"M-1 7L7 -1M-1 1L1 -1M5 7L7 5\"/></pattern>\n\
<pattern id=\"queued\" width=\"4\" height=\"4\" patternUnits=\"userSpaceOnUse\">\
<path class=\"hatch ready\" d=\"M-1 -1L5 5M-1 3L1 5M3 -1L5 1\"/></pattern>\n";

/// The colours of boxes; a box of kind `k` has the colour `class(k)`.
pub(super) const CLASSES: [&str; 5] = ["task", "span", "call", "pool", "parked"];

pub(super) fn class(kind: BoxKind) -> &'static str {
    match kind {
        BoxKind::Task { .. } | BoxKind::Run { .. } => "task",
        BoxKind::Span { .. } => "span",
        BoxKind::SystemCall { .. } => "call",
        BoxKind::Blocking { .. } => "pool",
        BoxKind::Parked { .. } => "parked",
    }
}

/// A sample, 27 pixels wide and from 12 above to 3 below the line it stands on, and its meaning.
pub(super) fn lines(diagram: &Diagram) -> Vec<(String, &'static str)> {
    let has = |wanted: &str| diagram.boxes.iter().any(|drawn| class(drawn.kind) == wanted);
    let pause = |kind| diagram.pauses.iter().any(|pause| pause.kind == kind);
    let queued =
        |kind| diagram.pauses.iter().any(|pause| pause.kind == kind && pause.woken_ns.is_some());
    let arrow = |kind| diagram.arrows.iter().any(|arrow| arrow.kind == kind);
    let broke_off =
        |end| diagram.boxes.iter().filter_map(|drawn| drawn.broke_off()).any(|found| found == end);
    let (kept, away) = (PauseKind::StackKept, PauseKind::StackPutAway);
    let (kept_queued, away_queued) = (queued(kept), queued(away));
    let queued = if kept_queued { hatched("queued") } else { thread("queued") };
    let lines = [
        (has("task"), filled("task"), "runs"),
        (has("span"), filled("span"), "a call"),
        (has("call"), filled("call"), "in a system call"),
        (has("pool"), filled("pool"), "on the blocking pool"),
        (pause(kept), hatched("kept"), "suspended, stack kept"),
        (pause(away), thread("away"), "suspended, stack put away"),
        (kept_queued || away_queued, queued, "ready, waits for a worker"),
        (has("parked"), filled("parked"), "worker asleep"),
        (arrow(ArrowKind::Wake), arrow_sample("wake"), "wakes"),
        (arrow(ArrowKind::Spawn), arrow_sample("spawn"), "spawns"),
        (!diagram.marks.is_empty(), ring(), "source ready, or timer"),
        (broke_off(Outcome::Panicked), cross("panicked"), "panicked"),
        (broke_off(Outcome::Cancelled), cross("cancelled"), "cancelled"),
    ];
    lines.into_iter().filter(|line| line.0).map(|(_, sample, text)| (sample, text)).collect()
}

const PLACE: &str = "x=\"0.5\" y=\"-10.5\" width=\"26\" height=\"13\"";

fn filled(class: &str) -> String {
    format!("<rect class=\"box {class}\" {PLACE}/>")
}

fn hatched(pattern: &str) -> String {
    format!(
        "<rect class=\"box task\" {PLACE}/><rect class=\"veil\" {PLACE}/>\
         <rect fill=\"url(#{pattern})\" {PLACE}/>"
    )
}

fn thread(class: &str) -> String {
    format!("<path class=\"thread {class}\" d=\"M0 -4H27\"/>")
}

fn arrow_sample(class: &str) -> String {
    format!(
        "<g class=\"arrow {class}\"><path d=\"M13 -11V-2\"/>\
         <circle cx=\"13\" cy=\"-10\" r=\"1.8\"/>\
         <path class=\"head\" d=\"M13 3l-3 -5h6z\"/></g>"
    )
}

fn ring() -> String {
    "<circle class=\"mark\" cx=\"13\" cy=\"-4\" r=\"3.4\"/>".to_owned()
}

fn cross(class: &str) -> String {
    format!("<path class=\"cross {class}\" d=\"M9 -8l8 8M17 -8l-8 8\"/>")
}
