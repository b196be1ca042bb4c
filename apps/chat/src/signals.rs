//! SIGINT and SIGTERM: the first asks the server to finish, the second ends the process at once.

use std::{io, thread};

use signal_hook::{
    consts::{SIGINT, SIGTERM},
    iterator::Signals,
};

/// Calls `finish` on a thread of its own when the first signal comes. From the call of this
/// function on, the signals no longer end the process by themselves.
///
/// # Errors
///
/// What the operating system says when the handlers or the thread cannot be made.
pub fn on_first(finish: impl FnOnce(&'static str) + Send + 'static) -> io::Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    let watch = move || {
        let mut signals = signals.forever();
        if let Some(signal) = signals.next() {
            finish(name(signal));
        }
        if let Some(signal) = signals.next() {
            tracing::warn!("{} again: leaving at once", name(signal));
            std::process::exit(128 + signal);
        }
    };
    thread::Builder::new().name("signals".into()).spawn(watch)?;
    Ok(())
}

fn name(signal: i32) -> &'static str {
    if signal == SIGINT { "SIGINT" } else { "SIGTERM" }
}
