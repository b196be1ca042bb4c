//! What a drop does, in every phase of a coroutine's life.

mod child;

use std::{
    cell::RefCell,
    panic::{AssertUnwindSafe, catch_unwind, panic_any},
    process::exit,
    rc::Rc,
    thread,
};

use bifilar_coroutine::{Coroutine, CoroutineState::*, Generator, Suspender};
use child::Side;

/// Notes what happens, in order.
#[derive(Clone, Default)]
struct Log(Rc<RefCell<Vec<&'static str>>>);

/// Notes its name when it is dropped.
struct Note(Log, &'static str);

impl Log {
    fn add(&self, event: &'static str) {
        self.0.borrow_mut().push(event);
    }
    fn note(&self, name: &'static str) -> Note {
        Note(self.clone(), name)
    }
    fn take(&self) -> Vec<&'static str> {
        self.0.take()
    }
}

impl Drop for Note {
    fn drop(&mut self) {
        self.0.add(self.1);
    }
}

#[test]
fn a_suspended_coroutine_unwinds_once_in_order() {
    fn inner(log: &Log, suspender: &Suspender<(), ()>) {
        let _note = log.note("inner");
        suspender.suspend(());
        log.add("never");
    }
    let log = Log::default();
    let captured = log.note("captured");
    let in_body = log.clone();
    let mut coroutine: Coroutine<(), (), ()> = Coroutine::new(move |suspender, ()| {
        let _captured = captured;
        let _first = in_body.note("first");
        let _second = in_body.note("second");
        inner(&in_body, suspender);
    });
    assert_eq!(coroutine.resume(()), Yielded(()));
    assert!(log.take().is_empty());
    drop(coroutine);
    assert_eq!(log.take(), ["inner", "second", "first", "captured"]);
    assert!(!thread::panicking());
}

#[test]
fn a_body_never_started_is_dropped_not_called() {
    let log = Log::default();
    let captured = log.note("captured");
    let coroutine: Coroutine<(), (), ()> = Coroutine::new(move |_, ()| captured.0.add("called"));
    drop(coroutine);
    assert_eq!(log.take(), ["captured"]);
}

#[test]
fn a_large_body_never_started_is_dropped() {
    let log = Log::default();
    let captured = (log.note("captured"), [0u8; 50_000]);
    let coroutine: Coroutine<(), (), usize> = Coroutine::new(move |_, ()| {
        let captured = captured;
        captured.1.len()
    });
    drop(coroutine);
    assert_eq!(log.take(), ["captured"]);
}

#[test]
fn a_done_coroutine_has_nothing_left() {
    let log = Log::default();
    let captured = log.note("captured");
    let mut coroutine: Coroutine<(), (), Note> = Coroutine::new(move |_, ()| captured);
    let Returned(note) = coroutine.resume(()) else { panic!("returns") };
    drop(coroutine);
    assert!(log.take().is_empty());
    drop(note);
    assert_eq!(log.take(), ["captured"]);
}

#[test]
fn a_forced_unwind_calls_no_hook() {
    let mut coroutine: Coroutine<(), (), ()> = Coroutine::new(|suspender, ()| {
        suspender.suspend(());
    });
    coroutine.resume(());
    let id = thread::current().id();
    let (sender, receiver) = std::sync::mpsc::channel();
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |_| {
        let _ = sender.send(thread::current().id());
    }));
    drop(coroutine);
    std::panic::set_hook(hook);
    assert!(!receiver.try_iter().any(|at| at == id));
}

#[test]
fn catching_the_unwind_does_not_defeat_the_drop() {
    let log = Log::default();
    let in_body = log.clone();
    let mut coroutine: Coroutine<(), (), ()> = Coroutine::new(move |suspender, ()| {
        let _base = in_body.note("base");
        for _ in 0..3 {
            let caught = catch_unwind(AssertUnwindSafe(|| suspender.suspend(())));
            in_body.add(if caught.is_ok() { "resumed" } else { "caught" });
        }
        suspender.suspend(());
        in_body.add("never");
    });
    coroutine.resume(());
    coroutine.resume(());
    drop(coroutine);
    assert_eq!(log.take(), ["resumed", "caught", "caught", "base"]);
}

#[test]
fn a_body_that_catches_and_returns_is_done() {
    let log = Log::default();
    let in_body = log.clone();
    let mut coroutine: Coroutine<(), (), Note> = Coroutine::new(move |suspender, ()| {
        let _ = catch_unwind(AssertUnwindSafe(|| suspender.suspend(())));
        in_body.note("returned value")
    });
    coroutine.resume(());
    drop(coroutine);
    assert_eq!(log.take(), ["returned value"]);
}

