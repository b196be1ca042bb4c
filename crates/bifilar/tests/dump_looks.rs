//! Looks at what tasks await: what a dump that polls them once more must bear, and what it must not disturb.

mod settled;

use bifilar::{Activity, Builder, Dump, TaskDump, Wait, fiber, sync::channel, task, time::sleep};
use bifilar_coroutine::{
    Coroutine,
    stack::{Stack, room_below},
};
use settled::dump_when;
use std::{
    future::{Future, pending, poll_fn},
    hint::black_box,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::{Context, Poll, RawWaker, RawWakerVTable, Waker},
    thread,
    time::{Duration, Instant},
};

const LONG: Duration = Duration::from_secs(3600);

fn is(activity: Activity) -> impl Fn(&TaskDump) -> bool {
    move |task| task.report().activity() == activity
}

/// Calls `f` where this stack has no more than 11 KiB left: enough to wait and to unwind, but not for a
/// backtrace.
#[inline(never)]
fn where_room_is_scarce<R>(f: &mut dyn FnMut() -> R) -> R {
    let taken = black_box([0_u8; 256]);
    if room_below(&raw const taken).unwrap() <= 11 << 10 {
        return f();
    }
    let result = where_room_is_scarce(f);
    black_box(&taken);
    result
}

fn on_a_small_coroutine(mut f: impl FnMut() + 'static) {
    let stack = Stack::new(32 << 10).unwrap();
    let body = move |_: &_, ()| where_room_is_scarce(&mut f);
    let mut coroutine: Coroutine<(), (), ()> = Coroutine::with_stack(stack, body);
    coroutine.resume(());
}

#[test]
fn a_stack_that_is_nearly_full_is_not_walked() {
    type Spawn = fn();
    let cases: [(&str, Activity, Spawn); 4] = [
        ("a task", Activity::Idle, || {
            drop(task::spawn(async {
                let mut sleep = pin!(sleep(LONG));
                poll_fn(|cx| where_room_is_scarce(&mut || sleep.as_mut().poll(cx))).await;
            }));
        }),
        ("a coroutine in a task", Activity::Idle, || {
            drop(task::spawn(poll_fn(|cx| {
                let waker = cx.waker().clone();
                on_a_small_coroutine(move || {
                    let mut sleep = pin!(sleep(LONG));
                    assert!(sleep.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
                });
                Poll::<()>::Pending
            })));
        }),
        ("a fiber", Activity::Suspended, || {
            drop(fiber::spawn(|| where_room_is_scarce(&mut || sleep(LONG).wait())));
        }),
        ("a coroutine in a fiber", Activity::Suspended, || {
            drop(fiber::spawn(|| on_a_small_coroutine(|| sleep(LONG).wait())));
        }),
    ];
    for (case, activity, spawn) in cases {
        let runtime = Builder::new().workers(1).stack_size(64 << 10).build().unwrap();
        let _entered = runtime.handle().enter();
        spawn();
        let dump = dump_when(runtime.handle(), |dump| is(activity)(&dump.tasks()[0]));
        let text = dump.to_string();
        assert!(text.contains("(its stack is too full to be walked)"), "{case}: {text}");
        let task = &dump.tasks()[0];
        assert!(task.waits_for().unwrap().starts_with("a sleep"), "{case}: {text}");
        assert!(task.backtrace().is_empty(), "{case}: {text}");
        assert!(task.leaves().iter().all(|leaf| leaf.backtrace().is_empty()), "{case}: {text}");
    }
}

/// While a worker is asked, each of its queues has its turn.
#[test]
fn who_asks_leaves_turns_for_all_queues() {
    let runtime = Builder::new().workers(1).build().unwrap();
    let _entered = runtime.handle().enter();
    let stop = Arc::new(AtomicBool::new(false));
    let looks = Arc::new(AtomicUsize::new(0));
    for _ in 0..1_000 {
        let looks = looks.clone();
        task::spawn(poll_fn(move |_| {
            looks.fetch_add(1, Ordering::Relaxed);
            Poll::<()>::Pending
        }));
    }
    // The queue of stacks never runs dry.
    for _ in 0..2 {
        let stop = stop.clone();
        fiber::spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                fiber::yield_now();
            }
        });
    }
    let (looked, until) = (looks.clone(), stop.clone());
    let in_the_other_queue = task::spawn(async move {
        let (mut last, mut longest) = (looked.load(Ordering::Relaxed), 0);
        while !until.load(Ordering::Relaxed) {
            task::yield_now().await;
            let now = looked.load(Ordering::Relaxed);
            longest = longest.max(now - last);
            last = now;
        }
        longest
    });
    dump_when(runtime.handle(), |_| looks.load(Ordering::Relaxed) >= 5_000);
    stop.store(true, Ordering::Relaxed);
    let longest = in_the_other_queue.wait().unwrap();
    assert!(longest < 100, "{longest} others were looked at between two of its turns");
}

