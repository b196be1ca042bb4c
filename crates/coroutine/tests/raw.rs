//! Switches without parents: any execution continues any other.

use std::panic::{AssertUnwindSafe, catch_unwind, panic_any};

use bifilar_coroutine::{
    raw::{self, Suspended},
    stack::Stack,
};

/// Executions that hand a token round in a ring; place 0 is the test itself.
struct Ring {
    places: Vec<Option<Suspended>>,
    visits: Vec<usize>,
    rounds: usize,
}

struct Member {
    ring: *mut Ring,
    place: usize,
}

unsafe extern "C" fn member(arg: *mut ()) -> ! {
    // SAFETY: the test keeps members and ring alive, and only the running execution uses them.
    unsafe {
        let Member { ring, place } = *arg.cast::<Member>();
        for _ in 0..(*ring).rounds {
            (*ring).visits.push(place);
            let result = catch_unwind(AssertUnwindSafe(|| {
                pass_on(ring, place);
                panic_any(place);
            }));
            assert_eq!(result.unwrap_err().downcast_ref(), Some(&place));
        }
        let next = take_next(ring, place);
        raw::exit_to(next)
    }
}

/// Suspends place `place` and continues the next.
unsafe fn pass_on(ring: *mut Ring, place: usize) {
    // SAFETY: as above; a place that isn't running is suspended.
    unsafe {
        let next = take_next(ring, place);
        let save = &raw mut (&mut (*ring).places)[place];
        raw::switch(save.cast(), next);
    }
}

/// The execution at the place after `place`.
unsafe fn take_next(ring: *mut Ring, place: usize) -> Suspended {
    // SAFETY: as above.
    let places = unsafe { &mut (*ring).places };
    let next = (place + 1) % places.len();
    places[next].take().unwrap()
}

#[test]
fn a_ring() {
    const MEMBERS: usize = 10;
    const ROUNDS: usize = 100;
    let stacks: Vec<_> = (0..MEMBERS).map(|_| Stack::new(64 * 1024).unwrap()).collect();
    let mut ring = Ring { places: vec![None], visits: vec![], rounds: ROUNDS };
    let ring = &raw mut ring;
    let mut members: Vec<_> = (1..=MEMBERS).map(|place| Member { ring, place }).collect();
    // SAFETY: the stacks stay until all members have left them, which they have when the last
    // round ends; the ring is used by whoever runs.
    unsafe {
        for (stack, arg) in stacks.iter().zip(&mut members) {
            let fresh = raw::prepare(stack.top(), member, (&raw mut *arg).cast());
            let places = &mut (*ring).places;
            places.push(Some(fresh));
        }
        for _ in 0..=ROUNDS {
            pass_on(ring, 0);
        }
        let expected: Vec<_> = (0..ROUNDS).flat_map(|_| 1..=MEMBERS).collect();
        assert_eq!((*ring).visits, expected);
        assert!((&(*ring).places)[1..].iter().all(Option::is_none));
    }
}

#[test]
fn saving_to_the_place_one_goes_to() {
    unsafe extern "C" fn flip(arg: *mut ()) -> ! {
        let other = arg.cast::<Option<Suspended>>();
        loop {
            // SAFETY: the test is suspended there.
            unsafe { raw::switch(other.cast(), (*other).unwrap()) };
        }
    }
    let stack = Stack::new(0).unwrap();
    let mut other = None;
    let other = &raw mut other;
    // SAFETY: the stack is alive; `flip` is abandoned with nothing to be dropped.
    unsafe {
        *other = Some(raw::prepare(stack.top(), flip, other.cast()));
        for _ in 0..1000 {
            let before = (*other).unwrap();
            raw::switch(other.cast(), before);
            let depth = stack.top().as_ptr().addr() - (*other).unwrap().as_ptr().addr();
            assert!(depth < stack.size());
        }
    }
}

#[test]
fn a_fresh_execution_may_start_on_another_thread() {
    unsafe extern "C" fn entry(arg: *mut ()) -> ! {
        let main = arg.cast::<Option<Suspended>>();
        // SAFETY: whoever continues this is suspended there.
        unsafe { raw::exit_to((*main).unwrap()) }
    }
    let stack = Stack::new(64 * 1024).unwrap();
    let mut main: Option<Suspended> = None;
    let address = (&raw mut main).expose_provenance();
    // SAFETY: the stack is alive until the thread has been joined.
    let fresh = unsafe { raw::prepare(stack.top(), entry, (&raw mut main).cast()) };
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let main = std::ptr::with_exposed_provenance_mut::<Suspended>(address);
            // SAFETY: prepared above and continued here only.
            unsafe { raw::switch(main, fresh) };
        });
    });
    assert!(main.is_some());
}
