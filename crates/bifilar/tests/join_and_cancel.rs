//! How tasks end: results, panics, cancellation; once and for the right one.

use bifilar::{Builder, JoinError, Wait, fiber, sync::channel, task, time::sleep, unblock};
use std::{
    future::{pending, poll_fn},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    task::Poll,
    time::Duration,
};

/// Counts destructors.
#[derive(Clone, Default)]
struct Count(Arc<AtomicUsize>);

struct Guard(Arc<AtomicUsize>);

impl Count {
    fn guard(&self) -> Guard {
        Guard(self.0.clone())
    }

    fn get(&self) -> usize {
        self.0.load(SeqCst)
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.fetch_add(1, SeqCst);
    }
}

fn on_one_and_two(f: impl Fn()) {
    for workers in [1, 2] {
        Builder::new().workers(workers).run(&f);
    }
}

fn message(error: JoinError) -> String {
    assert!(error.is_panic() && !error.is_cancelled());
    assert!(error.to_string().contains("panicked"), "{error}");
    *error.into_panic().downcast::<String>().unwrap()
}

#[test]
fn a_panic_reaches_join_and_nobody_else() {
    on_one_and_two(|| {
        let bystander = fiber::spawn(|| sleep(Duration::from_millis(2)).wait());
        let tasks = [
            fiber::spawn(|| panic!("{}", 1)),
            fiber::spawn(|| {
                sleep(Duration::from_millis(1)).wait();
                panic!("{}", 1)
            }),
            task::spawn(async { panic!("{}", 1) }),
            task::spawn(async {
                sleep(Duration::from_millis(1)).await;
                panic!("{}", 1)
            }),
            task::spawn(async {
                sleep(Duration::from_millis(1)).wait();
                panic!("{}", 1)
            }),
            task::spawn_local(async { panic!("{}", 1) }),
            fiber::spawn_local(|| panic!("{}", 1)),
            unblock(|| panic!("{}", 1)),
        ];
        for (i, task) in tasks.into_iter().enumerate() {
            let task: bifilar::JoinHandle<()> = task;
            assert_eq!(message(task.join().unwrap_err()), "1", "task {i}");
        }
        bystander.join().unwrap();
    });
}

#[test]
fn a_panic_in_a_futures_destructor_reaches_join() {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("{}", 2);
        }
    }
    on_one_and_two(|| {
        let bomb = Bomb;
        let task = task::spawn(async move {
            let _bomb = &bomb;
            poll_fn(|_| Poll::Ready(())).await;
            // The bomb is dropped with the finished future.
        });
        assert_eq!(message(task.join().unwrap_err()), "2");
        // Nobody joins: the panic is printed, and the worker goes on.
        drop(task::spawn(async { Bomb }));
        fiber::yield_now();
    });
}

#[test]
fn the_main_fibers_panic_is_the_callers() {
    let count = Count::default();
    let result = catch_unwind(AssertUnwindSafe(|| {
        bifilar::run(|| {
            let guard = count.guard();
            drop(fiber::spawn(move || {
                let _guard = guard;
                pending::<()>().wait()
            }));
            fiber::yield_now();
            panic!("main");
        })
    }));
    assert_eq!(*result.unwrap_err().downcast::<&str>().unwrap(), "main");
    // The runtime has ended all the same.
    assert_eq!(count.get(), 1);
}

#[test]
fn cancelling_ends_a_task_wherever_it_stands() {
    on_one_and_two(|| {
        let count = Count::default();
        let (g1, g2, g3, g4) = (count.guard(), count.guard(), count.guard(), count.guard());
        let tasks = [
            fiber::spawn(move || {
                let _guard = g1;
                pending::<()>().wait()
            }),
            task::spawn(async move {
                let _guard = g2;
                pending::<()>().await
            }),
            task::spawn(async move {
                let _guard = g3;
                pending::<()>().wait()
            }),
            fiber::spawn(move || {
                let _guard = g4;
                loop {
                    fiber::yield_now();
                }
            }),
        ];
        for _ in 0..10 {
            fiber::yield_now();
        }
        for task in &tasks {
            task.cancel();
            task.cancel();
        }
        for task in tasks {
            assert!(task.join().unwrap_err().is_cancelled());
        }
        assert_eq!(count.get(), 4);
    });
}

#[test]
fn cancelled_before_it_starts_it_never_runs() {
    Builder::new().workers(1).run(|| {
        let count = Count::default();
        let guard = count.guard();
        let fiber = fiber::spawn(move || {
            let _guard = guard;
            unreachable!("it was cancelled first")
        });
        fiber.cancel();
        assert!(fiber.join().unwrap_err().is_cancelled());
        assert_eq!(count.get(), 1);
    });
}

#[test]
fn a_finished_task_keeps_its_result() {
    on_one_and_two(|| {
        let fiber = fiber::spawn(|| 5);
        while !fiber.is_finished() {
            fiber::yield_now();
        }
        fiber.cancel();
        assert_eq!(fiber.join().unwrap(), 5);
    });
}

