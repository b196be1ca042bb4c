//! may: stackful coroutines, with its default stack size. Its channel has no bound; the ping-pong
//! never has more than one message under way all the same.

use std::{
    io::{Read, Write},
    net::TcpListener,
    os::fd::{FromRawFd, IntoRawFd},
    sync::Arc,
    time::{Duration, Instant},
};

use may::{
    config,
    coroutine::{self, JoinHandle},
    sync::{Semphore, mpsc::channel as unbounded},
};

use super::{BATCH, BLOCKED, BUFFER};

fn go<T: Send + 'static>(body: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    // SAFETY: the bodies here keep nothing in thread-locals across a suspension and fit into the
    // default stack, which is what may asks of its callers.
    unsafe { coroutine::spawn(body) }
}

fn run<T: Send + 'static>(workers: usize, work: impl FnOnce() -> T + Send + 'static) -> T {
    config().set_workers(workers);
    go(work).join().unwrap()
}

/// Spawns and joins in batches.
pub fn spawn(workers: usize, operations: u64) -> Duration {
    run(workers, move || {
        let begin = Instant::now();
        for _ in 0..operations / BATCH {
            let coroutines: Vec<_> = (0..BATCH).map(|number| go(move || number)).collect();
            for coroutine in coroutines {
                coroutine.join().unwrap();
            }
        }
        begin.elapsed()
    })
}

/// Spawns, blocks, wakes and joins in batches.
pub fn block(workers: usize, operations: u64) -> Duration {
    run(workers, move || {
        let gate = Arc::new(Semphore::new(0));
        let begin = Instant::now();
        for _ in 0..operations / BLOCKED {
            let body = |_| {
                let gate = gate.clone();
                go(move || gate.wait())
            };
            let coroutines: Vec<_> = (0..BLOCKED).map(body).collect();
            coroutine::yield_now();
            (0..BLOCKED).for_each(|_| gate.post());
            for coroutine in coroutines {
                coroutine.join().unwrap();
            }
        }
        begin.elapsed()
    })
}

/// Coroutines that yield in turn.
pub fn turns(count: usize, turns: u64) -> Duration {
    run(1, move || {
        let rounds = turns / count as u64;
        let body = move || (0..=rounds).for_each(|_| coroutine::yield_now());
        let coroutines: Vec<_> = (0..count).map(|_| go(body)).collect();
        // Each has started before the clock does.
        coroutine::yield_now();
        let begin = Instant::now();
        for coroutine in coroutines {
            coroutine.join().unwrap();
        }
        begin.elapsed()
    })
}

/// Two coroutines that yield.
pub fn yields(workers: usize, operations: u64) -> Duration {
    run(workers, move || {
        let body = move || (0..operations / 2).for_each(|_| coroutine::yield_now());
        let begin = Instant::now();
        let coroutines = [go(body), go(body)];
        for coroutine in coroutines {
            coroutine.join().unwrap();
        }
        begin.elapsed()
    })
}

/// Round trips over two channels.
pub fn channel(workers: usize, operations: u64) -> Duration {
    run(workers, move || {
        let (ping, pinged) = unbounded();
        let (pong, ponged) = unbounded();
        let other = go(move || {
            while let Ok(message) = pinged.recv() {
                pong.send(message).unwrap();
            }
        });
        let one = go(move || {
            let begin = Instant::now();
            for number in 0..operations {
                ping.send(number).unwrap();
                assert_eq!(ponged.recv(), Ok(number));
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
    run(1, move || {
        listener.set_nonblocking(true).unwrap();
        // SAFETY: the descriptor is a listening socket, and nobody else owns it.
        let listener = unsafe { may::net::TcpListener::from_raw_fd(listener.into_raw_fd()) };
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            go(move || {
                let mut buffer = [0; BUFFER];
                while let Ok(count @ 1..) = stream.read(&mut buffer) {
                    stream.write_all(&buffer[..count]).unwrap();
                }
            });
        }
    });
}
