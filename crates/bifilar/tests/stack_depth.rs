//! How deep a fiber's stack went.

use bifilar::{Builder, JoinHandle, Wait, fiber, sync::channel, task::Task, time::sleep};
use std::{future::pending, hint::black_box, time::Duration};

const KIB: usize = 1024;

#[inline(never)]
fn use_stack<const BYTES: usize>() -> usize {
    let mut array = [1_u8; BYTES];
    black_box(&mut array);
    array.iter().map(|&byte| usize::from(byte)).sum()
}

fn measured<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> (JoinHandle<T>, Task) {
    let handle = fiber::Builder::new().measure_stack(true).spawn(f).unwrap();
    let fiber = handle.task();
    (handle, fiber)
}

fn depth<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> usize {
    let (handle, fiber) = measured(f);
    handle.join().map_err(drop).unwrap_or_else(|()| panic!("it ends well"));
    fiber.stack_depth().expect("measured")
}

#[test]
fn it_is_what_was_used() {
    for workers in [1, 2] {
        Builder::new().workers(workers).run(|| {
            let deep = depth(use_stack::<{ 100 * KIB }>);
            assert!((100 * KIB..132 * KIB).contains(&deep), "{deep}");
            let shallow = depth(|| ());
            assert!((64..16 * KIB).contains(&shallow), "{shallow}");
            let waiting = depth(|| {
                use_stack::<{ 50 * KIB }>();
                sleep(Duration::from_millis(1)).wait();
                use_stack::<{ 20 * KIB }>()
            });
            assert!((50 * KIB..82 * KIB).contains(&waiting), "{waiting}");
        });
    }
}

/// On stacks that others have used before.
#[test]
fn the_same_code_has_the_same_depth() {
    Builder::new().workers(1).run(|| {
        let first = depth(use_stack::<{ 30 * KIB }>);
        for round in 0..50 {
            // Leaves its traces on every stack that the worker has.
            let dirty: Vec<_> = (0..4)
                .map(|_| {
                    fiber::spawn(|| {
                        use_stack::<{ 180 * KIB }>();
                        fiber::yield_now();
                    })
                })
                .collect();
            dirty.into_iter().for_each(|fiber| fiber.join().unwrap());
            assert_eq!(depth(use_stack::<{ 30 * KIB }>), first, "round {round}");
        }
    });
}

#[test]
fn stacks_of_all_sizes_are_measured() {
    Builder::new().workers(1).run(|| {
        for size in [0, 64 * KIB, 256 * KIB, 1 << 20, 1 << 30] {
            let builder = fiber::Builder::new().stack_size(size).measure_stack(true);
            let handle = builder.spawn_local(|| ()).unwrap();
            let fiber = handle.task();
            handle.join().unwrap();
            let depth = fiber.stack_depth().unwrap();
            assert!((64..16 * KIB).contains(&depth), "{size}: {depth}");
        }
    });
}

#[test]
fn it_is_known_with_the_end_however_that_comes() {
    Builder::new().workers(2).run(|| {
        let (deep, is_deep) = channel::unbounded();
        let (running, fiber) = measured(move || {
            use_stack::<{ 40 * KIB }>();
            deep.try_send(()).unwrap();
            pending::<()>().wait()
        });
        is_deep.recv().wait().unwrap();
        assert_eq!(fiber.stack_depth(), None, "it hasn't ended");
        running.cancel();
        assert!(running.join().unwrap_err().is_cancelled());
        assert!((40 * KIB..72 * KIB).contains(&fiber.stack_depth().unwrap()));

        let (panics, fiber) = measured(|| {
            use_stack::<{ 60 * KIB }>();
            std::panic::resume_unwind(Box::new(()));
        });
        let panics: JoinHandle<()> = panics;
        assert!(panics.join().unwrap_err().is_panic());
        assert!((60 * KIB..92 * KIB).contains(&fiber.stack_depth().unwrap()));
    });
}

#[test]
fn who_does_not_ask_is_not_told() {
    Builder::new().workers(1).run(|| {
        let plain = fiber::Builder::new().name("plain").spawn(|| ()).unwrap();
        let fiber = plain.task();
        plain.join().unwrap();
        assert_eq!(fiber.stack_depth(), None);

        // Cancelled before it starts, it has used none.
        let (never, fiber) = measured(|| ());
        never.cancel();
        assert!(never.join().unwrap_err().is_cancelled());
        assert_eq!(fiber.stack_depth(), None);
    });
}

/// Many that run at the same time, each on a stack of its own.
#[test]
fn fibers_do_not_disturb_each_other() {
    for workers in [1, 2] {
        Builder::new().workers(workers).run(|| {
            let fibers: Vec<_> = (0..200)
                .map(|i| {
                    measured(move || {
                        fiber::yield_now();
                        if i % 2 == 0 {
                            use_stack::<{ 20 * KIB }>();
                        } else {
                            use_stack::<{ 90 * KIB }>();
                        }
                        fiber::yield_now();
                    })
                })
                .collect();
            for (i, (handle, fiber)) in fibers.into_iter().enumerate() {
                handle.join().unwrap();
                let (depth, used) = (fiber.stack_depth().unwrap(), [20, 90][i % 2] * KIB);
                assert!((used..used + 32 * KIB).contains(&depth), "{i}: {depth}");
            }
        });
    }
}
