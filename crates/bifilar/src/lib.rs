//! bifilar
mod primitives;
pub mod sync;
mod time;
