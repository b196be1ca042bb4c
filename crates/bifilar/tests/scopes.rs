//! Scopes: whatever happens, the call doesn't return before everything of its children is gone.

mod drops;

use bifilar::{
    Builder, JoinError, Runtime, Wait, fiber, scope, shield,
    sync::{channel, oneshot},
    task,
    time::with_deadline,
    try_scope, unblock,
};
use bifilar_coroutine::Coroutine;
use drops::Drops;
use std::{
    future::pending,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

const SOON: Duration = Duration::from_millis(2);

/// On the thread's own worker alone, and with others.
fn everywhere(f: impl Fn()) {
    Builder::new().build_local().unwrap().run(&f);
    for workers in [1, 2, 4] {
        Builder::new().workers(workers).run(&f);
    }
}

fn never() {
    pending::<()>().wait()
}

fn message(payload: Box<dyn std::any::Any + Send>) -> String {
    match payload.downcast::<String>() {
        Ok(text) => *text,
        Err(payload) => payload.downcast::<&str>().expect("a message").to_string(),
    }
}

/// The outcome of a call, a panic's message for an error.
fn outcome<T>(f: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(f)).map_err(message)
}

#[test]
fn children_borrow_and_give_results() {
    everywhere(|| {
        let words = ["any", "task", "may", "block"].map(String::from);
        let mut longest = String::new();
        let drops = Drops::default();
        let total = scope(|s| {
            s.spawn(|| longest = words.iter().max_by_key(|word| word.len()).unwrap().clone());
            let lengths: Vec<_> = words
                .iter()
                .map(|word| {
                    let guard = drops.guard();
                    s.spawn(move || {
                        let _guard = guard;
                        fiber::yield_now();
                        word.len()
                    })
                })
                .collect();
            let first = s.spawn_future(async {
                let _guard = drops.guard();
                task::yield_now().await;
                &words[0]
            });
            assert_eq!(first.join().unwrap(), "any");
            lengths.into_iter().map(|length| length.join().unwrap()).sum::<usize>()
        });
        assert_eq!((total, longest.as_str()), (15, "block"));
        drops.assert_all(5);
    });
}

#[test]
fn children_spawn_siblings() {
    fn tree<'scope>(
        s: &'scope bifilar::Scope<'scope, '_>,
        leaves: &'scope AtomicUsize,
        depth: u32,
    ) {
        if depth == 0 {
            leaves.fetch_add(1, SeqCst);
            return;
        }
        s.spawn(move || tree(s, leaves, depth - 1));
        s.spawn_future(async move { tree(s, leaves, depth - 1) });
    }
    everywhere(|| {
        let leaves = AtomicUsize::new(0);
        scope(|s| tree(s, &leaves, 8));
        assert_eq!(leaves.into_inner(), 256);
    });
}

#[test]
fn ten_thousand_children() {
    for workers in [1, 2] {
        Builder::new().workers(workers).run(|| {
            let (drops, sum) = (Drops::default(), AtomicUsize::new(0));
            scope(|s| {
                for i in 0..5_000 {
                    let (drops, sum) = (&drops, &sum);
                    s.spawn(move || {
                        let _guard = drops.guard();
                        fiber::yield_now();
                        sum.fetch_add(i, SeqCst);
                    });
                    s.spawn_future(async move {
                        let _guard = drops.guard();
                        task::yield_now().await;
                        sum.fetch_add(i, SeqCst);
                    });
                }
            });
            assert_eq!(sum.load(SeqCst), 4_999 * 5_000);
            drops.assert_all(10_000);
        });
    }
}

#[test]
fn ten_thousand_children_are_cancelled() {
    for workers in [1, 2] {
        Builder::new().workers(workers).run(|| {
            let drops = Drops::default();
            scope(|s| {
                for _ in 0..5_000 {
                    let guard = drops.guard();
                    s.spawn(move || {
                        let _guard = guard;
                        never()
                    });
                    let guard = drops.guard();
                    s.spawn_future(async move {
                        let _guard = guard;
                        pending::<()>().await
                    });
                }
                fiber::yield_now();
                s.cancel();
            });
            drops.assert_all(10_000);
        });
    }
}

