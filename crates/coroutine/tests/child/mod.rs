//! Runs one test of this binary again in a process of its own, for what ends a process.

use std::{
    env,
    process::{Command, Output},
};

/// Whether this is a build for a sanitizer. There frames are larger, and calls of functions with
/// frames larger than a page aren't probed: the compiler leaves both to the sanitizer.
#[allow(dead_code)] // not all tests ask
pub const SANITIZED: bool = cfg!(any(bifilar_sanitizer = "address", bifilar_sanitizer = "thread"));

/// Says to a child which case it is to run.
pub const VARIABLE: &str = "BIFILAR_TEST_CASE";

/// The command, in words, under which tests of another instruction set run here: the emulator.
pub const RUNNER: &str = "BIFILAR_TEST_RUNNER";

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
    let mut output = this_test()
        .args([test, "--exact", "--nocapture"])
        .env(VARIABLE, case)
        .env("RUST_BACKTRACE", "full")
        .output()
        .expect("a child process");
    // The emulator's own last word isn't the program's.
    let error = String::from_utf8_lossy(&output.stderr);
    if let Some(at) = error.find("qemu: uncaught target signal") {
        output.stderr.truncate(at);
    }
    output
}

/// This binary, under the emulator if it takes one.
fn this_test() -> Command {
    let program = env::current_exe().expect("this test");
    let runner = env::var(RUNNER).unwrap_or_default();
    let mut words = runner.split_whitespace();
    let Some(emulator) = words.next() else { return Command::new(program) };
    let mut command = Command::new(emulator);
    command.args(words).arg(program);
    command
}
