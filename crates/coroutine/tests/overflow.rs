//! Running off a stack: who is told what. Each case ends a process of its own.

mod child;

use std::{hint::black_box, io::Write, os::unix::process::ExitStatusExt, ptr, thread};

use bifilar_coroutine::{
    Coroutine, Generator,
    stack::{DEFAULT_SIZE, Stack, describe_overflows, set_guard_size},
};
use child::Side;

const HINT: &str = "help: Coroutine::with_stack and Generator::with_stack take a larger one\n";

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

/// Runs `body` on a stack of `size` bytes.
fn on_stack(size: usize, body: impl FnOnce() -> u64 + 'static) -> u64 {
    on(Stack::new(size).unwrap(), body)
}

fn on(stack: Stack, body: impl FnOnce() -> u64 + 'static) -> u64 {
    let mut coroutine: Coroutine<(), (), u64> = Coroutine::with_stack(stack, |_, ()| body());
    match coroutine.resume(()) {
        bifilar_coroutine::CoroutineState::Returned(n) => n,
        bifilar_coroutine::CoroutineState::Yielded(()) => unreachable!(),
    }
}

/// How a child ends: its signal, and what it has written.
type Case<'a> = (&'static str, i32, &'a str, fn());

/// Runs each case in a child, or in the child the one case that is asked for.
fn check(test: &str, cases: &[Case<'_>]) {
    match child::side() {
        Side::Child(name) => {
            let (.., run) = cases.iter().find(|(case, ..)| *case == name).expect("a case");
            no_core_dump();
            run();
            // Not by `exit`, which the parent would take for the test's own success.
            let _ = std::io::stderr().flush();
            // SAFETY: ends the process.
            unsafe { libc::_exit(CAME_BACK) };
        }
        Side::Parent => {
            for (case, signal, message, _) in cases {
                let output = child::run(test, case);
                let stderr = String::from_utf8_lossy(&output.stderr);
                let end = output.status.signal().unwrap_or(0);
                assert_eq!((end, &*stderr), (*signal, *message), "{case}: {output:?}");
                let code = output.status.code();
                assert!(code.is_none_or(|code| code == CAME_BACK), "{case}: {output:?}");
            }
        }
    }
}

const CAME_BACK: i32 = 42;

fn no_core_dump() {
    let none = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: a limit of this process.
    unsafe { libc::setrlimit(libc::RLIMIT_CORE, &raw const none) };
}

/// Cases of [`an_overflow_is_reported_in_one_line`] that need stack probes.
const LARGE_FRAMES: [&str; 3] = ["largest stack", "a frame of 80 KiB", "a frame of 8 MiB"];

#[test]
fn an_overflow_is_reported_in_one_line() {
    let cases: &[Case<'_>] = &[
        ("recursion", libc::SIGABRT, "a coroutine overflowed its 256 KiB stack\n", || {
            on_stack(DEFAULT_SIZE, || recurse(0));
        }),
        ("small stack", libc::SIGABRT, "a coroutine overflowed its 16 KiB stack\n", || {
            on_stack(0, || recurse(0));
        }),
        ("large stack", libc::SIGABRT, "a coroutine overflowed its 4 MiB stack\n", || {
            on_stack(4 << 20, || recurse(0));
        }),
        ("largest stack", libc::SIGABRT, "a coroutine overflowed its 1 GiB stack\n", || {
            on_stack(1 << 30, || large_frame::<{ 2 << 30 }>(1).into());
        }),
        ("a frame of 80 KiB", libc::SIGABRT, "a coroutine overflowed its 64 KiB stack\n", || {
            on_stack(64 << 10, || large_frame::<{ 80 << 10 }>(1).into());
        }),
        ("a frame of 8 MiB", libc::SIGABRT, "a coroutine overflowed its 256 KiB stack\n", || {
            on_stack(DEFAULT_SIZE, || large_frame::<{ 8 << 20 }>(1).into());
        }),
        ("a generator", libc::SIGABRT, "a coroutine overflowed its 256 KiB stack\n", || {
            Generator::new(|output| output.suspend(recurse(0))).for_each(drop);
        }),
        ("nested", libc::SIGABRT, "a coroutine overflowed its 32 KiB stack\n", || {
            on_stack(64 << 10, || on_stack(32 << 10, || recurse(0)));
        }),
        ("one of many", libc::SIGABRT, "a coroutine overflowed its 128 KiB stack\n", || {
            // Neighbours on either side, and several slabs of several classes.
            let classes = [14, 16, 17, 18, 20];
            let _many: Vec<_> =
                (0..5000).map(|i| Stack::new(1 << classes[i % classes.len()]).unwrap()).collect();
            on_stack(128 << 10, || recurse(0));
        }),
        ("on another thread", libc::SIGABRT, "a coroutine overflowed its 256 KiB stack\n", || {
            thread::spawn(|| on_stack(DEFAULT_SIZE, || recurse(0))).join().unwrap();
        }),
        ("on a thread of C", libc::SIGABRT, "a coroutine overflowed its 256 KiB stack\n", || {
            on_a_thread_of_c(|| {
                on_stack(DEFAULT_SIZE, || recurse(0));
            });
        }),
        (
            "on a small signal stack",
            libc::SIGABRT,
            "a coroutine overflowed its 256 KiB stack\n",
            || {
                use_small_signal_stack();
                on_stack(DEFAULT_SIZE, || recurse(0));
            },
        ),
        ("SIGSEGV is ignored", libc::SIGABRT, "a coroutine overflowed its 256 KiB stack\n", || {
            set_action(libc::SIGSEGV, libc::SIG_IGN, 0);
            on_stack(DEFAULT_SIZE, || recurse(0));
        }),
    ];
    // Without probes, a frame larger than the guard goes past it.
    let probed = |case| !child::SANITIZED || !LARGE_FRAMES.contains(&case);
    let lines: Vec<String> = cases.iter().map(|(_, _, line, _)| format!("{line}{HINT}")).collect();
    let with_hint: Vec<Case<'_>> = cases
        .iter()
        .zip(&lines)
        .filter(|(case, _)| probed(case.0))
        .map(|(&(case, signal, _, run), line)| (case, signal, &**line, run))
        .collect();
    check("an_overflow_is_reported_in_one_line", &with_hint);
}

#[test]
fn a_scheduler_says_who_it_was() {
    check(
        "a_scheduler_says_who_it_was",
        &[
            (
                "told",
                libc::SIGABRT,
                "somebody overflowed its 32 KiB stack\nhelp: nobody can help\n",
                || {
                    describe_overflows(|_, line| {
                        use std::fmt::Write;
                        line.write_str("somebody").ok()?;
                        Some("nobody can help")
                    });
                    on_stack(32 << 10, || recurse(0));
                },
            ),
            (
                "which stack",
                libc::SIGABRT,
                "outer: false, inner: true overflowed its 32 KiB stack\nhelp: none\n",
                || {
                    static STACKS: [std::sync::OnceLock<Stack>; 2] =
                        [const { std::sync::OnceLock::new() }; 2];
                    let fresh = |size| Stack::new(size).unwrap();
                    let inner = STACKS[1].get_or_init(|| fresh(32 << 10));
                    STACKS[0].get_or_init(|| fresh(32 << 10));
                    describe_overflows(|overflow, line| {
                        use std::fmt::Write;
                        let [outer, inner] = &STACKS;
                        let (outer, inner) = (outer.get()?, inner.get()?);
                        let (outer, inner) = (overflow.is_of(outer), overflow.is_of(inner));
                        write!(line, "outer: {outer}, inner: {inner}").ok()?;
                        Some("none")
                    });
                    extern "C" fn entry(_: *mut ()) -> ! {
                        recurse(0);
                        std::process::abort()
                    }
                    use bifilar_coroutine::raw;
                    // SAFETY: the stack is unused and stays; nothing needs the frames left here.
                    unsafe { raw::exit_to(raw::prepare(inner.top(), entry, ptr::null_mut())) }
                },
            ),
            (
                "at length",
                libc::SIGABRT,
                concat!(
                    "0123456789012345678901234567890123456789012345678901234567890123456789",
                    "0123456789012345678901234567890123456789012345678901234567890123456789",
                    "0123456789012345678901234567890123456789012345678901234567890123456789",
                    "0123456789012345678901234567890123456789012345678901234567890123456789",
                    " overflowed its 32 KiB stack\nhelp: be brief\n"
                ),
                || {
                    describe_overflows(|_, line| {
                        use std::fmt::Write;
                        (0..28).try_for_each(|_| line.write_str("0123456789")).ok()?;
                        Some("be brief")
                    });
                    on_stack(32 << 10, || recurse(0));
                },
            ),
        ],
    );
}

/// What isn't an overflow of ours goes where it would have gone.
#[test]
fn other_faults_are_passed_on() {
    check(
        "other_faults_are_passed_on",
        &[
            ("null pointer", libc::SIGSEGV, "", || {
                on_stack(DEFAULT_SIZE, || 1);
                read(ptr::null());
            }),
            ("null pointer on a coroutine", libc::SIGSEGV, "", || {
                on_stack(DEFAULT_SIZE, || read(ptr::null()));
            }),
            ("wild pointer into a guard", libc::SIGSEGV, "", || {
                let stack = Stack::new(DEFAULT_SIZE).unwrap();
                read(stack.limit().as_ptr().wrapping_sub(1));
            }),
            ("wild pointer into a guard, from a coroutine", libc::SIGSEGV, "", || {
                let stacks: Vec<_> = (0..3).map(|_| Stack::new(DEFAULT_SIZE).unwrap()).collect();
                let guard = stacks[1].limit().as_ptr().wrapping_sub(1).addr();
                on_stack(DEFAULT_SIZE, move || read(ptr::without_provenance(guard)));
            }),
            ("SIGBUS", libc::SIGBUS, "", || {
                on_stack(DEFAULT_SIZE, || 1);
                read(past_the_end_of_a_file());
            }),
            ("handler before", libc::SIGSEGV, "before\n", || {
                set_action(libc::SIGSEGV, says_before as *const () as usize, 0);
                on_stack(DEFAULT_SIZE, || read(ptr::null()));
            }),
            ("handler before, called once", libc::SIGSEGV, "before, and on\n", || {
                set_action(libc::SIGSEGV, returns as *const () as usize, libc::SA_RESETHAND);
                on_stack(DEFAULT_SIZE, || read(ptr::null()));
            }),
            ("informed handler before", 0, "at 0x10\n", || {
                set_action(libc::SIGSEGV, says_where as *const () as usize, libc::SA_SIGINFO);
                on_stack(DEFAULT_SIZE, || read(ptr::without_provenance(0x10)));
            }),
            ("handler of SIGBUS before", 0, "at its address\n", || {
                set_action(libc::SIGBUS, says_its_address as *const () as usize, libc::SA_SIGINFO);
                on_stack(DEFAULT_SIZE, || read(past_the_end_of_a_file()));
            }),
            ("handler afterwards", libc::SIGSEGV, "before\n", || {
                on_stack(DEFAULT_SIZE, || 1);
                set_action(libc::SIGSEGV, says_before as *const () as usize, 0);
                on_stack(DEFAULT_SIZE, || recurse(0));
            }),
            ("ignored before", libc::SIGSEGV, "", || {
                set_action(libc::SIGSEGV, libc::SIG_IGN, 0);
                on_stack(DEFAULT_SIZE, || read(ptr::null()));
            }),
            ("sent, and ignored before", 0, "", || {
                set_action(libc::SIGSEGV, libc::SIG_IGN, 0);
                on_stack(DEFAULT_SIZE, || 1);
                // SAFETY: only sends a signal.
                unsafe { libc::raise(libc::SIGSEGV) };
            }),
            ("sent by default", libc::SIGBUS, "", || {
                set_action(libc::SIGBUS, libc::SIG_DFL, 0);
                on_stack(DEFAULT_SIZE, || 1);
                // SAFETY: only sends a signal.
                unsafe { libc::raise(libc::SIGBUS) };
            }),
        ],
    );
}

/// std's own message of threads that overflow, with our handler before it.
#[test]
fn a_threads_overflow_is_told_by_std() {
    if let Side::Child(_) = child::side() {
        no_core_dump();
        on_stack(DEFAULT_SIZE, || 1);
        thread::Builder::new().name("deep".into()).spawn(|| recurse(0)).unwrap().join().unwrap();
    }
    let output = child::run("a_threads_overflow_is_told_by_std", "thread");
    assert_eq!(output.status.signal(), Some(libc::SIGABRT), "{output:?}");
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.contains("thread 'deep'"), "{stderr}");
    assert!(stderr.contains("has overflowed its stack"), "{stderr}");
}

