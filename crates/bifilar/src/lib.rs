//! bifilar
mod primitives;
pub mod sync;
