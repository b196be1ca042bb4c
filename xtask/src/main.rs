//! `cargo xtask`: every check of this repository behind one command.
//!
//! ```text
//! cargo xtask check              all that a change must pass, in order, stops at the first failure
//! cargo xtask check --skip test  the same without one step
//! cargo xtask clippy             one step alone
//! cargo xtask help               what there is
//! ```
//!
//! The steps are a table in [`steps`]; the rules of who may import whom are tables in [`layers`]
//! and [`crates`]. But for `pictures`, which draws those of the
//! documentation anew, nothing here builds or changes the project: it calls cargo and reads sources.

mod crates;
mod emulated;
mod layers;
mod modules;
mod pictures;
mod sanitizers;
mod steps;

use std::{env, process::ExitCode};

use steps::{STEPS, Step};

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match plan(&arguments) {
        Ok(Plan::Help) => {
            print!("{}", help());
            ExitCode::SUCCESS
        }
        Ok(Plan::Run(chosen)) => steps::run(&chosen),
        Err(message) => {
            eprintln!("xtask: {message}\n\n{}", help());
            ExitCode::from(2)
        }
    }
}

/// What a command line asks for.
#[derive(Debug)]
enum Plan {
    Help,
    Run(Vec<&'static Step>),
}

/// Reads the command line: `help`, `check [--skip STEP]…`, or names of steps.
fn plan(arguments: &[&str]) -> Result<Plan, String> {
    match arguments {
        [] | ["help" | "--help" | "-h", ..] => Ok(Plan::Help),
        ["check", rest @ ..] => {
            let mut chosen: Vec<&'static Step> = STEPS.iter().filter(|s| s.in_check).collect();
            for pair in rest.chunks(2) {
                let ["--skip", name] = pair else {
                    return Err(format!("after `check` comes `--skip STEP`, not `{}`", pair[0]));
                };
                let skipped = find(name)?.name;
                chosen.retain(|step| step.name != skipped);
            }
            Ok(Plan::Run(chosen))
        }
        names => names.iter().map(|name| find(name)).collect::<Result<_, _>>().map(Plan::Run),
    }
}

fn find(name: &str) -> Result<&'static Step, String> {
    STEPS.iter().find(|step| step.name == name).ok_or_else(|| format!("no step named `{name}`"))
}

fn help() -> String {
    let mut text = String::from(
        "cargo xtask check [--skip STEP]…   the steps marked *, stopping at the first failure\n\
         cargo xtask STEP…                  these steps\n\
         cargo xtask help                   this text\n\n",
    );
    for step in STEPS {
        let mark = if step.in_check { '*' } else { ' ' };
        text += &format!("{mark} {:<8} {}\n", step.name, step.about);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(arguments: &[&str]) -> Result<Vec<&'static str>, String> {
        match plan(arguments)? {
            Plan::Help => Ok(vec!["help"]),
            Plan::Run(steps) => Ok(steps.iter().map(|step| step.name).collect()),
        }
    }

    #[test]
    fn command_lines() {
        let all = ["fmt", "clippy", "layers", "test", "doctest", "docs"];
        assert_eq!(names(&[]).unwrap(), ["help"]);
        assert_eq!(names(&["check"]).unwrap(), all);
        assert_eq!(
            names(&["check", "--skip", "test", "--skip", "doctest"]).unwrap(),
            ["fmt", "clippy", "layers", "docs"]
        );
        assert_eq!(names(&["loom"]).unwrap(), ["loom"]);
        assert_eq!(names(&["layers", "fmt"]).unwrap(), ["layers", "fmt"]);
        assert!(names(&["check", "--skip"]).unwrap_err().contains("--skip STEP"));
        assert!(names(&["check", "--skip", "tests"]).unwrap_err().contains("`tests`"));
        assert!(names(&["chek"]).unwrap_err().contains("`chek`"));
    }
}
