//! What code waits for: noted by the future that isn't ready, kept with its task, read for reports.
//!
//! ```text
//!   a leaf's poll ── note ──► context ── at Pending, or when the stack is suspended ──► task header
//! ```
//!
//! The leaf that was polled last and wasn't ready is what a task waits for, as far as is known; a
//! future of foreign make says nothing. It is two words, stored without synchronisation: a report
//! that reads them while the task moves on may see a mixture, and everything in it is plain data.
//!
//! What it deliberately does not do: follow pointers into what is waited for. It may be gone. Who holds
//! a lock stands in a place that outlives the lock: [`owner`](super::owner).

use super::{owner, with};
use crate::console::{Form, Resource};
use std::{
    fmt,
    net::SocketAddr,
    os::fd::{BorrowedFd, RawFd},
    panic::Location,
    ptr::{self, NonNull},
    sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, Ordering},
    task::Poll,
    time::{Duration, Instant},
};

/// What something waits for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Waiting {
    pub what: What,
    /// A number that belongs to `what`; one of 56 bits or more is kept as 56 ones. Who waits for a lock
    /// notes a [`Holder`](owner::Holder), and a report tells the task that this was when it was made.
    pub detail: u64,
    /// Where the lock was made.
    pub place: Option<&'static Location<'static>>,
}

/// The kinds of what can be waited for. What `detail` says is told in brackets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum What {
    /// A future that says nothing of itself. Zero says that nothing is waited for.
    Unknown = 1,
    /// A timer [when: nanoseconds after [`Waiting::sleep`]'s epoch].
    Sleep,
    /// A descriptor to become readable [the descriptor].
    Readable,
    /// A descriptor to become writable [the descriptor].
    Writable,
    /// A task to end [its number].
    Join,
    /// A [`Mutex`](crate::sync::Mutex) [the task that holds it].
    Mutex,
    /// A [`RwLock`](crate::sync::RwLock), to read [the task that writes].
    Read,
    /// A [`RwLock`](crate::sync::RwLock), to write [the task that writes].
    Write,
    Semaphore,
    Send,
    Receive,
    Oneshot,
    Broadcast,
    Watch,
    Notify,
    Barrier,
    OnceCell,
    Cancelled,
    /// The children of a scope to end.
    Children,
}

const KINDS: [Option<What>; 20] = {
    use What::*;
    let known = [
        Unknown, Sleep, Readable, Writable, Join, Mutex, Read, Write, Semaphore, Send, Receive,
        Oneshot, Broadcast, Watch, Notify, Barrier, OnceCell, Cancelled, Children,
    ];
    let mut kinds = [None; 20];
    let mut i = 0;
    while i < known.len() {
        kinds[known[i] as usize] = Some(known[i]);
        i += 1;
    }
    kinds
};

impl What {
    /// In a word or two, for recordings.
    pub fn word(self) -> &'static str {
        match self {
            What::Unknown => "",
            What::Sleep => "sleep",
            What::Readable => "readable",
            What::Writable => "writable",
            What::Join => "join",
            What::Mutex => "mutex",
            What::Read => "read lock",
            What::Write => "write lock",
            What::Semaphore => "semaphore",
            What::Send => "send",
            What::Receive => "receive",
            What::Oneshot => "oneshot",
            What::Broadcast => "broadcast",
            What::Watch => "watch",
            What::Notify => "notify",
            What::Barrier => "barrier",
            What::OnceCell => "once cell",
            What::Cancelled => "cancelled",
            What::Children => "children",
        }
    }
}

impl What {
    /// As the console shows it.
    fn in_console(self) -> Form {
        let (kind, concrete_type, operation) = match self {
            What::Sleep => ("timer", "Sleep", "Sleep::poll"),
            What::Mutex => ("sync", "Mutex", "Mutex::lock"),
            What::Read => ("sync", "RwLock", "RwLock::read"),
            What::Write => ("sync", "RwLock", "RwLock::write"),
            What::Semaphore => ("sync", "Semaphore", "Semaphore::acquire"),
            What::Send => ("sync", "channel", "Sender::send"),
            What::Receive => ("sync", "channel", "Receiver::recv"),
            What::Oneshot => ("sync", "oneshot", "Receiver::poll"),
            What::Broadcast => ("sync", "broadcast", "Receiver::recv"),
            What::Watch => ("sync", "watch", "Receiver::changed"),
            What::Notify => ("sync", "Notify", "Notify::notified"),
            What::Barrier => ("sync", "Barrier", "Barrier::wait"),
            other => ("other", "other", other.word()),
        };
        Form { kind, concrete_type, operation }
    }
}

impl Waiting {
    pub const UNKNOWN: Waiting = Waiting::on(What::Unknown, 0);

    pub const fn on(what: What, detail: u64) -> Self {
        Waiting { what, detail, place: None }
    }

    /// For a timer; `None` is never.
    pub fn sleep(until: Option<Instant>) -> Self {
        let since = until.map(|until| until.saturating_duration_since(epoch()).as_nanos() as u64);
        Waiting::on(What::Sleep, since.unwrap_or(u64::MAX))
    }

