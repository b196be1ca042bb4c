//! `sleep`: a future that is ready at a given time.

use super::{now, wheel::Key};
use crate::{
    console::Resource,
    context::waiting::{self, Waiting, What},
    reactor::{self, Reactor},
};
use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

/// Waits for `duration`.
///
/// Never early; late by about a millisecond, and by what the worker is busy with. The time starts
/// now, not at the first poll.
///
/// # Cancellation
/// Dropping the future gives the timer up.
///
/// # Panics
/// When polled outside of a runtime.
///
/// ```
/// use bifilar::{Wait, time::sleep};
/// use std::time::{Duration, Instant};
///
/// bifilar::run(|| {
///     let start = Instant::now();
///     sleep(Duration::from_millis(5)).wait();
///     assert!(start.elapsed() >= Duration::from_millis(5));
/// });
/// ```
#[track_caller]
pub fn sleep(duration: Duration) -> Sleep {
    // A time beyond what an `Instant` can hold is never.
    Sleep { deadline: now().checked_add(duration), state: State::New, shown: Resource::new() }
}

/// Waits until `deadline`; ready at once if it has passed.
///
/// # Panics
/// When polled outside of a runtime.
///
/// ```
/// use bifilar::{Wait, time::sleep_until};
/// bifilar::run(|| sleep_until(std::time::Instant::now()).wait());
/// ```
#[track_caller]
pub fn sleep_until(deadline: Instant) -> Sleep {
    Sleep { deadline: Some(deadline), state: State::New, shown: Resource::new() }
}

const GONE: &str = "the bifilar runtime of this timer has been shut down";

/// The future of [`sleep`] and [`sleep_until`].
#[must_use = "futures do nothing unless you .await or .wait() for them"]
pub struct Sleep {
    deadline: Option<Instant>,
    state: State,
    shown: Resource,
}

enum State {
    New,
    Set { reactor: Arc<Reactor>, key: Key },
    Fired,
}

impl Sleep {
    /// When it will be ready; `None` is never: further away than an `Instant` can say.
    pub fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// Whether the time has passed, as far as the clock of the timers has come.
    pub fn is_elapsed(&self) -> bool {
        matches!(self.state, State::Fired)
            || self.deadline.is_some_and(|deadline| deadline <= now())
    }

    /// Sets another deadline, as if it were a new `sleep_until`.
    pub fn reset(&mut self, deadline: Instant) {
        self.cancel();
        self.deadline = Some(deadline);
    }

    fn cancel(&mut self) {
        if let State::Set { reactor, key } = std::mem::replace(&mut self.state, State::New) {
            reactor.timers.cancel(key);
        }
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        match &self.state {
            State::Fired => return Poll::Ready(()),
            State::Set { reactor, key } => {
                if reactor.timers.is_pending(*key, cx.waker()) {
                    waiting::tell(&self.shown, What::Sleep, false);
                    waiting::note(Waiting::sleep(self.deadline));
                    return Poll::Pending;
                }
                let due = self.deadline.is_some_and(|deadline| deadline <= now());
                assert!(due || !reactor.is_closed(), "{GONE}");
            }
            State::New => {
                let Some(deadline) = self.deadline else {
                    waiting::tell(&self.shown, What::Sleep, false);
                    waiting::note(Waiting::sleep(None));
                    return Poll::Pending;
                };
                if deadline > now() {
                    let reactor = reactor::current().expect(
                        "a timer outside of a bifilar runtime: use bifilar::run, \
                         bifilar::block_on or Handle::enter",
                    );
                    let (key, ring) = reactor.timers.insert(deadline, cx.waker().clone());
                    if ring {
                        reactor.ring();
                    }
                    // After the insertion, so that `close` either sees it or is seen.
                    assert!(!reactor.is_closed(), "{GONE}");
                    self.state = State::Set { reactor, key };
                    waiting::tell(&self.shown, What::Sleep, false);
                    waiting::note(Waiting::sleep(Some(deadline)));
                    return Poll::Pending;
                }
            }
        }
        self.state = State::Fired;
        waiting::tell(&self.shown, What::Sleep, true);
        Poll::Ready(())
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        self.cancel();
    }
}

impl fmt::Debug for Sleep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sleep").field("deadline", &self.deadline).finish()
    }
}
