//! bifilar, in async style.

use std::{
    net::TcpListener,
    sync::Arc,
    time::{Duration, Instant},
};

use bifilar::{
    Builder,
    sync::{Semaphore, channel::bounded},
    task::{self, yield_now},
};
use smol::io::{AsyncReadExt, AsyncWriteExt};

use super::{BATCH, BLOCKED, BUFFER};

/// Spawns and joins in batches.
pub fn spawn(workers: usize, operations: u64) -> Duration {
    Builder::new().workers(workers).block_on(async {
        let begin = Instant::now();
        for _ in 0..operations / BATCH {
            let tasks: Vec<_> =
                (0..BATCH).map(|number| task::spawn(async move { number })).collect();
            for task in tasks {
                task.await.unwrap();
            }
        }
        begin.elapsed()
    })
}

/// Spawns, blocks, wakes and joins in batches.
pub fn block(workers: usize, operations: u64) -> Duration {
    Builder::new().workers(workers).block_on(async {
        let gate = Arc::new(Semaphore::new(0));
        let begin = Instant::now();
        for _ in 0..operations / BLOCKED {
            let body = |_| {
                let gate = gate.clone();
                task::spawn(async move { gate.acquire().await.unwrap().forget() })
            };
            let tasks: Vec<_> = (0..BLOCKED).map(body).collect();
            yield_now().await;
            gate.add_permits(BLOCKED as usize);
            for task in tasks {
                task.await.unwrap();
            }
        }
        begin.elapsed()
    })
}

/// Two tasks that yield.
pub fn yields(workers: usize, operations: u64) -> Duration {
    Builder::new().workers(workers).block_on(async {
        let body = move || async move {
            for _ in 0..operations / 2 {
                yield_now().await;
            }
        };
        let begin = Instant::now();
        let tasks = [task::spawn(body()), task::spawn(body())];
        for task in tasks {
            task.await.unwrap();
        }
        begin.elapsed()
    })
}

/// Round trips over two channels.
pub fn channel(workers: usize, operations: u64) -> Duration {
    Builder::new().workers(workers).block_on(async {
        let (ping, pinged) = bounded(1);
        let (pong, ponged) = bounded(1);
        let other = task::spawn(async move {
            while let Ok(message) = pinged.recv().await {
                pong.send(message).await.unwrap();
            }
        });
        let one = task::spawn(async move {
            let begin = Instant::now();
            for number in 0..operations {
                ping.send(number).await.unwrap();
                assert_eq!(ponged.recv().await, Ok(number));
            }
            begin.elapsed()
        });
        let elapsed = one.await.unwrap();
        other.await.unwrap();
        elapsed
    })
}

/// Serves until killed.
pub fn echo(listener: TcpListener) {
    Builder::new().workers(1).block_on(async {
        let listener = bifilar::net::TcpListener::try_from(listener).unwrap();
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            drop(task::spawn(async move {
                let mut buffer = [0; BUFFER];
                while let Ok(count @ 1..) = stream.read(&mut buffer).await {
                    stream.write_all(&buffer[..count]).await.unwrap();
                }
            }));
        }
    })
}
