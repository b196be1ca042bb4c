//! What a flight recorder is to do, and when.

use super::{FlightRecorder, Owner, Trigger, files::Files, writer::Writer};
use crate::on_signal::on_signal;
use bifilar_timeline::{Recorder, Recording};
use std::{io, path::Path, sync::Arc, time::Duration};

/// As long apart are recordings for which nobody has asked.
const APART: Duration = Duration::from_secs(10);

/// As many of them there are.
const MOST: u32 = 32;

/// Chooses what triggers a [`FlightRecorder`], and where recordings go.
///
/// Without further words it writes when it is [called](FlightRecorder::write_now), and all that the
/// recorder has kept.
///
/// ```
/// use bifilar::{recording::FlightRecorder, timeline::Recorder};
/// use std::time::Duration;
///
/// let flight = FlightRecorder::builder(&Recorder::new(64 * 1024))
///     .on_panic()
///     .on_slow_poll(Duration::from_millis(100))
///     .on_signal(10) // SIGUSR1
///     .last(Duration::from_secs(5))
///     .write_to("/var/tmp/server.html")?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Debug)]
#[must_use = "nothing is written before `write_to` or `deliver_to` was called"]
pub struct FlightRecorderBuilder {
    pub(super) settings: Settings,
    signals: Vec<i32>,
}

#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub recorder: Recorder,
    pub last: Option<Duration>,
    pub panics: bool,
    pub slow_poll: Option<Duration>,
    /// Between two that are triggered by themselves.
    pub apart: Duration,
    /// That are triggered by themselves.
    pub most: u32,
}

impl FlightRecorderBuilder {
    pub(super) fn new(recorder: &Recorder) -> Self {
        let recorder = recorder.clone();
        let settings = Settings {
            recorder,
            last: None,
            panics: false,
            slow_poll: None,
            apart: APART,
            most: MOST,
        };
        FlightRecorderBuilder { settings, signals: Vec::new() }
    }

    /// Leaves out what happened more than `last` before the newest event. By default all is kept that
    /// the recorder has.
    pub fn last(mut self, last: Duration) -> Self {
        self.settings.last = Some(last);
        self
    }

    /// Triggered by a task that ends by a panic, a fiber, or a call of [`unblock`](crate::unblock): with
    /// the moment at which it did.
    pub fn on_panic(mut self) -> Self {
        self.settings.panics = true;
        self
    }

    /// Triggered by a poll of a task, or a fiber between two waits, that keeps its worker for `limit` or
    /// longer, by the clock: once when it ends, or while it goes on, if the monitor sees that first. The
    /// monitor looks every 10 ms.
    ///
    /// Time during which the system lets others run counts. Simulated time doesn't pass in a poll.
    pub fn on_slow_poll(mut self, limit: Duration) -> Self {
        self.settings.slow_poll = Some(limit);
        self
    }

    /// Triggered by a signal of this number: SIGUSR1, say, by `kill -USR1`. From then on the signal
    /// doesn't do any more what it does by default, as long as the process lives. Several that come while
    /// one is being written count as one.
    pub fn on_signal(mut self, signal: i32) -> Self {
        self.signals.push(signal);
        self
    }

    /// How long two recordings are apart that are triggered by panics, or two by slow polls: 10 s by
    /// default. What comes earlier is passed over; the next line in the log says how many those were.
    pub fn at_least_apart(mut self, apart: Duration) -> Self {
        self.settings.apart = apart;
        self
    }

    /// How many recordings are triggered by panics and slow polls, all together: 32 by default. After
    /// that only calls and signals trigger any.
    pub fn at_most(mut self, most: u32) -> Self {
        self.settings.most = most;
        self
    }

    /// Starts it: each recording goes to a file of its own, named after `path` with the time (UTC) and
    /// the trigger before its ending: `server.html` gives `server-20261122T043739Z-panic.html`. A file
    /// that is there already is never overwritten: the name gets a number instead.
    ///
    /// The ending says in which form: `svg`, `html`, `json` or `txt` for a
    /// [`Diagram`](crate::timeline::Diagram), `recording` for lines of text that can be
    /// [parsed](crate::timeline::Recording). What can't be written whole, because the disk is full,
    /// say, is removed again.
    ///
    /// Where it went, or that it could not be written, is a `tracing` event of target
    /// `bifilar::recording`; without a subscriber, failures go to stderr.
    ///
    /// # Errors
    /// `InvalidInput` for another ending, and for a signal that can't be used; `AlreadyExists` if the
    /// program has a handler for the signal; what the system says when it has no thread.
    pub fn write_to(self, path: impl AsRef<Path>) -> io::Result<FlightRecorder> {
        let files = Files::new(path.as_ref())?;
        self.deliver_to(move |trigger, recording| files.write(&trigger, &recording))
    }

    /// Starts it: each recording is given to `deliver`, one at a time, on a thread of its own. It may
    /// take its time, and fail or panic, which is told like a file that can't be written.
    ///
    /// # Errors
    /// As [`write_to`](Self::write_to).
    ///
    /// ```
    /// use bifilar::{Builder, fiber, recording::{FlightRecorder, Trigger}, timeline::Recorder};
    /// use std::sync::mpsc;
    ///
    /// let (sender, recordings) = mpsc::channel();
    /// let flight = FlightRecorder::builder(&Recorder::new(1_000))
    ///     .on_panic()
    ///     .deliver_to(move |trigger, recording| {
    ///         sender.send((trigger, recording)).map_err(std::io::Error::other)
    ///     })?;
    /// Builder::new().flight_recorder(&flight).run(|| {
    ///     assert!(fiber::spawn(|| panic!("expected")).join().is_err());
    /// });
    /// let (trigger, recording) = recordings.recv().unwrap();
    /// let Trigger::Panic { task } = trigger else { unreachable!() };
    /// let end = format!("poll-end task={task} outcome=panicked");
    /// assert!(recording.to_string().contains(&end));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn deliver_to(
        self,
        deliver: impl Fn(Trigger, Recording) -> io::Result<()> + Send + Sync + 'static,
    ) -> io::Result<FlightRecorder> {
        let writer = Writer::start(self.settings, Box::new(deliver))?;
        // From here on the thread ends when this is dropped.
        let owner = Arc::new(Owner { writer });
        for signal in self.signals {
            let owner = Arc::downgrade(&owner);
            on_signal(signal, move || {
                let Some(owner) = owner.upgrade() else { return false };
                owner.writer.post(Trigger::Signal(signal), None);
                true
            })?;
        }
        Ok(FlightRecorder { owner })
    }
}
