//! The hooks by which the runtime records its life with [`bifilar_timeline`].
//!
//! ```text
//!   hook ── enabled()? ──► no: that was all                     one predictable branch
//!             │ yes
//!             ▼
//!   the log of this thread ──► time, names as numbers ──► its ring
//!             ▲
//!             └── set by who makes a thread take part: a worker, a thread of the blocking pool,
//!                 one that enters a runtime; or found by the hook, when a foreign thread wakes a task
//! ```
//!
//! A runtime that was built with a recorder has a [`Source`]: the recorder, and the clock of the
//! runtime if that is simulated. Each thread that takes part has a [`Log`] for it, made when it first
//! does: a ring, and the numbers of the names that this thread has used. So recording takes no lock
//! and, but for the first use of a name on a thread, allocates nothing.
//!
//! Hooks give closures, which are called only if there is a log. None of them runs foreign code, but
//! for the clock that a user may have given to the recorder.
//!
//! What it deliberately does not do: know tasks and stacks, of which hooks give numbers; or decide
//! what a recording is good for.

use bifilar_timeline::{Event, Name, Recorder, ThreadRecorder};
use std::{
    cell::RefCell,
    collections::HashMap,
    fmt,
    hash::{BuildHasherDefault, Hasher},
    io,
    os::fd::{AsRawFd, OwnedFd, RawFd},
    panic::Location,
    path::Path,
    ptr,
    rc::Rc,
    sync::Arc,
    thread,
};

pub(crate) use bifilar_timeline::enabled;

/// Logs that a thread keeps of runtimes whose part it doesn't take just now; the oldest go first.
const MOST_KNOWN: usize = 8;

/// What a runtime records with.
pub(crate) struct Source {
    recorder: Recorder,
    /// The time in nanoseconds, unless it is the recorder's own.
    clock: Option<Clock>,
}

type Clock = Box<dyn Fn() -> u64 + Send + Sync>;

impl Source {
    /// Switches recording on.
    pub fn new(recorder: Recorder, clock: Option<Clock>) -> Arc<Self> {
        bifilar_timeline::set_enabled(true);
        Arc::new(Source { recorder, clock })
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.recorder.fmt(f)
    }
}

/// What one thread records for one runtime.
pub(crate) struct Log {
    source: Arc<Source>,
    thread: ThreadRecorder,
    /// By the address of what has the name, which is never freed.
    names: RefCell<HashMap<usize, Name, BuildHasherDefault<AddressHasher>>>,
}

impl Log {
    fn new(source: &Arc<Source>, name: &str) -> Rc<Self> {
        let thread = source.recorder.thread(name);
        Rc::new(Log { source: source.clone(), thread, names: RefCell::default() })
    }

    pub fn now_ns(&self) -> u64 {
        self.source.clock.as_ref().map_or_else(|| self.source.recorder.now_ns(), |clock| clock())
    }

    fn record(&self, event: Event) {
        self.thread.record_at(self.now_ns(), event);
    }

    /// The number of a word of ours.
    pub fn word(&self, word: &'static str) -> Name {
        self.name_at(word.as_ptr().addr(), || self.source.recorder.name(word))
    }

    /// The number of a place in a program: its file, without folders, and its line.
    pub fn place(&self, place: &'static Location<'static>) -> Name {
        self.name_at(ptr::from_ref(place).addr(), || {
            let file = Path::new(place.file()).file_name().unwrap_or_default().display();
            self.source.recorder.name(&format!("{file}:{}", place.line()))
        })
    }

    /// The number of a name that was made at run time. Takes a lock.
    pub fn name(&self, name: &str) -> Name {
        self.source.recorder.name(name)
    }

    fn name_at(&self, address: usize, make: impl FnOnce() -> Name) -> Name {
        *self.names.borrow_mut().entry(address).or_insert_with(make)
    }
}

/// Addresses are spread by a multiplication (Knuth, *The Art of Computer Programming* 3, 6.4).
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
        self.0 = (self.0 ^ address as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    }
}

/// The logs of a thread.
struct Logs {
    current: Option<Rc<Log>>,
    known: Vec<Rc<Log>>,
}

thread_local! {
    static LOGS: RefCell<Logs> = const { RefCell::new(Logs { current: None, known: Vec::new() }) };
}

impl Logs {
    /// This thread's log for `source`.
    fn of(&mut self, source: &Arc<Source>, name: impl FnOnce() -> String) -> Rc<Log> {
        let known = self.known.iter().find(|log| Arc::ptr_eq(&log.source, source));
        known.cloned().unwrap_or_else(|| {
            let log = Log::new(source, &name());
            if self.known.len() == MOST_KNOWN {
                self.known.remove(0);
            }
            self.known.push(log.clone());
            log
        })
    }
}

