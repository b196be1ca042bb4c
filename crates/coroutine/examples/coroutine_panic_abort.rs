//! What remains of coroutines where panics abort: one that is dropped while suspended leaks, and
//! nothing else happens. Run with `CARGO_PROFILE_DEV_PANIC=abort`; `cargo xtask abort` does.

use std::rc::Rc;

use bifilar_coroutine::{Coroutine, CoroutineState::*, Generator};

fn main() {
    let token = Rc::new(());

    // Run to its end, a coroutine is what it is elsewhere.
    let inside = Rc::clone(&token);
    let mut coroutine = Coroutine::new(move |suspender, n: u32| {
        let _inside = inside;
        n + suspender.suspend(n)
    });
    assert_eq!(coroutine.resume(1), Yielded(1));
    assert_eq!(coroutine.resume(2), Returned(3));
    drop(coroutine);
    assert_eq!(Rc::strong_count(&token), 1);

    // Never started, it holds no frames.
    let inside = Rc::clone(&token);
    drop(Generator::<()>::new(move |_| drop(inside)));
    assert_eq!(Rc::strong_count(&token), 1);

    // Suspended, it can't be unwound: its stack stays, with what stands there.
    let inside = Rc::clone(&token);
    let mut generator = Generator::new(move |output| {
        let _inside = inside;
        output.suspend(1);
    });
    assert_eq!(generator.next(), Some(1));
    drop(generator);
    let leaked = Rc::strong_count(&token) - 1;
    assert_eq!(leaked, if cfg!(panic = "abort") { 1 } else { 0 });
    println!("{leaked} leaked");
}
