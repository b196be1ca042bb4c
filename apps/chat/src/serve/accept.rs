//! What an accept loop does about an error: go on, and never spin.
//!
//! The commonest is that all file descriptors are in use. Then the connection stays in the
//! listener's queue, and every further accept would fail at once; so the loop pauses, says so once
//! in a while, and takes the connection when another one has been closed.

use std::{
    io::{self, ErrorKind},
    time::{Duration, Instant},
};

use rustix::io::Errno;

/// Pause after an error that will not go away by itself.
const PAUSE: Duration = Duration::from_millis(50);

/// Least time between two log lines about such errors.
const LOG_EVERY: Duration = Duration::from_secs(5);

/// Turns accept errors into pauses and log lines.
#[derive(Debug, Default)]
pub struct AcceptErrors {
    logged: Option<Instant>,
    unlogged: u64,
}

impl AcceptErrors {
    /// How long to pause before the next accept; zero for errors that concern one connection only.
    pub fn pause_after(&mut self, error: &io::Error) -> Duration {
        if is_about_one_connection(error) {
            return Duration::ZERO;
        }
        self.unlogged += 1;
        if self.logged.is_none_or(|logged| logged.elapsed() >= LOG_EVERY) {
            let times = std::mem::take(&mut self.unlogged);
            self.logged = Some(Instant::now());
            tracing::warn!(times, "cannot take a connection, trying again: {error}");
        }
        PAUSE
    }
}

/// The client gave up, or a signal came: the next accept may well succeed. accept(2) lists the
/// network errors that belong to the new connection.
fn is_about_one_connection(error: &io::Error) -> bool {
    const OF_THE_NETWORK: [Errno; 7] = [
        Errno::NETDOWN,
        Errno::PROTO,
        Errno::NOPROTOOPT,
        Errno::HOSTDOWN,
        Errno::HOSTUNREACH,
        Errno::NETUNREACH,
        Errno::OPNOTSUPP,
    ];
    matches!(error.kind(), ErrorKind::ConnectionAborted | ErrorKind::Interrupted)
        || Errno::from_io_error(error).is_some_and(|errno| OF_THE_NETWORK.contains(&errno))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn which_errors_pause() {
        let mut errors = AcceptErrors::default();
        for (errno, pause) in [
            (Errno::CONNABORTED, Duration::ZERO),
            (Errno::INTR, Duration::ZERO),
            (Errno::NETDOWN, Duration::ZERO),
            (Errno::MFILE, PAUSE),
            (Errno::NFILE, PAUSE),
            (Errno::NOBUFS, PAUSE),
            (Errno::INVAL, PAUSE),
        ] {
            assert_eq!(errors.pause_after(&errno.into()), pause, "{errno}");
        }
    }
}
