//! Wakers of stacks that say whose they are.

use super::{Operation, TaskSpan};
use std::{
    mem::ManuallyDrop,
    ops::Deref,
    sync::Arc,
    task::{RawWaker, RawWakerVTable, Waker},
};

impl TaskSpan {
    #[cold]
    pub(super) fn lend(self: &Arc<Self>, waker: Waker) -> Lent {
        let counted = Arc::new(Counted { of: self.clone(), waker });
        // SAFETY: the vtable keeps `RawWaker`'s contract: what it points to is counted, and may be
        // used on any thread.
        let waker = unsafe { Waker::new(Arc::as_ptr(&counted).cast(), &COUNTED) };
        Lent::counted(waker, counted)
    }
}

/// A waker for the length of a wait. That it ends is not told to the console, for which it is what a
/// task's poll is given: only clones count.
pub(crate) struct Lent {
    waker: ManuallyDrop<Waker>,
    /// What `waker` points to. It has no reference of its own.
    #[cfg(feature = "console")]
    keeps: Option<Arc<Counted>>,
}

impl Lent {
    #[inline]
    pub fn plain(waker: Waker) -> Self {
        Lent {
            waker: ManuallyDrop::new(waker),
            #[cfg(feature = "console")]
            keeps: None,
        }
    }

    #[cfg_attr(not(feature = "console"), expect(unused_variables))]
    fn counted(waker: Waker, keeps: Arc<Counted>) -> Self {
        Lent {
            waker: ManuallyDrop::new(waker),
            #[cfg(feature = "console")]
            keeps: Some(keeps),
        }
    }
}

impl Drop for Lent {
    #[inline]
    fn drop(&mut self) {
        #[cfg(feature = "console")]
        if self.keeps.is_some() {
            return;
        }
        // SAFETY: it is used no more.
        unsafe { ManuallyDrop::drop(&mut self.waker) }
    }
}

impl Deref for Lent {
    type Target = Waker;

    #[inline]
    fn deref(&self) -> &Waker {
        &self.waker
    }
}

/// A waker that says whose it is.
pub(crate) struct Counted {
    of: Arc<TaskSpan>,
    waker: Waker,
}

static COUNTED: RawWakerVTable = RawWakerVTable::new(clone, wake, wake_by_ref, drop);

/// # Safety
/// `data` comes from an `Arc<Counted>` of which a reference is held meanwhile.
unsafe fn counted<'a>(data: *const ()) -> &'a Counted {
    // SAFETY: as promised.
    unsafe { &*data.cast::<Counted>() }
}

unsafe fn clone(data: *const ()) -> RawWaker {
    // SAFETY: a waker holds a reference.
    unsafe {
        counted(data).of.waker(Operation::Clone);
        Arc::increment_strong_count(data.cast::<Counted>());
    }
    RawWaker::new(data, &COUNTED)
}

unsafe fn wake(data: *const ()) {
    // SAFETY: a waker holds a reference, which is this function's to give back.
    let counted = unsafe { Arc::from_raw(data.cast::<Counted>()) };
    counted.of.waker(Operation::Wake);
    counted.waker.wake_by_ref();
}

unsafe fn wake_by_ref(data: *const ()) {
    // SAFETY: a waker holds a reference.
    let counted = unsafe { counted(data) };
    counted.of.waker(Operation::WakeByRef);
    counted.waker.wake_by_ref();
}

unsafe fn drop(data: *const ()) {
    // SAFETY: a waker holds a reference, which is this function's to give back.
    let counted = unsafe { Arc::from_raw(data.cast::<Counted>()) };
    counted.of.waker(Operation::Drop);
}
