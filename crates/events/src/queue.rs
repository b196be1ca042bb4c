//! [`EventQueue`]: the calls, their promises and their errors. How they are kept is written in the
//! backend.

use crate::{Events, Interest, Mode, Token, backend::Backend};
use std::os::fd::AsFd;
use std::time::Duration;
use std::{fmt, io};

/// A set of watched sources, and a way to wait for any of them.
///
/// All methods take `&self` and may be called from any thread at any time, also while another
/// thread waits: a registration takes effect at once. When several threads wait on one queue, an
/// edge, a one-shot report or a wake-up goes to one of them.
///
/// # What becomes of a source that is closed
///
/// The kernel drops a registration when the *last* descriptor of the open file is closed. After
/// `try_clone` or a `fork` there may be another one, and the events go on with no descriptor left
/// to deregister them by; so deregister before closing what may have been cloned. A token can
/// also still stand in an [`Events`] that was filled before: be ready for one that is no longer
/// known.
///
/// # Example
///
/// ```
/// use bifilar_events::{EventQueue, Events, Interest, Mode, Token};
/// use std::net::{TcpListener, TcpStream};
///
/// # fn main() -> std::io::Result<()> {
/// let listener = TcpListener::bind("127.0.0.1:0")?;
/// listener.set_nonblocking(true)?;
///
/// let queue = EventQueue::new()?;
/// queue.register(&listener, Token(0), Interest::READABLE, Mode::Level)?;
/// let _client = TcpStream::connect(listener.local_addr()?)?;
///
/// let mut events = Events::with_capacity(64);
/// queue.wait(&mut events, None)?;
/// assert_eq!(events.iter().next().unwrap().token(), Token(0));
/// let (_stream, _peer) = listener.accept()?;
/// # Ok(())
/// # }
/// ```
pub struct EventQueue {
    backend: Backend,
}

