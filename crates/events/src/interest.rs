//! What is asked for when a source is registered: under which [`Token`], for which directions
//! ([`Interest`]), and how often it is reported ([`Mode`]).
//!
//! Plain values; what a backend makes of them is the backend's business.

use std::ops::BitOr;

/// The number under which a source is registered and with which its events come back.
///
/// The queue gives it no meaning: an index, an id or an address will do. `Token(u64::MAX)` is
/// [reserved](Token::RESERVED) and refused.
///
/// ```
/// # use bifilar_events::Token;
/// let token = Token(3);
/// assert_eq!(token.0, 3);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Token(pub u64);

impl Token {
    /// The token the queue uses for its own waker; registering with it is an error.
    ///
    /// ```
    /// # use bifilar_events::{EventQueue, Interest, Mode, Token};
    /// # fn main() -> std::io::Result<()> {
    /// let (end, _other) = std::os::unix::net::UnixStream::pair()?;
    /// let error = EventQueue::new()?
    ///     .register(&end, Token::RESERVED, Interest::READABLE, Mode::Level)
    ///     .unwrap_err();
    /// assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
    /// # Ok(())
    /// # }
    /// ```
    pub const RESERVED: Token = Token(u64::MAX);
}

/// The directions in which a source is watched; never empty.
///
/// Hang-ups and errors are always reported, whatever the interest.
///
/// ```
/// # use bifilar_events::Interest;
/// let both = Interest::READABLE | Interest::WRITABLE;
/// assert!(both.contains(Interest::READABLE));
/// assert!(!Interest::WRITABLE.contains(both));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Interest(u8);

impl Interest {
    /// Something can be read: bytes, a connection to accept, or the end of the stream.
    pub const READABLE: Interest = Interest(1);
    /// Something can be written, or a connection attempt has ended.
    pub const WRITABLE: Interest = Interest(2);
    /// Exceptional conditions: out-of-band bytes on TCP, state changes of a terminal or a cgroup
    /// file. Ordinary streams don't need it.
    pub const PRIORITY: Interest = Interest(4);

    /// Whether every direction in `other` is in `self`.
    ///
    /// ```
    /// # use bifilar_events::Interest;
    /// assert!((Interest::READABLE | Interest::PRIORITY).contains(Interest::PRIORITY));
    /// ```
    pub const fn contains(self, other: Interest) -> bool {
        self.0 & other.0 == other.0
    }
}

impl BitOr for Interest {
    type Output = Interest;

    fn bitor(self, other: Interest) -> Interest {
        Interest(self.0 | other.0)
    }
}

/// How often a source that is ready is reported.
///
/// | mode | reported by a `wait` when | then |
/// |---|---|---|
/// | `Edge` | it *became* ready, or more arrived, since it was last reported | use it until `WouldBlock`, or the rest stays unseen |
/// | `Level` | it *is* ready | nothing is forgotten; a source left unread is reported again and again |
/// | `OneShot` | it is ready and armed | it is disarmed by the report; [`modify`](crate::EventQueue::modify) arms it again |
///
/// Registering and modifying look at the source as it stands: one that is ready at that moment is
/// reported, in every mode.
///
/// ```
/// # use bifilar_events::{EventQueue, Events, Interest, Mode, Token};
/// # use std::{io::Write, os::unix::net::UnixStream, time::Duration};
/// # fn main() -> std::io::Result<()> {
/// let (mut near, far) = UnixStream::pair()?;
/// let queue = EventQueue::new()?;
/// let mut events = Events::with_capacity(8);
/// queue.register(&far, Token(1), Interest::READABLE, Mode::OneShot)?;
///
/// near.write_all(b"x")?;
/// queue.wait(&mut events, None)?;
/// assert_eq!(events.len(), 1);
///
/// queue.wait(&mut events, Some(Duration::ZERO))?;
/// assert!(events.is_empty()); // disarmed, though the byte is still there
///
/// queue.modify(&far, Token(1), Interest::READABLE, Mode::OneShot)?;
/// queue.wait(&mut events, None)?;
/// assert_eq!(events.len(), 1);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mode {
    /// Report changes: once for each time the source becomes ready.
    Edge,
    /// Report the state: at every wait for as long as the source is ready.
    Level,
    /// Report the state once, then stay silent until modified.
    OneShot,
}
