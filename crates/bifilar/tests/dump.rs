//! Dumps: what is listed, with which backtraces, and that nobody is disturbed.

mod settled;

use bifilar::{
    Activity, Builder, Dump, Handle, Runtime, TaskDump, TaskKind, Wait, fiber, net,
    sync::{Barrier, Mutex, RwLock, channel, oneshot},
    task,
    time::sleep,
    unblock,
};
use futures_util::future::join3;
use settled::dump_when;
use std::{
    future::{Future, pending, poll_fn},
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::Poll,
    thread,
    time::{Duration, Instant},
};

const LONG: Duration = Duration::from_secs(3600);

#[inline(never)]
fn outer(receiver: channel::Receiver<()>) {
    inner(&receiver);
    std::hint::black_box(&receiver);
}

#[inline(never)]
fn inner(receiver: &channel::Receiver<()>) {
    let _ = receiver.recv().wait();
    std::hint::black_box(receiver);
}

#[test]
fn every_kind_of_task_is_listed_with_what_it_waits_for() {
    for workers in [1, 2, 4] {
        let runtime = Builder::new().workers(workers).build().unwrap();
        let _entered = runtime.handle().enter();
        let (stop, stopped) = channel::unbounded::<()>();
        let named = |name: &str| fiber::Builder::new().name(name);
        let keep: Vec<_> = (0..2).map(|_| stopped.clone()).collect();
        let [first, second] = keep.try_into().unwrap();
        let (release, held) = std::sync::mpsc::channel::<()>();

        named("deep").spawn(move || outer(first)).unwrap();
        task::Builder::new().name("flat").spawn(async move { second.recv().await }).unwrap();
        task::Builder::new().name("mixed").spawn(async { sleep(LONG).wait() }).unwrap();
        let lock = Arc::new(Mutex::new(()));
        let holder = lock.clone();
        named("holder")
            .spawn(move || {
                let _held = holder.lock().wait();
                sleep(LONG).wait();
            })
            .unwrap();
        let socket = net::TcpListener::bind("127.0.0.1:0").wait().unwrap();
        let address = socket.local_addr().unwrap();
        named("acceptor").spawn(move || socket.accept().wait().map(drop)).unwrap();
        drop(unblock(move || held.recv()));
        dump_when(runtime.handle(), |dump| {
            dump.to_string().contains("'holder', spawned") && {
                dump.tasks().iter().any(|task| {
                    task.report().name() == Some("holder") && task.waits_for().is_some()
                })
            }
        });
        named("second in line").spawn(move || drop(lock.lock().wait())).unwrap();

        let settled = |dump: &Dump| {
            dump.tasks().len() == 7
                && dump.tasks().iter().all(|task| {
                    task.waits_for().is_some() || task.report().activity() == Activity::Running
                })
                && dump.tasks().iter().all(|task| {
                    task.report().activity() != Activity::Suspended || !task.backtrace().is_empty()
                })
        };
        let dump = dump_when(runtime.handle(), settled);
        let find = |name: &str| {
            dump.tasks().iter().find(|task| task.report().name() == Some(name)).unwrap()
        };
        let port = address.port().to_string();
        let expected = [
            ("deep", Activity::Suspended, "a message from a channel"),
            ("flat", Activity::Idle, "a message from a channel"),
            ("mixed", Activity::Suspended, "a sleep, 3"),
            ("holder", Activity::Suspended, "a sleep, 3"),
            ("acceptor", Activity::Suspended, &*port),
            ("second in line", Activity::Suspended, "'holder'"),
        ];
        for (name, activity, waits_for) in expected {
            let task = find(name);
            assert_eq!(task.report().activity(), activity, "{dump}");
            assert!(task.waits_for().unwrap().contains(waits_for), "{name}: {dump}");
            assert_eq!(task.report().location().file(), file!(), "{dump}");
        }
        let calls: Vec<_> = find("deep").backtrace();
        let position = |name: &str| {
            calls
                .iter()
                .position(|call| call.function.contains(name))
                .unwrap_or_else(|| panic!("no {name} in {calls:?}"))
        };
        assert!(position("dump::inner") < position("dump::outer"), "{calls:?}");
        assert!(calls[0].function.contains("dump::inner"), "{calls:?}");
        assert!(calls.iter().all(|call| !call.function.contains("run_loop")), "{calls:?}");
        let place = calls[0].location.as_deref().expect("tests have debug information");
        assert!(place.contains("tests/dump.rs:"), "{place}");
        assert!(find("flat").backtrace().is_empty());
        let blocking = dump.tasks().iter().find(|task| task.report().kind() == TaskKind::Blocking);
        assert_eq!(blocking.unwrap().report().activity(), Activity::Running);

        let json: serde_json::Value = serde_json::from_str(&dump.to_json()).unwrap();
        assert_eq!(json["tasks"].as_array().unwrap().len(), 7);
        let deep = json["tasks"].as_array().unwrap().iter().find(|task| task["name"] == "deep");
        let deep = deep.unwrap();
        assert_eq!((&deep["kind"], &deep["activity"]), (&"fiber".into(), &"suspended".into()));
        assert!(deep["backtrace"][0]["function"].as_str().unwrap().contains("dump::inner"));

        // They were not disturbed.
        drop((stop, release));
        dump_when(runtime.handle(), |dump| dump.tasks().len() == 4);
    }
}

