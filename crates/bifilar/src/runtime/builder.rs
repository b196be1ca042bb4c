//! How a runtime is to be.

use super::{LocalRuntime, Runtime, SHUTDOWN_LIMIT, drive_to_end, sigquit, threads::Threads};
use crate::{
    cell::TaskKind,
    fiber::Body,
    flight::FlightRecorder,
    scheduler::{self, Birth, Config, Driver, Shared},
    wait::Wait,
};
use bifilar_coroutine::stack;
use bifilar_timeline::Recorder;
use std::{future::IntoFuture, io, num::NonZeroUsize, thread, time::Duration};

/// Chooses how a runtime is to be, and starts it.
///
/// ```
/// let workers = bifilar::Builder::new().workers(2).name("demo").run(|| {
///     bifilar::fiber::spawn(|| 2).join().unwrap()
/// });
/// assert_eq!(workers, 2);
/// ```
#[derive(Clone, Debug)]
#[must_use = "a Builder does nothing until you call run, block_on or build"]
pub struct Builder {
    workers: Option<usize>,
    name: String,
    stack_size: usize,
    shutdown_limit: Duration,
    seed: Option<u64>,
    measure: bool,
    watchdog: Option<Duration>,
    dump_on_sigquit: bool,
    recorder: Option<Recorder>,
    flight: Option<FlightRecorder>,
}

/// Long against a poll, and short against what a person notices.
const WATCHDOG_LIMIT: Duration = Duration::from_millis(20);

/// Worker numbers are 16 bits wide.
const MOST_WORKERS: usize = 1 << 12;

impl Builder {
    /// One worker per core, named "bifilar", with stacks of 256 KiB.
    pub fn new() -> Self {
        Builder {
            workers: None,
            name: "bifilar".into(),
            stack_size: stack::DEFAULT_SIZE,
            shutdown_limit: SHUTDOWN_LIMIT,
            seed: None,
            measure: false,
            watchdog: Some(WATCHDOG_LIMIT),
            dump_on_sigquit: false,
            recorder: None,
            flight: None,
        }
    }

    /// How many threads run tasks: from 1 to 4,096. By default one per core that the process may
    /// use (`std::thread::available_parallelism`).
    pub fn workers(mut self, workers: usize) -> Self {
        self.workers = Some(workers);
        self
    }

    /// The calling thread alone runs tasks: `workers(1)`.
    pub fn current_thread(self) -> Self {
        self.workers(1)
    }

    /// The beginning of the names of worker threads.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// Bytes of address space for each stack, guard page included; rounded up to a power of two of
    /// at least 16 KiB. Memory is used only for pages that were touched.
    pub fn stack_size(mut self, bytes: usize) -> Self {
        self.stack_size = bytes;
        self
    }

    /// How long the end of the runtime waits for the destructors of its tasks; 10 seconds by default
    /// (a tenth of one where panics abort, since stacks can't be unwound then). What has not ended
    /// then is logged, and never freed. [`Runtime::shutdown`] has a limit of its own.
    pub fn shutdown_limit(mut self, limit: Duration) -> Self {
        self.shutdown_limit = limit;
        self
    }

    /// After how long without a poll, a wait or a look at its event queue a worker is told of; 20 ms by
    /// default, at least 1 ms. `None` and zero switch that off, as [`simulate`](Builder::simulate) does.
    ///
    /// What holds a worker up is a task that computes for long, or blocks its thread by anything but a
    /// [`wait`](crate::Wait::wait): a lock of std, a file, a C library. All other tasks of the worker stand
    /// still meanwhile. [`unblock`](crate::unblock) gives it a thread of its own;
    /// [`yield_now`](crate::fiber::yield_now) lets others run in between.
    ///
    /// It is a `tracing` event of level WARN and target `bifilar::watchdog` with the task's number, name
    /// and location, and a backtrace of the thread; one each time, however long it lasts. Names in the
    /// backtrace take the feature `backtrace` of this crate; without it, there are offsets for
    /// `addr2line`. [`stalls`](crate::metrics::WorkerMetrics::stalls) counts, too.
    ///
    /// A thread of the runtime looks every 10 ms, unless all workers sleep. When somebody listens to
    /// the event, the thread that is held up gets the signal SIGURG: see signal(7) for the calls
    /// that Linux doesn't restart after a signal, and which C code may take for failed. A handler that was
    /// there before gets all other signals of the kind.
    pub fn watchdog(mut self, limit: impl Into<Option<Duration>>) -> Self {
        self.watchdog = limit.into().filter(|limit| !limit.is_zero());
        self
    }

