//! Parks a crowd of fibers and tasks at once, then wakes and joins all of them, and says what one of
//! each costs, and what is left of their memory at the end.
//!
//!     cargo run --release -p bifilar --example crowd -- --fibers 1000000 --tasks 0
//!
//! Every fiber blocks in plain blocking-style code: it reads from an in-memory pipe, receives from a
//! channel, or sleeps. Every task awaits a notification. Memory is what the kernel says of this
//! process: resident pages plus page tables.

use bifilar::{
    Builder, JoinHandle, Wait, fiber,
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

const USAGE: &str = "\
usage: crowd [--fibers N] [--tasks N] [--block HOW] [--stack-size BYTES] [--workers N]
             [--most-bytes N] [--most-left PERCENT]

  --fibers N          how many fibers (10,000 by default)
  --tasks N           how many tasks (100,000 by default)
  --block HOW         what fibers block on: pipe, channel, sleep, or mixed, a third on each (default)
  --stack-size BYTES  address space for a stack (bifilar's default)
  --workers N         threads (one per core by default)
  --most-bytes N      end with status 1 if a fiber takes more than that
  --most-left PERCENT end with status 1 if, when all have ended and the allocator has given free memory
                      back, the process has so much more than before, in per cent of that";

struct Arguments {
    fibers: usize,
    tasks: usize,
    block: Block,
    most_bytes: Option<usize>,
    most_left: Option<usize>,
    runtime: Builder,
}

/// What fibers block on.
#[derive(Clone, Copy)]
enum Block {
    Pipe,
    Channel,
    Sleep,
    Mixed,
}

fn main() -> ExitCode {
    if std::env::args().skip(1).any(|argument| argument == "--help" || argument == "-h") {
        println!("{USAGE}");
        return ExitCode::SUCCESS;
    }
    match arguments(std::env::args().skip(1)) {
        Ok(Arguments { fibers, tasks, block, most_bytes, most_left, runtime }) => {
            let (bytes, left) = runtime.run(|| {
                // What every crowd leaves behind, kept stacks and the like, more or less of them, is
                // not this one's cost.
                let small = |_| {
                    crowd(1_000, 1_000, block, |_| {});
                    give_free_memory_back();
                    memory()
                };
                let before = (0..5).map(small).max().unwrap_or(0);
                let bytes = crowd(fibers, tasks, block, |line| println!("{line}"));
                settle();
                println!("memory before: {} KiB, after: {} KiB", before >> 10, memory() >> 10);
                if give_free_memory_back() {
                    println!("and with malloc_trim: {} KiB", memory() >> 10);
                }
                (bytes, memory().saturating_sub(before) * 100 / before)
            });
            let mut end = ExitCode::SUCCESS;
            if let Some(most) = most_bytes.filter(|most| bytes > *most) {
                eprintln!("a fiber took {bytes} bytes: {most} were allowed");
                end = ExitCode::FAILURE;
            }
            if let Some(most) = most_left.filter(|most| left > *most) {
                eprintln!("{left} % more memory than before is left: {most} were allowed");
                end = ExitCode::FAILURE;
            }
            end
        }
        Err(error) => {
            eprintln!("{error}\n{USAGE}");
            ExitCode::from(2)
        }
    }
}

fn arguments(mut args: impl Iterator<Item = String>) -> Result<Arguments, String> {
    let (mut fibers, mut tasks, mut block) = (10_000, 100_000, Block::Mixed);
    let (mut most_bytes, mut most_left) = (None, None);
    let mut runtime = Builder::new();
    while let Some(name) = args.next() {
        let value = args.next().ok_or_else(|| format!("{name} needs a value"))?;
        let number = || value.parse().map_err(|_| format!("{name} needs a number, not '{value}'"));
        match name.as_str() {
            "--fibers" => fibers = number()?,
            "--tasks" => tasks = number()?,
            "--most-bytes" => most_bytes = Some(number()?),
            "--most-left" => most_left = Some(number()?),
            "--stack-size" => runtime = runtime.stack_size(number()?),
            "--workers" => runtime = runtime.workers(number()?),
            "--block" => {
                block = match value.as_str() {
                    "pipe" => Block::Pipe,
                    "channel" => Block::Channel,
                    "sleep" => Block::Sleep,
                    "mixed" => Block::Mixed,
                    _ => return Err(format!("fibers can't block on '{value}'")),
                }
            }
            _ => return Err(format!("unknown argument '{name}'")),
        }
    }
    Ok(Arguments { fibers, tasks, block, most_bytes, most_left, runtime })
}

/// Returns how many bytes a fiber took.
fn crowd(fibers: usize, tasks: usize, block: Block, say: impl Fn(String)) -> usize {
    let report = |kind, count, bytes: usize, start: Instant| {
        if count > 0 {
            say(format!("{count} {kind}s parked in {:.2} s", start.elapsed().as_secs_f64()));
            say(format!("bytes_per_{kind}: {}", bytes / count));
        }
    };

    let start = Instant::now();
    let before = memory();
    let gates = Arc::new(Gates::new(block));
    let fiber_handles: Vec<_> = (0..fibers)
        .map(|i| {
            let gates = gates.clone();
            fiber::spawn(move || gates.block(i))
        })
        .collect();
    gates.wait_for(fibers);
    let with_fibers = memory();
    let bytes = with_fibers.saturating_sub(before).checked_div(fibers).unwrap_or(0);
    report("fiber", fibers, with_fibers.saturating_sub(before), start);

    let start = Instant::now();
    let task_handles: Vec<_> = (0..tasks)
        .map(|_| {
            let gates = gates.clone();
            task::spawn(async move {
                gates.waiting.fetch_add(1, Ordering::Relaxed);
                gates.bell.notified().await;
            })
        })
        .collect();
    gates.wait_for(fibers + tasks);
    report("task", tasks, memory().saturating_sub(with_fibers), start);

    let start = Instant::now();
    gates.open(fibers);
    join_all(fiber_handles);
    join_all(task_handles);
    say(format!("woken and joined in {:.2} s", start.elapsed().as_secs_f64()));
    bytes
}

/// Where the crowd waits, until all gates are opened.
struct Gates {
    block: Block,
    pipe: Pipe,
    items: (channel::Sender<()>, channel::Receiver<()>),
    bell: Notify,
    waiting: AtomicUsize,
}

impl Gates {
    fn new(block: Block) -> Self {
        Gates {
            block,
            pipe: Pipe::new(),
            items: channel::unbounded(),
            bell: Notify::new(),
            waiting: AtomicUsize::new(0),
        }
    }

    fn block(&self, i: usize) {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        let block = match self.block {
            Block::Mixed => [Block::Pipe, Block::Channel, Block::Sleep][i % 3],
            block => block,
        };
        match block {
            Block::Pipe => (&self.pipe).read_exact(&mut [0]).expect("a byte"),
            Block::Channel => self.items.1.recv().wait().expect("an item"),
            // Sleeps "for ever", until the bell rings.
            Block::Sleep | Block::Mixed => {
                let day = Duration::from_secs(24 * 3600);
                let bell = self.bell.notified();
                let _ = bifilar::time::timeout(day, bell).wait();
            }
        }
    }

    /// Waits until so many have come, and then until they have gone to sleep.
    fn wait_for(&self, all: usize) {
        while self.waiting.load(Ordering::Relaxed) < all {
            sleep(Duration::from_millis(1)).wait();
        }
        settle();
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

/// Lets everybody come to rest.
fn settle() {
    for _ in 0..3 {
        sleep(Duration::from_millis(5)).wait();
    }
}

fn join_all<T>(handles: Vec<JoinHandle<T>>) {
    for handle in handles {
        handle.join().expect("nothing in the crowd panics");
    }
}

/// Asks glibc's allocator for what was freed; by itself it often keeps that.
fn give_free_memory_back() -> bool {
    #[cfg(target_env = "gnu")]
    // SAFETY: may be called at any time.
    unsafe {
        libc::malloc_trim(0);
    }
    cfg!(target_env = "gnu")
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
