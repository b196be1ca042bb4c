//! Every way to end, for every kind of task, on every kind of runtime: one row for each.
//!
//! | | fiber | async, at an `.await` | async, in a `wait` | child of a scope | blocking call |
//! |---|---|---|---|---|---|
//! | cancelled | cancelled | cancelled | cancelled | cancelled | goes on |
//! | panics | told | told | told | told | told |
//! | deadline | elapsed | elapsed | elapsed | elapsed | elapsed |
//! | runtime ends | cancelled | cancelled | cancelled | cancelled | goes on |
//!
//! In each, destructors run once, siblings go on, and no stack is left behind.

mod drops;

use bifilar::{
    Builder, JoinError, JoinHandle, LocalRuntime, Runtime, Wait, fiber, scope,
    sync::{channel, oneshot},
    task,
    time::{Elapsed, timeout, with_deadline},
    unblock,
};
use drops::{Drops, Guard};
use std::{
    collections::BTreeSet,
    future::pending,
    sync::{Arc, Mutex},
    time::Duration,
};

const SOON: Duration = Duration::from_millis(2);

/// How often each row is run: a stack lost each time would show.
const TIMES: usize = 40;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Fiber,
    Async,
    AsyncInWait,
    ScopeChild,
    Blocking,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum End {
    Cancel,
    Panic,
    Deadline,
    Shutdown,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Outcome {
    Cancelled,
    Panicked,
    Elapsed,
    WentOn,
}

const KINDS: [Kind; 5] =
    [Kind::Fiber, Kind::Async, Kind::AsyncInWait, Kind::ScopeChild, Kind::Blocking];
const ENDS: [End; 4] = [End::Cancel, End::Panic, End::Deadline, End::Shutdown];

fn expected(kind: Kind, end: End) -> Outcome {
    match (end, kind) {
        (End::Cancel | End::Shutdown, Kind::Blocking) => Outcome::WentOn,
        (End::Cancel | End::Shutdown, _) => Outcome::Cancelled,
        (End::Panic, _) => Outcome::Panicked,
        (End::Deadline, _) => Outcome::Elapsed,
    }
}

fn outcome(joined: Result<Result<(), Elapsed>, JoinError>) -> Outcome {
    match joined {
        Ok(Ok(())) => Outcome::WentOn,
        Ok(Err(_)) => Outcome::Elapsed,
        Err(error) if error.is_cancelled() => Outcome::Cancelled,
        Err(error) => {
            assert_eq!(*error.into_panic().downcast::<&str>().unwrap(), "the body's own");
            Outcome::Panicked
        }
    }
}

/// A runtime of one of the two kinds.
enum Driven {
    Here(LocalRuntime),
    ByThreads(Runtime),
}

impl Driven {
    fn new(threads: bool) -> Self {
        if threads {
            Driven::ByThreads(Builder::new().workers(2).build().unwrap())
        } else {
            Driven::Here(Builder::new().build_local().unwrap())
        }
    }

    /// Runs `f` as part of the runtime.
    fn within<T>(&self, f: impl FnOnce() -> T) -> T {
        match self {
            Driven::Here(runtime) => runtime.run(f),
            Driven::ByThreads(runtime) => runtime.block_on(async { f() }),
        }
    }
}

/// What the body of a row is given.
struct Setup {
    guard: Guard<'static>,
    end: End,
    stacks: Arc<Mutex<BTreeSet<usize>>>,
    started: oneshot::Sender<()>,
    go: oneshot::Receiver<()>,
}

impl Setup {
    /// Notes the stack, and says that the body runs.
    fn begin(self) -> (Guard<'static>, End, oneshot::Receiver<()>) {
        let here = 0u8;
        let stack = (&raw const here).addr() / bifilar_coroutine::stack::DEFAULT_SIZE;
        self.stacks.lock().unwrap().insert(stack);
        self.started.send(()).unwrap();
        (self.guard, self.end, self.go)
    }

    fn in_blocking_style(self) -> Result<(), Elapsed> {
        let (_guard, end, go) = self.begin();
        match end {
            End::Deadline => return with_deadline(SOON, || pending::<()>().wait()),
            End::Panic => go.wait().map(|()| panic!("the body's own")).unwrap(),
            End::Cancel | End::Shutdown => go.wait().unwrap(),
        }
        Ok(())
    }

    async fn in_async_style(self) -> Result<(), Elapsed> {
        let (_guard, end, go) = self.begin();
        match end {
            End::Deadline => return timeout(SOON, pending()).await,
            End::Panic => go.await.map(|()| panic!("the body's own")).unwrap(),
            End::Cancel | End::Shutdown => go.await.unwrap(),
        }
        Ok(())
    }

    async fn in_async_style_waiting(self) -> Result<(), Elapsed> {
        match self.end {
            End::Deadline => {
                let (_guard, ..) = self.begin();
                timeout(SOON, async { pending().wait() }).await
            }
            _ => self.in_blocking_style(),
        }
    }
}

/// Who waits for a body that runs.
enum Running {
    Itself(JoinHandle<Result<(), Elapsed>>),
    /// The parent, and the child to be cancelled.
    Parent(JoinHandle<Outcome>, task::Task),
}

impl Running {
    fn start(kind: Kind, setup: Setup) -> Self {
        match kind {
            Kind::Fiber => Running::Itself(fiber::spawn(|| setup.in_blocking_style())),
            Kind::Async => Running::Itself(task::spawn(setup.in_async_style())),
            Kind::AsyncInWait => Running::Itself(task::spawn(setup.in_async_style_waiting())),
            Kind::Blocking => Running::Itself(unblock(|| setup.in_blocking_style())),
            Kind::ScopeChild => {
                let (tell, told) = oneshot::channel();
                let parent = fiber::spawn(move || {
                    let borrowed = Mutex::new(Some(setup));
                    scope(|s| {
                        let child = s.spawn(|| {
                            let setup = borrowed.lock().unwrap().take().unwrap();
                            setup.in_blocking_style()
                        });
                        tell.send(child.task()).unwrap();
                        outcome(child.join())
                    })
                });
                Running::Parent(parent, told.wait().unwrap())
            }
        }
    }

    fn cancel(&self) {
        match self {
            Running::Itself(handle) => handle.cancel(),
            Running::Parent(_, child) => child.cancel(),
        }
    }

    fn join(self) -> Outcome {
        match self {
            Running::Itself(handle) => outcome(handle.join()),
            // The end of the runtime reaches the parent as well.
            Running::Parent(handle, _) => handle.join().unwrap_or_else(|error| {
                assert!(error.is_cancelled());
                Outcome::Cancelled
            }),
        }
    }
}

/// Another task of the same runtime: answers each number with the next.
struct Sibling {
    ask: channel::Sender<u32>,
    answers: channel::Receiver<u32>,
    handle: JoinHandle<()>,
}

impl Sibling {
    fn start(guard: Guard<'static>) -> Self {
        let (ask, questions) = channel::bounded(1);
        let (answer, answers) = channel::bounded(1);
        let handle = fiber::spawn(move || {
            let _guard = guard;
            while let Ok(number) = questions.recv().wait() {
                answer.send(number + 1).wait().unwrap();
            }
        });
        Sibling { ask, answers, handle }
    }

    fn is_well(&self) -> bool {
        self.ask.send(1).wait().unwrap();
        self.answers.recv().wait() == Ok(2)
    }

    fn end(self) {
        drop(self.ask);
        self.handle.join().unwrap();
    }
}

fn row(kind: Kind, end: End, threads: bool, stacks: &Arc<Mutex<BTreeSet<usize>>>) -> Outcome {
    // Bodies can't borrow it; sixteen bytes for each row.
    let drops: &'static Drops = Box::leak(Box::default());
    let driven = Driven::new(threads);
    let (go, gone) = oneshot::channel();
    let (started, is_started) = oneshot::channel();
    let setup = Setup { guard: drops.guard(), end, stacks: stacks.clone(), started, go: gone };

    let (running, sibling) = driven.within(|| {
        let sibling = Sibling::start(drops.guard());
        let running = Running::start(kind, setup);
        is_started.wait().unwrap();
        assert!(sibling.is_well());
        (running, sibling)
    });
    let outcome = if end == End::Shutdown {
        drop(driven);
        if kind == Kind::Blocking {
            // Nobody waits for calls that block for real: this one goes on.
            go.send(()).unwrap();
        }
        let outcome = running.join();
        assert!(sibling.handle.join().unwrap_err().is_cancelled());
        outcome
    } else {
        driven.within(|| {
            match end {
                End::Cancel if kind == Kind::Blocking => {
                    running.cancel();
                    go.send(()).unwrap();
                }
                End::Cancel => running.cancel(),
                End::Panic => go.send(()).unwrap(),
                End::Deadline | End::Shutdown => {}
            }
            let outcome = running.join();
            assert!(sibling.is_well());
            sibling.end();
            outcome
        })
    };
    drops.assert_all(2);
    outcome
}

#[test]
fn every_end_of_every_kind_of_task() {
    for threads in [false, true] {
        for end in ENDS {
            for kind in KINDS {
                let name = format!("{end:?} of {kind:?}, threads: {threads}");
                let stacks = Arc::default();
                for _ in 0..TIMES {
                    let outcome = row(kind, end, threads, &stacks);
                    assert_eq!(outcome, expected(kind, end), "{name}");
                }
                // Stacks that are given back are used again. Threads' own are std's business.
                let used = stacks.lock().unwrap().len();
                assert!(kind == Kind::Blocking || used <= TIMES / 2, "{name}: {used} stacks");
            }
        }
    }
}
