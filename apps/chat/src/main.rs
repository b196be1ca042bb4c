//! Group chat in four styles: threads, callbacks, fibers and tasks, with a client, a load
//! generator that checks what it is told, and a comparison of the styles.
//!
//! ```text
//! chat serve                      a server (also without any argument)
//! chat join ADDR                  a person's client
//! chat load ADDR                  many clients, and a report
//! chat compare                    every style under the same load, in one table
//! ```
//!
//! This file reads the command line and hands on.

#![forbid(unsafe_code)]

mod address;
mod compare;
mod groups;
mod join;
mod limits;
mod lines;
mod load;
mod print;
mod protocol;
mod serve;
mod signals;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Group chat in four styles: threads, callbacks, fibers and tasks.
#[derive(Debug, Parser)]
#[command(name = "chat", version, max_term_width = 80, args_conflicts_with_subcommands = true)]
struct CommandLine {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    serve: serve::Options,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a server; this is also what happens without a command
    #[command(after_help = serve::EXIT_STATUS)]
    Serve(serve::Options),
    /// Take part: join groups, post messages, see what others post
    Join(join::Options),
    /// Put a server under load, and check that nothing gets lost, doubled or out of order
    Load(load::Options),
    /// Put each style under the same load, and print one table
    Compare(compare::Options),
}

fn main() -> ExitCode {
    tracing_subscriber::fmt().with_writer(|| print::Log).with_target(false).init();
    let line = CommandLine::parse();
    let done = match &line.command.unwrap_or(Command::Serve(line.serve)) {
        Command::Serve(options) => serve::run(options),
        Command::Join(options) => {
            let done = join::run(options).map(|()| ExitCode::SUCCESS);
            // The terminal may still be being read, which nothing can interrupt.
            std::process::exit(if report(done) == ExitCode::SUCCESS { 0 } else { 1 })
        }
        Command::Load(options) => load::run(options),
        Command::Compare(options) => compare::run(options),
    };
    report(done)
}

fn report(done: Result<ExitCode, String>) -> ExitCode {
    done.unwrap_or_else(|text| {
        print::remark(format_args!("chat: {text}"));
        ExitCode::FAILURE
    })
}
