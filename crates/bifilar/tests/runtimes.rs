//! Every way to start a runtime, and every place to call it from.

use bifilar::{Builder, Handle, Runtime, Wait, fiber, sync::channel, task, unblock};
use std::{
    cell::Cell,
    collections::HashSet,
    rc::Rc,
    sync::{Arc, Barrier},
    thread,
    time::{Duration, Instant},
};

#[test]
fn the_main_fiber_may_borrow_and_need_not_be_send() {
    let count = Rc::new(Cell::new(0));
    let text = String::from("borrowed");
    let length = bifilar::run(|| {
        count.set(count.get() + 1);
        text.len()
    });
    let again = bifilar::block_on(async {
        task::yield_now().await;
        count.set(count.get() + 1);
        text.len()
    });
    assert_eq!((count.get(), length, again), (2, 8, 8));
}

#[test]
fn the_calling_thread_is_the_first_worker() {
    let caller = thread::current().id();
    bifilar::run(|| {
        assert_eq!(thread::current().id(), caller);
        fiber::yield_now();
        assert_eq!(thread::current().id(), caller);
    });
}

/// All workers run tasks at the same time: each holds its thread until all are there.
#[test]
fn work_spreads_over_all_workers() {
    for workers in [1, 2, 4] {
        Builder::new().workers(workers).name("spread").run(move || {
            let barrier = Arc::new(Barrier::new(workers));
            let fibers: Vec<_> = (0..workers)
                .map(|_| {
                    let barrier = barrier.clone();
                    fiber::spawn(move || {
                        barrier.wait();
                        thread::current().id()
                    })
                })
                .collect();
            let threads: HashSet<_> = fibers.into_iter().map(|f| f.join().unwrap()).collect();
            assert_eq!(threads.len(), workers);
        });
    }
}

#[test]
fn workers_have_names() {
    let runtime = Builder::new().workers(1).name("quick").build().unwrap();
    let name = runtime.spawn(async { thread::current().name().map(String::from) });
    assert_eq!(name.join().unwrap().as_deref(), Some("quick-0"));
}

#[test]
fn bad_numbers_are_errors() {
    for (builder, says) in [
        (Builder::new().workers(0), "0 workers"),
        (Builder::new().workers(1 << 20), "1048576 workers"),
        (Builder::new().stack_size(usize::MAX), "a stack of 18446744073709551615 bytes"),
    ] {
        let error = builder.build().unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
        assert!(error.to_string().contains(says), "{error}");
    }
    bifilar::run(|| {
        let error = fiber::Builder::new().stack_size(usize::MAX).spawn(|| ()).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
    });
}

#[test]
fn outside_of_a_runtime_the_error_names_the_remedy() {
    for panic in [
        thread::spawn(|| drop(fiber::spawn(|| ()))).join().unwrap_err(),
        thread::spawn(|| drop(task::spawn(async {}))).join().unwrap_err(),
        thread::spawn(|| drop(task::spawn_local(async {}))).join().unwrap_err(),
        thread::spawn(|| drop(Handle::current())).join().unwrap_err(),
        thread::spawn(|| bifilar::time::sleep(Duration::from_secs(1)).wait()).join().unwrap_err(),
    ] {
        let message = match panic.downcast::<String>() {
            Ok(message) => *message,
            Err(other) => other.downcast::<&str>().unwrap().to_string(),
        };
        assert!(message.contains("bifilar::run"), "{message}");
    }
    let error = fiber::Builder::new().spawn(|| ()).unwrap_err();
    assert!(error.to_string().contains("bifilar::run"), "{error}");
}

#[test]
fn a_runtime_runs_while_nobody_waits() {
    let runtime = Runtime::new().unwrap();
    let (sender, receiver) = channel::unbounded();
    drop(runtime.spawn_fiber(move || {
        for i in 0..3 {
            fiber::sleep(Duration::from_millis(1));
            sender.try_send(i).unwrap();
        }
    }));
    let got: Vec<_> = (0..3).map(|_| receiver.recv().wait().unwrap()).collect();
    assert_eq!(got, [0, 1, 2]);
}

#[test]
fn block_on_a_runtime_from_many_threads() {
    let runtime = Arc::new(Builder::new().workers(2).build().unwrap());
    let threads: Vec<_> = (0..8)
        .map(|i| {
            let runtime = runtime.clone();
            thread::spawn(move || {
                runtime.block_on(async move {
                    bifilar::time::sleep(Duration::from_millis(1)).await;
                    task::spawn(async move { i }).await.unwrap()
                })
            })
        })
        .collect();
    for (i, thread) in threads.into_iter().enumerate() {
        assert_eq!(thread.join().unwrap(), i);
    }
}

