//! The flight recorder: what ran of late, handed over when something happens.
//!
//! ```text
//!   a call ───────────────┐
//!   a signal (its thread) ┤                                     thread "bifilar-flight"
//!   a panic (its worker)  ┼─► may it, is there room? ─► queue ─► snapshot ─► the last N seconds of it
//!   a slow poll (worker,  ┘      ([`limits`])                         ──► deliver: a file, a callback
//!     or the monitor)
//! ```
//!
//! Whoever triggers it only puts something into a queue. What costs time has a thread of its own, which
//! belongs to no runtime: so it works while all workers are held up, and what it does is neither recorded
//! nor a trigger.
//!
//! | module | what |
//! |---|---|
//! | `builder` | what is to be done, when |
//! | `limits` | how often a storm of panics or slow polls may trigger it |
//! | `writer` | the queue and the thread |
//! | `files` | the ready-made way to deliver: a file for each recording |
//!
//! What it deliberately does not do: record. That is `record`'s, and the crate `timeline`'s.

mod builder;
mod files;
mod limits;
mod writer;

pub use builder::FlightRecorderBuilder;

use crate::{record, sync::oneshot};
use bifilar_timeline::{Recorder, TaskId};
use std::{
    fmt, io,
    sync::Arc,
    time::{Duration, Instant},
};
use writer::Writer;

/// Hands over what ran of late when something happens: a panic, a poll that takes long, a signal, a call.
///
/// Recording goes on all the time, into rings of a fixed size, and costs little (`bench/README.md` says how
/// much). When a trigger comes, a thread of its own takes a snapshot a moment later and writes it to a
/// file, or gives it to a callback. Workers don't wait for it.
///
/// Clones are the same flight recorder. It is made by a [`builder`](FlightRecorder::builder), and given to
/// [`Builder::flight_recorder`](crate::Builder::flight_recorder); several runtimes may share one.
///
/// A runtime that ends waits, within the limit of its end, until what was triggered before has been
/// delivered. Where panics abort, a panic triggers nothing: write from a panic hook there.
///
/// ```
/// use bifilar::{Builder, fiber, recording::FlightRecorder, timeline::Recorder};
///
/// # let directory = std::env::temp_dir().join(format!("bifilar-flight-{}", std::process::id()));
/// # std::fs::create_dir_all(&directory)?;
/// let recorder = Recorder::new(1_000); // events of each thread, 32 bytes each
/// let flight = FlightRecorder::builder(&recorder)
///     .on_panic()
///     .write_to(directory.join("crash.html"))?; // crash-20261122T043739Z-panic.html
/// Builder::new().flight_recorder(&flight).run(|| {
///     assert!(fiber::spawn(|| panic!("expected")).join().is_err());
/// });
/// let file = std::fs::read_dir(&directory)?.next().unwrap()?;
/// assert!(file.file_name().to_str().unwrap().ends_with("-panic.html"));
/// # std::fs::remove_dir_all(directory)?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone)]
pub struct FlightRecorder {
    owner: Arc<Owner>,
}

/// Why a [`FlightRecorder`] has handed over what ran of late.
///
/// ```
/// use bifilar::recording::Trigger;
/// assert_eq!(Trigger::Panic { task: 7 }.to_string(), "task 7 has panicked");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Trigger {
    /// [`FlightRecorder::write_now`] was called.
    Call,
    /// This signal has come.
    Signal(i32),
    /// A task, or a call of [`unblock`](crate::unblock), has ended by a panic.
    Panic {
        /// Its number, as in the recording.
        task: TaskId,
    },
    /// A poll of a task, or a fiber between two waits, has kept its worker for long.
    SlowPoll {
        /// Its number, as in the recording.
        task: TaskId,
        /// For how long until now.
        took: Duration,
        /// Whether the poll has ended.
        ended: bool,
    },
}

impl Trigger {
    /// In names of files.
    fn word(&self) -> &'static str {
        match self {
            Trigger::Call => "call",
            Trigger::Signal(_) => "signal",
            Trigger::Panic { .. } => "panic",
            Trigger::SlowPoll { .. } => "slow-poll",
        }
    }
}

