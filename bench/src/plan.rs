//! What is measured: the table of scenarios, and how one cell of it runs inside its own process.
//!
//! An in-process cell first finds out how many operations fill a tenth of its time, which also
//! warms it up, and then measures once over the whole time. A contestant's function starts its
//! runtime, does that many operations and returns how long those took, without start and stop.

use std::{error::Error, io::Write, net::TcpListener, time::Duration};

use serde_json::json;

use crate::{
    contestants::{self, Contestant, Count},
    machine,
};

/// One thing to measure, with a number of workers.
#[derive(Debug, Clone, Copy)]
pub struct Scenario {
    /// As on the command line: `--only spawn` takes every scenario that begins so.
    pub name: &'static str,
    /// One line above the table.
    pub about: &'static str,
    /// Threads that may run the work. One worker means one core: the process is pinned to it.
    pub workers: usize,
    /// What kind of work.
    pub work: Work,
}

/// The kinds of work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// Spawn 1,000, join 1,000, again.
    Spawn,
    /// Spawn 50 that block, wake them, join them, again.
    Block,
    /// So many coroutines have their turn one after another.
    Turns(usize),
    /// Two that yield to each other.
    Yield,
    /// A message there and one back, over two channels that hold one message each.
    Channel,
    /// 64 bytes there and back over TCP, on so many connections.
    Echo(usize),
}

/// All scenarios, in the order of the report.
pub const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "spawn-1",
        about: "spawn and join, batches of 1,000, 1 worker; ns per spawn",
        workers: 1,
        work: Work::Spawn,
    },
    Scenario {
        name: "spawn-2",
        about: "spawn and join, batches of 1,000, 2 workers; ns per spawn",
        workers: 2,
        work: Work::Spawn,
    },
    Scenario {
        name: "block-1",
        about: "spawn, block, wake and join, batches of 50, 1 worker; ns per task",
        workers: 1,
        work: Work::Block,
    },
    Scenario {
        name: "block-2",
        about: "spawn, block, wake and join, batches of 50, 2 workers; ns per task",
        workers: 2,
        work: Work::Block,
    },
    Scenario {
        name: "turn-of-1",
        about: "resume a coroutine and suspend it; ns",
        workers: 1,
        work: Work::Turns(1),
    },
    Scenario {
        name: "turn-of-100",
        about: "the same, 100 coroutines in turn (may, fibers: that yield); ns per turn",
        workers: 1,
        work: Work::Turns(100),
    },
    Scenario {
        name: "turn-of-1000",
        about: "the same, 1,000 coroutines in turn; ns per turn",
        workers: 1,
        work: Work::Turns(1000),
    },
    Scenario {
        name: "turn-of-10000",
        about: "the same, 10,000 coroutines in turn; ns per turn",
        workers: 1,
        work: Work::Turns(10_000),
    },
    Scenario {
        name: "yield-1",
        about: "yield, 2 tasks, 1 worker; ns per yield",
        workers: 1,
        work: Work::Yield,
    },
    Scenario {
        name: "channel-1",
        about: "channel that holds 1, round trip between 2 tasks, 1 worker; ns",
        workers: 1,
        work: Work::Channel,
    },
    Scenario {
        name: "channel-2",
        about: "channel that holds 1, round trip between 2 tasks, 2 workers; ns",
        workers: 2,
        work: Work::Channel,
    },
    Scenario {
        name: "echo-1",
        about: "TCP echo, 64 bytes, 1 connection, server with 1 worker",
        workers: 1,
        work: Work::Echo(1),
    },
    Scenario {
        name: "echo-64",
        about: "TCP echo, 64 bytes, 64 connections, server with 1 worker",
        workers: 1,
        work: Work::Echo(64),
    },
    Scenario {
        name: "echo-1000",
        about: "TCP echo, 64 bytes, 1,000 connections, server with 1 worker",
        workers: 1,
        work: Work::Echo(1000),
    },
];

