//! Frames of C code between those of Rust: callbacks that suspend, panic, and are dropped.
//!
//! The C code is the C library's `qsort_r`. As "C-unwind" the compiler lets panics through; as "C"
//! it must end the process.

mod child;

use std::{
    any::Any,
    ffi::{c_int, c_void},
    mem,
    os::unix::process::ExitStatusExt,
    panic::{AssertUnwindSafe, catch_unwind, panic_any},
    rc::Rc,
};

use bifilar_coroutine::{Coroutine, CoroutineState::*, Suspender};
use child::Side;

type MayUnwind = unsafe extern "C-unwind" fn(*const c_void, *const c_void, *mut c_void) -> c_int;
type MayNot = unsafe extern "C" fn(*const c_void, *const c_void, *mut c_void) -> c_int;

// Declared once: of two declarations of a symbol that differ, an optimised build takes either.
unsafe extern "C-unwind" {
    fn qsort_r(base: *mut c_void, count: usize, size: usize, compare: MayUnwind, arg: *mut c_void);
}

/// What a comparison does between looking at its arguments and answering.
struct Comparison<'a> {
    suspender: &'a Suspender<(), (u8, u8)>,
    /// Cloned in each comparison, so that its count says how many frames are there.
    token: Rc<()>,
    panic_at: Option<u8>,
}

/// # Safety
///
/// The arguments are two bytes and a `Comparison`.
unsafe fn compare(a: *const c_void, b: *const c_void, arg: *mut c_void) -> c_int {
    // SAFETY: as promised.
    let (a, b, this) =
        unsafe { (*a.cast::<u8>(), *b.cast::<u8>(), &*arg.cast::<Comparison<'_>>()) };
    let _token = Rc::clone(&this.token);
    this.suspender.suspend((a, b));
    if this.panic_at == Some(a) || this.panic_at == Some(b) {
        panic_any("in the middle");
    }
    c_int::from(a) - c_int::from(b)
}

unsafe extern "C-unwind" fn compare_may_unwind(
    a: *const c_void,
    b: *const c_void,
    arg: *mut c_void,
) -> c_int {
    // SAFETY: what `sort` gave to `qsort_r`.
    unsafe { compare(a, b, arg) }
}

unsafe extern "C" fn compare_may_not(
    a: *const c_void,
    b: *const c_void,
    arg: *mut c_void,
) -> c_int {
    // SAFETY: what `sort` gave to `qsort_r`.
    unsafe { compare(a, b, arg) }
}

/// Sorts five bytes, with a suspension in each comparison.
fn sort(
    may_unwind: bool,
    token: &Rc<()>,
    panic_at: Option<u8>,
) -> Coroutine<(), (u8, u8), [u8; 5]> {
    let token = Rc::clone(token);
    Coroutine::new(move |suspender, ()| {
        let comparison = Comparison { suspender, token, panic_at };
        let mut bytes = [5, 3, 1, 4, 2];
        let (base, arg) = (bytes.as_mut_ptr().cast(), (&raw const comparison).cast_mut().cast());
        let compare = if may_unwind {
            compare_may_unwind
        } else {
            // SAFETY: both are called alike; this one never unwinds.
            unsafe { mem::transmute::<MayNot, MayUnwind>(compare_may_not) }
        };
        // SAFETY: five bytes, and the argument that the comparison expects.
        unsafe { qsort_r(base, 5, 1, compare, arg) };
        bytes
    })
}

#[test]
fn callbacks_suspend() {
    for may_unwind in [true, false] {
        let token = Rc::new(());
        let mut sorting = sort(may_unwind, &token, None);
        let mut comparisons = 0;
        let sorted = loop {
            match sorting.resume(()) {
                Yielded((a, b)) => {
                    assert_ne!(a, b);
                    comparisons += 1;
                }
                Returned(sorted) => break sorted,
            }
        };
        assert_eq!(sorted, [1, 2, 3, 4, 5]);
        assert!(comparisons >= 4);
        assert_eq!(Rc::strong_count(&token), 1);
    }
}

#[test]
fn a_drop_unwinds_through_them() {
    for suspensions in 1..4 {
        let token = Rc::new(());
        let mut sorting = sort(true, &token, None);
        for _ in 0..suspensions {
            assert!(matches!(sorting.resume(()), Yielded(_)));
        }
        // Ours, the body's on one side of the C code, the comparison's on the other.
        assert_eq!(Rc::strong_count(&token), 3);
        drop(sorting);
        assert_eq!(Rc::strong_count(&token), 1);
    }
}

#[test]
fn a_panic_passes_through_them() {
    let token = Rc::new(());
    let mut sorting = sort(true, &token, Some(1));
    let run = || -> Box<dyn Any + Send> {
        loop {
            if let Err(payload) = catch_unwind(AssertUnwindSafe(|| sorting.resume(()))) {
                return payload;
            }
        }
    };
    let payload = { run }();
    assert_eq!(payload.downcast_ref(), Some(&"in the middle"));
    assert_eq!(Rc::strong_count(&token), 1);
}

#[test]
fn where_unwinding_is_not_allowed_the_process_ends() {
    match child::side() {
        Side::Parent => {
            for case in ["dropped", "panic"] {
                let output = child::run("where_unwinding_is_not_allowed_the_process_ends", case);
                let error = String::from_utf8_lossy(&output.stderr);
                assert_eq!(output.status.signal(), Some(libc::SIGABRT), "{case}: {error}");
                assert!(error.contains("panic in a function that cannot unwind"), "{error}");
            }
        }
        Side::Child(case) => {
            let panic_at = (case == "panic").then_some(1);
            let mut sorting = sort(false, &Rc::new(()), panic_at);
            for _ in 0..if panic_at.is_some() { 100 } else { 1 } {
                sorting.resume(());
            }
            drop(sorting);
        }
    }
}
