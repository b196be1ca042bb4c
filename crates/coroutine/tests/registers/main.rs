//! What a function had in registers before a switch, it has after it; stacks are aligned.

#[cfg_attr(target_arch = "aarch64", path = "aarch64.rs")]
#[cfg_attr(target_arch = "x86_64", path = "x86_64.rs")]
mod processor;

use std::hint::black_box;

use bifilar_coroutine::{
    Coroutine,
    CoroutineState::*,
    Suspender,
    raw::{self, Suspended},
    stack::Stack,
};

/// Keeps more integers and floats alive across a suspension than there are registers.
fn mix(suspender: &Suspender<u64, u64>, seed: u64, rounds: u64) -> (u64, f64) {
    let mut integers: [u64; 20] = std::array::from_fn(|n| seed.wrapping_mul(n as u64 + 1));
    let mut floats: [f64; 20] = std::array::from_fn(|n| (seed % 1000) as f64 + n as f64);
    for _ in 0..rounds {
        let input = suspender.suspend(integers[0]);
        for n in 0..20 {
            integers[n] = integers[n].rotate_left(7) ^ integers[(n + 1) % 20] ^ input;
            floats[n] = (floats[n] * 1.25 + floats[(n + 3) % 20]) % 1e6;
        }
    }
    (integers.iter().fold(0, |a, b| a ^ b), floats.iter().sum())
}

#[test]
fn many_coroutines_keep_their_registers() {
    const ROUNDS: u64 = 1000;
    let alone = |seed: u64| {
        let mut coroutine =
            Coroutine::new(move |suspender, first| mix(suspender, seed ^ first, ROUNDS));
        let mut input = 1;
        loop {
            match coroutine.resume(input) {
                Yielded(_) => input = 5,
                Returned(result) => break result,
            }
        }
    };
    let expected: Vec<_> = (0..50).map(alone).collect();

    let mut coroutines: Vec<_> = (0..50u64)
        .map(|seed| {
            Coroutine::new(move |suspender, first: u64| mix(suspender, seed ^ first, ROUNDS))
        })
        .collect();
    let mut input = 1;
    let mut results = vec![];
    while results.len() < coroutines.len() {
        for coroutine in &mut coroutines {
            if let Returned(result) = coroutine.resume(input) {
                results.push(result);
            }
        }
        input = 5;
    }
    assert_eq!(results, expected);
}

/// The test, and an execution that overwrites registers: where each is suspended.
struct Pair {
    main: Option<Suspended>,
    other: Option<Suspended>,
}

#[test]
fn registers_the_other_side_overwrites_come_back() {
    let stack = Stack::new(64 * 1024).unwrap();
    let mut pair = Pair { main: None, other: None };
    let pair = &raw mut pair;
    // SAFETY: the stack is alive throughout; `overwrite` is abandoned with nothing to be dropped.
    unsafe {
        (*pair).other = Some(raw::prepare(stack.top(), processor::overwrite, pair.cast()));
    }
    for round in 0..1000u64 {
        let before: [u64; 16] = std::array::from_fn(|n| black_box(round * 16 + n as u64));
        let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = before;
        let floats: [f64; 12] = std::array::from_fn(|n| black_box((round * 12) as f64 + n as f64));
        let [q, r, s, t, u, v, w, x, y, z, aa, bb] = floats;
        // SAFETY: `other` is suspended, and `main` is what `overwrite` continues.
        unsafe { raw::switch((&raw mut (*pair).main).cast(), (*pair).other.unwrap()) };
        assert_eq!([a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p], before);
        assert_eq!([q, r, s, t, u, v, w, x, y, z, aa, bb], floats);
    }
}

/// The compiler may have nothing in some of them, so each is filled by hand.
#[test]
fn every_register_that_a_call_keeps_survives_a_switch() {
    unsafe extern "C" fn switch(pair: *mut Pair) {
        // SAFETY: as above.
        unsafe { raw::switch((&raw mut (*pair).main).cast(), (*pair).other.unwrap()) };
    }
    let stack = Stack::new(64 * 1024).unwrap();
    let mut pair = Pair { main: None, other: None };
    let pair = &raw mut pair;
    // SAFETY: the stack is alive throughout; `overwrite` is abandoned with nothing to be dropped.
    unsafe {
        (*pair).other = Some(raw::prepare(stack.top(), processor::overwrite, pair.cast()));
    }
    for _ in 0..3 {
        assert!(processor::call_keeps_registers(switch, pair));
    }
}

#[test]
fn stacks_are_aligned_where_calls_demand_it() {
    #[repr(align(16))]
    struct Place([u8; 16]);

    #[inline(never)]
    fn aligned_store() -> usize {
        let mut place = Place([0; 16]);
        // What the compiler doesn't know it can't assume to be aligned.
        let address = black_box(&raw mut place.0);
        processor::store_aligned(address);
        assert_eq!(black_box(&place).0, [7; 16]);
        address.addr() % 16
    }
    // All colours, hence many stacks at once.
    let mut coroutines: Vec<Coroutine<(), usize, ()>> = (0..64)
        .map(|_| {
            Coroutine::new(|suspender, ()| {
                suspender.suspend(aligned_store());
                suspender.suspend(aligned_store());
            })
        })
        .collect();
    for _ in 0..2 {
        for coroutine in &mut coroutines {
            assert_eq!(coroutine.resume(()), Yielded(0));
        }
    }
}

#[test]
fn entries_find_an_aligned_stack_pointer() {
    unsafe extern "C" fn entry(arg: *mut ()) -> ! {
        let report = arg.cast::<(Option<Suspended>, usize)>();
        // SAFETY: the test keeps this alive, and its side is suspended.
        unsafe {
            (*report).1 = processor::stack_pointer();
            raw::exit_to((*report).0.unwrap())
        }
    }
    let stack = Stack::new(0).unwrap();
    for offset in [0, 16, 32, 48] {
        let mut report: (Option<Suspended>, usize) = (None, 0);
        let report = &raw mut report;
        // SAFETY: the stack is ours, has room below its top, and is left by `entry` for ever.
        unsafe {
            let fresh = raw::prepare(stack.top().sub(offset), entry, report.cast());
            raw::switch((&raw mut (*report).0).cast(), fresh);
            assert_eq!((*report).1 % 16, 0);
            assert!((*report).1 < stack.top().as_ptr().addr() - offset);
        }
    }
}
