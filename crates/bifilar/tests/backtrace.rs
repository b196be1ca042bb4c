//! A task's backtrace leads from its code to the loop that runs it, and ends there: whatever kind of task
//! it is, and wherever it has waited.

#[path = "../../coroutine/tests/child/mod.rs"]
mod child;

use std::{backtrace::Backtrace, process::exit, time::Duration};

use bifilar::{Builder, Wait, fiber, task, time::sleep};
use child::Side;

const MS: Duration = Duration::from_millis(1);

#[inline(never)]
fn recognisable() -> String {
    Backtrace::force_capture().to_string()
}

/// The functions of a trace or of gdb's list, innermost first: the lines that say no place.
fn assert_from_here_to_the_loop(case: &str, frames: &[&str], innermost: &str) {
    let all = frames.join("\n");
    let at = |name: &str| {
        let found = frames.iter().position(|frame| frame.contains(name));
        found.unwrap_or_else(|| panic!("{case}: no {name} in\n{all}"))
    };
    assert!(at(innermost) < at("run_loop"), "{case}:\n{all}");
    assert_eq!(
        frames.iter().filter(|frame| frame.contains("run_loop")).count(),
        1,
        "{case}:\n{all}"
    );
    // Beneath the loop stands the stack's first function alone, or one that tells a sanitizer.
    let beneath = if child::SANITIZED { 2 } else { 1 };
    assert_eq!(at("loop_entry") + 1 + beneath, frames.len(), "{case}:\n{all}");
    assert!(frames.last().unwrap().contains("::base"), "{case}:\n{all}");
}

#[test]
fn a_capture_ends_at_the_loop() {
    fn captures() -> [String; 3] {
        let first = recognisable();
        fiber::sleep(MS); // the loop goes on, on another stack
        let second = recognisable();
        fiber::yield_now();
        [first, second, recognisable()]
    }
    let deep = || async {
        let first = recognisable();
        sleep(MS).await;
        let [second, third, _] = captures();
        [first, second, third]
    };
    for workers in [1, 2] {
        let (of_fiber, of_task, of_main) = Builder::new().workers(workers).run(|| {
            let of_fiber = fiber::spawn(captures).join().unwrap();
            let of_task = task::spawn(deep()).wait().unwrap();
            (of_fiber, of_task, captures())
        });
        for (case, traces) in [("fiber", of_fiber), ("task", of_task), ("main", of_main)] {
            for trace in traces {
                let is_function = |line: &&str| !line.trim_start().starts_with("at ");
                let frames: Vec<_> = trace.lines().filter(is_function).collect();
                assert_from_here_to_the_loop(case, &frames, "recognisable");
            }
        }
    }
}

/// What the panic hook prints with `RUST_BACKTRACE=full`, which the child is given.
#[test]
fn a_panic_with_a_full_backtrace() {
    if let Side::Child(case) = child::side() {
        assert_eq!(case, "full");
        let result = bifilar::run(|| {
            let panics = || {
                fiber::sleep(MS);
                panic!("the message");
            };
            fiber::spawn(panics).join()
        });
        let payload = result.unwrap_err().try_into_panic().unwrap();
        assert_eq!(payload.downcast_ref(), Some(&"the message"));
        exit(77);
    }
    let output = child::run("a_panic_with_a_full_backtrace", "full");
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(77), "{error}");
    assert!(error.contains("the message"), "{error}");
    let is_frame =
        |line: &&str| line.split_once(':').is_some_and(|(n, _)| n.trim().parse::<u8>().is_ok());
    let mut frames: Vec<_> = error.lines().filter(is_frame).collect();
    // How std shows the end of every stack.
    if frames.last().is_some_and(|frame| frame.ends_with(" 0x0 - <unknown>")) {
        frames.pop();
    }
    assert_from_here_to_the_loop("panic", &frames, "a_panic_with_a_full_backtrace");
}

#[inline(never)]
fn stop_here() {
    // SAFETY: stops under the debugger.
    unsafe { libc::raise(libc::SIGTRAP) };
}

#[test]
fn gdb_ends_at_the_loop() {
    if let Side::Child(_) = child::side() {
        let stops = || {
            fiber::sleep(MS);
            stop_here();
        };
        return Builder::new().workers(1).run(|| fiber::spawn(stops).join().unwrap());
    }
    let Some(stopped) = child::stopped_in_gdb("gdb_ends_at_the_loop") else { return };
    assert_from_here_to_the_loop(&stopped.said, &stopped.frames(), "stop_here");
    // What it says when frames repeat, or lead nowhere.
    assert!(!stopped.said.contains("Backtrace stopped"), "{}", stopped.said);
}
