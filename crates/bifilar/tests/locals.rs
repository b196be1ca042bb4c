//! Task-locals: who sees which value, across suspensions, moves and spawns.

use bifilar::{Builder, Wait, fiber, sync::channel, task, unblock};
use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

static A: task::Local<u32> = task::Local::new();
static B: task::Local<u32> = task::Local::new();

fn seen() -> (Option<u32>, Option<u32>) {
    (A.get().as_deref().copied(), B.get().as_deref().copied())
}

fn on_each<R>(f: impl Fn() -> R) {
    for workers in [1, 2, 4] {
        Builder::new().workers(workers).run(&f);
    }
}

#[test]
fn the_innermost_binding_counts_and_ends() {
    on_each(|| {
        assert_eq!(seen(), (None, None));
        A.bind(1, || {
            assert_eq!(seen(), (Some(1), None));
            B.bind(2, || A.bind(3, || assert_eq!(seen(), (Some(3), Some(2)))));
            assert_eq!(seen(), (Some(1), None));
        });
        let panicked = std::panic::catch_unwind(|| A.bind(4, || panic!("out")));
        assert!(panicked.is_err());
        assert_eq!(seen(), (None, None));
    });
    assert_eq!(seen(), (None, None));
    // Outside of a runtime as well.
    A.bind(5, || assert_eq!(seen(), (Some(5), None)));
}

#[test]
fn values_stay_with_their_task_when_it_is_suspended() {
    on_each(|| {
        let tasks: Vec<_> = (0..100u32)
            .map(|i| {
                let check = move || assert_eq!(seen(), (Some(i), None));
                if i % 2 == 0 {
                    fiber::spawn(move || {
                        A.bind(i, || {
                            for _ in 0..20 {
                                check();
                                fiber::yield_now();
                            }
                        });
                    })
                } else {
                    task::spawn(A.bind_future(i, async move {
                        for round in 0..20 {
                            check();
                            // Moves between workers here, and stands on a stack there.
                            if round % 3 == 0 {
                                async {
                                    task::yield_now().await;
                                    check();
                                }
                                .wait();
                            } else {
                                task::yield_now().await;
                            }
                        }
                    }))
                }
            })
            .collect();
        for task in tasks {
            task.join().unwrap();
        }
        assert_eq!(seen(), (None, None));
    });
}

#[test]
fn children_inherit_what_is_bound_where_they_are_spawned() {
    on_each(|| {
        let (go, wait) = channel::unbounded::<()>();
        let children = A.bind(1, || {
            let (first, second) = (wait.clone(), wait.clone());
            let fiber = fiber::spawn(move || (first.recv().wait().is_err(), seen()));
            let task = task::spawn(async move { (second.recv().await.is_err(), seen()) });
            let call = unblock(move || (wait.recv().wait().is_err(), seen()));
            let grandchild = fiber::spawn(|| B.bind(2, || fiber::spawn(seen)).join().unwrap());
            let scoped = bifilar::scope(|s| s.spawn(seen).join().unwrap());
            assert_eq!(grandchild.join().unwrap(), (Some(1), Some(2)));
            assert_eq!(scoped, (Some(1), None));
            [fiber, task, call]
        });
        // Their values outlive the binding.
        assert_eq!(fiber::spawn(seen).join().unwrap(), (None, None));
        drop(go);
        for child in children {
            assert_eq!(child.join().unwrap(), (true, (Some(1), None)));
        }
    });
}

#[test]
fn a_value_is_dropped_with_the_last_who_can_get_it() {
    static COUNTED: task::Local<Counted> = task::Local::new();
    struct Counted(Arc<AtomicUsize>);
    impl Drop for Counted {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
    on_each(|| {
        let dropped = Arc::new(AtomicUsize::new(0));
        let (go, wait) = channel::unbounded::<()>();
        let value = Counted(dropped.clone());
        let child = COUNTED.bind(value, || {
            fiber::spawn(move || {
                let _ = wait.recv().wait();
                COUNTED.get().is_some()
            })
        });
        assert_eq!(dropped.load(Ordering::Relaxed), 0);
        drop(go);
        assert!(child.join().unwrap());
        // The cell goes when the worker lets go of it, a moment after the join.
        while dropped.load(Ordering::Relaxed) == 0 {
            fiber::yield_now();
        }
        assert_eq!(dropped.load(Ordering::Relaxed), 1);
    });
}

/// What a value's destructor does, and what must not come of it.
#[test]
fn destructors_of_values_may_panic_and_wait() {
    static VALUE: task::Local<Rude> = task::Local::new();
    struct Rude {
        panics: bool,
        dropped: Arc<AtomicUsize>,
    }
    impl Drop for Rude {
        fn drop(&mut self) {
            fiber::yield_now();
            bifilar::time::sleep(std::time::Duration::from_millis(1)).wait();
            // It still belongs to its task.
            assert!(task::try_current().is_some());
            self.dropped.fetch_add(1, Ordering::Relaxed);
            if self.panics {
                std::panic::resume_unwind(Box::new("expected"));
            }
        }
    }
    for panics in [false, true] {
        on_each(|| {
            let dropped = Arc::new(AtomicUsize::new(0));
            let bind = |body: fn()| {
                VALUE.bind(Rude { panics, dropped: dropped.clone() }, || {
                    [
                        fiber::spawn(body),
                        task::spawn(async move { body() }),
                        unblock(body),
                        task::spawn(std::future::pending()),
                    ]
                })
            };
            for (round, body) in [(|| ()) as fn(), || fiber::yield_now()].into_iter().enumerate() {
                // The last child ends when the others have; it has the value to itself then.
                let [fiber, flat, call, last] = bind(body);
                for child in [fiber, flat, call] {
                    child.join().unwrap();
                }
                last.cancel();
                let error = last.join().unwrap_err();
                assert_eq!(error.is_panic(), panics, "{error}");
                assert_eq!(dropped.load(Ordering::Relaxed), round + 1);
            }
        });
    }
}

/// The cells of children that have ended may be freed by whoever cancels the scope.
#[test]
fn a_scope_outlives_its_children_whatever_their_values_do() {
    static VALUE: task::Local<Panics> = task::Local::new();
    struct Panics;
    impl Drop for Panics {
        fn drop(&mut self) {
            if !std::thread::panicking() {
                std::panic::resume_unwind(Box::new("expected"));
            }
        }
    }
    for round in 0..200 {
        Builder::new().workers(2).run(|| {
            let running = AtomicUsize::new(0);
            let scoped = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                bifilar::scope(|s| {
                    for i in 0..8 {
                        running.fetch_add(1, Ordering::Relaxed);
                        let running = &running;
                        let child = move || {
                            s.spawn(move || {
                                for _ in 0..i {
                                    fiber::yield_now();
                                }
                                running.fetch_sub(1, Ordering::Relaxed);
                            });
                        };
                        // The value ends with the child.
                        let bound = std::panic::AssertUnwindSafe(|| VALUE.bind(Panics, child));
                        let _ = std::panic::catch_unwind(bound);
                    }
                    if round % 2 == 0 {
                        std::panic::resume_unwind(Box::new("out"));
                    }
                });
            }));
            // Cancelled children may never have begun; the others have ended.
            let _ = scoped;
            let left = running.load(Ordering::Relaxed);
            fiber::yield_now();
            assert_eq!(running.load(Ordering::Relaxed), left);
        });
    }
}
