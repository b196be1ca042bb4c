//! Sizes out of range, and a system that has no more memory, mappings or threads to give: errors
//! name the cause, nothing crashes, and what runs goes on.

#[path = "../../coroutine/tests/child/mod.rs"]
mod child;

use bifilar::{Builder, JoinHandle, Wait, fiber, sync::channel, task, time::sleep};
use bifilar_coroutine::stack::{GuardKind, MAX_SIZE, Stack, guard_kind};
use child::Side;
use std::{
    future::pending,
    io::{self, ErrorKind},
    panic::catch_unwind,
    time::Duration,
};

const MIB: usize = 1 << 20;
const MS: Duration = Duration::from_millis(1);

/// Runs each case in a process of its own, which may lower its limits for ever.
fn each_alone(test: &str, cases: &[(&str, fn())]) {
    if let Side::Child(name) = child::side() {
        let (_, run) = cases.iter().find(|(case, _)| *case == name).expect("a case");
        // std's own hook needs memory for a backtrace, and hangs where it gets none.
        std::panic::set_hook(Box::new(|panic| eprintln!("{panic}")));
        // A hang is a failure as well.
        // SAFETY: asks for a signal, which ends the process.
        unsafe { libc::alarm(30) };
        return run();
    }
    for (case, _) in cases {
        let output = child::run(test, case);
        assert!(output.status.success(), "{case}: {output:?}");
    }
}

fn set_limit(resource: libc::__rlimit_resource_t, limit: usize) {
    let limit = libc::rlimit { rlim_cur: limit as u64, rlim_max: limit as u64 };
    // SAFETY: a limit of this process.
    assert_eq!(unsafe { libc::setrlimit(resource, &raw const limit) }, 0);
}

/// Waits until every thread that was started has come up. One that has not takes memory for a signal
/// stack first, and std ends the process when there is none; it bears the name of its creator till then.
fn wait_for_threads() {
    let name = |path: std::path::PathBuf| std::fs::read_to_string(path.join("comm"));
    let mine = name("/proc/thread-self".into()).unwrap();
    let nameless = || {
        let threads = std::fs::read_dir("/proc/self/task").unwrap();
        threads
            .filter(|thread| name(thread.as_ref().unwrap().path()).is_ok_and(|it| it == mine))
            .count()
    };
    while nameless() > 1 {
        std::thread::yield_now();
    }
}

/// From now on the process gets `more` bytes of address space, and no more.
fn limit_address_space(more: usize) {
    wait_for_threads();
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: usize = statm.split(' ').next().unwrap().parse().unwrap();
    set_limit(libc::RLIMIT_AS, pages * 4096 + more);
}

fn panic_message<T>(result: Result<T, bifilar::JoinError>) -> String {
    let Err(error) = result else { panic!("it went well") };
    *error.into_panic().downcast::<String>().expect("a message")
}

#[test]
fn sizes() {
    let cases = [
        (0, true),
        (1, true),
        (4095, true),
        (4096, true),
        (16 * 1024, true),
        (16 * 1024 + 1, true),
        (100_000, true),
        (MIB, true),
        (MAX_SIZE - 1, true),
        (MAX_SIZE, true),
        (MAX_SIZE + 1, false),
        (isize::MAX as usize, false),
        (usize::MAX - 4095, false),
        (usize::MAX, false),
    ];
    for (size, possible) in cases {
        let run = || {
            let spawned = fiber::Builder::new().stack_size(size).spawn(|| {
                fiber::yield_now();
                1
            });
            let ended = spawned.map(|fiber| fiber.join().unwrap());
            expect(ended, possible, size);
            let local = fiber::Builder::new().stack_size(size).measure_stack(true);
            expect(local.spawn_local(|| 1).map(|fiber| fiber.join().unwrap()), possible, size);
        };
        Builder::new().workers(1).run(run);

        // The least is too little for the tests' harness, but not for a fiber that does nothing.
        let small = || Builder::new().workers(1).stack_size(size);
        expect(
            small().build().map(|runtime| runtime.spawn(async { 1 }).join().unwrap()),
            possible,
            size,
        );
        expect(small().build_local().map(|runtime| runtime.run(|| 1)), possible, size);
    }
}

