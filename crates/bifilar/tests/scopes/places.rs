//! Where a scope may be opened.

use super::*;

/// With one worker, each of these would hang if the scope held it up.
#[test]
fn a_scope_in_the_depth_of_an_async_task_leaves_the_worker_free() {
    Builder::new().workers(1).run(|| {
        fn deep(depth: u32, f: &dyn Fn() -> u32) -> u32 {
            if depth == 0 { f() } else { deep(depth - 1, f) + 1 }
        }
        let (ask, questions) = channel::bounded::<oneshot::Sender<u32>>(1);
        let server = task::spawn(async move {
            while let Ok(answer) = questions.recv().await {
                answer.send(1).unwrap();
            }
        });
        let answer = task::spawn(async move {
            deep(20, &|| {
                scope(|s| {
                    let children: Vec<_> = (0..3)
                        .map(|_| {
                            s.spawn(|| {
                                let (sender, receiver) = oneshot::channel();
                                ask.send(sender).wait().unwrap();
                                receiver.wait().unwrap()
                            })
                        })
                        .collect();
                    children.into_iter().map(|child| child.join().unwrap()).sum()
                })
            })
        });
        assert_eq!(answer.join().unwrap(), 23);
        server.join().unwrap();
    });
}

#[test]
fn a_plain_thread_that_entered_a_runtime() {
    let runtime = Builder::new().workers(2).build().unwrap();
    let drops = Drops::default();
    let numbers = [1, 2, 3];
    let _entered = runtime.handle().enter();
    let sum: i32 = scope(|s| {
        let children: Vec<_> = numbers
            .iter()
            .map(|number| {
                let guard = drops.guard();
                s.spawn(move || {
                    let _guard = guard;
                    fiber::yield_now();
                    number * 2
                })
            })
            .collect();
        children.into_iter().map(|child| child.join().unwrap()).sum()
    });
    assert_eq!(sum, 12);
    drops.assert_all(3);
}

#[test]
fn the_runtime_of_a_plain_threads_scope_ends() {
    let runtime = Builder::new().workers(2).build().unwrap();
    let drops = Drops::default();
    let (started, running) = channel::bounded(2);
    std::thread::scope(|threads| {
        let (handle, drops) = (runtime.handle().clone(), &drops);
        let thread = threads.spawn(move || {
            let _entered = handle.enter();
            let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                scope(|s| {
                    let also_started = started.clone();
                    s.spawn(move || {
                        let _guard = drops.guard();
                        also_started.send(()).wait().unwrap();
                        never()
                    });
                    s.spawn_future(async move {
                        let _guard = drops.guard();
                        started.send(()).await.unwrap();
                        pending::<()>().await
                    });
                });
            }));
            // It can't return as if they had run.
            assert!(ended.is_err());
            drops.assert_all(2);
            // The runtime has ended: what comes now is cancelled at once.
            scope(|s| {
                let guard = drops.guard();
                let late = s.spawn(move || drop(guard));
                assert!(late.join().unwrap_err().is_cancelled());
            });
            drops.assert_all(3);
        });
        (0..2).for_each(|_| running.recv().wait().unwrap());
        drop(runtime);
        thread.join().unwrap();
    });
}

#[test]
fn a_blocking_call_opens_a_scope() {
    everywhere(|| {
        let drops = Drops::default();
        let counted = drops.clone();
        let call = unblock(move || {
            scope(|s| {
                let _left = s.spawn(|| drop(counted.guard()));
                s.spawn(|| counted.get().1 < 2).join().unwrap()
            })
        });
        assert!(call.join().unwrap());
        drops.assert_all(1);
    });
}

#[test]
fn a_destructor_opens_a_scope_while_its_stack_unwinds() {
    struct Scope<'a>(&'a Drops);
    impl Drop for Scope<'_> {
        fn drop(&mut self) {
            let local = 5;
            let sum: i32 = scope(|s| {
                let children: Vec<_> = (0..3)
                    .map(|_| {
                        s.spawn(|| {
                            let _guard = self.0.guard();
                            fiber::yield_now();
                            local
                        })
                    })
                    .collect();
                children.into_iter().map(|child| child.join().unwrap()).sum()
            });
            assert_eq!(sum, 15);
        }
    }
    everywhere(|| {
        for cancel in [false, true] {
            let drops = Drops::default();
            let (counted, (started, is_started)) = (drops.clone(), oneshot::channel());
            let fiber = fiber::spawn(move || {
                let _scope = Scope(&counted);
                started.send(()).unwrap();
                if cancel {
                    never();
                }
                panic!("on purpose");
            });
            is_started.wait().unwrap();
            if cancel {
                fiber.cancel();
            }
            let error: JoinError = fiber.join().map(|_: ()| ()).unwrap_err();
            assert_eq!(error.is_cancelled(), cancel);
            drops.assert_all(3);
        }
    });
}

