//! `http://` URLs: as much of them as a GET request needs.
//!
//! ```text
//! http://  host  [:port]  [/path[?query]]  [#fragment, not sent]
//!          name, 127.0.0.1 or [::1]
//! ```
//!
//! Takes printable ASCII only, and percent-encodes nothing: what is accepted goes out as it came
//! in, so no URL can smuggle a line break into the request. User names and passwords are refused
//! rather than sent in the clear.

use std::{fmt, net::Ipv6Addr};

/// Where to connect and what to ask for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Url {
    /// The host as written, without the brackets of an IPv6 address.
    pub host: String,
    /// The port; 80 if none was written.
    pub port: u16,
    /// Path and query, beginning with `/`.
    pub target: String,
    /// The URL as written.
    pub text: String,
}

/// Why a text is not a URL for us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UrlError {
    /// A character that must be percent-encoded.
    Character(char),
    /// No `scheme://`.
    NoScheme,
    /// `https://`, which needs TLS.
    Https,
    /// Another scheme.
    Scheme(String),
    /// `user@` or `user:password@`.
    UserInfo,
    /// Nothing between `//` and the path or port.
    NoHost,
    /// A host that is neither a name nor an address.
    Host(String),
    /// A port that is not a number from 1 to 65535.
    Port(String),
}

impl Url {
    /// Reads a URL.
    pub fn parse(text: &str) -> Result<Self, UrlError> {
        if let Some(bad) = text.chars().find(|c| !c.is_ascii_graphic()) {
            return Err(UrlError::Character(bad));
        }
        let (scheme, rest) = text.split_once("://").ok_or(UrlError::NoScheme)?;
        match scheme.to_ascii_lowercase().as_str() {
            "http" => {}
            "https" => return Err(UrlError::Https),
            _ => return Err(UrlError::Scheme(scheme.to_string())),
        }
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, target) = rest.split_at(end);
        if authority.contains('@') {
            return Err(UrlError::UserInfo);
        }
        let (host, port) = split_authority(authority)?;
        let target = target.split('#').next().unwrap_or_default();
        let slash = if target.starts_with('/') { "" } else { "/" };
        Ok(Self {
            host: host.to_string(),
            port: port.map_or(Ok(80), parse_port)?,
            target: format!("{slash}{target}"),
            text: text.to_string(),
        })
    }

    /// Host and port as a `Host` header shows them.
    pub fn authority(&self) -> String {
        let Self { host, port, .. } = self;
        let host = if host.contains(':') { format!("[{host}]") } else { host.clone() };
        if *port == 80 { host } else { format!("{host}:{port}") }
    }
}

/// Host without brackets, and what follows its colon.
fn split_authority(authority: &str) -> Result<(&str, Option<&str>), UrlError> {
    let bad_host = || UrlError::Host(authority.to_string());
    if let Some(rest) = authority.strip_prefix('[') {
        let (host, rest) = rest.split_once(']').ok_or_else(bad_host)?;
        host.parse::<Ipv6Addr>().map_err(|_| bad_host())?;
        return match rest.strip_prefix(':') {
            None if !rest.is_empty() => Err(bad_host()),
            port => Ok((host, port)),
        };
    }
    let (host, port) = match authority.split_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (authority, None),
    };
    if host.is_empty() {
        return Err(UrlError::NoHost);
    }
    let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
    if !host.chars().all(is_name) || port.is_some_and(|port| port.contains(':')) {
        return Err(bad_host());
    }
    Ok((host, port))
}

fn parse_port(text: &str) -> Result<u16, UrlError> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    match text.parse::<u16>() {
        Ok(port) if digits && port > 0 => Ok(port),
        _ => Err(UrlError::Port(text.to_string())),
    }
}

impl fmt::Display for UrlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Character(c) => write!(f, "{c:?} must be percent-encoded in a URL"),
            Self::NoScheme => write!(f, "a URL begins with http://"),
            Self::Https => write!(f, "https needs TLS, which this program doesn't speak"),
            Self::Scheme(scheme) => write!(f, "unknown scheme `{scheme}`; only http:// is fetched"),
            Self::UserInfo => write!(f, "user names and passwords in URLs are not sent"),
            Self::NoHost => write!(f, "the URL names no host"),
            Self::Host(host) => write!(f, "`{host}` is not a host"),
            Self::Port(port) => write!(f, "`{port}` is not a port (1 to 65535)"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls() {
        for (text, host, port, target, authority) in [
            ("http://a", "a", 80, "/", "a"),
            ("http://a/", "a", 80, "/", "a"),
            ("HTTP://Example.COM/x", "Example.COM", 80, "/x", "Example.COM"),
            ("http://a:80/", "a", 80, "/", "a"),
            ("http://a:8080", "a", 8080, "/", "a:8080"),
            ("http://127.0.0.1:1/a/b", "127.0.0.1", 1, "/a/b", "127.0.0.1:1"),
            ("http://a/x?y=1&z=%20", "a", 80, "/x?y=1&z=%20", "a"),
            ("http://a?y=1", "a", 80, "/?y=1", "a"),
            ("http://a/x#part", "a", 80, "/x", "a"),
            ("http://a#part", "a", 80, "/", "a"),
            ("http://a/x?y#part?z", "a", 80, "/x?y", "a"),
            ("http://a/x@y:z", "a", 80, "/x@y:z", "a"),
            ("http://[::1]", "::1", 80, "/", "[::1]"),
            ("http://[::1]:8080/x", "::1", 8080, "/x", "[::1]:8080"),
            (
                "http://my_host-1.local:65535/",
                "my_host-1.local",
                65535,
                "/",
                "my_host-1.local:65535",
            ),
        ] {
            let url = Url::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
            let found = (url.host.as_str(), url.port, url.target.as_str());
            assert_eq!(found, (host, port, target), "{text}");
            assert_eq!(url.authority(), authority, "{text}");
            assert_eq!(url.text, text);
        }
    }

    #[test]
    fn not_urls() {
        use UrlError as E;
        for (text, error) in [
            ("", E::NoScheme),
            ("a/b", E::NoScheme),
            ("http:/a", E::NoScheme),
            ("https://a/", E::Https),
            ("HTTPS://a/", E::Https),
            ("ftp://a/", E::Scheme("ftp".into())),
            ("://a/", E::Scheme("".into())),
            ("http://", E::NoHost),
            ("http:///x", E::NoHost),
            ("http://:80/x", E::NoHost),
            ("http://?x", E::NoHost),
            ("http://user@a/", E::UserInfo),
            ("http://user:secret@a/", E::UserInfo),
            ("http://a:/", E::Port("".into())),
            ("http://a:0/", E::Port("0".into())),
            ("http://a:65536/", E::Port("65536".into())),
            ("http://a:+80/", E::Port("+80".into())),
            ("http://a:http/", E::Port("http".into())),
            ("http://[::1/", E::Host("[::1".into())),
            ("http://[::1]x/", E::Host("[::1]x".into())),
            ("http://[a]/", E::Host("[a]".into())),
            ("http://[::1]:/", E::Port("".into())),
            ("http://::1/", E::NoHost),
            ("http://fe80::1/", E::Host("fe80::1".into())),
            ("http://a,b/", E::Host("a,b".into())),
            ("http://a/b c", E::Character(' ')),
            ("http://a/b\r\nX: y", E::Character('\r')),
            ("http://bücher/", E::Character('ü')),
        ] {
            assert_eq!(Url::parse(text), Err(error), "{text:?}");
        }
    }
}
