//! [`Recorder`] hands out one [`ThreadRecorder`] per thread and takes snapshots of all of them.
//!
//! ```text
//!  Recorder (clone it freely) ──► shared: clock, names, list of rings      locks: only to add a
//!                                                            ▲             name or a thread, and
//!  ThreadRecorder (stays with its thread) ──► its ring ──────┘             for a snapshot
//! ```
//!
//! Recording takes no lock and allocates nothing: it reads the clock and writes a slot of the
//! ring. Everything has a bound: records per thread, names, and finished threads whose records
//! are still kept.

use crate::event::{Event, Name};
use crate::packed::{pack, unpack};
use crate::recording::{Record, Recording, Track};
use crate::ring::{Copied, Cursor, Ring};
use std::cell::Cell;
use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// Names a recorder keeps at most; further ones become [`Name::NONE`].
const MAX_NAMES: usize = 1 << 16;

/// Threads that are finished and whose records are kept all the same; the oldest go first.
const MAX_FINISHED: usize = 64;

/// Relaxed throughout, as the next one: nothing else is published by it, and a record more or less at the
/// moment of switching doesn't matter.
static ENABLED: AtomicBool = AtomicBool::new(false);

/// How often `ENABLED` has changed.
static SWITCHES: AtomicU32 = AtomicU32::new(0);

/// Whether recording is switched on, in this process; at first it is not.
///
/// One relaxed load, for a branch around whatever is only done for the record.
///
/// ```
/// use bifilar_timeline::{enabled, set_enabled};
/// set_enabled(true);
/// assert!(enabled());
/// ```
#[inline]
pub fn enabled() -> bool {
    ENABLED.load(Ordering::Relaxed)
}

/// Switches recording on or off for all recorders of this process.
///
/// Other threads see it soon, not at once. Records made before stay.
///
/// ```
/// bifilar_timeline::set_enabled(true);
/// ```
pub fn set_enabled(enabled: bool) {
    if ENABLED.swap(enabled, Ordering::Relaxed) != enabled {
        SWITCHES.fetch_add(1, Ordering::Relaxed);
    }
}

/// How often recording was switched on or off in this process, from [`set_enabled`]: for who keeps
/// something from one event to the next, and must know whether there may have been others between.
///
/// ```
/// use bifilar_timeline::{set_enabled, switches};
/// set_enabled(true);
/// let before = switches();
/// set_enabled(true);
/// assert_eq!(switches(), before);
/// set_enabled(false);
/// assert_ne!(switches(), before);
/// ```
#[inline]
pub fn switches() -> u32 {
    SWITCHES.load(Ordering::Relaxed)
}

/// Keeps the newest records of every thread that asked for a [`ThreadRecorder`].
///
/// Clones are the same recorder.
///
/// ```
/// use bifilar_timeline::{Event, Recorder};
/// use std::thread;
///
/// bifilar_timeline::set_enabled(true);
/// let recorder = Recorder::new(1000);
/// thread::scope(|scope| {
///     for worker in 0..2 {
///         let thread = recorder.thread(&format!("worker {worker}"));
///         scope.spawn(move || thread.record(Event::WorkerPark { worker }));
///     }
/// });
/// assert_eq!(recorder.snapshot().in_order().len(), 2);
/// ```
#[derive(Clone)]
pub struct Recorder {
    shared: Arc<Shared>,
}

struct Shared {
    clock: Clock,
    kept: usize,
    rings: Mutex<Vec<(String, Arc<Ring>)>>,
    names: Mutex<Names>,
}

/// Where the times come from.
enum Clock {
    Monotonic { start: Instant },
    Given(Box<dyn Fn() -> u64 + Send + Sync>),
}

impl Clock {
    #[inline]
    fn now_ns(&self) -> u64 {
        match self {
            Clock::Monotonic { start } => start.elapsed().as_nanos() as u64, // 584 years
            Clock::Given(now_ns) => now_ns(),
        }
    }
}

struct Names {
    numbers: HashMap<Arc<str>, Name>,
    strings: Vec<Arc<str>>,
}

