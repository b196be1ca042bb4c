//! Bugs on purpose, in builds for a sanitizer only: `cargo xtask asan` and `tsan` first make sure
//! that each is reported in fibers as it would be in threads, and that nothing the runtime does hides
//! it.

#![cfg(any(bifilar_sanitizer = "address", bifilar_sanitizer = "thread"))]

use std::{
    cell::UnsafeCell,
    hint::{black_box, spin_loop},
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
};

use bifilar::{Builder, fiber};

#[test]
#[ignore = "a bug on purpose"]
fn a_pointer_to_freed_memory() {
    Builder::new().workers(1).run(|| {
        let owned = Box::new(7_u64);
        let pointer = &raw const *owned;
        fiber::yield_now();
        drop(owned);
        fiber::yield_now();
        // SAFETY: not sound at all; the sanitizer is what is tested.
        black_box(unsafe { pointer.read_volatile() });
    });
}

struct Shared(UnsafeCell<u64>);

// SAFETY: not sound at all; the sanitizer is what is tested.
unsafe impl Sync for Shared {}

static COUNTER: Shared = Shared(UnsafeCell::new(0));

/// They have met, but nothing orders what they do then.
#[test]
#[ignore = "a bug on purpose"]
fn a_counter_that_two_workers_change() {
    static BEGUN: AtomicUsize = AtomicUsize::new(0);
    Builder::new().workers(2).run(|| {
        let fibers = [(); 2].map(|()| {
            fiber::spawn(|| {
                BEGUN.fetch_add(1, Relaxed);
                while BEGUN.load(Relaxed) < 2 {
                    spin_loop();
                }
                // Two accesses at the very same moment can escape the sanitizer; so there are more.
                for _ in 0..1000 {
                    let counter = COUNTER.0.get();
                    // SAFETY: not sound at all; the sanitizer is what is tested.
                    unsafe { counter.write_volatile(counter.read_volatile() + 1) };
                }
            })
        });
        fibers.into_iter().for_each(|fiber| fiber.join().unwrap());
    });
}
