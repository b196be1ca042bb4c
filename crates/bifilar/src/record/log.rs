//! The log of a thread: events with their times, and names with their numbers.
//!
//! # One look at the clock for several events
//!
//! A look at the clock costs as much as all the rest of an event. Some events follow another one of
//! their thread with nothing but a few steps of the runtime between, and take its time:
//!
//! | event | takes the time of |
//! |---|---|
//! | `IoReady` | the return of the system call that reported it, which was recorded just before |
//! | `Wake` by no task, after an `IoReady` | the same |
//! | `PollBegin`, `StackResume` | the poll that was left just before (`StackSuspend`, `PollEnd` of a pending one) |
//!
//! Times never go back on a thread. Nor between threads: what follows from an event of another thread
//! reads the clock, for which [`meet_others`](Log::meet_others) sees to it.

use super::polls::{Running, Watch};
use bifilar_timeline::{
    self as timeline, Event, NO_TASK, Name, Outcome, Recorder, TaskId, ThreadRecorder,
};
use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    fmt,
    hash::{BuildHasherDefault, Hasher},
    panic::Location,
    path::Path,
    ptr,
    rc::Rc,
    sync::{Arc, Mutex, PoisonError, Weak},
};

/// What a runtime records with.
pub(crate) struct Source {
    recorder: Recorder,
    /// The time in nanoseconds, unless it is the recorder's own.
    clock: Option<Clock>,
    /// Who is told of panics and slow polls. Not kept alive: threads keep logs when they take part no more.
    watch: Option<Weak<dyn Watch>>,
    /// From how many nanoseconds on a poll is slow, if that is watched.
    pub(super) slow_ns: Option<u64>,
    /// What threads run, if polls are watched.
    pub(super) running: Mutex<Vec<Weak<Running>>>,
}

type Clock = Box<dyn Fn() -> u64 + Send + Sync>;

impl Source {
    /// Switches recording on.
    pub fn new(
        recorder: Recorder,
        clock: Option<Clock>,
        watch: Option<Arc<dyn Watch>>,
    ) -> Arc<Self> {
        timeline::set_enabled(true);
        let slow_ns = watch.as_ref().and_then(|watch| watch.slow_ns());
        let watch = watch.as_ref().map(Arc::downgrade);
        Arc::new(Source { recorder, clock, watch, slow_ns, running: Mutex::default() })
    }

    pub(super) fn watch(&self) -> Option<Arc<dyn Watch>> {
        self.watch.as_ref()?.upgrade()
    }

    pub(super) fn now_ns(&self) -> u64 {
        self.clock.as_ref().map_or_else(|| self.recorder.now_ns(), |clock| clock())
    }

    /// See [`Running`]; only if somebody is to be told.
    fn watched(&self) -> Option<Arc<Running>> {
        self.slow_ns?;
        let running = Arc::new(Running::default());
        let mut all = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|thread| thread.strong_count() > 0);
        all.push(Arc::downgrade(&running));
        Some(running)
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.recorder.fmt(f)
    }
}

/// What one thread records for one runtime.
pub(crate) struct Log {
    pub(super) source: Arc<Source>,
    thread: ThreadRecorder,
    names: Names,
    /// The time of the newest event.
    newest_ns: Cell<u64>,
    /// Which events may take that time.
    shared_by: Cell<SharedBy>,
    /// `timeline::switches` when it was written.
    switches: Cell<u32>,
    /// What this thread runs, if that is watched.
    running: Option<Arc<Running>>,
}

/// Which events may take the time of the newest one.
#[derive(Clone, Copy, PartialEq, Eq)]
enum SharedBy {
    None,
    /// It was a system call, perhaps that of the event queue.
    Ready,
    /// It was said which source is ready.
    Wake,
    /// It was the end of a turn.
    Turn,
}

impl Log {
    pub(super) fn new(source: &Arc<Source>, name: &str) -> Rc<Self> {
        let thread = source.recorder.thread(name);
        let running = source.watched();
        Rc::new(Log {
            source: source.clone(),
            thread,
            names: Names::default(),
            newest_ns: Cell::new(0),
            shared_by: Cell::new(SharedBy::None),
            switches: Cell::new(timeline::switches()),
            running,
        })
    }

    #[inline]
    pub fn now_ns(&self) -> u64 {
        self.source.now_ns()
    }

