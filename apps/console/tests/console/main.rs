//! What a client of tokio-console is told of tasks and fibers: the real protocol, over a socket.
//!
//! Needs `--cfg console_without_tokio_unstable`, which `.cargo/config.toml` sets unless there is a
//! RUSTFLAGS in the environment.

mod client;

use bifilar::{
    Builder, Wait as _, fiber, race, scope,
    sync::{Mutex, Notify, Semaphore, channel, oneshot},
    task, unblock,
};
use client::{Client, Resource, Wait};
use std::{
    future::{pending, poll_fn},
    sync::{Arc, mpsc},
    task::{Poll, Waker},
    time::Duration,
};
use tracing::{Span, info_span};

const MS: Duration = Duration::from_millis(1);
const FILE: &str = "tests/console/main.rs";

/// On one worker, so that the order of things is known.
fn run<T>(f: impl FnOnce() -> T) -> T {
    Builder::new().workers(1).run(f)
}

/// Lets the other tasks of this worker run until each of them waits.
fn let_all_run() {
    (0..20).for_each(|_| fiber::yield_now());
}

#[test]
fn kinds_names_and_places() {
    let client = Client::get();
    let mut spawned = Vec::new();
    let number = run(|| {
        let mut here = |kind, line| spawned.push((kind, line));
        let (named, line) = (task::Builder::new().name("a task").spawn(async {}), line!());
        here("task", line);
        let captured = [1_u8; 333];
        let body = move || assert_eq!(captured.len(), 333);
        let (_, line) = (fiber::Builder::new().name("a fiber").spawn(body), line!());
        here("fiber", line);
        let (_, line) = (fiber::Builder::new().name("local").spawn_local(|| ()), line!());
        here("fiber", line);
        let (_, line) = (task::spawn(async {}), line!());
        here("task", line);
        let (_, line) = (task::spawn_local(async {}), line!());
        here("local", line);
        let (_, line) = (fiber::spawn(|| ()), line!());
        here("fiber", line);
        let (_, line) = (bifilar::Handle::current().spawn_fiber(|| ()), line!());
        here("fiber", line);
        let (call, line) = (unblock(|| ()), line!());
        here("blocking", line);
        call.wait().unwrap();
        scope(|s| {
            let (_, line) = (s.spawn(|| ()), line!());
            here("fiber", line);
            let (_, line) = (s.spawn_future(async {}), line!());
            here("task", line);
        });
        let_all_run();
        named.unwrap().id().get()
    });
    for (kind, line) in spawned {
        let told = client.spawned_at(FILE, line, |task| task.is_closed);
        assert_eq!((told.kind.as_str(), told.polls), (kind, 1), "{told:?}");
        assert!(told.column > 1, "{told:?}");
    }
    assert_eq!(client.named("a task", |_| true).number, number);
    assert!((333..500).contains(&client.named("a fiber", |_| true).bytes));
}

#[test]
fn the_main_task() {
    let client = Client::get();
    let line = line!() + 1;
    Builder::new().workers(1).run(|| ());
    let told = client.spawned_at(FILE, line, |task| task.is_closed);
    assert_eq!((told.kind.as_str(), told.name.as_deref()), ("block_on", Some("main")));

    let local = Builder::new().build_local().unwrap();
    let (line, ()) = (line!(), local.block_on(async {}));
    let told = client.spawned_at(FILE, line, |task| task.is_closed);
    assert_eq!((told.kind.as_str(), told.name), ("block_on", None));
}

/// A task that wakes itself, in both styles.
#[test]
fn polls_and_self_wakes() {
    let client = Client::get();
    run(|| {
        let yields = async {
            for _ in 0..3 {
                task::yield_now().await;
            }
        };
        task::Builder::new().name("yields").spawn(yields).unwrap().join().unwrap();
        let spawn = fiber::Builder::new().name("gives way");
        spawn.spawn(|| (0..3).for_each(|_| fiber::yield_now())).unwrap().join().unwrap();
    });
    for name in ["yields", "gives way"] {
        let told = client.named(name, |task| task.is_closed);
        assert_eq!((told.polls, told.wakes, told.self_wakes), (4, 3, 3), "{name}");
        assert_eq!(told.wakers, 0, "{name}");
    }
}

