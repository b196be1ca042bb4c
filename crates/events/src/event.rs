//! What a wait brings back: [`Events`], a buffer made once and filled again and again, and
//! [`Event`], a token with what it is ready for.
//!
//! Neither touches the source: an event is a hint from the past, and by the time it is looked at
//! the bytes may be gone. Read and write without blocking, and take `WouldBlock` for an answer.

use crate::{Token, backend};
use std::fmt;

/// Space for the events of one wait; reused, so that waiting allocates nothing.
///
/// ```
/// # use bifilar_events::{EventQueue, Events};
/// # fn main() -> std::io::Result<()> {
/// let queue = EventQueue::new()?;
/// let mut events = Events::with_capacity(256);
///
/// queue.wake()?;
/// queue.wait(&mut events, None)?;
/// assert!(events.woken());
/// assert!(events.is_empty()); // a wake-up is not an event
/// # Ok(())
/// # }
/// ```
pub struct Events {
    buffer: Box<[backend::RawEvent]>,
    /// How many at the front of `buffer` are from the last wait.
    len: usize,
    woken: bool,
}

impl Events {
    /// Space for `capacity` events, at least one.
    ///
    /// A wait that finds more brings that many; the others come with the next waits, in turn. The
    /// waker takes a place too when it has been rung.
    ///
    /// ```
    /// # use bifilar_events::Events;
    /// let events = Events::with_capacity(1024);
    /// assert!(events.is_empty());
    /// ```
    pub fn with_capacity(capacity: usize) -> Self {
        let buffer = vec![backend::EMPTY_EVENT; capacity.max(1)].into_boxed_slice();
        Self { buffer, len: 0, woken: false }
    }

    /// The events of the last wait.
    ///
    /// ```
    /// # use bifilar_events::{EventQueue, Events, Interest, Mode, Token};
    /// # fn main() -> std::io::Result<()> {
    /// # let (end, _other) = std::os::unix::net::UnixStream::pair()?;
    /// # let queue = EventQueue::new()?;
    /// # let mut events = Events::with_capacity(8);
    /// queue.register(&end, Token(5), Interest::WRITABLE, Mode::Edge)?;
    /// queue.wait(&mut events, None)?;
    /// for event in &events {
    ///     assert_eq!((event.token(), event.is_writable()), (Token(5), true));
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn iter(&self) -> Iter<'_> {
        Iter { raw: self.buffer[..self.len].iter() }
    }

    /// How many events the last wait brought, the wake-up not counted.
    ///
    /// ```
    /// # use bifilar_events::Events;
    /// assert_eq!(Events::with_capacity(8).len(), 0);
    /// ```
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether the last wait brought no event; it may still have been [woken](Events::woken).
    ///
    /// ```
    /// # use bifilar_events::Events;
    /// assert!(Events::with_capacity(8).is_empty());
    /// ```
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether [`wake`](crate::EventQueue::wake) was called, once or many times, since a wait last
    /// said so.
    ///
    /// ```
    /// # use bifilar_events::{EventQueue, Events};
    /// # use std::time::Duration;
    /// # fn main() -> std::io::Result<()> {
    /// # let queue = EventQueue::new()?;
    /// # let mut events = Events::with_capacity(8);
    /// queue.wake()?;
    /// queue.wake()?;
    /// queue.wait(&mut events, None)?;
    /// assert!(events.woken());
    /// queue.wait(&mut events, Some(Duration::ZERO))?;
    /// assert!(!events.woken());
    /// # Ok(())
    /// # }
    /// ```
    pub fn woken(&self) -> bool {
        self.woken
    }

    /// Forgets the last wait and lends the space to a backend for the next one.
    pub(crate) fn start(&mut self) -> &mut [backend::RawEvent] {
        self.len = 0;
        self.woken = false;
        &mut self.buffer
    }

    /// Takes in what the backend put at the front of the space; the waker's own event, of which
    /// there is at most one, becomes `woken`. The others keep their order.
    pub(crate) fn finish(&mut self, len: usize) {
        let found = &mut self.buffer[..len];
        let waker = found.iter().position(|raw| backend::token(raw) == Token::RESERVED);
        if let Some(at) = waker {
            found.copy_within(at + 1.., at);
        }
        self.woken = waker.is_some();
        self.len = len - usize::from(self.woken);
    }
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Events")
            .field("woken", &self.woken)
            .field("events", &self.iter().collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}

impl<'a> IntoIterator for &'a Events {
    type Item = Event;
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}

/// The events of one wait, one by one; made by [`Events::iter`].
///
/// ```
/// # use bifilar_events::Events;
/// assert_eq!(Events::with_capacity(8).iter().count(), 0);
/// ```
#[derive(Clone)]
pub struct Iter<'a> {
    raw: std::slice::Iter<'a, backend::RawEvent>,
}

