//! Stacks and switching between them.
//!
//! This crate knows nothing of scheduling or I/O: see [`raw`] and [`stack`].

mod arch;
pub mod raw;
pub mod stack;
