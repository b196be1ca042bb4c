//! What is said on the wire: the values, how a line becomes one, and how one becomes a line.
//!
//! ```text
//! client ──► {"Join":{"group_name":"Dogs"}}
//!        ──► {"Post":{"group_name":"Dogs","message":"Samoyeds rock!"}}
//!        ◄── {"Message":{"group_name":"Dogs","message":"Samoyeds rock!"}}
//!        ◄── {"Error":"Group 'Cats' does not exist"}
//!        ◄── {"Goodbye":"The server is shutting down"}
//! ```
//!
//! This module reads and writes no sockets and knows no groups; where a line ends is the business
//! of [`lines`](crate::lines).

use std::{borrow::Cow, fmt};

use serde::{Deserialize, Serialize, de::IgnoredAny};
use serde_json::error::Category;

/// What a client asks of the server.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub enum Request<'a> {
    /// To get every message of a group from now on; the group comes into being if need be.
    Join {
        /// The group's name.
        #[serde(borrow)]
        group_name: Cow<'a, str>,
    },
    /// To send a message to every member of a group.
    Post {
        /// The group's name.
        #[serde(borrow)]
        group_name: Cow<'a, str>,
        /// What to send.
        #[serde(borrow)]
        message: Cow<'a, str>,
    },
}

/// What the server tells a client.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub enum Notice<'a> {
    /// Somebody posted this to a group the client is in.
    Message {
        /// The group's name.
        #[serde(borrow)]
        group_name: Cow<'a, str>,
        /// What was posted.
        #[serde(borrow)]
        message: Cow<'a, str>,
    },
    /// Something went wrong; the text says what.
    Error(#[serde(borrow)] Cow<'a, str>),
    /// The last line of all: the server ends; the text says why.
    Goodbye(#[serde(borrow)] Cow<'a, str>),
}

impl<'a> Request<'a> {
    /// A request to join `group`.
    pub fn join(group: &'a str) -> Self {
        Request::Join { group_name: Cow::Borrowed(group) }
    }

    /// A request to post `message` to `group`.
    pub fn post(group: &'a str, message: &'a str) -> Self {
        Request::Post { group_name: Cow::Borrowed(group), message: Cow::Borrowed(message) }
    }
}

impl<'a> Notice<'a> {
    /// The news that `message` was posted to `group`.
    pub fn message(group: &'a str, message: &'a str) -> Self {
        Notice::Message { group_name: Cow::Borrowed(group), message: Cow::Borrowed(message) }
    }

    /// An error with this text.
    pub fn error(text: &'a impl fmt::Display) -> Self {
        Notice::Error(Cow::Owned(text.to_string()))
    }

    /// A goodbye with this reason.
    pub fn goodbye(reason: &'a impl fmt::Display) -> Self {
        Notice::Goodbye(Cow::Owned(reason.to_string()))
    }
}

/// Writes a value as one line, line feed included.
pub fn encode(value: &impl Serialize) -> String {
    let mut line = serde_json::to_string(value).expect("the protocol's types have string keys");
    line.push('\n');
    line
}

/// Reads a value from a line without its line feed.
pub fn decode<'a, T: Deserialize<'a>>(line: &'a [u8]) -> Result<T, BadLine> {
    let text = std::str::from_utf8(line).map_err(|e| BadLine::Utf8 { at: e.valid_up_to() + 1 })?;
    if text.trim_ascii().is_empty() {
        return Err(BadLine::Empty);
    }
    serde_json::from_str(text).map_err(|error| match error.classify() {
        Category::Data => BadLine::Request(describe(&error)),
        // For serde_json a value is no longer JSON where it stops being what was asked for.
        Category::Syntax if serde_json::from_str::<IgnoredAny>(text).is_ok() => {
            BadLine::Request(format!("expected an object with one key, found {}", kind(text)))
        }
        _ => BadLine::Json(describe(&error)),
    })
}

/// What kind of JSON value this text is, if it is no object with one key.
fn kind(text: &str) -> &'static str {
    match text.trim_ascii_start().as_bytes().first() {
        Some(b'{') if text.trim_ascii().trim_matches(['{', '}']).trim_ascii().is_empty() => {
            "one with none"
        }
        Some(b'{') => "one with more",
        Some(b'[') => "an array",
        Some(b'"') => "a string",
        Some(b't' | b'f') => "a boolean",
        Some(b'n') => "null",
        _ => "a number",
    }
}

/// Why a line is not a value of the protocol. Its text is for the one who sent the line.
#[derive(Debug, PartialEq)]
pub enum BadLine {
    /// Nothing but white space.
    Empty,
    /// Not UTF-8; counted from 1.
    Utf8 {
        /// The first byte that does not fit.
        at: usize,
    },
    /// Not JSON.
    Json(String),
    /// JSON, but nothing that the protocol knows.
    Request(String),
    /// Longer than the limit.
    TooLong {
        /// The limit in bytes.
        limit: usize,
    },
}

