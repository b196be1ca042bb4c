//! What is wrong with an address, for whoever typed it.

use std::{
    io::{self, ErrorKind},
    net::Ipv6Addr,
};

/// The error that came of using `address`, and the remedy when it was written without a port.
pub fn explain(address: &str, error: &io::Error) -> String {
    // std has no other word for it than that it is invalid, or looks the rest up as a name.
    if address.parse::<Ipv6Addr>().is_ok() {
        format!("the port is missing, as in [{address}]:7000")
    } else if error.kind() == ErrorKind::InvalidInput
        && (!address.contains(':') || address.ends_with(']'))
    {
        format!("the port is missing, as in {address}:7000")
    } else {
        error.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_port_is_named() {
        let invalid = io::Error::new(ErrorKind::InvalidInput, "invalid");
        for (address, text) in [
            ("127.0.0.1", "the port is missing, as in 127.0.0.1:7000"),
            ("localhost", "the port is missing, as in localhost:7000"),
            ("::1", "the port is missing, as in [::1]:7000"),
            ("[::1]", "the port is missing, as in [::1]:7000"),
            ("localhost:x", "invalid"),
        ] {
            assert_eq!(explain(address, &invalid), text, "{address}");
        }
        let refused = io::Error::other("refused");
        assert_eq!(explain("localhost:7000", &refused), "refused");
    }
}
