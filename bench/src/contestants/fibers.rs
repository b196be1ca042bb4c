//! bifilar, in blocking style.

use std::{
    io::{Read, Write},
    net::TcpListener,
    sync::Arc,
    time::{Duration, Instant},
};

use bifilar::{
    Builder, Wait,
    fiber::{self, yield_now},
    sync::{Semaphore, channel::bounded},
    timeline::Recorder,
};

use super::{BATCH, BLOCKED, BUFFER};

/// Events that are kept of each thread: half a megabyte.
const RECORDED: usize = 1 << 14;

/// Spawns and joins in batches.
pub fn spawn(workers: usize, operations: u64) -> Duration {
    Builder::new().workers(workers).run(|| {
        let begin = Instant::now();
        for _ in 0..operations / BATCH {
            let fibers: Vec<_> = (0..BATCH).map(|number| fiber::spawn(move || number)).collect();
            for fiber in fibers {
                fiber.join().unwrap();
            }
        }
        begin.elapsed()
    })
}

/// Spawns, blocks, wakes and joins in batches.
pub fn block(workers: usize, operations: u64) -> Duration {
    Builder::new().workers(workers).run(|| {
        let gate = Arc::new(Semaphore::new(0));
        let begin = Instant::now();
        for _ in 0..operations / BLOCKED {
            let body = |_| {
                let gate = gate.clone();
                fiber::spawn(move || gate.acquire().wait().unwrap().forget())
            };
            let fibers: Vec<_> = (0..BLOCKED).map(body).collect();
            yield_now();
            gate.add_permits(BLOCKED as usize);
            for fiber in fibers {
                fiber.join().unwrap();
            }
        }
        begin.elapsed()
    })
}

/// Fibers that yield in turn.
pub fn turns(count: usize, turns: u64) -> Duration {
    Builder::new().workers(1).run(|| {
        let rounds = turns / count as u64;
        let fibers: Vec<_> = (0..count)
            .map(|_| fiber::spawn(move || (0..=rounds).for_each(|_| yield_now())))
            .collect();
        // Each has started before the clock does.
        yield_now();
        let begin = Instant::now();
        for fiber in fibers {
            fiber.join().unwrap();
        }
        begin.elapsed()
    })
}

/// Two fibers that yield.
pub fn yields(workers: usize, operations: u64) -> Duration {
    yield_in(Builder::new(), workers, operations)
}

/// The same while all that the runtime does is recorded.
pub fn recorded_yields(workers: usize, operations: u64) -> Duration {
    yield_in(recorded(), workers, operations)
}

fn yield_in(runtime: Builder, workers: usize, operations: u64) -> Duration {
    runtime.workers(workers).run(|| {
        let body = move || (0..operations / 2).for_each(|_| yield_now());
        let begin = Instant::now();
        let fibers = [fiber::spawn(body), fiber::spawn(body)];
        for fiber in fibers {
            fiber.join().unwrap();
        }
        begin.elapsed()
    })
}

/// Round trips over two channels.
pub fn channel(workers: usize, operations: u64) -> Duration {
    channel_in(Builder::new(), workers, operations)
}

/// The same while all that the runtime does is recorded.
pub fn recorded_channel(workers: usize, operations: u64) -> Duration {
    channel_in(recorded(), workers, operations)
}

fn channel_in(runtime: Builder, workers: usize, operations: u64) -> Duration {
    runtime.workers(workers).run(|| {
        let (ping, pinged) = bounded(1);
        let (pong, ponged) = bounded(1);
        let other = fiber::spawn(move || {
            while let Ok(message) = pinged.recv().wait() {
                pong.send(message).wait().unwrap();
            }
        });
        let one = fiber::spawn(move || {
            let begin = Instant::now();
            for number in 0..operations {
                ping.send(number).wait().unwrap();
                assert_eq!(ponged.recv().wait(), Ok(number));
            }
            begin.elapsed()
        });
        let elapsed = one.join().unwrap();
        other.join().unwrap();
        elapsed
    })
}

/// Serves until killed.
pub fn echo(listener: TcpListener) {
    serve(Builder::new(), listener);
}

/// The same while all that the runtime does is recorded.
pub fn recorded_echo(listener: TcpListener) {
    serve(recorded(), listener);
}

fn recorded() -> Builder {
    Builder::new().record(&Recorder::new(RECORDED))
}

fn serve(runtime: Builder, listener: TcpListener) {
    runtime.workers(1).run(|| {
        let listener = bifilar::net::TcpListener::try_from(listener).unwrap();
        loop {
            let (mut stream, _) = listener.accept().wait().unwrap();
            drop(fiber::spawn(move || {
                let mut buffer = [0; BUFFER];
                while let Ok(count @ 1..) = stream.read(&mut buffer) {
                    stream.write_all(&buffer[..count]).unwrap();
                }
            }));
        }
    })
}