/// Who holds a lock changes while others wait for it.
#[test]
fn a_lock_is_held_by_who_holds_it_now() {
    let runtime = Builder::new().workers(1).build().unwrap();
    let mutex = Arc::new(Mutex::new(()));
    let fiber = |name: &str, body: Box<dyn FnOnce() + Send>| {
        let _entered = runtime.handle().enter();
        fiber::Builder::new().name(name).spawn(body).unwrap()
    };
    // What the one called `name` waits for, once that is `what` and as it is expected.
    let expect = |name: &str, what: &str, expected: &dyn Fn(&str) -> bool| {
        dump_when(runtime.handle(), |dump| {
            let task = dump.tasks().iter().find(|task| task.report().name() == Some(name));
            let waits_for = task.and_then(|task| task.waits_for());
            waits_for.is_some_and(|it| it.starts_with(what) && expected(it))
        });
    };
    let is_held_by = |what: &str, name: &str| {
        what.contains(", held by task ") && what.ends_with(&format!(" '{name}'"))
    };
    let takes_turns = |name: &str| {
        let (go, may_go) = oneshot::channel();
        let mutex = mutex.clone();
        fiber(
            name,
            Box::new(move || {
                let _held = mutex.lock().wait();
                may_go.wait().unwrap();
            }),
        );
        go
    };
    let first_may_go = takes_turns("first");
    expect("first", "a oneshot message", &|_| true);
    let second_may_go = takes_turns("second");
    expect("second", "a mutex made at crates", &|it| is_held_by(it, "first"));
    let _third_may_go = takes_turns("third");
    expect("third", "a mutex made at crates", &|it| is_held_by(it, "first"));
    first_may_go.send(()).unwrap();
    expect("third", "a mutex made at crates", &|it| is_held_by(it, "second"));
    second_may_go.send(()).unwrap();
    expect("third", "a oneshot message", &|_| true);

    let lock = Arc::new(RwLock::new(()));
    // This thread is no task.
    let writer = lock.try_write().unwrap();
    let reads = lock.clone();
    fiber("reads", Box::new(move || sleep_holding(&reads.read().wait())));
    expect("reads", "a lock, to read made at crates", &|it| !it.contains("held by"));
    drop(writer);
    expect("reads", "a sleep", &|_| true);
    let also_reads = lock.clone();
    fiber("also reads", Box::new(move || sleep_holding(&also_reads.read().wait())));
    expect("also reads", "a sleep", &|_| true);
    // Readers may be many, and none is named.
    let writes = move || drop(lock.write().wait());
    fiber("writes", Box::new(writes));
    expect("writes", "a lock, to write", &|it| !it.contains("held by"));
}

async fn pauses() {
    sleep(LONG).await;
}

async fn receives(receiver: channel::Receiver<()>) {
    pauses_or_receives(&receiver).await;
}

async fn pauses_or_receives(receiver: &channel::Receiver<()>) {
    bifilar::race((pauses(), receiver.recv())).await;
}

