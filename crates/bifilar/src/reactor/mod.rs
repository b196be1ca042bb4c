//! The reactor: turns what the operating system reports into wake-ups.
//!
//! ```text
//!   kernel ── event ──► Reactor::turn ──► Readiness ──► Waker ──► queue ──► worker ──► task
//!   clock  ── now ────►        └────────► Timers ─────────┘
//! ```
//!
//! One for each worker: its event queue, the sources registered there, and its timers. Reactor and
//! executor know each other only through `Waker`s: a turn first drains everything to a list, gives
//! all locks back, and then wakes.
//!
//! A source is registered where it is *first waited for*, by the worker that waits: a socket that
//! was accepted on one worker and handed to a task on another one is woken there. Sources that
//! never block are never registered.
//!
//! What it deliberately does not do: run tasks, or decide when to sleep and for how long.

mod io;
mod readiness;

pub(crate) use io::{Done, Io};
pub(crate) use readiness::Direction;

use crate::{
    context,
    primitives::{AtomicBool, Mutex, Ordering},
    record,
    time::{Clock, Timers},
};
use bifilar_events::{EventQueue, Events, Interest, Mode, Token};
use bifilar_timeline::Event;
use readiness::{Readiness, Reported};
use std::{
    io as std_io,
    os::fd::{AsRawFd, BorrowedFd},
    panic::{AssertUnwindSafe, catch_unwind},
    ptr,
    sync::Arc,
    task::Waker,
    time::Duration,
};

pub(crate) struct Reactor {
    queue: EventQueue,
    sources: Mutex<Sources>,
    pub timers: Timers,
    /// Set when the runtime is gone: nobody will turn this reactor again.
    closed: AtomicBool,
}

/// The scratch memory of a turn.
pub(crate) struct TurnBuffer {
    events: Events,
    woken: Vec<Waker>,
}

impl TurnBuffer {
    /// Events taken from the kernel at a time, as in Go (128) and tokio (1,024).
    pub fn new() -> Self {
        TurnBuffer { events: Events::with_capacity(512), woken: Vec::new() }
    }

    /// How many events the last turn found.
    pub fn events(&self) -> usize {
        self.events.len()
    }

    /// Whether the last turn took away what `Reactor::ring` had left.
    pub fn rung(&self) -> bool {
        self.events.woken()
    }
}

impl Reactor {
    pub fn new(clock: Clock) -> std_io::Result<Self> {
        Ok(Reactor {
            queue: EventQueue::new()?,
            sources: Mutex::new(Sources::default()),
            timers: Timers::new(clock),
            closed: AtomicBool::new(false),
        })
    }

    /// Makes the current or next sleeping turn return. From any thread.
    pub fn ring(&self) {
        // An eventfd that is ours can't be full or closed.
        let ring = || self.queue.wake().map(|()| size_of::<u64>());
        record::system_call("write", -1, size_of::<u64>(), ring).expect("writing to an eventfd");
    }

    /// Waits for events, for `timeout` at most (`None`: until there are some) and no longer than
    /// to the next timer; then wakes whoever waited for what has happened. Returns how many.
    pub fn turn(&self, buffer: &mut TurnBuffer, timeout: Option<Duration>) -> usize {
        let sleep = timeout != Some(Duration::ZERO);
        let timeout = if sleep { self.timers.limit_sleep(timeout) } else { timeout };
        let waited = record::system_call("epoll_wait", -1, 0, || {
            self.queue.wait(&mut buffer.events, timeout)?;
            Ok(buffer.events.len())
        });
        if sleep {
            self.timers.awake();
            if buffer.events.is_empty() && !buffer.events.woken() {
                self.timers.pass_time();
            }
        }
        if let Err(error) = waited {
            // Only misuse of epoll can end here; a worker must not die of it.
            tracing::error!(%error, "waiting for events failed");
        }
        if !buffer.events.is_empty() {
            let sources = self.sources.lock().unwrap();
            for event in buffer.events.iter() {
                // An event for a source that was deregistered after the kernel reported it.
                let Some(source) = sources.get(event.token()) else { continue };
                let error = event.is_error();
                let reported = Reported {
                    readable: event.is_readable() || error,
                    writable: event.is_writable() || error,
                    read_closed: event.is_read_closed() || error,
                    write_closed: event.is_write_closed() || error,
                };
                record::event(|_| Event::IoReady {
                    token: event.token().0,
                    readable: reported.readable,
                    writable: reported.writable,
                    closed: reported.read_closed || reported.write_closed,
                });
                source.report(reported, &mut buffer.woken);
            }
        }
        self.timers.fire(&mut buffer.woken);
        let count = buffer.woken.len();
        wake_all(buffer.woken.drain(..));
        count
    }

