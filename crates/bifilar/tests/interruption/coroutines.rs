//! Regions around coroutines, and in them: they may be left in the middle, finished elsewhere, or forgotten.

use super::*;

#[test]
fn a_region_around_a_generator_holds_in_it() {
    everywhere(|| {
        let drops = Drops::default();
        let result = with_deadline(SOON, || {
            Generator::scope(
                |output| {
                    let _guard = drops.guard();
                    output.suspend(1);
                    never();
                },
                |values| {
                    let _guard = drops.guard();
                    values.count()
                },
            )
        });
        assert!(result.is_err());
        drops.assert_all(2);
    });
}

/// How a region that was begun in the body of a coroutine may come to its end.
#[derive(Clone, Copy, Debug)]
enum Ends {
    InPlace,
    OnAnotherStack,
    Dropped,
    DroppedOnAnotherStack,
    Forgotten,
}

const ENDS: [Ends; 5] = [
    Ends::InPlace,
    Ends::OnAnotherStack,
    Ends::Dropped,
    Ends::DroppedOnAnotherStack,
    Ends::Forgotten,
];

/// A coroutine in the middle of three regions, one of them a shield.
fn in_regions(drops: &Drops) -> Coroutine<(), (), &'static str> {
    let drops = drops.clone();
    let mut coroutine =
        Coroutine::new(move |suspender: &bifilar_coroutine::Suspender<(), ()>, ()| {
            let _guard = drops.guard();
            with_deadline_at(Instant::now(), || {
                shield(|| {
                    with_deadline_at(Instant::now(), || {
                        suspender.suspend(());
                        // Passed over: made on the stack of a coroutine.
                        fiber::sleep(SOON / 2);
                        "whole"
                    })
                    .unwrap()
                })
            })
            .unwrap()
        });
    assert_eq!(coroutine.resume(()), CoroutineState::Yielded(()));
    coroutine
}

#[test]
fn regions_in_coroutines_are_in_nobodys_way() {
    everywhere(|| {
        for ends in ENDS {
            let drops = Drops::default();
            let counted = drops.clone();
            let task = task::spawn_local(async move {
                // Older and newer regions on the same stack, which wait meanwhile.
                let mut coroutine = until(pending::<()>(), || {
                    let coroutine = in_regions(&counted);
                    assert!(with_deadline(SOON / 2, never).is_err(), "not shielded");
                    coroutine
                })
                .unwrap();
                match ends {
                    Ends::InPlace | Ends::Dropped | Ends::Forgotten => {}
                    Ends::OnAnotherStack | Ends::DroppedOnAnotherStack => {
                        // Whoever waits takes the stack of the first poll along.
                        let waits = fiber::spawn_local(|| fiber::sleep(SOON));
                        task::yield_now().await;
                        drop(waits);
                    }
                }
                match ends {
                    Ends::InPlace | Ends::OnAnotherStack => {
                        assert_eq!(coroutine.resume(()), CoroutineState::Returned("whole"));
                    }
                    Ends::Dropped | Ends::DroppedOnAnotherStack => drop(coroutine),
                    Ends::Forgotten => std::mem::forget(coroutine),
                }
                with_deadline(SOON / 2, never).is_err()
            });
            assert!(task.join().unwrap(), "{ends:?}");
            let dropped = if matches!(ends, Ends::Forgotten) { 0 } else { 1 };
            assert_eq!(drops.get(), (1, dropped), "{ends:?}");
        }
    });
}

/// A stack goes from task to task, and what one has left in its list is nothing to the next.
#[test]
fn a_shield_in_a_forgotten_coroutine_is_not_the_next_tasks() {
    Builder::new().workers(1).run(|| {
        let drops = Drops::default();
        let counted = drops.clone();
        fiber::spawn(move || std::mem::forget(in_regions(&counted))).join().unwrap();
        for _ in 0..4 {
            let fiber = fiber::spawn(|| {
                let mut coroutine: Coroutine<(), (), ()> = Coroutine::new(|_, ()| never());
                coroutine.resume(());
            });
            fiber::yield_now();
            fiber.cancel();
            assert!(fiber.join().unwrap_err().is_cancelled());
        }
    });
}

/// Stacks go from thread to thread through a pool. What a coroutine has left in the list of one must
/// not go along: its thread may still end it. (A thread sanitizer sees more of this than the test.)
#[test]
fn regions_do_not_go_to_other_threads() {
    std::thread::scope(|threads| {
        for _ in 0..4 {
            threads.spawn(|| {
                let drops = Drops::default();
                for _ in 0..200 {
                    let coroutine =
                        Builder::new().build_local().unwrap().run(|| in_regions(&drops));
                    // The stack may now be another thread's.
                    Builder::new().build_local().unwrap().run(|| {
                        assert!(with_deadline_at(Instant::now(), never).is_err());
                    });
                    drop(coroutine);
                }
                drops.assert_all(200);
            });
        }
    });
}
