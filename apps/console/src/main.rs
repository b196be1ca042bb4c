//! A handful of tasks and fibers that do different things, to look at with tokio-console.
//!
//! ```console
//! $ cargo run -p bifilar-console        # until Ctrl-C; with a number, for so many seconds
//! $ tokio-console                       # in another terminal: cargo install tokio-console
//! ```
//!
//! All it takes is the feature `console` of bifilar and the first line of `main`.

use bifilar::{
    Wait, fiber, scope,
    sync::{Mutex, channel},
    task,
    time::sleep,
    unblock,
};
use std::{
    env, io,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

const MS: Duration = Duration::from_millis(1);

fn main() -> io::Result<()> {
    console_subscriber::init();
    let seconds = env::args().nth(1).and_then(|seconds| seconds.parse().ok()).unwrap_or(u64::MAX);
    bifilar::run(|| {
        conversation()?;
        queue_for_a_lock()?;
        task::Builder::new().name("waits in a callback").spawn(async { callback() })?;
        task::Builder::new().name("wakes itself").spawn(wakes_itself())?;
        fiber::Builder::new().name("computes").spawn(computes)?;
        fiber::Builder::new().name("opens scopes").spawn(opens_scopes)?;
        fiber::Builder::new().name("short-lived ones").spawn(|| {
            loop {
                fiber::spawn(|| fiber::sleep(300 * MS)).join().unwrap();
            }
        })?;
        sleep(Duration::from_secs(seconds)).wait();
        Ok(())
    })
}

/// A task and a fiber on the two ends of a channel.
fn conversation() -> io::Result<()> {
    let (sender, receiver) = channel::bounded(1);
    task::Builder::new().name("sends").spawn(async move {
        while sender.send("hello").await.is_ok() {
            sleep(200 * MS).await;
        }
    })?;
    fiber::Builder::new()
        .name("receives")
        .spawn(move || while receiver.recv().wait().is_ok() {})?;
    Ok(())
}

/// Each holds the lock for a while, and the others wait for it.
fn queue_for_a_lock() -> io::Result<()> {
    let lock = Arc::new(Mutex::new(0));
    for name in ["queues 1", "queues 2"] {
        let lock = lock.clone();
        fiber::Builder::new().name(name).spawn(move || {
            loop {
                let mut count = lock.lock().wait();
                *count += 1;
                fiber::sleep(200 * MS);
            }
        })?;
    }
    Ok(())
}

/// A poll that goes through code which knows nothing of futures, and waits inside.
fn callback() {
    let naps = std::iter::repeat(200 * MS);
    naps.take(1_000_000).for_each(|nap| sleep(nap).wait());
}

/// The console warns of it.
async fn wakes_itself() {
    loop {
        task::yield_now().await;
        sleep(200 * MS).await;
        for _ in 0..5 {
            task::yield_now().await;
        }
    }
}

/// Keeps its worker for 10 ms at a time.
fn computes() {
    loop {
        let begin = Instant::now();
        while begin.elapsed() < 10 * MS {
            std::hint::spin_loop();
        }
        fiber::sleep(190 * MS);
    }
}

/// Children that borrow, and a call that blocks a thread of its own.
fn opens_scopes() {
    let naps = [400 * MS, 800 * MS];
    loop {
        scope(|s| {
            for nap in &naps {
                s.spawn(|| fiber::sleep(*nap));
            }
            unblock(|| thread::sleep(600 * MS)).wait().unwrap();
        });
    }
}
