//! How a runtime ends where panics abort: stacks that are suspended can't be unwound, so they stay as
//! they are, and nobody waits for them. Futures at an `.await` are dropped as elsewhere.
//!
//! Run with `CARGO_PROFILE_DEV_PANIC=abort`; `cargo xtask abort` does.

use bifilar::{Builder, Wait, fiber, sync::Notify, task};
use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

/// Counts itself when it is dropped.
struct Counted(Arc<AtomicU32>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_add(1, SeqCst);
    }
}

fn main() {
    for workers in [1, 2] {
        let (on_stacks, in_futures) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
        let begin = Instant::now();
        Builder::new().workers(workers).run(|| {
            let (never, started) = (Arc::new(Notify::new()), Arc::new(AtomicU32::new(0)));
            for _ in 0..10 {
                let (counted, never) = (Counted(on_stacks.clone()), never.clone());
                let counted_started = started.clone();
                fiber::spawn(move || {
                    let _counted = counted;
                    counted_started.fetch_add(1, SeqCst);
                    never.notified().wait();
                });
            }
            for _ in 0..10 {
                let (counted, never) = (Counted(in_futures.clone()), never.clone());
                let counted_started = started.clone();
                task::spawn(async move {
                    let _counted = counted;
                    counted_started.fetch_add(1, SeqCst);
                    never.notified().await;
                });
            }
            while started.load(SeqCst) < 20 {
                fiber::yield_now();
            }
        });
        let (on_stacks, in_futures) = (on_stacks.load(SeqCst), in_futures.load(SeqCst));
        assert_eq!(on_stacks, if cfg!(panic = "abort") { 0 } else { 10 });
        assert_eq!(in_futures, 10);
        assert!(begin.elapsed() < Duration::from_secs(5), "it waited for them");
        println!("{workers} workers: {on_stacks} stacks unwound, {in_futures} futures dropped");
    }
}
