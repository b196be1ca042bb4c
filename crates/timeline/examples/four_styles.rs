//! The same small work in four styles, drawn from recordings made by hand: two fetches, each of
//! which connects, writes a request, waits for the answer and reads it.
//!
//! ```console
//! $ cargo run -p bifilar-timeline --example four_styles -- target/pictures
//! ```
//!
//! writes `sync`, `threads`, `fibers` and `tasks` as `.svg`, `.html`, `.json` and `.txt` into that
//! folder, and the recordings as lines; it prints the texts when it is given none.
//!
//! | style | what to see |
//! |---|---|
//! | sync | one thread, one fetch after the other; it waits inside its system calls |
//! | threads | the same calls, overlapping, a thread for each |
//! | fibers | the same calls, overlapping, on one thread; each stack stands while it waits |
//! | tasks | the same on one thread; the stack is put away when it waits, and built again |

use bifilar_timeline::{
    Diagram, Event, Name, Outcome, Recorder, Recording, TaskId, ThreadRecorder,
};
use std::cell::Cell;
use std::{env, error::Error, fs, path::Path};

/// One microsecond, the unit of all times below.
const US: u64 = 1_000;

/// How long the slowest style takes.
const LONGEST: u64 = 1_250;

/// What a fetch does on the wire: when a system call can't go on at once, how long until it can.
struct Fetch {
    number: u64,
    name: &'static str, // of its thread or task
    connected_after: u64,
    answered_after: u64,
}

const FETCHES: [Fetch; 2] = [
    Fetch { number: 1, name: "fetch a", connected_after: 180, answered_after: 420 },
    Fetch { number: 2, name: "fetch b", connected_after: 260, answered_after: 240 },
];

fn main() -> Result<(), Box<dyn Error>> {
    let folder = env::args().nth(1);
    for (name, recording, diagram) in pictures() {
        match &folder {
            None => println!("{}\n", diagram.text(80)),
            Some(folder) => {
                fs::create_dir_all(folder)?;
                let path = Path::new(folder).join(name);
                for ending in ["svg", "html", "json", "txt"] {
                    diagram.write_to(path.with_extension(ending))?;
                }
                fs::write(path.with_extension("recording"), recording.to_string())?;
            }
        }
    }
    Ok(())
}

/// The name of each style, its recording, and the diagram of it, all at one scale.
pub fn pictures() -> Vec<(&'static str, Recording, Diagram)> {
    bifilar_timeline::set_enabled(true);
    let styles = [
        ("sync", "Two fetches, one after the other", sync()),
        ("threads", "Two fetches, a thread for each", threads()),
        ("fibers", "Two fetches, a fiber for each, on one thread", fibers()),
        ("tasks", "Two fetches, an async task for each, on one thread", tasks()),
    ];
    let drawn = styles.into_iter().map(|(name, title, recording)| {
        let diagram = Diagram::from(&recording).between(0, LONGEST * US).titled(title);
        (name, recording, diagram)
    });
    drawn.collect()
}

// ── blocking: a call returns when it is done ────────────────────────────────────────────────────

fn sync() -> Recording {
    let story = Story::new();
    let main = story.thread("main");
    main.within(0, 100, "main", || {
        for fetch in &FETCHES {
            blocking(&main, fetch);
        }
    });
    story.recorder.snapshot()
}

fn threads() -> Recording {
    let story = Story::new();
    let main = story.thread("main");
    main.within(0, 100, "main", || {
        main.call("clone", 20, 0);
        main.call("clone", 20, 0);
        main.call("futex", 640, 0); // joins both
    });
    for (fetch, start) in FETCHES.iter().zip([30, 50]) {
        let thread = story.thread(fetch.name);
        thread.at(start);
        blocking(&thread, fetch);
    }
    story.recorder.snapshot()
}

/// A fetch as every thread does it.
fn blocking(thread: &Thread, fetch: &Fetch) {
    thread.within(0, fetch.number * 10, "fetch", || {
        thread.within(0, fetch.number * 10 + 1, "connect", || {
            thread.call("connect", fetch.connected_after, 0);
        });
        thread.within(0, fetch.number * 10 + 2, "write_request", || thread.call("write", 25, 64));
        thread.within(0, fetch.number * 10 + 3, "read_answer", || {
            thread.call("read", fetch.answered_after, 512);
            thread.pass(15);
        });
    });
}

// ── on a runtime: a call that can't go on suspends its task ─────────────────────────────────────

/// What the worker does next, and when at the earliest.
type Plan = [(u64, usize, Part)];

#[derive(Clone, Copy)]
enum Part {
    Connect,
    WriteAndRead,
    Finish,
}

/// The same order of events for fibers and for tasks; `a` and `b` are the numbers of [`FETCHES`].
const PLAN: &Plan = &[
    (0, 0, Part::Connect),
    (0, 1, Part::Connect),
    (230, 0, Part::WriteAndRead),
    (360, 1, Part::WriteAndRead),
    (620, 1, Part::Finish),
    (680, 0, Part::Finish),
];