fn expect(result: io::Result<i32>, possible: bool, size: usize) {
    match result {
        Ok(one) => assert!(possible && one == 1, "{size}"),
        Err(error) => {
            assert!(!possible, "{size}: {error}");
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{size}");
            assert!(error.to_string().contains(&size.to_string()), "{error}");
        }
    }
}

/// Stacks so large that few of them fit.
const LARGE: usize = 64 * MIB;

/// Room for some of those, and for the heap.
const ROOM: usize = 5 * LARGE + LARGE / 2;

#[test]
fn without_memory_for_another_stack() {
    each_alone(
        "without_memory_for_another_stack",
        &[
            ("a fiber's own stack", || {
                Builder::new().workers(2).run(|| {
                    let bystander = fiber::spawn(|| sleep(5 * MS).wait());
                    fiber::yield_now();
                    limit_address_space(32 * MIB);
                    let large = fiber::Builder::new().stack_size(MAX_SIZE).spawn(|| ()).unwrap();
                    let message = panic_message(large.join());
                    assert!(message.contains("no stack of 1073741824 bytes"), "{message}");
                    assert!(message.contains("os error 12"), "{message}");
                    // Smaller ones are there.
                    let small = fiber::Builder::new().stack_size(32 * 1024).spawn(|| {
                        fiber::yield_now();
                        1
                    });
                    assert_eq!(small.unwrap().join().unwrap(), 1);
                    bystander.join().unwrap();
                });
            }),
            ("waits on one worker", || waits(1)),
            ("waits on two workers", || waits(2)),
            ("destructors that wait for a suspended fiber", || {
                Builder::new().workers(1).stack_size(LARGE).run(|| {
                    let (gate, suspended) = hold_all_stacks();
                    let first = fiber::spawn_local(move || {
                        struct Opens(Option<channel::Sender<()>>, Vec<JoinHandle<()>>);
                        impl Drop for Opens {
                            fn drop(&mut self) {
                                drop(self.0.take());
                                for fiber in self.1.drain(..) {
                                    fiber.join().unwrap();
                                }
                            }
                        }
                        let _opens = Opens(Some(gate), suspended);
                        pending::<()>().wait()
                    });
                    let message = panic_message(first.join());
                    assert!(message.starts_with("cannot wait"), "{message}");
                });
            }),
            ("destructors that wait for time", || {
                Builder::new().workers(1).stack_size(LARGE).run(|| {
                    let (gate, suspended) = hold_all_stacks();
                    let sleeps = fiber::spawn_local(move || {
                        struct Sleeps;
                        impl Drop for Sleeps {
                            fn drop(&mut self) {
                                sleep(5 * MS).wait();
                            }
                        }
                        let _sleeps = [Sleeps, Sleeps];
                        pending::<()>().wait()
                    });
                    let message = panic_message(sleeps.join());
                    assert!(message.starts_with("cannot wait"), "{message}");
                    drop(gate);
                    suspended.into_iter().for_each(|fiber| fiber.join().unwrap());
                });
            }),
            ("destructors that wait for what has not started", || {
                Builder::new().workers(1).stack_size(LARGE).run(|| {
                    let (gate, suspended) = hold_all_stacks();
                    let parent = fiber::spawn_local(move || {
                        struct Joins(Vec<JoinHandle<()>>);
                        impl Drop for Joins {
                            fn drop(&mut self) {
                                for child in self.0.drain(..) {
                                    child.join().unwrap();
                                }
                            }
                        }
                        let children = (0..10).map(|_| fiber::spawn_local(|| sleep(MS).wait()));
                        let _joins = Joins(children.collect());
                        pending::<()>().wait()
                    });
                    let message = panic_message(parent.join());
                    assert!(message.starts_with("cannot wait"), "{message}");
                    drop(gate);
                    suspended.into_iter().for_each(|fiber| fiber.join().unwrap());
                });
            }),
            ("giving way", || {
                Builder::new().workers(1).stack_size(LARGE).run(|| {
                    let (gate, suspended) = hold_all_stacks();
                    let spins = fiber::spawn_local(move || {
                        drop(gate);
                        while suspended.iter().any(|fiber| !fiber.is_finished()) {
                            fiber::yield_now();
                        }
                    });
                    spins.join().unwrap();
                });
            }),
        ],
    );
}