impl EventQueue {
    /// Makes an empty queue with its waker.
    ///
    /// It takes two file descriptors, closed on exec.
    ///
    /// # Errors
    ///
    /// What the operating system says, mostly `EMFILE`: too many open files.
    ///
    /// # Example
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// let queue = bifilar_events::EventQueue::new()?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn new() -> io::Result<Self> {
        Ok(Self { backend: Backend::new()? })
    }

    /// Starts watching `source`; its events come back with `token`.
    ///
    /// Two sources may share a token. The queue doesn't set the source non-blocking: do it before
    /// you read or write on the queue's word.
    ///
    /// # Errors
    ///
    /// - `InvalidInput`: the token is [`Token::RESERVED`], or the source is this queue.
    /// - `AlreadyExists`: the source is registered; [`modify`](EventQueue::modify) changes it.
    /// - `PermissionDenied`: the source can't be watched, as regular files can't: they are
    ///   always ready.
    /// - `ENOSPC`: the system's limit of watched sources (`fs.epoll.max_user_watches`).
    ///
    /// # Example
    ///
    /// ```
    /// # use bifilar_events::{EventQueue, Interest, Mode, Token};
    /// # fn main() -> std::io::Result<()> {
    /// let socket = std::net::UdpSocket::bind("127.0.0.1:0")?;
    /// let queue = EventQueue::new()?;
    /// queue.register(&socket, Token(1), Interest::READABLE | Interest::WRITABLE, Mode::Edge)?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn register(
        &self,
        source: impl AsFd,
        token: Token,
        interest: Interest,
        mode: Mode,
    ) -> io::Result<()> {
        refuse_reserved(token)?;
        self.backend.register(source.as_fd(), token, interest, mode)
    }

    /// Replaces the token, interest and mode of a registered source, and looks at it afresh.
    ///
    /// This also arms a [`Mode::OneShot`] source again. A source that is ready now is reported,
    /// in every mode.
    ///
    /// # Errors
    ///
    /// - `InvalidInput`: the token is [`Token::RESERVED`].
    /// - `NotFound`: the source is not registered.
    ///
    /// # Example
    ///
    /// ```
    /// # use bifilar_events::{EventQueue, Interest, Mode, Token};
    /// # fn main() -> std::io::Result<()> {
    /// # let socket = std::net::UdpSocket::bind("127.0.0.1:0")?;
    /// # let queue = EventQueue::new()?;
    /// queue.register(&socket, Token(1), Interest::READABLE, Mode::Level)?;
    /// queue.modify(&socket, Token(1), Interest::WRITABLE, Mode::Level)?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn modify(
        &self,
        source: impl AsFd,
        token: Token,
        interest: Interest,
        mode: Mode,
    ) -> io::Result<()> {
        refuse_reserved(token)?;
        self.backend.modify(source.as_fd(), token, interest, mode)
    }

    /// Stops watching `source`: no wait that begins after this reports it.
    ///
    /// # Errors
    ///
    /// `NotFound`: the source is not registered.
    ///
    /// # Example
    ///
    /// ```
    /// # use bifilar_events::{EventQueue, Interest, Mode, Token};
    /// # fn main() -> std::io::Result<()> {
    /// # let socket = std::net::UdpSocket::bind("127.0.0.1:0")?;
    /// # let queue = EventQueue::new()?;
    /// queue.register(&socket, Token(1), Interest::READABLE, Mode::Edge)?;
    /// queue.deregister(&socket)?;
    /// assert!(queue.deregister(&socket).is_err());
    /// # Ok(())
    /// # }
    /// ```
    pub fn deregister(&self, source: impl AsFd) -> io::Result<()> {
        self.backend.deregister(source.as_fd())
    }

    /// Waits until a source is ready, [`wake`](EventQueue::wake) is called, or `timeout` is over,
    /// and puts what it found into `events` in place of what was there.
    ///
    /// `None` waits for ever, and `Some(Duration::ZERO)` only looks. A timeout is never cut short
    /// by rounding: it has the resolution of the kernel's timers where `epoll_pwait2` exists
    /// (Linux 5.11), else it is rounded up to whole milliseconds.
    ///
    /// A signal handled by this thread ends the wait early, with no events and without an error,
    /// so that the caller can look at what the handler left for it. So do timeouts of more than
    /// 24 days on old kernels. Whoever counts on the time being over reads the clock.
    ///
    /// # Errors
    ///
    /// None in normal operation; what the operating system says is passed on.
    ///
    /// # Example
    ///
    /// ```
    /// # use bifilar_events::{EventQueue, Events};
    /// use std::time::{Duration, Instant};
    /// # fn main() -> std::io::Result<()> {
    /// # let queue = EventQueue::new()?;
    /// # let mut events = Events::with_capacity(8);
    /// let start = Instant::now();
    /// queue.wait(&mut events, Some(Duration::from_millis(2)))?;
    /// assert!(events.is_empty());
    /// assert!(start.elapsed() >= Duration::from_millis(2));
    /// # Ok(())
    /// # }
    /// ```
    pub fn wait(&self, events: &mut Events, timeout: Option<Duration>) -> io::Result<()> {
        let found = self.backend.wait(events.start(), timeout)?;
        events.finish(found);
        Ok(())
    }

    /// Makes the current wait return, or the next one if there is none; from any thread.
    ///
    /// Calls coalesce until a wait has reported them through [`Events::woken`]; only the first
    /// costs a system call. What the caller did before `wake` is visible to the thread whose wait
    /// reports it. A wake-up is never lost.
    ///
    /// # Errors
    ///
    /// None in normal operation; what the operating system says is passed on.
    ///
    /// # Example
    ///
    /// ```
    /// # use bifilar_events::{EventQueue, Events};
    /// # fn main() -> std::io::Result<()> {
    /// let queue = EventQueue::new()?;
    /// let mut events = Events::with_capacity(8);
    /// std::thread::scope(|s| {
    ///     s.spawn(|| queue.wake());
    ///     queue.wait(&mut events, None)
    /// })?;
    /// assert!(events.woken());
    /// # Ok(())
    /// # }
    /// ```
    pub fn wake(&self) -> io::Result<()> {
        self.backend.wake()
    }
}

impl fmt::Debug for EventQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventQueue").finish_non_exhaustive()
    }
}

fn refuse_reserved(token: Token) -> io::Result<()> {
    if token == Token::RESERVED {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "Token(u64::MAX) is reserved for the queue's waker; choose another number",
        ));
    }
    Ok(())
}