fn fibers() -> Recording {
    on_a_runtime(|worker, fetch, part| {
        let (task, stack) = (fetch.number, fetch.number as u32);
        let span = |number: u64| fetch.number * 10 + number;
        let suspend = |waits_for: &str| {
            let waits_for = worker.name(waits_for);
            worker.event(Event::StackSuspend { task, stack, waits_for });
        };
        match part {
            Part::Connect => {
                worker.event(Event::PollBegin { task, stack });
                worker.begin(task, span(0), "fetch");
                worker.begin(task, span(1), "connect");
                worker.call("connect", 20, -115);
                suspend("writable");
            }
            Part::WriteAndRead => {
                worker.event(Event::StackResume { task, stack });
                worker.pass(4);
                worker.end(task, span(1));
                worker.within(task, span(2), "write_request", || worker.call("write", 25, 64));
                worker.begin(task, span(3), "read_answer");
                worker.call("read", 8, -11);
                suspend("readable");
            }
            Part::Finish => {
                worker.event(Event::StackResume { task, stack });
                worker.call("read", 14, 512);
                worker.pass(15);
                worker.end(task, span(3));
                worker.end(task, span(0));
                worker.event(Event::PollEnd { task, outcome: Outcome::Ready });
            }
        }
    })
}

fn tasks() -> Recording {
    on_a_runtime(|worker, fetch, part| {
        let (task, stack) = (fetch.number, 0);
        let span = |number: u64| fetch.number * 10 + number;
        // Each poll calls its way up to where the last one stopped, and returns all the way down.
        worker.event(Event::PollBegin { task, stack });
        worker.begin(task, span(0), "fetch");
        let outcome = match part {
            Part::Connect => {
                worker.within(task, span(1), "connect", || worker.call("connect", 20, -115));
                Outcome::Pending
            }
            Part::WriteAndRead => {
                worker.within(task, span(1), "connect", || worker.pass(4));
                worker.within(task, span(2), "write_request", || worker.call("write", 25, 64));
                worker.within(task, span(3), "read_answer", || worker.call("read", 8, -11));
                Outcome::Pending
            }
            Part::Finish => {
                worker.within(task, span(3), "read_answer", || {
                    worker.call("read", 14, 512);
                    worker.pass(15);
                });
                Outcome::Ready
            }
        };
        worker.end(task, span(0));
        worker.event(Event::PollEnd { task, outcome });
    })
}

/// One worker that follows the plan, sleeping where nothing is to be done.
fn on_a_runtime(run: impl Fn(&Thread, &Fetch, Part)) -> Recording {
    let story = Story::new();
    let worker = story.thread("worker 0");
    for fetch in &FETCHES {
        let name = worker.name(fetch.name);
        worker.pass(4);
        worker.event(Event::Spawn { task: fetch.number, parent: 0, name });
    }
    for (earliest, fetch, part) in PLAN {
        let fetch = &FETCHES[*fetch];
        if worker.now() + 12 < *earliest {
            worker.event(Event::WorkerPark { worker: 0 });
            worker.call("epoll_wait", earliest - 6 - worker.now(), 1);
            worker.event(Event::WorkerUnpark { worker: 0 });
            worker.event(Event::IoReady {
                token: fetch.number,
                readable: matches!(part, Part::Finish),
                writable: true,
                closed: false,
            });
            worker.event(Event::Wake { from: 0, to: fetch.number });
        }
        worker.pass(3);
        run(&worker, fetch, *part);
        worker.pass(2);
    }
    story.recorder.snapshot()
}

// ── telling a story ─────────────────────────────────────────────────────────────────────────────

struct Story {
    recorder: Recorder,
}

/// A thread of the story, with the time it has got to.
struct Thread {
    recorder: Recorder,
    events: ThreadRecorder,
    now: Cell<u64>,
}

impl Story {
    fn new() -> Self {
        Self { recorder: Recorder::with_clock(1024, || 0) }
    }

    fn thread(&self, name: &str) -> Thread {
        let (recorder, events) = (self.recorder.clone(), self.recorder.thread(name));
        Thread { recorder, events, now: Cell::new(0) }
    }
}

impl Thread {
    fn now(&self) -> u64 {
        self.now.get()
    }

    fn at(&self, now: u64) {
        self.now.set(now);
    }

    fn pass(&self, time: u64) {
        self.at(self.now() + time);
    }

    fn name(&self, name: &str) -> Name {
        self.recorder.name(name)
    }

    fn event(&self, event: Event) {
        self.events.record_at(self.now() * US, event);
    }

    fn begin(&self, task: TaskId, span: u64, name: &str) {
        self.event(Event::SpanBegin { task, span, name: self.name(name) });
        self.pass(3);
    }

    fn end(&self, task: TaskId, span: u64) {
        self.pass(2);
        self.event(Event::SpanEnd { task, span });
    }

    fn within(&self, task: TaskId, span: u64, name: &str, calls: impl FnOnce()) {
        self.begin(task, span, name);
        calls();
        self.end(task, span);
    }

    /// A system call, recorded as it returns.
    fn call(&self, name: &str, took: u64, result: i32) {
        let bytes = if matches!(name, "read" | "write") { 4096 } else { 0 };
        let took_ns = (took * US) as u32;
        self.pass(took);
        self.event(Event::SystemCall { name: self.name(name), fd: 5, bytes, result, took_ns });
        self.pass(2);
    }
}
