//! **Any task may block**: `.await` where you can, `.wait()` where you can't.
//!
//! bifilar is a runtime in which futures and green threads are the same thing. A *task* is a future;
//! a *fiber* is a task whose body is a closure. [`wait`](Wait::wait) on any future is legal at any
//! depth of either: it suspends the *stack* that is running, not the thread, and the worker goes on
//! with other tasks on another one.
//!
//! ```
//! use bifilar::{Wait, fiber, sync::channel, task, time::sleep};
//! use std::time::Duration;
//!
//! bifilar::run(|| {
//!     let (sender, receiver) = channel::bounded(1);
//!
//!     // A fiber, in blocking style …
//!     let sum = fiber::spawn(move || {
//!         std::iter::from_fn(|| receiver.recv().wait().ok()).sum::<u32>()
//!     });
//!
//!     // … and an async task. Each could be written the other way.
//!     task::spawn(async move {
//!         for number in 1..=4 {
//!             sleep(Duration::from_millis(1)).await;
//!             sender.send(number).await.unwrap();
//!         }
//!     });
//!
//!     assert_eq!(sum.join().unwrap(), 10);
//! });
//! ```
//!
//! # Where to begin
//!
//! | to | use |
//! |---|---|
//! | start | [`run`] (a closure), [`block_on`] (a future), `#[bifilar::main]`, [`Builder`] |
//! | spawn | [`fiber::spawn`], [`task::spawn`]; both give a [`JoinHandle`] |
//! | wait | `.await` in async code, [`.wait()`](Wait::wait) anywhere, [`.wait_iter()`](WaitIter::wait_iter) for streams |
//! | take what comes first | [`select!`], [`select_wait!`], [`race`](race()), [`time::timeout`] |
//! | borrow | [`scope`], [`try_scope`] |
//! | end early | [`time::with_deadline`], [`until`], [`sync::CancelToken`], [`JoinHandle::cancel`]; not: [`shield`] |
//! | talk | [`net`], [`sync`], [`time`] |
//! | call what blocks for real | [`unblock`] |
//! | see what is going on | [`dump()`], [`metrics`], [`Runtime::shutdown`], [`TaskReport`] |
//! | see it live | tokio-console, with the feature `console` |
//! | see what ran when | [`Builder::record`], [`recording`], [`timeline`] |
//! | test | `#[bifilar::test]`, [`Builder::simulate`] |
//!
//! # Coming from async-std
//!
//! Most programs need other `use` lines and little else: [`task`], [`net`] and [`sync`] have the
//! names of async-std's, with those of the standard library that belong to them. What differs:
//!
//! | async-std | bifilar |
//! |---|---|
//! | `handle.await` gives a `T` | a [`Result<T, JoinError>`](JoinError): a panic stays in its task, and is told here |
//! | a global runtime: spawn anywhere | spawn within [`run`] or [`block_on`], or use a [`Handle`]: [`spawn`](Handle::spawn), [`enter`](Handle::enter) |
//! | detached tasks go on after `block_on` | its end cancels what was spawned in it; a [`Runtime`] lives until it is dropped |
//! | `handle.cancel().await` | [`handle.cancel()`](JoinHandle::cancel), and `.await` it to see its end |
//! | `async_std::prelude::*`, `async_std::io` | `next`, `read`, `write_all`, `lines` come from `futures_util`, or `futures_lite` |
//! | `future::timeout` | [`time::timeout`] |
//! | `channel` | [`sync::channel`] |
//!
//! A [`net::TcpStream`] reads and writes in both styles, so a module that imports both
//! `std::io::{Read, Write}` and the extension traits of futures makes their method names ambiguous
//! (E0034). Keep the styles in separate modules. The [`prelude`] leaves those traits out for the same
//! reason, and because it would need their crate.
//!
//! # What to know
//!
//! - `wait` suspends everything that stands on its stack. Other branches of a `join!` or `select!`
//!   polled by the same task stand still meanwhile.
//! - Fibers stay on the worker on which they started; tasks move between workers whenever they stand
//!   at an `.await`. A task in the middle of a `wait` stays where it is.
//! - A stack has 256 KiB of address space by default, also where the closure of [`run`] and the polls
//!   of tasks run. [`Builder::stack_size`] chooses another size for all,
//!   [`fiber::Builder::stack_size`] for one fiber. Running off a stack ends the process, as in a
//!   thread, with a message that names the task. [`fiber::Builder::measure_stack`] says how much a
//!   fiber takes.
//! - A task that waits needs a stack for its worker to go on with. When the system has no memory for
//!   one, [`wait`](Wait::wait) panics in that task, and the others go on.
//! - The first runtime, or stack, of a process installs a handler for SIGSEGV and SIGBUS, which leaves
//!   all but our own overflows to the handler that was there before. One that is installed later has
//!   the last word.
//! - A task that computes for long or blocks its thread holds up the others of its worker. After 20 ms the
//!   [watchdog](Builder::watchdog) says which, through `tracing`.
//! - A `std::sync::MutexGuard` held across a `wait` can deadlock a worker. [`sync::Mutex`] can't.
//! - While a stack is suspended in the middle of an unwind (a destructor waits during a panic), other
//!   tasks of that worker can see `std::thread::panicking()`, and a std mutex guard that is taken
//!   before and dropped during that time poisons its mutex.
//! - Nothing interrupts a stack that unwinds, and a `wait` that began while another task of the worker
//!   was in the middle of unwinding is interrupted only after that. So destructors that wait should
//!   bound it: `timeout(limit, future).wait()`.
//! - Crates that keep a pointer in a thread-local for the length of a call, and count on calls to
//!   nest, can be broken by a `wait` inside such a call. Code that asks for the bounds of the
//!   thread's stack gets the wrong answer: run it with [`unblock`].
//! - With `panic = "abort"`, cancelling reaches `.await` points only: stacks can't be unwound. A
//!   runtime that ends leaves them as they are.

