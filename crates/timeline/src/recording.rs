//! What a snapshot brings: plain data, detached from the recorder.
//!
//! It is for reading: diagrams are drawn from it and tests compare it. Nothing here is shared with
//! the threads that go on recording.

use crate::event::{Event, Name};
use std::{sync::Arc, time::Duration};

/// Something that happened, and when.
///
/// ```
/// use bifilar_timeline::{Event, Record};
/// let record = Record { time_ns: 1_500, event: Event::WorkerPark { worker: 0 } };
/// assert_eq!(record.time_ns, 1_500);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Record {
    /// Nanoseconds on the clock of the recorder.
    pub time_ns: u64,
    /// What happened.
    pub event: Event,
}

/// What one thread has recorded.
///
/// ```
/// # use bifilar_timeline::{Event, Recorder};
/// # bifilar_timeline::set_enabled(true);
/// let recorder = Recorder::new(2);
/// let thread = recorder.thread("worker 0");
/// for worker in 0..5 {
///     thread.record(Event::WorkerPark { worker });
/// }
/// let track = &recorder.snapshot().threads[0];
/// assert_eq!((track.events.len(), track.lost), (2, 3));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Track {
    /// The name given to [`Recorder::thread`](crate::Recorder::thread).
    pub name: String,
    /// In the order of their times.
    pub events: Vec<Record>,
    /// How many older records were overwritten.
    pub lost: u64,
}

/// What all threads have recorded, at one moment.
///
/// ```
/// # use bifilar_timeline::{Event, Recorder};
/// # bifilar_timeline::set_enabled(true);
/// let recorder = Recorder::new(16);
/// let (one, two) = (recorder.thread("one"), recorder.thread("two"));
/// two.record_at(5, Event::WorkerPark { worker: 2 });
/// one.record_at(9, Event::WorkerPark { worker: 1 });
///
/// let recording = recorder.snapshot();
/// let names: Vec<&str> =
///     recording.in_order().iter().map(|(track, _)| track.name.as_str()).collect();
/// assert_eq!(names, ["two", "one"]);
/// ```
#[derive(Clone, Debug)]
pub struct Recording {
    /// One track for each thread, in the order in which they were registered.
    pub threads: Vec<Track>,
    pub(crate) names: Vec<Arc<str>>,
}

impl Recording {
    /// The string behind a name; empty for [`Name::NONE`] and for names of another recorder.
    ///
    /// ```
    /// # use bifilar_timeline::Recorder;
    /// let recorder = Recorder::new(16);
    /// let name = recorder.name("accept");
    /// assert_eq!(recorder.snapshot().name(name), "accept");
    /// ```
    pub fn name(&self, name: Name) -> &str {
        self.names.get(name.0 as usize).map_or("", |name| name)
    }

    /// What happened at most `last` before the newest record; what is left out counts as lost.
    ///
    /// ```
    /// use bifilar_timeline::Recording;
    /// use std::time::Duration;
    ///
    /// let recording: Recording = "\
    /// thread one
    /// 100 worker-park worker=0
    /// 250 worker-unpark worker=0
    /// thread two
    /// 300 worker-park worker=1
    /// ".parse()?;
    /// let last = recording.clone().last(Duration::from_nanos(100));
    /// assert_eq!((last.threads[0].events.len(), last.threads[0].lost), (1, 1));
    /// assert_eq!(last.threads[1], recording.threads[1]);
    /// # Ok::<(), bifilar_timeline::ParseError>(())
    /// ```
    #[must_use]
    pub fn last(mut self, last: Duration) -> Recording {
        let newest_ns = self.threads.iter().filter_map(|track| track.events.last());
        let newest_ns = newest_ns.map(|record| record.time_ns).max().unwrap_or(0);
        let last_ns = u64::try_from(last.as_nanos()).unwrap_or(u64::MAX);
        for track in &mut self.threads {
            let from_ns = newest_ns.saturating_sub(last_ns);
            let old = track.events.partition_point(|record| record.time_ns < from_ns);
            track.events.drain(..old);
            track.lost += old as u64;
        }
        self
    }

    /// The records of all threads in the order of their times; at equal times, in the order of
    /// the threads.
    ///
    /// See the example of [`Recording`].
    pub fn in_order(&self) -> Vec<(&Track, &Record)> {
        let mut all: Vec<_> = self
            .threads
            .iter()
            .flat_map(|track| track.events.iter().map(move |record| (track, record)))
            .collect();
        all.sort_by_key(|(_, record)| record.time_ns);
        all
    }
}
