//! A worker that is held up is told of: once each time, with who did it, and where. Others are not.

mod listener;

use bifilar::{Builder, Handle, fiber, task};
use bifilar_coroutine::Generator;
use listener::Fields;
use std::{
    ffi::c_int,
    mem::zeroed,
    panic::Location,
    ptr::null_mut,
    sync::{
        Once,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};
use tracing::Level;

const MS: Duration = Duration::from_millis(1);

/// How often a handler that was there before the watchdog's was called.
static URGENT: AtomicUsize = AtomicUsize::new(0);

extern "C" fn on_urgent(_: c_int) {
    URGENT.fetch_add(1, Relaxed);
}

/// A builder of a runtime whose events can be told from those of other tests.
fn builder(name: &str) -> Builder {
    static PREPARED: Once = Once::new();
    PREPARED.call_once(|| {
        listener::listen();
        // SAFETY: a zeroed action is one without flags; the handler only counts.
        unsafe {
            let mut action: libc::sigaction = zeroed();
            action.sa_sigaction = on_urgent as *const () as usize;
            assert_eq!(libc::sigaction(libc::SIGURG, &action, null_mut()), 0);
        }
    });
    Builder::new().name(name)
}

/// What was told of the runtime of this name, which has ended.
fn told(name: &str) -> Vec<Fields> {
    let mut told = listener::told("bifilar::watchdog", Level::WARN);
    told.retain(|fields| fields["runtime"] == name);
    told
}

#[inline(never)]
fn compute(time: Duration) {
    let begin = Instant::now();
    while begin.elapsed() < time {
        std::hint::spin_loop();
    }
}

/// In a call that the thread sanitizer knows to block. In others (`thread::sleep` makes one) it keeps
/// signals until the call has returned.
#[inline(never)]
fn block(time: Duration) {
    let begin = Instant::now();
    while let Some(rest) = time.checked_sub(begin.elapsed()) {
        // SAFETY: may be called at any time.
        unsafe { libc::usleep(rest.as_micros().try_into().unwrap()) };
    }
}

/// The function `within` is among the calls of the trace.
#[track_caller]
fn assert_trace_has(trace: &str, name: &str, within: fn(Duration)) {
    if cfg!(bifilar_sanitizer = "thread") && name == "compute" {
        // Handlers are called later, elsewhere than where the signal came: the walk finds no caller.
        return;
    }
    if cfg!(feature = "backtrace") {
        let place = format!("watchdog::{name}\n             at ");
        assert!(trace.contains(&place), "no {place:?} in:\n{trace}");
        return;
    }
    let start = within as *const ();
    // SAFETY: a plain C structure, for which zeroes are a value.
    let mut known: libc::Dl_info = unsafe { zeroed() };
    // SAFETY: asks whose address that is.
    assert_ne!(unsafe { libc::dladdr(start.cast(), &raw mut known) }, 0);
    let start = start.addr() - known.dli_fbase.addr();
    let offsets = trace.lines().filter_map(|line| {
        let (file, rest) = line.split_once("+0x")?;
        // The clock is read in a file that is the kernel's.
        assert!(file.contains('/') || file.contains("vdso"), "{line}");
        usize::from_str_radix(rest.split(' ').next()?, 16).ok()
    });
    let offsets: Vec<_> = offsets.collect();
    assert!(offsets.len() > 5, "{trace}");
    // No function here is as long.
    let found = offsets.iter().any(|offset| (start..start + 1024).contains(offset));
    assert!(found, "nothing at {start:#x} for {name} in:\n{trace}");
}

#[test]
fn who_holds_a_worker_up_is_told_once_each_time() {
    type Case = (&'static str, usize, &'static str, fn(Duration));
    let cases: [Case; 4] = [
        ("computes, 1 worker", 1, "compute", compute),
        ("blocks, 1 worker", 1, "block", block),
        ("computes, 2 workers", 2, "compute", compute),
        ("blocks, 2 workers", 2, "block", block),
    ];
    for (runtime, workers, function, body) in cases {
        let (id, location, stalls) =
            builder(runtime).workers(workers).watchdog(50 * MS).run(|| {
                let (fiber, location) = spawn_named(move || {
                    body(1000 * MS);
                    fiber::sleep(MS); // it comes round
                    body(1000 * MS);
                });
                let id = fiber.task().id().get();
                fiber.join().unwrap();
                let workers = Handle::current().metrics().workers;
                (id, location, workers.iter().map(|worker| worker.stalls).sum::<u64>())
            });
        let told = told(runtime);
        assert_eq!((told.len(), stalls), (2, 2), "{runtime}: {told:?}");
        for fields in &told {
            assert_eq!(fields["task"], id.to_string());
            assert_eq!(fields["name"], "culprit");
            assert_eq!(fields["location"], location.to_string());
            let time: u64 = fields["stalled_ms"].parse().unwrap();
            assert!((50..1000).contains(&time), "{runtime}: after {time} ms");
            let message = &fields["message"];
            let begin = format!("fiber {id} 'culprit', spawned at {location}, has held up worker ");
            assert!(message.starts_with(&begin), "{message}");
            assert_trace_has(message, function, body);
        }
    }
}

#[track_caller]
fn spawn_named(
    body: impl FnOnce() + Send + 'static,
) -> (bifilar::JoinHandle<()>, Location<'static>) {
    let fiber = fiber::Builder::new().name("culprit").spawn(body).unwrap();
    (fiber, *Location::caller())
}

#[test]
fn the_limit_is_20_ms_unless_told_otherwise() {
    for attempt in 0.. {
        let runtime = format!("default, {attempt}");
        builder(&runtime).workers(1).block_on(async { compute(300 * MS) });
        let told = told(&runtime);
        let Some(of_main) = told.iter().find(|fields| fields.contains_key("name")) else {
            // A busy machine kept the worker's thread from running, between two tasks, for as long.
            assert!(attempt < 10, "{told:?}");
            continue;
        };
        let time: u64 = of_main["stalled_ms"].parse().unwrap();
        assert!((20..300).contains(&time), "after {time} ms");
        assert_eq!(of_main["name"], "main");
        assert!(of_main["message"].starts_with("task "), "{told:?}");
        return;
    }
}

#[test]
fn who_comes_round_is_left_in_peace() {
    // Generously, for machines that are busy with other things.
    let patient = |name| builder(name).watchdog(800 * MS);
    let ticking = || {
        let end = Instant::now() + 1600 * MS;
        while Instant::now() < end {
            compute(MS);
            fiber::yield_now();
        }
    };
    patient("ticks, 1 worker").workers(1).run(ticking);
    patient("ticks, 2 workers").workers(2).run(ticking);
    patient("sleeps").workers(1).run(|| fiber::sleep(1600 * MS));
    patient("async").workers(1).block_on(async {
        let end = Instant::now() + 1600 * MS;
        while Instant::now() < end {
            compute(MS);
            task::yield_now().await;
        }
    });
    let local = patient("undriven").build_local().unwrap();
    local.block_on(async {});
    thread::sleep(1600 * MS);
    drop(local);
    for name in ["ticks, 1 worker", "ticks, 2 workers", "sleeps", "async", "undriven"] {
        assert!(told(name).is_empty(), "{name}: {:?}", told(name));
    }
}

#[test]
fn it_can_be_switched_off() {
    let hold_up = || {
        compute(200 * MS);
        assert_eq!(Handle::current().metrics().workers[0].stalls, 0);
        threads_named("off-monitor")
    };
    assert_eq!(builder("off").workers(1).watchdog(None).run(hold_up), 0);
    assert_eq!(builder("off").workers(1).watchdog(Duration::ZERO).run(hold_up), 0);
    assert_eq!(builder("off").simulate(1).run(hold_up), 0);
    assert_eq!(builder("off").simulate(1).watchdog(50 * MS).run(hold_up), 0);
    // Another one for which two workers have a monitor in any case.
    assert_eq!(builder("off").workers(2).watchdog(None).run(hold_up), 1);
    assert_eq!(told("off"), Vec::<Fields>::new());
}

fn threads_named(name: &str) -> usize {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let named = |task: &std::fs::DirEntry| {
        std::fs::read_to_string(task.path().join("comm")).is_ok_and(|comm| comm.trim_end() == name)
    };
    tasks.filter_map(Result::ok).filter(named).count()
}

#[test]
fn a_runtime_within_a_task_and_a_coroutine_are_told_as_far_as_can_be() {
    builder("outer").workers(1).watchdog(50 * MS).run(|| {
        let inner = builder("inner").build_local().unwrap();
        inner.block_on(async { bifilar::time::sleep(300 * MS).await });
    });
    let told_outer = told("outer");
    assert_eq!(told_outer.len(), 1, "{told_outer:?}");
    assert!(told_outer[0]["message"].starts_with("a task that drives another runtime has held up"));
    assert!(told("inner").is_empty());

    builder("generator").workers(1).watchdog(50 * MS).run(|| {
        let mut generator = Generator::new(|suspender| {
            loop {
                suspender.suspend(1_u64);
            }
        });
        let begin = Instant::now();
        let sum: u64 = generator.by_ref().take_while(|_| begin.elapsed() < 300 * MS).sum();
        assert!(sum > 0);
    });
    let told = told("generator");
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!(told[0]["name"], "main");
    assert!(told[0]["message"].contains("\n   0: "), "{told:?}");
}

#[test]
fn who_handled_the_signal_before_still_gets_what_is_not_ours() {
    builder("chained").workers(1).watchdog(50 * MS).run(|| compute(300 * MS));
    assert_eq!(told("chained").len(), 1);
    let before = URGENT.load(Relaxed);
    // SAFETY: a signal to this process, which handles it.
    assert_eq!(unsafe { libc::kill(libc::getpid(), libc::SIGURG) }, 0);
    let end = Instant::now() + Duration::from_secs(30);
    while URGENT.load(Relaxed) == before {
        assert!(Instant::now() < end, "the signal is lost");
        thread::yield_now();
    }
    // And ours did not get there.
    assert_eq!(URGENT.load(Relaxed), before + 1);
}

#[test]
fn a_stall_of_one_worker_does_not_hide_that_of_another() {
    builder("both").workers(2).watchdog(50 * MS).run(|| {
        let fibers = [(); 2].map(|()| fiber::spawn(|| block(3000 * MS)));
        fibers.into_iter().for_each(|fiber| fiber.join().unwrap());
    });
    // Each on a worker of its own, or one after the other; for long, since the monitor may be busy with
    // the names of the first while the second begins.
    let told = told("both");
    assert_eq!(told.len(), 2, "{told:?}");
    assert_ne!(told[0]["task"], told[1]["task"]);
}
