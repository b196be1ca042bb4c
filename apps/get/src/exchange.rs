//! One request and its response, in blocking style: the function that threads and fibers share.
//!
//! [`exchange`] knows neither `std::net` nor `bifilar::net`. It is handed a way to connect, and
//! reads and writes through the traits of `std::io`. On a thread each call blocks the thread; on a
//! fiber the same call suspends the fiber.

use bifilar::span;
use std::{
    fmt,
    io::{self, Read, Write},
};

use crate::{
    request::Request,
    response::{Response, ResponseError},
    url::UrlError,
};

/// The longest response that is read, head included, in bytes.
pub const MAX_RESPONSE: u64 = 256 * 1024 * 1024;

/// A connection whose two directions end separately.
pub trait Duplex: Read + Write {
    /// Says that nothing more will be written; reading goes on.
    fn shut_down_write(&mut self) -> io::Result<()>;
}

/// Why a URL could not be fetched.
#[derive(Debug)]
pub enum FetchError {
    /// It is not a URL.
    Url(UrlError),
    /// The connection could not be made.
    Connect(io::Error),
    /// The connection broke.
    Broken(io::Error),
    /// What came is not a response.
    Response(ResponseError),
    /// No answer came, maybe because the write side was shut down.
    HungUp,
    /// More came than [`MAX_RESPONSE`].
    TooLong,
    /// It took longer than allowed.
    TimedOut,
    /// No thread or fiber could be started for it, or it panicked.
    Failed(String),
}

/// Connects, sends `request`, and reads the response to its end.
pub fn exchange<S: Duplex>(
    request: &Request,
    connect: impl FnOnce() -> io::Result<S>,
) -> Result<Response, FetchError> {
    let mut stream = {
        let _span = span!("connect");
        connect().map_err(FetchError::connecting)?
    };
    send(request, &mut stream).map_err(FetchError::using)?;
    let bytes = receive(stream).map_err(FetchError::using)?;
    read_response(request, &bytes)
}

fn send(request: &Request, stream: &mut impl Duplex) -> io::Result<()> {
    let _span = span!("send");
    stream.write_all(&request.bytes)?;
    if request.shut_down { ignore_gone(stream.shut_down_write()) } else { Ok(()) }
}

fn receive(stream: impl Read) -> io::Result<Vec<u8>> {
    let _span = span!("receive");
    let mut bytes = Vec::new();
    stream.take(MAX_RESPONSE + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Reads `bytes`, of which there are at most [`MAX_RESPONSE`] and one.
pub fn read_response(request: &Request, bytes: &[u8]) -> Result<Response, FetchError> {
    if bytes.len() as u64 > MAX_RESPONSE {
        return Err(FetchError::TooLong);
    }
    Response::parse(bytes).map_err(|error| match error {
        ResponseError::Empty if request.shut_down => FetchError::HungUp,
        error => FetchError::Response(error),
    })
}

/// A server that has answered and left already cannot be told of the end; reading tells more.
pub fn ignore_gone(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(()),
        result => result,
    }
}

impl FetchError {
    /// The error of a connection that could not be made.
    pub fn connecting(error: io::Error) -> Self {
        Self::timed_out(&error).unwrap_or(Self::Connect(error))
    }

    /// The error of a connection in use.
    pub fn using(error: io::Error) -> Self {
        Self::timed_out(&error).unwrap_or(Self::Broken(error))
    }

    /// A socket with a time limit reports the limit as `WouldBlock`.
    fn timed_out(error: &io::Error) -> Option<Self> {
        let kinds = [io::ErrorKind::TimedOut, io::ErrorKind::WouldBlock];
        kinds.contains(&error.kind()).then_some(Self::TimedOut)
    }
}

impl fmt::Display for FetchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Url(error) => error.fmt(f),
            Self::Connect(error) => write!(f, "cannot connect: {error}"),
            Self::Broken(error) => write!(f, "the connection broke: {error}"),
            Self::Response(error) => error.fmt(f),
            Self::HungUp => write!(f, "{}; --no-shutdown may help", ResponseError::Empty),
            Self::TooLong => write!(f, "the answer is longer than {MAX_RESPONSE} bytes"),
            Self::TimedOut => write!(f, "no full answer in time (see --timeout)"),
            Self::Failed(reason) => f.write_str(reason),
        }
    }
}