    /// Watches `fd`, of which an operation in direction `blocked` just said "would block".
    fn register(
        self: Arc<Self>,
        fd: BorrowedFd<'_>,
        blocked: Direction,
    ) -> std_io::Result<Registration> {
        let readiness = Arc::new(Readiness::new(blocked));
        let token = {
            let mut sources = self.sources.lock().unwrap();
            // Under the lock, so that `close` sees every source that comes in.
            if self.is_closed() {
                return Err(gone());
            }
            sources.insert(readiness.clone())
        };
        let both = Interest::READABLE | Interest::WRITABLE;
        let register = || self.queue.register(fd, token, both, Mode::Edge);
        if let Err(error) = record::system_call("epoll_ctl", fd.as_raw_fd(), 0, register) {
            self.sources.lock().unwrap().remove(token);
            return Err(error);
        }
        Ok(Registration { reactor: self, readiness, token })
    }

    /// Whether a timer is set, or somebody waits for a source.
    pub fn expects_events(&self) -> bool {
        self.timers.any() || self.sources.lock().unwrap().iter().any(Readiness::is_waited_for)
    }

    /// The runtime is gone: everybody who waits here is told, and finds errors.
    pub fn close(&self) {
        let mut woken = Vec::new();
        let all =
            Reported { readable: true, writable: true, read_closed: true, write_closed: true };
        let sources = self.sources.lock().unwrap();
        self.closed.store(true, Ordering::Release);
        for source in sources.iter() {
            source.report(all, &mut woken);
        }
        drop(sources);
        self.timers.fire_all(&mut woken);
        wake_all(woken.into_iter());
    }

    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }
}

/// A waker may be anybody's, and its panic must not be the worker's.
fn wake_all(wakers: impl Iterator<Item = Waker>) {
    for waker in wakers {
        if let Err(payload) = catch_unwind(AssertUnwindSafe(|| waker.wake())) {
            // Its destructor might panic as well.
            std::mem::forget(payload);
        }
    }
}

fn gone() -> std_io::Error {
    std_io::Error::other("the bifilar runtime of this socket or timer has been shut down")
}

/// The reactor for code on this thread: its worker's, or that of the runtime it has entered.
pub(crate) fn current() -> Option<Arc<Reactor>> {
    with_current(|reactor| {
        let reactor = ptr::from_ref(reactor?);
        // SAFETY: the context owns a reference of the reactor it names.
        unsafe {
            Arc::increment_strong_count(reactor);
            Some(Arc::from_raw(reactor))
        }
    })
}

/// The same, without a reference of one's own; `look` must not enter or leave a runtime.
#[inline]
pub(crate) fn with_current<R>(look: impl FnOnce(Option<&Reactor>) -> R) -> R {
    let reactor = context::with(|context| context.reactor.get()).cast::<Reactor>();
    // SAFETY: the context owns a reference of the reactor it names.
    look(unsafe { reactor.as_ref() })
}

/// Makes `reactor` the current one of this thread until the guard is dropped.
pub(crate) fn enter(reactor: Arc<Reactor>) -> Entered {
    let before = context::with(|context| context.reactor.replace(Arc::into_raw(reactor).cast()));
    Entered { before }
}

/// The context owns a reference of the reactor it names, and this one of the reactor before it.
#[must_use]
pub(crate) struct Entered {
    before: *const (),
}

impl Drop for Entered {
    fn drop(&mut self) {
        let left = context::with(|context| context.reactor.replace(self.before)).cast::<Reactor>();
        if !left.is_null() {
            // SAFETY: the context owned this reference, made by `enter`.
            drop(unsafe { Arc::from_raw(left) });
        }
    }
}

/// A source that this reactor watches.
struct Registration {
    reactor: Arc<Reactor>,
    readiness: Arc<Readiness>,
    token: Token,
}

impl Registration {
    /// Before the descriptor is closed.
    fn deregister(&self, fd: BorrowedFd<'_>) {
        // Fails only for a descriptor that somebody else closed; then there is nothing to do.
        let deregister = || self.reactor.queue.deregister(fd);
        let _ = record::system_call("epoll_ctl", fd.as_raw_fd(), 0, deregister);
        self.reactor.sources.lock().unwrap().remove(self.token);
    }
}

/// Sources by token: place in the low half, generation in the high half, so that a late event for
/// a source that is gone doesn't reach its successor.
#[derive(Default)]
struct Sources {
    slots: Vec<Slot>,
    free: Vec<u32>,
}

struct Slot {
    generation: u32,
    source: Option<Arc<Readiness>>,
}

impl Sources {
    fn insert(&mut self, source: Arc<Readiness>) -> Token {
        let place = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot { generation: 0, source: None });
            (self.slots.len() - 1) as u32
        });
        let slot = &mut self.slots[place as usize];
        slot.source = Some(source);
        Token(u64::from(slot.generation) << 32 | u64::from(place))
    }

    fn get(&self, token: Token) -> Option<&Readiness> {
        let slot = self.slots.get(token.0 as u32 as usize)?;
        (slot.generation == (token.0 >> 32) as u32).then_some(slot.source.as_deref()).flatten()
    }

    fn remove(&mut self, token: Token) {
        let place = token.0 as u32;
        let slot = &mut self.slots[place as usize];
        slot.source = None;
        // Stops short of the token that is reserved for the event queue's waker.
        slot.generation = (slot.generation + 1) % u32::MAX;
        self.free.push(place);
    }

    fn iter(&self) -> impl Iterator<Item = &Readiness> {
        self.slots.iter().filter_map(|slot| slot.source.as_deref())
    }
}