/// What is woken by another, in both styles: polls, wake-ups, and that it stands still meanwhile with
/// a waker that somebody has.
#[test]
fn waits_for_others() {
    let client = Client::get();
    run(|| {
        let [(to_task, task_gets), (to_fiber, fiber_gets)] = [0; 2].map(|_| channel::bounded(9));
        let awaits = async move { while task_gets.recv().await.is_ok() {} };
        let waits = move || while fiber_gets.recv().wait().is_ok() {};
        task::Builder::new().name("awaits").spawn(awaits).unwrap();
        fiber::Builder::new().name("waits").spawn(waits).unwrap();
        for (name, sender) in [("awaits", to_task), ("waits", to_fiber)] {
            for sent in 0..4 {
                let_all_run();
                let told = client.named(name, |task| task.polls == sent + 1 && !task.is_running);
                assert_eq!((told.wakes, told.self_wakes, told.wakers), (sent, 0, 1), "{name}");
                assert!(!told.is_closed, "{name}");
                sender.try_send(()).unwrap();
            }
            let_all_run();
            drop(sender);
            let_all_run();
            let told = client.named(name, |task| task.is_closed);
            assert_eq!((told.polls, told.wakes, told.self_wakes, told.wakers), (6, 5, 0, 0));
        }
    });
}

/// A poll that stands on a suspended stack, in the middle of async code.
#[test]
fn a_task_that_waits_in_blocking_style() {
    let client = Client::get();
    run(|| {
        let notify = Arc::new(Notify::new());
        let theirs = notify.clone();
        let mixed = async move {
            theirs.notified().await;
            theirs.notified().wait();
            theirs.notified().await;
        };
        task::Builder::new().name("mixed").spawn(mixed).unwrap();
        for woken in 0..3 {
            let_all_run();
            let told = client.named("mixed", |task| task.polls == woken + 1 && !task.is_running);
            assert_eq!((told.wakes, told.self_wakes, told.wakers), (woken, 0, 1));
            notify.notify_one();
        }
        let_all_run();
        let told = client.named("mixed", |task| task.is_closed);
        assert_eq!((told.polls, told.wakes, told.wakers), (4, 3, 0));
    });
}

/// Nothing is hidden: nobody has the waker of these.
#[test]
fn a_lost_waker_is_seen() {
    let client = Client::get();
    run(|| {
        let task = task::Builder::new().name("lost task").spawn(pending::<()>()).unwrap();
        let spawn = fiber::Builder::new().name("lost fiber");
        let fiber = spawn.spawn(|| pending::<()>().wait()).unwrap();
        let_all_run();
        for name in ["lost task", "lost fiber"] {
            let told = client.named(name, |task| task.polls == 1 && !task.is_running);
            assert_eq!((told.wakes, told.wakers, told.is_closed), (0, 0, false), "{name}");
        }
        // Cancelling wakes them without a waker.
        task.cancel();
        fiber.cancel();
        assert!(task.join().is_err() && fiber.join().is_err());
        for name in ["lost task", "lost fiber"] {
            let told = client.named(name, |task| task.is_closed);
            assert_eq!((told.polls, told.wakes, told.self_wakes), (2, 1, 0), "{name}");
        }
    });
}

#[test]
fn a_task_that_runs() {
    let client = Client::get();
    let (go_on, stop) = mpsc::channel::<()>();
    thread_of_its_own(move || {
        run(|| {
            let computes = move || stop.recv().unwrap_err();
            fiber::Builder::new().name("computes").spawn(computes).unwrap().join().unwrap();
        });
    });
    let told = client.named("computes", |task| task.is_running);
    assert_eq!((told.polls, told.wakes, told.is_closed), (1, 0, false));
    drop(go_on);
    let told = client.named("computes", |task| task.is_closed);
    assert!(!told.is_running && !told.busy.is_zero());
}

