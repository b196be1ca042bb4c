//! Says in one line that a target is not supported, before the compiler says it in fifty. Which file
//! of `src/arch` is taken is decided there.

use std::env;

const ARCHITECTURES: &[&str] = &["aarch64", "x86_64"];

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let of_target = |what: &str| env::var(format!("CARGO_CFG_TARGET_{what}")).unwrap_or_default();
    let (system, architecture) = (of_target("OS"), of_target("ARCH"));
    let known = ARCHITECTURES.contains(&&*architecture) && of_target("POINTER_WIDTH") == "64";
    if system != "linux" || !known {
        println!(
            "cargo::error=bifilar-coroutine switches stacks on Linux, on 64-bit {}; not on {system}, \
             {architecture}. A port to another instruction set is one more file in src/arch.",
            ARCHITECTURES.join(" and ")
        );
    }
}
