//! The task cell: one heap block that holds a task from spawn to join.
//!
//! ```text
//!   ┌────────────────────────── Cell<F, S> ──────────────────────────┐
//!   │ Header: link, state, vtable, join waker, registry links, …     │ ◄── TaskRef, Waker, JoinHandle
//!   │ Stage:  Future(F) ──► Output(Result<T, JoinError>) ──► Empty   │     point here
//!   └────────────────────────────────────────────────────────────────┘
//! ```
//!
//! Who may touch what:
//!
//! | field | touched by |
//! |---|---|
//! | `state` | everybody; it decides the rest (see [`state`]) |
//! | `link` | whoever holds the queue in which the task stands |
//! | `Stage::Future` | whoever set RUNNING |
//! | `Stage::Output` | after COMPLETE the `JoinHandle`; without JOIN_INTEREST whoever completed |
//! | `join_waker` | the `JoinHandle` while JOIN_WAKER is unset, whoever completes while it is set |
//! | `registry` | whoever holds the lock of the registry |
//! | `stack` | written by the worker that polls, read by `cancel` |
//!
//! **Invariant:** a task that is not complete stands in its runtime's registry, and a runtime is not
//! freed before its registry is empty; so a task may follow its `scheduler` pointer until it is
//! complete, and never afterwards.
//!
//! What it deliberately does not do: know the queues. It calls the scheduler through the
//! [`Schedule`] trait only.

mod header;
mod join;
mod link;
#[cfg(all(test, loom))]
mod loom_models;
mod raw;
mod registry;
mod report;
mod state;
mod tally;
mod task;
mod waker;

pub(crate) use header::{Extra, Header, Meta, TaskRef, next_in_block};
pub use header::{Id, TaskKind};
pub(crate) use join::CancelUnwind;
pub use join::{JoinError, JoinHandle};
pub(crate) use link::{Fifo, Kind, Link};
pub(crate) use raw::{Schedule, new};
pub(crate) use registry::Registry;
pub use report::{Activity, TaskReport};
pub(crate) use tally::Tally;
pub use task::Task;
