//! Who is still there: counted so that a server that shuts down can wait for its clients, but not
//! for ever.
//!
//! A session is *open* until its client has nothing more to ask, and *delivering* until everything
//! its client was to get has been written.

use std::{
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// How long a client may take to close its side after it was sent everything; for the server's end,
/// since the last one did. Closing on a client that is still sending would reset the connection, and
/// with it what is on its way.
pub const CLOSE_GRACE: Duration = Duration::from_secs(1);

/// The sessions of a server.
#[derive(Debug, Default)]
pub struct Sessions {
    counts: Mutex<Counts>,
    changed: Condvar,
}

#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    open: usize,
    delivering: usize,
    /// When one of them became less.
    changed: Option<Instant>,
}

/// How a shutdown stands.
#[derive(Debug, PartialEq)]
pub enum Farewell {
    /// Ask again at this time, or when a session has ended.
    Until(Instant),
    /// Nothing more to wait for; so many clients had not read everything.
    Over {
        /// Sessions cut off while delivering.
        cut_off: usize,
    },
}

impl Sessions {
    /// Counts a session in: one guard for its requests and one for its deliveries.
    pub fn enter(self: &Arc<Self>) -> (Open, Delivering) {
        let mut counts = self.counts();
        counts.open += 1;
        counts.delivering += 1;
        (Open(self.clone()), Delivering(self.clone()))
    }

    /// How many sessions there are.
    pub fn count(&self) -> usize {
        let counts = self.counts();
        counts.open.max(counts.delivering)
    }

    /// Whether a shutdown that began at `since` has to wait any longer, within its limit.
    pub fn farewell(&self, since: Instant, limit: Duration) -> Farewell {
        let counts = *self.counts();
        counts.farewell(since, limit, Instant::now())
    }

    /// Blocks the thread until a shutdown that begins now is over, for `limit` at most; returns how
    /// many clients were cut off.
    pub fn wait_until_over(&self, limit: Duration) -> usize {
        let since = Instant::now();
        let mut counts = self.counts();
        loop {
            let now = Instant::now();
            match counts.farewell(since, limit, now) {
                Farewell::Over { cut_off } => return cut_off,
                Farewell::Until(time) => {
                    let waited = self.changed.wait_timeout(counts, time - now);
                    counts = waited.unwrap_or_else(PoisonError::into_inner).0;
                }
            }
        }
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut Counts)) {
        let mut counts = self.counts();
        change(&mut counts);
        counts.changed = Some(Instant::now());
        drop(counts);
        self.changed.notify_all();
    }
}

impl Counts {
    fn farewell(self, since: Instant, limit: Duration, now: Instant) -> Farewell {
        let end = since + limit;
        let end = match self {
            Counts { delivering: 1.., .. } => end,
            Counts { open: 1.., .. } => {
                end.min(self.changed.unwrap_or(since).max(since) + CLOSE_GRACE)
            }
            _ => since,
        };
        if now < end { Farewell::Until(end) } else { Farewell::Over { cut_off: self.delivering } }
    }
}

/// A client that may still ask for something.
#[derive(Debug)]
pub struct Open(Arc<Sessions>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.change(|counts| counts.open -= 1);
    }
}

/// A client that has not been sent everything yet.
#[derive(Debug)]
pub struct Delivering(Arc<Sessions>);

impl Drop for Delivering {
    fn drop(&mut self) {
        self.0.change(|counts| counts.delivering -= 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shutdown_waits_for_deliveries_then_for_closing_and_is_bounded() {
        let since = Instant::now();
        let at = |ms| since + Duration::from_millis(ms);
        let after = |open, delivering, changed_ms: Option<u64>, ms| {
            let counts = Counts { open, delivering, changed: changed_ms.map(at) };
            counts.farewell(since, Duration::from_secs(5), at(ms))
        };
        let over = |cut_off| Farewell::Over { cut_off };
        assert_eq!(after(0, 0, None, 0), over(0));
        assert_eq!(after(0, 1, None, 0), Farewell::Until(at(5_000)));
        assert_eq!(after(2, 1, None, 0), Farewell::Until(at(5_000)));
        assert_eq!(after(2, 0, None, 0), Farewell::Until(at(1_000)));
        assert_eq!(after(2, 0, None, 1_000), over(0));
        assert_eq!(after(2, 0, Some(700), 1_000), Farewell::Until(at(1_700)));
        assert_eq!(after(2, 0, Some(4_500), 4_600), Farewell::Until(at(5_000)));
        assert_eq!(after(2, 2, None, 4_999), Farewell::Until(at(5_000)));
        assert_eq!(after(2, 2, Some(4_900), 5_000), over(2));
    }

    #[test]
    fn the_last_session_ends_the_wait() {
        let sessions = Arc::new(Sessions::default());
        let (open, delivering) = sessions.enter();
        let ends = std::thread::spawn(move || drop((delivering, open)));
        assert_eq!(sessions.wait_until_over(Duration::from_secs(60)), 0);
        ends.join().unwrap();
        assert_eq!(sessions.counts().open, 0);
    }
}
