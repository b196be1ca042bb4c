//! Tests under the address sanitizer and the thread sanitizer.
//!
//! Both are part of the compiler, but not of what its stable edition offers: `RUSTC_BOOTSTRAP` says
//! that we know. Our own flag, `--cfg bifilar_sanitizer`, puts the calls in that tell a sanitizer of
//! switches. For the thread sanitizer the standard library is built as well: it must see how std's
//! locks and joins order things, or all that they protect looks like a race.
//!
//! A run that reports nothing proves nothing unless it could: so each begins with bugs on purpose.
//! And what is left out is named; a name that nothing bears any more ends the run before it begins.

use std::{
    env, fs, io,
    path::{Path, PathBuf},
    process::Command,
};

use crate::steps::{call, cargo, root, target_directory, with_flag};

const TARGET: &str = "x86_64-unknown-linux-gnu";

struct Sanitizer {
    /// What the compiler calls it, and the value of our own flag.
    name: &'static str,
    /// Whether the standard library must be built for it, too.
    builds_std: bool,
    /// The variable with its options.
    variable: &'static str,
    packages: &'static [Package],
}

struct Package {
    name: &'static str,
    /// The variable's value here; `{}` stands for the folder of lists.
    options: &'static str,
    /// Bugs on purpose in its `tests/planted.rs`, and what must be in the report of each.
    planted: &'static [(&'static str, &'static str)],
    /// Tests that can't run under the sanitizer.
    skipped: &'static [&'static str],
}

const ADDRESS: Sanitizer = Sanitizer {
    name: "address",
    builds_std: false,
    variable: "ASAN_OPTIONS",
    packages: &[
        Package {
            name: "bifilar-coroutine",
            // Signals go where they went before: tests of guards look at what becomes of the process.
            options: "handle_segv=0:handle_sigbus=0:handle_abort=0:detect_stack_use_after_return=1",
            planted: &[
                ("a_pointer_into_a_frame_that_is_gone", "stack-use-after-return"),
                ("a_pointer_to_freed_memory", "heap-use-after-free"),
            ],
            skipped: &[
                // They switch by instructions of their own, of which nobody is told.
                "registers_the_other_side_overwrites_come_back",
                "every_register_that_a_call_keeps_survives_a_switch",
                // Each stack on which code has run gets a mapping for frames that are kept after
                // their return, and the kernel allows 65,530 mappings.
                "a_hundred_thousand_at_once",
                // It measures memory. Records of stacks stay in the books that sanitizers need.
                "a_crowd_leaves_no_memory_behind",
            ],
        },
        Package {
            name: "bifilar",
            // Frames stay on their stacks: a wait asks of a region whether it stands on the current
            // one, and frames that are kept after their return stand elsewhere.
            options: "handle_segv=0:handle_sigbus=0:handle_abort=0:detect_stack_use_after_return=0",
            planted: &[("a_pointer_to_freed_memory", "heap-use-after-free")],
            skipped: &[
                // It measures memory. Freed memory is kept for a while, so that its use is seen.
                "a_burst_of_fibers_gives_its_memory_back",
                // It uses up the mappings that the kernel allows, of which the sanitizer needs some,
                // and locks memory, which it doesn't do under a sanitizer.
                "without_mappings_the_error_names_the_sysctl",
                // Each switch asks the system for the signal stack, in the sanitizer's own functions.
                "spawn_block_wake_and_end",
                // A worker's loop, with the sanitizer's larger frames, needs more than 16 KiB.
                "sizes_of_stacks_are_per_fiber",
                // Nor is what it leaves of a stack enough to unwind there.
                "a_stack_that_is_nearly_full_is_not_walked",
                // Compilers, run by tests of what must not compile.
                "what_must_not_compile",
                "messages",
            ],
        },
    ],
};

const THREAD: Sanitizer = Sanitizer {
    name: "thread",
    builds_std: true,
    variable: "TSAN_OPTIONS",
    packages: &[
        Package {
            name: "bifilar-coroutine",
            options: "handle_segv=0:handle_sigbus=0:handle_abort=0:suppressions={}/race.txt",
            planted: &[("a_counter_that_two_threads_change", "data race")],
            skipped: &[
                // They switch by instructions of their own, of which nobody is told.
                "registers_the_other_side_overwrites_come_back",
                "every_register_that_a_call_keeps_survives_a_switch",
                // It can follow 8,128 threads and fibers at a time.
                "a_hundred_thousand_at_once",
                // It measures memory. The sanitizer's shadow of what was touched stays.
                "a_crowd_leaves_no_memory_behind",
            ],
        },
        Package {
            name: "bifilar",
            options: "handle_segv=0:handle_sigbus=0:handle_abort=0:suppressions={}/race.txt",
            planted: &[("a_counter_that_two_workers_change", "data race")],
            skipped: &[
                // As in the coroutines: more fibers than it can follow, and memory is measured.
                "a_burst_of_fibers_gives_its_memory_back",
                // It locks memory, which isn't done under a sanitizer.
                "without_mappings_the_error_names_the_sysctl",
                // It meets each system call in a signal handler, and the sanitizer calls those later.
                "spawn_block_wake_and_end",
                // Compilers, run by tests of what must not compile.
                "what_must_not_compile",
                "messages",
            ],
        },
    ],
};

pub fn address() -> Result<(), String> {
    ADDRESS.run()
}

pub fn thread() -> Result<(), String> {
    THREAD.run()
}