/// A task at an await has no stack, but the calls that lead to what it awaits are found.
#[test]
fn async_tasks_show_what_they_await_and_where() {
    for workers in [1, 2] {
        let runtime = Builder::new().workers(workers).build().unwrap();
        let _entered = runtime.handle().enter();
        let (stop, stopped) = channel::unbounded::<()>();
        let polls = Arc::new(AtomicUsize::new(0));
        let named = |name: &str| task::Builder::new().name(name);
        let [first, second, third] = [(); 3].map(|()| stopped.clone());
        named("plain").spawn(pauses()).unwrap();
        named("race").spawn(receives(first)).unwrap();
        let join = async move { join3(pauses(), receives(second), pauses()).await };
        named("join").spawn(join).unwrap();
        named("foreign").spawn(pending::<()>()).unwrap();
        let local = || {
            let counted = polls.clone();
            let local = async move {
                let mut received = pin!(third.recv());
                poll_fn(move |cx| {
                    counted.fetch_add(1, Ordering::Relaxed);
                    received.as_mut().poll(cx).map(drop)
                })
                .await;
            };
            fiber::spawn(move || {
                task::spawn_local(local);
                pending::<()>().wait()
            })
        };
        local();

        let dump = dump_when(runtime.handle(), |dump| {
            let idle = |task: &&TaskDump| task.report().activity() == Activity::Idle;
            // A worker that doesn't answer within a second gives none, on a machine that is busy.
            let found = |task: &&TaskDump| !task.leaves().is_empty();
            dump.tasks().len() == 6
                && dump.tasks().iter().filter(idle).count() == 5
                && dump.tasks().iter().filter(found).count() == 4
        });
        let leaves = |name: &str| {
            let task = dump.tasks().iter().find(|task| task.report().name() == Some(name)).unwrap();
            task.leaves()
                .iter()
                .map(|leaf| {
                    let calls = leaf.backtrace().into_iter().map(|call| call.function);
                    // Of the test's own functions.
                    let own = calls.filter_map(|name| {
                        let path = name.strip_prefix("dump::")?;
                        // `{{closure}}`, or `{closure#0}` by the newer mangling.
                        Some(path.split("::{").next()?.to_string())
                    });
                    let what = leaf.waits_for().split([',', '3']).next().unwrap().to_string();
                    (what, own.collect::<Vec<_>>().join(" < "))
                })
                .collect::<Vec<_>>()
        };
        let leaf = |what: &str, calls: &str| (what.to_string(), calls.to_string());
        let message = "a message from a channel";
        assert_eq!(leaves("plain"), [leaf("a sleep", "pauses")], "{dump}");
        let mut race = leaves("race");
        race.sort(); // it begins with any
        let way = "pauses_or_receives < receives";
        let both = [leaf(message, way), leaf("a sleep", &format!("pauses < {way}"))];
        assert_eq!(race, both, "{dump}");
        let test = "async_tasks_show_what_they_await_and_where";
        let join = leaves("join");
        assert_eq!(join.len(), 4, "{dump}");
        assert_eq!(join[0], leaf("a sleep", &format!("pauses < {test}")), "{dump}");
        assert_eq!(join[3], join[0], "{dump}");
        assert_eq!(leaves("foreign"), [], "{dump}");
        assert!(dump.to_string().contains("\n  a message from a channel:\n    "), "{dump}");
        let json: serde_json::Value = serde_json::from_str(&dump.to_json()).unwrap();
        let tasks = json["tasks"].as_array().unwrap();
        let plain = tasks.iter().find(|task| task["name"] == "plain").unwrap();
        assert!(plain["backtrace"].is_null());
        let call = &plain["leaves"][0]["backtrace"][0];
        assert!(call["location"].as_str().unwrap().contains("tests/dump.rs:"), "{call}");

        // Each dump polls once, and nobody else does.
        let before = polls.load(Ordering::Relaxed);
        runtime.handle().dump().wait();
        assert_eq!(polls.load(Ordering::Relaxed), before + 1);

        // What they await still wakes them.
        drop(stop);
        dump_when(runtime.handle(), |dump| dump.tasks().len() == 4);
    }
}

/// A look at a future may be what it waited for: it goes on in that poll, as far as it likes.
#[test]
fn a_task_may_go_on_while_it_is_looked_at() {
    let runtime = Builder::new().workers(1).build().unwrap();
    let ready = Arc::new(AtomicBool::new(false));
    let (started, starts) = oneshot::channel();
    let goes_on = {
        let ready = ready.clone();
        async move {
            started.send(()).unwrap();
            // Says Pending, and nobody will wake it.
            poll_fn(|_| match ready.load(Ordering::Relaxed) {
                true => Poll::Ready(()),
                false => Poll::Pending,
            })
            .await;
            // A wait in the middle of the poll that is looked at, and an end of the task in another.
            fiber::sleep(Duration::from_millis(1));
            sleep(Duration::from_millis(1)).await;
            7
        }
    };
    let task = runtime.spawn(goes_on);
    starts.wait().unwrap();
    dump_when(runtime.handle(), |dump| dump.tasks()[0].report().activity() == Activity::Idle);
    ready.store(true, Ordering::Relaxed);
    runtime.handle().dump().wait();
    assert_eq!(task.wait().unwrap(), 7);
}