#[test]
fn a_panic_of_its_own_during_the_drop_is_passed_on() {
    let mut coroutine: Coroutine<(), (), ()> = Coroutine::new(|suspender, ()| {
        let _ = catch_unwind(AssertUnwindSafe(|| suspender.suspend(())));
        panic_any("instead");
    });
    coroutine.resume(());
    let payload = catch_unwind(AssertUnwindSafe(|| drop(coroutine))).unwrap_err();
    assert_eq!(payload.downcast_ref(), Some(&"instead"));

    struct PanicOnDrop;
    impl Drop for PanicOnDrop {
        fn drop(&mut self) {
            panic_any("from the body's destructor");
        }
    }
    let captured = PanicOnDrop;
    let coroutine: Coroutine<(), (), ()> = Coroutine::new(move |_, ()| drop(captured));
    let payload = catch_unwind(AssertUnwindSafe(|| drop(coroutine))).unwrap_err();
    assert_eq!(payload.downcast_ref(), Some(&"from the body's destructor"));
    assert!(!thread::panicking());
}

#[test]
fn a_drop_while_the_resumer_unwinds_unwinds_as_well() {
    let log = Log::default();
    let in_body = log.clone();
    let result = catch_unwind(AssertUnwindSafe(move || {
        let mut coroutine: Coroutine<(), (), ()> = Coroutine::new(move |suspender, ()| {
            let _note = in_body.note("body");
            suspender.suspend(());
        });
        coroutine.resume(());
        panic_any(());
    }));
    assert!(result.is_err());
    assert_eq!(log.take(), ["body"]);
    assert!(!thread::panicking());
}

/// Suspends when dropped; says what came of it.
struct SuspendOnDrop<'a> {
    suspender: &'a Suspender<(), &'static str>,
    catch: bool,
}

impl Drop for SuspendOnDrop<'_> {
    fn drop(&mut self) {
        let suspend = || self.suspender.suspend("from a destructor");
        if self.catch {
            let _ = catch_unwind(AssertUnwindSafe(suspend));
        } else {
            suspend();
        }
    }
}

#[test]
fn destructors_may_suspend_while_a_panic_unwinds() {
    let mut coroutine: Coroutine<(), &str, ()> = Coroutine::new(|suspender, ()| {
        let _a = SuspendOnDrop { suspender, catch: false };
        let _b = SuspendOnDrop { suspender, catch: false };
        panic_any(3);
    });
    assert_eq!(coroutine.resume(()), Yielded("from a destructor"));
    assert_eq!(coroutine.resume(()), Yielded("from a destructor"));
    let payload = catch_unwind(AssertUnwindSafe(|| coroutine.resume(()))).unwrap_err();
    assert_eq!(payload.downcast_ref(), Some(&3));
    assert!(!thread::panicking());
}

#[test]
fn a_destructor_that_catches_survives_the_drop() {
    let log = Log::default();
    let in_body = log.clone();
    let mut coroutine: Coroutine<(), &str, ()> = Coroutine::new(move |suspender, ()| {
        let _note = in_body.note("last");
        let _guard = SuspendOnDrop { suspender, catch: true };
        suspender.suspend("from the body");
    });
    coroutine.resume(());
    drop(coroutine);
    assert_eq!(log.take(), ["last"]);
    assert!(!thread::panicking());
}

#[test]
fn a_destructor_that_does_not_catch_aborts() {
    let case = match child::side() {
        Side::Child(case) => case,
        Side::Parent => {
            for case in ["during the drop", "dropped while a panic unwinds"] {
                let output = child::run("a_destructor_that_does_not_catch_aborts", case);
                let error = String::from_utf8_lossy(&output.stderr);
                assert!(error.contains("in a destructor during cleanup"), "{case}: {error}");
                assert!(!output.status.success(), "{case}");
            }
            return;
        }
    };
    let mut coroutine: Coroutine<(), &str, ()> = Coroutine::new(move |suspender, ()| {
        let _guard = SuspendOnDrop { suspender, catch: false };
        if case == "during the drop" {
            suspender.suspend("from the body");
        }
        panic_any(());
    });
    coroutine.resume(());
    drop(coroutine);
    exit(0);
}

#[test]
fn forgetting_leaks_and_nothing_else() {
    let log = Log::default();
    for _ in 0..100 {
        let in_body = log.clone();
        let mut coroutine: Coroutine<(), (), ()> = Coroutine::new(move |suspender, ()| {
            let _note = in_body.note("never");
            suspender.suspend(());
        });
        coroutine.resume(());
        std::mem::forget(coroutine);
    }
    assert!(log.take().is_empty());
    assert!(Generator::new(|output| (0..100).for_each(|n| output.suspend(n))).eq(0..100));
}
