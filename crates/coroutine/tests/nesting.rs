//! Coroutines inside coroutines, and suspending an outer one from within.

use std::{
    cell::RefCell,
    panic::{AssertUnwindSafe, catch_unwind, panic_any},
    rc::Rc,
};

use bifilar_coroutine::{Coroutine, CoroutineState::*, Generator, Suspender};

/// `depth` coroutines, each resumed by the one around it.
fn nested(depth: u32) -> Coroutine<u32, u32, u32> {
    Coroutine::new(move |suspender, mut value| {
        if depth == 0 {
            return value;
        }
        let mut inner = nested(depth - 1);
        loop {
            match inner.resume(value) {
                Yielded(value_out) => value = suspender.suspend(value_out),
                Returned(value) => break suspender.suspend(value) + 1,
            }
        }
    })
}

#[test]
fn deep_nesting() {
    const DEPTH: u32 = 200;
    let mut coroutine = nested(DEPTH);
    let mut value = 0;
    let mut resumptions = 0;
    let last = loop {
        resumptions += 1;
        match coroutine.resume(value) {
            Yielded(out) => value = out,
            Returned(last) => break last,
        }
    };
    assert_eq!((last, resumptions), (DEPTH, DEPTH + 1));
}

#[test]
fn nested_panics_travel_to_the_outermost() {
    let mut outer: Coroutine<(), (), ()> = Coroutine::new(|_, ()| {
        let mut middle: Coroutine<(), (), ()> = Coroutine::new(|_, ()| {
            let mut inner: Coroutine<(), (), ()> = Coroutine::new(|_, ()| panic_any("deep"));
            inner.resume(());
        });
        middle.resume(());
    });
    let payload = catch_unwind(AssertUnwindSafe(|| outer.resume(()))).unwrap_err();
    assert_eq!(payload.downcast_ref(), Some(&"deep"));
}

/// A generator inside a generator, whose body suspends the outer one: both stand still.
fn outer_from_within(log: Rc<RefCell<Vec<String>>>) -> Generator<u32> {
    Generator::new(move |outer| {
        let inner_sum: u32 = Generator::scope(
            |inner: &Suspender<(), u32>| {
                for n in 1..=3 {
                    outer.suspend(n * 100);
                    inner.suspend(n);
                }
                log.borrow_mut().push("inner ends".into());
            },
            |values| values.inspect(|&n| outer.suspend(n)).sum(),
        );
        outer.suspend(inner_sum);
    })
}

#[test]
fn an_outer_coroutine_may_be_suspended_from_an_inner_one() {
    let log = Rc::default();
    assert!(outer_from_within(Rc::clone(&log)).eq([100, 1, 200, 2, 300, 3, 6]));
    assert_eq!(*log.borrow(), ["inner ends"]);
}

#[test]
fn two_such_generators_interleave() {
    let mut left = outer_from_within(Rc::default());
    let mut right = outer_from_within(Rc::default());
    right.next();
    let pairs: Vec<_> = left.by_ref().zip(right).collect();
    assert_eq!(pairs, [(100, 1), (1, 200), (200, 2), (2, 300), (300, 3), (3, 6)]);
}

#[test]
fn dropping_at_every_point_unwinds_both() {
    struct Count(Rc<RefCell<Vec<&'static str>>>, &'static str);
    impl Drop for Count {
        fn drop(&mut self) {
            self.0.borrow_mut().push(self.1);
        }
    }
    for taken in 0..=7 {
        let log = Rc::new(RefCell::new(vec![]));
        let in_body = Rc::clone(&log);
        let generator = Generator::new(move |outer| {
            let _outer = Count(Rc::clone(&in_body), "outer");
            Generator::scope(
                |inner| {
                    let _inner = Count(Rc::clone(&in_body), "inner");
                    for n in 1..=3 {
                        outer.suspend(n * 100);
                        inner.suspend(n);
                    }
                },
                |values| values.for_each(|n| outer.suspend(n)),
            );
            outer.suspend(0);
        });
        assert_eq!(generator.take(taken).count(), taken);
        let expected: &[_] = if taken == 0 { &[] } else { &["inner", "outer"] };
        assert_eq!(*log.borrow(), expected, "after {taken}");
    }
}

/// The outer coroutine is dropped while it stands in the middle of dropping the inner one.
#[test]
fn dropping_within_a_drop() {
    struct SuspendOnDrop<'a>(&'a Suspender<(), &'static str>);
    impl Drop for SuspendOnDrop<'_> {
        fn drop(&mut self) {
            let _ = catch_unwind(AssertUnwindSafe(|| self.0.suspend("inner unwinds")));
        }
    }
    let reached = Rc::new(RefCell::new(false));
    let in_body = Rc::clone(&reached);
    let mut outer: Coroutine<(), &str, ()> = Coroutine::new(move |outer, ()| {
        Generator::scope(
            |inner: &Suspender<(), ()>| {
                let _guard = SuspendOnDrop(outer);
                inner.suspend(());
            },
            |mut values| values.next(),
        );
        *in_body.borrow_mut() = true;
        outer.suspend("never");
    });
    assert_eq!(outer.resume(()), Yielded("inner unwinds"));
    drop(outer);
    assert!(*reached.borrow(), "the catch in the destructor let the body go on until it suspended");
    assert!(!std::thread::panicking());
}

/// The forced unwind of the outer one passes through the inner one's base, and is not taken for
/// the inner one's own.
#[test]
fn a_forced_unwind_passes_through_inner_bases() {
    let log = Rc::new(RefCell::new(vec![]));
    let in_body = Rc::clone(&log);
    let mut outer: Coroutine<(), (), ()> = Coroutine::new(move |outer, ()| {
        Generator::scope(
            |_: &Suspender<(), ()>| outer.suspend(()),
            |mut values| {
                let result = catch_unwind(AssertUnwindSafe(|| values.next()));
                in_body.borrow_mut().push(("first", result.is_err()));
                in_body.borrow_mut().push(("then", values.next().is_some()));
            },
        );
    });
    outer.resume(());
    drop(outer);
    assert_eq!(*log.borrow(), [("first", true), ("then", false)]);
}
