//! A connection.

use super::{ToSocketAddrs, address::first_that_works};
use crate::{
    reactor::{Direction, Done, Io},
    record::system_call,
    wait::Wait,
};
use futures_io::{AsyncRead, AsyncWrite};
use rustix::{
    io::Errno,
    net::{AddressFamily, SocketFlags, SocketType, connect, socket_with},
};
use std::{
    fmt,
    future::{Future, poll_fn},
    io::{self, IoSlice, IoSliceMut, Read, Write},
    net::{Shutdown, SocketAddr},
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

/// A TCP connection.
///
/// Cloning it is cheap; clones share the socket, which is closed with the last one. It can be read
/// and written through a shared reference, by several tasks at once, and in both styles:
/// `std::io::{Read, Write}` wait, `futures_io::{AsyncRead, AsyncWrite}` are polled.
///
/// # Cancellation
/// A `read`, `write` or `peek` that is cancelled while it waits has done nothing, and leaves the
/// stream as it was. What is made of several of them has done a part:
///
/// | cancelled | has taken, or sent |
/// |---|---|
/// | `read_exact` | some bytes, which stand at the beginning of the buffer; it doesn't tell how many |
/// | `read_to_end`, `read_until` | what stands in the vector |
/// | `read_to_string`, `read_line`, `lines` | some bytes, which are lost: std cuts the string back |
/// | `write_all` | a beginning of the buffer; it doesn't tell how much |
///
/// A `BufReader` keeps what it holds, and so does a `BufWriter`; but one that was interrupted while it
/// wrote doesn't flush itself when it is dropped, only when it is told to.
///
/// ```
/// use bifilar::{Wait, net::{TcpListener, TcpStream}};
/// use std::io::{Read, Write};
///
/// bifilar::run(|| {
///     let listener = TcpListener::bind("127.0.0.1:0").wait()?;
///     let mut client = TcpStream::connect(listener.local_addr()?).wait()?;
///     let (mut server, _) = listener.accept().wait()?;
///     client.write_all(b"ping")?;
///     let mut four = [0; 4];
///     server.read_exact(&mut four)?;
///     assert_eq!(&four, b"ping");
///     Ok::<(), std::io::Error>(())
/// }).unwrap();
/// ```
#[derive(Clone)]
pub struct TcpStream {
    io: Arc<Io<std::net::TcpStream>>,
}

impl TcpStream {
    /// Connects to the first of the addresses that answers.
    ///
    /// # Cancellation
    /// Dropping the future gives the attempt up, and closes the socket.
    ///
    /// # Errors
    /// What the system says of the last address that was tried, or why the name can't be looked up.
    pub fn connect(address: impl ToSocketAddrs) -> impl Future<Output = io::Result<Self>> + Send {
        first_that_works(address.resolve(), connect_to)
    }

    /// Takes over a socket in non-blocking mode.
    pub(super) fn from_nonblocking(socket: OwnedFd) -> Self {
        TcpStream { io: Arc::new(Io::new(socket.into())) }
    }

    /// Waits until there is something to read, or the peer has closed its side.
    ///
    /// For programs with thousands of connections that are mostly idle: take a buffer when there is
    /// something to put into it.
    ///
    /// # Cancellation
    /// Dropping the future loses nothing.
    ///
    /// # Errors
    /// What the system says.
    ///
    /// ```
    /// # use bifilar::{Wait, net::{TcpListener, TcpStream}};
    /// # use std::io::{Read, Write};
    /// # bifilar::run(|| {
    /// # let listener = TcpListener::bind("127.0.0.1:0").wait()?;
    /// # let mut client = TcpStream::connect(listener.local_addr()?).wait()?;
    /// # let (mut server, _) = listener.accept().wait()?;
    /// # client.write_all(b"ping")?;
    /// server.readable().wait()?;
    /// let mut buffer = vec![0; 4096];
    /// assert_eq!(server.read(&mut buffer)?, 4);
    /// # Ok::<(), std::io::Error>(()) }).unwrap();
    /// ```
    pub fn readable(&self) -> impl Future<Output = io::Result<()>> + Send + '_ {
        poll_fn(|cx| {
            self.io.poll(cx, Direction::Read, |stream| {
                let peek = || stream.peek(&mut [0]);
                system_call("recv", stream.as_raw_fd(), 1, peek).map(|_| Done::Full(()))
            })
        })
    }

    /// Reads without taking away: the next read gives the same bytes again.
    ///
    /// # Cancellation
    /// Dropping the future loses nothing; a future that isn't ready has not touched the buffer.
    ///
    /// # Errors
    /// What the system says.
    pub fn peek<'a>(
        &'a self,
        buffer: &'a mut [u8],
    ) -> impl Future<Output = io::Result<usize>> + Send + 'a {
        poll_fn(move |cx| {
            self.io.poll(cx, Direction::Read, |stream| {
                let (fd, wanted) = (stream.as_raw_fd(), buffer.len());
                system_call("recv", fd, wanted, || stream.peek(buffer)).map(Done::Full)
            })
        })
    }

    /// Closes one or both directions, for all clones.
    ///
    /// # Errors
    /// What the system says, `NotConnected` if the peer was faster.
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        let stream = self.io.get();
        system_call("shutdown", stream.as_raw_fd(), 0, || stream.shutdown(how))
    }

    /// The address at the other end.
    ///
    /// # Errors
    /// What the system says, `NotConnected` if the peer is gone.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.io.get().peer_addr()
    }

    /// The address at this end.
    ///
    /// # Errors
    /// What the system says.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.io.get().local_addr()
    }

    /// Whether small writes are sent at once (`TCP_NODELAY`).
    ///
    /// # Errors
    /// What the system says.
    pub fn nodelay(&self) -> io::Result<bool> {
        self.io.get().nodelay()
    }

    /// Sends small writes at once instead of gathering them.
    ///
    /// # Errors
    /// What the system says.
    pub fn set_nodelay(&self, nodelay: bool) -> io::Result<()> {
        self.io.get().set_nodelay(nodelay)
    }

    /// How many hops packets may take.
    ///
    /// # Errors
    /// What the system says.
    pub fn ttl(&self) -> io::Result<u32> {
        self.io.get().ttl()
    }

    /// Sets how many hops packets may take.
    ///
    /// # Errors
    /// What the system says.
    pub fn set_ttl(&self, ttl: u32) -> io::Result<()> {
        self.io.get().set_ttl(ttl)
    }

    fn poll_recv(&self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let wanted = buffer.len();
        self.io.poll(cx, Direction::Read, |mut stream| {
            // Zero is the end, not a short read: it stays ready.
            system_call("recv", stream.as_raw_fd(), wanted, || stream.read(buffer))
                .map(|n| if n < wanted && n > 0 { Done::Short(n) } else { Done::Full(n) })
        })
    }

    fn poll_recv_vectored(
        &self,
        cx: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
    ) -> Poll<io::Result<usize>> {
        let wanted = buffers.iter().map(|buffer| buffer.len()).sum();
        self.io.poll(cx, Direction::Read, |mut stream| {
            let fd = stream.as_raw_fd();
            system_call("readv", fd, wanted, || stream.read_vectored(buffers)).map(Done::Full)
        })
    }

    fn poll_send(&self, cx: &mut Context<'_>, buffer: &[u8]) -> Poll<io::Result<usize>> {
        let wanted = buffer.len();
        self.io.poll(cx, Direction::Write, |mut stream| {
            system_call("send", stream.as_raw_fd(), wanted, || stream.write(buffer))
                .map(|n| if n < wanted { Done::Short(n) } else { Done::Full(n) })
        })
    }

    fn poll_send_vectored(
        &self,
        cx: &mut Context<'_>,
        buffers: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let wanted = buffers.iter().map(|buffer| buffer.len()).sum();
        self.io.poll(cx, Direction::Write, |mut stream| {
            let fd = stream.as_raw_fd();
            system_call("writev", fd, wanted, || stream.write_vectored(buffers)).map(Done::Full)
        })
    }
}

