//! What was under way when a recording began: ends whose beginnings are not in it.
//!
//! A ring keeps the newest records, so a track may begin in the middle of anything. Each such end
//! tells of something that was open from the start of its track:
//!
//! ```text
//!  recorded:              … read ┐  end of span 2, end of span 1, end of poll ┐
//!  hence, at the start:   poll begins, span 1 begins, span 2 begins           │
//!                         (the order of the ends, turned round) ◄─────────────┘
//! ```
//!
//! An end in the middle of a track that fits nothing is not explained by lost records; it is left
//! for `build` to ignore.

use crate::event::{Event, Name, Outcome, TaskId, WorkerId};
use crate::recording::{Record, Recording};
use std::collections::{HashMap, HashSet};

/// Something that was open when its track began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Opening {
    Poll { task: TaskId },
    Span { task: TaskId, span: u64 },
    Blocking { task: TaskId, name: Name },
    Parked { worker: WorkerId },
}

/// One step of the story that `build` follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Was open already.
    Open(Opening),
    /// Happened.
    Event(Event),
}

/// All that happened on all threads, in order of time: `(time, number of the track, what)`.
pub(super) fn story(recording: &Recording) -> Vec<(u64, usize, Step)> {
    let mut records: Vec<(usize, &Record)> = Vec::new();
    for (track, thread) in recording.threads.iter().enumerate() {
        records.extend(thread.events.iter().map(|record| (track, record)));
    }
    records.sort_by_key(|(_, record)| record.time_ns); // stable: equal times stay in order

    let mut steps = Vec::with_capacity(records.len());
    for (track, openings) in openings(recording.threads.len(), &records).into_iter().enumerate() {
        if let Some(start_ns) = recording.threads[track].events.first().map(began_ns) {
            let opened = openings.into_iter().rev();
            steps.extend(opened.map(|opening| (start_ns, track, Step::Open(opening))));
        }
    }
    steps.extend(records.iter().map(|(track, r)| (r.time_ns, *track, Step::Event(r.event))));
    steps.sort_by_key(|(time_ns, _, _)| *time_ns);
    steps
}

/// When what a record tells of began.
pub(super) fn began_ns(record: &Record) -> u64 {
    match record.event {
        Event::SystemCall { took_ns, .. } => record.time_ns.saturating_sub(took_ns.into()),
        _ => record.time_ns,
    }
}

/// What is known of a track while reading it.
#[derive(Clone, Copy, Default)]
struct Seen {
    /// It has polled or parked.
    loops: bool,
    /// It has called something that blocks.
    blocks: bool,
}

/// For each track what was open at its start, in the order of the ends.
fn openings(tracks: usize, records: &[(usize, &Record)]) -> Vec<Vec<Opening>> {
    let mut openings = vec![Vec::new(); tracks];
    let mut seen = vec![Seen::default(); tracks];
    let mut paused: HashSet<TaskId> = HashSet::new();
    let mut open_spans: HashMap<u64, u32> = HashMap::new();
    for (track, record) in records {
        let seen = &mut seen[*track];
        let mut orphan = |opening| openings[*track].push(opening);
        match record.event {
            Event::PollBegin { task, .. } | Event::StackResume { task, .. } => {
                paused.remove(&task);
                seen.loops = true;
            }
            Event::PollEnd { task, outcome } if outcome != Outcome::Pending => {
                // Only a task that is cancelled while it is suspended ends without running.
                let needs_no_poll = paused.remove(&task) && outcome == Outcome::Cancelled;
                if !seen.loops && !needs_no_poll {
                    orphan(Opening::Poll { task });
                }
                seen.loops = true;
            }
            Event::PollEnd { task, .. } | Event::StackSuspend { task, .. } => {
                if !seen.loops {
                    orphan(Opening::Poll { task });
                }
                paused.insert(task);
                seen.loops = true;
            }
            Event::WorkerPark { .. } => seen.loops = true,
            Event::WorkerUnpark { worker } => {
                if !seen.loops {
                    orphan(Opening::Parked { worker });
                }
                seen.loops = true;
            }
            Event::BlockingBegin { .. } => seen.blocks = true,
            Event::BlockingEnd { task, name } => {
                if !seen.blocks {
                    orphan(Opening::Blocking { task, name });
                }
                seen.blocks = true;
            }
            Event::SpanBegin { span, .. } => *open_spans.entry(span).or_default() += 1,
            Event::SpanEnd { task, span } => match open_spans.get_mut(&span) {
                Some(open) if *open > 0 => *open -= 1,
                _ => orphan(Opening::Span { task, span }),
            },
            _ => {}
        }
    }
    openings
}
