//! Panics of the body reach the resumer, with their payload, and leave the coroutine done.

use std::{
    hint::black_box,
    panic::{AssertUnwindSafe, catch_unwind, panic_any},
    thread,
};

use bifilar_coroutine::{Coroutine, CoroutineState::*, Suspender};

type Unit = Coroutine<(), (), ()>;

/// Resumes, and gives the payload of the panic.
fn panic_of(coroutine: &mut Unit) -> Box<dyn std::any::Any + Send> {
    catch_unwind(AssertUnwindSafe(|| coroutine.resume(()))).expect_err("a panic")
}

#[test]
fn payloads_are_carried() {
    let mut with_text: Unit = Coroutine::new(|_, ()| panic!("plain text"));
    assert_eq!(panic_of(&mut with_text).downcast_ref(), Some(&"plain text"));

    let mut with_format: Unit = Coroutine::new(|_, ()| panic!("number {}", black_box(7)));
    assert_eq!(panic_of(&mut with_format).downcast_ref(), Some(&String::from("number 7")));

    let mut with_value: Unit = Coroutine::new(|_, ()| panic_any(7u32));
    assert_eq!(panic_of(&mut with_value).downcast_ref(), Some(&7u32));

    assert!(with_text.is_done() && with_format.is_done() && with_value.is_done());
    assert!(!thread::panicking());
}

#[test]
fn a_panic_after_a_suspension_reaches_the_second_resume() {
    let mut coroutine: Unit = Coroutine::new(|suspender, ()| {
        suspender.suspend(());
        panic_any(1u8);
    });
    assert_eq!(coroutine.resume(()), Yielded(()));
    assert_eq!(panic_of(&mut coroutine).downcast_ref(), Some(&1u8));
}

#[test]
fn a_panic_caught_inside_stays_inside() {
    let mut coroutine = Coroutine::new(|suspender: &Suspender<(), bool>, ()| {
        let caught = catch_unwind(AssertUnwindSafe(|| {
            suspender.suspend(true);
            panic!("inside");
        }));
        suspender.suspend(caught.is_err());
    });
    assert_eq!(coroutine.resume(()), Yielded(true));
    assert_eq!(coroutine.resume(()), Yielded(true));
    assert_eq!(coroutine.resume(()), Returned(()));
}

#[test]
fn resuming_a_done_coroutine_names_the_caller() {
    let mut coroutine: Unit = Coroutine::new(|_, ()| ());
    coroutine.resume(());
    let (sender, receiver) = std::sync::mpsc::channel();
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        let location = info.location().expect("a location");
        // Other tests panic meanwhile.
        if location.file() == file!() {
            let _ = sender.send((location.line(), info.to_string()));
        }
    }));
    let line = line!() + 1;
    let result = catch_unwind(AssertUnwindSafe(|| coroutine.resume(())));
    std::panic::set_hook(hook);
    result.expect_err("a panic");
    let message = receiver.try_iter().find(|(at, _)| *at == line).expect("our panic").1;
    assert!(message.contains("resumed a coroutine that is done"), "{message}");
}

/// Two stacks are in the middle of unwinding at the same time, and go on in the other order.
#[test]
fn interleaved_unwinding() {
    struct SuspendOnDrop<'a>(&'a Suspender<(), &'static str>);
    impl Drop for SuspendOnDrop<'_> {
        fn drop(&mut self) {
            self.0.suspend(if thread::panicking() { "unwinding" } else { "calm" });
        }
    }
    let body = |suspender: &Suspender<(), &'static str>, ()| {
        let guard = SuspendOnDrop(suspender);
        suspender.suspend("started");
        let _ = &guard;
        panic_any("done");
    };
    let mut first: Coroutine<(), _, ()> = Coroutine::new(body);
    let mut second: Coroutine<(), _, ()> = Coroutine::new(body);
    for coroutine in [&mut first, &mut second] {
        assert_eq!(coroutine.resume(()), Yielded("started"));
        assert_eq!(coroutine.resume(()), Yielded("unwinding"));
    }
    assert!(thread::panicking());
    assert!(catch_unwind(|| panic_any("between")).is_err());
    for coroutine in [&mut first, &mut second] {
        let payload = catch_unwind(AssertUnwindSafe(|| coroutine.resume(()))).unwrap_err();
        assert_eq!(payload.downcast_ref(), Some(&"done"));
    }
    assert!(!thread::panicking());
}
