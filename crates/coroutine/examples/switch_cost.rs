//! What a switch costs: prints nanoseconds for each pair (there and back).
//!
//! ```text
//! cargo run --release -p bifilar-coroutine --example switch_cost
//! ```

use std::{hint::black_box, ptr, time::Instant};

use bifilar_coroutine::{
    Coroutine, Generator,
    raw::{self, Suspended},
    stack::{DEFAULT_SIZE, Stack},
};

const PAIRS: u32 = 10_000_000;
const ROUNDS: u32 = 7;

fn main() {
    println!("{:28} {:>8}", "", "ns");
    println!("{:28} {:8.2}", "raw switch pair", best(PAIRS, raw_pairs));
    println!("{:28} {:8.2}", "resume and suspend", best(PAIRS, resume_pairs));
    println!("{:28} {:8.2}", "generator, each value", best(PAIRS, generate));
    for stacks in [100, 1_000, 10_000] {
        let name = format!("resume, {stacks} in turn");
        println!("{name:28} {:8.2}", best(PAIRS / 10, |pairs| in_turn(pairs, stacks)));
    }
    println!("{:28} {:8.2}", "new, run, drop", best(PAIRS / 10, short_lives));
}

/// The best of some rounds, for each of `count` operations.
fn best(count: u32, run: impl Fn(u32)) -> f64 {
    let round = || {
        let begin = Instant::now();
        run(count);
        begin.elapsed().as_nanos() as f64 / f64::from(count)
    };
    (0..ROUNDS).map(|_| round()).fold(f64::INFINITY, f64::min)
}

fn raw_pairs(pairs: u32) {
    struct Pair {
        main: Option<Suspended>,
        other: Option<Suspended>,
    }
    unsafe extern "C" fn bounce(pair: *mut ()) -> ! {
        let pair = pair.cast::<Pair>();
        loop {
            // SAFETY: `main` is suspended whenever this runs, and `pair` is alive then.
            unsafe { raw::switch((&raw mut (*pair).other).cast(), (*pair).main.unwrap_unchecked()) }
        }
    }
    let stack = Stack::new(DEFAULT_SIZE).expect("memory for a stack");
    let mut pair = Pair { main: None, other: None };
    let pair = &raw mut pair;
    // SAFETY: stack and `pair` are alive while we switch; afterwards `bounce` is abandoned, with
    // nothing to be dropped.
    unsafe {
        (*pair).other = Some(raw::prepare(stack.top(), bounce, pair.cast()));
        for _ in 0..pairs {
            raw::switch((&raw mut (*pair).main).cast(), (*pair).other.unwrap_unchecked());
        }
    }
}

fn resume_pairs(pairs: u32) {
    let mut coroutine = counter();
    for n in 0..pairs {
        black_box(coroutine.resume(n));
    }
}

fn in_turn(pairs: u32, stacks: u32) {
    let mut coroutines: Vec<_> = (0..stacks).map(|_| counter()).collect();
    for round in 0..pairs / stacks {
        for coroutine in &mut coroutines {
            black_box(coroutine.resume(round));
        }
    }
}

fn counter() -> Coroutine<u32, u32, ()> {
    Coroutine::new(|suspender, mut n| {
        loop {
            n = suspender.suspend(n);
        }
    })
}

fn generate(values: u32) {
    let numbers = Generator::new(move |output| (0..values).for_each(|n| output.suspend(n)));
    for n in numbers {
        black_box(n);
    }
}

fn short_lives(lives: u32) {
    for n in 0..lives {
        let mut coroutine = Coroutine::<u32, (), *const u32>::new(|_, n| ptr::from_ref(&n));
        black_box(coroutine.resume(n));
    }
}