impl Sanitizer {
    fn run(&self) -> Result<(), String> {
        if self.builds_std && !has_sources()? {
            return Err("the sources of the standard library are missing: `rustup component add \
                        rust-src`"
                .to_string());
        }
        self.check_names()?;
        for package in self.packages {
            for (test, report) in package.planted {
                self.expect_report(package, test, report)?;
            }
            let mut command = self.test(package)?;
            command.args(["--lib", "--tests", "--no-fail-fast", "--", "--exact"]);
            command.args(package.skipped.iter().flat_map(|test| ["--skip", test]));
            call(&mut command)?;
        }
        Ok(())
    }

    /// What is left out must be there: a name that has changed hides something else, or nothing.
    fn check_names(&self) -> Result<(), String> {
        let read = |error: io::Error| format!("the sources: {error}");
        let lists = fs::read_to_string(lists().join("leak.txt")).map_err(read)?
            + &fs::read_to_string(lists().join("race.txt")).map_err(read)?;
        let mut sources = String::new();
        for package in self.packages {
            let folder = package.name.strip_prefix("bifilar-").unwrap_or(package.name);
            read_sources(&root().join("crates").join(folder), &mut sources).map_err(read)?;
        }
        let skipped = self.packages.iter().flat_map(|package| package.skipped).copied();
        match stale(skipped.chain(entries(&lists)), &sources)[..] {
            [] => Ok(()),
            ref names => Err(format!("nothing bears these names any more: {}", names.join(", "))),
        }
    }

    /// Runs a bug that was planted, which must fail with this report.
    fn expect_report(&self, package: &Package, test: &str, report: &str) -> Result<(), String> {
        let mut command = self.test(package)?;
        command.args(["--test", "planted", "--", "--ignored", "--exact", test]);
        let output = command.output().map_err(|error| format!("cargo test: {error}"))?;
        let text = String::from_utf8_lossy(&output.stderr);
        if !output.status.success() && text.contains("Sanitizer: ") && text.contains(report) {
            eprintln!("   planted in {}, and found: {report} ({test})", package.name);
            return Ok(());
        }
        Err(format!(
            "the bug `{test}`, planted in {}, was not reported as {report}:\n{text}",
            package.name
        ))
    }

    /// `cargo test` in a build for this sanitizer, in a directory of its own. The target is named,
    /// so that flags stay away from build scripts and macros.
    fn test(&self, package: &Package) -> Result<Command, String> {
        let flags = format!("-Zsanitizer={0} --cfg bifilar_sanitizer=\"{0}\"", self.name);
        let lists = lists().display().to_string();
        let mut command = cargo("test");
        command
            .args(["--package", package.name, "--target", TARGET])
            .env("CARGO_TARGET_DIR", target_directory()?.join(self.name))
            .env("RUSTC_BOOTSTRAP", "1")
            .env("RUSTFLAGS", with_flag("RUSTFLAGS", &flags));
        if self.builds_std {
            // Unoptimised, it unwinds for seconds.
            command.arg("-Zbuild-std").env("CARGO_PROFILE_DEV_OPT_LEVEL", "1");
        }
        // Other sanitizers don't read the second.
        command
            .env(self.variable, package.options.replace("{}", &lists))
            .env("LSAN_OPTIONS", format!("suppressions={lists}/leak.txt:print_suppressions=0"));
        Ok(command)
    }
}

/// Where the lists stand of what need not be reported.
fn lists() -> PathBuf {
    root().join("xtask").join("sanitizers")
}

/// The names in such a list: `kind:name`, with comments between.
fn entries(list: &str) -> impl Iterator<Item = &str> {
    list.lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_once(':'))
        .map(|(_, name)| name)
}

/// Which of `names` no function and no constant in `sources` bears. Modules before a name are passed
/// over.
fn stale<'a>(names: impl Iterator<Item = &'a str>, sources: &str) -> Vec<&'a str> {
    let is_there = |name: &str| {
        let own = name.rsplit("::").next().unwrap_or(name);
        ["(", "<"].iter().any(|end| sources.contains(&format!("fn {own}{end}")))
            || sources.contains(&format!("const {own}:"))
    };
    names.filter(|name| !is_there(name)).collect()
}

/// Adds all Rust sources below `folder` to `text`.
fn read_sources(folder: &Path, text: &mut String) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            read_sources(&path, text)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            *text += &fs::read_to_string(&path)?;
        }
    }
    Ok(())
}

/// Whether the compiler came with the sources of its standard library.
fn has_sources() -> Result<bool, String> {
    let output = Command::new(env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()))
        .args(["--print", "sysroot"])
        .output()
        .map_err(|error| format!("rustc: {error}"))?;
    let root = String::from_utf8_lossy(&output.stdout).trim().to_string();
    Ok(Path::new(&root).join("lib/rustlib/src/rust/library").is_dir())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_nothing_bears_are_found() {
        let list = "# Why: this.\n\nleak:module::row\nleak:renamed\nrace:CASES\n";
        let sources = "fn row<T>() {}\nfn renamed_since() {}\nconst CASES: &[u8] = &[];\n";
        assert_eq!(entries(list).collect::<Vec<_>>(), ["module::row", "renamed", "CASES"]);
        assert_eq!(stale(entries(list), sources), ["renamed"]);
    }

    #[test]
    fn what_is_left_out_is_there() {
        for sanitizer in [ADDRESS, THREAD] {
            assert_eq!(sanitizer.check_names(), Ok(()), "{}", sanitizer.name);
        }
    }
}