/// The runtime ends while its tasks are looked at.
#[test]
fn a_look_may_come_too_late() {
    for _ in 0..50 {
        let runtime = Builder::new().build_local().unwrap();
        let handle = runtime.handle().clone();
        let dumps = thread::spawn(move || handle.dump().wait());
        runtime.block_on(async {
            for _ in 0..20 {
                drop(task::spawn_local(async {
                    bifilar::race((pauses(), sleep(Duration::from_micros(50)))).await;
                }));
            }
            task::yield_now().await;
        });
        drop(runtime);
        dumps.join().unwrap();
    }
}

#[inline(never)]
fn sleep_holding<T>(_: &T) {
    sleep(LONG).wait();
}

#[test]
fn a_task_may_dump_its_own_runtime() {
    for workers in [1, 2] {
        Builder::new().workers(workers).run(|| {
            let (_stop, stopped) = channel::unbounded::<()>();
            fiber::Builder::new().name("other").spawn(move || outer(stopped)).unwrap();
            let me = task::current().id();
            loop {
                let dump = bifilar::dump().wait();
                let mine = dump.tasks().iter().find(|task| task.report().id() == me).unwrap();
                assert_eq!(mine.report().activity(), Activity::Running, "{dump}");
                let others = dump.tasks().iter().filter(|task| task.report().id() != me);
                let calls: Vec<_> = others.flat_map(|task| task.backtrace()).collect();
                if calls.iter().any(|call| call.function.contains("dump::outer")) {
                    break;
                }
                fiber::yield_now();
            }
        });
    }
}

#[test]
fn a_worker_that_is_busy_does_not_hold_a_dump_up() {
    let runtime = Builder::new().workers(2).build().unwrap();
    let _entered = runtime.handle().enter();
    let busy = Arc::new(AtomicBool::new(true));
    let (_stop, stopped) = channel::unbounded::<()>();
    // Suspended on a worker that then computes.
    let (suspended, is_suspended) = oneshot::channel();
    fiber::spawn({
        let busy = busy.clone();
        move || {
            let waiting = fiber::spawn_local(move || outer(stopped));
            fiber::yield_now();
            suspended.send(waiting.id()).unwrap();
            while busy.load(Ordering::Relaxed) {
                std::hint::spin_loop();
            }
        }
    });
    let waiting = is_suspended.wait().unwrap();
    let start = Instant::now();
    let dump = runtime.handle().dump().wait();
    assert!(start.elapsed() < Duration::from_secs(20));
    let waiting = dump.tasks().iter().find(|task| task.report().id() == waiting).unwrap();
    assert_eq!(waiting.report().activity(), Activity::Suspended, "{dump}");
    assert!(waiting.backtrace().is_empty(), "{dump}");
    assert!(dump.to_string().contains("its worker is busy"), "{dump}");
    busy.store(false, Ordering::Relaxed);
}

/// The only worker of a runtime computes: nobody turns its timers meanwhile.
#[test]
fn a_runtime_whose_only_worker_is_busy_does_not_hold_a_dump_up() {
    let runtime = Builder::new().workers(1).build().unwrap();
    let busy = Arc::new(AtomicBool::new(true));
    let (_stop, stopped) = channel::unbounded::<()>();
    let (begun, has_begun) = oneshot::channel();
    runtime.spawn_fiber({
        let busy = busy.clone();
        move || {
            let _waiting = fiber::spawn_local(move || outer(stopped));
            fiber::yield_now();
            begun.send(()).unwrap();
            while busy.load(Ordering::Relaxed) {
                std::hint::spin_loop();
            }
        }
    });
    has_begun.wait().unwrap();
    let dump = runtime.handle().dump().wait();
    assert_eq!(dump.tasks().len(), 2, "{dump}");
    assert!(dump.to_string().contains("its worker is busy"), "{dump}");
    busy.store(false, Ordering::Relaxed);
}

