//! Who takes part, and with what: one row for each contestant, one file for each library.
//!
//! All do the same work in the way that their own documentation shows first. Each function for
//! in-process work gets the number of workers and of operations, starts its runtime, does the
//! operations from inside (never from a thread that only waits for them) and returns how long they
//! took. Each echo server takes a listener that is bound already and never returns.

mod epoll;
mod fibers;
mod may;
mod smol;
mod switches;
mod tasks;
mod threads;
mod tokio;

use std::{net::TcpListener, time::Duration};

/// Does so many operations with so many workers; returns how long they took.
pub type Count = fn(workers: usize, operations: u64) -> Duration;

/// How many tasks are spawned before the first is joined.
pub const BATCH: u64 = 1000;

/// How many tasks are blocked before the first is woken. Few, so that whoever keeps stacks warm does.
pub const BLOCKED: u64 = 50;

/// How many bytes an echo server reads at once.
pub const BUFFER: usize = 4096;

/// Lets so many coroutines have their turn one after another, until there were so many turns; returns
/// how long those took.
pub type Turns = fn(coroutines: usize, turns: u64) -> Duration;

/// One way to run concurrent code.
#[derive(Debug)]
pub struct Contestant {
    /// As in the tables.
    pub name: &'static str,
    /// Worker threads; 0 if that means nothing here.
    pub workers: usize,
    /// Spawns and joins in batches of [`BATCH`].
    pub spawn: Option<Count>,
    /// Spawns [`BLOCKED`] tasks that block, wakes them and joins them.
    pub block: Option<Count>,
    /// Coroutines in turn, on one thread.
    pub turns: Option<Turns>,
    /// Two tasks that yield; counts the yields of both.
    pub yields: Option<Count>,
    /// Two tasks, a message there and one back; counts round trips.
    pub channel: Option<Count>,
    /// Serves echo with one worker.
    pub echo: Option<fn(TcpListener)>,
}

/// All contestants, in the order of the tables.
pub const CONTESTANTS: &[Contestant] = &[
    Contestant {
        name: "epoll-loop",
        workers: 0,
        spawn: None,
        block: None,
        turns: None,
        yields: None,
        channel: None,
        echo: Some(epoll::echo),
    },
    Contestant {
        name: "threads",
        workers: 0,
        spawn: Some(threads::spawn),
        block: None,
        turns: None,
        yields: Some(threads::yields),
        channel: Some(threads::channel),
        echo: Some(threads::echo),
    },
    Contestant {
        name: "tokio-ct",
        workers: 1,
        spawn: Some(tokio::current::spawn),
        block: Some(tokio::current::block),
        turns: None,
        yields: Some(tokio::current::yields),
        channel: Some(tokio::current::channel),
        echo: Some(tokio::current::echo),
    },
    Contestant {
        name: "tokio-mt1",
        workers: 1,
        spawn: Some(tokio::multi::spawn),
        block: Some(tokio::multi::block),
        turns: None,
        yields: Some(tokio::multi::yields),
        channel: Some(tokio::multi::channel),
        echo: Some(tokio::multi::echo),
    },
    Contestant {
        name: "tokio-mt2",
        workers: 2,
        spawn: Some(tokio::multi::spawn),
        block: Some(tokio::multi::block),
        turns: None,
        yields: None,
        channel: Some(tokio::multi::channel),
        echo: None,
    },
    Contestant {
        name: "smol-1",
        workers: 1,
        spawn: Some(smol::spawn),
        block: Some(smol::block),
        turns: None,
        yields: Some(smol::yields),
        channel: Some(smol::channel),
        echo: Some(smol::echo),
    },
    Contestant {
        name: "smol-2",
        workers: 2,
        spawn: Some(smol::spawn),
        block: Some(smol::block),
        turns: None,
        yields: None,
        channel: Some(smol::channel),
        echo: None,
    },
    Contestant {
        name: "may-1",
        workers: 1,
        spawn: Some(may::spawn),
        block: Some(may::block),
        turns: Some(may::turns),
        yields: Some(may::yields),
        channel: Some(may::channel),
        echo: Some(may::echo),
    },
    Contestant {
        name: "may-2",
        workers: 2,
        spawn: Some(may::spawn),
        block: Some(may::block),
        turns: None,
        yields: None,
        channel: Some(may::channel),
        echo: None,
    },
    Contestant {
        name: "tasks-1",
        workers: 1,
        spawn: Some(tasks::spawn),
        block: Some(tasks::block),
        turns: None,
        yields: Some(tasks::yields),
        channel: Some(tasks::channel),
        echo: Some(tasks::echo),
    },
    Contestant {
        name: "tasks-2",
        workers: 2,
        spawn: Some(tasks::spawn),
        block: Some(tasks::block),
        turns: None,
        yields: None,
        channel: Some(tasks::channel),
        echo: None,
    },
    Contestant {
        name: "fibers-1",
        workers: 1,
        spawn: Some(fibers::spawn),
        block: Some(fibers::block),
        turns: Some(fibers::turns),
        yields: Some(fibers::yields),
        channel: Some(fibers::channel),
        echo: Some(fibers::echo),
    },
    Contestant {
        name: "fibers-2",
        workers: 2,
        spawn: Some(fibers::spawn),
        block: Some(fibers::block),
        turns: None,
        yields: None,
        channel: Some(fibers::channel),
        echo: None,
    },
    Contestant {
        name: "recorded-1",
        workers: 1,
        spawn: None,
        block: None,
        turns: None,
        yields: Some(fibers::recorded_yields),
        channel: Some(fibers::recorded_channel),
        echo: Some(fibers::recorded_echo),
    },
    Contestant {
        name: "bare-switch",
        workers: 0,
        spawn: None,
        block: None,
        turns: Some(switches::bare::turns),
        yields: None,
        channel: None,
        echo: None,
    },
    Contestant {
        name: "corosensei",
        workers: 0,
        spawn: None,
        block: None,
        turns: Some(switches::corosensei::turns),
        yields: None,
        channel: None,
        echo: None,
    },
    Contestant {
        name: "coroutines",
        workers: 0,
        spawn: None,
        block: None,
        turns: Some(switches::coroutines::turns),
        yields: None,
        channel: None,
        echo: None,
    },
];

/// The contestant with this name.
pub fn find(name: &str) -> Result<&'static Contestant, String> {
    CONTESTANTS.iter().find(|c| c.name == name).ok_or_else(|| format!("no contestant `{name}`"))
}
