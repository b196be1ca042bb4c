//! Generators as iterators.

use std::{
    cell::Cell,
    collections::BTreeMap,
    iter::FusedIterator,
    panic::{AssertUnwindSafe, catch_unwind, panic_any},
    rc::Rc,
};

use bifilar_coroutine::{Generator, Suspender, stack::Stack};

#[test]
fn values_in_order() {
    let cases: [&[u32]; 4] = [&[], &[1], &[1, 2, 3], &[9; 1000]];
    for case in cases {
        let values = case.to_vec();
        let generator =
            Generator::new(move |output| values.iter().for_each(|&n| output.suspend(n)));
        assert_eq!(generator.collect::<Vec<_>>(), case);
    }
}

#[test]
fn none_stays_none() {
    fn is_fused<T: FusedIterator>(_: &T) {}
    let mut generator = Generator::new(|output| output.suspend(1));
    is_fused(&generator);
    assert_eq!(generator.size_hint(), (0, None));
    assert_eq!(generator.next(), Some(1));
    for _ in 0..3 {
        assert_eq!(generator.next(), None);
    }
}

#[test]
fn it_is_lazy() {
    let made = Rc::new(Cell::new(0));
    let in_body = Rc::clone(&made);
    let mut generator = Generator::new(move |output| {
        for n in 0.. {
            in_body.set(n);
            output.suspend(n);
        }
    });
    assert_eq!(made.get(), 0);
    assert_eq!(generator.nth(4), Some(4));
    assert_eq!(made.get(), 4);
}

#[test]
fn a_panic_ends_it() {
    let mut generator = Generator::new(|output| {
        output.suspend(1);
        panic_any("end");
    });
    assert_eq!(generator.next(), Some(1));
    let payload = catch_unwind(AssertUnwindSafe(|| generator.next())).unwrap_err();
    assert_eq!(payload.downcast_ref(), Some(&"end"));
    assert_eq!(generator.next(), None);
}

#[test]
fn generators_of_generators() {
    fn flatten(depth: u32) -> Generator<u32> {
        let stack = Stack::new(32 * 1024).unwrap();
        Generator::with_stack(stack, move |output| {
            if depth > 0 {
                flatten(depth - 1).for_each(|n| output.suspend(n));
                output.suspend(depth);
                flatten(depth - 1).for_each(|n| output.suspend(n));
            }
        })
    }
    let ruler: Vec<_> = (1u32..256).map(|n| n.trailing_zeros() + 1).collect();
    assert_eq!(flatten(8).collect::<Vec<_>>(), ruler);
}

#[test]
fn a_scope_borrows_both_ways() {
    let words = BTreeMap::from([(1, "one"), (2, "two"), (3, "three")]);
    let mut visited = vec![];
    let mut lengths = vec![];
    Generator::scope(
        |output| {
            for (number, word) in &words {
                visited.push(*number);
                output.suspend(*word);
            }
        },
        |values| lengths.extend(values.map(str::len)),
    );
    assert_eq!((visited, lengths), (vec![1, 2, 3], vec![3, 3, 5]));
}

#[test]
fn a_scope_ends_its_body_however_it_is_left() {
    struct SetOnDrop<'a>(&'a Cell<u32>);
    impl Drop for SetOnDrop<'_> {
        fn drop(&mut self) {
            self.0.set(self.0.get() + 1);
        }
    }
    let dropped = Cell::new(0);
    let body = |output: &Suspender<(), u32>| {
        let _guard = SetOnDrop(&dropped);
        (0..3).for_each(|n| output.suspend(n));
    };
    Generator::scope(body, |_| ());
    assert_eq!(dropped.get(), 0, "never started");
    assert_eq!(Generator::scope(body, |mut values| values.next()), Some(0));
    assert_eq!(dropped.get(), 1, "left early");
    assert_eq!(Generator::scope(body, |values| values.count()), 3);
    assert_eq!(dropped.get(), 2, "run to its end");
    Generator::scope(body, |mut values| {
        values.next();
        std::mem::forget(Box::new(values));
    });
    assert_eq!(dropped.get(), 3, "forgetting the values forgets only the loan");
    let leave = || Generator::scope(body, |mut values| panic_any(values.next()));
    let payload = catch_unwind(AssertUnwindSafe(leave)).unwrap_err();
    assert_eq!(payload.downcast_ref(), Some(&Some(0u32)));
    assert_eq!(dropped.get(), 4, "left by a panic");
}

/// What makes the scope necessary: a body that waits for threads which borrow.
#[test]
fn a_scope_inside_which_threads_borrow() {
    let numbers: Vec<u64> = (0..1000).collect();
    let sum = std::sync::atomic::AtomicU64::new(0);
    let first = Generator::scope(
        |output| {
            std::thread::scope(|scope| {
                for chunk in numbers.chunks(100) {
                    scope.spawn(|| {
                        let part = chunk.iter().sum::<u64>();
                        sum.fetch_add(part, std::sync::atomic::Ordering::Relaxed)
                    });
                }
                output.suspend("spawned");
            });
        },
        |mut values| values.next(),
    );
    assert_eq!((first, sum.into_inner()), (Some("spawned"), 499_500));
}