#[test]
fn a_runtime_that_has_ended_has_nothing_to_list() {
    let runtime = Builder::new().workers(1).build().unwrap();
    let handle = runtime.handle().clone();
    assert!(runtime.shutdown(LONG).is_clean());
    assert!(handle.dump().wait().tasks().is_empty());
}

#[test]
fn a_local_runtime_that_nobody_drives_is_listed_without_backtraces() {
    let runtime = Builder::new().build_local().unwrap();
    let (_stop, stopped) = channel::unbounded::<()>();
    runtime.run(|| {
        fiber::spawn(move || outer(stopped));
        fiber::yield_now();
    });
    let dump = runtime.handle().dump().wait();
    assert_eq!(dump.tasks().len(), 1);
    assert!(dump.tasks()[0].backtrace().is_empty());
    let dump = runtime.run(|| bifilar::dump().wait());
    assert!(!dump.tasks()[0].backtrace().is_empty(), "{dump}");
}

/// Two thousand tasks, most of them in the middle of something, while they run.
#[test]
fn dumping_under_full_load_breaks_nothing() {
    let runtime = Builder::new().workers(2).build().unwrap();
    let _entered = runtime.handle().enter();
    let stop = Arc::new(AtomicBool::new(false));
    let rounds = Arc::new(AtomicUsize::new(0));
    let meeting = Arc::new(Barrier::new(100));
    let tasks: Vec<_> = (0..2_000)
        .map(|i| {
            let (stop, rounds, meeting) = (stop.clone(), rounds.clone(), meeting.clone());
            if i < 100 {
                // Busy with one another, and with nothing else.
                fiber::spawn(move || {
                    while !stop.load(Ordering::Relaxed) {
                        meeting.wait().wait();
                        rounds.fetch_add(1, Ordering::Relaxed);
                    }
                })
            } else if i % 2 == 0 {
                fiber::spawn(move || {
                    while !stop.load(Ordering::Relaxed) {
                        sleep(Duration::from_millis(i % 7)).wait();
                    }
                })
            } else {
                task::spawn(async move {
                    while !stop.load(Ordering::Relaxed) {
                        async { sleep(Duration::from_millis(i % 7)).wait() }.await;
                        task::yield_now().await;
                    }
                })
            }
        })
        .collect();
    for _ in 0..20 {
        let before = rounds.load(Ordering::Relaxed);
        let dump = runtime.handle().dump().wait();
        assert_eq!(dump.tasks().len(), tasks.len());
        while rounds.load(Ordering::Relaxed) == before {
            thread::yield_now();
        }
    }
    stop.store(true, Ordering::Relaxed);
    // Some may stand at the barrier for good.
    for task in tasks {
        task.cancel();
        let _ = task.join();
    }
    let report = Runtime::shutdown(runtime, Duration::from_secs(60));
    assert!(report.is_clean(), "{report}");
}

/// Ends the child when the test does.
struct Reaped(std::process::Child);

impl Drop for Reaped {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn sigquit_asks_for_a_dump_and_the_process_goes_on() {
    use std::io::{BufRead, BufReader};
    const CHILD: &str = "BIFILAR_SIGQUIT_CHILD";
    if std::env::var_os(CHILD).is_some() {
        Builder::new().workers(2).dump_on_sigquit().run(|| {
            let (_stop, stopped) = channel::unbounded();
            fiber::Builder::new().name("quiet").spawn(move || outer(stopped)).unwrap();
            dump_when(&Handle::current(), |dump| {
                dump.tasks().iter().any(|task| !task.backtrace().is_empty())
            });
            eprintln!("ready");
            sleep(LONG).wait();
        });
        return;
    }
    let mut child = Reaped(
        std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "sigquit_asks_for_a_dump_and_the_process_goes_on", "--nocapture"])
            .env(CHILD, "1")
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::piped())
            .spawn()
            .unwrap(),
    );
    let mut lines = BufReader::new(child.0.stderr.take().unwrap()).lines().map_while(Result::ok);
    assert!(lines.any(|line| line == "ready"));
    for _ in 0..3 {
        // SAFETY: sends a signal to a child that has not been waited for.
        unsafe { libc::kill(child.0.id() as libc::pid_t, libc::SIGQUIT) };
        assert!(lines.any(|line| line == "2 tasks of the runtime 'bifilar'"));
        assert!(lines.any(|line| line.contains("'quiet'") && line.contains("a message")));
        assert!(lines.any(|line| line.contains("dump::inner")));
    }
    assert!(child.0.try_wait().unwrap().is_none());
}
