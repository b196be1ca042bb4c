//! Writing to the terminal, or to what stands in its place: whoever reads may be gone, and that
//! must not be the end of a thread, as it is with `println!` and `eprintln!`.

use std::{
    fmt,
    io::{self, Write},
};

/// Prints a result.
///
/// # Errors
///
/// A text for the user, when the result cannot be written.
pub fn result(text: impl fmt::Display) -> Result<(), String> {
    let mut out = io::stdout().lock();
    let written = write!(out, "{text}").and_then(|()| out.flush());
    written.map_err(|error| format!("cannot print the result: {error}"))
}

/// Prints a line for the person at the terminal, if there is one.
pub fn remark(text: impl fmt::Display) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// Standard error for the log: what cannot be written is forgotten.
#[derive(Debug)]
pub struct Log;

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let _ = io::stderr().lock().write_all(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
