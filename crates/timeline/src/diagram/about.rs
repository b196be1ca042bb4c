//! What is said of a box when it is pointed at, the same in all pictures.

use super::scale::duration;
use super::{BoxKind, LaneKind, Pause, PauseKind, TimeBox};
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

/// What the time of a lane went by with, in nanoseconds. A system call of a task counts as running,
/// too; a worker's sleep doesn't.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sums {
    pub(super) ran_ns: u64,
    pub(super) in_calls_ns: u64,
    /// Suspended until woken.
    pub(super) waited_ns: u64,
    /// Woken, without a worker.
    pub(super) ready_ns: u64,
}

pub(super) fn sums(boxes: &[TimeBox], pauses: &[Pause]) -> Sums {
    let mut sums = Sums::default();
    for drawn in boxes {
        let length = drawn.end_ns - drawn.start_ns;
        match drawn.kind {
            BoxKind::SystemCall { .. } => sums.in_calls_ns += length,
            BoxKind::Parked { .. } => continue,
            _ => {}
        }
        if drawn.row == 0 {
            sums.ran_ns += length;
        }
    }
    for pause in pauses.iter().filter(|pause| pause.row == 0) {
        let woken_ns = pause.woken_ns.unwrap_or(pause.end_ns);
        sums.waited_ns += woken_ns.saturating_sub(pause.start_ns);
        sums.ready_ns += pause.end_ns.saturating_sub(woken_ns);
    }
    sums.ran_ns = sums.ran_ns.saturating_sub(sums.waited_ns + sums.ready_ns);
    sums
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Diagram;

    #[test]
    fn the_time_of_a_lane_is_accounted_for() {
        let recording: crate::Recording = "\
thread worker 0
0 worker-park worker=0
100 worker-unpark worker=0
100 poll-begin task=1 stack=0
150 system-call fd=1 bytes=1 result=1 took=20 name=read
200 stack-suspend task=1 stack=0 name=readable
500 wake from=0 to=1
600 stack-resume task=1 stack=0
900 poll-end task=1 outcome=ready
"
        .parse()
        .unwrap();
        let diagram = Diagram::from(&recording);
        let found: Vec<Sums> =
            diagram.by_lane().into_iter().map(|(boxes, pauses)| sums(boxes, pauses)).collect();
        let worker = Sums { ran_ns: 400, ..Sums::default() };
        let task = Sums { ran_ns: 400, in_calls_ns: 20, waited_ns: 300, ready_ns: 100 };
        assert_eq!(found, [worker, task]);
    }
}
