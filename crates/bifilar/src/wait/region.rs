//! Regions whose waits end early, and regions whose waits don't: the public face of
//! [`context`](crate::context)'s regions.

use crate::context;
use std::future::IntoFuture;

/// Runs code in blocking style until it returns, or until `interrupt` is ready.
///
/// The code needs to know nothing of it: it may be any sync code, of any crate, that waits somewhere
/// in its depth. When `interrupt` is ready and the code stands in a [`wait`](crate::Wait::wait) whose
/// future isn't, that wait unwinds to here, running destructors, which may wait themselves. So
/// nothing is lost that was ready; what an operation may have done by halves is what its docs say of
/// being dropped. Code that never waits is not interrupted.
///
/// Regions nest: each ends by itself, and the cancellation of the task ends them all. `interrupt` is
/// polled only when the code waits, and dropped at the end; while it is polled itself, nothing
/// interrupts it. Code that catches the unwinding (`catch_unwind`) meets it again at its next wait.
///
/// **While a stack unwinds, nothing interrupts it**: in a destructor that runs because of a panic or a
/// cancellation, bound what is waited for itself, `timeout(limit, future).wait()`. And std counts
/// panics by thread: a wait that begins while another task of the same worker stands in such a
/// destructor is interrupted when that has ended, so a destructor that waits without a bound holds up
/// the deadlines of its neighbours.
///
/// Works in fibers, at any depth of a task's poll, and on plain threads. Where panics abort, nothing
/// can be unwound, and the code runs to its end.
///
/// # Errors
/// What `interrupt` was ready with, if it ended the code.
///
/// # Panics
/// With what the code panics with.
///
/// ```
/// use bifilar::{Wait, fiber, sync::channel, sync::oneshot, until};
///
/// bifilar::run(|| {
///     let (sender, numbers) = channel::unbounded();
///     let (stop, stopped) = oneshot::channel();
///     let sum = fiber::spawn(move || {
///         let mut sum = 0;
///         let end = until(stopped, || loop {
///             sum += numbers.recv().wait().unwrap();
///         });
///         (sum, end.unwrap_err().unwrap())
///     });
///     (1..=4).for_each(|i| sender.try_send(i).unwrap());
///     fiber::yield_now();
///     stop.send("enough").unwrap();
///     assert_eq!(sum.join().unwrap().1, "enough");
/// });
/// ```
///
/// In the body of a coroutine or generator, a region made there is passed over: it ends only by
/// itself. Those around the coroutine hold in it.
pub fn until<I: IntoFuture, T>(interrupt: I, f: impl FnOnce() -> T) -> Result<T, I::Output> {
    context::until(interrupt, f)
}

/// Runs code that must finish: neither cancellation nor a deadline interrupts its waits.
///
/// What was held off takes effect at the next wait after it. Regions made inside hold as usual. For
/// async code, `shield(|| future.wait())`: an `.await` can be dropped by whoever polls it, and a
/// `wait` can't.
///
/// A function that C calls back can't be unwound out of, so it waits in here. In the body of a
/// coroutine or generator, a shield ends with the poll in which it began.
///
/// ```
/// use bifilar::{Wait, fiber, shield, time::sleep};
/// use std::time::Duration;
///
/// bifilar::run(|| {
///     let fiber = fiber::spawn(|| {
///         shield(|| sleep(Duration::from_millis(5)).wait());
///         "written"
///     });
///     fiber.cancel();
///     fiber::yield_now();
/// #   let fiber = fiber::spawn(|| shield(|| "written"));
///     assert_eq!(fiber.join().unwrap(), "written");
/// });
/// ```
pub fn shield<T>(f: impl FnOnce() -> T) -> T {
    context::shielded(f)
}