/// A crowd of tasks in all styles is dumped in less than a second, and none of it is left out.
#[test]
fn ten_thousand_tasks_are_dumped_within_a_second() {
    let count = if cfg!(any(bifilar_sanitizer = "address", bifilar_sanitizer = "thread")) {
        1_000
    } else {
        10_000
    };
    for workers in [1, 2] {
        let runtime = Builder::new().workers(workers).build().unwrap();
        let _entered = runtime.handle().enter();
        let (_stop, stopped) = channel::unbounded::<()>();
        for number in 0..count {
            let stopped = stopped.clone();
            match number % 3 {
                0 => drop(fiber::spawn(move || stopped.recv().wait())),
                1 => drop(task::spawn(async move { stopped.recv().wait() })),
                _ => drop(task::spawn(async move {
                    bifilar::race((sleep(LONG), stopped.recv())).await;
                })),
            }
        }
        let is_seen = |task: &TaskDump| match task.report().activity() {
            Activity::Suspended => !task.backtrace().is_empty(),
            _ => task.leaves().len() == 2,
        };
        let is_complete = |dump: &Dump| {
            // Names are looked up for some only: that takes longer than the dump.
            dump.tasks().len() == count && dump.tasks().iter().step_by(101).all(is_seen)
        };
        let end = Instant::now() + Duration::from_secs(30);
        loop {
            let begin = Instant::now();
            let dump = runtime.handle().dump().wait();
            let took = begin.elapsed();
            if is_complete(&dump) && took < Duration::from_secs(1) {
                break;
            }
            assert!(Instant::now() < end, "{workers} workers: it takes {took:?}");
        }
    }
}

/// What a task awaits is told once, also if it is polled again at once.
#[test]
fn a_look_lasts_for_one_poll() {
    let runtime = Builder::new().workers(1).build().unwrap();
    let twice = Arc::new(AtomicBool::new(false));
    let wakes_itself = twice.clone();
    runtime.spawn(async move {
        let mut sleep = pin!(sleep(LONG));
        poll_fn(|cx| {
            if wakes_itself.fetch_not(Ordering::Relaxed) {
                cx.waker().wake_by_ref();
            }
            sleep.as_mut().poll(cx)
        })
        .await;
    });
    for _ in 0..100 {
        // The next poll, which is that of the look, is followed by another.
        twice.store(true, Ordering::Relaxed);
        let dump = dump_when(runtime.handle(), |dump| !dump.tasks()[0].leaves().is_empty());
        assert_eq!(dump.tasks()[0].leaves().len(), 1, "{dump}");
    }
}

/// For how long a task has waited is told by every dump, not since the last one.
#[test]
fn a_look_does_not_interrupt_a_wait() {
    let runtime = Builder::new().workers(1).build().unwrap();
    runtime.spawn(sleep(LONG));
    let long = Duration::from_millis(300);
    let waits = |task: &TaskDump| {
        is(Activity::Idle)(task) && task.report().duration().unwrap_or_default() > long
    };
    dump_when(runtime.handle(), |dump| dump.tasks().iter().any(waits));
}

/// Nobody is polled for a dump that nobody waits for any more.
#[test]
fn dumps_that_ran_out_of_patience_are_not_made_up_for() {
    let runtime = Builder::new().workers(1).build().unwrap();
    let polls = Arc::new(AtomicUsize::new(0));
    let counted = polls.clone();
    runtime.spawn(poll_fn(move |_| {
        counted.fetch_add(1, Ordering::Relaxed);
        Poll::<()>::Pending
    }));
    dump_when(runtime.handle(), |dump| is(Activity::Idle)(&dump.tasks()[0]));
    let busy = Arc::new(AtomicBool::new(true));
    let (begun, has_begun) = std::sync::mpsc::channel();
    let still_busy = busy.clone();
    runtime.spawn_fiber(move || {
        begun.send(()).unwrap();
        while still_busy.load(Ordering::Relaxed) {
            std::hint::spin_loop();
        }
    });
    has_begun.recv().unwrap();
    runtime.handle().dump().wait();
    runtime.handle().dump().wait();
    let before = polls.load(Ordering::Relaxed);
    busy.store(false, Ordering::Relaxed);
    runtime.handle().dump().wait();
    assert_eq!(polls.load(Ordering::Relaxed), before + 1);
}

