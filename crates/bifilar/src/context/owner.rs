//! Who holds a lock, for reports on those who wait for it.
//!
//! Who waits notes no pointer to the lock, which may be gone by the time of a report, but to a
//! [`Holder`]: a number in memory that is never given back. A lock gets one when somebody first has to
//! wait for it, and returns it when it is dropped, for the next lock. A lock that nobody ever waits for
//! has none.
//!
//! Reports read it while tasks run. A holder that was returned since tells of another lock, and one that
//! is assigned just while the lock is taken may tell the previous task until it is taken again: reports
//! are no more exact than that, and everything in them is plain data.
//!
//! Numbers are told without any order; that a holder has been *made* when somebody looks at it is another
//! matter. Who comes to it by its lock acquires what `assign` releases. Who has it from a note takes the
//! lock of [`UNUSED`] first: the note was written after `assign` had left that lock, so whoever has read
//! it takes the lock later. Notes, which every wait writes, stay as cheap as they are.

use super::waiting::{Waiting, What, note, task_number, tell};
use crate::console::Resource;
use std::{
    panic::Location,
    ptr,
    sync::{
        Mutex,
        atomic::{
            AtomicPtr, AtomicU64,
            Ordering::{Acquire, Relaxed, Release},
        },
    },
    task::Poll,
};

/// The number of the task that holds a lock, or 0.
pub(super) type Holder = AtomicU64;

/// Those of locks that are gone.
static UNUSED: Mutex<Vec<&'static Holder>> = Mutex::new(Vec::new());

/// As many are made at a time.
const BATCH: usize = 64;

/// What a lock remembers: where it was made, and who holds it.
pub(crate) struct Owner {
    made_at: &'static Location<'static>,
    task: AtomicU64,
    /// Where it stands for those who wait. Null: nobody has.
    holder: AtomicPtr<Holder>,
    shown: Resource,
}

impl Owner {
    #[track_caller]
    pub const fn nobody() -> Self {
        Owner {
            made_at: Location::caller(),
            task: AtomicU64::new(0),
            holder: AtomicPtr::new(ptr::null_mut()),
            shown: Resource::new(),
        }
    }

    /// For who has just taken the lock.
    #[inline]
    pub fn take(&self) {
        self.set(task_number());
    }

    /// For who is about to release it.
    #[inline]
    pub fn release(&self) {
        self.set(0);
    }

    #[inline]
    fn set(&self, task: u64) {
        self.task.store(task, Relaxed);
        if let Some(holder) = self.holder() {
            holder.store(task, Relaxed);
        }
    }

    /// Notes who holds the lock, if `poll` didn't get it; and who has it now, if it did.
    #[inline]
    pub fn noted<T>(&self, what: What, poll: Poll<T>) -> Poll<T> {
        tell(&self.shown, what, poll.is_ready());
        match poll {
            Poll::Pending => {
                let detail = ptr::from_ref(self.holder_for_waiters()).expose_provenance() as u64;
                note(Waiting { what, detail, place: Some(self.made_at) });
            }
            // Readers may be many: none is noted.
            Poll::Ready(_) if what != What::Read => self.take(),
            Poll::Ready(_) => {}
        }
        poll
    }

    #[inline]
    fn holder(&self) -> Option<&'static Holder> {
        if self.holder.load(Relaxed).is_null() {
            return None;
        }
        // SAFETY: one that was assigned below (Acquire: partner of the Release there); they live for ever.
        unsafe { self.holder.load(Acquire).as_ref() }
    }

    fn holder_for_waiters(&self) -> &'static Holder {
        self.holder().unwrap_or_else(|| self.assign())
    }

    #[cold]
    fn assign(&self) -> &'static Holder {
        let mut unused = UNUSED.lock().unwrap();
        if unused.is_empty() {
            let batch: Box<[Holder]> = (0..BATCH).map(|_| Holder::new(0)).collect();
            unused.extend(Box::leak(batch).iter());
        }
        // Under the lock, so that two who wait at the same time assign only one.
        self.holder().unwrap_or_else(|| {
            let holder = unused.pop().expect("made above");
            self.holder.store(ptr::from_ref(holder).cast_mut(), Release);
            holder.store(self.task.load(Relaxed), Relaxed);
            holder
        })
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        if let Some(holder) = self.holder() {
            holder.store(0, Relaxed);
            UNUSED.lock().unwrap().push(holder);
        }
    }
}

/// The task that holds a lock, by what was noted of it.
///
/// # Safety
/// `noted` is the detail that [`Owner::noted`] gave.
pub(super) unsafe fn holder(noted: u64) -> u64 {
    // It has been made before: see the module's head.
    drop(UNUSED.lock().unwrap());
    let holder: *const Holder = ptr::with_exposed_provenance(noted as usize);
    // SAFETY: as promised, a holder; they live for ever.
    unsafe { holder.as_ref() }.map_or(0, |holder| holder.load(Relaxed))
}