/// How the code that opened a scope may be made to leave it.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Leaves {
    Panic,
    CancelInBody,
    CancelAtEnd,
    DeadlineInBody,
    DeadlineAtEnd,
    Shutdown,
}

/// Opens a scope whose children would never end, and leaves it in the given way. `entered` is told
/// when the children run, `after` how many guards were left when the scope was.
fn parent(
    leaves: Leaves,
    drops: &Drops,
    entered: oneshot::Sender<()>,
    after: &AtomicUsize,
) -> Result<(), bifilar::time::Elapsed> {
    /// Notes how things are when the scope has been left.
    struct Note<'a>(&'a Drops, &'a AtomicUsize);
    impl Drop for Note<'_> {
        fn drop(&mut self) {
            let (made, dropped) = self.0.get();
            self.1.store(made - dropped, SeqCst);
        }
    }
    struct Sends(Option<oneshot::Sender<()>>);
    impl Drop for Sends {
        fn drop(&mut self) {
            let _ = self.0.take().unwrap().send(());
        }
    }
    let _note = Note(drops, after);
    let body = || {
        scope(|s| {
            let _last = Sends(Some(entered));
            let (started, running) = channel::bounded(3);
            for i in 0..2 {
                let (guard, started) = (drops.guard(), started.clone());
                s.spawn(move || {
                    let _guard = guard;
                    started.send(i).wait().unwrap();
                    never()
                });
            }
            let guard = drops.guard();
            s.spawn_future(async move {
                let _guard = guard;
                started.send(2).await.unwrap();
                pending::<()>().await
            });
            assert_eq!((0..3).map(|_| running.recv().wait().unwrap()).sum::<u32>(), 3);
            match leaves {
                Leaves::Panic => panic!("the body's own"),
                Leaves::CancelInBody => {
                    drop(_last);
                    never()
                }
                Leaves::DeadlineInBody => never(),
                _ => {}
            }
        })
    };
    match leaves {
        Leaves::DeadlineInBody | Leaves::DeadlineAtEnd => with_deadline(SOON, body),
        _ => {
            body();
            Ok(())
        }
    }
}

#[test]
fn however_the_parent_leaves_its_children_have_ended() {
    use Leaves::*;
    for workers in [1, 2, 4] {
        for leaves in [Panic, CancelInBody, CancelAtEnd, DeadlineInBody, DeadlineAtEnd, Shutdown] {
            for in_a_future in [false, true] {
                let row = format!("{leaves:?}, {workers} workers, in a future: {in_a_future}");
                let runtime = Builder::new().workers(workers).build().unwrap();
                let (drops, after) = (Drops::default(), Arc::new(AtomicUsize::new(99)));
                let (entered, is_entered) = oneshot::channel();
                let run = {
                    let (drops, after) = (drops.clone(), after.clone());
                    move || parent(leaves, &drops, entered, &after)
                };
                let parent = if in_a_future {
                    runtime.spawn(async move { run() })
                } else {
                    runtime.spawn_fiber(run)
                };
                is_entered.wait().unwrap();
                match leaves {
                    CancelInBody | CancelAtEnd => parent.cancel(),
                    Shutdown => drop(runtime),
                    _ => {}
                }
                match (leaves, parent.join()) {
                    (Panic, Err(error)) => {
                        assert_eq!(message(error.into_panic()), "the body's own")
                    }
                    (CancelInBody | CancelAtEnd | Shutdown, Err(error)) => {
                        assert!(error.is_cancelled(), "{row}")
                    }
                    (DeadlineInBody | DeadlineAtEnd, Ok(Err(_elapsed))) => {}
                    // Its children may have ended before it came to the end.
                    (Shutdown, Ok(Ok(()))) => {}
                    (_, other) => panic!("{row}: {other:?}"),
                }
                assert_eq!(after.load(SeqCst), 0, "{row}");
                drops.assert_all(3);
            }
        }
    }
}

