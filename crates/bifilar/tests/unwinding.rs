//! What stands on a suspended stack when its task ends early: every destructor runs, once, innermost
//! first, whatever the kind of task, the reason, and whether destructors wait themselves.

use bifilar::{Builder, JoinHandle, Wait, fiber, sync::channel, task, time::sleep};
use std::{
    future::pending,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::{Arc, Mutex},
    time::Duration,
};

const MS: Duration = Duration::from_millis(1);

/// Who was dropped, in order.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<&'static str>>>);

impl Log {
    fn take(&self) -> Vec<&'static str> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

/// Notes its name when it is dropped; a waiting one first waits, in several ways.
struct Noted {
    name: &'static str,
    log: Log,
    waits: bool,
}

impl Drop for Noted {
    fn drop(&mut self) {
        if self.waits {
            sleep(MS).wait();
            fiber::yield_now();
            fiber::spawn_local(fiber::yield_now).join().ok();
            // Panics of its own are caught within, whatever unwinds around it.
            assert!(catch_unwind(|| resume_unwind(Box::new("caught"))).is_err());
        }
        self.log.0.lock().unwrap().push(self.name);
    }
}

/// What a task holds while it waits: things in several frames, and what its closure has captured.
#[derive(Clone)]
struct Body {
    log: Log,
    waits: bool,
    end: End,
    /// Told when it stands where it will stay.
    started: channel::Sender<()>,
}

#[derive(Clone, Copy, PartialEq)]
enum End {
    Cancelled,
    Panics,
    WithTheRuntime,
}

impl Body {
    fn new(waits: bool, end: End) -> (Body, Log, channel::Receiver<()>) {
        let (started, is_started) = channel::unbounded();
        let log = Log::default();
        (Body { log: log.clone(), waits, end, started }, log, is_started)
    }

    fn noted(&self, name: &'static str) -> Noted {
        Noted { name, log: self.log.clone(), waits: self.waits }
    }

    fn outer(&self) {
        let _first = self.noted("outer 1");
        let _second = Box::new(self.noted("outer 2"));
        self.recurse(3);
    }

