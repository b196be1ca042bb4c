//! The response: its status, and how many bytes its body has.
//!
//! Reads a whole response, from the first byte to the end of the connection. Where the body ends
//! is told, in this order, by the status (1xx, 204 and 304 have none), by `Transfer-Encoding:
//! chunked`, by `Content-Length`, or by the end of the connection (RFC 9112, section 6.3). What
//! follows the body is not looked at. Content codings such as gzip are left as they are.

use std::fmt;

use httparse::{EMPTY_HEADER, Header, Status};

/// Headers that a response may have.
const MAX_HEADERS: usize = 128;

/// What came back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Response {
    /// As in the first line: 200, 404.
    pub status: u16,
    /// Bytes of the body, without the framing of chunks.
    pub body_len: u64,
}

/// Why bytes are not a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResponseError {
    /// The connection ended before the first byte.
    Empty,
    /// The connection ended within the head.
    ShortHead,
    /// The head is not HTTP/1.
    Head(httparse::Error),
    /// Several lengths, or one that is no number.
    Length,
    /// The framing of the chunks is broken.
    Chunk,
    /// The connection ended within the body.
    ShortBody {
        /// Bytes of the body that came.
        got: u64,
        /// Bytes announced, if the head says.
        of: Option<u64>,
    },
}

impl Response {
    /// Reads a response from all `bytes` that came.
    pub fn parse(bytes: &[u8]) -> Result<Self, ResponseError> {
        let mut rest = bytes;
        loop {
            if rest.is_empty() {
                return Err(if bytes.is_empty() {
                    ResponseError::Empty
                } else {
                    ResponseError::ShortHead
                });
            }
            let mut headers = [EMPTY_HEADER; MAX_HEADERS];
            let mut head = httparse::Response::new(&mut headers);
            let Status::Complete(len) = head.parse(rest).map_err(ResponseError::Head)? else {
                return Err(ResponseError::ShortHead);
            };
            rest = &rest[len..];
            let status = head.code.unwrap_or_default();
            // 100 Continue and its like announce the real response.
            if !(100..200).contains(&status) || status == 101 {
                let body_len = body_len(status, head.headers, rest)?;
                return Ok(Self { status, body_len });
            }
        }
    }
}

fn body_len(status: u16, headers: &[Header<'_>], body: &[u8]) -> Result<u64, ResponseError> {
    if matches!(status, 101 | 204 | 304) {
        return Ok(0);
    }
    if let Some(coding) = values(headers, "transfer-encoding").last() {
        if coding.eq_ignore_ascii_case("chunked") {
            return chunked_len(body);
        }
        return Ok(body.len() as u64);
    }
    let mut length = None;
    for value in values(headers, "content-length") {
        let digits = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
        let number: u64 = value.parse().ok().filter(|_| digits).ok_or(ResponseError::Length)?;
        if length.replace(number).is_some_and(|earlier| earlier != number) {
            return Err(ResponseError::Length);
        }
    }
    let got = body.len() as u64;
    match length {
        Some(of) if got < of => Err(ResponseError::ShortBody { got, of: Some(of) }),
        Some(of) => Ok(of),
        None => Ok(got),
    }
}

/// The comma-separated values of all headers called `name`. One that is not text counts as empty.
fn values<'a>(headers: &'a [Header<'a>], name: &'a str) -> impl Iterator<Item = &'a str> {
    headers
        .iter()
        .filter(move |header| header.name.eq_ignore_ascii_case(name))
        .flat_map(|header| str::from_utf8(header.value).unwrap_or_default().split(','))
        .map(str::trim)
}

/// The bytes in the chunks of `body`.
fn chunked_len(mut body: &[u8]) -> Result<u64, ResponseError> {
    let mut got: u64 = 0;
    let short = |got| ResponseError::ShortBody { got, of: None };
    loop {
        let (line, size) = match httparse::parse_chunk_size(body) {
            Ok(Status::Complete(found)) => found,
            Ok(Status::Partial) => return Err(short(got)),
            Err(_) => return Err(ResponseError::Chunk),
        };
        body = &body[line..];
        if size == 0 {
            let mut trailers = [EMPTY_HEADER; MAX_HEADERS];
            return match httparse::parse_headers(body, &mut trailers) {
                Ok(Status::Complete(_)) => Ok(got),
                Ok(Status::Partial) => Err(short(got)),
                Err(_) => Err(ResponseError::Chunk),
            };
        }
        if (body.len() as u64) < size {
            return Err(short(got + body.len() as u64));
        }
        got += size;
        body = &body[size as usize..];
        if body.len() < 2 {
            return Err(short(got));
        }
        body = body.strip_prefix(b"\r\n").ok_or(ResponseError::Chunk)?;
    }
}

