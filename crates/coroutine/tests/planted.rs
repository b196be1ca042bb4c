//! Bugs on purpose, in builds for a sanitizer only: `cargo xtask asan` and `tsan` first make sure
//! that each is reported on coroutines as it would be on threads.

#![cfg(any(bifilar_sanitizer = "address", bifilar_sanitizer = "thread"))]

use std::{cell::UnsafeCell, hint::black_box, thread};

use bifilar_coroutine::{Coroutine, CoroutineState::*, Generator};

#[test]
#[ignore = "a bug on purpose"]
fn a_pointer_into_a_frame_that_is_gone() {
    #[inline(never)]
    fn dangling() -> *const u64 {
        let local = black_box([7u64; 4]);
        black_box(&raw const local).cast()
    }
    let mut coroutine = Coroutine::new(|suspender, ()| {
        suspender.suspend(dangling());
    });
    let Yielded(pointer) = coroutine.resume(()) else { unreachable!() };
    // SAFETY: not sound at all; the sanitizer is what is tested.
    black_box(unsafe { pointer.read_volatile() });
}

#[test]
#[ignore = "a bug on purpose"]
fn a_pointer_to_freed_memory() {
    let mut generator = Generator::new(|output| {
        let owned = Box::new(7u64);
        let pointer = &raw const *owned;
        output.suspend(1);
        drop(owned);
        // SAFETY: not sound at all; the sanitizer is what is tested.
        output.suspend(black_box(unsafe { pointer.read_volatile() }));
    });
    black_box((generator.next(), generator.next()));
}

struct Shared(UnsafeCell<u64>);

// SAFETY: not sound at all; the sanitizer is what is tested.
unsafe impl Sync for Shared {}

static COUNTER: Shared = Shared(UnsafeCell::new(0));

#[test]
#[ignore = "a bug on purpose"]
fn a_counter_that_two_threads_change() {
    let count = || {
        let rounds = Generator::new(|output| {
            for round in 0..1000 {
                // SAFETY: not sound at all; the sanitizer is what is tested.
                unsafe { *COUNTER.0.get() += 1 };
                output.suspend(round);
            }
        });
        assert_eq!(rounds.count(), 1000);
    };
    let other = thread::spawn(count);
    count();
    other.join().unwrap();
}