/// A waker that waits whenever it is cloned: for others to run, and the dump to look elsewhere.
fn waits_when_cloned() -> Waker {
    static WAKER: RawWakerVTable = RawWakerVTable::new(
        |_| {
            sleep(Duration::from_millis(2)).wait();
            RawWaker::new(std::ptr::null(), &WAKER)
        },
        |_| {},
        |_| {},
        |_| {},
    );
    // SAFETY: there is no data, and nothing is done but to wait.
    unsafe { Waker::from_raw(RawWaker::new(std::ptr::null(), &WAKER)) }
}

/// The look is over before the poll that was looked at.
#[test]
fn a_look_may_end_in_the_middle_of_a_poll() {
    for workers in [1, 2] {
        let runtime = Builder::new().workers(workers).build().unwrap();
        let _entered = runtime.handle().enter();
        let stop = Arc::new(AtomicBool::new(false));
        for _ in 0..20 {
            let stop = stop.clone();
            task::spawn(async move {
                let waker = waits_when_cloned();
                let mut limited = pin!(bifilar::time::timeout(LONG, pending::<()>()));
                let mut sleeps = pin!(sleep(LONG));
                poll_fn(|_| {
                    let cx = &mut Context::from_waker(&waker);
                    assert!(limited.as_mut().poll(cx).is_pending());
                    assert!(sleeps.as_mut().poll(cx).is_pending());
                    if stop.load(Ordering::Relaxed) { Poll::Ready(()) } else { Poll::Pending }
                })
                .await;
            });
        }
        for _ in 0..10 {
            // Also each of the next dumps is asked when all that it finds is idle.
            dump_when(runtime.handle(), |dump| dump.tasks().iter().all(is(Activity::Idle)));
        }
        stop.store(true, Ordering::Relaxed);
        dump_when(runtime.handle(), |dump| dump.tasks().is_empty());
    }
}

/// What a task does in a poll, of which any may be looked at.
async fn does_all_it_may(number: u64) {
    let (sender, receiver) = channel::bounded::<u64>(1);
    for step in number..number + 20 {
        let short = sleep(Duration::from_micros(50 * (step % 5)));
        bifilar::race((short, receiver.recv())).await;
        let _ = sender.try_send(step);
        match step % 11 {
            0 => fiber::sleep(Duration::from_micros(10)),
            1 => drop(bifilar::dump().await),
            // Another runtime on the same thread, and in the same poll.
            2 => Builder::new().build_local().unwrap().block_on(async {
                drop(task::spawn_local(sleep(LONG)));
                drop(bifilar::dump().await);
                sleep(Duration::from_micros(20)).await;
            }),
            3 => task::yield_now().await,
            4 if number == 100 => std::panic::resume_unwind(Box::new("expected")),
            5 if number == 101 => task::current().cancel(),
            _ => {}
        }
    }
}

/// Several ask at the same time, while tasks end in every way, and then the runtime.
#[test]
fn many_dumps_at_a_time() {
    for workers in [1, 2, 3] {
        let runtime = Builder::new().workers(workers).build().unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let dumps = || {
            let (handle, stop) = (runtime.handle().clone(), stop.clone());
            thread::spawn(move || {
                let mut dumps = 0;
                while !stop.load(Ordering::Relaxed) {
                    handle.dump().wait();
                    dumps += 1;
                }
                dumps
            })
        };
        let dumpers = [dumps(), dumps(), dumps()];
        let tasks: Vec<_> = (0..200).map(|number| runtime.spawn(does_all_it_may(number))).collect();
        for (number, task) in tasks.into_iter().enumerate() {
            // The one is cancelled where it next awaits something, if it does.
            assert!(task.wait().is_ok() || number == 100 || number == 101, "{number}");
        }
        for _ in 0..50 {
            drop(runtime.spawn(sleep(LONG)));
        }
        let report = runtime.shutdown(Duration::from_secs(60));
        stop.store(true, Ordering::Relaxed);
        let dumps: Vec<u64> = dumpers.map(|thread| thread.join().unwrap()).into();
        assert!(dumps.iter().all(|dumps| *dumps > 0), "{dumps:?}");
        assert!(report.is_clean(), "{report}");
    }
}
