//! The address sanitizer wants the bounds of the stack a thread is on, and keeps a *fake stack*
//! beside each: there it puts variables whose use after return it wants to see.
//!
//! A fake stack stays with its stack for ever, from one execution to the next, since a coroutine's
//! last message lies in a frame of it after the coroutine has left. Frames of executions that are
//! over are found and freed by the sanitizer when the fake stack is used again.

use core::ffi::c_void;
use core::ptr;

use super::books::Record;

unsafe extern "C" {
    fn __sanitizer_start_switch_fiber(save: *mut *mut c_void, bottom: *const c_void, size: usize);
    fn __sanitizer_finish_switch_fiber(
        saved: *mut c_void,
        old_bottom: *mut *const c_void,
        old_size: *mut usize,
    );
    fn __asan_handle_no_return();
    fn __asan_unpoison_memory_region(address: *const c_void, size: usize);
}

pub(super) struct State {
    fake_stack: *mut c_void,
}

impl State {
    pub(super) const NEW: State = State { fake_stack: ptr::null_mut() };
}

/// # Safety
///
/// This thread stands on `here`, and goes to `there` at once.
#[inline(always)]
pub(super) unsafe fn leave(here: *mut Record, there: *mut Record) {
    // SAFETY: the records are this thread's alone.
    unsafe {
        if !(*here).in_use {
            // Nobody comes back: what stands here is no longer out of bounds for whoever is next.
            __asan_handle_no_return();
        }
        let size = (*there).top - (*there).limit;
        let bottom = ptr::without_provenance((*there).limit);
        __sanitizer_start_switch_fiber(&raw mut (*here).state.fake_stack, bottom, size);
    }
}

/// # Safety
///
/// This thread stands on `here` and came from `left`.
#[inline(always)]
pub(super) unsafe fn arrive(here: *mut Record, left: *mut Record) {
    let (mut bottom, mut size) = (ptr::null(), 0);
    // SAFETY: the records are this thread's alone; what was saved when `here` was left, or null.
    unsafe {
        __sanitizer_finish_switch_fiber((*here).state.fake_stack, &mut bottom, &mut size);
        // Only news for a native stack.
        (*left).limit = bottom.addr();
        (*left).top = bottom.addr() + size;
    }
}

/// # Safety
///
/// Nothing runs on the stack.
pub(super) unsafe fn abandoned(record: *mut Record) {
    // SAFETY: its owner says that it is plain memory now.
    unsafe {
        let Record { limit, top, .. } = *record;
        __asan_unpoison_memory_region(ptr::without_provenance(limit), top - limit);
    }
}

pub(super) fn unseen<R>(action: impl FnOnce() -> R) -> R {
    action()
}
