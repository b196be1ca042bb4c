//! Tables for people, a file for everything else.
//!
//! A figure is the median over the rounds; the range beside it goes from the smallest to the
//! largest. No figure is left out as an outlier.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use serde_json::{Value, json};

use crate::{
    driver::{Cell, Measured},
    machine,
    plan::{SCENARIOS, Scenario, Work},
};

/// The columns of an echo table: the figure's name, its heading, its decimals.
const ECHO_COLUMNS: &[(&str, &str, usize)] = &[
    ("trips_per_s", "trips/s", 0),
    ("cpu_us", "cpu µs", 2),
    ("user_us", "user µs", 2),
    ("p50_us", "p50 µs", 0),
    ("p99_us", "p99 µs", 0),
];

/// Who does echo with no runtime.
const LIMIT: &str = "epoll-loop";

/// Prints which contestants take part in which scenarios.
pub fn list(cells: &[Cell]) {
    for scenario in SCENARIOS {
        let names: Vec<_> = cells
            .iter()
            .filter(|(other, _)| other.name == scenario.name)
            .map(|(_, contestant)| contestant.name)
            .collect();
        println!("{:<10} {}\n           {}", scenario.name, scenario.about, names.join(" "));
    }
}

/// Prints a table for each scenario.
pub fn tables(cells: &[Cell], measured: &[Measured]) {
    for scenario in SCENARIOS {
        let rows: Vec<&Cell> =
            cells.iter().filter(|(other, _)| other.name == scenario.name).collect();
        if rows.is_empty() {
            continue;
        }
        println!("\n{}: {}", scenario.name, scenario.about);
        match scenario.work {
            Work::Echo(_) => echo_table(&rows, measured),
            _ => count_table(&rows, measured),
        }
    }
}

/// All rounds' values of one figure of one cell, sorted.
fn values(cell: &Cell, figure: &str, measured: &[Measured]) -> Vec<f64> {
    let same = |other: &Cell| other.0.name == cell.0.name && other.1.name == cell.1.name;
    let mut values: Vec<f64> = measured
        .iter()
        .filter(|one| same(&one.cell))
        .filter_map(|one| one.figures[figure].as_f64())
        .collect();
    values.sort_by(f64::total_cmp);
    values
}

/// A figure of one cell as multiples of the same figure of the epoll loop in the same round, which
/// had the same machine around it; sorted.
fn ratios(cell: &Cell, figure: &str, measured: &[Measured]) -> Vec<f64> {
    let of = |one: &Measured| one.figures[figure].as_f64();
    let runs = measured.iter().filter(|one| one.cell.0.name == cell.0.name);
    let limits: BTreeMap<u32, f64> = runs
        .clone()
        .filter(|one| one.cell.1.name == LIMIT)
        .filter_map(|one| Some((one.round, of(one)?)))
        .collect();
    let mut ratios: Vec<f64> = runs
        .filter(|one| one.cell.1.name == cell.1.name)
        .filter_map(|one| Some(of(one)? / limits.get(&one.round)?))
        .collect();
    ratios.sort_by(f64::total_cmp);
    ratios
}

/// The middle value, or the mean of the two in the middle.
pub fn median(sorted: &[f64]) -> Option<f64> {
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => None,
        len if len % 2 == 1 => Some(sorted[middle]),
        _ => Some((sorted[middle - 1] + sorted[middle]) / 2.0),
    }
}

fn count_table(rows: &[&Cell], measured: &[Measured]) {
    println!("  {:<12} {:>10}  {:>22} {:>10}", "", "median ns", "range", "cpu ns");
    for row in rows {
        let values_ns = values(row, "ns", measured);
        let cpu_ns = median(&values(row, "cpu_ns", measured));
        let (Some(middle), Some(cpu_ns)) = (median(&values_ns), cpu_ns) else {
            println!("  {:<12} {:>10}", row.1.name, "failed");
            continue;
        };
        let decimals = usize::from(middle < 100.0);
        let range = format!("{:.0} – {:.0}", values_ns[0], values_ns[values_ns.len() - 1]);
        let name = row.1.name;
        println!("  {name:<12} {middle:>10.decimals$}  {range:>22} {cpu_ns:>10.decimals$}");
    }
}

fn echo_table(rows: &[&Cell], measured: &[Measured]) {
    let headings: String =
        ECHO_COLUMNS.iter().map(|(_, heading, _)| format!(" {heading:>9}")).collect();
    println!("  {:<12}{headings} {:>9}   trips/s range", "", "cpu ×loop");
    for row in rows {
        let trips = values(row, "trips_per_s", measured);
        if trips.is_empty() {
            println!("  {:<12} {:>9}", row.1.name, "failed");
            continue;
        }
        let columns: String = ECHO_COLUMNS
            .iter()
            .map(|(figure, _, decimals)| {
                let middle = median(&values(row, figure, measured)).unwrap_or(f64::NAN);
                format!(" {middle:>9.decimals$}")
            })
            .collect();
        let ratio = median(&ratios(row, "cpu_us", measured));
        let ratio = ratio.map_or("-".to_string(), |ratio| format!("{ratio:.2}"));
        let (least, most) = (trips[0], trips[trips.len() - 1]);
        println!("  {:<12}{columns} {ratio:>9}   {least:.0} – {most:.0}", row.1.name);
    }
}

/// Writes every figure of every round to a file under `bench/results/`; returns its path.
pub fn write(
    machine: &Value,
    seed: u64,
    quick: bool,
    measured: &[Measured],
) -> io::Result<PathBuf> {
    let mut scenarios: BTreeMap<&str, BTreeMap<&str, Vec<Value>>> = BTreeMap::new();
    for Measured { cell: (scenario, contestant), round, figures } in measured {
        let mut run = json!({ "round": round });
        if let (Some(run), Some(figures)) = (run.as_object_mut(), figures.as_object()) {
            run.extend(figures.clone());
        }
        scenarios.entry(scenario.name).or_default().entry(contestant.name).or_default().push(run);
    }
    let about: BTreeMap<&str, &str> =
        SCENARIOS.iter().map(|Scenario { name, about, .. }| (*name, *about)).collect();
    let command: Vec<String> = std::env::args().skip(1).collect();
    let file = json!({
        "command": format!("bench {}", command.join(" ")),
        "seconds_since_1970": machine::now(),
        "seed": seed,
        "quick": quick,
        "machine": machine,
        "about": about,
        "runs": scenarios,
    });
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("results");
    fs::create_dir_all(&directory)?;
    let path = directory.join(format!("run-{}.json", machine::now()));
    fs::write(&path, serde_json::to_string_pretty(&file)? + "\n")?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::median;

    #[test]
    fn medians() {
        for (sorted, expected) in [
            (&[][..], None),
            (&[1.0], Some(1.0)),
            (&[1.0, 3.0], Some(2.0)),
            (&[1.0, 2.0, 9.0], Some(2.0)),
        ] {
            assert_eq!(median(sorted), expected);
        }
    }
}