#[test]
fn larger_guards_stop_frames_without_probes() {
    check(
        "larger_guards_stop_frames_without_probes",
        &[
            (
                "unprobed",
                libc::SIGABRT,
                "a coroutine overflowed its 4 MiB stack\n\
                 help: Coroutine::with_stack and Generator::with_stack take a larger one\n",
                || {
                    set_guard_size(1 << 20).unwrap();
                    let stack = Stack::new(4 << 20).unwrap();
                    // As the last frame of C code does that touches its lowest byte first.
                    let lowest = stack.limit().as_ptr().addr() - 500_000;
                    on(stack, move || read(ptr::without_provenance(lowest)));
                },
            ),
            ("its size", 0, "", || {
                // Asked for again, and as much as makes the same number of pages.
                for size in [99_999, 99_999, 100 << 10] {
                    set_guard_size(size).unwrap();
                }
                let stack = Stack::new(0).unwrap();
                assert_eq!(stack.reserved(), 256 << 10);
                let lost = stack.reserved() - stack.size();
                assert!((100 << 10..102 << 10).contains(&lost), "{lost}");
                for _ in 0..2 {
                    // SAFETY: the memory is ours and nothing runs on it.
                    unsafe {
                        stack.limit().write_bytes(0xAA, stack.size());
                        stack.clear();
                        assert_eq!(stack.limit().read(), 0);
                    }
                }
                for size in [0, 4096, 1 << 20] {
                    assert!(set_guard_size(size).is_err(), "{size}");
                }
                assert_eq!(on_stack(1 << 20, || 5), 5);
            }),
            ("too late", 0, "", || {
                let _first = Stack::new(0).unwrap();
                set_guard_size(4096).unwrap();
                let error = set_guard_size(8192).unwrap_err();
                assert_eq!(error.kind(), std::io::ErrorKind::AlreadyExists);
                assert!(error.to_string().contains("before the first stack"), "{error}");
            }),
            ("too large", 0, "", || {
                let error = set_guard_size(usize::MAX).unwrap_err();
                assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
            }),
        ],
    );
}