    fn recurse(&self, depth: u32) {
        if depth > 0 {
            let _vec = [self.noted("frame")];
            self.recurse(depth - 1);
            return;
        }
        let _inner = self.noted("inner");
        self.started.try_send(()).unwrap();
        if self.end == End::Panics {
            sleep(MS).wait();
            resume_unwind(Box::new("on purpose"));
        }
        pending::<()>().wait()
    }
}

const ORDER: [&str; 7] = ["inner", "frame", "frame", "frame", "outer 2", "outer 1", "captured"];

type Spawn = fn(Body) -> JoinHandle<()>;

const KINDS: [(&str, Spawn); 7] = [
    ("fiber", |body| {
        let captured = body.noted("captured");
        fiber::spawn(move || {
            let _captured = captured;
            body.outer()
        })
    }),
    ("local fiber", |body| {
        let captured = body.noted("captured");
        fiber::spawn_local(move || {
            let _captured = captured;
            body.outer()
        })
    }),
    ("fiber on a stack of its own", |body| {
        let captured = body.noted("captured");
        let builder = fiber::Builder::new().stack_size(1 << 20).measure_stack(true);
        let fiber = builder.spawn(move || {
            let _captured = captured;
            body.outer()
        });
        fiber.unwrap()
    }),
    ("task that waits in its poll", |body| {
        let captured = body.noted("captured");
        task::spawn(async move {
            let _captured = captured;
            body.outer()
        })
    }),
    ("task that has awaited before", |body| {
        let captured = body.noted("captured");
        task::spawn(async move {
            let _captured = captured;
            task::yield_now().await;
            async { body.outer() }.await
        })
    }),
    ("local task", |body| {
        let captured = body.noted("captured");
        task::spawn_local(async move {
            let _captured = captured;
            body.outer()
        })
    }),
    ("wait within a wait", |body| {
        let captured = body.noted("captured");
        fiber::spawn(move || {
            let _captured = captured;
            async { body.outer() }.wait()
        })
    }),
];

#[test]
fn every_destructor_runs_once_and_in_order() {
    for workers in [1, 2] {
        for waits in [false, true] {
            for end in [End::Cancelled, End::Panics, End::WithTheRuntime] {
                for (kind, spawn) in KINDS {
                    let (body, log, is_started) = Body::new(waits, end);
                    Builder::new().workers(workers).run(|| {
                        let task = spawn(body);
                        is_started.recv().wait().unwrap();
                        let bystander = fiber::spawn(|| sleep(2 * MS).wait());
                        match end {
                            End::Cancelled => {
                                task.cancel();
                                assert!(task.join().unwrap_err().is_cancelled(), "{kind}");
                            }
                            End::Panics => {
                                assert!(task.join().unwrap_err().is_panic(), "{kind}");
                            }
                            End::WithTheRuntime => return,
                        }
                        bystander.join().unwrap();
                        assert_eq!(log.take(), ORDER, "{kind}, {workers} workers");
                    });
                    if end == End::WithTheRuntime {
                        assert_eq!(log.take(), ORDER, "{kind}, {workers} workers");
                    }
                }
            }
        }
    }
}

/// Many at once on one thread, each of whose destructors waits: their unwinds interleave.
#[test]
fn unwinds_interleave() {
    Builder::new().workers(1).run(|| {
        let ends = [End::Cancelled, End::Panics];
        let (logs, tasks): (Vec<_>, Vec<_>) = KINDS
            .iter()
            .flat_map(|kind| ends.map(|end| (kind, end)))
            .map(|((_, spawn), end)| {
                let (body, log, is_started) = Body::new(true, end);
                let task = spawn(body);
                is_started.recv().wait().unwrap();
                (log, task)
            })
            .unzip();
        tasks.iter().for_each(|task| task.cancel());
        for (task, log) in tasks.into_iter().zip(logs) {
            assert!(task.join().is_err());
            assert_eq!(log.take(), ORDER);
        }
        assert!(!std::thread::panicking());
    });
}

#[test]
fn cancelling_again_does_not_disturb_destructors() {
    for workers in [1, 2] {
        Builder::new().workers(workers).run(|| {
            let (_, spawn) = KINDS[0];
            let (body, log, is_started) = Body::new(true, End::Cancelled);
            let task = spawn(body);
            is_started.recv().wait().unwrap();
            while !task.is_finished() {
                task.cancel();
                fiber::yield_now();
            }
            assert!(task.join().unwrap_err().is_cancelled());
            assert_eq!(log.take(), ORDER);
        });
    }
}

/// User code that catches everything is told again at each further wait, at whatever depth.
#[test]
fn cancellation_comes_again_at_the_next_wait() {
    fn catches(depth: u32, started: &channel::Sender<()>, caught: &channel::Sender<u32>) {
        let inner = catch_unwind(AssertUnwindSafe(|| match depth {
            0 => {
                started.try_send(()).unwrap();
                pending::<()>().wait()
            }
            _ => catches(depth - 1, started, caught),
        }));
        if inner.is_err() {
            caught.try_send(depth).unwrap();
        }
        // Told again here, and caught one level further out.
        pending::<()>().wait();
    }
    for workers in [1, 2] {
        Builder::new().workers(workers).run(|| {
            let (caught, depths) = channel::unbounded();
            let (started, is_started) = channel::unbounded();
            let fiber = fiber::spawn(move || catches(5, &started, &caught));
            is_started.recv().wait().unwrap();
            fiber.cancel();
            assert!(fiber.join().unwrap_err().is_cancelled());
            let depths: Vec<_> = std::iter::from_fn(|| depths.try_recv().ok()).collect();
            assert_eq!(depths, [0, 1, 2, 3, 4, 5]);
        });
    }
}

/// A value that is ready is not lost, though the task was cancelled while it waited.
#[test]
fn what_is_ready_is_returned_before_the_unwind() {
    Builder::new().workers(1).run(|| {
        let (sender, receiver) = channel::bounded(1);
        let (report, got) = channel::bounded(1);
        let fiber = fiber::spawn(move || {
            let value = receiver.recv().wait().unwrap();
            report.try_send(value).unwrap();
            pending::<()>().wait()
        });
        fiber::yield_now();
        sender.try_send(7).unwrap();
        fiber.cancel();
        assert!(fiber.join().unwrap_err().is_cancelled());
        assert_eq!(got.try_recv(), Ok(7));
    });
}
