//! Runs one test of this binary again in a process of its own, for what ends a process.

use std::{
    env,
    io::Write,
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

/// What gdb says of a child that stops itself.
#[allow(dead_code)] // not all tests ask
pub struct Stopped {
    /// All of it, for messages.
    pub said: String,
}

impl Stopped {
    /// Its list of calls, innermost first.
    #[allow(dead_code)]
    pub fn frames(&self) -> Vec<&str> {
        self.said.lines().filter(|line| line.starts_with('#')).collect()
    }
}

/// Runs `test` in a child under gdb, until it raises SIGTRAP. `None`: there is no gdb for this processor.
#[allow(dead_code)]
pub fn stopped_in_gdb(test: &str) -> Option<Stopped> {
    let here = env::var(RUNNER).is_err()
        && Command::new("gdb").arg("--version").output().is_ok_and(|gdb| gdb.status.success());
    if !here {
        // Past the test harness, which would swallow it.
        let _ = writeln!(std::io::stderr(), "SKIPPED {test}: there is no gdb for this processor");
        return None;
    }
    let output = Command::new("gdb")
        .args(["-nx", "-batch", "-ex", "set debuginfod enabled off", "-ex", "run", "-ex", "bt"])
        .arg("--args")
        .arg(env::current_exe().expect("this test"))
        .args([test, "--exact", "--nocapture", "--test-threads=1"])
        .env(VARIABLE, "stop")
        .output()
        .expect("a child process");
    let text =
        [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
    Some(Stopped { said: text.join("\n") })
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