#[test]
fn a_runtime_within_another_ones_task() {
    bifilar::run(|| {
        let inner = Builder::new().workers(1).build().unwrap();
        assert_eq!(inner.block_on(async { task::spawn(async { 1 }).await.unwrap() }), 1);
        // Drop waits for the inner one's threads.
        drop(inner);
        let local = Builder::new().build_local().unwrap();
        assert_eq!(local.block_on(async { task::spawn_local(async { 2 }).await.unwrap() }), 2);
        assert_eq!(fiber::spawn(|| 3).join().unwrap(), 3);
    });
}

#[test]
fn local_tasks_stand_still_between_two_calls() {
    let runtime = Builder::new().build_local().unwrap();
    let count = Rc::new(Cell::new(0));
    let task = runtime.spawn_local({
        let count = count.clone();
        async move {
            loop {
                count.set(count.get() + 1);
                // One of them in mid-poll, one at an await.
                task::yield_now().wait();
                task::yield_now().await;
            }
        }
    });
    assert_eq!(count.get(), 0);
    for _ in 0..3 {
        let before = count.get();
        runtime.run(|| {
            for _ in 0..10 {
                fiber::yield_now();
            }
        });
        assert!(count.get() > before);
    }
    drop(task);
    let weak = Rc::downgrade(&count);
    drop((runtime, count));
    assert!(weak.upgrade().is_none(), "the task was not dropped with its runtime");
}

#[test]
fn dropping_a_runtime_in_its_own_task() {
    let runtime = Arc::new(Runtime::new().unwrap());
    let last = runtime.clone();
    let (go, gone) = channel::bounded::<()>(1);
    let task = runtime.spawn_fiber(move || {
        gone.recv().wait().unwrap();
        drop(last);
    });
    drop(runtime);
    go.send(()).wait().unwrap();
    let _ = task.join();
}

#[test]
fn sizes_of_stacks_are_per_fiber() {
    /// Uses about `n` kilobytes of stack.
    #[inline(never)]
    fn dig(n: usize) -> usize {
        let block = std::hint::black_box([n as u8; 1024]);
        if n == 0 { 0 } else { dig(n - 1) + usize::from(block[n % 1024] == n as u8) }
    }
    bifilar::run(|| {
        for _ in 0..3 {
            let deep = fiber::Builder::new().stack_size(16 << 20).spawn(|| {
                fiber::yield_now();
                dig(4_000)
            });
            let small = fiber::Builder::new().stack_size(1).spawn(|| {
                fiber::yield_now();
                1
            });
            assert_eq!(deep.unwrap().join().unwrap(), 4_000);
            assert_eq!(small.unwrap().join().unwrap(), 1);
        }
    });
}

/// A busy worker's tasks are taken over by idle ones.
#[test]
fn idle_workers_steal() {
    Builder::new().workers(2).run(|| {
        let tasks: Vec<_> = (0..1000).map(|i| task::spawn(async move { i })).collect();
        // This worker does nothing for them.
        let start = Instant::now();
        while !tasks.iter().all(bifilar::JoinHandle::is_finished) {
            assert!(start.elapsed() < Duration::from_secs(60), "nobody steals");
            std::hint::spin_loop();
        }
    });
}

#[test]
fn a_crowd_of_blocking_calls() {
    bifilar::run(|| {
        let calls: Vec<_> = (0..2_000).map(|i| unblock(move || i)).collect();
        let sum: i32 = calls.into_iter().map(|call| call.join().unwrap()).sum();
        assert_eq!(sum, 1_999_000);
    });
}

#[test]
fn main_and_tasks_know_who_they_are() {
    bifilar::run(|| {
        assert_eq!(task::current().kind(), bifilar::TaskKind::Fiber);
        let line = line!() + 1;
        let other = fiber::Builder::new().name("other").spawn(task::current).unwrap();
        let (id, other) = (other.id(), other.join().unwrap());
        assert_eq!((other.id(), other.name()), (id, Some("other")));
        assert_eq!((other.location().file(), other.location().line()), (file!(), line));
        assert_eq!(unblock(|| task::current().kind()).join().unwrap(), bifilar::TaskKind::Blocking);
    });
    assert!(task::try_current().is_none());
}
