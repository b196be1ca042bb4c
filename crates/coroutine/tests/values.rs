//! Values go in and come out as they are, whatever their size and alignment.

use std::{fmt::Debug, rc::Rc};

use bifilar_coroutine::{
    Coroutine,
    CoroutineState::{self, Returned, Yielded},
    Suspender,
    stack::Stack,
};

/// Sends `inputs` in turn to a coroutine that gives each of them back, and returns the last.
fn echo<T: Clone + PartialEq + Debug + 'static>(inputs: &[T]) {
    let count = inputs.len();
    let mut coroutine = Coroutine::new(move |suspender: &Suspender<T, T>, mut value: T| {
        for _ in 1..count {
            value = suspender.suspend(value);
        }
        value
    });
    for (index, input) in inputs.iter().enumerate() {
        let expected = match index + 1 == count {
            true => Returned(input.clone()),
            false => Yielded(input.clone()),
        };
        assert!(!coroutine.is_done());
        assert_eq!(coroutine.resume(input.clone()), expected);
    }
    assert!(coroutine.is_done());
}

#[test]
fn every_size_comes_back() {
    #[derive(Clone, PartialEq, Debug)]
    #[repr(align(256))]
    struct Aligned(u8);

    echo(&[()]);
    echo(&[(), (), ()]);
    echo(&[1u8, 2, 3]);
    echo(&[u64::MAX, 0, 1]);
    echo(&[1.5f64, f64::INFINITY, -0.0]);
    echo(&[i128::MIN, i128::MAX]);
    echo(&["static", "text"]);
    echo(&[String::from("one"), String::from("two"), String::new()]);
    echo(&[Some(Box::new(1)), None]);
    echo(&[[7u8; 10_000], [8; 10_000]]);
    echo(&[Aligned(1), Aligned(2)]);
    echo(&(0..1000).collect::<Vec<u32>>());
}

#[test]
fn aligned_values_arrive_aligned() {
    #[repr(align(128))]
    struct Aligned;
    fn is_aligned(value: &Aligned) -> bool {
        std::ptr::from_ref(value).addr().is_multiple_of(128)
    }
    let mut coroutine = Coroutine::new(|suspender, first: Aligned| {
        assert!(is_aligned(&first));
        let second: Aligned = suspender.suspend(Aligned);
        assert!(is_aligned(&second));
        Aligned
    });
    let Yielded(value) = coroutine.resume(Aligned) else { panic!("yields first") };
    assert!(is_aligned(&value));
    let Returned(value) = coroutine.resume(Aligned) else { panic!("returns then") };
    assert!(is_aligned(&value));
}

#[test]
fn bodies_of_every_size_run() {
    fn run<const SIZE: usize>() {
        let ballast = [SIZE as u8; SIZE];
        // Code that isn't optimised copies a body several times on its way.
        let stack = Stack::new(1 << 20).unwrap();
        let body = move |suspender: &Suspender<(), usize>, ()| {
            suspender.suspend(ballast.len());
            ballast.iter().map(|&byte| usize::from(byte)).sum()
        };
        let mut coroutine: Coroutine<(), usize, usize> = Coroutine::with_stack(stack, body);
        assert_eq!(coroutine.resume(()), Yielded(SIZE));
        assert_eq!(coroutine.resume(()), Returned(SIZE * (SIZE % 256)));
    }
    run::<0>();
    run::<1>();
    run::<900>();
    run::<1024>();
    run::<1025>();
    run::<100_000>();

    /// Needs no room, but an alignment that few stacks could offer at their top.
    #[derive(Clone, Copy)]
    #[repr(align(65536))]
    struct Nowhere;
    let nowhere = [Nowhere; 0];
    // Each frame that holds it is aligned like that.
    let stack = Stack::new(4 << 20).unwrap();
    let mut coroutine: Coroutine<(), (), usize> =
        Coroutine::with_stack(stack, move |_, ()| std::ptr::from_ref(&nowhere).addr() % 65536);
    assert_eq!(coroutine.resume(()), Returned(0));
}

#[test]
fn nothing_is_lost_or_doubled() {
    let token = Rc::new(());
    let mut coroutine = Coroutine::new(|suspender, first: Rc<()>| {
        let second: Rc<()> = suspender.suspend(first);
        drop(suspender.suspend(Rc::clone(&second)));
        second
    });
    let state: CoroutineState<Rc<()>, Rc<()>> = coroutine.resume(Rc::clone(&token));
    assert_eq!(Rc::strong_count(&token), 2);
    drop(state);
    let state = coroutine.resume(Rc::clone(&token));
    assert_eq!(Rc::strong_count(&token), 3);
    drop(state);
    let state = coroutine.resume(Rc::clone(&token));
    assert_eq!(Rc::strong_count(&token), 2);
    drop(state);
    drop(coroutine);
    assert_eq!(Rc::strong_count(&token), 1);
}

#[test]
fn a_coroutine_may_be_moved_while_suspended() {
    let mut coroutine = Coroutine::new(|suspender, first: u32| {
        let local = [first; 100];
        let sum: u32 = local.iter().sum();
        let second = suspender.suspend(sum);
        local.iter().sum::<u32>() + second
    });
    assert_eq!(coroutine.resume(1), Yielded(100));
    let mut boxed = Box::new(coroutine);
    assert_eq!(boxed.resume(5), Returned(105));
}
