//! Backtraces inside a coroutine end at the base of its stack.

mod child;

use std::{
    backtrace::Backtrace,
    panic::{AssertUnwindSafe, catch_unwind},
    process::exit,
};

use bifilar_coroutine::{Coroutine, CoroutineState::*};
use child::Side;

#[inline(never)]
fn recognisable_inner() -> String {
    Backtrace::force_capture().to_string()
}

#[inline(never)]
fn recognisable_outer(coroutine: &mut Coroutine<(), String, ()>) -> String {
    match coroutine.resume(()) {
        Yielded(trace) => trace,
        Returned(()) => unreachable!(),
    }
}

#[test]
fn a_capture_ends_at_the_base() {
    let mut coroutine = Coroutine::new(|suspender, ()| {
        suspender.suspend(recognisable_inner());
        suspender.suspend(recognisable_inner());
    });
    for _ in 0..2 {
        let trace = recognisable_outer(&mut coroutine);
        assert!(trace.contains("recognisable_inner"), "{trace}");
        assert!(trace.contains("coroutine::entry"), "{trace}");
        assert!(!trace.contains("recognisable_outer"), "{trace}");
        let last = trace.lines().rfind(|line| !line.trim_start().starts_with("at ")).unwrap();
        assert!(last.contains("::base"), "{trace}");
        // A backtrace that has run astray goes on and on.
        assert!(trace.lines().count() < 100, "{trace}");
    }
}

#[test]
fn a_panic_with_a_full_backtrace() {
    match child::side() {
        Side::Parent => {
            let output = child::run("a_panic_with_a_full_backtrace", "full");
            let error = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(77), "{error}");
            assert!(error.contains("the message"), "{error}");
            assert!(error.contains("coroutine::entry"), "{error}");
            assert!(error.contains("::base"), "{error}");
            // What stands on the thread's own stack.
            assert!(!error.contains("Coroutine<"), "{error}");
            assert!(!error.contains("test::run_test"), "{error}");
        }
        Side::Child(case) => {
            assert_eq!(case, "full");
            let mut coroutine: Coroutine<(), (), ()> =
                Coroutine::new(|_, ()| panic!("the message"));
            let result = catch_unwind(AssertUnwindSafe(|| coroutine.resume(())));
            assert!(result.is_err());
            exit(77);
        }
    }
}

#[inline(never)]
fn stop_here() {
    // SAFETY: stops under the debugger.
    unsafe { libc::raise(libc::SIGTRAP) };
}

#[test]
fn gdb_ends_at_the_base() {
    if let Side::Child(_) = child::side() {
        recognisable_outer(&mut Coroutine::new(|suspender, ()| {
            stop_here();
            suspender.suspend(String::new());
        }));
        return;
    }
    let Some(stopped) = child::stopped_in_gdb("gdb_ends_at_the_base") else { return };
    let (all, frames) = (&stopped.said, stopped.frames());
    assert!(frames.iter().any(|frame| frame.contains("stop_here")), "{all}");
    assert!(!frames.iter().any(|frame| frame.contains("recognisable_outer")), "{all}");
    assert!(frames.last().is_some_and(|frame| frame.contains("::base")), "{all}");
    // What it says when frames repeat, or lead nowhere.
    assert!(!all.contains("Backtrace stopped"), "{all}");
}
