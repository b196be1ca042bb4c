//! `bench`: bifilar beside threads, tokio, smol, may and a bare epoll loop.
//!
//! ```text
//! bench ──► plan: cells (contestant × scenario) × rounds, shuffled by a printed seed
//!   │         each run of a cell is a fresh process:
//!   ├─ bench cell CONTESTANT SCENARIO          in-process work; prints ns per operation
//!   └─ bench serve CONTESTANT                  the echo server under test, on one core
//!      bench load ADDRESS SERVER CONNECTIONS   one epoll loop on the other core
//!   ──► medians and ranges as tables; every single figure under bench/results/
//! bench pair FIRST SECOND ──► two echo servers in turns, for differences of some per cent
//! bench instructions ──► instructions per operation, counted by callgrind
//! ```
//!
//! How to read the result stands in `bench/README.md`. This program compares; it doesn't judge a
//! change by itself and keeps no history beyond the files that it writes.

mod contestants;
mod driver;
mod instructions;
mod load;
mod machine;
mod pair;
mod plan;
mod report;

use std::{error::Error, net::SocketAddr, process::ExitCode};

use clap::{Parser, Subcommand};

/// Measure bifilar beside other ways to run concurrent code.
#[derive(Debug, Parser)]
#[command(name = "bench", args_conflicts_with_subcommands = true)]
struct Options {
    #[command(subcommand)]
    child: Option<Child>,

    #[command(flatten)]
    run: driver::Options,
}

/// Other ways to measure, and what the driver starts; the latter not for use by hand, though nothing
/// forbids it.
#[derive(Debug, Subcommand)]
enum Child {
    /// Compare two echo servers in short rounds by turns
    Pair(pair::Options),
    /// Count instructions per operation with callgrind, from the package `valgrind`
    Instructions(instructions::Options),
    /// Do so many operations of one in-process cell
    #[command(hide = true)]
    Operate { contestant: String, scenario: String, operations: u64 },
    /// Measure one in-process cell once
    #[command(hide = true)]
    Cell { contestant: String, scenario: String, milliseconds: u64 },
    /// Serve echo until killed; prints the address first
    #[command(hide = true)]
    Serve { contestant: String },
    /// Load an echo server; prints what it saw
    #[command(hide = true)]
    Load { address: SocketAddr, server: u32, connections: usize, milliseconds: u64 },
}

fn main() -> ExitCode {
    let options = Options::parse();
    let result: Result<(), Box<dyn Error>> = match options.child {
        None => driver::run(&options.run),
        Some(Child::Pair(options)) => pair::run(&options),
        Some(Child::Instructions(options)) => instructions::run(&options),
        Some(Child::Operate { contestant, scenario, operations }) => {
            plan::operate(&contestant, &scenario, operations)
        }
        Some(Child::Cell { contestant, scenario, milliseconds }) => {
            plan::measure_cell(&contestant, &scenario, milliseconds)
        }
        Some(Child::Serve { contestant }) => plan::serve(&contestant),
        Some(Child::Load { address, server, connections, milliseconds }) => {
            load::run(address, server, connections, milliseconds).map_err(Into::into)
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}
