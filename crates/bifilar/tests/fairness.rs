//! Nobody starves: tasks that are always ready, in either style, let others run.

use bifilar::{
    Builder, Wait, fiber,
    net::{TcpListener, TcpStream},
    sync::channel,
    task,
    time::sleep,
};
use std::{
    future::{Future, ready},
    io::{Read, Write},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

/// Runs `busy` over and over on the only worker while others must get their turn.
fn others_run_beside(busy: impl Fn() + Send + Sync + 'static) {
    Builder::new().workers(1).run(|| {
        let stop = Arc::new(AtomicBool::new(false));
        let hog = fiber::spawn({
            let stop = stop.clone();
            move || {
                while !stop.load(Relaxed) {
                    busy();
                }
            }
        });
        // A task that yields, a timer and a socket: each must come round.
        task::spawn(async {
            for _ in 0..10 {
                task::yield_now().await;
            }
        })
        .join()
        .unwrap();
        sleep(Duration::from_millis(1)).wait();
        let listener = TcpListener::bind("127.0.0.1:0").wait().unwrap();
        let address = listener.local_addr().unwrap();
        let accepted = fiber::spawn(move || listener.accept().wait().map(drop));
        TcpStream::connect(address).wait().unwrap();
        accepted.join().unwrap().unwrap();
        stop.store(true, Relaxed);
        hog.join().unwrap();
    });
}

#[test]
fn beside_waits_that_are_always_ready() {
    others_run_beside(|| ready(()).wait());
}

#[test]
fn beside_a_fiber_that_yields() {
    others_run_beside(fiber::yield_now);
}

#[test]
fn beside_a_conversation_of_two_tasks() {
    others_run_beside(|| {
        let (ping, pinged) = channel::bounded::<()>(1);
        let (pong, ponged) = channel::bounded::<()>(1);
        let partner = task::spawn(async move {
            while pinged.recv().await.is_ok() {
                pong.send(()).await.unwrap();
            }
        });
        let asker = task::spawn(async move {
            for _ in 0..100 {
                ping.send(()).await.unwrap();
                ponged.recv().await.unwrap();
            }
        });
        asker.join().unwrap();
        partner.join().unwrap();
    });
}

#[test]
fn beside_a_socket_that_always_has_data() {
    Builder::new().workers(1).run(|| {
        let listener = TcpListener::bind("127.0.0.1:0").wait().unwrap();
        let mut sender = TcpStream::connect(listener.local_addr().unwrap()).wait().unwrap();
        let (mut receiver, _) = listener.accept().wait().unwrap();
        // A thread that sends for as long as anybody reads.
        let plain = sender.clone();
        let pump = std::thread::spawn(move || while (&plain).write_all(&[0; 65536]).is_ok() {});
        let reader =
            fiber::spawn(move || while receiver.read(&mut [0; 16]).is_ok_and(|n| n > 0) {});
        for _ in 0..10 {
            fiber::yield_now();
            sleep(Duration::from_millis(1)).wait();
        }
        reader.cancel();
        // It may only be cancelled at a wait that has to wait; so the data ends, too.
        sender.flush().unwrap();
        sender.shutdown(std::net::Shutdown::Both).unwrap();
        let _ = reader.join();
        bifilar::unblock(move || pump.join().unwrap()).join().unwrap();
    });
}

/// Tasks beyond the 256 places of a worker's ring are not passed over.
#[test]
fn beyond_the_ring() {
    Builder::new().workers(1).run(|| {
        let (sender, receiver) = channel::unbounded();
        let tasks: Vec<_> = (0..2_000)
            .map(|i| {
                let sender = sender.clone();
                task::spawn(async move {
                    for round in 0..3 {
                        sender.try_send((round, i)).unwrap();
                        task::yield_now().await;
                    }
                })
            })
            .collect();
        tasks.into_iter().for_each(|task| task.join().unwrap());
        drop(sender);
        let mut order = Vec::new();
        while let Ok(entry) = receiver.try_recv() {
            order.push(entry);
        }
        // First in, first out: each round is over before the next begins.
        assert!(order.is_sorted());
        assert_eq!(order.len(), 6_000);
    });
}

/// A worker in a call that blocks for real: the other one looks after its sockets and timers, and
/// after the task it had just woken.
#[test]
fn beside_a_worker_that_is_stuck() {
    for _ in 0..5 {
        let runtime = Builder::new().workers(2).build().unwrap();
        let (hold, held) = std::sync::mpsc::channel::<()>();
        let (gate, opened) = channel::unbounded::<()>();
        let tasks: Vec<_> = (0..64)
            .map(|_| {
                let opened = opened.clone();
                runtime.spawn(async move {
                    // Set on whichever worker it runs.
                    for _ in 0..3 {
                        sleep(Duration::from_millis(2)).await;
                    }
                    opened.recv().await.unwrap();
                })
            })
            .collect();
        let stuck = runtime.spawn_fiber(move || {
            sleep(Duration::from_millis(3)).wait();
            (0..64).for_each(|_| gate.try_send(()).unwrap());
            // Blocks the thread, until all of them are done.
            held.recv().unwrap();
        });
        tasks.into_iter().for_each(|task| task.join().unwrap());
        hold.send(()).unwrap();
        stuck.join().unwrap();
    }
}

/// Futures of `sync` that are always ready: an async loop over them gives way, and can be cancelled.
#[test]
fn async_loops_that_always_find_something_ready_give_way() {
    type Loop = fn() -> std::pin::Pin<Box<dyn Future<Output = ()> + Send>>;
    let loops: [(&str, Loop); 4] = [
        ("a lock", || {
            Box::pin(async {
                let lock = bifilar::sync::Mutex::new(());
                loop {
                    drop(lock.lock().await);
                }
            })
        }),
        ("permits", || {
            Box::pin(async {
                let permits = bifilar::sync::Semaphore::new(1);
                loop {
                    drop(permits.acquire().await);
                }
            })
        }),
        ("a channel", || {
            Box::pin(async {
                let (sender, receiver) = bifilar::sync::channel::bounded(1);
                loop {
                    sender.send(()).await.unwrap();
                    receiver.recv().await.unwrap();
                }
            })
        }),
        ("a notification", || {
            Box::pin(async {
                let bell = bifilar::sync::Notify::new();
                loop {
                    bell.notify_one();
                    bell.notified().await;
                }
            })
        }),
    ];
    for (name, make) in loops {
        Builder::new().workers(1).run(|| {
            let busy = task::spawn(make());
            // Hangs if it doesn't give way.
            for _ in 0..10 {
                fiber::yield_now();
            }
            busy.cancel();
            assert!(busy.join().unwrap_err().is_cancelled(), "{name}");
        });
    }
}