impl fmt::Display for BadLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BadLine::Empty => write!(f, "Bad JSON: the line is empty"),
            BadLine::Utf8 { at } => write!(f, "Bad line: not UTF-8 from byte {at} on"),
            BadLine::Json(reason) => write!(f, "Bad JSON: {reason}"),
            BadLine::Request(reason) => write!(f, "Bad request: {reason}"),
            BadLine::TooLong { limit } => {
                write!(f, "Line too long: the limit is {limit} bytes")
            }
        }
    }
}

impl std::error::Error for BadLine {}

/// Longest reason sent back, in characters: part of it is the client's own text.
const MAX_REASON: usize = 200;

/// serde_json's reason; its line number would always be 1, so only the column is kept.
fn describe(error: &serde_json::Error) -> String {
    let whole = error.to_string();
    let place = format!(" at line {} column {}", error.line(), error.column());
    let reason = whole.strip_suffix(&place).unwrap_or(&whole);
    let mut text: String = reason.chars().take(MAX_REASON).collect();
    if text.len() < reason.len() {
        text.push('…');
    }
    if error.column() > 0 { format!("{text} at column {}", error.column()) } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_and_their_lines() {
        let cases: [(&str, Request<'_>); 3] = [
            (r#"{"Join":{"group_name":"Dogs"}}"#, Request::join("Dogs")),
            (
                r#"{"Post":{"group_name":"Dogs","message":"Samoyeds rock!"}}"#,
                Request::post("Dogs", "Samoyeds rock!"),
            ),
            (r#"{"Post":{"group_name":"ö","message":"a\n\"b\""}}"#, Request::post("ö", "a\n\"b\"")),
        ];
        for (line, request) in cases {
            assert_eq!(encode(&request), format!("{line}\n"));
            assert_eq!(decode::<Request<'_>>(line.as_bytes()).unwrap(), request);
        }
        assert_eq!(
            encode(&Notice::message("Dogs", "hi")),
            "{\"Message\":{\"group_name\":\"Dogs\",\"message\":\"hi\"}}\n"
        );
        assert_eq!(
            encode(&Notice::error(&"Group 'Cats' does not exist")),
            "{\"Error\":\"Group 'Cats' does not exist\"}\n"
        );
        assert_eq!(encode(&Notice::goodbye(&"Enough")), "{\"Goodbye\":\"Enough\"}\n");
    }

    #[test]
    fn a_line_may_end_in_a_carriage_return() {
        let line = b"{\"Join\":{\"group_name\":\"Dogs\"}}\r";
        assert_eq!(decode::<Request<'_>>(line).unwrap(), Request::join("Dogs"));
    }

    #[test]
    fn bad_lines_and_what_is_said_of_them() {
        let cases: [(&[u8], &str); 14] = [
            (b"", "Bad JSON: the line is empty"),
            (b"  \r", "Bad JSON: the line is empty"),
            (b"hello", "Bad JSON: expected value at column 1"),
            (br#"{"Join":"#, "Bad JSON: EOF while parsing a value at column 8"),
            (
                br#"{"Dance":{}}"#,
                "Bad request: unknown variant `Dance`, expected `Join` or `Post` at column 8",
            ),
            (b"[]", "Bad request: expected an object with one key, found an array"),
            (b" 7", "Bad request: expected an object with one key, found a number"),
            (b"null", "Bad request: expected an object with one key, found null"),
            (b"{ }", "Bad request: expected an object with one key, found one with none"),
            (
                br#"{"Join":{"group_name":"Dogs"},"Dance":1}"#,
                "Bad request: expected an object with one key, found one with more",
            ),
            (br#"{"Join":{}}"#, "Bad request: missing field `group_name` at column 10"),
            (
                br#"{"Post":{"group_name":"Dogs"}}"#,
                "Bad request: missing field `message` at column 29",
            ),
            (
                br#"{"Join":{"group_name":7}}"#,
                "Bad request: invalid type: integer `7`, expected a string at column 23",
            ),
            (b"{\"Join\":\xff}", "Bad line: not UTF-8 from byte 9 on"),
        ];
        for (line, text) in cases {
            let error = decode::<Request<'_>>(line).unwrap_err();
            assert_eq!(error.to_string(), text, "{}", String::from_utf8_lossy(line));
        }
    }

    #[test]
    fn a_long_reason_is_cut() {
        let line = format!("{{\"{}\":1}}", "x".repeat(5_000));
        let text = decode::<Request<'_>>(line.as_bytes()).unwrap_err().to_string();
        assert!(text.len() < 300, "{text}");
        assert!(text.contains('…'), "{text}");
    }

    #[test]
    fn deep_nesting_is_an_error_and_no_overflow() {
        let line = "[".repeat(60_000);
        assert!(matches!(
            decode::<Request<'_>>(line.as_bytes()),
            Err(BadLine::Json(_) | BadLine::Request(_))
        ));
    }
}