//!
//! # Features
//!
//! None is on by default.
//!
//! | feature | adds |
//! |---|---|
//! | `backtrace` | names in the [watchdog's](Builder::watchdog) backtraces |
//! | `console` | spans and events of `tracing` that the crate `console-subscriber` understands: tasks, fibers and blocking calls, their polls and wakers, and what they wait for, in tokio-console |
//! | `tracing-layer` | `recording::TracingLayer`: spans of `tracing` in recordings, and right across suspensions |
//!
//! With `console`, each task has a span, in which it runs: spans that it opens have that as their
//! parent, unless a filter keeps "runtime.spawn" from their subscriber. The task's span is left where its
//! stack is suspended. That the *program's* spans are left there as well takes `tracing-layer`.
//! `console-subscriber` must be compiled with `--cfg console_without_tokio_unstable` (or
//! `--cfg tokio_unstable`) in `RUSTFLAGS`.

mod blocking;
mod cell;
mod console;
mod context;
#[cfg(feature = "tracing-layer")]
mod entered;
pub mod fiber;
mod flight;
pub mod metrics;
pub mod net;
mod on_signal;
mod primitives;
pub mod race;
mod reactor;
mod record;
pub mod recording;
mod runtime;
mod scheduler;
mod scope;
mod select;
pub mod sync;
pub mod task;
pub mod time;
mod wait;

pub use bifilar_macros::{main, test};
#[doc(no_inline)]
pub use bifilar_timeline as timeline;
pub use blocking::unblock;
pub use cell::{Activity, Id, JoinError, JoinHandle, TaskKind, TaskReport};
pub use race::race;
pub use runtime::{
    Builder, Dump, EnterGuard, Frame, Handle, LeafDump, LocalRuntime, Runtime, ShutdownReport,
    TaskDump, block_on, dump, run,
};
pub use scope::{Scope, ScopedJoinHandle, TryScope, scope, try_scope};
pub use wait::{Wait, WaitIter, WaitIterator, shield, until};

/// The traits of this crate, to be imported with a star: `use bifilar::prelude::*;`.
///
/// The extension traits of futures are not among them: they come from `futures_util` or
/// `futures_lite`.
pub mod prelude {
    pub use crate::{Wait, WaitIter};
}

/// The examples of the front page, which compile and run with the tests.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct FrontPage;
