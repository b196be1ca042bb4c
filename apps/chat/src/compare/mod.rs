//! `chat compare`: every style under the same load, in one table.
//!
//! Each style's server is a process of its own, started from this very program, so that its
//! memory, threads and processor time are its own ([`server`]); the load runs in this process.

mod server;
mod table;

use std::process::ExitCode;

use serde::Serialize;

use crate::{
    load::{self, Amount, Report},
    serve::Style,
};
use server::{Server, Usage};

/// `chat compare`.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// How much load
    #[command(flatten)]
    pub amount: Amount,
    /// The styles to compare, separated by commas
    #[arg(long, value_enum, value_delimiter = ',', value_name = "STYLES")]
    #[arg(default_values_t = Style::ALL)]
    pub styles: Vec<Style>,
    /// Print one JSON array instead of the table
    #[arg(long)]
    pub json: bool,
}

/// How one style fared.
#[derive(Debug, Serialize)]
struct Row {
    style: String,
    #[serde(flatten)]
    report: Report,
    #[serde(flatten)]
    usage: Usage,
}

/// Compares and prints; fails when a style lost, doubled or mixed up anything.
///
/// # Errors
///
/// A text for the user, when a style's server or its load could not be run.
pub fn run(options: &Options) -> Result<ExitCode, String> {
    options.amount.check()?;
    let mut rows = Vec::new();
    for &style in &options.styles {
        let server = Server::start(style)?;
        let report = load::measure(server.address(), &options.amount, label(style));
        let usage = server.stop();
        let failed = |error| format!("style {style}: {error}");
        rows.push(Row {
            style: style.to_string(),
            report: report.map_err(failed)?,
            usage: usage.map_err(failed)?,
        });
    }
    if options.json {
        println!("{}", serde_json::to_string(&rows).map_err(|error| error.to_string())?);
    } else {
        print!("{}", table::render(&rows));
    }
    let clean = rows.iter().all(|row| row.report.is_clean());
    Ok(if clean { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn label(style: Style) -> &'static str {
    match style {
        Style::Threads => "threads",
        Style::Callbacks => "callbacks",
        Style::Fibers => "fibers",
        Style::Tasks => "tasks",
    }
}
