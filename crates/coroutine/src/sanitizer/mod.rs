//! Tells sanitizers when a thread goes from one stack to another.
//!
//! A sanitizer keeps books on the stack that a thread stands on: its bounds, which variables on it
//! live, which calls led here. A switch behind its back turns them into nonsense. So in builds for
//! one (`--cfg bifilar_sanitizer="address"` or `"thread"`, which `cargo xtask asan` and `tsan` set
//! beside the compiler's own flag) this module stands between the crate and [`crate::arch`]. In all
//! others it *is* `arch`, and costs nothing.
//!
//! What it does not do: it knows only executions that stand on a [`Stack`](crate::stack::Stack) or
//! on the native stack of a thread.

#[cfg(bifilar_sanitizer = "address")]
mod address;
#[cfg(any(bifilar_sanitizer = "address", bifilar_sanitizer = "thread"))]
mod books;
#[cfg(bifilar_sanitizer = "thread")]
mod thread;

#[cfg(bifilar_sanitizer = "address")]
use address as tool;
#[cfg(bifilar_sanitizer = "thread")]
use thread as tool;

#[cfg(any(bifilar_sanitizer = "address", bifilar_sanitizer = "thread"))]
pub(crate) use books::{exit_to, given_back, hand_over, prepare, switch, taken};

#[cfg(not(any(bifilar_sanitizer = "address", bifilar_sanitizer = "thread")))]
mod untold {
    pub(crate) use crate::arch::{exit_to, hand_over, prepare, switch};

    /// To be called when a stack was taken.
    #[inline(always)]
    pub(crate) fn taken(_: &crate::stack::Stack) {}

    /// To be called when a stack is about to be given back.
    #[inline(always)]
    pub(crate) fn given_back(_: &crate::stack::Stack) {}
}
#[cfg(not(any(bifilar_sanitizer = "address", bifilar_sanitizer = "thread")))]
pub(crate) use untold::{exit_to, given_back, hand_over, prepare, switch, taken};
