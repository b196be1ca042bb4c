//! Tests of `bifilar-coroutine` on AArch64, under QEMU's emulation of a process.
//!
//! They need a cross linker, the emulator, and a compiler that has a standard library for AArch64:
//! the usual one after `rustup target add`, or Debian's, which comes as a package (`rustc-web` is
//! its recent one).

use std::{
    env,
    path::Path,
    process::{Command, Stdio},
};

use crate::steps::{call, cargo, target_directory};

const TARGET: &str = "aarch64-unknown-linux-gnu";
const EMULATOR: &str = "qemu-aarch64";
const LINKER: &str = "aarch64-linux-gnu-gcc";

/// How to install all; `.ci/run` does it.
const INSTALL: &str = "dpkg --add-architecture arm64 && apt-get update && apt-get install \
    --no-install-recommends qemu-user gcc-aarch64-linux-gnu libc6-dev-arm64-cross rustc-web \
    libstd-rust-web-dev:arm64";

pub fn run() -> Result<(), String> {
    for tool in [EMULATOR, LINKER] {
        if answer(Command::new(tool).arg("--version")).is_none() {
            return Err(format!("`{tool}` is missing; on Debian, as root: {INSTALL}"));
        }
    }
    let usual = env::var("RUSTC").unwrap_or_else(|_| "rustc".to_string());
    let compilers = [(usual, "rustdoc"), ("/usr/bin/rustc".to_string(), "/usr/bin/rustdoc")];
    let compiler =
        compilers.iter().find(|(compiler, _)| knows_target(compiler)).ok_or_else(|| {
            format!("no compiler has {TARGET}: `rustup target add {TARGET}`, or as root: {INSTALL}")
        })?;
    // The emulator's own memory would be measured; and it takes no notice of limits of address space,
    // which would be its own.
    let measured =
        ["--", "--skip", "a_crowd_leaves_no_memory_behind", "--skip", "stacks_within_a_limit"];
    call(&mut test(compiler, &measured)?)?;
    // Only optimised code keeps values in all registers.
    call(&mut test(compiler, &["--release", "--test", "registers"])?)
}

/// Whether there is a standard library for the target.
fn knows_target(compiler: &str) -> bool {
    answer(Command::new(compiler).args(["--target", TARGET, "--print", "target-libdir"]))
        .is_some_and(|directory| Path::new(directory.trim()).is_dir())
}

/// The emulator; where the C library of the target isn't installed as such, with the linker's.
fn emulator() -> String {
    if Path::new("/lib/ld-linux-aarch64.so.1").exists() {
        // The two must not be mixed: a loader of one version hangs with a library of another.
        EMULATOR.to_string()
    } else {
        format!("{EMULATOR} -L /usr/aarch64-linux-gnu")
    }
}

/// `cargo test` of the crate for the target, in a directory of its own since the compiler differs.
fn test(compiler: &(String, &str), arguments: &[&str]) -> Result<Command, String> {
    let mut command = cargo("test");
    command
        .args(["--package", "bifilar-coroutine", "--target", TARGET])
        .args(arguments)
        .env("CARGO_TARGET_DIR", target_directory()?.join("aarch64"))
        .env("CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER", LINKER)
        .env("CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER", emulator())
        .env("CARGO_PROFILE_RELEASE_LTO", "off")
        // Tests that run themselves again in a child process ask for this.
        .env("BIFILAR_TEST_RUNNER", emulator())
        .env("RUSTC", &compiler.0)
        .env("RUSTDOC", compiler.1);
    Ok(command)
}

/// What a command prints, if it starts and succeeds.
fn answer(command: &mut Command) -> Option<String> {
    let output = command.stderr(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}
