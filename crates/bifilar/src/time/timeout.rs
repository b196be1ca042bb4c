//! `timeout`: a future with a time limit.

use super::{Sleep, sleep, sleep_until};
use crate::context::{self, waiting};
use std::{
    error::Error,
    fmt,
    future::{Future, IntoFuture},
    pin::Pin,
    task::{Context, Poll},
    time::{Duration, Instant},
};

/// Runs `future` for `duration` at most.
///
/// When the time is up first, the result is `Err(Elapsed)`, and the future is dropped with the
/// `Timeout`. A future that is ready in the same poll as the limit wins.
///
/// A [`wait`](crate::Wait::wait) that the future's poll stands in is interrupted as well: it unwinds
/// to here (see [`with_deadline`](super::with_deadline)).
///
/// # Panics
/// When polled outside of a runtime.
///
/// ```
/// use bifilar::{Wait, time::{sleep, timeout}};
/// use std::time::Duration;
///
/// bifilar::run(|| {
///     let long = sleep(Duration::from_secs(3600));
///     assert!(timeout(Duration::from_millis(1), long).wait().is_err());
///     assert_eq!(timeout(Duration::from_secs(3600), async { 1 }).wait(), Ok(1));
/// });
/// ```
#[track_caller]
pub fn timeout<F: IntoFuture>(duration: Duration, future: F) -> Timeout<F::IntoFuture> {
    Timeout { future: future.into_future(), limit: sleep(duration) }
}

/// Runs `future` until `deadline` at most: see [`timeout`].
///
/// ```
/// use bifilar::{Wait, time::timeout_at};
/// bifilar::run(|| {
///     let past = std::time::Instant::now();
///     assert!(timeout_at(past, std::future::pending::<()>()).wait().is_err());
/// });
/// ```
#[track_caller]
pub fn timeout_at<F: IntoFuture>(deadline: Instant, future: F) -> Timeout<F::IntoFuture> {
    Timeout { future: future.into_future(), limit: sleep_until(deadline) }
}

/// Runs code in blocking style for `duration` at most.
///
/// It may be any sync code, of any crate: when the time is up and it stands in a
/// [`wait`](crate::Wait::wait) somewhere in its depth, that wait unwinds to here, running destructors,
/// which may wait. A wait whose future is ready returns first, and code that never waits runs to its
/// end. Of nested deadlines the nearest ends its own region. See [`until`](crate::until), of which
/// this is the most common case, also for what differs in destructors while a stack unwinds: there,
/// use `timeout(limit, future).wait()`.
///
/// # Errors
/// [`Elapsed`] if the time was up.
///
/// # Panics
/// With what the code panics with. When it waits outside of a runtime.
///
/// ```
/// use bifilar::{Wait, sync::channel, time::with_deadline};
/// use std::time::Duration;
///
/// bifilar::run(|| {
///     let (_sender, receiver) = channel::unbounded::<String>();
///     let parsed = with_deadline(Duration::from_millis(5), || {
///         let text = receiver.recv().wait().unwrap(); // nothing ever comes
///         text.lines().count()
///     });
///     assert!(parsed.is_err());
/// });
/// ```
#[track_caller]
pub fn with_deadline<T>(duration: Duration, f: impl FnOnce() -> T) -> Result<T, Elapsed> {
    context::until(sleep(duration), f).map_err(|()| Elapsed(()))
}

/// Runs code in blocking style until `deadline` at most: see [`with_deadline`].
///
/// ```
/// use bifilar::{Wait, time::with_deadline_at};
/// bifilar::run(|| {
///     let past = std::time::Instant::now();
///     assert!(with_deadline_at(past, || std::future::pending::<()>().wait()).is_err());
/// });
/// ```
#[track_caller]
pub fn with_deadline_at<T>(deadline: Instant, f: impl FnOnce() -> T) -> Result<T, Elapsed> {
    context::until(sleep_until(deadline), f).map_err(|()| Elapsed(()))
}

/// The future of [`timeout`] and [`timeout_at`].
#[derive(Debug)]
#[must_use = "futures do nothing unless you .await or .wait() for them"]
pub struct Timeout<F> {
    future: F,
    limit: Sleep,
}

impl<F: Future> Future for Timeout<F> {
    type Output = Result<F::Output, Elapsed>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        // SAFETY: `future` is pinned with the whole: it is never moved out, `Timeout` has no
        // destructor of its own and is `Unpin` only if `F` is (derived from its fields).
        let (future, mut limit) = unsafe {
            let this = self.get_unchecked_mut();
            (Pin::new_unchecked(&mut this.future), Pin::new(&mut this.limit))
        };
        match context::until(limit.as_mut(), || future.poll(cx)) {
            Ok(Poll::Ready(output)) => Poll::Ready(Ok(output)),
            Ok(Poll::Pending) => waiting::kept(|| limit.poll(cx)).map(|()| Err(Elapsed(()))),
            // In the middle of its poll.
            Err(()) => Poll::Ready(Err(Elapsed(()))),
        }
    }
}

/// The time was up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Elapsed(());

impl fmt::Display for Elapsed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the time limit has passed")
    }
}

impl Error for Elapsed {}

impl From<Elapsed> for std::io::Error {
    fn from(elapsed: Elapsed) -> Self {
        std::io::Error::new(std::io::ErrorKind::TimedOut, elapsed)
    }
}
