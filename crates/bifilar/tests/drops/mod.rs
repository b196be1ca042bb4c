//! Counting destructors.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::SeqCst},
};

/// How many guards there have been, and how many of them were dropped.
#[derive(Clone, Default)]
pub struct Drops(Arc<[AtomicUsize; 2]>);

/// Is counted when it is made and when it is dropped. It borrows what it counts in, so the compiler
/// has it that nobody keeps it longer.
pub struct Guard<'a>(&'a Drops);

impl Drops {
    pub fn guard(&self) -> Guard<'_> {
        self.0[0].fetch_add(1, SeqCst);
        Guard(self)
    }

    /// Guards made, guards dropped.
    pub fn get(&self) -> (usize, usize) {
        (self.0[0].load(SeqCst), self.0[1].load(SeqCst))
    }

    /// Panics unless `count` guards were made, and each dropped once.
    #[track_caller]
    pub fn assert_all(&self, count: usize) {
        assert_eq!(self.get(), (count, count), "guards made, and dropped");
    }
}

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        self.0.0[1].fetch_add(1, SeqCst);
    }
}