    /// Whether only another task can end this: nothing from outside the runtime does.
    pub fn is_among_tasks(&self) -> bool {
        use What::*;
        !matches!(self.what, Unknown | Sleep | Readable | Writable)
    }

    /// What was noted as it is told: for a lock, with the task that holds it now.
    fn told(mut self) -> Self {
        if self.is_lock() {
            self.detail = match self.detail {
                // An address of more bits than are kept (a tagged one): nobody knows it any more.
                MOST.. => 0,
                // SAFETY: kinds of locks are noted by `Owner::noted` alone, with a holder.
                noted => unsafe { owner::holder(noted) },
            };
        }
        self
    }

    /// Whether it is a lock that somebody may hold.
    fn is_lock(&self) -> bool {
        matches!(self.what, What::Mutex | What::Read | What::Write)
    }

    /// The task that this one waits for, if it is known to be one.
    pub fn task(&self) -> Option<u64> {
        let known = self.what == What::Join || self.is_lock();
        (known && self.detail != 0).then_some(self.detail)
    }
}

/// A time before every timer.
fn epoch() -> Instant {
    static EPOCH: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    *EPOCH.get_or_init(Instant::now)
}

impl Waiting {
    /// As text, with what can be looked up: names of tasks by `name`, and addresses of sockets.
    pub fn in_words<'a>(&self, name: impl Fn(u64) -> Option<&'a str>) -> String {
        let mut text = self.to_string();
        if let Some(name) = self.task().and_then(name) {
            text += &format!(" '{name}'");
        }
        if let What::Readable | What::Writable = self.what
            && let Some(addresses) = addresses(self.detail)
        {
            text += &format!(" ({addresses})");
        }
        text
    }
}

/// Both ends of a socket. The descriptor may have been closed since, and belong to something else:
/// then that is what is told.
fn addresses(descriptor: u64) -> Option<String> {
    // SAFETY: only asked for its addresses; whatever it is by now, that changes nothing.
    let socket = unsafe { BorrowedFd::borrow_raw(RawFd::try_from(descriptor).ok()?) };
    let here = SocketAddr::try_from(rustix::net::getsockname(socket).ok()?).ok()?;
    match rustix::net::getpeername(socket).ok().flatten().map(SocketAddr::try_from) {
        Some(Ok(there)) => Some(format!("{here} → {there}")),
        _ => Some(here.to_string()),
    }
}

impl fmt::Display for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.what {
            What::Unknown => "a future that doesn't say what it waits for",
            What::Sleep => return sleep(self.detail, f),
            What::Readable => return write!(f, "descriptor {} to be readable", self.detail),
            What::Writable => return write!(f, "descriptor {} to be writable", self.detail),
            What::Join => return write!(f, "the end of task {}", self.detail),
            What::Mutex => "a mutex",
            What::Read => "a lock, to read",
            What::Write => "a lock, to write",
            What::Semaphore => "a semaphore",
            What::Send => "room in a channel",
            What::Receive => "a message from a channel",
            What::Oneshot => "a oneshot message",
            What::Broadcast => "a broadcast message",
            What::Watch => "a watched value to change",
            What::Notify => "a notification",
            What::Barrier => "a barrier",
            What::OnceCell => "a value that is being made",
            What::Cancelled => "a token to be cancelled",
            What::Children => "the children of a scope",
        };
        f.write_str(what)?;
        if let Some(place) = self.place {
            write!(f, " made at {place}")?;
        }
        match self.task() {
            Some(task) => write!(f, ", held by task {task}"),
            None => Ok(()),
        }
    }
}

fn sleep(until: u64, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    if until >= MOST {
        return f.write_str("a sleep without end");
    }
    let left = until.saturating_sub(epoch().elapsed().as_nanos() as u64);
    write!(f, "a sleep, {:.3} s left", left as f64 / 1e9)
}

/// For a leaf: what it will wait for, once it says `Pending`.
#[inline]
pub(crate) fn note(waiting: Waiting) {
    restore(waiting);
    if with(|context| context.look.get().is_some()) {
        seen(waiting);
    }
}

/// Sees the leaves of a poll, as each of them notes what it waits for: see [`look`].
pub(crate) trait Look {
    fn see(&self, waiting: Waiting);
}

/// Until [`look_away`], `look` sees what leaves on this thread note.
///
/// # Safety
/// `look` lives until then.
pub(crate) unsafe fn look(look: NonNull<dyn Look>) {
    set_look(Some(look));
}

pub(crate) fn look_away() {
    set_look(None);
}

fn set_look(look: Option<NonNull<dyn Look>>) {
    with(|context| {
        context.look.set(look);
        context.looks.set(context.looks.get() + 1);
    });
}

#[cold]
fn seen(waiting: Waiting) {
    if let Some(look) = with(|context| context.look.get()) {
        // SAFETY: who called `look` promised that it lives.
        unsafe { look.as_ref() }.see(waiting.told());
    }
}

/// Notes again what was noted before.
#[inline]
pub(crate) fn restore(waiting: Waiting) {
    with(|context| context.waiting.set(waiting));
}

