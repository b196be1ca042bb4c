//! The request, written by hand: the bytes that go out, where to, and how long to wait.

use std::time::Duration;

use crate::url::Url;

/// One GET request, ready to be sent as often as wanted.
#[derive(Debug)]
pub struct Request {
    /// Where it goes.
    pub url: Url,
    /// All bytes of it.
    pub bytes: Vec<u8>,
    /// How long the whole exchange may take.
    pub timeout: Duration,
    /// Whether the write side is shut down after it.
    ///
    /// TCP and HTTP allow that, and servers that answer at once don't mind. Some others take the
    /// end of the client's data for a client that has left: seen with nginx 1.22 as a proxy (it
    /// logs 499) and with Node's `http` when the answer takes its time. Both close the connection
    /// without a byte.
    pub shut_down: bool,
}

impl Request {
    /// The request for `url`.
    pub fn new(url: Url, timeout: Duration, shut_down: bool) -> Self {
        let bytes = format!(
            "GET {} HTTP/1.1\r\n\
             Host: {}\r\n\
             User-Agent: bifilar-get/{}\r\n\
             Accept: */*\r\n\
             Connection: close\r\n\
             \r\n",
            url.target,
            url.authority(),
            env!("CARGO_PKG_VERSION"),
        )
        .into_bytes();
        Self { url, bytes, timeout, shut_down }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_of_a_request() {
        let url = Url::parse("http://[::1]:8000/a?b#c").unwrap();
        let request = Request::new(url, Duration::from_secs(1), true);
        let expected = format!(
            "GET /a?b HTTP/1.1\r\nHost: [::1]:8000\r\nUser-Agent: bifilar-get/{}\r\n\
             Accept: */*\r\nConnection: close\r\n\r\n",
            env!("CARGO_PKG_VERSION")
        );
        assert_eq!(String::from_utf8(request.bytes).unwrap(), expected);
    }
}
