//! The door between this crate and the instruction set: the only place that asks which processor
//! it is built for.
//!
//! Every file beside this one holds the same items in the same order, so that two of them can be
//! laid side by side:
//!
//! 1. the drawing of a suspended stack and of a fresh one,
//! 2. `FirstFrame` and `prepare`, which lay out a fresh stack,
//! 3. `base`, the outermost frame of every stack,
//! 4. `switch` and `exit_to`, which leave one stack for another.
//!
//! A switch carries a *message*, one word, to the side that it continues, in a register. Through
//! memory it would take the processor a store and a load that waits for it, which is most of what
//! a switch costs. [`crate::raw`] hides it, [`crate::suspender`] lives on it.

/// What an execution runs: called once, with the `arg` given to `prepare`, and the message of the
/// first switch to it. Never returns, never unwinds.
pub(crate) type Entry = unsafe extern "C" fn(arg: *mut (), message: *const ()) -> !;

#[cfg(not(all(target_arch = "x86_64", target_os = "linux")))]
compile_error!(
    "bifilar-coroutine switches stacks on x86_64 Linux; a port to another instruction set is one \
     more file in src/arch"
);

#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
mod x86_64;
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
pub(crate) use x86_64::{exit_to, prepare, switch};