    /// For what happens now. Inlined into each hook, where the kind of the event is known.
    #[inline(always)]
    pub(super) fn record(&self, event: Event) {
        if self.switches.get() != timeline::switches() {
            self.forget();
        }
        let (known, shared_by) = match event {
            Event::IoReady { .. } => {
                let known = matches!(self.shared_by.get(), SharedBy::Ready | SharedBy::Wake);
                (known, SharedBy::Wake)
            }
            Event::Wake { from: NO_TASK, .. } => {
                let known = self.shared_by.get() == SharedBy::Wake;
                (known, if known { SharedBy::Wake } else { SharedBy::None })
            }
            Event::PollBegin { .. } | Event::StackResume { .. } => {
                (self.shared_by.get() == SharedBy::Turn, SharedBy::None)
            }
            Event::StackSuspend { .. } | Event::PollEnd { outcome: Outcome::Pending, .. } => {
                (false, SharedBy::Turn)
            }
            _ => (false, SharedBy::None),
        };
        let time_ns = if known { self.newest_ns.get() } else { self.now_ns() };
        self.newest_ns.set(time_ns);
        self.shared_by.set(shared_by);
        self.thread.record_at(time_ns, event);
        if let Some(running) = &self.running {
            running.see(&self.source, time_ns, event);
        }
    }

    /// For a call that began at `begin_ns` and returns now; `make` is told how long it took.
    #[inline(always)]
    pub(super) fn record_call(&self, begin_ns: u64, make: impl FnOnce(u32) -> Event) {
        let end_ns = self.now_ns();
        let took_ns = u32::try_from(end_ns.saturating_sub(begin_ns)).unwrap_or(u32::MAX);
        self.newest_ns.set(end_ns);
        self.shared_by.set(SharedBy::Ready);
        self.thread.record_at(end_ns, make(took_ns));
    }

    /// See [`super::meet_others`].
    pub(super) fn meet_others(&self) {
        self.shared_by.set(SharedBy::None);
    }

    pub(super) fn panicked(&self, task: TaskId) {
        if let Some(watch) = self.source.watch() {
            watch.panicked(task);
        }
    }

    /// Recording was off meanwhile: what was known may be long ago.
    #[cold]
    fn forget(&self) {
        self.switches.set(timeline::switches());
        self.shared_by.set(SharedBy::None);
        if let Some(running) = &self.running {
            running.ends();
        }
    }

    /// The number of a word of ours.
    #[inline(always)]
    pub fn word(&self, word: &'static str) -> Name {
        self.names.at(word.as_ptr().addr(), || self.source.recorder.name(word))
    }

    /// The number of a place in a program: its file, without folders, and its line.
    pub fn place(&self, place: &'static Location<'static>) -> Name {
        self.names.at(ptr::from_ref(place).addr(), || {
            let file = Path::new(place.file()).file_name().unwrap_or_default().display();
            self.source.recorder.name(&format!("{file}:{}", place.line()))
        })
    }

    /// The number of a name that was made at run time. Takes a lock.
    pub fn name(&self, name: &str) -> Name {
        self.source.recorder.name(name)
    }
}

/// The numbers of names that this thread has used, by the address of what has the name, which is never
/// freed.
struct Names {
    /// Those that were used last, each in the only place where it may stand.
    recent: [Cell<(usize, Name)>; 1 << RECENT_BITS],
    all: RefCell<HashMap<usize, Name, BuildHasherDefault<AddressHasher>>>,
}

const RECENT_BITS: u32 = 5;

impl Default for Names {
    fn default() -> Self {
        // Nothing has the address 0.
        let recent = std::array::from_fn(|_| Cell::new((0, Name::NONE)));
        Names { recent, all: RefCell::default() }
    }
}

impl Names {
    #[inline(always)]
    fn at(&self, address: usize, make: impl FnOnce() -> Name) -> Name {
        let recent = &self.recent[(spread(address) >> (u64::BITS - RECENT_BITS)) as usize];
        let (known, name) = recent.get();
        if known == address {
            return name;
        }
        self.look_up(address, recent, make)
    }

    #[cold]
    #[inline(never)]
    fn look_up(
        &self,
        address: usize,
        recent: &Cell<(usize, Name)>,
        make: impl FnOnce() -> Name,
    ) -> Name {
        let name = *self.all.borrow_mut().entry(address).or_insert_with(make);
        recent.set((address, name));
        name
    }
}

/// Addresses are spread by a multiplication (Knuth, *The Art of Computer Programming* 3, 6.4).
fn spread(address: usize) -> u64 {
    (address as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15)
}

#[derive(Default)]
struct AddressHasher(u64);

impl Hasher for AddressHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_usize(usize::from(*byte)));
    }

    fn write_usize(&mut self, address: usize) {
        self.0 = spread(self.0 as usize ^ address);
    }
}
