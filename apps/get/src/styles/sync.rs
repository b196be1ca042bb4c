//! Style sync: one request after the other, over `std::net`.
//!
//! The only thing to add to a std socket is a limit on the whole exchange: std limits each call.

use std::{
    io::{self, Read, Write},
    net::{Shutdown, TcpStream, ToSocketAddrs},
    os::fd::AsFd,
    sync::Arc,
    time::{Duration, Instant},
};

use bifilar::{
    recording::{self, system_call},
    span,
    timeline::Recorder,
};

use super::Outcome;
use crate::{
    exchange::{Duplex, FetchError, exchange},
    request::Request,
    response::Response,
};

/// Fetches `requests` one by one.
pub fn fetch_all(
    recorder: Option<&Recorder>,
    requests: &[Arc<Request>],
    report: &mut dyn FnMut(Outcome),
) {
    let _recorded = recorder.map(|recorder| recording::thread(recorder, "main"));
    for request in requests {
        report(Outcome::of(request, || fetch(request)));
    }
}

/// Fetches one request on the calling thread.
pub fn fetch(request: &Request) -> Result<Response, FetchError> {
    let _span = span!("fetch");
    let deadline = Instant::now() + request.timeout;
    exchange(request, || Limited::connect(&request.url.host, request.url.port, deadline))
}

/// A std socket that is given up at `deadline`.
struct Limited {
    stream: TcpStream,
    deadline: Instant,
}

impl Limited {
    /// Tries the host's addresses in turn.
    fn connect(host: &str, port: u16, deadline: Instant) -> io::Result<Self> {
        let mut last = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
        for address in (host, port).to_socket_addrs()? {
            let limit = remaining(deadline)?;
            let connect = || TcpStream::connect_timeout(&address, limit);
            match system_call("connect", None, 0, connect) {
                Ok(stream) => return Ok(Self { stream, deadline }),
                Err(error) => last = error,
            }
        }
        Err(last)
    }
}

/// The time until `deadline`, never zero: for std zero is an error.
fn remaining(deadline: Instant) -> io::Result<Duration> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(left) }
}

impl Read for Limited {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stream.set_read_timeout(Some(remaining(self.deadline)?))?;
        let (fd, wanted) = (self.stream.as_fd(), buffer.len());
        system_call("recv", Some(fd), wanted, || (&self.stream).read(buffer))
    }
}

impl Write for Limited {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.set_write_timeout(Some(remaining(self.deadline)?))?;
        let fd = self.stream.as_fd();
        system_call("send", Some(fd), bytes.len(), || (&self.stream).write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

impl Duplex for Limited {
    fn shut_down_write(&mut self) -> io::Result<()> {
        let fd = self.stream.as_fd();
        system_call("shutdown", Some(fd), 0, || self.stream.shutdown(Shutdown::Write))
    }
}