#[test]
fn a_child_that_is_cancelled_is_nobody_elses_business() {
    everywhere(|| {
        let drops = Drops::default();
        let sum = scope(|s| {
            let fiber = s.spawn(|| {
                let _guard = drops.guard();
                never()
            });
            let future = s.spawn_future(async {
                let _guard = drops.guard();
                pending::<()>().await
            });
            let other = s.spawn(|| 1);
            fiber::yield_now();
            fiber.cancel();
            future.task().cancel();
            assert!(fiber.join().unwrap_err().is_cancelled());
            assert!(future.join().unwrap_err().is_cancelled());
            other.join().unwrap()
        });
        assert_eq!(sum, 1);
        let (made, dropped) = drops.get();
        assert_eq!(made, dropped);
    });
}

/// A value whose destructor panics.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("a bomb");
    }
}

#[test]
fn a_childs_panic_is_told_to_who_joins_or_else_to_the_scope() {
    type Child = for<'s> fn(&'s bifilar::Scope<'s, '_>) -> bifilar::ScopedJoinHandle<'s, ()>;
    let children: [(&str, Child); 4] = [
        ("fiber", |s| s.spawn(|| panic!("a child's"))),
        ("future", |s| s.spawn_future(async { panic!("a child's") })),
        ("destructor of a fiber", |s| {
            s.spawn(|| {
                let _bomb = Bomb;
            })
        }),
        ("destructor of a future that is dropped", |s| {
            let (started, is_started) = oneshot::channel();
            let child = s.spawn_future(async move {
                let _bomb = Bomb;
                started.send(()).unwrap();
                pending::<()>().await
            });
            is_started.wait().unwrap();
            child.cancel();
            child
        }),
    ];
    everywhere(|| {
        for (name, child) in children {
            let told = outcome(|| {
                scope(|s| {
                    let error = child(s).join().unwrap_err();
                    assert!(error.is_panic(), "{name}");
                })
            });
            assert_eq!(told, Ok(()), "{name}, joined");

            let drops = Drops::default();
            for forget in [false, true] {
                let unheard = outcome(|| {
                    scope(|s| {
                        let handle = child(s);
                        if forget {
                            std::mem::forget(handle);
                        }
                        s.spawn(|| {
                            let _guard = drops.guard();
                            fiber::yield_now();
                        });
                    })
                });
                let expected = Err(String::from("a scoped task panicked"));
                assert_eq!(unheard, expected, "{name}, handle forgotten: {forget}");
            }
            drops.assert_all(2);
        }
    });
}

#[test]
fn a_forgotten_handle_keeps_nobody() {
    everywhere(|| {
        let drops = Drops::default();
        scope(|s| {
            std::mem::forget(s.spawn(|| {
                let _guard = drops.guard();
                fiber::yield_now();
            }));
        });
        drops.assert_all(1);
    });
}

#[test]
fn an_output_that_borrows_is_gone_before_the_scope_is() {
    everywhere(|| {
        let drops = Drops::default();
        let counts = scope(|s| {
            // Never looked at, dropped before its child ends, kept to the end of the body.
            s.spawn(|| drops.guard());
            drop(s.spawn_future(async { drops.guard() }));
            let kept = s.spawn(|| drops.guard());
            let joined = s.spawn(|| drops.guard()).join().unwrap();
            while !kept.is_finished() {
                fiber::yield_now();
            }
            let seen = drops.get();
            drop(joined);
            seen
        });
        assert!(counts.1 < counts.0);
        drops.assert_all(4);
    });
}

