//! **Any task may block**: `.await` where you can, `.wait()` where you can't.
//!
//! bifilar is a runtime in which futures and green threads are the same thing. `.wait()` on any
//! future is legal at any depth of any task: it suspends the *stack* that is running, not the
//! thread, and the worker goes on with other tasks on another one.

mod blocking;
mod cell;
mod context;
pub mod fiber;
pub mod net;
mod primitives;
mod reactor;
mod runtime;
mod scheduler;
pub mod sync;
pub mod task;
pub mod time;
mod wait;

pub use bifilar_macros::{main, test};
pub use blocking::unblock;
pub use cell::{Id, JoinError, JoinHandle, TaskKind};
pub use runtime::{Builder, EnterGuard, Handle, LocalRuntime, Runtime, block_on, run};
pub use wait::{Wait, WaitIter, WaitIterator};

/// The traits, to be imported with a star: `use bifilar::prelude::*;`.
pub mod prelude {
    pub use crate::{Wait, WaitIter};
}

/// The examples of the front page, which compile and run with the tests.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct FrontPage;