/// More fibers and tasks wait than there is memory for: some fail, the others go on.
fn waits(workers: usize) {
    Builder::new().workers(workers).stack_size(LARGE).run(|| {
        // From now on this worker has a stack to go on with whenever this fiber waits.
        fiber::yield_now();
        limit_address_space(ROOM);
        let fibers: Vec<_> = (0..40)
            .map(|i| {
                if i % 2 == 0 {
                    fiber::spawn(|| sleep(20 * MS).wait())
                } else {
                    task::spawn(async { sleep(20 * MS).wait() })
                }
            })
            .collect();
        // Those that need no stack get on.
        let asynchronous = task::spawn(async { sleep(20 * MS).await });
        let results = fibers.into_iter().map(JoinHandle::join);
        let (went, failed): (Vec<_>, Vec<_>) = results.partition(Result::is_ok);
        assert!(!went.is_empty() && !failed.is_empty(), "{} went well", went.len());
        for error in failed {
            let message = panic_message(error);
            assert!(message.starts_with("cannot wait"), "{message}");
            assert!(message.contains("os error 12"), "{message}");
        }
        asynchronous.join().unwrap();
        // And afterwards there are stacks again, though another worker may have kept them.
        if workers == 1 {
            fiber::spawn(|| sleep(MS).wait()).join().unwrap();
        }
    });
}

/// Lowers the limit, and spawns fibers that wait, until one can't: the worker has a single stack left
/// to go on with. They end when the gate is dropped.
fn hold_all_stacks() -> (channel::Sender<()>, Vec<JoinHandle<()>>) {
    limit_address_space(ROOM);
    let (gate, opened) = channel::bounded::<()>(1);
    let mut suspended = Vec::new();
    loop {
        let opened = opened.clone();
        let fiber = fiber::spawn_local(move || assert!(opened.recv().wait().is_err()));
        fiber::yield_now();
        if fiber.is_finished() {
            let message = panic_message(fiber.join());
            assert!(message.starts_with("cannot wait"), "{message}");
            return (gate, suspended);
        }
        suspended.push(fiber);
        assert!(suspended.len() < 20);
    }
}

