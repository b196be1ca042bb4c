//! What a switch costs: prints nanoseconds for each pair (there and back).
//!
//! ```text
//! cargo run --release -p bifilar-coroutine --example switch_cost
//! ```

use std::{hint::black_box, time::Instant};

use bifilar_coroutine::{
    Coroutine, Generator,
    raw::{self, Suspended},
    stack::{DEFAULT_SIZE, Stack},
};

const PAIRS: u32 = 10_000_000;
const ROUNDS: usize = 7;

fn main() {
    println!("{:28} {:>8}", "", "ns");
    report("raw switch pair", PAIRS, raw_pairs);
    report("resume and suspend", PAIRS, resume_pairs);
    report("generator, each value", PAIRS, generate);
    for stacks in [100, 1_000, 10_000] {
        let mut coroutines: Vec<_> = (0..stacks).map(|_| counter()).collect();
        in_turn(stacks, &mut coroutines);
        report(&format!("resume, {stacks} in turn"), PAIRS / 10, |pairs| {
            in_turn(pairs, &mut coroutines);
        });
    }
    report("new, run, drop", PAIRS / 10, short_lives);
    report("new, run, drop, many held", PAIRS / 100, many_lives);
}

/// Prints the best of some rounds, for each of `count` operations.
fn report(name: &str, count: u32, mut run: impl FnMut(u32)) {
    let round = || {
        let begin = Instant::now();
        run(count);
        begin.elapsed().as_nanos() as f64 / f64::from(count)
    };
    let best = std::iter::repeat_with(round).take(ROUNDS).fold(f64::INFINITY, f64::min);
    println!("{name:28} {best:8.2}");
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

fn in_turn(pairs: u32, coroutines: &mut [Coroutine<u32, u32, ()>]) {
    for round in 0..pairs / coroutines.len() as u32 {
        for coroutine in &mut *coroutines {
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
        let mut coroutine = Coroutine::<u32, (), u32>::new(|_, n| n + 1);
        black_box(coroutine.resume(n));
    }
}

/// More at once than stay warm, so that their pages are given up and come back.
fn many_lives(lives: u32) {
    let mut coroutines: Vec<_> = (0..lives).map(|_| counter()).collect();
    for coroutine in &mut coroutines {
        black_box(coroutine.resume(1));
    }
}
