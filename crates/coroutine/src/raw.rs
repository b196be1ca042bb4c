//! Bare switches between stacks: the unsafe foundation for schedulers.
//!
//! An *execution* is a chain of function calls on a stack of its own. At any moment a thread runs
//! one of them; all others are suspended, each described by one word, a [`Suspended`]. A switch is
//! *symmetric*: it suspends the running execution and continues any other, there is no parent to
//! go back to. What to run next is the caller's business.
//!
//! ```text
//!        prepare                  switch(_, x)
//!  ───────────────► suspended ────────────────► running ─── exit_to(y) ──► gone
//!                       ▲                          │
//!                       └────── switch(&mut x, y) ─┘
//! ```
//!
//! ```
//! use bifilar_coroutine::{raw, stack::Stack};
//! use std::ptr::null_mut;
//!
//! /// Two executions and where each of them is suspended while the other one runs.
//! struct Pair {
//!     main: Option<raw::Suspended>,
//!     other: Option<raw::Suspended>,
//!     sum: u32,
//! }
//!
//! unsafe extern "C" fn entry(arg: *mut ()) -> ! {
//!     let pair = arg.cast::<Pair>();
//!     // SAFETY: `pair` outlives this execution; `main` is suspended whenever this one runs.
//!     unsafe {
//!         (*pair).sum += 1;
//!         raw::switch((&raw mut (*pair).other).cast(), (*pair).main.unwrap());
//!         (*pair).sum += 10;
//!         raw::exit_to((*pair).main.unwrap())
//!     }
//! }
//!
//! let stack = Stack::new(64 * 1024)?;
//! let mut pair = Pair { main: None, other: None, sum: 0 };
//! let pair = &raw mut pair;
//! // SAFETY: the stack is ours and stays until `entry` has left it for ever; each `Suspended` is
//! // continued once.
//! unsafe {
//!     (*pair).other = Some(raw::prepare(stack.top(), entry, pair.cast()));
//!     raw::switch((&raw mut (*pair).main).cast(), (*pair).other.unwrap());
//!     assert_eq!((*pair).sum, 1);
//!     raw::switch((&raw mut (*pair).main).cast(), (*pair).other.unwrap());
//!     assert_eq!((*pair).sum, 11);
//! }
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! # Rules
//!
//! Everything here is `unsafe` for the same few reasons. Whoever builds on it answers for these:
//!
//! - A `Suspended` is continued at most once, and only on the thread on which the execution first
//!   ran. (The compiler keeps addresses of thread-locals across calls, and frames may hold values
//!   that are not `Send`.) An execution that was prepared but never continued may still move.
//! - The memory of a stack stays as it is while an execution is suspended on it.
//! - An execution that isn't needed any more is left by [`exit_to`] from the inside. Giving its
//!   memory back while it is suspended abandons its frames: their destructors do not run, and
//!   everything that pointed into them dangles.
//! - The thread's floating-point control state (mxcsr, x87 control word) and the direction flag are
//!   not switched. Code that changes them must restore them before it switches.
//! - Panics do not cross from one stack to another. See [`Entry`].
//!
//! # What it does not do
//!
//! It passes no values (put them where both sides find them), knows no parents, does not run
//! destructors, and does not watch for overflow (the guard page of [`Stack`](crate::stack::Stack)
//! does). Shadow stacks (CET, GCS) are not supported.

use core::{
    mem::transmute,
    ptr::{self, NonNull},
};

use crate::{arch, sanitizer};

pub use crate::arch::Suspended;

/// What an execution runs: called once, with the `arg` given to [`prepare`].
///
/// It never returns; it ends by [`exit_to`]. It never unwinds either: as for every
/// `extern "C"` function, a panic that reaches it aborts the process. Catch panics inside.
pub type Entry = unsafe extern "C" fn(arg: *mut ()) -> !;

/// Prepares a fresh execution on the stack whose top is `top`: the first switch to it calls
/// `entry(arg)`.
///
/// See the [module](self) for an example.
///
/// # Safety
///
/// - `top` is 16-aligned, and the memory below it is writable, unused, and large enough for what
///   `entry` does (64 bytes for the preparation itself).
/// - It stays so until the execution is over: see the rules of the [module](self).
/// - Calling `entry(arg)` is sound when the execution is first continued.
#[inline]
pub unsafe fn prepare(top: NonNull<u8>, entry: Entry, arg: *mut ()) -> Suspended {
    // SAFETY: both are addresses of functions. It is called by assembly which leaves a message in
    // the register of a second argument; a C function of one argument ignores that register.
    let entry = unsafe { transmute::<Entry, arch::Entry>(entry) };
    // SAFETY: the caller's promises are the same.
    unsafe { sanitizer::prepare(top, entry, arg) }
}

/// Suspends the running execution into `*save` and continues `to`. Returns when someone continues
/// `*save`.
///
/// `*save` is written before `to` continues, and `to` is read before that: `*save` may be the
/// place `to` was read from. See the [module](self) for an example.
///
/// # Safety
///
/// - `save` is valid for a write.
/// - `to` was obtained from [`prepare`], or written by a switch, and has not been continued since.
/// - This thread is the one on which `to` has run so far.
/// - Whatever the running execution relies on across this call (borrows above all) still holds
///   when it is continued.
#[inline(always)]
pub unsafe fn switch(save: *mut Suspended, to: Suspended) {
    // SAFETY: the caller's promises are the same.
    unsafe { sanitizer::switch(save, to, ptr::null()) };
}

/// Leaves the running execution for ever and continues `to`.
///
/// The frames that stand on this stack are abandoned: their destructors do not run. From here on
/// the stack may be reused, by code that runs on another one. See the [module](self) for an
/// example.
///
/// # Safety
///
/// - `to` as in [`switch`].
/// - Nothing relies on the destructors of the abandoned frames.
#[inline(always)]
pub unsafe fn exit_to(to: Suspended) -> ! {
    // SAFETY: the caller's promises are the same.
    unsafe { sanitizer::exit_to(to, ptr::null()) }
}