/// What was noted last.
pub(crate) fn noted_last() -> Waiting {
    with(|context| context.waiting.get())
}

/// Runs `f` without what it notes: for what is looked at on the side.
#[inline]
pub(crate) fn kept<R>(f: impl FnOnce() -> R) -> R {
    let noted = noted_last();
    let (look, looks) = with(|context| (context.look.take(), context.looks.get()));
    let result = f();
    with(|context| {
        // `f` may have called a foreign waker that waits, and the look may be over since.
        if context.looks.get() == looks {
            context.look.set(look);
        }
    });
    restore(noted);
    result
}

/// Tells the console that the task which runs here has polled what waits for `resource`; and notes
/// `what` if it isn't ready.
#[inline]
pub(crate) fn noted_of<T>(resource: &Resource, what: What, poll: Poll<T>) -> Poll<T> {
    tell(resource, what, poll.is_ready());
    noted(what, poll)
}

/// Tells the console that the task which runs here has polled what waits for `resource`.
#[inline]
pub(crate) fn tell(resource: &Resource, what: What, is_ready: bool) {
    if let Some(task) = with(|context| context.task.get()) {
        // SAFETY: the task being polled is alive.
        unsafe { task.as_ref() }.shown.polled(resource, what.in_console(), is_ready);
    }
}

/// Notes `what` if `poll` isn't ready.
#[inline]
pub(crate) fn noted<T>(what: What, poll: Poll<T>) -> Poll<T> {
    if poll.is_pending() {
        note(Waiting::on(what, 0));
    }
    poll
}

/// The number of the task that runs here, or 0.
#[inline]
pub(crate) fn task_number() -> u64 {
    // SAFETY: the task being polled is alive.
    with(|context| context.task.get().map_or(0, |task| unsafe { task.as_ref() }.meta.id.get()))
}

/// What a task waits for, as its header keeps it.
pub(crate) struct Noted {
    /// The kind in the low byte, the detail above it.
    what: AtomicU64,
    place: AtomicPtr<Location<'static>>,
    /// Since when, in milliseconds on the clock of [`set_time`].
    since_ms: AtomicU32,
}

/// What a task waited for, and since when, at some moment.
#[derive(Clone, Copy)]
pub(crate) struct Kept {
    what: u64,
    since_ms: u32,
}

const MOST: u64 = u64::MAX >> 8;

impl Noted {
    pub const fn new() -> Self {
        Noted {
            what: AtomicU64::new(0),
            place: AtomicPtr::new(ptr::null_mut()),
            since_ms: AtomicU32::new(0),
        }
    }

    /// Keeps what the code on this thread has noted since [`forget`].
    #[inline]
    pub fn keep(&self) {
        let Waiting { what, detail, place } = with(|context| context.waiting.get());
        self.what.store(detail.min(MOST) << 8 | what as u64, Ordering::Relaxed);
        let place = place.map_or(ptr::null_mut(), |place| ptr::from_ref(place).cast_mut());
        self.place.store(place, Ordering::Relaxed);
        self.stamp();
    }

    #[inline]
    fn stamp(&self) {
        self.since_ms.store(with(|context| context.time_ms.get()), Ordering::Relaxed);
    }

    /// What is kept now, for [`restore`](Noted::restore).
    pub fn kept(&self) -> Kept {
        Kept {
            what: self.what.load(Ordering::Relaxed),
            since_ms: self.since_ms.load(Ordering::Relaxed),
        }
    }

    /// If the same is waited for as before, then since when it was before.
    pub fn restore(&self, before: Kept) {
        if self.what.load(Ordering::Relaxed) == before.what {
            self.since_ms.store(before.since_ms, Ordering::Relaxed);
        }
    }

    /// For how long this has been so, as exactly as the worker knows the time: it looks at the clock
    /// whenever it looks at its event queue.
    pub fn duration(&self) -> Duration {
        let since = self.since_ms.load(Ordering::Relaxed);
        Duration::from_millis(u64::from(time_ms().wrapping_sub(since)))
    }

    /// Nothing: the task runs.
    #[inline]
    pub fn clear(&self) {
        self.what.store(0, Ordering::Relaxed);
        self.stamp();
    }

    /// As it is now: for a lock, with the task that holds it by now.
    pub fn get(&self) -> Option<Waiting> {
        let word = self.what.load(Ordering::Relaxed);
        let what = KINDS[(word & 0xFF) as usize]?;
        // SAFETY: only what `keep` took from a `&'static` stands here.
        let place = unsafe { self.place.load(Ordering::Relaxed).as_ref() };
        Some(Waiting { what, detail: word >> 8, place }.told())
    }
}

/// Milliseconds since an arbitrary time, never 0 twice within 49 days.
fn time_ms() -> u32 {
    epoch().elapsed().as_millis() as u32
}

/// For a worker, now and then: what time it is.
pub(crate) fn set_time() {
    with(|context| context.time_ms.set(time_ms()));
}

/// Before a poll: nothing is known to be waited for.
#[inline]
pub(crate) fn forget() {
    restore(Waiting::UNKNOWN);
}
