//! Stacks, and switching between them: coroutines and generators in plain Rust.
//!
//! A [`Coroutine`] is a call that can be left in the middle, at any depth, and continued later.
//! What it calls needs no `async` and no special signature: it may recurse, call through traits
//! and iterators, and hold borrows of its own while it stands still.
//!
//! ```
//! use bifilar_coroutine::{Coroutine, CoroutineState::*};
//!
//! let mut average = Coroutine::new(|suspender, first: f64| -> f64 {
//!     let (mut sum, mut count) = (first, 1.0);
//!     while count < 3.0 {
//!         sum += suspender.suspend(sum / count); // out goes the mean so far, in comes a number
//!         count += 1.0;
//!     }
//!     sum / count
//! });
//! assert_eq!(average.resume(4.0), Yielded(4.0));
//! assert_eq!(average.resume(8.0), Yielded(6.0));
//! assert_eq!(average.resume(0.0), Returned(4.0));
//! ```
//!
//! | item or module | holds |
//! |---|---|
//! | [`Generator`] | an iterator written as a function that yields |
//! | [`Coroutine`] | the safe interface: values in and out, panics carried, drop unwinds |
//! | [`Suspender`] | the link between a coroutine and whoever resumes it |
//! | [`stack`] | where the memory comes from: slabs, guards, size classes |
//! | [`raw`] | switches between any two stacks, for schedulers; all `unsafe` |
//! | `sanitizer` | tells sanitizers of switches; in other builds it is `arch` itself |
//! | `arch` | one file for each instruction set |
//!
//! Each imports only what stands below it; `stack` and `raw` don't know each other. What this crate
//! deliberately doesn't hold: scheduling, wake-ups, I/O, and movement of a started coroutine to another thread.

/// The example of the README runs too.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

mod arch;
mod coroutine;
mod generator;
pub mod raw;
mod sanitizer;
pub mod stack;
mod suspender;

pub use coroutine::{Coroutine, CoroutineState};
pub use generator::{Generator, Values};
pub use suspender::Suspender;