fn read(address: *const u8) -> u64 {
    // SAFETY: not sound at all; the fault is what is tested.
    unsafe { black_box(address).read_volatile() }.into()
}

/// A page of a mapping of a file that has no bytes.
fn past_the_end_of_a_file() -> *const u8 {
    // SAFETY: makes a file without a name, and maps it where the system likes.
    unsafe {
        let file = libc::memfd_create(c"empty".as_ptr(), 0);
        libc::mmap(ptr::null_mut(), 4096, libc::PROT_READ, libc::MAP_SHARED, file, 0)
            .cast_const()
            .cast()
    }
}

fn set_action(signal: i32, handler: usize, flags: i32) {
    // SAFETY: a plain C structure, for which zeroes are a value.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = handler;
    action.sa_flags = flags | libc::SA_ONSTACK;
    // SAFETY: the handlers of this file call nothing that a handler must not.
    assert_eq!(unsafe { libc::sigaction(signal, &raw const action, ptr::null_mut()) }, 0);
}

fn say(text: &str) {
    // SAFETY: the pointer and the length are those of a slice.
    unsafe { libc::write(2, text.as_ptr().cast(), text.len()) };
}

extern "C" fn says_before(signal: i32) {
    say("before\n");
    // SAFETY: allowed in handlers.
    unsafe {
        libc::signal(signal, libc::SIG_DFL);
        libc::raise(signal);
    }
}

