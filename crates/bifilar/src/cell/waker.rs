//! The waker of a task: a counted reference to its cell.

use super::header::{Header, TaskRef};
use crate::console::Operation;
use std::{
    mem::ManuallyDrop,
    ptr::NonNull,
    task::{RawWaker, RawWakerVTable, Waker},
};

static VTABLE: RawWakerVTable = RawWakerVTable::new(clone, wake, wake_by_ref, drop);

/// A waker for the length of a poll, which holds no reference of its own.
///
/// # Safety
/// The task outlives what is returned.
pub(super) unsafe fn borrowed(task: TaskRef) -> ManuallyDrop<Waker> {
    // SAFETY: the vtable keeps `RawWaker`'s contract: it is thread-safe, `clone` counts a reference
    // and `drop` gives it back.
    ManuallyDrop::new(unsafe { Waker::new(task.as_ptr().cast_const().cast(), &VTABLE) })
}

/// # Safety
/// `data` is the pointer of a task that is alive, as it is for every waker.
unsafe fn task(data: *const ()) -> TaskRef {
    // SAFETY: never null.
    unsafe { NonNull::new_unchecked(data.cast_mut().cast::<Header>()) }
}

unsafe fn clone(data: *const ()) -> RawWaker {
    // SAFETY: a waker's task is alive.
    let task = unsafe { task(data).as_ref() };
    task.shown.waker(Operation::Clone);
    task.state.ref_inc();
    RawWaker::new(data, &VTABLE)
}

unsafe fn wake(data: *const ()) {
    // SAFETY: a waker's task is alive; the reference is given back after its last use.
    unsafe {
        task(data).as_ref().shown.waker(Operation::Wake);
        Header::wake(task(data));
        Header::release(task(data));
    }
}

unsafe fn wake_by_ref(data: *const ()) {
    // SAFETY: a waker's task is alive.
    unsafe {
        task(data).as_ref().shown.waker(Operation::WakeByRef);
        Header::wake(task(data));
    }
}

unsafe fn drop(data: *const ()) {
    // SAFETY: this waker's own reference, not used afterwards.
    unsafe {
        task(data).as_ref().shown.waker(Operation::Drop);
        Header::release(task(data));
    }
}
