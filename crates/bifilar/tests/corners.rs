//! Corners that were found by looking for them: each test is named after what once went wrong there.

use bifilar::{
    Builder, Handle, JoinHandle, Runtime, Wait, fiber,
    sync::{channel, oneshot},
    task,
    time::{sleep, timeout},
    unblock,
};
use futures_util::AsyncWriteExt;
use std::{
    future::{Future, pending, poll_fn},
    pin::pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    task::{Context, Poll, Wake, Waker},
    time::{Duration, Instant},
};

const MS: Duration = Duration::from_millis(1);

#[test]
fn guards_dropped_in_the_wrong_order_name_no_runtime_that_is_gone() {
    let first = Builder::new().workers(1).name("first").build().unwrap();
    let second = Builder::new().workers(1).name("second").build().unwrap();
    let (h1, h2) = (first.handle().clone(), second.handle().clone());
    let g1 = h1.enter();
    let g2 = h2.enter();
    drop(g1);
    drop((first, second));
    drop(g2);
    // Whatever is entered now, it is alive, and has ended.
    if let Some(handle) = Handle::try_current() {
        assert!(handle.spawn(async {}).join().unwrap_err().is_cancelled());
    }
}

#[test]
fn a_guard_that_ends_inside_another_runtime() {
    let outer = Builder::new().workers(1).build().unwrap();
    let guard = outer.handle().enter();
    bifilar::run(move || {
        drop(guard);
        assert_eq!(fiber::spawn(|| 1).join().unwrap(), 1);
    });
    assert_eq!(bifilar::run(|| 2), 2);
}

#[test]
fn a_guard_held_across_an_await_is_not_the_next_tasks() {
    let other = Builder::new().workers(1).name("other").build().unwrap();
    let handle = other.handle().clone();
    Builder::new().workers(1).name("this").run(move || {
        let holder = task::spawn_local(async move {
            let _entered = handle.enter();
            pending::<()>().await
        });
        fiber::yield_now();
        let name = task::spawn_local(async { format!("{:?}", Handle::current()) });
        assert!(name.join().unwrap().contains("this"));
        holder.cancel();
        assert!(holder.join().unwrap_err().is_cancelled());
    });
}

