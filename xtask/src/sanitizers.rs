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
    /// Its settings: variables and values. `{}` stands for the folder of lists.
    settings: &'static [(&'static str, &'static str)],
    /// Tests of `tests/planted.rs`, and what must be in the report of each.
    planted: &'static [(&'static str, &'static str)],
    /// Tests that can't run under it.
    skipped: &'static [&'static str],
}

const ADDRESS: Sanitizer = Sanitizer {
    name: "address",
    builds_std: false,
    settings: &[
        // Signals go where they went before: tests of guards look at what becomes of the process.
        ("ASAN_OPTIONS", "handle_segv=0:handle_abort=0:detect_stack_use_after_return=1"),
        ("LSAN_OPTIONS", "suppressions={}/leak.txt:print_suppressions=0"),
    ],
    planted: &[
        ("a_pointer_into_a_frame_that_is_gone", "stack-use-after-return"),
        ("a_pointer_to_freed_memory", "heap-use-after-free"),
    ],
    skipped: &[
        // They switch by instructions of their own, of which nobody is told.
        "registers_the_other_side_overwrites_come_back",
        "every_register_that_a_call_keeps_survives_a_switch",
        // The sanitizer makes mlockall do nothing.
        "without_light_guards_page_protection_guards",
        "the_depth_in_locked_memory",
        // Frames move to fake stacks, from one call to the next.
        "the_depth_does_not_depend_on_earlier_users",
        // Each stack gets a fake stack and a shadow: minutes, and gigabytes.
        "a_hundred_thousand_at_once",
        // It measures memory, of which sanitizers take their part.
        "a_crowd_leaves_no_memory_behind",
        // They compare what a crash prints and leaves, word by word.
        "a_scheduler_says_who_it_was",
        "an_overflow_is_reported_in_one_line",
        "other_faults_are_passed_on",
        "larger_guards_stop_frames_without_probes",
        // Compilers, run by tests of what must not compile.
        "what_must_not_compile",
        "messages",
    ],
};

const THREAD: Sanitizer = Sanitizer {
    name: "thread",
    builds_std: true,
    settings: &[("TSAN_OPTIONS", "handle_segv=0:handle_abort=0")],
    planted: &[("a_counter_that_two_threads_change", "data race")],
    skipped: &[
        "registers_the_other_side_overwrites_come_back",
        "every_register_that_a_call_keeps_survives_a_switch",
        // The sanitizer makes mlockall do nothing.
        "without_light_guards_page_protection_guards",
        "the_depth_in_locked_memory",
        // It can follow 8,128 threads and fibers at a time.
        "a_hundred_thousand_at_once",
        // It measures memory, of which sanitizers take their part.
        "a_crowd_leaves_no_memory_behind",
        // They compare what a crash prints and leaves, word by word.
        "a_scheduler_says_who_it_was",
        "an_overflow_is_reported_in_one_line",
        "other_faults_are_passed_on",
        "larger_guards_stop_frames_without_probes",
        // Compilers, run by tests of what must not compile.
        "what_must_not_compile",
        "messages",
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
        for package in ["bifilar-coroutine", "bifilar"] {
            let mut command = self.test(package)?;
            command.args(["--lib", "--tests", "--no-fail-fast", "--", "--exact"]);
            command.args(self.skipped.iter().flat_map(|test| ["--skip", test]));
            call(&mut command)?;
        }
        Ok(())
    }

    /// Runs a bug that was planted, which must fail with this report.
    fn expect_report(&self, test: &str, report: &str) -> Result<(), String> {
        let mut command = self.test("bifilar-coroutine")?;
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
    fn test(&self, package: &str) -> Result<Command, String> {
        let flags = format!("-Zsanitizer={0} --cfg bifilar_sanitizer=\"{0}\"", self.name);
        let lists = root().join("xtask").join("sanitizers");
        let mut command = cargo("test");
        command
            .args(["--package", package, "--target", TARGET])
            .env("CARGO_TARGET_DIR", target_directory()?.join(self.name))
            .env("RUSTC_BOOTSTRAP", "1")
            .env("RUSTFLAGS", with_flag("RUSTFLAGS", &flags));
        if self.builds_std {
            // Unoptimised, it unwinds for seconds.
            command.arg("-Zbuild-std").env("CARGO_PROFILE_DEV_OPT_LEVEL", "1");
        }
        for (variable, value) in self.settings {
            command.env(variable, value.replace("{}", &lists.display().to_string()));
        }
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