#[test]
fn a_catch_unwind_does_not_defeat_cancellation() {
    on_one_and_two(|| {
        let (caught, count) = channel::unbounded();
        let (started, has_started) = channel::unbounded();
        let fiber = fiber::spawn(move || {
            started.try_send(()).unwrap();
            loop {
                let wait = catch_unwind(|| pending::<()>().wait());
                assert!(wait.is_err());
                if caught.try_send(()).is_err() {
                    // Nobody listens any more: let it through.
                    pending::<()>().wait();
                }
            }
        });
        has_started.recv().wait().unwrap();
        fiber.cancel();
        for _ in 0..3 {
            count.recv().wait().unwrap();
        }
        drop(count);
        assert!(fiber.join().unwrap_err().is_cancelled());
    });
}

#[test]
fn destructors_of_a_cancelled_task_may_wait() {
    struct Flushes(channel::Sender<u32>);
    impl Drop for Flushes {
        fn drop(&mut self) {
            sleep(Duration::from_millis(1)).wait();
            self.0.send(1).wait().unwrap();
        }
    }
    on_one_and_two(|| {
        let (sender, receiver) = channel::bounded(1);
        let (a, b, c) = (sender.clone(), sender.clone(), sender);
        let (started, has_started) = channel::unbounded();
        let (d, e, f) = (started.clone(), started.clone(), started);
        let tasks = [
            fiber::spawn(move || {
                let _flushes = Flushes(a);
                d.try_send(()).unwrap();
                pending::<()>().wait()
            }),
            task::spawn(async move {
                let _flushes = Flushes(b);
                e.try_send(()).unwrap();
                pending::<()>().await
            }),
            task::spawn(async move {
                let _flushes = Flushes(c);
                f.try_send(()).unwrap();
                pending::<()>().wait()
            }),
        ];
        (0..3).for_each(|_| has_started.recv().wait().unwrap());
        tasks.iter().for_each(|task| task.cancel());
        for _ in 0..3 {
            receiver.recv().wait().unwrap();
        }
        for task in tasks {
            assert!(task.join().unwrap_err().is_cancelled());
        }
    });
}

/// Two stacks of one thread in mid-unwind at once, and a third one cancelled meanwhile.
#[test]
fn stacks_unwind_in_any_order() {
    struct Waits(channel::Receiver<()>);
    impl Drop for Waits {
        fn drop(&mut self) {
            self.0.recv().wait().unwrap();
        }
    }
    Builder::new().workers(1).run(|| {
        let gates: Vec<_> = (0..2).map(|_| channel::bounded::<()>(1)).collect();
        let unwinding: Vec<_> = gates
            .iter()
            .map(|(_, gate)| {
                let gate = gate.clone();
                fiber::spawn(move || {
                    let _waits = Waits(gate);
                    panic!("{}", 3);
                })
            })
            .collect();
        for _ in 0..5 {
            fiber::yield_now();
        }
        let third = fiber::spawn(|| pending::<()>().wait());
        fiber::yield_now();
        third.cancel();
        fiber::yield_now();
        // Others' panics meanwhile are caught as ever.
        assert!(catch_unwind(|| panic!("meanwhile")).is_err());
        for (open, _) in &gates {
            open.send(()).wait().unwrap();
        }
        for fiber in unwinding {
            let fiber: bifilar::JoinHandle<()> = fiber;
            assert_eq!(message(fiber.join().unwrap_err()), "3");
        }
        assert!(third.join().unwrap_err().is_cancelled());
        assert!(!std::thread::panicking());
    });
}

#[test]
fn detached_tasks_go_on() {
    on_one_and_two(|| {
        let (sender, receiver) = channel::bounded(1);
        drop(fiber::spawn(move || {
            sleep(Duration::from_millis(1)).wait();
            sender.send(9).wait().unwrap();
        }));
        assert_eq!(receiver.recv().wait(), Ok(9));
    });
}

#[test]
fn the_end_of_a_runtime_ends_its_tasks() {
    for workers in [1, 2, 4] {
        let count = Count::default();
        Builder::new().workers(workers).run(|| {
            for _ in 0..100 {
                let (a, b) = (count.guard(), count.guard());
                drop(fiber::spawn(move || {
                    let _guard = a;
                    pending::<()>().wait()
                }));
                drop(task::spawn(async move {
                    let _guard = b;
                    pending::<()>().await
                }));
            }
            for _ in 0..20 {
                fiber::yield_now();
            }
        });
        assert_eq!(count.get(), 200);
    }
}

#[test]
fn what_is_spawned_while_the_runtime_ends_is_cancelled() {
    struct Spawns(channel::Sender<bool>);
    impl Drop for Spawns {
        fn drop(&mut self) {
            let late = fiber::spawn(|| ());
            self.0.try_send(late.join().unwrap_err().is_cancelled()).unwrap();
        }
    }
    let (sender, receiver) = channel::unbounded();
    bifilar::run(|| {
        drop(fiber::spawn(move || {
            let _spawns = Spawns(sender);
            pending::<()>().wait()
        }));
        for _ in 0..10 {
            fiber::yield_now();
        }
    });
    // The fiber may have been cancelled before it started; then nothing was spawned.
    assert_ne!(receiver.try_recv(), Ok(false));
}

#[test]
fn a_handle_joins_from_outside_and_after_the_end() {
    let runtime = Builder::new().workers(2).build().unwrap();
    let task = runtime.spawn(async { 1 });
    assert_eq!(task.join().unwrap(), 1);
    let never = runtime.spawn_fiber(|| pending::<()>().wait());
    let handle = runtime.handle().clone();
    drop(runtime);
    assert!(never.join().unwrap_err().is_cancelled());
    assert!(handle.spawn(async {}).join().unwrap_err().is_cancelled());
}