impl Recorder {
    /// A recorder that keeps the newest `capacity_per_thread` records of each thread, 32 bytes
    /// each; its clock is monotonic and starts at zero, now.
    ///
    /// ```
    /// use bifilar_timeline::Recorder;
    /// let recorder = Recorder::new(64 * 1024); // 2 MiB a thread
    /// assert!(recorder.snapshot().threads.is_empty());
    /// ```
    pub fn new(capacity_per_thread: usize) -> Self {
        Self::build(capacity_per_thread, Clock::Monotonic { start: Instant::now() })
    }

    /// A recorder with a clock of yours: a function that says the time in nanoseconds, and never
    /// goes back on one thread.
    ///
    /// With a simulated clock, repeated runs make equal recordings.
    ///
    /// ```
    /// use bifilar_timeline::{Event, Recorder};
    /// use std::sync::Arc;
    /// use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
    ///
    /// # bifilar_timeline::set_enabled(true);
    /// let clock = Arc::new(AtomicU64::new(0));
    /// let recorder = Recorder::with_clock(16, {
    ///     let clock = clock.clone();
    ///     move || clock.load(Relaxed)
    /// });
    /// let thread = recorder.thread("simulated");
    /// clock.store(1_000_000, Relaxed);
    /// thread.record(Event::TimerFired { deadline_ns: 1_000_000 });
    /// assert_eq!(recorder.snapshot().threads[0].events[0].time_ns, 1_000_000);
    /// ```
    pub fn with_clock(
        capacity_per_thread: usize,
        now_ns: impl Fn() -> u64 + Send + Sync + 'static,
    ) -> Self {
        Self::build(capacity_per_thread, Clock::Given(Box::new(now_ns)))
    }

    fn build(kept: usize, clock: Clock) -> Self {
        let none: Arc<str> = "".into();
        let names =
            Names { numbers: HashMap::from([(none.clone(), Name::NONE)]), strings: vec![none] };
        let shared =
            Shared { clock, kept, rings: Mutex::new(Vec::new()), names: Mutex::new(names) };
        Self { shared: Arc::new(shared) }
    }

    /// A ring for one thread, to be called `name` in recordings.
    ///
    /// Its memory is allocated here, and kept after the thread has finished, so that its end can
    /// be looked at: of finished threads the newest 64 stay.
    ///
    /// ```
    /// # use bifilar_timeline::Recorder;
    /// let recorder = Recorder::new(16);
    /// let thread = recorder.thread("worker 0");
    /// assert_eq!(recorder.snapshot().threads[0].name, "worker 0");
    /// ```
    pub fn thread(&self, name: &str) -> ThreadRecorder {
        let ring = Arc::new(Ring::new(self.shared.kept));
        let mut rings = lock(&self.shared.rings);
        // A ring that nobody but this list holds has no writer left.
        let is_finished = |ring: &Arc<Ring>| Arc::strong_count(ring) == 1;
        let finished = rings.iter().filter(|(_, ring)| is_finished(ring)).count();
        let mut too_many = finished.saturating_sub(MAX_FINISHED);
        rings.retain(|(_, ring)| {
            let goes = too_many > 0 && is_finished(ring);
            too_many -= usize::from(goes);
            !goes
        });
        rings.push((name.to_owned(), ring.clone()));
        ThreadRecorder { shared: self.shared.clone(), ring, cursor: Cell::default() }
    }

    /// The number of a string in this recorder; the same for equal strings.
    ///
    /// Takes a lock: ask once and keep the answer. A recorder keeps 65,536 names; from then on
    /// new ones become [`Name::NONE`].
    ///
    /// ```
    /// # use bifilar_timeline::{Name, Recorder};
    /// let recorder = Recorder::new(16);
    /// assert_eq!(recorder.name("read"), recorder.name("read"));
    /// assert_ne!(recorder.name("read"), recorder.name("write"));
    /// assert_eq!(recorder.name(""), Name::NONE);
    /// ```
    pub fn name(&self, name: &str) -> Name {
        let mut names = lock(&self.shared.names);
        if let Some(number) = names.numbers.get(name) {
            return *number;
        }
        if names.strings.len() == MAX_NAMES {
            return Name::NONE;
        }
        let number = Name(names.strings.len() as u32);
        let string: Arc<str> = name.into();
        names.strings.push(string.clone());
        names.numbers.insert(string, number);
        number
    }

