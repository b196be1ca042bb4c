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
//! | module | what |
//! |---|---|
//! | `log` | [`Source`] and [`Log`]; when an event needs no look at the clock |
//! | `polls` | who is told of polls that take long, and of panics: [`Watch`] |
//!
//! Hooks give closures, which are called only if there is a log. None of them runs foreign code, but
//! for the clock that a user may have given to the recorder.
//!
//! What it deliberately does not do: know tasks and stacks, of which hooks give numbers; or decide
//! what a recording is good for.

mod log;
mod polls;

pub(crate) use log::{Log, Source};
pub(crate) use polls::Watch;

use bifilar_timeline::{Event, TaskId};
use std::{
    cell::{Cell, RefCell},
    io,
    os::fd::{AsRawFd, OwnedFd, RawFd},
    ptr,
    rc::Rc,
    sync::Arc,
    thread,
};

pub(crate) use bifilar_timeline::enabled;

/// Logs that a thread keeps of runtimes whose part it doesn't take just now; the oldest go first.
const MOST_KNOWN: usize = 8;

/// The logs of a thread.
struct Logs {
    current: Option<Rc<Log>>,
    known: Vec<Rc<Log>>,
}

thread_local! {
    static LOGS: RefCell<Logs> = const { RefCell::new(Logs { current: None, known: Vec::new() }) };

    /// Where `Logs::current` is, or null: without a look at whether the thread is about to end.
    static CURRENT: Cell<*const Log> = const { Cell::new(ptr::null()) };
}

impl Logs {
    fn set_current(&mut self, log: Option<Rc<Log>>) -> Option<Rc<Log>> {
        CURRENT.set(log.as_ref().map_or(ptr::null(), Rc::as_ptr));
        std::mem::replace(&mut self.current, log)
    }

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

impl Drop for Logs {
    fn drop(&mut self) {
        CURRENT.set(ptr::null());
    }
}

/// The log with which this thread takes part just now.
#[inline]
fn current() -> Option<Rc<Log>> {
    let log = CURRENT.get();
    if log.is_null() {
        return None;
    }
    // SAFETY: `LOGS` holds a reference as long as this stands in `CURRENT`; so another one may be made.
    unsafe {
        Rc::increment_strong_count(log);
        Some(Rc::from_raw(log))
    }
}

/// Makes this thread record for `source` until what is returned is dropped; for none if there is none.
pub(crate) fn enter(source: Option<&Arc<Source>>, name: impl FnOnce() -> String) -> Entered {
    let before = LOGS.try_with(|logs| {
        let mut logs = logs.borrow_mut();
        let log = source.map(|source| logs.of(source, name));
        logs.set_current(log)
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
        let _ = LOGS.try_with(|logs| logs.borrow_mut().set_current(before));
    }
}

/// Records what `make` says, if this thread takes part in something that is recorded.
#[inline]
pub(crate) fn event(make: impl FnOnce(&Log) -> Event) {
    if enabled() {
        with_log(|log| log.record(make(log)));
    }
}

/// The same for a thread that needn't take part in what `source` belongs to; and it may turn out that
/// there is nothing to record.
#[inline]
pub(crate) fn event_for<'a, E: Into<Option<Event>>>(
    source: impl FnOnce() -> Option<&'a Arc<Source>>,
    make: impl FnOnce(&Log) -> E,
) {
    if enabled() {
        with_log_for(source, |log| {
            if let Some(event) = make(log).into() {
                log.record(event);
            }
        });
    }
}

#[cold]
fn with_log<R>(f: impl FnOnce(&Log) -> R) -> Option<R> {
    current().map(|log| f(&log))
}

#[cold]
fn with_log_for<'a>(source: impl FnOnce() -> Option<&'a Arc<Source>>, f: impl FnOnce(&Log)) {
    let log = current().or_else(|| {
        // A thread that ends records nothing any more.
        let find = |logs: &RefCell<Logs>| Some(logs.borrow_mut().of(source()?, thread_name));
        LOGS.try_with(find).ok().flatten()
    });
    if let Some(log) = log {
        f(&log);
    }
}

/// Another thread may have done something between the last event of this one and the next, which the
/// next one follows from.
#[inline]
pub(crate) fn meet_others() {
    if enabled() {
        with_log(Log::meet_others);
    }
}

/// A task has ended by a panic, and that has been recorded.
#[cold]
pub(crate) fn panicked(task: TaskId) {
    if enabled() {
        with_log(|log| log.panicked(task));
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
        let result = match &returned {
            Ok(value) => value.returned(),
            Err(error) => -error.raw_os_error().unwrap_or_default(),
        };
        log.record_call(begin, |took_ns| Event::SystemCall {
            name: log.word(name),
            fd,
            bytes: u32::try_from(bytes).unwrap_or(u32::MAX),
            result,
            took_ns,
        });
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