    /// Measures how long tasks stand in queues, and how long they keep their worker, for
    /// [`metrics`](crate::metrics): [`latency`](crate::metrics::WorkerMetrics::latency) and
    /// [`runs`](crate::metrics::WorkerMetrics::runs). That costs two or three looks at the clock for each
    /// run of a task, some 25 ns each; all else is counted in any case. Off by default.
    ///
    /// ```
    /// use bifilar::{Builder, Handle, fiber};
    ///
    /// Builder::new().workers(1).measure(true).run(|| {
    ///     fiber::spawn(|| ()).join().unwrap();
    ///     let worker = &Handle::current().metrics().workers[0];
    ///     assert!(worker.runs.as_ref().unwrap().count() > 0);
    /// });
    /// ```
    pub fn measure(mut self, measure: bool) -> Self {
        self.measure = measure;
        self
    }

    /// Writes a [dump](crate::Dump) of all tasks to stderr whenever the process gets SIGQUIT (Ctrl-\\ at
    /// a terminal, `kill -QUIT` elsewhere), instead of ending by it. The signal is the process's: once one
    /// runtime has asked for this, it doesn't end the process any more. Starting the runtime fails if the
    /// program has a handler of its own for it.
    pub fn dump_on_sigquit(mut self) -> Self {
        self.dump_on_sigquit = true;
        self
    }

    /// Simulates time and the order of tasks, for tests: the same seed gives the same run.
    ///
    /// There is one worker, whatever else is asked for. What runs next among what is ready, and after
    /// how many operations a task must give way, is drawn from `seed`; so a loop over seeds finds bugs
    /// that depend on the order, and the seed of a failure repeats it. Time stands still while
    /// anything can run, and jumps to the next timer when nothing can: see
    /// [`time::now`](crate::time::now).
    ///
    /// Sockets, calls of [`unblock`](crate::unblock) and other threads are as real and as unpredictable
    /// as ever, and time doesn't wait for them.
    ///
    /// ```
    /// use bifilar::{Builder, fiber, sync::Mutex};
    /// use std::{collections::HashSet, sync::Arc};
    /// use bifilar::Wait;
    ///
    /// let orders: HashSet<Vec<u32>> = (0..50)
    ///     .map(|seed| {
    ///         Builder::new().simulate(seed).run(|| {
    ///             let order = Arc::new(Mutex::new(Vec::new()));
    ///             let fibers = [1, 2, 3].map(|i| {
    ///                 let order = order.clone();
    ///                 fiber::spawn(move || order.lock().wait().push(i))
    ///             });
    ///             fibers.into_iter().for_each(|fiber| fiber.join().unwrap());
    ///             order.lock().wait().clone()
    ///         })
    ///     })
    ///     .collect();
    /// assert_eq!(orders.len(), 6);
    /// ```
    pub fn simulate(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Records what the runtime does, and when, with a [recorder](crate::timeline::Recorder), which
    /// keeps the newest events of each thread: a flight recorder.
    ///
    /// Recorded are spawns, polls, suspensions and wake-ups, workers that sleep, timers, sockets that
    /// become ready, calls on the blocking pool and the system calls of sockets and the event queue.
    /// Threads that only enter the runtime, or wake its tasks, take part. A recorder may be shared by
    /// several runtimes.
    ///
    /// Starting the runtime switches recording on;
    /// [`timeline::set_enabled`](crate::timeline::set_enabled) switches it off and on again, for the
    /// whole process. Snapshots can be taken at any time, from any thread. A
    /// [simulated](Builder::simulate) runtime records its simulated time, so that
    /// [`renumbered`](crate::timeline::Recording::renumbered) recordings of equal runs are equal.
    ///
    /// ```
    /// use bifilar::{Builder, fiber, timeline::{Diagram, Recorder}};
    ///
    /// let recorder = Recorder::new(10_000); // events of each thread, 32 bytes each
    /// Builder::new().record(&recorder).run(|| {
    ///     fiber::spawn(|| fiber::yield_now()).join().unwrap();
    /// });
    /// let diagram = Diagram::from(&recorder.snapshot()).titled("a fiber that yields");
    /// println!("{}", diagram.text(80));
    /// # let path = std::env::temp_dir().join(format!("bifilar-record-{}.html", std::process::id()));
    /// diagram.write_to(&path)?; // .svg, .html, .json or .txt
    /// # std::fs::remove_file(path)?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn record(mut self, recorder: &Recorder) -> Self {
        self.recorder = Some(recorder.clone());
        self.flight = None;
        self
    }