extern "C" fn returns(_: i32) {
    say("before, and on\n");
}

extern "C" fn says_where(_: i32, info: *mut libc::siginfo_t, _: *mut libc::c_void) {
    // SAFETY: as the system gives it.
    if unsafe { (*info).si_addr() }.addr() == 0x10 {
        say("at 0x10\n");
    }
    // SAFETY: ends the process.
    unsafe { libc::_exit(CAME_BACK) };
}

extern "C" fn says_its_address(_: i32, info: *mut libc::siginfo_t, _: *mut libc::c_void) {
    // SAFETY: as the system gives it.
    if !unsafe { (*info).si_addr() }.is_null() {
        say("at its address\n");
    }
    // SAFETY: ends the process.
    unsafe { libc::_exit(CAME_BACK) };
}

/// As small as the system allows, and 4 KiB for the handler.
fn use_small_signal_stack() {
    // SAFETY: a constant of the system.
    let least = unsafe { libc::getauxval(libc::AT_MINSIGSTKSZ) } as usize;
    let frames = if child::SANITIZED { 32 << 10 } else { 4096 };
    let size = least.max(libc::MINSIGSTKSZ) + frames;
    // SAFETY: fresh memory, which stays, with an inaccessible page below.
    unsafe {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        let pages = libc::mmap(ptr::null_mut(), 1 << 16, protection, flags, -1, 0);
        libc::mprotect(pages, 4096, libc::PROT_NONE);
        let stack = libc::stack_t { ss_sp: pages.byte_add(4096), ss_flags: 0, ss_size: size };
        assert_eq!(libc::sigaltstack(&raw const stack, ptr::null_mut()), 0);
    }
}