/// A foreign waker, called by the reactor on the loop's own stack, waits.
#[test]
fn a_waker_that_waits_parks_the_thread_and_not_the_loop() {
    struct Waits(Mutex<Option<oneshot::Receiver<()>>>);
    impl Wake for Waits {
        fn wake(self: Arc<Self>) {
            if let Some(receiver) = self.0.lock().unwrap().take() {
                let _ = receiver.wait();
            }
        }
    }
    let (sender, receiver) = oneshot::channel();
    let waker = Waker::from(Arc::new(Waits(Mutex::new(Some(receiver)))));
    let releaser = std::thread::spawn(move || {
        std::thread::sleep(20 * MS);
        sender.send(()).unwrap();
    });
    Builder::new().workers(1).run(|| {
        let mut short = pin!(sleep(MS));
        assert!(short.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        sleep(5 * MS).wait();
    });
    releaser.join().unwrap();
}

#[test]
fn a_task_that_is_being_freed_is_nobodys_current_one() {
    static KEPT: Mutex<Option<task::Task>> = Mutex::new(None);
    struct Last(Mutex<Option<JoinHandle<()>>>);
    impl Wake for Last {
        fn wake(self: Arc<Self>) {
            drop(self.0.lock().unwrap().take());
        }
    }
    impl Drop for Last {
        fn drop(&mut self) {
            *KEPT.lock().unwrap() = task::try_current();
        }
    }
    Builder::new().workers(1).run(|| {
        let mut handle = task::spawn(async { task::yield_now().await });
        let last = Arc::new(Last(Mutex::new(None)));
        let waker = Waker::from(last.clone());
        assert!(pin!(&mut handle).poll(&mut Context::from_waker(&waker)).is_pending());
        *last.0.lock().unwrap() = Some(handle);
        drop((last, waker));
        for _ in 0..5 {
            fiber::yield_now();
        }
    });
    // Still there, if it was anybody's.
    if let Some(task) = KEPT.lock().unwrap().take() {
        assert!(task.id().get() > 0 && task.name().is_none());
    }
}

/// The usual guard of structured concurrency: cancel and join the child when the parent unwinds.
#[test]
fn a_parent_that_unwinds_may_cancel_and_join_its_child() {
    struct Join(Option<JoinHandle<()>>);
    impl Drop for Join {
        fn drop(&mut self) {
            let child = self.0.take().unwrap();
            child.cancel();
            assert!(child.join().unwrap_err().is_cancelled());
        }
    }
    for workers in [1, 2] {
        Builder::new().workers(workers).run(|| {
            for by_panic in [true, false] {
                let parent = fiber::spawn(move || {
                    let _join = Join(Some(fiber::spawn_local(|| pending().wait())));
                    fiber::yield_now();
                    assert!(!by_panic, "on purpose");
                    pending::<()>().wait()
                });
                sleep(2 * MS).wait();
                parent.cancel();
                assert_eq!(parent.join().unwrap_err().is_panic(), by_panic);
            }
        });
    }
}

#[test]
fn a_local_runtime_within_itself_waits() {
    let runtime = Builder::new().build_local().unwrap();
    let answer = runtime.block_on(async {
        let task = runtime.spawn_local(async {
            sleep(MS).await;
            20
        });
        runtime.block_on(task).unwrap() + runtime.run(|| 22)
    });
    assert_eq!(answer, 42);
}

/// Another thread that never stops spawning must not keep a worker from its own tasks.
#[test]
fn a_flood_from_outside_does_not_starve_a_full_queue() {
    Builder::new().workers(1).run(|| {
        let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
        let flood = std::thread::spawn({
            let (handle, stop) = (Handle::current(), stop.clone());
            move || {
                let live = Arc::new(AtomicUsize::new(0));
                while !stop.load(SeqCst) {
                    if live.load(SeqCst) < 2_000 {
                        live.fetch_add(1, SeqCst);
                        let live = live.clone();
                        drop(handle.spawn(async move { live.fetch_sub(1, SeqCst) }));
                    }
                }
            }
        });
        let tasks: Vec<_> = (0..1_000)
            .map(|_| {
                task::spawn(async {
                    for _ in 0..20 {
                        task::yield_now().await;
                    }
                })
            })
            .collect();
        tasks.into_iter().for_each(|task| task.join().unwrap());
        stop.store(true, SeqCst);
        unblock(move || flood.join().unwrap()).join().unwrap();
    });
}

/// A small executor of somebody else's, which polls again at once.
#[test]
fn a_foreign_executor_inside_a_task_gets_on_without_budget() {
    fn spin_on<F: Future>(future: F) -> F::Output {
        let mut future = pin!(future);
        loop {
            if let Poll::Ready(output) =
                future.as_mut().poll(&mut Context::from_waker(Waker::noop()))
            {
                return output;
            }
        }
    }
    Builder::new().workers(1).run(|| {
        let listener = bifilar::net::TcpListener::bind("127.0.0.1:0").wait().unwrap();
        let address = listener.local_addr().unwrap();
        let mut client = bifilar::net::TcpStream::connect(address).wait().unwrap();
        let written = task::spawn(async move {
            spin_on(async {
                for _ in 0..1_000 {
                    client.write_all(b"x").await.unwrap();
                }
            });
        });
        assert!(timeout(Duration::from_secs(20), written).wait().is_ok());
    });
}

#[test]
fn dropping_an_entered_runtime_waits_for_its_tasks() {
    struct Slow(channel::Sender<()>);
    impl Drop for Slow {
        fn drop(&mut self) {
            sleep(10 * MS).wait();
            self.0.try_send(()).unwrap();
        }
    }
    let (sender, receiver) = channel::unbounded();
    let runtime = Runtime::new().unwrap();
    let (started, is_started) = oneshot::channel();
    drop(runtime.spawn_fiber(move || {
        let _slow = Slow(sender);
        started.send(()).unwrap();
        pending::<()>().wait()
    }));
    is_started.wait().unwrap();
    let handle = runtime.handle().clone();
    let _entered = handle.enter();
    drop(runtime);
    assert_eq!(receiver.try_recv(), Ok(()));
}

#[test]
fn a_task_that_entered_another_runtime_may_drop_its_own() {
    let mine = Arc::new(Builder::new().workers(1).build().unwrap());
    let other = Builder::new().workers(1).build().unwrap();
    let handle = other.handle().clone();
    let last = mine.clone();
    let (go, gone) = oneshot::channel();
    let task = mine.spawn_fiber(move || {
        let _entered = handle.enter();
        gone.wait().unwrap();
        let start = Instant::now();
        drop(last);
        start.elapsed()
    });
    drop(mine);
    go.send(()).unwrap();
    assert!(task.join().unwrap() < Duration::from_secs(5));
}

#[test]
fn calls_that_have_not_started_are_cancelled_with_their_runtime() {
    let (hold, held) = std::sync::mpsc::channel::<()>();
    let held = Arc::new(Mutex::new(held));
    let ran = Arc::new(AtomicUsize::new(0));
    let calls: Vec<_> = bifilar::run(|| {
        (0..600)
            .map(|_| {
                let (held, ran) = (held.clone(), ran.clone());
                unblock(move || {
                    ran.fetch_add(1, SeqCst);
                    let _ = held.lock().unwrap().recv();
                })
            })
            .collect()
    });
    // The runtime has ended; those that run go on, and the others never start.
    drop(hold);
    let cancelled = calls.into_iter().filter_map(|call| call.join().err()).count();
    assert!(cancelled >= 600 - 512, "{cancelled}");
    assert_eq!(ran.load(SeqCst), 600 - cancelled);
}

#[test]
fn a_waker_that_panics_is_not_the_workers_end() {
    struct Panics;
    impl Wake for Panics {
        fn wake(self: Arc<Self>) {
            panic!("a waker's own");
        }
    }
    Builder::new().workers(1).run(|| {
        let waker = Waker::from(Arc::new(Panics));
        let mut short = pin!(sleep(MS));
        let mut once = pin!(poll_fn(|_| {
            assert!(short.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
            Poll::Ready(())
        }));
        once.as_mut().wait();
        sleep(5 * MS).wait();
        assert_eq!(fiber::spawn(|| 1).join().unwrap(), 1);
    });
}