#[test]
fn destructors_of_cancelled_children_may_wait() {
    struct Meet<'a>(&'a channel::Sender<u8>, &'a channel::Receiver<u8>, &'a Drops);
    impl Drop for Meet<'_> {
        fn drop(&mut self) {
            let _guard = self.2.guard();
            // Each waits for the other's destructor.
            self.0.send(0).wait().unwrap();
            self.1.recv().wait().unwrap();
        }
    }
    everywhere(|| {
        let (to_a, a) = channel::bounded(1);
        let (to_b, b) = channel::bounded(1);
        let drops = Drops::default();
        scope(|s| {
            let (started, running) = channel::bounded(2);
            let (drops, to_a, a, to_b, b) = (&drops, &to_a, &a, &to_b, &b);
            let also_started = started.clone();
            s.spawn(move || {
                let _meet = Meet(to_b, a, drops);
                also_started.send(()).wait().unwrap();
                never()
            });
            s.spawn_future(async move {
                let _meet = Meet(to_a, b, drops);
                started.send(()).await.unwrap();
                pending::<()>().await
            });
            (0..2).for_each(|_| running.recv().wait().unwrap());
            s.cancel();
        });
        drops.assert_all(2);
    });
}

#[test]
fn what_is_spawned_into_a_cancelled_scope_is_cancelled() {
    everywhere(|| {
        let drops = Drops::default();
        let ran = AtomicBool::new(false);
        scope(|s| {
            s.cancel();
            let (guard, ran) = (drops.guard(), &ran);
            let fiber = s.spawn(move || {
                let _guard = guard;
                never();
                ran.store(true, SeqCst);
            });
            let guard = drops.guard();
            let future = s.spawn_future(async move {
                let _guard = guard;
                pending::<()>().await;
                ran.store(true, SeqCst);
            });
            assert!(fiber.join().unwrap_err().is_cancelled());
            assert!(future.join().unwrap_err().is_cancelled());
        });
        assert!(!ran.load(SeqCst));
        drops.assert_all(2);
    });
}

#[test]
fn three_deep() {
    everywhere(|| {
        let (drops, leaves) = (Drops::default(), AtomicUsize::new(0));
        let text = String::from("outermost");
        scope(|a| {
            for _ in 0..4 {
                a.spawn(|| {
                    let middle = text.len();
                    scope(|b| {
                        for _ in 0..4 {
                            b.spawn(|| {
                                let inner = middle + 1;
                                scope(|c| {
                                    for _ in 0..4 {
                                        c.spawn_future(async {
                                            let _guard = drops.guard();
                                            task::yield_now().await;
                                            leaves.fetch_add(inner + text.len(), SeqCst);
                                        });
                                    }
                                });
                            });
                        }
                    });
                });
            }
        });
        assert_eq!(leaves.load(SeqCst), 64 * (10 + 9));
        drops.assert_all(64);
    });
}

#[test]
fn three_deep_is_cancelled_from_the_top() {
    everywhere(|| {
        let drops = Drops::default();
        let (started, running) = channel::unbounded();
        let cancelled = with_deadline(Duration::from_secs(60), || {
            scope(|a| {
                let (drops, started) = (&drops, &started);
                for _ in 0..2 {
                    a.spawn(move || {
                        let _guard = drops.guard();
                        scope(|b| {
                            for _ in 0..2 {
                                b.spawn(move || {
                                    let _guard = drops.guard();
                                    scope(|c| {
                                        c.spawn(|| {
                                            let _guard = drops.guard();
                                            started.try_send(()).unwrap();
                                            never()
                                        });
                                    });
                                });
                            }
                        });
                    });
                }
                (0..4).for_each(|_| running.recv().wait().unwrap());
                a.cancel();
            })
        });
        assert!(cancelled.is_ok());
        drops.assert_all(2 + 4 + 4);
    });
}

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

