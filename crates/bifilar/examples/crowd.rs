//! Parks a crowd of fibers and tasks at once, then wakes and joins all of them, and says what one of
//! each costs.
//!
//!     cargo run --release -p bifilar --example crowd -- --fibers 100000 --tasks 1000000
//!
//! Every fiber blocks in plain blocking-style code: it reads from an in-memory pipe, receives from a
//! channel, or sleeps. Every task awaits a notification. Memory is what the kernel says of this
//! process: resident pages plus page tables.

use bifilar::{
    JoinHandle, Wait, fiber,
    sync::{Notify, channel},
    task,
    time::sleep,
};
use std::{
    io::{self, Read},
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

const USAGE: &str = "usage: crowd [--fibers N] [--tasks N]        (10,000 and 100,000 by default)";

fn main() -> ExitCode {
    if std::env::args().skip(1).any(|argument| argument == "--help" || argument == "-h") {
        println!("{USAGE}");
        return ExitCode::SUCCESS;
    }
    match arguments(std::env::args().skip(1)) {
        Ok((fibers, tasks)) => {
            bifilar::run(|| crowd(fibers, tasks));
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error}\n{USAGE}");
            ExitCode::from(2)
        }
    }
}

fn arguments(mut args: impl Iterator<Item = String>) -> Result<(usize, usize), String> {
    let (mut fibers, mut tasks) = (10_000, 100_000);
    while let Some(name) = args.next() {
        let place = match name.as_str() {
            "--fibers" => &mut fibers,
            "--tasks" => &mut tasks,
            _ => return Err(format!("unknown argument '{name}'")),
        };
        let value = args.next().ok_or_else(|| format!("{name} needs a number"))?;
        *place = value.parse().map_err(|_| format!("{name} needs a number, not '{value}'"))?;
    }
    Ok((fibers, tasks))
}

fn crowd(fibers: usize, tasks: usize) {
    let waiting = Arc::new(AtomicUsize::new(0));

    let start = Instant::now();
    let before = memory();
    let gates = Gates::new();
    let fiber_handles: Vec<_> = (0..fibers)
        .map(|i| {
            let (gates, waiting) = (gates.clone(), waiting.clone());
            fiber::spawn(move || {
                waiting.fetch_add(1, Ordering::Relaxed);
                gates.block(i)
            })
        })
        .collect();
    settle(&waiting, fibers);
    let with_fibers = memory();
    report("fiber", fibers, with_fibers - before, start);

    let start = Instant::now();
    let notify = Arc::new(Notify::new());
    let task_handles: Vec<_> = (0..tasks)
        .map(|_| {
            let (notify, waiting) = (notify.clone(), waiting.clone());
            task::spawn(async move {
                waiting.fetch_add(1, Ordering::Relaxed);
                notify.notified().await;
            })
        })
        .collect();
    settle(&waiting, fibers + tasks);
    report("task", tasks, memory() - with_fibers, start);

    let start = Instant::now();
    gates.open(fibers);
    notify.notify_waiters();
    join_all(fiber_handles);
    join_all(task_handles);
    println!("woken and joined in {:.2} s", start.elapsed().as_secs_f64());
}

/// What fibers block on: a third of them on each.
#[derive(Clone)]
struct Gates {
    pipe: Pipe,
    items: (channel::Sender<()>, channel::Receiver<()>),
    bell: Arc<Notify>,
}

impl Gates {
    fn new() -> Self {
        Gates { pipe: Pipe::new(), items: channel::unbounded(), bell: Arc::new(Notify::new()) }
    }

    fn block(&self, i: usize) {
        match i % 3 {
            0 => (&self.pipe).read_exact(&mut [0]).expect("a byte"),
            1 => self.items.1.recv().wait().expect("an item"),
            // Sleeps "for ever", until the bell rings.
            _ => {
                let day = Duration::from_secs(24 * 3600);
                let bell = self.bell.notified();
                let _ = bifilar::time::timeout(day, bell).wait();
            }
        }
    }

    fn open(&self, fibers: usize) {
        for _ in 0..fibers {
            self.pipe.write(1);
            self.items.0.try_send(()).expect("the channel is open");
        }
        self.bell.notify_waiters();
    }
}

/// An in-memory pipe of bytes that implements `std::io::Read`, as a sync library would want it.
#[derive(Clone)]
struct Pipe {
    bytes: (channel::Sender<u8>, channel::Receiver<u8>),
}

impl Pipe {
    fn new() -> Self {
        Pipe { bytes: channel::unbounded() }
    }

    fn write(&self, byte: u8) {
        self.bytes.0.try_send(byte).expect("the pipe is open");
    }
}

impl Read for &Pipe {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(first) = buffer.first_mut() else { return Ok(0) };
        *first = self.bytes.1.recv().wait().map_err(io::Error::other)?;
        Ok(1)
    }
}

/// Waits until all have started, and then until they have gone to sleep.
fn settle(waiting: &AtomicUsize, all: usize) {
    while waiting.load(Ordering::Relaxed) < all {
        sleep(Duration::from_millis(1)).wait();
    }
    for _ in 0..3 {
        sleep(Duration::from_millis(5)).wait();
    }
}

fn join_all<T>(handles: Vec<JoinHandle<T>>) {
    for handle in handles {
        handle.join().expect("nothing in the crowd panics");
    }
}

fn report(kind: &str, count: usize, bytes: usize, start: Instant) {
    if count > 0 {
        println!("{count} {kind}s parked in {:.2} s", start.elapsed().as_secs_f64());
        println!("bytes_per_{kind}: {}", bytes / count);
    }
}

/// Resident pages plus page tables, in bytes.
fn memory() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").expect("/proc is mounted");
    let kibibytes = |field: &str| {
        let line = status.lines().find(|line| line.starts_with(field)).expect("a known field");
        line.split_whitespace().nth(1).expect("a value").parse::<usize>().expect("a number")
    };
    (kibibytes("VmRSS:") + kibibytes("VmPTE:")) * 1024
}