impl Scenario {
    /// Whether `contestant` takes part.
    pub fn suits(&self, contestant: &Contestant) -> bool {
        let workers = contestant.workers == self.workers || contestant.workers == 0;
        workers
            && match self.work {
                Work::Echo(_) => contestant.echo.is_some(),
                Work::Turns(_) => contestant.turns.is_some(),
                _ => self.count(contestant).is_some(),
            }
    }

    /// Does so many operations; how long they took.
    fn operate(&self, contestant: &Contestant, operations: u64) -> Option<Duration> {
        Some(match self.work {
            Work::Turns(coroutines) => contestant.turns?(coroutines, operations),
            _ => self.count(contestant)?(self.workers, operations),
        })
    }

    fn count(&self, contestant: &Contestant) -> Option<Count> {
        match self.work {
            Work::Spawn => contestant.spawn,
            Work::Block => contestant.block,
            Work::Yield => contestant.yields,
            Work::Channel => contestant.channel,
            Work::Turns(_) | Work::Echo(_) => None,
        }
    }
}

/// In a child process: does so many operations of one cell, and measures nothing.
pub fn operate(contestant: &str, scenario: &str, operations: u64) -> Result<(), Box<dyn Error>> {
    let (contestant, scenario) = prepare(contestant, scenario)?;
    scenario.operate(contestant, operations).ok_or("not a cell")?;
    Ok(())
}

/// The process of a cell.
fn prepare(
    contestant: &str,
    scenario: &str,
) -> Result<(&'static Contestant, &'static Scenario), Box<dyn Error>> {
    let contestant = contestants::find(contestant)?;
    let scenario = SCENARIOS
        .iter()
        .find(|known| known.name == scenario)
        .ok_or_else(|| format!("no scenario `{scenario}`"))?;
    machine::die_with_parent()?;
    if scenario.workers == 1 {
        machine::pin(0)?;
    }
    Ok((contestant, scenario))
}

/// In a child process: measures one cell and prints nanoseconds per operation,
/// by the clock and of CPU time.
pub fn measure_cell(
    contestant: &str,
    scenario: &str,
    milliseconds: u64,
) -> Result<(), Box<dyn Error>> {
    let (contestant, scenario) = prepare(contestant, scenario)?;
    let run = |operations| scenario.operate(contestant, operations).ok_or("not a cell");
    // The first run has a worker's number of batches in it, so nobody measures a cold cache.
    let time = Duration::from_millis(milliseconds);
    let mut operations: u64 = match scenario.work {
        Work::Turns(coroutines) => 1000.max(10 * coroutines as u64),
        _ => 1000,
    };
    let per_operation = loop {
        let elapsed = run(operations)?;
        let nanoseconds = elapsed.as_nanos().max(1) as f64 / operations as f64;
        if elapsed >= time / 10 {
            break nanoseconds;
        }
        operations *= 2;
    };
    let operations = ((time.as_nanos() as f64 / per_operation) as u64).next_multiple_of(1000);
    let cpu_before = machine::own_cpu_time();
    let elapsed = run(operations)?;
    let cpu = machine::own_cpu_time() - cpu_before;
    let per_operation = |time: Duration| time.as_nanos() as f64 / operations as f64;
    println!("{}", json!({ "ns": per_operation(elapsed), "cpu_ns": per_operation(cpu) }));
    Ok(())
}

/// In a child process: echoes until killed.
pub fn serve(contestant: &str) -> Result<(), Box<dyn Error>> {
    let contestant = contestants::find(contestant)?;
    let echo = contestant.echo.ok_or("not an echo server")?;
    machine::die_with_parent()?;
    machine::pin(0)?;
    let listener = TcpListener::bind("127.0.0.1:0")?;
    // std asks for a queue of 128; a thousand connections come at once here.
    rustix::net::listen(&listener, 4096)?;
    println!("{}", listener.local_addr()?);
    std::io::stdout().flush()?;
    echo(listener);
    Ok(())
}