async fn connect_to(address: SocketAddr) -> io::Result<TcpStream> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let open = || Ok(socket_with(family, SocketType::STREAM, flags, None)?);
    let socket = system_call("socket", -1, 0, open)?;
    match system_call("connect", socket.as_raw_fd(), 0, || Ok(connect(&socket, &address)?)) {
        Ok(()) => return Ok(TcpStream::from_nonblocking(socket)),
        Err(error) => match Errno::from_io_error(&error) {
            // Interrupted, the attempt goes on all the same: connect(2).
            Some(Errno::INPROGRESS | Errno::INTR) => {}
            _ => return Err(error),
        },
    }
    let stream = TcpStream::from_nonblocking(socket);
    poll_fn(|cx| stream.io.poll_ready(cx, Direction::Write)).await?;
    let socket = stream.io.get();
    match system_call("getsockopt", socket.as_raw_fd(), 0, || socket.take_error())? {
        Some(error) => Err(error),
        None => Ok(stream),
    }
}

/// Takes over a stream of std's, which may be in either mode.
impl TryFrom<std::net::TcpStream> for TcpStream {
    type Error = io::Error;

    fn try_from(stream: std::net::TcpStream) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        Ok(TcpStream { io: Arc::new(Io::new(stream)) })
    }
}

impl Read for &TcpStream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        poll_fn(|cx| self.poll_recv(cx, buffer)).wait()
    }

    fn read_vectored(&mut self, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        poll_fn(|cx| self.poll_recv_vectored(cx, buffers)).wait()
    }
}

impl Write for &TcpStream {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        poll_fn(|cx| self.poll_send(cx, buffer)).wait()
    }

    fn write_vectored(&mut self, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
        poll_fn(|cx| self.poll_send_vectored(cx, buffers)).wait()
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Read for TcpStream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        (&*self).read(buffer)
    }

    fn read_vectored(&mut self, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        (&*self).read_vectored(buffers)
    }
}

impl Write for TcpStream {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        (&*self).write(buffer)
    }

    fn write_vectored(&mut self, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
        (&*self).write_vectored(buffers)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl AsyncRead for &TcpStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_recv(cx, buffer)
    }

    fn poll_read_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll_recv_vectored(cx, buffers)
    }
}

impl AsyncWrite for &TcpStream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_send(cx, buffer)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll_send_vectored(cx, buffers)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    /// Closes the writing direction.
    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.shutdown(Shutdown::Write) {
            // The peer was faster; there is nothing left to close.
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Poll::Ready(Ok(())),
            result => Poll::Ready(result),
        }
    }
}

impl AsyncRead for TcpStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_recv(cx, buffer)
    }

    fn poll_read_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll_recv_vectored(cx, buffers)
    }
}

impl AsyncWrite for TcpStream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_send(cx, buffer)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll_send_vectored(cx, buffers)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    /// Closes the writing direction.
    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut &*self.as_mut()).poll_close(cx)
    }
}

impl AsFd for TcpStream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.io.get().as_fd()
    }
}

impl AsRawFd for TcpStream {
    fn as_raw_fd(&self) -> RawFd {
        self.io.get().as_raw_fd()
    }
}

impl fmt::Debug for TcpStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.io.fmt(f)
    }
}
