//! What is said of a box when it is pointed at, the same in all pictures.

use super::scale::duration;
use super::{BoxKind, Diagram, LaneKind, Pause, PauseKind, TimeBox};
use crate::event::Outcome;

/// Numbers of errors that a program that waits for sockets and files meets, on Linux.
const ERRORS: [(i32, &str); 24] = [
    (1, "EPERM"),
    (2, "ENOENT"),
    (4, "EINTR"),
    (5, "EIO"),
    (9, "EBADF"),
    (11, "EAGAIN"),
    (12, "ENOMEM"),
    (13, "EACCES"),
    (17, "EEXIST"),
    (22, "EINVAL"),
    (23, "ENFILE"),
    (24, "EMFILE"),
    (28, "ENOSPC"),
    (32, "EPIPE"),
    (98, "EADDRINUSE"),
    (99, "EADDRNOTAVAIL"),
    (101, "ENETUNREACH"),
    (103, "ECONNABORTED"),
    (104, "ECONNRESET"),
    (107, "ENOTCONN"),
    (110, "ETIMEDOUT"),
    (111, "ECONNREFUSED"),
    (113, "EHOSTUNREACH"),
    (115, "EINPROGRESS"),
];

/// What is known of a box besides its label, its lane and its times; may be empty.
pub(super) fn about(drawn: &TimeBox) -> String {
    let mut facts: Vec<String> = Vec::new();
    match drawn.kind {
        BoxKind::Task { task, outcome } => {
            facts.push(format!("task {task}"));
            facts.extend(outcome.map(outcome_word).map(str::to_owned));
        }
        BoxKind::Span { .. } => {}
        BoxKind::SystemCall { fd, bytes, result, took_ns } => {
            facts.push("system call".into());
            if fd >= 0 {
                facts.push(format!("fd {fd}"));
            }
            if bytes > 0 {
                facts.push(format!("{bytes} bytes asked for"));
            }
            facts.push(match error_name(result) {
                Some(name) => format!("returned {result} ({name})"),
                None => format!("returned {result}"),
            });
            if u64::from(took_ns) != drawn.end_ns - drawn.start_ns {
                facts.push(format!("took {}", duration(took_ns.into())));
            }
        }
        BoxKind::Blocking { task } => facts.push(format!("on the blocking pool, task {task}")),
        BoxKind::Run { task, stack } => facts.push(match stack {
            Some(stack) => format!("runs task {task} on stack {stack}"),
            None => format!("runs task {task}"),
        }),
        BoxKind::Parked { .. } => facts.push("nothing to do: asleep in the event queue".into()),
    }
    if drawn.cut_start {
        facts.push("began before the recording".into());
    }
    if drawn.cut_end {
        facts.push("had not ended when the recording was taken".into());
    }
    facts.join(", ")
}

/// What is known of a pause.
pub(super) fn about_pause(pause: &Pause) -> String {
    let mut text = match pause.kind {
        PauseKind::StackKept => "suspended, its stack kept".to_owned(),
        PauseKind::StackPutAway => "suspended, its stack put away".to_owned(),
    };
    if !pause.waits_for.is_empty() {
        text += &format!(", waits for {}", pause.waits_for);
    }
    if let Some(woken) = pause.woken_ns {
        let queued = duration(pause.end_ns.saturating_sub(woken));
        text += &format!(", then ready and queued for {queued}");
    }
    text
}

pub(super) fn outcome_word(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Pending => "pending",
        Outcome::Ready => "finished",
        Outcome::Panicked => "panicked",
        Outcome::Cancelled => "cancelled",
    }
}

/// The word for the kind of a lane.
pub(super) fn lane_word(kind: LaneKind) -> &'static str {
    match kind {
        LaneKind::Thread => "thread",
        LaneKind::Worker => "worker",
        LaneKind::Pool => "blocking pool",
        LaneKind::Task(_) => "task",
    }
}

fn error_name(result: i32) -> Option<&'static str> {
    let number = result.checked_neg()?;
    ERRORS.iter().find(|(known, _)| *known == number).map(|(_, name)| *name)
}

impl Diagram {
    /// For each lane, how long it ran: its lowest boxes without the pauses over them.
    pub(super) fn ran_ns(&self) -> Vec<u64> {
        let lanes = self.by_lane().into_iter();
        let length = |start: u64, end: u64| end.saturating_sub(start);
        lanes
            .map(|(boxes, pauses)| {
                let lowest = boxes.iter().filter(|drawn| drawn.row == 0);
                let awake = lowest.filter(|drawn| !matches!(drawn.kind, BoxKind::Parked { .. }));
                let stood: u64 = awake.map(|drawn| length(drawn.start_ns, drawn.end_ns)).sum();
                let lowest = pauses.iter().filter(|pause| pause.row == 0);
                stood.saturating_sub(lowest.map(|pause| length(pause.start_ns, pause.end_ns)).sum())
            })
            .collect()
    }
}
