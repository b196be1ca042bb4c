//! `--metrics`: how the runtime does, over HTTP, in the text that Prometheus reads.
//!
//! One fiber accepts, and one for each connection reads a request and answers it: `GET /metrics` with the
//! numbers, all else with a status. It lives as long as the runtime, and is cancelled with it.

use std::{
    io::{self, Read, Write},
    net,
    time::Duration,
};

use bifilar::{
    Handle, Wait, fiber,
    net::{TcpListener, TcpStream},
    time::with_deadline,
};

use super::{Hall, Style, accept::AcceptErrors};
use crate::address;

/// Longest head of a request in bytes.
const MAX_HEAD: usize = 8 * 1024;

/// How long a request and its answer may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// A listener for [`serve`].
///
/// # Errors
///
/// A text for the user.
pub fn listen(address: &str, style: Style) -> Result<net::TcpListener, String> {
    let refused = |reason| Err(format!("cannot serve metrics on {address}: {reason}"));
    if matches!(style, Style::Threads | Style::Callbacks) {
        return refused(format!("the style {style} has no runtime; fibers and tasks have"));
    }
    net::TcpListener::bind(address).or_else(|error| refused(address::explain(address, &error)))
}

/// Starts to serve, if that was asked for. On a runtime.
pub fn serve(hall: &Hall) -> io::Result<()> {
    let Some(listener) = hall.metrics.lock().unwrap().take() else { return Ok(()) };
    let listener = TcpListener::try_from(listener)?;
    tracing::info!("metrics on http://{}/metrics", listener.local_addr()?);
    fiber::Builder::new().name("metrics").spawn(move || accept(&listener))?;
    Ok(())
}

fn accept(listener: &TcpListener) {
    let mut errors = AcceptErrors::default();
    loop {
        match listener.accept().wait() {
            Ok((stream, _)) => {
                // A client that is slow or gone is nobody's business.
                fiber::spawn(move || with_deadline(PATIENCE, || answer(stream)));
            }
            Err(error) => fiber::sleep(errors.pause_after(&error)),
        }
    }
}

fn answer(mut stream: TcpStream) -> io::Result<()> {
    let head = read_head(&mut stream)?;
    let line = head.split(|&byte| byte == b'\r' || byte == b'\n').next().unwrap_or_default();
    let mut words = line.split(|&byte| byte == b' ');
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let path = target.split(|&byte| byte == b'?').next().unwrap_or_default();
    let (status, body) = match (method, path) {
        _ if !words.next().is_some_and(|version| version.starts_with(b"HTTP/1.")) => {
            ("400 Bad Request", "not an HTTP request\n".to_string())
        }
        (b"GET" | b"HEAD", b"/metrics") => ("200 OK", Handle::current().metrics().to_string()),
        (b"GET" | b"HEAD", _) => ("404 Not Found", "there is only /metrics\n".to_string()),
        _ => ("405 Method Not Allowed\r\nAllow: GET, HEAD", "only GET\n".to_string()),
    };
    let length = body.len();
    write!(
        stream,
        "HTTP/1.1 {status}\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n\
         Content-Length: {length}\r\nConnection: close\r\n\r\n{}",
        if method == b"HEAD" { "" } else { &body }
    )?;
    stream.shutdown(net::Shutdown::Write)?;
    // Until the client closes: a close with something unread would take the answer with it.
    io::copy(&mut stream.take(MAX_HEAD as u64), &mut io::sink()).map(drop)
}

/// Reads to the empty line that ends a request without a body; or as much as there is.
fn read_head(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut head = vec![0; MAX_HEAD];
    let mut filled = 0;
    while filled < MAX_HEAD {
        let count = stream.read(&mut head[filled..])?;
        filled += count;
        let ended = head[..filled].windows(4).any(|end| end == b"\r\n\r\n")
            || head[..filled].windows(2).any(|end| end == b"\n\n");
        if count == 0 || ended {
            break;
        }
    }
    head.truncate(filled);
    Ok(head)
}