impl Iterator for Iter<'_> {
    type Item = Event;

    fn next(&mut self) -> Option<Event> {
        self.raw.next().map(backend::event)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.raw.size_hint()
    }
}

impl ExactSizeIterator for Iter<'_> {}

impl fmt::Debug for Iter<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.clone()).finish()
    }
}

/// What happened to one source.
///
/// Several of the questions can have the answer yes at once. Which they are, by what the other
/// side did:
///
/// | | readable | writable | read closed | write closed | error |
/// |---|---|---|---|---|---|
/// | stream: bytes arrived | yes | | | | |
/// | stream: the peer shut down its writing side | yes | | yes | | |
/// | stream: both sides are shut down | yes | yes | yes | yes | |
/// | TCP: reset, or a connection refused | yes | yes | yes | yes | yes |
/// | pipe, reading end: all writers are gone | | | yes | yes | |
/// | pipe, writing end: all readers are gone | | if there is space | | yes | yes |
///
/// *Readable* and *writable* are reported only with that interest. Whoever waits to read should
/// try again on readable, read closed or error; whoever waits to write on writable, write closed
/// or error.
///
/// ```
/// # use bifilar_events::{EventQueue, Events, Interest, Mode, Token};
/// # fn main() -> std::io::Result<()> {
/// let (near, far) = std::os::unix::net::UnixStream::pair()?;
/// # let queue = EventQueue::new()?;
/// # let mut events = Events::with_capacity(8);
/// queue.register(&far, Token(1), Interest::READABLE, Mode::Edge)?;
/// near.shutdown(std::net::Shutdown::Write)?;
/// queue.wait(&mut events, None)?;
/// let event = events.iter().next().unwrap();
/// assert!(event.is_readable() && event.is_read_closed());
/// assert!(!event.is_write_closed() && !event.is_error());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Event {
    pub(crate) token: Token,
    pub(crate) readiness: Readiness,
}

/// The answers of one event, as bits.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Readiness(pub(crate) u8);

impl Readiness {
    pub(crate) const READABLE: u8 = 1;
    pub(crate) const WRITABLE: u8 = 2;
    pub(crate) const READ_CLOSED: u8 = 4;
    pub(crate) const WRITE_CLOSED: u8 = 8;
    pub(crate) const ERROR: u8 = 16;
    pub(crate) const PRIORITY: u8 = 32;

    const NAMES: [(u8, &str); 6] = [
        (Self::READABLE, "readable"),
        (Self::WRITABLE, "writable"),
        (Self::READ_CLOSED, "read closed"),
        (Self::WRITE_CLOSED, "write closed"),
        (Self::ERROR, "error"),
        (Self::PRIORITY, "priority"),
    ];
}

impl Event {
    fn has(self, bit: u8) -> bool {
        self.readiness.0 & bit != 0
    }

    /// The token the source is registered with.
    ///
    /// ```
    /// # fn dispatch(event: bifilar_events::Event, callbacks: &mut [fn()]) {
    /// callbacks[event.token().0 as usize]();
    /// # }
    /// ```
    pub fn token(&self) -> Token {
        self.token
    }

    /// A read would not block: there are bytes, a connection to accept, or the end.
    ///
    /// See the [table](Event) for when.
    pub fn is_readable(&self) -> bool {
        self.has(Readiness::READABLE)
    }

    /// A write would not block, or a connection attempt has ended.
    ///
    /// See the [table](Event) for when.
    pub fn is_writable(&self) -> bool {
        self.has(Readiness::WRITABLE)
    }

    /// Nothing more will arrive after what is there already: read until the end.
    ///
    /// With [`Mode::Edge`](crate::Mode::Edge) this matters when a *short read* is taken for
    /// "nothing left": after this event it isn't, the end is still to be read, and there will be
    /// no further edge for it. See the [table](Event) for when.
    pub fn is_read_closed(&self) -> bool {
        self.has(Readiness::READ_CLOSED)
    }

    /// Nothing written from now on can arrive; a write will fail.
    ///
    /// See the [table](Event) for when.
    pub fn is_write_closed(&self) -> bool {
        self.has(Readiness::WRITE_CLOSED)
    }

    /// An error is pending on the source; the next read or write will bring it.
    ///
    /// See the [table](Event) for when.
    pub fn is_error(&self) -> bool {
        self.has(Readiness::ERROR)
    }

    /// An exceptional condition is there; only with [`Interest::PRIORITY`](crate::Interest).
    ///
    /// See the [table](Event) for when.
    pub fn is_priority(&self) -> bool {
        self.has(Readiness::PRIORITY)
    }
}

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}:", self.token)?;
        Readiness::NAMES
            .iter()
            .filter(|(bit, _)| self.has(*bit))
            .try_for_each(|(_, name)| write!(f, " {name}"))
    }
}