#[test]
fn a_coroutine_dropped_in_the_middle_of_a_scope_ends_the_children() {
    everywhere(|| {
        let drops = Drops::default();
        let counted = drops.clone();
        let mut coroutine: Coroutine<(), (), ()> = Coroutine::new(move |suspender, ()| {
            let borrowed = String::from("on the coroutine's stack");
            scope(|s| {
                let guard = counted.guard();
                s.spawn(|| {
                    let _guard = guard;
                    assert_eq!(borrowed.len(), 24);
                    never()
                });
                suspender.suspend(());
                unreachable!("it is dropped here");
            })
        });
        coroutine.resume(());
        fiber::yield_now();
        drop(coroutine);
        drops.assert_all(1);
    });
}

#[test]
fn a_coroutine_suspended_in_a_scope_goes_on_later_on_another_stack() {
    everywhere(|| {
        let drops = Drops::default();
        let counted = drops.clone();
        let mut coroutine: Coroutine<(), (), usize> = Coroutine::new(move |suspender, ()| {
            let borrowed = [1usize, 2, 3];
            scope(|s| {
                let (go, gone) = oneshot::channel();
                let child = s.spawn(|| {
                    let _guard = counted.guard();
                    gone.wait().unwrap();
                    borrowed.iter().sum::<usize>()
                });
                suspender.suspend(());
                go.send(()).unwrap();
                child.join().unwrap()
            })
        });
        // Each poll of this task may stand on another stack, as another waits meanwhile.
        let sum = task::spawn_local(async move {
            coroutine.resume(());
            task::yield_now().await;
            fiber::spawn_local(fiber::yield_now).await.unwrap();
            match coroutine.resume(()) {
                bifilar_coroutine::CoroutineState::Returned(sum) => sum,
                other => panic!("{other:?}"),
            }
        });
        assert_eq!(sum.join().unwrap(), 6);
        drops.assert_all(1);
    });
}

#[test]
fn what_a_forgotten_coroutines_children_borrow_stays() {
    const PATTERN: [u64; 64] = [0x5a5a_1234_dead_beef; 64];
    for workers in [1, 2] {
        let drops = Drops::default();
        Builder::new().workers(workers).run(|| {
            let (ask, questions) = channel::bounded::<()>(1);
            let (answer, answers) = channel::bounded::<[u64; 64]>(1);
            let counted = drops.clone();
            let mut coroutine: Coroutine<(), (), ()> = Coroutine::new(move |suspender, ()| {
                let borrowed = PATTERN;
                scope(|s| {
                    let guard = counted.guard();
                    s.spawn(|| {
                        let _guard = guard;
                        while questions.recv().wait().is_ok() {
                            answer.send(borrowed).wait().unwrap();
                        }
                    });
                    suspender.suspend(());
                })
            });
            coroutine.resume(());
            std::mem::forget(coroutine);
            for _ in 0..100 {
                // Would reuse its stack, if anybody had given that back.
                let mut other: Coroutine<(), (), u64> =
                    Coroutine::new(|_, ()| std::hint::black_box([1u64; 512]).iter().sum());
                other.resume(());
                ask.send(()).wait().unwrap();
                assert_eq!(answers.recv().wait().unwrap(), PATTERN);
            }
        });
        // The runtime's end has cancelled the child.
        drops.assert_all(1);
    }
}

#[test]
fn the_body_may_be_shielded_from_the_deadline_around_it() {
    everywhere(|| {
        let drops = Drops::default();
        let result = with_deadline(SOON, || {
            let value = shield(|| {
                scope(|s| {
                    let child = s.spawn(|| {
                        let _guard = drops.guard();
                        bifilar::time::sleep(2 * SOON).wait();
                        "whole"
                    });
                    child.join().unwrap()
                })
            });
            assert_eq!(value, "whole");
            never()
        });
        assert!(result.is_err());
        drops.assert_all(1);
    });
}

#[test]
fn outside_of_a_runtime_only_spawning_panics() {
    assert_eq!(scope(|_| 1), 1);
    assert_eq!(try_scope(|_| Ok::<_, ()>(2)), Ok(2));
    let spawned = outcome(|| scope(|s| drop(s.spawn(|| ()))));
    assert!(spawned.unwrap_err().contains("outside of a bifilar runtime"));
}
