//! Generators, which suspend themselves, inside a fiber, which waits: one stack stands on another.
//!
//!     cargo run -p bifilar --example generators
//!
//! `yield_` gives a value to whoever iterates; `wait` inside the generator's body suspends the whole
//! fiber, generator included, and the worker goes on.

use bifilar::{Wait, fiber, time::sleep};
use bifilar_coroutine::Generator;
use std::time::Duration;

fn main() {
    bifilar::run(|| {
        let fibers: Vec<_> = ["a", "b"]
            .map(|name| {
                fiber::spawn(move || {
                    for number in slow_fibonacci().take(5) {
                        println!("{name}: {number}");
                    }
                })
            })
            .into();
        for fiber in fibers {
            fiber.join().expect("no panic");
        }
    });
}

/// The Fibonacci numbers, each of which takes its time.
fn slow_fibonacci() -> impl Iterator<Item = u64> {
    Generator::new(|generator| {
        let (mut a, mut b) = (0, 1);
        loop {
            sleep(Duration::from_millis(10)).wait();
            generator.suspend(a);
            (a, b) = (b, a + b);
        }
    })
}
