//! The end of a runtime: what it waits for, and what it says of those who don't end.

use bifilar::{
    Activity, Builder, LocalRuntime, Runtime, ShutdownReport, TaskKind, Wait, fiber, net, shield,
    sync::{Mutex, Notify, channel, oneshot},
    task,
    time::sleep,
    unblock,
};
use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

const LONG: Duration = Duration::from_secs(3600);
const SOON: Duration = Duration::from_secs(20);

/// Counts when it is dropped, after waiting once.
struct Counted(Arc<AtomicUsize>);

impl Drop for Counted {
    fn drop(&mut self) {
        sleep(Duration::from_millis(1)).wait();
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

fn runtimes() -> impl Iterator<Item = Runtime> {
    [1, 2, 4].into_iter().map(|workers| Builder::new().workers(workers).build().unwrap())
}

#[test]
fn cleanup_is_waited_for_and_the_report_is_clean() {
    for runtime in runtimes() {
        let dropped = Arc::new(AtomicUsize::new(0));
        let (ready, started) = channel::unbounded();
        for i in 0..30 {
            let (counted, ready) = (Counted(dropped.clone()), ready.clone());
            match i % 3 {
                0 => drop(runtime.spawn_fiber(move || {
                    let _counted = counted;
                    ready.try_send(()).unwrap();
                    sleep(LONG).wait();
                })),
                1 => drop(runtime.spawn(async move {
                    let _counted = counted;
                    ready.try_send(()).unwrap();
                    sleep(LONG).await;
                })),
                _ => drop(runtime.spawn(async move {
                    let _counted = counted;
                    ready.try_send(()).unwrap();
                    async { sleep(LONG).wait() }.await;
                })),
            }
        }
        (0..30).for_each(|_| started.recv().wait().unwrap());
        let report = runtime.shutdown(SOON);
        assert!(report.is_clean(), "{report}");
        assert_eq!(dropped.load(Ordering::Relaxed), 30);
    }
}

#[test]
fn nothing_new_is_taken_on() {
    for runtime in runtimes() {
        let handle = runtime.handle().clone();
        assert!(runtime.shutdown(SOON).is_clean());
        let (sender, receiver) = oneshot::channel::<()>();
        let late = handle.spawn_fiber(move || sender.send(()));
        assert!(late.join().unwrap_err().is_cancelled());
        assert!(receiver.wait().is_err());
    }
}

/// Keeps calls blocked until the process ends.
static BLOCKED: std::sync::Mutex<Vec<std::sync::mpsc::Sender<()>>> =
    std::sync::Mutex::new(Vec::new());

/// One task of each kind that can't be ended, and what the report must say of it.
type Stubborn = (&'static str, fn(&Runtime, oneshot::Sender<()>), TaskKind, Activity, &'static str);

const STUBBORN: &[Stubborn] = &[
    (
        "a sleep",
        |runtime, ready| {
            runtime.spawn_fiber(move || {
                ready.send(()).unwrap();
                shield(|| sleep(LONG).wait());
            });
        },
        TaskKind::Fiber,
        Activity::Suspended,
        "a sleep, 3",
    ),
    (
        "a message",
        |runtime, ready| {
            runtime.spawn(async move {
                ready.send(()).unwrap();
                let (_sender, receiver) = channel::unbounded::<()>();
                shield(|| receiver.recv().wait())
            });
        },
        TaskKind::Async,
        Activity::Suspended,
        "a message from a channel",
    ),
    (
        "a lock",
        |runtime, ready| {
            runtime.spawn_fiber(move || {
                ready.send(()).unwrap();
                let lock = Mutex::new(());
                let _held = lock.lock().wait();
                shield(|| drop(lock.lock().wait()));
            });
        },
        TaskKind::Fiber,
        Activity::Suspended,
        "a mutex made at crates/bifilar/tests/shutdown.rs",
    ),
    (
        "a socket",
        |runtime, ready| {
            runtime.spawn_fiber(move || {
                let listener = net::TcpListener::bind("127.0.0.1:0").wait().unwrap();
                ready.send(()).unwrap();
                shield(|| listener.accept().wait()).unwrap();
            });
        },
        TaskKind::Fiber,
        Activity::Suspended,
        "to be readable",
    ),
    (
        "another task",
        |runtime, ready| {
            let handle = runtime.handle().clone();
            runtime.spawn_fiber(move || {
                let (started, other_runs) = oneshot::channel();
                let other = handle.spawn_fiber(move || {
                    started.send(()).unwrap();
                    shield(|| Notify::new().notified().wait());
                });
                other_runs.wait().unwrap();
                ready.send(()).unwrap();
                shield(|| other.join()).unwrap();
            });
        },
        TaskKind::Fiber,
        Activity::Suspended,
        "the end of task ",
    ),
    (
        "a foreign future",
        |runtime, ready| {
            runtime.spawn_fiber(move || {
                ready.send(()).unwrap();
                shield(|| std::future::pending::<()>().wait());
            });
        },
        TaskKind::Fiber,
        Activity::Suspended,
        "doesn't say",
    ),
    (
        "a call that blocks",
        |runtime, ready| {
            let (release, blocked) = std::sync::mpsc::channel::<()>();
            let _entered = runtime.handle().enter();
            drop(unblock(move || {
                ready.send(()).unwrap();
                let _ = blocked.recv();
            }));
            BLOCKED.lock().unwrap().push(release);
        },
        TaskKind::Blocking,
        Activity::Running,
        "",
    ),
];

#[test]
fn those_who_do_not_end_are_named_with_what_they_wait_for() {
    for &(case, spawn, kind, activity, waits_for) in STUBBORN {
        for runtime in runtimes() {
            let (ready, started) = oneshot::channel();
            spawn(&runtime, ready);
            started.wait().unwrap();
            let report = runtime.shutdown(Duration::from_millis(50));
            let task = report
                .alive()
                .iter()
                .find(|task| {
                    let waits = task.waits_for().unwrap_or_default();
                    task.kind() == kind && task.activity() == activity && waits.contains(waits_for)
                })
                .unwrap_or_else(|| panic!("{case}: {report}"));
            assert_eq!(task.location().file(), file!(), "{case}: {report}");
            assert!(task.is_cancelled() || kind == TaskKind::Blocking, "{case}: {report}");
            assert!(report.to_string().contains("spawned at crates/bifilar/tests/shutdown.rs:"));
        }
    }
}

#[test]
fn calls_that_have_started_are_waited_for() {
    for runtime in runtimes() {
        let (ready, started) = oneshot::channel();
        let ended = Arc::new(AtomicUsize::new(0));
        let _entered = runtime.handle().clone();
        let call = {
            let ended = ended.clone();
            let _entered = _entered.enter();
            unblock(move || {
                ready.send(()).unwrap();
                std::thread::yield_now();
                ended.fetch_add(1, Ordering::Relaxed);
            })
        };
        started.wait().unwrap();
        assert!(runtime.shutdown(SOON).is_clean());
        assert_eq!(ended.load(Ordering::Relaxed), 1);
        call.join().unwrap();
    }
}

#[test]
fn a_task_that_computes_is_said_to_run() {
    let runtime = Builder::new().workers(2).build().unwrap();
    let (ready, started) = oneshot::channel();
    let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let stopped = stop.clone();
    let computing = fiber::Builder::new().name("computing");
    let entered = runtime.handle().enter();
    let handle = computing
        .spawn(move || {
            ready.send(()).unwrap();
            while !stopped.load(Ordering::Relaxed) {
                std::hint::spin_loop();
            }
            task::is_cancelled()
        })
        .unwrap();
    drop(entered);
    started.wait().unwrap();
    let report = runtime.shutdown(Duration::from_millis(20));
    let [task] = report.alive() else { panic!("{report}") };
    assert_eq!((task.name(), task.activity()), (Some("computing"), Activity::Running));
    assert_eq!(task.waits_for(), None);
    stop.store(true, Ordering::Relaxed);
    // It could look, and ends with its result.
    assert!(handle.join().unwrap());
}

#[test]
fn a_local_runtime_reports_as_well() {
    let local = || -> LocalRuntime { Builder::new().build_local().unwrap() };
    assert!(local().shutdown(SOON).is_clean());
    let runtime = local();
    runtime.run(|| {
        fiber::spawn(|| sleep(LONG).wait());
        fiber::yield_now();
    });
    assert!(runtime.shutdown(SOON).is_clean());
    let runtime = local();
    runtime.run(|| {
        fiber::Builder::new().name("stays").spawn(|| shield(|| sleep(LONG).wait())).unwrap();
        fiber::yield_now();
    });
    let report: ShutdownReport = runtime.shutdown(Duration::from_millis(10));
    assert_eq!(report.alive().len(), 1);
    assert_eq!(report.alive()[0].name(), Some("stays"));
}

#[test]
fn a_runtime_can_be_shut_down_by_its_own_task() {
    let runtime = Builder::new().workers(2).build().unwrap();
    let handle = runtime.handle().clone();
    let (sender, receiver) = oneshot::channel();
    handle.spawn_fiber(move || {
        let report = runtime.shutdown(SOON);
        let _ = sender.send(report);
    });
    // It doesn't wait for itself: and so finds itself alive.
    let report = receiver.wait().unwrap();
    assert_eq!(report.alive().len(), 1, "{report}");
    assert_eq!(report.alive()[0].activity(), Activity::Running);
}

#[test]
fn the_limit_of_run_is_the_builders() {
    let start = Instant::now();
    Builder::new().workers(2).shutdown_limit(Duration::from_millis(10)).run(|| {
        let (ready, started) = oneshot::channel();
        fiber::spawn(move || {
            ready.send(()).unwrap();
            shield(|| sleep(LONG).wait());
        });
        started.wait().unwrap();
    });
    assert!(start.elapsed() < SOON);
}

/// A plain thread can't be interrupted: its scope must not return as if its children had run.
#[test]
fn a_scope_whose_children_ended_with_the_runtime_does_not_return() {
    let runtime = Builder::new().workers(2).build().unwrap();
    let handle = runtime.handle().clone();
    let (started, has_started) = oneshot::channel();
    let scoped = std::thread::spawn(move || {
        let _entered = handle.enter();
        let mut ran_to_its_end = false;
        bifilar::scope(|s| {
            let ran = &mut ran_to_its_end;
            s.spawn(move || {
                started.send(()).unwrap();
                sleep(LONG).wait();
                *ran = true;
            });
        });
        ran_to_its_end
    });
    has_started.wait().unwrap();
    assert!(runtime.shutdown(SOON).is_clean());
    let panic = scoped.join().expect_err("it returned");
    assert!(panic.downcast::<&str>().unwrap().contains("has been shut down"));
}

#[test]
fn a_main_task_that_is_cancelled_says_so() {
    let run = || {
        Builder::new().workers(1).run(|| {
            task::current().cancel();
            sleep(LONG).wait();
        })
    };
    let panic = std::panic::catch_unwind(run).unwrap_err();
    assert_eq!(*panic.downcast::<&str>().unwrap(), "the main task was cancelled");
}