#[test]
fn without_memory_for_a_runtime() {
    each_alone(
        "without_memory_for_a_runtime",
        &[
            ("the first stack", || {
                limit_address_space(512 * MIB);
                let huge = || Builder::new().workers(1).stack_size(MAX_SIZE);
                for error in [huge().build().unwrap_err(), huge().build_local().unwrap_err()] {
                    assert_eq!(error.kind(), ErrorKind::OutOfMemory);
                    let message = error.to_string();
                    assert!(message.contains("no stack of 1073741824 bytes"), "{message}");
                    assert!(message.contains("os error 12"), "{message}");
                }
                for panicked in
                    [catch_unwind(|| huge().run(|| ())), catch_unwind(|| huge().block_on(async {}))]
                {
                    let message = *panicked.unwrap_err().downcast::<String>().unwrap();
                    assert!(message.starts_with("cannot start a bifilar runtime: no stack"));
                    assert!(message.contains("os error 12"), "{message}");
                }
                assert_eq!(Builder::new().workers(1).run(|| fiber::spawn(|| 1).join().unwrap()), 1);
            }),
            ("some of the stacks", || {
                limit_address_space(512 * MIB);
                let error = Builder::new().workers(4).stack_size(256 * MIB).build().unwrap_err();
                assert_eq!(error.kind(), ErrorKind::OutOfMemory);
                assert!(error.to_string().contains("no stack of 268435456 bytes"), "{error}");
                assert_eq!(Builder::new().workers(2).run(|| fiber::spawn(|| 1).join().unwrap()), 1);
            }),
            ("threads", || {
                // The limit is the user's, and root has none.
                // SAFETY: gives up rights of this process.
                unsafe { libc::setuid(65_534) };
                set_limit(libc::RLIMIT_NPROC, 4);
                let error = Builder::new().workers(16).name("many").build().unwrap_err();
                assert_eq!(error.kind(), ErrorKind::WouldBlock);
                assert!(error.to_string().starts_with("no thread for many-"), "{error}");
                let many = || Builder::new().workers(16).name("many");
                let panicked = catch_unwind(|| many().run(|| ())).unwrap_err();
                let message = *panicked.downcast::<String>().unwrap();
                let expected = "cannot start a bifilar runtime: no thread for many-";
                assert!(message.starts_with(expected), "{message}");
                assert_eq!(Builder::new().workers(1).run(|| fiber::spawn(|| 1).join().unwrap()), 1);
            }),
            ("address space for little", || {
                // Less than a slab usually takes.
                limit_address_space(24 * MIB);
                let sum: u32 = Builder::new().workers(1).run(|| {
                    let fibers: Vec<_> = (0..20)
                        .map(|i| {
                            fiber::spawn(move || {
                                fiber::yield_now();
                                i
                            })
                        })
                        .collect();
                    fibers.into_iter().map(|fiber| fiber.join().unwrap()).sum()
                });
                assert_eq!(sum, 190);
            }),
        ],
    );
}

/// With guards by page protection, two mappings for each stack.
#[test]
fn without_mappings_the_error_names_the_sysctl() {
    each_alone(
        "without_mappings_the_error_names_the_sysctl",
        &[("locked memory", || {
            let flags = libc::MCL_CURRENT | libc::MCL_FUTURE | libc::MCL_ONFAULT;
            // SAFETY: locks memory; pages that aren't there stay away until they are touched.
            if unsafe { libc::mlockall(flags) } != 0 {
                println!("skipped: this user may not lock memory");
                return;
            }
            assert_eq!(guard_kind(), GuardKind::Mprotect);
            let text = std::fs::read_to_string("/proc/sys/vm/max_map_count").unwrap();
            if text.trim().parse::<usize>().unwrap() > 1_000_000 {
                println!("skipped: no limit worth the name");
                return;
            }
            Builder::new().workers(1).run(|| {
                // Some stacks for the worker to keep.
                let early: Vec<_> = (0..5).map(|_| fiber::spawn(fiber::yield_now)).collect();
                early.into_iter().for_each(|fiber| fiber.join().unwrap());
                let mut stacks = Vec::new();
                let error = loop {
                    match Stack::new(16 * 1024) {
                        Ok(stack) => stacks.push(stack),
                        Err(error) => break error,
                    }
                };
                let message = error.to_string();
                assert_eq!(error.kind(), ErrorKind::OutOfMemory, "{message}");
                assert!(message.contains("vm.max_map_count"), "{message}");
                // A burst of fibers meets the same limit.
                let fibers: Vec<_> =
                    (0..100).map(|_| fiber::spawn(|| sleep(20 * MS).wait())).collect();
                let results = fibers.into_iter().map(JoinHandle::join);
                let (went, failed): (Vec<_>, Vec<_>) = results.partition(Result::is_ok);
                assert!(!failed.is_empty(), "{} went well", went.len());
                for error in failed {
                    let message = panic_message(error);
                    assert!(message.starts_with("cannot wait"), "{message}");
                    assert!(message.contains("vm.max_map_count"), "{message}");
                }
                drop(stacks);
            });
        })],
    );
}