impl fmt::Display for ResponseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => write!(f, "the server closed the connection without an answer"),
            Self::ShortHead => write!(f, "the connection ended within the head of the answer"),
            Self::Head(error) => write!(f, "the answer is not HTTP/1: {error}"),
            Self::Length => write!(f, "the answer's Content-Length makes no sense"),
            Self::Chunk => write!(f, "the answer's chunks are malformed"),
            Self::ShortBody { got, of: Some(of) } => {
                write!(f, "the connection ended after {got} of {of} bytes of the body")
            }
            Self::ShortBody { got, of: None } => {
                write!(f, "the connection ended after {got} bytes, before the last chunk")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<(u16, u64), ResponseError> {
        Response::parse(text.as_bytes()).map(|response| (response.status, response.body_len))
    }

    #[test]
    fn responses() {
        let chunks = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        for (text, expected) in [
            ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello".to_string(), (200, 5)),
            ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello and more".to_string(), (200, 5)),
            ("HTTP/1.1 200 OK\r\ncontent-length: 5, 5\r\n\r\nhello".to_string(), (200, 5)),
            ("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".to_string(), (404, 0)),
            ("HTTP/1.0 200 OK\r\n\r\nuntil the end".to_string(), (200, 13)),
            ("HTTP/1.1 200\r\n\r\n".to_string(), (200, 0)),
            ("HTTP/1.1 204 No Content\r\nContent-Length: 9\r\n\r\n".to_string(), (204, 0)),
            ("HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n".to_string(), (304, 0)),
            (
                "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx"
                    .to_string(),
                (200, 1),
            ),
            (format!("{chunks}0\r\n\r\n"), (200, 0)),
            (format!("{chunks}5\r\nhello\r\nA;x=y\r\n0123456789\r\n0\r\n\r\n"), (200, 15)),
            (format!("{chunks}1\r\nx\r\n0\r\nTrailer: y\r\n\r\n"), (200, 1)),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, Chunked\r\nContent-Length: 99\r\n\r\n\
                 1\r\nx\r\n0\r\n\r\n"
                    .to_string(),
                (200, 1),
            ),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nabc".to_string(), (200, 3)),
        ] {
            assert_eq!(parse(&text), Ok(expected), "{text:?}");
        }
    }

    #[test]
    fn not_responses() {
        use ResponseError as E;
        let chunks = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        let length = "HTTP/1.1 200 OK\r\nContent-Length:";
        for (text, expected) in [
            (String::new(), E::Empty),
            ("HTTP/1.1 200 OK\r\n".to_string(), E::ShortHead),
            ("HTTP/1.1 100 Continue\r\n\r\n".to_string(), E::ShortHead),
            ("SSH-2.0-OpenSSH_9\r\n".to_string(), E::Head(httparse::Error::Version)),
            (format!("{length} 9\r\n\r\nhello"), E::ShortBody { got: 5, of: Some(9) }),
            (format!("{length} 9\r\n\r\n"), E::ShortBody { got: 0, of: Some(9) }),
            (format!("{length} 1\r\nContent-Length: 2\r\n\r\nxx"), E::Length),
            (format!("{length} -1\r\n\r\n"), E::Length),
            (format!("{length} +1\r\n\r\nx"), E::Length),
            (format!("{length}\r\n\r\nx"), E::Length),
            (format!("{length} 99999999999999999999\r\n\r\n"), E::Length),
            (chunks.to_string(), E::ShortBody { got: 0, of: None }),
            (format!("{chunks}5\r\nhel"), E::ShortBody { got: 3, of: None }),
            (format!("{chunks}5\r\nhello"), E::ShortBody { got: 5, of: None }),
            (format!("{chunks}5\r\nhello\r\n"), E::ShortBody { got: 5, of: None }),
            (format!("{chunks}5\r\nhello\r\n0\r\n"), E::ShortBody { got: 5, of: None }),
            (format!("{chunks}5\r\nhelloworld\r\n"), E::Chunk),
            (format!("{chunks}x\r\n"), E::Chunk),
            (format!("{chunks}FFFFFFFFFFFFFFFF\r\nx"), E::ShortBody { got: 1, of: None }),
            (format!("{chunks}11111111111111111\r\nx"), E::Chunk),
        ] {
            assert_eq!(parse(&text), Err(expected), "{text:?}");
        }
    }

    /// Whatever is cut off, at whatever byte, the answer is an error and not a panic.
    #[test]
    fn every_prefix_is_an_error() {
        for text in [
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;a\r\nhello\r\n0\r\nA: b\r\n\r\n",
        ] {
            assert!(parse(text).is_ok());
            for end in 0..text.len() {
                assert!(parse(&text[..end]).is_err(), "{:?}", &text[..end]);
            }
        }
    }
}
