//! Tests under the address sanitizer and the thread sanitizer.
//!
//! Both are part of the compiler, but not of what its stable edition offers: `RUSTC_BOOTSTRAP` says
//! that we know. Our own flag, `--cfg bifilar_sanitizer`, puts the calls in that tell a sanitizer of
//! switches. For the thread sanitizer the standard library is built as well: it must see how std's
//! locks and joins order things, or all that they protect looks like a race.
//!
//! A run that reports nothing proves nothing unless it could: so each begins with bugs on purpose.

use std::{env, path::Path, process::Command};

use crate::steps::{call, cargo, root, target_directory, with_flag};

const TARGET: &str = "x86_64-unknown-linux-gnu";

struct Sanitizer {
    /// What the compiler calls it, and the value of our own flag.
    name: &'static str,
    /// Whether the standard library must be built for it, too.
    builds_std: bool,
    /// The variable with its options.
    variable: &'static str,
    /// Tests of `tests/planted.rs`, and what must be in the report of each.
    planted: &'static [(&'static str, &'static str)],
    /// What is tested; the planted bugs belong to the first.
    packages: &'static [Package],
}

struct Package {
    name: &'static str,
    /// Its value here; `{}` stands for the folder of lists.
    options: &'static str,
    /// Which of its tests are built and run.
    targets: &'static [&'static str],
    /// Tests that can't run under the sanitizer.
    skipped: &'static [&'static str],
}

const ADDRESS: Sanitizer = Sanitizer {
    name: "address",
    builds_std: false,
    variable: "ASAN_OPTIONS",
    planted: &[
        ("a_pointer_into_a_frame_that_is_gone", "stack-use-after-return"),
        ("a_pointer_to_freed_memory", "heap-use-after-free"),
    ],
    packages: &[
        Package {
            name: "bifilar-coroutine",
            // Signals go where they went before: tests of guards look at what becomes of the process.
            options: "handle_segv=0:handle_sigbus=0:handle_abort=0:detect_stack_use_after_return=1",
            targets: &["--lib", "--tests"],
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
            targets: &["--lib", "--tests"],
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
    planted: &[("a_counter_that_two_threads_change", "data race")],
    packages: &[
        Package {
            name: "bifilar-coroutine",
            options: "handle_segv=0:handle_sigbus=0:handle_abort=0:suppressions={}/race.txt",
            targets: &["--lib", "--tests"],
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
            targets: &[
                "--lib",
                "--test=wait_anywhere",
                "--test=join_and_cancel",
                "--test=scopes",
                "--test=corners",
            ],
            skipped: &[],
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
        for (test, report) in self.planted {
            self.expect_report(test, report)?;
        }
        for package in self.packages {
            let mut command = self.test(package)?;
            command.args(package.targets).args(["--no-fail-fast", "--", "--exact"]);
            command.args(package.skipped.iter().flat_map(|test| ["--skip", test]));
            call(&mut command)?;
        }
        Ok(())
    }

    /// Runs a bug that was planted, which must fail with this report.
    fn expect_report(&self, test: &str, report: &str) -> Result<(), String> {
        let mut command = self.test(&self.packages[0])?;
        command.args(["--test", "planted", "--", "--ignored", "--exact", test]);
        let output = command.output().map_err(|error| format!("cargo test: {error}"))?;
        let text = String::from_utf8_lossy(&output.stderr);
        if !output.status.success() && text.contains("Sanitizer: ") && text.contains(report) {
            eprintln!("   planted, and found: {report} ({test})");
            return Ok(());
        }
        Err(format!("the planted bug `{test}` was not reported as {report}:\n{text}"))
    }

    /// `cargo test` in a build for this sanitizer, in a directory of its own. The target is named,
    /// so that flags stay away from build scripts and macros.
    fn test(&self, package: &Package) -> Result<Command, String> {
        let flags = format!("-Zsanitizer={0} --cfg bifilar_sanitizer=\"{0}\"", self.name);
        let lists = root().join("xtask").join("sanitizers").display().to_string();
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

/// Whether the compiler came with the sources of its standard library.
fn has_sources() -> Result<bool, String> {
    let output = Command::new(env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()))
        .args(["--print", "sysroot"])
        .output()
        .map_err(|error| format!("rustc: {error}"))?;
    let root = String::from_utf8_lossy(&output.stdout).trim().to_string();
    Ok(Path::new(&root).join("lib/rustlib/src/rust/library").is_dir())
}
