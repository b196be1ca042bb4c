//! A socket that takes connections.

use super::{TcpStream, ToSocketAddrs, address::first_that_works};
use crate::{
    reactor::{Direction, Done, Io},
    record,
    time::{Sleep, sleep},
};
use futures_core::Stream;
use rustix::net::{SocketFlags, acceptfrom_with, listen};
use std::{
    fmt,
    future::{Future, poll_fn},
    io,
    net::SocketAddr,
    os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

/// Connections that may wait to be accepted; the kernel cuts it to `net.core.somaxconn`, which has
/// been 4,096 since Linux 5.4.
const BACKLOG: i32 = 4096;

/// How long [`Incoming`] pauses when the system has run out of descriptors or memory.
const PAUSE: Duration = Duration::from_millis(50);

/// A TCP socket that listens for connections.
///
/// Cloning it is cheap; clones share the socket, and each connection goes to one of them.
///
/// ```
/// use bifilar::{Wait, net::TcpListener};
///
/// bifilar::run(|| {
///     let listener = TcpListener::bind("127.0.0.1:0").wait()?;
///     println!("listening on {}", listener.local_addr()?);
///     Ok::<(), std::io::Error>(())
/// }).unwrap();
/// ```
#[derive(Clone)]
pub struct TcpListener {
    io: Arc<Io<std::net::TcpListener>>,
}

impl TcpListener {
    /// Listens on the first of the addresses that can be bound; port 0 lets the system choose one.
    ///
    /// Sets `SO_REUSEADDR`, as std does.
    ///
    /// # Cancellation
    /// Dropping the future leaves nothing bound.
    ///
    /// # Errors
    /// What the system says of the last address that was tried, or why the name can't be looked up.
    pub fn bind(address: impl ToSocketAddrs) -> impl Future<Output = io::Result<Self>> + Send {
        first_that_works(address.resolve(), async |address| {
            Self::try_from(std::net::TcpListener::bind(address)?)
        })
    }

    /// Waits for a connection: the stream, and who is at its other end.
    ///
    /// # Cancellation
    /// Dropping the future loses no connection: it stays in the system's queue.
    ///
    /// # Errors
    /// What the system says; a connection that was given up meanwhile (`ECONNABORTED`) and running
    /// out of descriptors (`EMFILE`) leave the listener as good as before.
    /// [`incoming`](TcpListener::incoming) deals with both.
    pub fn accept(&self) -> impl Future<Output = io::Result<(TcpStream, SocketAddr)>> + Send + '_ {
        poll_fn(|cx| self.poll_accept(cx))
    }

    fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<(TcpStream, SocketAddr)>> {
        self.io.poll(cx, Direction::Read, |listener| {
            let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
            let accept = || Ok(acceptfrom_with(listener, flags)?);
            let (fd, peer) = record::system_call("accept4", listener.as_raw_fd(), 0, accept)?;
            let peer = peer
                .and_then(|peer| SocketAddr::try_from(peer).ok())
                .ok_or_else(|| io::Error::other("a TCP connection from no IP address"))?;
            Ok(Done::Full((TcpStream::from_nonblocking(fd), peer)))
        })
    }

    /// Connections, one after the other, without end.
    ///
    /// Connections that were given up before they could be accepted are passed over. When the system
    /// has run out of descriptors or memory, the stream yields the error, so that it can be logged,
    /// and pauses for 50 ms before it tries again: a loop over it neither ends nor spins.
    ///
    /// # Cancellation
    /// Waiting for the next connection can be given up at any time; none is lost.
    ///
    /// ```no_run
    /// use bifilar::{Wait, WaitIter, fiber, net::TcpListener};
    ///
    /// bifilar::run(|| {
    ///     let listener = TcpListener::bind("127.0.0.1:7000").wait()?;
    ///     for stream in listener.incoming().wait_iter() {
    ///         match stream {
    ///             Ok(stream) => { fiber::spawn(move || drop(stream)); }
    ///             Err(error) => eprintln!("accept: {error}"),
    ///         }
    ///     }
    ///     Ok::<(), std::io::Error>(())
    /// }).unwrap();
    /// ```
    pub fn incoming(&self) -> Incoming<'_> {
        Incoming { listener: self, pause: None }
    }

    /// The address it listens on.
    ///
    /// # Errors
    /// What the system says.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.io.get().local_addr()
    }
}

/// Takes over a listener of std's, which may be in either mode.
impl TryFrom<std::net::TcpListener> for TcpListener {
    type Error = io::Error;

    fn try_from(listener: std::net::TcpListener) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        // std's backlog is 128; listening again changes it.
        listen(&listener, BACKLOG)?;
        Ok(TcpListener { io: Arc::new(Io::new(listener)) })
    }
}

impl AsFd for TcpListener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.io.get().as_fd()
    }
}

impl AsRawFd for TcpListener {
    fn as_raw_fd(&self) -> RawFd {
        self.io.get().as_raw_fd()
    }
}

impl fmt::Debug for TcpListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.io.fmt(f)
    }
}

/// The stream of [`TcpListener::incoming`].
#[derive(Debug)]
#[must_use = "streams do nothing unless polled"]
pub struct Incoming<'a> {
    listener: &'a TcpListener,
    pause: Option<Sleep>,
}

impl Stream for Incoming<'_> {
    type Item = io::Result<TcpStream>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let Some(pause) = &mut self.pause {
            ready!(Pin::new(pause).poll(cx));
            self.pause = None;
        }
        loop {
            return match ready!(self.listener.poll_accept(cx)) {
                Ok((stream, _)) => Poll::Ready(Some(Ok(stream))),
                Err(error) if belongs_to_connection(&error) => continue,
                Err(error) => {
                    self.pause = Some(sleep(PAUSE));
                    Poll::Ready(Some(Err(error)))
                }
            };
        }
    }
}

/// Whether the error is that of one connection, which is gone: accept(2) passes on network errors
/// that were pending on the new socket.
fn belongs_to_connection(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let network = [
        Errno::CONNABORTED,
        Errno::CONNRESET,
        Errno::NETDOWN,
        Errno::PROTO,
        Errno::NOPROTOOPT,
        Errno::HOSTDOWN,
        Errno::NONET,
        Errno::HOSTUNREACH,
        Errno::OPNOTSUPP,
        Errno::NETUNREACH,
    ];
    error.raw_os_error().is_some_and(|code| network.contains(&Errno::from_raw_os_error(code)))
}