/// Makes this thread record for `source` until what is returned is dropped; for none if there is none.
pub(crate) fn enter(source: Option<&Arc<Source>>, name: impl FnOnce() -> String) -> Entered {
    let before = LOGS.try_with(|logs| {
        let mut logs = logs.borrow_mut();
        let log = source.map(|source| logs.of(source, name));
        std::mem::replace(&mut logs.current, log)
    });
    Entered { before: before.unwrap_or_default() }
}

/// The name of this thread, for those that are no workers.
pub(crate) fn thread_name() -> String {
    thread::current().name().unwrap_or("thread").to_owned()
}

/// See [`enter`]. Guards that are dropped in another order leave the wrong log behind, but none that
/// is gone.
#[must_use]
pub(crate) struct Entered {
    before: Option<Rc<Log>>,
}

impl Drop for Entered {
    fn drop(&mut self) {
        let before = self.before.take();
        // A thread that ends has no log any more.
        let _ = LOGS.try_with(|logs| std::mem::replace(&mut logs.borrow_mut().current, before));
    }
}

/// Records what `make` says, if this thread takes part in something that is recorded.
#[inline]
pub(crate) fn event(make: impl FnOnce(&Log) -> Event) {
    if enabled() {
        with_log(|log| log.record(make(log)));
    }
}

/// The same for a thread that needn't take part in what `source` belongs to.
#[inline]
pub(crate) fn event_for<'a>(
    source: impl FnOnce() -> Option<&'a Arc<Source>>,
    make: impl FnOnce(&Log) -> Event,
) {
    if enabled() {
        with_log_for(source, |log| log.record(make(log)));
    }
}

#[cold]
fn with_log<R>(f: impl FnOnce(&Log) -> R) -> Option<R> {
    // A thread that ends records nothing any more.
    LOGS.try_with(|logs| logs.borrow().current.as_deref().map(f)).ok().flatten()
}

#[cold]
fn with_log_for<'a>(source: impl FnOnce() -> Option<&'a Arc<Source>>, f: impl FnOnce(&Log)) {
    let log = LOGS.try_with(|logs| {
        let mut logs = logs.borrow_mut();
        let current = logs.current.clone();
        current.or_else(|| source().map(|source| logs.of(source, thread_name)))
    });
    if let Ok(Some(log)) = log {
        f(&log);
    }
}

/// Makes a system call, and records it under `name`: of which descriptor, if any, and how many bytes
/// were asked for.
#[inline]
pub(crate) fn system_call<T: Returned>(
    name: &'static str,
    fd: RawFd,
    bytes: usize,
    call: impl FnOnce() -> io::Result<T>,
) -> io::Result<T> {
    if enabled() { timed(name, fd, bytes, call) } else { call() }
}

#[cold]
fn timed<T: Returned>(
    name: &'static str,
    fd: RawFd,
    bytes: usize,
    call: impl FnOnce() -> io::Result<T>,
) -> io::Result<T> {
    let Some(begin) = with_log(Log::now_ns) else { return call() };
    let returned = call();
    with_log(|log| {
        let end = log.now_ns();
        let result = match &returned {
            Ok(value) => value.returned(),
            Err(error) => -error.raw_os_error().unwrap_or_default(),
        };
        log.thread.record_at(
            end,
            Event::SystemCall {
                name: log.word(name),
                fd,
                bytes: u32::try_from(bytes).unwrap_or(u32::MAX),
                result,
                took_ns: u32::try_from(end.saturating_sub(begin)).unwrap_or(u32::MAX),
            },
        );
    });
    returned
}

/// What a system call may return: a count, nothing, or what owns a descriptor.
pub trait Returned {
    /// As a number.
    fn returned(&self) -> i32;
}

impl Returned for std::net::TcpStream {
    fn returned(&self) -> i32 {
        self.as_raw_fd()
    }
}

impl Returned for () {
    fn returned(&self) -> i32 {
        0
    }
}

impl Returned for usize {
    fn returned(&self) -> i32 {
        i32::try_from(*self).unwrap_or(i32::MAX)
    }
}

impl<T> Returned for Option<T> {
    fn returned(&self) -> i32 {
        0
    }
}

impl Returned for OwnedFd {
    fn returned(&self) -> i32 {
        self.as_raw_fd()
    }
}

impl<T> Returned for (OwnedFd, T) {
    fn returned(&self) -> i32 {
        self.0.as_raw_fd()
    }
}
