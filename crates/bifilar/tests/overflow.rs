//! Running off a stack: the message names who it was. Each case ends a process of its own.

#[path = "../../coroutine/tests/child/mod.rs"]
mod child;

use std::{
    hint::black_box,
    os::unix::process::ExitStatusExt,
    pin::pin,
    sync::Arc,
    task::{Context, Wake, Waker},
    time::Duration,
};

use bifilar::{Builder, Wait, fiber, sync::channel, task, time::sleep, unblock};
use bifilar_coroutine::Generator;
use child::Side;
use std::future::{Future, pending};

const MS: Duration = Duration::from_millis(1);

#[inline(never)]
fn recurse(n: u64) -> u64 {
    let ballast = black_box([n; 16]);
    if n == u64::MAX { 0 } else { 1 + recurse(n + 1) + black_box(ballast)[3] }
}

#[inline(never)]
fn large_frame<const BYTES: usize>(n: u8) -> u8 {
    let frame = black_box([n; BYTES]);
    frame[usize::from(n)]
}

/// What happens, and the line that is to tell it. HERE stands for "spawned at", this file and a
/// line with the comment "here"; N for a number.
const CASES: &[(&str, &str, fn())] = &[
    ("main fiber", "fiber 'main' (HERE) overflowed its 256 KiB stack", || {
        bifilar::run(|| recurse(0)); // here
    }),
    ("main task", "task 'main' (HERE) overflowed its 256 KiB stack", || {
        bifilar::block_on(async { recurse(0) }); // here
    }),
    ("size of all", "fiber 'main' (HERE) overflowed its 1 MiB stack", || {
        Builder::new().stack_size(1 << 20).run(|| recurse(0)); // here
    }),
    ("local runtime", "fiber N (HERE) overflowed its 256 KiB stack", || {
        let runtime = Builder::new().build_local().unwrap();
        runtime.run(|| recurse(0)); // here
    }),
    ("fiber", "fiber N (HERE) overflowed its 256 KiB stack", || {
        bifilar::run(|| {
            fiber::spawn(|| recurse(0)).join().unwrap() // here
        });
    }),
    ("named fiber", "fiber 'deep' (HERE) overflowed its 16 KiB stack", || {
        bifilar::run(|| {
            let builder = fiber::Builder::new().name("deep").stack_size(1);
            builder.spawn(|| recurse(0)).unwrap().join().unwrap() // here
        });
    }),
    ("strange name", r"fiber 'two\nlines, \'quoted\'' (HERE) overflowed its 4 MiB stack", || {
        bifilar::run(|| {
            let builder = fiber::Builder::new().name("two\nlines, 'quoted'").stack_size(4 << 20);
            builder.spawn(|| recurse(0)).unwrap().join().unwrap() // here
        });
    }),
    ("fiber that has waited", "fiber N (HERE) overflowed its 256 KiB stack", || {
        Builder::new().workers(2).run(|| {
            let waits = || {
                sleep(MS).wait();
                recurse(0)
            };
            fiber::spawn(waits).join().unwrap() // here
        });
    }),
    ("async task", "task N (HERE) overflowed its 256 KiB stack", || {
        bifilar::run(|| {
            task::spawn(async { recurse(0) }).join().unwrap() // here
        });
    }),
    ("named async task, pinned", "task N (HERE) overflowed its 256 KiB stack", || {
        bifilar::run(|| {
            task::spawn_local(async { recurse(0) }).join().unwrap() // here
        });
    }),
    ("named async task", "task 'parser' (HERE) overflowed its 256 KiB stack", || {
        bifilar::run(|| {
            let builder = task::Builder::new().name("parser");
            builder.spawn(async { recurse(0) }).unwrap().join().unwrap() // here
        });
    }),
    ("task on a second stack", "task N (HERE) overflowed its 256 KiB stack", || {
        Builder::new().workers(1).run(|| {
            let moves = async {
                task::yield_now().await;
                // The stack of this poll is kept, and the next poll is on another one.
                fiber::spawn(|| pending::<()>().wait());
                sleep(MS).await;
                recurse(0)
            };
            task::spawn(moves).join().unwrap() // here
        });
    }),
    ("task that has waited on its stack", "task N (HERE) overflowed its 256 KiB stack", || {
        Builder::new().workers(1).run(|| {
            let waits = async {
                sleep(MS).wait();
                recurse(0)
            };
            task::spawn(waits).join().unwrap() // here
        });
    }),
    ("large frame", "task N (HERE) overflowed its 256 KiB stack", || {
        bifilar::run(|| {
            task::spawn(async { large_frame::<{ 4 << 20 }>(1) }).join().unwrap() // here
        });
    }),
    ("80 KiB", "fiber N (HERE) overflowed its 64 KiB stack", || {
        bifilar::run(|| {
            let builder = fiber::Builder::new().stack_size(64 << 10);
            let frame = || large_frame::<{ 80 << 10 }>(1);
            builder.spawn(frame).unwrap().join().unwrap() // here
        });
    }),
    ("measured", "fiber N (HERE) overflowed its 256 KiB stack", || {
        bifilar::run(|| {
            let builder = fiber::Builder::new().measure_stack(true);
            builder.spawn(|| recurse(0)).unwrap().join().unwrap() // here
        });
    }),
    ("destructor", "fiber N (HERE) overflowed its 256 KiB stack", || {
        struct Deep;
        impl Drop for Deep {
            fn drop(&mut self) {
                recurse(0);
            }
        }
        bifilar::run(|| {
            let (started, is_started) = channel::unbounded();
            let suspended = move || {
                let _deep = Deep;
                started.try_send(()).unwrap();
                pending::<()>().wait()
            };
            let fiber = fiber::spawn(suspended); // here
            is_started.recv().wait().unwrap();
            fiber.cancel();
            fiber.join()
        })
        .unwrap();
    }),
    ("generator", "a coroutine in fiber 'main' (HERE) overflowed its 256 KiB stack", || {
        let last = || Generator::new(|output| output.suspend(recurse(0))).last();
        bifilar::run(last); // here
    }),
    ("loop", "a worker's loop overflowed its 256 KiB stack", || {
        struct Deep;
        impl Wake for Deep {
            fn wake(self: Arc<Self>) {
                recurse(0);
            }
        }
        Builder::new().workers(1).run(|| {
            let mut soon = pin!(sleep(MS));
            let waker = Waker::from(Arc::new(Deep));
            assert!(soon.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
            pending::<()>().wait()
        });
    }),
];

#[test]
fn the_message_names_who_it_was() {
    if let Side::Child(name) = child::side() {
        let (.., run) = CASES.iter().find(|(case, ..)| *case == name).expect("a case");
        return run();
    }
    for (case, expected, _) in CASES {
        // Without probes, a frame larger than the guard goes past it.
        if child::SANITIZED && ["large frame", "80 KiB"].contains(case) {
            continue;
        }
        let output = child::run("the_message_names_who_it_was", case);
        assert_eq!(output.status.signal(), Some(libc::SIGABRT), "{case}: {output:?}");
        let stderr = String::from_utf8(output.stderr).unwrap();
        let lines: Vec<_> = stderr.lines().collect();
        assert_eq!(lines.len(), 2, "{case}: {stderr}");
        assert_eq!(generalised(lines[0]), *expected, "{case}");
        assert!(lines[1].starts_with("help: "), "{case}: {stderr}");
        assert!(lines[1].contains("stack_size") || lines[1].contains("with_stack"), "{case}");
    }
}

/// A message with HERE and N, as in `CASES`.
fn generalised(line: &str) -> String {
    let (mut who, mut rest) = line.split_once(" (").unwrap_or((line, ""));
    let id = who.rsplit(' ').next().unwrap_or("");
    let has_number = id.parse::<u64>().is_ok();
    if has_number {
        who = who.strip_suffix(id).unwrap();
    }
    let mut here = "";
    if let Some((place, after)) = rest.split_once(')') {
        let number = place.strip_prefix(concat!("spawned at ", file!(), ":")).expect(place);
        let source = include_str!("overflow.rs").lines().nth(number.parse::<usize>().unwrap() - 1);
        here = if source.unwrap().ends_with("// here") { " (HERE)" } else { " (ELSEWHERE)" };
        rest = after;
    }
    format!("{who}{}{here}{rest}", if has_number { "N" } else { "" })
}

/// Threads of the pool are std's, and so is the message.
#[test]
fn a_blocking_call_is_told_of_by_std() {
    if let Side::Child(_) = child::side() {
        bifilar::run(|| unblock(|| recurse(0)).join()).unwrap();
    }
    let output = child::run("a_blocking_call_is_told_of_by_std", "call");
    assert_eq!(output.status.signal(), Some(libc::SIGABRT), "{output:?}");
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.contains("thread 'bifilar-unblock'"), "{stderr}");
    assert!(stderr.contains("has overflowed its stack"), "{stderr}");
}

/// What isn't an overflow keeps its usual end.
#[test]
fn a_wild_pointer_is_no_overflow() {
    if let Side::Child(_) = child::side() {
        bifilar::run(|| {
            // SAFETY: not sound at all; the fault is what is tested.
            fiber::spawn(|| unsafe { black_box(std::ptr::null::<u8>()).read_volatile() }).join()
        })
        .unwrap();
    }
    let output = child::run("a_wild_pointer_is_no_overflow", "null");
    assert_eq!(output.status.signal(), Some(libc::SIGSEGV), "{output:?}");
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
}
