// Children run on any worker: what they take along and what they borrow crosses threads.
use std::{cell::Cell, rc::Rc};

fn main() {
    let (count, shared) = (Cell::new(0), Rc::new(1));
    bifilar::scope(|s| {
        s.spawn(|| count.set(1));
        let moved = shared.clone();
        s.spawn_future(async move { *moved });
    });
}
