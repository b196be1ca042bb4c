//! tokio, both of its schedulers. The work runs in a spawned task on the multi-thread runtime,
//! since the thread in `block_on` is not one of its workers.

use std::{
    net::TcpListener,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    runtime::Builder,
    sync::{Semaphore, mpsc},
    task,
};

use super::{BATCH, BLOCKED, BUFFER};

/// The current-thread runtime.
pub mod current {
    use super::*;

    fn run<T>(work: impl Future<Output = T>) -> T {
        Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
    }

    /// Spawns and joins in batches.
    pub fn spawn(_workers: usize, operations: u64) -> Duration {
        run(super::spawn(operations))
    }

    /// Spawns, blocks, wakes and joins in batches.
    pub fn block(_workers: usize, operations: u64) -> Duration {
        run(super::block(operations))
    }

    /// Two tasks that yield.
    pub fn yields(_workers: usize, operations: u64) -> Duration {
        run(super::yields(operations))
    }

    /// Round trips over two channels.
    pub fn channel(_workers: usize, operations: u64) -> Duration {
        run(super::channel(operations))
    }

    /// Serves until killed.
    pub fn echo(listener: TcpListener) {
        run(super::echo(listener));
    }
}

/// The multi-thread runtime.
pub mod multi {
    use super::*;

    fn run<T: Send + 'static>(workers: usize, work: impl Future<Output = T> + Send + 'static) -> T {
        let runtime =
            Builder::new_multi_thread().worker_threads(workers).enable_all().build().unwrap();
        runtime.block_on(async { task::spawn(work).await.unwrap() })
    }

    /// Spawns and joins in batches.
    pub fn spawn(workers: usize, operations: u64) -> Duration {
        run(workers, super::spawn(operations))
    }

    /// Spawns, blocks, wakes and joins in batches.
    pub fn block(workers: usize, operations: u64) -> Duration {
        run(workers, super::block(operations))
    }

    /// Two tasks that yield.
    pub fn yields(workers: usize, operations: u64) -> Duration {
        run(workers, super::yields(operations))
    }

    /// Round trips over two channels.
    pub fn channel(workers: usize, operations: u64) -> Duration {
        run(workers, super::channel(operations))
    }

    /// Serves until killed.
    pub fn echo(listener: TcpListener) {
        run(1, super::echo(listener));
    }
}

async fn spawn(operations: u64) -> Duration {
    let begin = Instant::now();
    for _ in 0..operations / BATCH {
        let tasks: Vec<_> = (0..BATCH).map(|number| task::spawn(async move { number })).collect();
        for task in tasks {
            task.await.unwrap();
        }
    }
    begin.elapsed()
}

async fn block(operations: u64) -> Duration {
    let gate = Arc::new(Semaphore::new(0));
    let begin = Instant::now();
    for _ in 0..operations / BLOCKED {
        let body = |_| {
            let gate = gate.clone();
            task::spawn(async move { gate.acquire().await.unwrap().forget() })
        };
        let tasks: Vec<_> = (0..BLOCKED).map(body).collect();
        task::yield_now().await;
        gate.add_permits(BLOCKED as usize);
        for task in tasks {
            task.await.unwrap();
        }
    }
    begin.elapsed()
}

async fn yields(operations: u64) -> Duration {
    let body = move || async move {
        for _ in 0..operations / 2 {
            task::yield_now().await;
        }
    };
    let begin = Instant::now();
    let tasks = [task::spawn(body()), task::spawn(body())];
    for task in tasks {
        task.await.unwrap();
    }
    begin.elapsed()
}

async fn channel(operations: u64) -> Duration {
    let (ping, mut pinged) = mpsc::channel(1);
    let (pong, mut ponged) = mpsc::channel(1);
    let other = task::spawn(async move {
        while let Some(message) = pinged.recv().await {
            pong.send(message).await.unwrap();
        }
    });
    let one = task::spawn(async move {
        let begin = Instant::now();
        for number in 0..operations {
            ping.send(number).await.unwrap();
            assert_eq!(ponged.recv().await, Some(number));
        }
        begin.elapsed()
    });
    let elapsed = one.await.unwrap();
    other.await.unwrap();
    elapsed
}

async fn echo(listener: TcpListener) {
    listener.set_nonblocking(true).unwrap();
    let listener = tokio::net::TcpListener::from_std(listener).unwrap();
    loop {
        let (mut stream, _) = listener.accept().await.unwrap();
        task::spawn(async move {
            let mut buffer = [0; BUFFER];
            while let Ok(count @ 1..) = stream.read(&mut buffer).await {
                stream.write_all(&buffer[..count]).await.unwrap();
            }
        });
    }
}