    /// [Records](Builder::record) with the recorder of `flight`, which hands over what ran of late when
    /// something happens: see [`FlightRecorder`].
    ///
    /// When the runtime ends it waits, within the limit of its end, until all has been delivered that was
    /// triggered before.
    pub fn flight_recorder(mut self, flight: &FlightRecorder) -> Self {
        self.recorder = Some(flight.recorder().clone());
        self.flight = Some(flight.clone());
        self
    }

    /// Runs a closure as the main fiber of this runtime: see [`run`](crate::run).
    ///
    /// # Panics
    /// With what the closure panics with; when the runtime can't be started, with "cannot start a
    /// bifilar runtime:" and the error that [`build`](Builder::build) and
    /// [`build_local`](Builder::build_local) return instead.
    #[track_caller]
    pub fn run<T>(self, f: impl FnOnce() -> T) -> T {
        if scheduler::on_worker() {
            return f();
        }
        let birth = Birth::new(TaskKind::Fiber);
        started(self.shared(None).and_then(|shared| drive_to_end(shared, Body::new(f), birth)))
    }

    /// Runs a future as the main task of this runtime: see [`block_on`](crate::block_on).
    ///
    /// # Panics
    /// As [`run`](Builder::run).
    #[track_caller]
    pub fn block_on<F: IntoFuture>(self, future: F) -> F::Output {
        if scheduler::on_worker() {
            return future.wait();
        }
        let (future, birth) = (future.into_future(), Birth::new(TaskKind::Async));
        started(self.shared(None).and_then(|shared| drive_to_end(shared, future, birth)))
    }

    /// Starts a runtime with worker threads of its own.
    ///
    /// # Errors
    /// `InvalidInput` if the number of workers or the size of stacks is out of range; what the
    /// system says when it has no memory, threads or descriptors.
    pub fn build(self) -> io::Result<Runtime> {
        self.shared(None).and_then(Runtime::start)
    }

    /// Makes a runtime whose only worker is the calling thread; `workers` is ignored.
    ///
    /// # Errors
    /// As [`build`](Builder::build).
    pub fn build_local(self) -> io::Result<LocalRuntime> {
        let shared = self.shared(Some(1))?;
        let first = super::first_stacks(&shared)?;
        let threads = Threads::start(&shared, 1)?;
        Ok(LocalRuntime { driver: Driver::new(shared, 0, first), threads })
    }

    fn shared(self, workers: Option<usize>) -> io::Result<std::sync::Arc<Shared>> {
        let cores = || thread::available_parallelism().map_or(1, NonZeroUsize::get);
        let workers = workers
            .or(self.seed.map(|_| 1))
            .or(self.workers)
            .unwrap_or_else(|| cores().min(MOST_WORKERS));
        let invalid = |what| Err(io::Error::new(io::ErrorKind::InvalidInput, what));
        if !(1..=MOST_WORKERS).contains(&workers) {
            return invalid(format!(
                "a runtime of {workers} workers: 1 to {MOST_WORKERS} are possible"
            ));
        }
        let stack_class = stack::round_up(self.stack_size)?;
        let shared = Shared::new(Config {
            workers,
            name: self.name,
            stack_class,
            shutdown_limit: self.shutdown_limit,
            seed: self.seed,
            measure: self.measure,
            watchdog: if self.seed.is_none() { self.watchdog } else { None },
            recorder: self.recorder,
            flight: self.flight,
        })?;
        if self.dump_on_sigquit {
            sigquit::dump(&shared)?;
        }
        Ok(shared)
    }
}

#[track_caller]
fn started<T>(result: io::Result<T>) -> T {
    result.unwrap_or_else(|error| panic!("cannot start a bifilar runtime: {error}"))
}

impl Default for Builder {
    fn default() -> Self {
        Builder::new()
    }
}
