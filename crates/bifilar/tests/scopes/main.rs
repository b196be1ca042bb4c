//! Scopes: whatever happens, the call doesn't return before everything of its children is gone. Here
//! are the children and how the scope is left; `places` has where it is opened, `errors` is `try_scope`.

#[path = "../drops/mod.rs"]
mod drops;
mod errors;
mod places;

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
