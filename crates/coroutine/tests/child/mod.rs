//! Runs one test of this binary again in a process of its own, for what ends a process.

use std::{
    env,
    process::{Command, Output},
};

const VARIABLE: &str = "BIFILAR_TEST_CASE";

/// In the parent: runs `test` in a child, which finds `case` here, and gives what became of it.
/// In the child: the case to run.
pub enum Side {
    Parent,
    Child(String),
}

pub fn side() -> Side {
    env::var(VARIABLE).map_or(Side::Parent, Side::Child)
}

pub fn run(test: &str, case: &str) -> Output {
    Command::new(env::current_exe().expect("this test"))
        .args([test, "--exact", "--nocapture"])
        .env(VARIABLE, case)
        .env("RUST_BACKTRACE", "full")
        .output()
        .expect("a child process")
}
