//! Sleeping, intervals and time limits.
//!
//! All are futures: `.await` them in async code, `.wait()` for them anywhere. They need a runtime to
//! wake them and panic outside of one. Resolution is one millisecond; nothing is ever early.

mod clock;
mod interval;
mod sleep;
mod timeout;
mod timers;
mod wheel;

pub(crate) use clock::Clock;
pub use clock::now;
pub use interval::{Interval, interval, interval_at};
pub use sleep::{Sleep, sleep, sleep_until};
pub use timeout::{Elapsed, Timeout, timeout, timeout_at, with_deadline, with_deadline_at};
pub(crate) use timers::Timers;
