//! How many instructions one operation takes, counted by callgrind: a figure that no neighbour of this
//! machine can change.
//!
//! Each cell runs twice under it, once with [`FEW`] operations and once with [`MANY`]; the difference
//! leaves out whatever a runtime does only once. Callgrind counts user space, of all threads.

use std::{
    error::Error,
    process::{Command, Stdio},
};

use crate::{driver, plan};

const FEW: u64 = 20_000;
const MANY: u64 = 120_000;

/// Which cells.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// Only scenarios whose names begin so: yield-1, channel-1 …
    #[arg(
        long,
        value_name = "SCENARIO",
        value_delimiter = ',',
        default_value = "yield-1,channel-1"
    )]
    only: Vec<String>,

    /// Only contestants whose names begin so
    #[arg(
        long,
        value_name = "NAMES",
        value_delimiter = ',',
        default_value = "tasks-1,fibers-1,recorded"
    )]
    contestants: Vec<String>,
}

/// Counts, and prints a table.
pub fn run(options: &Options) -> Result<(), Box<dyn Error>> {
    println!("{:<12} {:<16} instructions per operation", "", "");
    for (scenario, contestant) in driver::cells(&options.only, &options.contestants) {
        if matches!(scenario.work, plan::Work::Echo(_)) {
            continue;
        }
        let [few, many] =
            [FEW, MANY].map(|operations| count(contestant.name, scenario.name, operations));
        let per_operation = (many? - few?) as f64 / (MANY - FEW) as f64;
        println!("{:<12} {:<16} {per_operation:.1}", scenario.name, contestant.name);
    }
    Ok(())
}

fn count(contestant: &str, scenario: &str, operations: u64) -> Result<u64, Box<dyn Error>> {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(std::env::current_exe()?)
        .args(["operate", contestant, scenario, &operations.to_string()])
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("valgrind: {error}"))?;
    let text = String::from_utf8_lossy(&output.stderr);
    let collected = text.lines().find_map(|line| line.split_once("Collected : "));
    let Some((_, collected)) = collected.filter(|_| output.status.success()) else {
        return Err(format!("valgrind says: {text}").into());
    };
    Ok(collected.trim().parse()?)
}