#[test]
fn the_first_error_wins_and_the_rest_is_ended() {
    everywhere(|| {
        for rest_fails in [false, true] {
            let drops = Drops::default();
            let result: Result<(), String> = try_scope(|s| {
                let _body = drops.guard();
                for _ in 0..3 {
                    let guard = drops.guard();
                    s.spawn(move || {
                        let _guard = guard;
                        match catch_unwind(never) {
                            Err(_) if rest_fails => Err(String::from("a later one")),
                            Err(payload) => std::panic::resume_unwind(payload),
                            Ok(()) => Ok(()),
                        }
                    });
                    let guard = drops.guard();
                    s.spawn_future(async move {
                        let _guard = guard;
                        pending::<Result<(), String>>().await
                    });
                }
                fiber::yield_now();
                s.spawn(|| Err::<(), _>(String::from("the first")));
                never();
                unreachable!("the body is interrupted");
            });
            assert_eq!(result, Err(String::from("the first")));
            drops.assert_all(7);
        }
    });
}

#[test]
fn an_error_of_the_body_ends_the_children() {
    everywhere(|| {
        let (drops, text) = (Drops::default(), String::from("borrowed"));
        let result: Result<(), &str> = try_scope(|s| {
            let guard = drops.guard();
            s.spawn(move || {
                let _guard = guard;
                never();
                Ok(())
            });
            fiber::yield_now();
            Err(text.as_str())
        });
        assert_eq!(result, Err("borrowed"));
        drops.assert_all(1);
    });
}

#[test]
fn a_late_error_is_dropped_before_the_scope_ends() {
    struct Error<'a> {
        _guard: drops::Guard<'a>,
    }
    everywhere(|| {
        let drops = Drops::default();
        let result: Result<(), Error<'_>> = try_scope(|s| {
            for _ in 0..10 {
                s.spawn(|| {
                    fiber::yield_now();
                    Err::<(), _>(Error { _guard: drops.guard() })
                });
            }
            Ok(())
        });
        assert!(result.is_err());
        let (made, dropped) = drops.get();
        assert_eq!(made - dropped, 1, "only the first is left");
        drop(result);
        assert_eq!(drops.get(), (made, made));
    });
}

#[test]
fn success_gives_the_bodys_value_and_the_childrens() {
    everywhere(|| {
        let numbers = ["1", "2", "3"];
        let sum: Result<i32, std::num::ParseIntError> = try_scope(|s| {
            let parsed: Vec<_> =
                numbers.iter().map(|number| s.spawn(|| number.parse::<i32>())).collect();
            Ok(parsed.into_iter().map(|child| child.join().unwrap().unwrap()).sum())
        });
        assert_eq!(sum, Ok(6));
        // A failed child's handle gives nothing: its error is the scope's.
        let failed: Result<(), i32> = try_scope(|s| {
            let child = s.spawn(|| Err::<(), _>(7));
            assert!(matches!(child.join(), Ok(None)));
            Ok(())
        });
        assert_eq!(failed, Err(7));
    });
}

#[test]
fn a_panic_of_a_child_ends_a_try_scope() {
    everywhere(|| {
        for join in [false, true] {
            let drops = Drops::default();
            let result = outcome(|| {
                try_scope(|s| {
                    let guard = drops.guard();
                    s.spawn(move || {
                        let _guard = guard;
                        never();
                        Ok::<_, ()>(())
                    });
                    let child = s.spawn(|| -> Result<(), ()> { panic!("a child's") });
                    if join {
                        // It may come to this, or be interrupted first.
                        assert!(child.join().unwrap_err().is_panic());
                    }
                    never();
                    Ok(())
                })
            });
            assert_eq!(result, Err(String::from("a scoped task panicked")));
            drops.assert_all(1);
        }
    });
}

#[test]
fn a_cancelled_parent_of_a_try_scope_is_cancelled() {
    let runtime = Runtime::new().unwrap();
    let drops = Drops::default();
    let counted = drops.clone();
    let (started, is_started) = oneshot::channel();
    let parent = runtime.spawn_fiber(move || {
        try_scope(|s| {
            let guard = counted.guard();
            s.spawn(move || {
                let _guard = guard;
                started.send(()).unwrap();
                never();
                Ok::<_, ()>(())
            });
            Ok(())
        })
    });
    is_started.wait().unwrap();
    parent.cancel();
    assert!(parent.join().unwrap_err().is_cancelled());
    drops.assert_all(1);
}
