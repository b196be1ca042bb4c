//! Records what ran when, cheaply enough to stay switched on.
//!
//! ```text
//!  worker 0 ── ThreadRecorder ─► ring of the newest N records ─┐
//!  worker 1 ── ThreadRecorder ─► ring …                        ├─ snapshot() ─► Recording
//!  pool 7   ── ThreadRecorder ─► ring …                        ┘   (from any thread, meanwhile)
//!              one writer each,     32 bytes a record:
//!              no locks             time, kind, what it was about
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
//! It draws nothing, writes no file, and knows none of the things it records but their numbers.
//!
//! # Example
//!
//! ```
//! use bifilar_timeline::{Event, Outcome, Recorder};
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
//! ```
#![forbid(unsafe_code)]

mod event;
mod packed;
mod primitives;
mod recorder;
mod recording;
mod ring;

pub use event::{Event, NO_TASK, Name, Outcome, StackId, TaskId, WorkerId};
pub use recorder::{Recorder, ThreadRecorder, enabled, set_enabled};
pub use recording::{Record, Recording, Track};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
