//! The unwinder that std itself links for panics (Itanium C++ ABI: Exception Handling, 1.6.2).
//!
//! What it deliberately does not do: say how to use it. A dump walks stacks between two polls, the watchdog
//! in the handler of a signal, and each bears other rules.

use std::ffi::{c_int, c_void};

unsafe extern "C" {
    /// Calls `callback` with each call on this stack, from the last to the first, until it gives anything but
    /// zero.
    pub(super) fn _Unwind_Backtrace(
        callback: unsafe extern "C" fn(*mut c_void, *mut c_void) -> c_int,
        argument: *mut c_void,
    ) -> c_int;
    /// Where that call stands; for what the callback is given.
    pub(super) fn _Unwind_GetIP(context: *mut c_void) -> usize;
}
