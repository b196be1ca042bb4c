//! Records what ran when, cheaply enough to stay switched on, and draws it.
//!
//! ```text
//!  worker 0 ── ThreadRecorder ─► ring of the newest N records ─┐
//!  worker 1 ── ThreadRecorder ─► ring …                        ├─ snapshot() ─► Recording ─► Diagram
//!  pool 7   ── ThreadRecorder ─► ring …                        ┘   (from any      lines of    .svg
//!              one writer each,     32 bytes a record:              thread,       text        .html
//!              no locks             time, kind, what it was about   meanwhile)                .json
//!                                                                                             .txt
//! ```
//!
//! Each thread writes to a ring of its own that keeps the newest records and counts those it had
//! to forget: a flight recorder. A snapshot copies all rings while their owners go on writing, and
//! leaves out what was overwritten under its hands.
//!
//! What can be recorded is a closed list, [`Event`]: no strings but interned [`Name`]s, no
//! allocation, nothing to format. The clock can be replaced, so that a simulated run records the
//! same times whenever it is repeated.
//!
//! A [`Diagram`] shows a recording as a lane for each thread and each task, in which calls are boxes
//! that stand on their callers while time runs from left to right, up to the system calls.
//!
//! | module | what it does |
//! |---|---|
//! | `event` | [`Event`]: what can be recorded |
//! | `recorder`, `ring`, `packed` | recording: one ring a thread, records of four words |
//! | `recording`, `lines` | [`Recording`]: what a snapshot brings, and as lines of text |
//! | `renumber` | small numbers for its tasks, so that recordings can be compared |
//! | `diagram` | [`Diagram`]: lanes, boxes, pauses and arrows, from events (`build`, `orphans`) |
//! | `diagram::{svg, html, trace, text}` | the pictures; `html` holds a script and a style of its own |
//!
//! It knows none of the things it records but their numbers, and depends on nothing.
//!
//! # Example
//!
//! ```
//! use bifilar_timeline::{Diagram, Event, Outcome, Recorder};
//!
//! bifilar_timeline::set_enabled(true);
//! let recorder = Recorder::new(1024);
//! let worker = recorder.thread("worker 0");
//!
//! worker.record(Event::PollBegin { task: 7, stack: 0 });
//! worker.record(Event::PollEnd { task: 7, outcome: Outcome::Pending });
//!
//! let recording = recorder.snapshot();
//! let track = &recording.threads[0];
//! assert_eq!((track.name.as_str(), track.lost), ("worker 0", 0));
//! assert_eq!(track.events[0].event, Event::PollBegin { task: 7, stack: 0 });
//! assert!(track.events[0].time_ns <= track.events[1].time_ns);
//!
//! let diagram = Diagram::from(&recording).titled("one poll");
//! println!("{}", diagram.text(80));
//! # let path = std::env::temp_dir().join(format!("bifilar-timeline-{}.svg", std::process::id()));
//! diagram.write_to(&path)?; // or .html, .json, .txt
//! # std::fs::remove_file(path)?;
//! # Ok::<(), std::io::Error>(())
//! ```
#![forbid(unsafe_code)]

mod diagram;
mod event;
mod lines;
mod packed;
mod primitives;
mod recorder;
mod recording;
mod renumber;
mod ring;

pub use diagram::{
    Arrow, ArrowKind, BoxKind, Diagram, Lane, LaneKind, Mark, Pause, PauseKind, TimeBox,
};
pub use event::{Event, NO_TASK, Name, Outcome, StackId, TaskId, WorkerId};
pub use lines::ParseError;
pub use recorder::{Recorder, ThreadRecorder, enabled, set_enabled, switches};
pub use recording::{Record, Recording, Track};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
