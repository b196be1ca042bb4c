//! The steps of a check: a table of names and functions, and the loop that runs and times them.
//!
//! A step says nothing when it is content, beyond what the tool it calls prints. A step that fails
//! ends the run, and its message says how to repeat that step alone.

use std::{
    env,
    ffi::OsString,
    path::{Path, PathBuf},
    process::{Command, ExitCode, Stdio},
    time::Instant,
};

use crate::{crates, emulated, layers, pictures, sanitizers};

/// One thing that can be checked.
#[derive(Debug)]
pub struct Step {
    /// What it is called on the command line.
    pub name: &'static str,
    /// One line for `cargo xtask help`.
    pub about: &'static str,
    /// Whether `cargo xtask check` includes it.
    pub in_check: bool,
    run: fn() -> Result<(), String>,
}

/// All steps, in the order in which `check` runs them: cheap ones first.
pub const STEPS: &[Step] = &[
    Step { name: "fmt", about: "sources are formatted", in_check: true, run: fmt },
    Step { name: "clippy", about: "no compiler or clippy warning", in_check: true, run: clippy },
    Step {
        name: "layers",
        about: "modules and crates import only what stands below them",
        in_check: true,
        run: layers,
    },
    Step { name: "test", about: "unit and integration tests", in_check: true, run: test },
    Step { name: "doctest", about: "examples in the documentation", in_check: true, run: doctest },
    Step { name: "docs", about: "documentation builds without warning", in_check: true, run: docs },
    Step {
        name: "loom",
        about: "models of the lock-free protocols, up to 3 forced switches (release build)",
        in_check: false,
        run: loom,
    },
    Step {
        name: "abort",
        about: "coroutines and runtime where panics abort",
        in_check: false,
        run: abort,
    },
    Step {
        name: "aarch64",
        about: "tests of the coroutines on AArch64 (needs an emulator and a cross linker)",
        in_check: false,
        run: emulated::run,
    },
    Step {
        name: "asan",
        about: "coroutines and runtime under the address sanitizer",
        in_check: false,
        run: sanitizers::address,
    },
    Step {
        name: "tsan",
        about: "coroutines and runtime under the thread sanitizer",
        in_check: false,
        run: sanitizers::thread,
    },
    Step {
        name: "speedscope",
        about: "trace events are read by speedscope (needs npm, which fetches it, and Chromium)",
        in_check: false,
        run: speedscope,
    },
    Step {
        name: "bench",
        about: "the benchmarks are formatted and compile without warning (runs none)",
        in_check: false,
        run: bench,
    },
    Step {
        name: "pictures",
        about: "draws the pictures of the documentation anew, from real runs",
        in_check: false,
        run: pictures::run,
    },
    Step {
        name: "deny",
        about: "licences, bans and sources of dependencies (needs cargo-deny)",
        in_check: false,
        run: deny,
    },
    Step {
        name: "advisories",
        about: "known vulnerabilities (needs cargo-deny and the advisory database)",
        in_check: false,
        run: advisories,
    },
];

