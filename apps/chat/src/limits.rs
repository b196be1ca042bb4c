//! How many files this process may have open: raised as far as it goes, and asked before a plan
//! is made that cannot fit.

use rustix::process::{Resource, getrlimit, setrlimit};

/// Files a process of ours has open besides its connections: standard streams, the listener,
/// event queues, pipes for signals, and some to spare.
const RESERVED: u64 = 32;

/// Raises the soft limit on open files to the hard limit and returns what then holds.
///
/// Failing to raise it is no error: the old limit goes on.
pub fn raise_open_files() -> u64 {
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        let before = limit.current;
        limit.current = limit.maximum;
        if setrlimit(Resource::Nofile, limit).is_err() {
            limit.current = before;
        }
    }
    limit.current.unwrap_or(u64::MAX)
}

/// Checks that `connections` can be open at once.
///
/// # Errors
///
/// A text for the user, with the remedy, when they cannot.
pub fn check_room_for(connections: usize) -> Result<(), String> {
    let limit = raise_open_files();
    let needed = connections as u64 + RESERVED;
    if needed <= limit {
        return Ok(());
    }
    Err(format!(
        "{connections} clients need {needed} open files, but this process may have {limit}: \
         raise the limit (`ulimit -Hn`) or take at most {} clients",
        limit.saturating_sub(RESERVED)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_checked_against_the_limit() {
        assert!(check_room_for(1).is_ok());
        let error = check_room_for(usize::MAX / 2).unwrap_err();
        assert!(error.contains("open files"), "{error}");
    }
}