/// Such a thread has no alternate signal stack by itself.
fn on_a_thread_of_c(body: fn()) {
    extern "C" fn start(body: *mut libc::c_void) -> *mut libc::c_void {
        // SAFETY: it is the function that was passed on below.
        let body = unsafe { std::mem::transmute::<*mut libc::c_void, fn()>(body) };
        body();
        ptr::null_mut()
    }
    // SAFETY: a thread that runs to its end before this returns.
    unsafe {
        let mut thread = std::mem::zeroed();
        let body = body as *mut libc::c_void;
        assert_eq!(libc::pthread_create(&raw mut thread, ptr::null(), start, body), 0);
        libc::pthread_join(thread, ptr::null_mut());
    }
}

/// The alternate stack of a thread goes with the thread.
#[test]
fn threads_of_c_leave_nothing_behind() {
    fn mappings() -> usize {
        std::fs::read_to_string("/proc/self/maps").unwrap().lines().count()
    }
    let run = || {
        for _ in 0..100 {
            on_a_thread_of_c(|| {
                on_stack(DEFAULT_SIZE, || 1);
            });
        }
    };
    if let Side::Child(_) = child::side() {
        run();
        let before = mappings();
        run();
        assert!(mappings() < before + 20, "{before}, then {}", mappings());
        return;
    }
    let output = child::run("threads_of_c_leave_nothing_behind", "alone");
    assert!(output.status.success(), "{output:?}");
}