/// Runs `steps` one after the other until one fails.
pub fn run(steps: &[&'static Step]) -> ExitCode {
    let begin = Instant::now();
    for (index, step) in steps.iter().enumerate() {
        eprintln!("── {} ({}/{}): {}", step.name, index + 1, steps.len(), step.about);
        let step_begin = Instant::now();
        let result = (step.run)();
        let seconds = step_begin.elapsed().as_secs_f64();
        if let Err(message) = result {
            eprintln!("── {} FAILED after {seconds:.1} s: {message}", step.name);
            eprintln!("   again, alone: cargo xtask {}", step.name);
            return ExitCode::FAILURE;
        }
        eprintln!("── {} passed in {seconds:.1} s", step.name);
    }
    eprintln!("── all {} steps passed in {:.1} s", steps.len(), begin.elapsed().as_secs_f64());
    ExitCode::SUCCESS
}

fn fmt() -> Result<(), String> {
    call(cargo("fmt").args(["--all", "--check"]))
        .map_err(|error| format!("{error} (`cargo fmt --all` formats everything)"))
}

fn clippy() -> Result<(), String> {
    call(cargo("clippy").args([
        "--workspace",
        "--all-targets",
        "--all-features",
        "--",
        "-D",
        "warnings",
    ]))
}

fn layers() -> Result<(), String> {
    let mut faults = layers::check(&root())?;
    faults.extend(crates::check(&metadata()?)?);
    if faults.is_empty() {
        return Ok(());
    }
    for fault in &faults {
        eprintln!("{fault}");
    }
    Err(format!("{} imports against the layering", faults.len()))
}

fn test() -> Result<(), String> {
    call(cargo("test").args([
        "--workspace",
        "--all-features",
        "--lib",
        "--bins",
        "--tests",
        "--examples",
    ]))
}

fn doctest() -> Result<(), String> {
    call(cargo("test").args(["--workspace", "--all-features", "--doc"]))
}

fn docs() -> Result<(), String> {
    let flags = with_flag("RUSTDOCFLAGS", "-D warnings");
    call(
        cargo("doc")
            .args(["--workspace", "--all-features", "--no-deps"])
            .env("RUSTDOCFLAGS", flags),
    )
}

/// Loom replaces the atomics of the whole crate, so it has a target directory of its own: a plain
/// build afterwards need not start again. The release profile optimises across crates for minutes;
/// models don't gain by it. Three forced switches of threads between points where a thread would
/// wait anyway find nearly all that can be found (loom's own advice), in seconds instead of hours.
fn loom() -> Result<(), String> {
    let target = target_directory()?.join("loom");
    let preemptions = env::var_os("LOOM_MAX_PREEMPTIONS").unwrap_or_else(|| "3".into());
    call(
        cargo("test")
            .args(["--package", "bifilar", "--release", "--lib", "loom"])
            .env("LOOM_MAX_PREEMPTIONS", preemptions)
            .env("CARGO_TARGET_DIR", target)
            .env("CARGO_PROFILE_RELEASE_LTO", "off")
            .env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16")
            .env("CARGO_PROFILE_RELEASE_DEBUG", "false")
            .env("RUSTFLAGS", with_flag("RUSTFLAGS", "--cfg loom")),
    )
}

/// A program that isn't ours reads what we write. The version is fixed, so that a failure is ours.
fn speedscope() -> Result<(), String> {
    const PACKAGE: &str = "speedscope@1.25.0";
    let tools = target_directory()?.join("tools");
    let page = tools.join("node_modules/speedscope/dist/release");
    if !page.join("index.html").is_file() {
        let mut npm = Command::new("npm");
        npm.args(["install", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix"]);
        call(npm.arg(&tools).arg(PACKAGE))?;
    }
    call(
        cargo("test")
            .args(["--package", "bifilar-timeline", "--test", "browser", "--", "--ignored"])
            .env("BIFILAR_SPEEDSCOPE", page),
    )
}

/// The test harness always unwinds, so these are programs of their own, in a directory of their own
/// since all they stand on is compiled differently.
fn abort() -> Result<(), String> {
    let programs = [("bifilar-coroutine", "coroutine_panic_abort"), ("bifilar", "panic_abort")];
    for (package, program) in programs {
        call(
            cargo("run")
                .args(["--package", package, "--example", program])
                .env("CARGO_TARGET_DIR", target_directory()?.join("abort"))
                .env("CARGO_PROFILE_DEV_PANIC", "abort"),
        )?;
    }
    Ok(())
}

fn bench() -> Result<(), String> {
    let manifest = ["--manifest-path", "bench/Cargo.toml"];
    call(cargo("fmt").args(manifest).arg("--check"))?;
    call(cargo("clippy").args(manifest).args(["--all-targets", "--", "-D", "warnings"]))
}

fn deny() -> Result<(), String> {
    cargo_deny(&["bans", "licenses", "sources"])
}

fn advisories() -> Result<(), String> {
    cargo_deny(&["advisories"])
}

fn cargo_deny(checks: &[&str]) -> Result<(), String> {
    let installed = cargo("deny")
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    if !installed {
        return Err("cargo-deny is not installed; `cargo install cargo-deny --locked` builds it"
            .to_string());
    }
    call(cargo("deny").args(["--workspace", "check"]).args(checks))
}

/// What cargo knows about the crates of this workspace, without their dependencies.
fn metadata() -> Result<serde_json::Value, String> {
    let output = cargo("metadata")
        .args(["--no-deps", "--format-version", "1"])
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| format!("cargo metadata: {error}"))?;
    serde_json::from_slice(&output.stdout).map_err(|error| format!("cargo metadata: {error}"))
}

pub fn target_directory() -> Result<PathBuf, String> {
    let metadata = metadata()?;
    metadata["target_directory"]
        .as_str()
        .map(PathBuf::from)
        .ok_or_else(|| "cargo metadata names no target directory".to_string())
}

/// The value of the variable `name` with `flag` at its end.
pub fn with_flag(name: &str, flag: &str) -> OsString {
    let mut flags = env::var_os(name).unwrap_or_default();
    if !flags.is_empty() {
        flags.push(" ");
    }
    flags.push(flag);
    flags
}

/// The repository's root, in which every command runs.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask has a parent").to_path_buf()
}

pub fn cargo(subcommand: &str) -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.arg(subcommand).current_dir(root());
    command
}

/// Runs a command with our own output streams; an error says what was run.
pub fn call(command: &mut Command) -> Result<(), String> {
    let words: Vec<_> = command.get_args().map(|word| word.to_string_lossy()).collect();
    let line = format!("cargo {}", words.join(" "));
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("`{line}`: {status}")),
        Err(error) => Err(format!("`{line}` did not start: {error}")),
    }
}
