//! Runs the plan: every cell in every round in a process of its own, in shuffled order.
//!
//! A cell that fails is reported and left out of the tables; the others go on. Only processes that
//! were started here are ended here.

use std::{
    error::Error,
    io::{BufRead, BufReader, IsTerminal, Write},
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::{
    contestants::{CONTESTANTS, Contestant},
    machine,
    plan::{SCENARIOS, Scenario, Work},
    report,
};

/// No cell takes longer than this, or it is ended.
const PATIENCE: Duration = Duration::from_secs(60);

/// What to run and how often.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// How often each cell runs
    #[arg(long, value_name = "N", default_value_t = 5,
          value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: u32,

    /// Only scenarios whose names begin so: spawn, yield, channel, echo, echo-64 …
    #[arg(long, value_name = "SCENARIO", value_delimiter = ',')]
    only: Vec<String>,

    /// Only contestants whose names begin so: threads, tokio, smol-1 …
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    contestants: Vec<String>,

    /// Two short rounds: to see that everything runs, not to learn a figure
    #[arg(long)]
    quick: bool,

    /// The seed of the order of the cells; a run prints its own
    #[arg(long, value_name = "NUMBER")]
    seed: Option<u64>,

    /// Write no file under bench/results/
    #[arg(long)]
    no_file: bool,

    /// List scenarios and contestants, and measure nothing
    #[arg(long)]
    list: bool,
}

/// A scenario with one who takes part in it.
pub type Cell = (&'static Scenario, &'static Contestant);

/// What one run of one cell gave: a JSON object of figures.
#[derive(Debug)]
pub struct Measured {
    /// Which cell.
    pub cell: Cell,
    /// In which round, from 1.
    pub round: u32,
    /// The figures by name.
    pub figures: Value,
}

/// Measures, prints the tables, and writes the raw figures.
pub fn run(options: &Options) -> Result<(), Box<dyn Error>> {
    let cells = cells(&options.only, &options.contestants);
    if options.list || cells.is_empty() {
        report::list(&cells);
        return if cells.is_empty() { Err("no cell has these names".into()) } else { Ok(()) };
    }
    let rounds = if options.quick { 2 } else { options.rounds };
    let seed = options.seed.unwrap_or_else(machine::now);
    let mut order: Vec<(u32, Cell)> =
        (1..=rounds).flat_map(|round| cells.iter().map(move |cell| (round, *cell))).collect();
    shuffle_rounds(&mut order, cells.len(), seed);

    let machine = machine::describe();
    println!("machine: {machine}");
    println!("seed {seed}, {rounds} rounds of {} cells, each in a fresh process", cells.len());
    let milliseconds = if options.quick { 50 } else { 400 };
    let mut measured = Vec::new();
    let mut failures = 0;
    for (index, (round, cell)) in order.iter().enumerate() {
        let (scenario, contestant) = cell;
        progress(&format!("{}/{} {} {}", index + 1, order.len(), scenario.name, contestant.name));
        match measure(*cell, milliseconds) {
            Ok(figures) => measured.push(Measured { cell: *cell, round: *round, figures }),
            Err(error) => {
                failures += 1;
                progress("");
                eprintln!("{} {} failed: {error}", scenario.name, contestant.name);
            }
        }
    }
    progress("");
    report::tables(&cells, &measured);
    if !options.no_file {
        let path = report::write(&machine, seed, options.quick, &measured)?;
        println!("raw figures: {}", path.display());
    }
    if failures > 0 {
        return Err(format!("{failures} of {} runs failed", order.len()).into());
    }
    Ok(())
}

/// Shows `text` in place of what was shown before, if somebody is looking.
fn progress(text: &str) {
    if std::io::stderr().is_terminal() {
        eprint!("\r\x1b[K{text}");
    }
}

/// The cells whose scenarios and contestants have names that begin so; no name means all.
pub fn cells(only: &[String], contestants: &[String]) -> Vec<Cell> {
    let wanted = |names: &[String], name: &str| {
        names.is_empty() || names.iter().any(|begin| name.starts_with(begin.as_str()))
    };
    let scenarios = SCENARIOS.iter().filter(|s| wanted(only, s.name));
    scenarios
        .flat_map(|scenario| CONTESTANTS.iter().map(move |contestant| (scenario, contestant)))
        .filter(|(scenario, contestant)| scenario.suits(contestant))
        .filter(|(_, contestant)| wanted(contestants, contestant.name))
        .collect()
}

/// Shuffles each round by itself, so that drift of the machine hits everyone alike.
fn shuffle_rounds<T>(order: &mut [T], round_len: usize, seed: u64) {
    let mut state = seed;
    for round in order.chunks_mut(round_len) {
        for end in (1..round.len()).rev() {
            round.swap(end, (random(&mut state) % (end as u64 + 1)) as usize);
        }
    }
}

/// The next number of SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number
/// generators", 2014).
fn random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut word = *state;
    word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

fn measure((scenario, contestant): Cell, milliseconds: u64) -> Result<Value, Box<dyn Error>> {
    let time = milliseconds.to_string();
    let Work::Echo(connections) = scenario.work else {
        let child =
            start(&std::env::current_exe()?, &["cell", contestant.name, scenario.name, &time])?;
        return Ok(serde_json::from_str(&output(child)?)?);
    };
    let program = std::env::current_exe()?;
    let (mut server, address) = start_server(&program, contestant.name)?;
    let figures = (|| -> Result<Value, Box<dyn Error>> {
        let server = server.id().to_string();
        let time = (milliseconds * 3).to_string();
        let arguments = ["load", &address, &server, &connections.to_string(), &time];
        Ok(serde_json::from_str(&output(start(&program, &arguments)?)?)?)
    })();
    server.kill()?;
    server.wait()?;
    figures
}

/// Starts an echo server, to be ended by the caller; with its address.
pub fn start_server(program: &Path, contestant: &str) -> Result<(Child, String), Box<dyn Error>> {
    let mut server = start(program, &["serve", contestant])?;
    let mut address = String::new();
    BufReader::new(server.stdout.take().ok_or("no output")?).read_line(&mut address)?;
    Ok((server, address.trim().to_owned()))
}

fn start(program: &Path, arguments: &[&str]) -> std::io::Result<Child> {
    std::io::stdout().flush()?;
    Command::new(program).args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).spawn()
}

/// What the child printed, once it has ended well. Children print one line, which fits the pipe.
fn output(mut child: Child) -> Result<String, Box<dyn Error>> {
    let begin = Instant::now();
    while child.try_wait()?.is_none() {
        if begin.elapsed() > PATIENCE {
            child.kill()?;
            child.wait()?;
            return Err(format!("still not done after {} s", PATIENCE.as_secs()).into());
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    let output = child.wait_with_output()?;
    if !output.status.success() {
        return Err(output.status.to_string().into());
    }
    Ok(String::from_utf8(output.stdout)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_one_order_and_rounds_stay_apart() {
        let shuffled = |seed| {
            let mut order: Vec<u32> = (0..40).collect();
            shuffle_rounds(&mut order, 10, seed);
            order
        };
        assert_eq!(shuffled(1), shuffled(1));
        assert_ne!(shuffled(1), shuffled(2));
        for (round, part) in shuffled(3).chunks(10).enumerate() {
            let mut part = part.to_vec();
            part.sort();
            let first = round as u32 * 10;
            assert_eq!(part, (first..first + 10).collect::<Vec<_>>());
        }
    }
}
