//! Two echo servers in turns: what one costs more than the other, when that is little.
//!
//! ```text
//!   server A (core 0)  ████      ████████      ████████      ████
//!   server B (core 0)      ████████      ████████      ████████        ABBA, ABBA, …
//!   load     (core 1)  ████████████████████████████████████████
//! ```
//!
//! Cells in processes of their own differ by more than some per cent between rounds, for reasons that
//! have nothing to do with the code: addresses, and what else the machine does meanwhile. Here both
//! servers live through the whole run, one of them always asleep, and each short round of the one
//! stands beside a round of the other. The ratio is taken pair by pair.

use std::{
    error::Error,
    fs,
    io::Read,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Child,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::{driver, load::Load, machine, report};

/// What to compare.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// Two contestants that serve echo: the second is compared with the first
    #[arg(num_args = 2, value_names = ["FIRST", "SECOND"], required = true)]
    contestants: Vec<String>,

    /// Connections to each
    #[arg(long, value_name = "N", default_value_t = 64)]
    connections: usize,

    /// Pairs of rounds
    #[arg(long, value_name = "N", default_value_t = 100)]
    pairs: usize,

    /// Length of a round in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 100)]
    round: u64,

    /// The program that is the second server: another build of this one
    #[arg(long, value_name = "PROGRAM")]
    second_program: Option<PathBuf>,
}

struct Server {
    process: Child,
    load: Load,
}

/// What a round of one server gave.
#[derive(Clone, Copy)]
struct Round {
    trips_per_s: f64,
    cpu_us: f64,
}

/// Measures, prints a table, and writes the raw figures.
pub fn run(options: &Options) -> Result<(), Box<dyn Error>> {
    let machine = machine::describe();
    println!("machine: {machine}");
    let mut servers: Vec<Server> = Vec::new();
    let measured = (|| {
        let this = std::env::current_exe()?;
        let second = options.second_program.as_deref().unwrap_or(&this);
        for (program, name) in [&this, second].into_iter().zip(&options.contestants) {
            let (process, address) = driver::start_server(program, name)?;
            let address: SocketAddr = address.parse()?;
            servers.push(Server { load: Load::connect(address, options.connections)?, process });
        }
        machine::pin(1)?;
        // The first pair warms both up.
        rounds(&mut servers, options)
    })();
    for server in &mut servers {
        server.process.kill()?;
        server.process.wait()?;
    }
    let measured: Vec<[Round; 2]> = measured?;
    table(options, &measured);
    let path = write(options, &machine, &measured)?;
    println!("raw figures: {}", path.display());
    Ok(())
}

fn rounds(servers: &mut [Server], options: &Options) -> Result<Vec<[Round; 2]>, Box<dyn Error>> {
    let mut measured = Vec::new();
    for pair in 0..=options.pairs {
        let order = if pair.is_multiple_of(2) { [0, 1] } else { [1, 0] };
        let mut figures = [Round { trips_per_s: 0.0, cpu_us: 0.0 }; 2];
        for which in order {
            figures[which] = round(&mut servers[which], Duration::from_millis(options.round))?;
        }
        if pair > 0 {
            measured.push(figures);
        }
    }
    Ok(measured)
}

/// All connections are at rest before and after a round.
fn round(server: &mut Server, time: Duration) -> Result<Round, Box<dyn Error>> {
    let process = server.process.id();
    let cpu_before = cpu_time(process)?;
    let begin = Instant::now();
    let trips = server.load.round(time)? as f64;
    let elapsed = begin.elapsed();
    let cpu = cpu_time(process)? - cpu_before;
    Ok(Round {
        trips_per_s: trips / elapsed.as_secs_f64(),
        cpu_us: cpu.as_secs_f64() * 1e6 / trips,
    })
}

/// CPU time of all threads of a process so far, in nanoseconds: that of /proc/PID/stat counts in
/// hundredths of a second.
fn cpu_time(process: u32) -> Result<Duration, Box<dyn Error>> {
    let mut sum = 0;
    for thread in fs::read_dir(format!("/proc/{process}/task"))? {
        let mut text = String::new();
        fs::File::open(thread?.path().join("schedstat"))?.read_to_string(&mut text)?;
        sum += text.split(' ').next().unwrap_or_default().parse::<u64>()?;
    }
    Ok(Duration::from_nanos(sum))
}

type Figure = (&'static str, fn(&Round) -> f64, usize);

const FIGURES: [Figure; 2] =
    [("trips/s", |round| round.trips_per_s, 0), ("cpu µs per trip", |round| round.cpu_us, 3)];

fn table(options: &Options, measured: &[[Round; 2]]) {
    let [first, second] = [&options.contestants[0], &options.contestants[1]];
    println!(
        "{} pairs of rounds of {} ms, {} connections; medians, and where the middle half lies",
        options.pairs, options.round, options.connections
    );
    println!("  {:<16} {first:>22} {second:>22}   {second} / {first}", "");
    for (name, figure, decimals) in FIGURES {
        let sorted = |of: &dyn Fn(&[Round; 2]) -> f64| {
            let mut values: Vec<f64> = measured.iter().map(of).collect();
            values.sort_by(f64::total_cmp);
            values
        };
        let columns = [0, 1].map(|which| {
            let values = sorted(&|pair| figure(&pair[which]));
            spread(&values, decimals)
        });
        let ratios = sorted(&|pair| figure(&pair[1]) / figure(&pair[0]));
        println!("  {name:<16} {:>22} {:>22}   {}", columns[0], columns[1], spread(&ratios, 4));
    }
}

/// The median and the quartiles.
fn spread(sorted: &[f64], decimals: usize) -> String {
    let middle = report::median(sorted).unwrap_or(f64::NAN);
    let at = |share: usize| sorted.get(sorted.len() * share / 4).copied().unwrap_or(f64::NAN);
    format!("{middle:.decimals$} ({:.decimals$}–{:.decimals$})", at(1), at(3))
}

fn write(
    options: &Options,
    machine: &Value,
    measured: &[[Round; 2]],
) -> Result<PathBuf, Box<dyn Error>> {
    let command: Vec<String> = std::env::args().skip(1).collect();
    let pairs: Vec<Value> = measured
        .iter()
        .map(|pair| {
            let figures = |round: Round| json!([round.trips_per_s, round.cpu_us]);
            json!([figures(pair[0]), figures(pair[1])])
        })
        .collect();
    let file = json!({
        "command": format!("bench {}", command.join(" ")),
        "machine": machine,
        "contestants": options.contestants,
        "pairs": pairs,
        "about": "each pair: [trips/s, CPU µs per trip] of the first and of the second",
    });
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("results");
    fs::create_dir_all(&directory)?;
    let path = directory.join(format!("run-pair-{}.json", machine::now()));
    fs::write(&path, serde_json::to_string(&file)? + "\n")?;
    Ok(path)
}