impl fmt::Display for Trigger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Trigger::Call => f.write_str("it was asked for"),
            Trigger::Signal(signal) => write!(f, "signal {signal} has come"),
            Trigger::Panic { task } => write!(f, "task {task} has panicked"),
            Trigger::SlowPoll { task, took, ended } => {
                let verb = if *ended { "took" } else { "has taken" };
                write!(f, "a poll of task {task} {verb} {} ms", took.as_millis())
            }
        }
    }
}

impl FlightRecorder {
    /// A flight recorder that hands over what `recorder` has recorded: how much of it is a matter of the
    /// recorder's capacity, and of [`last`](FlightRecorderBuilder::last).
    pub fn builder(recorder: &Recorder) -> FlightRecorderBuilder {
        FlightRecorderBuilder::new(recorder)
    }

    /// Hands over what there is now.
    ///
    /// The future is ready when it has been delivered. It needn't be waited for; but the end of a program
    /// doesn't wait, either.
    ///
    /// # Errors
    /// What the delivery returned; `WouldBlock` if 64 others are to be delivered before; `Other` if the
    /// callback has panicked.
    ///
    /// # Cancellation
    /// It is delivered all the same.
    ///
    /// ```
    /// use bifilar::{Builder, Wait, recording::{FlightRecorder, Trigger}, timeline::Recorder};
    ///
    /// let recorder = Recorder::new(1_000);
    /// let flight = FlightRecorder::builder(&recorder).deliver_to(|trigger, recording| {
    ///     assert_eq!(trigger, Trigger::Call);
    ///     assert!(recording.to_string().contains("name=main"));
    ///     Ok(())
    /// })?;
    /// Builder::new().workers(1).flight_recorder(&flight).run(|| flight.write_now().wait())?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn write_now(&self) -> impl Future<Output = io::Result<()>> + Send + use<> {
        let (sender, receiver) = oneshot::channel();
        let posted = self.owner.writer.post(Trigger::Call, Some(sender));
        async move {
            if !posted {
                let message = "too many recordings are to be written before";
                return Err(io::Error::new(io::ErrorKind::WouldBlock, message));
            }
            receiver.await.unwrap_or_else(|_| Err(io::Error::other("delivering has panicked")))
        }
    }

    /// What it hands over, from a recorder that runtimes record with.
    pub(crate) fn recorder(&self) -> &Recorder {
        &self.owner.writer.settings.recorder
    }

    /// Who is to be told of what happens.
    pub(crate) fn watch(&self) -> Arc<dyn record::Watch> {
        self.owner.clone()
    }

    /// From how long on a poll is slow, if that is watched.
    pub(crate) fn slow_poll(&self) -> Option<Duration> {
        self.owner.writer.settings.slow_poll
    }

    /// Waits until all that was triggered before has been delivered, until `deadline` at most (`None`: as
    /// long as it takes). `false`: it has not. On its own thread it doesn't wait.
    pub(crate) fn flush(&self, deadline: Option<Instant>) -> bool {
        self.owner.writer.flush(deadline)
    }
}

impl fmt::Debug for FlightRecorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.owner.writer.settings.fmt(f)
    }
}

/// Ends the thread, once it has delivered what is queued, when nobody is left to trigger anything.
struct Owner {
    writer: Arc<Writer>,
}

impl record::Watch for Owner {
    fn slow_ns(&self) -> Option<u64> {
        self.writer
            .settings
            .slow_poll
            .map(|limit| u64::try_from(limit.as_nanos()).unwrap_or(u64::MAX))
    }

    fn slow_poll(&self, task: TaskId, took_ns: u64, ended: bool) {
        let took = Duration::from_nanos(took_ns);
        self.writer.post(Trigger::SlowPoll { task, took, ended }, None);
    }

    fn panicked(&self, task: TaskId) {
        if self.writer.settings.panics {
            self.writer.post(Trigger::Panic { task }, None);
        }
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.writer.close();
    }
}
