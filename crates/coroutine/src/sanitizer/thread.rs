//! The thread sanitizer wants each execution to be a *fiber*: a chain of calls of its own.
//!
//! A fiber is made when its execution begins, and ends with it. A switch orders what came before it
//! on the one side with what comes after it on the other, as the thread does that runs them both.

use core::{
    ffi::{c_char, c_int, c_uint, c_void},
    ptr,
};

use super::books::Record;

unsafe extern "C" {
    fn __tsan_get_current_fiber() -> *mut c_void;
    fn __tsan_create_fiber(flags: c_uint) -> *mut c_void;
    fn __tsan_destroy_fiber(fiber: *mut c_void);
    fn __tsan_switch_to_fiber(fiber: *mut c_void, flags: c_uint);
    fn AnnotateIgnoreSyncBegin(file: *const c_char, line: c_int);
    fn AnnotateIgnoreSyncEnd(file: *const c_char, line: c_int);
    fn AnnotateIgnoreReadsBegin(file: *const c_char, line: c_int);
    fn AnnotateIgnoreReadsEnd(file: *const c_char, line: c_int);
    fn AnnotateIgnoreWritesBegin(file: *const c_char, line: c_int);
    fn AnnotateIgnoreWritesEnd(file: *const c_char, line: c_int);
}

pub(super) struct State {
    fiber: *mut c_void,
    /// Whether it was made here. That of a native stack is its thread's, which ends it.
    made: bool,
}

impl State {
    pub(super) const NEW: State = State { fiber: ptr::null_mut(), made: false };
}

/// # Safety
///
/// This thread stands on `here`, and goes to `there` at once.
#[inline(always)]
pub(super) unsafe fn leave(here: *mut Record, there: *mut Record) {
    // SAFETY: the records are this thread's alone, and so are the fibers; one that isn't there yet
    // is the native one when it is left, and begins when it is gone to.
    unsafe {
        if (*here).state.fiber.is_null() {
            (*here).state.fiber = __tsan_get_current_fiber();
        }
        if (*there).state.fiber.is_null() {
            (*there).state = State { fiber: __tsan_create_fiber(0), made: true };
        }
        __tsan_switch_to_fiber((*there).state.fiber, 0);
    }
}

/// # Safety
///
/// This thread came from `left`.
#[inline(always)]
pub(super) unsafe fn arrive(_here: *mut Record, left: *mut Record) {
    // SAFETY: the record is this thread's alone, and still the one that was left: nobody else can
    // have taken the stack before the first thing that happens after leaving it.
    unsafe {
        if !(*left).in_use {
            abandoned(left);
        }
    }
}

/// # Safety
///
/// Nothing runs on the stack.
pub(super) unsafe fn abandoned(record: *mut Record) {
    // SAFETY: its owner says so; the fiber is used nowhere else.
    unsafe {
        let State { fiber, made } = (*record).state;
        if made {
            (*record).state = State::NEW;
            __tsan_destroy_fiber(fiber);
        }
    }
}

/// Runs `action` without regard to what it reads, writes and locks.
pub(super) fn unseen<R>(action: impl FnOnce() -> R) -> R {
    let (file, line) = (c"".as_ptr(), 0);
    // SAFETY: marks, each of which is ended below.
    unsafe {
        AnnotateIgnoreSyncBegin(file, line);
        AnnotateIgnoreReadsBegin(file, line);
        AnnotateIgnoreWritesBegin(file, line);
    }
    let result = action();
    // SAFETY: as above.
    unsafe {
        AnnotateIgnoreWritesEnd(file, line);
        AnnotateIgnoreReadsEnd(file, line);
        AnnotateIgnoreSyncEnd(file, line);
    }
    result
}
