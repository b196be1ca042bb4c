//! smol: its `Executor`, run by the calling thread and by as many more as there are workers.

use std::{
    net::TcpListener,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use smol::{
    Async, Executor,
    channel::bounded,
    future::{self, yield_now},
    io::{AsyncReadExt, AsyncWriteExt},
    lock::Semaphore,
};

use super::{BATCH, BLOCKED, BUFFER};

/// Runs what `work` returns in a task; the other workers end with it.
fn run<T, F>(workers: usize, work: impl FnOnce(Arc<Executor<'static>>) -> F) -> T
where
    T: Send + 'static,
    F: Future<Output = T> + Send + 'static,
{
    let executor = Arc::new(Executor::new());
    let (stop, stopped) = bounded::<()>(1);
    thread::scope(|scope| {
        for _ in 1..workers {
            scope.spawn(|| future::block_on(executor.run(stopped.recv())));
        }
        let task = executor.spawn(work(executor.clone()));
        let result = smol::block_on(executor.run(task));
        drop(stop);
        result
    })
}

/// Spawns and joins in batches.
pub fn spawn(workers: usize, operations: u64) -> Duration {
    run(workers, move |executor| async move {
        let begin = Instant::now();
        for _ in 0..operations / BATCH {
            let tasks: Vec<_> =
                (0..BATCH).map(|number| executor.spawn(async move { number })).collect();
            for task in tasks {
                task.await;
            }
        }
        begin.elapsed()
    })
}

/// Spawns, blocks, wakes and joins in batches.
pub fn block(workers: usize, operations: u64) -> Duration {
    run(workers, move |executor| async move {
        let gate = Arc::new(Semaphore::new(0));
        let begin = Instant::now();
        for _ in 0..operations / BLOCKED {
            let body = |_| {
                let gate = gate.clone();
                executor.spawn(async move { gate.acquire_arc().await.forget() })
            };
            let tasks: Vec<_> = (0..BLOCKED).map(body).collect();
            yield_now().await;
            gate.add_permits(BLOCKED as usize);
            for task in tasks {
                task.await;
            }
        }
        begin.elapsed()
    })
}

/// Two tasks that yield.
pub fn yields(workers: usize, operations: u64) -> Duration {
    run(workers, move |executor| async move {
        let body = move || async move {
            for _ in 0..operations / 2 {
                yield_now().await;
            }
        };
        let begin = Instant::now();
        let tasks = [executor.spawn(body()), executor.spawn(body())];
        for task in tasks {
            task.await;
        }
        begin.elapsed()
    })
}

/// Round trips over two channels.
pub fn channel(workers: usize, operations: u64) -> Duration {
    run(workers, move |executor| async move {
        let (ping, pinged) = bounded(1);
        let (pong, ponged) = bounded(1);
        let other = executor.spawn(async move {
            while let Ok(message) = pinged.recv().await {
                pong.send(message).await.unwrap();
            }
        });
        let one = executor.spawn(async move {
            let begin = Instant::now();
            for number in 0..operations {
                ping.send(number).await.unwrap();
                assert_eq!(ponged.recv().await, Ok(number));
            }
            begin.elapsed()
        });
        let elapsed = one.await;
        other.await;
        elapsed
    })
}

/// Serves until killed.
pub fn echo(listener: TcpListener) {
    run(1, move |executor| async move {
        let listener = Async::new(listener).unwrap();
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            executor
                .spawn(async move {
                    let mut buffer = [0; BUFFER];
                    while let Ok(count @ 1..) = stream.read(&mut buffer).await {
                        stream.write_all(&buffer[..count]).await.unwrap();
                    }
                })
                .detach();
        }
    })
}
