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
    print,
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
    outcome: Outcome,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Outcome {
    Measured {
        #[serde(flatten)]
        report: Box<Report>,
        #[serde(flatten)]
        usage: Usage,
    },
    Failed {
        error: String,
    },
}

/// Compares and prints; fails when a style lost, doubled or mixed up anything, or could not do it
/// at all.
///
/// # Errors
///
/// A text for the user, when the amount makes no sense.
pub fn run(options: &Options) -> Result<ExitCode, String> {
    options.amount.check()?;
    let row = |&style: &Style| {
        let outcome = measure(style, &options.amount);
        Row { style: style.to_string(), outcome: outcome.unwrap_or_else(Outcome::failed) }
    };
    let rows: Vec<_> = options.styles.iter().map(row).collect();
    if options.json {
        let json = serde_json::to_string(&rows).map_err(|error| error.to_string())?;
        print::result(format_args!("{json}\n"))?;
    } else {
        print::result(table::render(&rows))?;
    }
    let clean = rows.iter().all(|row| match &row.outcome {
        Outcome::Measured { report, .. } => report.is_clean(),
        Outcome::Failed { .. } => false,
    });
    Ok(if clean { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn measure(style: Style, amount: &Amount) -> Result<Outcome, String> {
    let server = Server::start(style)?;
    let report = load::measure(server.address(), amount, style.to_string());
    let usage = server.stop()?; // if the server failed, that is the reason for both
    Ok(Outcome::Measured { report: Box::new(report?), usage })
}

impl Outcome {
    fn failed(error: String) -> Self {
        Outcome::Failed { error }
    }
}
