//! Who is still there: counted so that a server that shuts down can wait for its clients, but not
//! for ever.
//!
//! A session is *open* until its client has nothing more to ask, and *delivering* until everything
//! its client was to get has been written.

use std::{
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// How long a shutdown waits for clients to read what was taken for them.
const DELIVERY_GRACE: Duration = Duration::from_secs(5);

/// How long it then waits for them to close their side. Closing on a client that is still
/// sending would reset the connection, and with it what is on its way.
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

    /// Whether a shutdown that began at `since` has to wait any longer.
    pub fn farewell(&self, since: Instant) -> Farewell {
        let counts = *self.counts();
        counts.farewell(since, Instant::now())
    }

    /// Blocks the thread until a shutdown that begins now is over; returns how many clients were
    /// cut off.
    pub fn wait_until_over(&self) -> usize {
        let since = Instant::now();
        let mut counts = self.counts();
        loop {
            let now = Instant::now();
            match counts.farewell(since, now) {
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
        change(&mut self.counts());
        self.changed.notify_all();
    }
}

impl Counts {
    fn farewell(self, since: Instant, now: Instant) -> Farewell {
        let grace = match self {
            Counts { delivering: 1.., .. } => DELIVERY_GRACE,
            Counts { open: 1.., .. } => CLOSE_GRACE,
            _ => Duration::ZERO,
        };
        if now < since + grace {
            Farewell::Until(since + grace)
        } else {
            Farewell::Over { cut_off: self.delivering }
        }
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
        let after = |open, delivering, ms| {
            Counts { open, delivering }.farewell(since, since + Duration::from_millis(ms))
        };
        let over = |cut_off| Farewell::Over { cut_off };
        assert_eq!(after(0, 0, 0), over(0));
        assert_eq!(after(0, 1, 0), Farewell::Until(since + DELIVERY_GRACE));
        assert_eq!(after(2, 1, 0), Farewell::Until(since + DELIVERY_GRACE));
        assert_eq!(after(2, 0, 0), Farewell::Until(since + CLOSE_GRACE));
        assert_eq!(after(2, 0, 1_000), over(0));
        assert_eq!(after(2, 2, 4_999), Farewell::Until(since + DELIVERY_GRACE));
        assert_eq!(after(2, 2, 5_000), over(2));
    }

    #[test]
    fn the_last_session_ends_the_wait() {
        let sessions = Arc::new(Sessions::default());
        let (open, delivering) = sessions.enter();
        let ends = std::thread::spawn(move || drop((delivering, open)));
        assert_eq!(sessions.wait_until_over(), 0);
        ends.join().unwrap();
        assert_eq!(sessions.counts().open, 0);
    }
}
