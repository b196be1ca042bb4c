//! The choices of a simulated runtime, drawn from a seed.
//!
//! A scheduler may run what is ready in any order, and a task can't count on one; but the usual order
//! is much the same in every run, and hides bugs for years. Here it is drawn: what runs next, and after
//! how many ready operations a task must give way. The same seed draws the same order.

use std::cell::Cell;

#[derive(Debug)]
pub(super) struct Dice(Cell<u64>);

impl Dice {
    pub fn new(seed: u64) -> Self {
        // Zero would stay zero; SplitMix64's increment (Steele, Lea, Flood 2014) is as good as any.
        Dice(Cell::new(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1))
    }

    /// A number below `bound`, which isn't 0. Xorshift64* (Vigna 2016).
    pub fn below(&self, bound: usize) -> usize {
        let mut x = self.0.get();
        x ^= x >> 12;
        x ^= x << 25;
        x ^= x >> 27;
        self.0.set(x);
        let drawn = x.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 32;
        (drawn as usize * bound) >> 32
    }
}
