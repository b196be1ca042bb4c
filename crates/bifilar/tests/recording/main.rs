//! What the runtime records of its life.
//!
//! `hooks`: for each hook a small program in a simulated runtime, and the whole list of its events.
//! `golden`: one larger program, its recording and its diagram, byte for byte.
//! `load`: real runtimes that are recorded while they work as hard as they can.

mod golden;
mod hooks;
mod load;

use bifilar::{
    Builder, fiber,
    timeline::{Recorder, Recording},
};

/// What a simulated run of `program`, a fiber, has recorded.
fn simulated(program: impl FnOnce()) -> Recording {
    let recorder = Recorder::new(10_000);
    Builder::new().simulate(1).record(&recorder).run(program);
    recorder.snapshot().renumbered()
}

/// A fiber with a name.
fn named<T: Send + 'static>(
    name: &str,
    f: impl FnOnce() -> T + Send + 'static,
) -> bifilar::JoinHandle<T> {
    fiber::Builder::new().name(name).spawn(f).unwrap()
}
