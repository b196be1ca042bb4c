//! `timeout`: a future with a time limit.

use super::{Sleep, sleep, sleep_until};
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
/// A [`wait`](crate::Wait::wait) *inside* the future's poll suspends the timeout with it, since both
/// are polled by the same task; put the timeout around what is waited for.
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
pub fn timeout_at<F: IntoFuture>(deadline: Instant, future: F) -> Timeout<F::IntoFuture> {
    Timeout { future: future.into_future(), limit: sleep_until(deadline) }
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
        let (future, limit) = unsafe {
            let this = self.get_unchecked_mut();
            (Pin::new_unchecked(&mut this.future), Pin::new(&mut this.limit))
        };
        if let Poll::Ready(output) = future.poll(cx) {
            return Poll::Ready(Ok(output));
        }
        limit.poll(cx).map(|()| Err(Elapsed(())))
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