/// The end of a task is its end, whoever still has handles and wakers; and what happens to those
/// afterwards is counted for nobody else.
#[test]
fn handles_and_wakers_that_are_kept() {
    let client = Client::get();
    run(|| {
        let (sender, waker) = oneshot::channel::<Waker>();
        let (mut sender, mut first) = (Some(sender), true);
        let keeps = poll_fn(move |cx| {
            if let Some(sender) = sender.take() {
                sender.send(cx.waker().clone()).unwrap();
            }
            if std::mem::take(&mut first) {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            Poll::Ready(())
        });
        let spawn = fiber::Builder::new().name("kept");
        let handle = spawn.spawn(|| keeps.wait()).unwrap();
        let (task, waker) = (handle.task(), waker.wait().unwrap());
        handle.join().unwrap();
        let told = client.named("kept", |task| task.is_closed);
        assert_eq!((told.polls, told.wakes, told.self_wakes, told.wakers), (2, 1, 1, 1));
        // The same stack belongs to somebody else by now.
        let next = fiber::Builder::new().name("next").spawn(|| {
            let copy = waker.clone();
            copy.wake();
            waker.wake_by_ref();
            drop(waker);
        });
        next.unwrap().join().unwrap();
        let told = client.named("next", |task| task.is_closed);
        assert_eq!((told.polls, told.wakes, told.wakers), (1, 0, 0));
        drop(task);
    });
}

/// Wakers go to other threads, and are dropped, cloned and used there.
#[test]
fn wakers_on_other_threads() {
    let client = Client::get();
    run(|| {
        for name in ["remote task", "remote fiber"] {
            let (hand_over, taken) = mpsc::channel::<Waker>();
            let mut woken = false;
            let waits = poll_fn(move |cx| {
                if std::mem::replace(&mut woken, true) {
                    return Poll::Ready(());
                }
                hand_over.send(cx.waker().clone()).unwrap();
                Poll::Pending
            });
            thread_of_its_own(move || {
                let waker = taken.recv().unwrap();
                drop(waker.clone());
                Client::get().named(name, |task| task.polls == 1 && !task.is_running);
                waker.wake();
            });
            let ended = match name {
                "remote task" => task::Builder::new().name(name).spawn(waits),
                _ => fiber::Builder::new().name(name).spawn(move || waits.wait()),
            };
            ended.unwrap().join().unwrap();
            let told = client.named(name, |task| task.is_closed);
            assert_eq!((told.polls, told.wakes, told.self_wakes, told.wakers), (2, 1, 0, 0));
        }
    });
}

/// A thousand tasks and fibers on all workers: each is told of from its beginning to its end.
#[test]
fn many_on_all_workers() {
    let client = Client::get();
    Builder::new().workers(4).run(|| {
        let (sender, receiver) = channel::bounded(1);
        for i in 0..250 {
            let (sender, receiver) = (sender.clone(), receiver.clone());
            let name = |what| format!("{what} {i}");
            let sends = async move { sender.send(i).await.unwrap() };
            task::Builder::new().name(name("many tasks")).spawn(sends).unwrap();
            let receives = move || receiver.recv().wait().unwrap();
            fiber::Builder::new().name(name("many fibers")).spawn(receives).unwrap();
        }
    });
    for i in 0..250 {
        for what in ["many tasks", "many fibers"] {
            let told = client.named(&format!("{what} {i}"), |task| task.is_closed);
            assert!(!told.is_running && told.wakers == 0, "{told:?}");
        }
    }
}

/// What tasks and fibers wait for, from when they must.
#[test]
fn resources() {
    let client = Client::get();
    run(|| {
        let (lock, lock_line) = (Arc::new(Mutex::new(0)), line!());
        let held = lock.clone().lock_owned().wait();
        let ((sender, receiver), channel_line) = (channel::bounded(1), line!());
        let waits = move || {
            *lock.lock().wait() += 1;
            receiver.recv().wait().unwrap();
            *lock.lock().wait() += 1; // free
            fiber::sleep(MS);
            line!() - 1
        };
        let fiber = fiber::Builder::new().name("uses").spawn(waits).unwrap();
        let_all_run();
        let [wait] = client.waits("uses", |waits| !waits.is_empty()).try_into().unwrap();
        assert_eq!(
            (wait.operation.as_str(), wait.polls, wait.is_closed),
            ("Mutex::lock", 1, false)
        );
        let Resource { concrete_type, is_timer, line, is_closed } = wait.resource;
        assert_eq!((concrete_type.as_str(), line), ("Mutex", lock_line));
        assert!(!is_timer && !is_closed);
        drop(held);
        let_all_run();
        let mut waits = client.waits("uses", |waits| waits.len() == 2);
        waits.sort_by_key(|wait| wait.operation.clone());
        let [lock, receive] = waits.try_into().unwrap();
        assert_eq!((lock.polls, lock.is_closed, lock.resource.is_closed), (2, true, false));
        assert_eq!((receive.operation.as_str(), receive.is_closed), ("Receiver::recv", false));
        assert_eq!(receive.resource.concrete_type, "channel");
        assert_eq!(receive.resource.line, channel_line);
        sender.try_send(()).unwrap();
        let sleep_line = fiber.join().unwrap();
        drop(sender);
        let gone = |waits: &[Wait]| waits.iter().all(|wait| wait.resource.is_closed);
        let mut waits = client.waits("uses", |waits| waits.len() == 3 && gone(waits));
        assert!(waits.iter().all(|wait| wait.polls == 2 && wait.is_closed), "{waits:#?}");
        waits.retain(|wait| wait.resource.is_timer);
        assert_eq!(waits[0].operation, "Sleep::poll");
        assert_eq!((waits[0].resource.line, waits.len()), (sleep_line, 1));
    });
}

/// A future that is dropped waits for nothing any more, and the others of the task still do.
#[test]
fn waits_that_are_given_up() {
    let client = Client::get();
    run(|| {
        let (bell, go_on) = (Arc::new(Notify::new()), Arc::new(Semaphore::new(0)));
        let (theirs, permits) = (bell.clone(), go_on.clone());
        let races = async move {
            let first = async { permits.acquire().await.unwrap().forget() };
            race((theirs.notified(), first)).await;
            theirs.notified().await;
        };
        let task = task::Builder::new().name("races").spawn(races).unwrap();
        let_all_run();
        let waits = client.waits("races", |waits| waits.len() == 2);
        assert!(waits.iter().all(|wait| !wait.is_closed), "{waits:#?}");
        go_on.add_permits(1);
        let_all_run();
        // Two for the same bell: the one that lost, and the next one, take each other's place.
        let waits = client.waits("races", |waits| waits.iter().any(|wait| wait.is_closed));
        let closed = waits.iter().find(|wait| wait.is_closed).unwrap();
        assert_eq!((closed.operation.as_str(), closed.polls), ("Semaphore::acquire", 2));
        task.cancel();
        assert!(task.join().is_err());
        client.waits("races", |waits| waits.iter().all(|wait| wait.is_closed));
    });
}

/// The program's own spans, and the one of the task around them, where stacks are suspended.
#[test]
fn current_spans() {
    let client = Client::get();
    run(|| {
        let fibers = ["spans a", "spans b"].map(|name| {
            let body = || {
                assert_eq!(current(), "runtime.spawn");
                let _own = info_span!("own").entered();
                for _ in 0..3 {
                    fiber::yield_now();
                    assert_eq!(current(), "own");
                }
            };
            fiber::Builder::new().name(name).spawn(body).unwrap()
        });
        fibers.into_iter().for_each(|fiber| fiber.join().unwrap());
        assert_eq!(current(), "runtime.spawn");
    });
    assert_eq!(current(), "");
    for name in ["spans a", "spans b"] {
        let told = client.named(name, |task| task.is_closed);
        assert_eq!((told.polls, told.wakes, told.self_wakes), (4, 3, 3), "{name}");
    }
}

/// The name of the current span.
fn current() -> &'static str {
    Span::current().metadata().map_or("", |metadata| metadata.name())
}

/// A thread whose panic isn't lost: what it should have done is waited for.
fn thread_of_its_own(f: impl FnOnce() + Send + 'static) {
    std::thread::spawn(f);
}