    /// What time it is on the clock of this recorder, in nanoseconds.
    ///
    /// ```
    /// # use bifilar_timeline::Recorder;
    /// let recorder = Recorder::with_clock(16, || 42);
    /// assert_eq!(recorder.now_ns(), 42);
    /// ```
    #[inline]
    pub fn now_ns(&self) -> u64 {
        self.shared.clock.now_ns()
    }

    /// A copy of what all threads have recorded up to now, while they go on recording.
    ///
    /// Each track is whole up to some moment during the call, a little later for each thread
    /// than for the one before it. What a fast thread overwrites while its track is copied is
    /// counted as lost.
    ///
    /// ```
    /// # use bifilar_timeline::Recorder;
    /// let recording = Recorder::new(16).snapshot();
    /// assert!(recording.in_order().is_empty());
    /// ```
    pub fn snapshot(&self) -> Recording {
        let rings = lock(&self.shared.rings).clone();
        let threads = rings.into_iter().map(|(name, ring)| track(name, &ring)).collect();
        // After the rings: so every name that stands in them is there.
        let names = lock(&self.shared.names).strings.clone();
        Recording { threads, names }
    }
}

fn track(name: String, ring: &Ring) -> Track {
    let Copied { records, lost } = ring.copy();
    let mut events: Vec<Record> = records.into_iter().filter_map(unpack).collect();
    events.sort_by_key(|record| record.time_ns); // in order already, unless `record_at` was used
    Track { name, events, lost }
}

/// Nothing under these locks can be left half done, so a panic of another thread means nothing.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Debug for Recorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recorder").field("capacity_per_thread", &self.shared.kept).finish()
    }
}

/// Records what happens on one thread; made by [`Recorder::thread`].
///
/// It can be moved to its thread, and not be shared: a ring has one writer.
///
/// ```compile_fail,E0277
/// fn shared<T: Sync>(_: T) {}
/// shared(bifilar_timeline::Recorder::new(16).thread("worker 0"));
/// ```
pub struct ThreadRecorder {
    shared: Arc<Shared>,
    ring: Arc<Ring>,
    /// Where the next record goes. The `Cell` also makes this type `!Sync`.
    cursor: Cell<Cursor>,
}

impl ThreadRecorder {
    /// Records that `event` happens now; does nothing while recording is [off](enabled).
    ///
    /// ```
    /// # use bifilar_timeline::{Event, Recorder};
    /// # bifilar_timeline::set_enabled(true);
    /// # let recorder = Recorder::new(16);
    /// # let thread = recorder.thread("worker 0");
    /// thread.record(Event::Wake { from: 3, to: 4 });
    /// # assert_eq!(recorder.snapshot().threads[0].events.len(), 1);
    /// ```
    #[inline]
    pub fn record(&self, event: Event) {
        if enabled() {
            self.push(self.shared.clock.now_ns(), event);
        }
    }

    /// Records that `event` happened at `time_ns`, for a caller who has read the clock already;
    /// does nothing while recording is [off](enabled).
    ///
    /// ```
    /// # use bifilar_timeline::{Event, Recorder};
    /// # bifilar_timeline::set_enabled(true);
    /// # let recorder = Recorder::new(16);
    /// # let thread = recorder.thread("worker 0");
    /// let now = recorder.now_ns();
    /// thread.record_at(now, Event::Wake { from: 3, to: 4 });
    /// thread.record_at(now, Event::Wake { from: 3, to: 5 });
    /// # assert_eq!(recorder.snapshot().threads[0].events.len(), 2);
    /// ```
    #[inline(always)]
    pub fn record_at(&self, time_ns: u64, event: Event) {
        if enabled() {
            self.push(time_ns, event);
        }
    }

    /// Inlined wherever the kind of the event is known, so that nobody has to look which it is.
    #[inline(always)]
    fn push(&self, time_ns: u64, event: Event) {
        let mut cursor = self.cursor.get();
        self.ring.push(&mut cursor, pack(Record { time_ns, event }));
        self.cursor.set(cursor);
    }
}

impl fmt::Debug for ThreadRecorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ThreadRecorder").finish_non_exhaustive()
    }
}
