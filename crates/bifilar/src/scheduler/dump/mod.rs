//! Where tasks stand that wait: each suspended stack walks itself, and each future is polled once more.
//!
//! ```text
//!   who asks                    a worker's loop                     a suspended stack
//!   ────────                    ───────────────                     ─────────────────
//!   lists the tasks, and where
//!   each is suspended
//!   ask, unpark ──────────────► visit ──────── switch ────────────► in `Worker::switch`, not in `wait`:
//!                                  ◄────────── switch back ──────── captures its backtrace
//!                               … a batch of them, then a turn for others …
//!   all answers, or too late ◄─ answered
//! ```
//!
//! A stack can be unwound only from within: so the loop continues it for a moment, and it comes back
//! before it touches anything. It stays suspended for everybody else: its count, its place in a queue
//! and its task are as they were. A stack is visited by the worker that owns it, which alone may look
//! where it is suspended. Whether the task that was listed still stands on it, the stack itself knows
//! ([`visit`]).
//!
//! A future between two polls has no stack. But a poll of it walks down to what it awaits, which says
//! once more that it isn't ready; and there the calls stand on the stack that lead from the task to it.
//! So it is polled as if it had been woken for nothing, which every future must bear, and its leaves are
//! looked at ([`look`]).
//!
//! What it deliberately does not do: turn addresses into names, which takes long. Who shows a trace
//! does.

mod look;
mod visit;

pub(super) use look::Leaves;
pub(super) use visit::Visit;

use super::{
    Shared,
    stack::StackHeader,
    unwinder::{_Unwind_Backtrace, _Unwind_GetIP},
    worker::Worker,
};
use crate::{
    cell::{Activity, Id, Task, TaskRef, TaskReport},
    context::waiting::Waiting,
    primitives::{AtomicBool, Mutex, Ordering},
    sync::Notify,
};
use bifilar_coroutine::stack::room_below;
use std::{
    backtrace::Backtrace,
    collections::{HashMap, VecDeque},
    ffi::{c_int, c_void},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

/// Visits between two turns of the loop: about a millisecond.
const BATCH: usize = 64;

/// What was seen of a task.
#[derive(Clone, Debug)]
pub(crate) enum Trace {
    /// The calls on the stack on which it is suspended.
    Stack(Arc<Backtrace>),
    /// That stack is nearly full, or of foreign make.
    NoRoom,
    /// Where its future awaits something.
    Leaves(Vec<Leaf>),
}

/// Something that a future awaits, and the calls of a poll that lead there.
#[derive(Clone, Debug)]
pub(crate) struct Leaf {
    pub waiting: Waiting,
    /// None: the stack was nearly full, or of foreign make.
    pub trace: Option<Arc<Backtrace>>,
}

/// What is asked of one worker.
struct Round {
    stacks: VecDeque<(Id, &'static StackHeader)>,
    tasks: VecDeque<Task>,
    answers: Arc<Answers>,
}

impl Round {
    fn is_over(&self) -> bool {
        self.stacks.is_empty() && self.tasks.is_empty()
    }
}

/// What all workers have said to one request.
pub(crate) struct Answers {
    state: Mutex<State>,
    complete: Notify,
}

#[derive(Default)]
struct State {
    traces: HashMap<Id, Trace>,
    known: HashMap<Box<[usize]>, Arc<Backtrace>>,
    workers_left: usize,
    /// The thread that looks after the time.
    watch: Option<thread::Thread>,
}

/// What others ask of a worker.
pub(super) struct Questions {
    asked: AtomicBool,
    rounds: Mutex<Rounds>,
}

#[derive(Default)]
struct Rounds {
    /// A thread runs this worker, and will answer.
    open: bool,
    waiting: VecDeque<Round>,
}

impl Questions {
    pub fn new() -> Self {
        Questions { asked: AtomicBool::new(false), rounds: Mutex::new(Rounds::default()) }
    }

    /// Whether there are any. Relaxed: who asks unparks the worker afterwards.
    #[inline]
    pub fn any(&self) -> bool {
        self.asked.load(Ordering::Relaxed)
    }

    /// For a thread that begins to run this worker.
    pub fn open(&self) {
        self.rounds.lock().unwrap().open = true;
    }

    /// For a thread that runs it no longer: what is left will not be answered.
    pub fn close(&self) {
        let mut rounds = self.rounds.lock().unwrap();
        rounds.open = false;
        self.asked.store(false, Ordering::Relaxed);
        let abandoned = std::mem::take(&mut rounds.waiting);
        drop(rounds);
        abandoned.into_iter().for_each(|round| round.answers.worker_is_done());
    }

    fn ask(&self, round: Round) {
        let mut rounds = self.rounds.lock().unwrap();
        if !rounds.open {
            drop(rounds);
            return round.answers.worker_is_done();
        }
        // Those that ran out of patience go, or they would pile up while the worker is busy.
        let (waiting, late) = std::mem::take(&mut rounds.waiting)
            .into_iter()
            .partition::<VecDeque<_>, _>(|round| round.answers.is_awaited());
        rounds.waiting = waiting;
        rounds.waiting.push_back(round);
        self.asked.store(true, Ordering::Relaxed);
        drop(rounds);
        drop::<VecDeque<Round>>(late);
    }

    /// What is to be answered next; also if nobody waits for it any more.
    fn next(&self) -> Option<Round> {
        let mut rounds = self.rounds.lock().unwrap();
        let round = rounds.waiting.pop_front();
        self.asked.store(!rounds.waiting.is_empty(), Ordering::Relaxed);
        round
    }
}

impl Answers {
    /// Ready when all workers have answered.
    pub async fn complete(&self) {
        loop {
            let notified = self.complete.notified();
            if self.state.lock().unwrap().workers_left == 0 {
                return;
            }
            notified.await;
        }
    }

    /// The calls on this stack. Equal ones are captured once: comparing addresses costs a tenth.
    fn capture(&self) -> Arc<Backtrace> {
        let addresses = addresses();
        if let Some(known) = self.state.lock().unwrap().known.get(&*addresses) {
            return known.clone();
        }
        // Without the lock: std lets nobody capture while another thread turns addresses into names.
        let trace = Arc::new(Backtrace::force_capture());
        self.state.lock().unwrap().known.insert(addresses.into(), trace.clone());
        trace
    }

    /// Whether anybody still waits for what is answered.
    fn is_awaited(&self) -> bool {
        self.state.lock().unwrap().workers_left > 0
    }

    /// What has been said so far.
    pub fn take(&self) -> HashMap<Id, Trace> {
        std::mem::take(&mut self.state.lock().unwrap().traces)
    }

    fn worker_is_done(&self) {
        let mut state = self.state.lock().unwrap();
        // None are left once the patience has ended.
        state.workers_left = state.workers_left.saturating_sub(1);
        let last = state.workers_left == 0;
        let watch = if last { state.watch.take() } else { None };
        drop(state);
        if last {
            self.complete.notify_waiters();
        }
        if let Some(watch) = watch {
            watch.unpark();
        }
    }

    /// Looks after the time, on a thread of its own: the runtime's timers are those of workers that may
    /// be busy. Without a thread there is no end to patience.
    fn give_up_after(self: &Arc<Self>, patience: Duration) {
        let answers = self.clone();
        let end = Instant::now() + patience;
        let watch = move || {
            loop {
                let left = end.saturating_duration_since(Instant::now());
                let mut state = answers.state.lock().unwrap();
                if state.workers_left == 0 {
                    return;
                }
                if left.is_zero() {
                    state.workers_left = 0;
                    break;
                }
                drop(state);
                thread::park_timeout(left);
            }
            answers.complete.notify_waiters();
        };
        if let Ok(watch) = thread::Builder::new().name("bifilar-dump".into()).spawn(watch) {
            self.state.lock().unwrap().watch = Some(watch.thread().clone());
        }
    }
}

impl Shared {
    /// Lists all tasks, and asks the workers that are at work where those stand that wait.
    /// What isn't there after `patience` is left out.
    pub fn ask_for_traces(&self, patience: Duration) -> (Vec<TaskReport>, Arc<Answers>) {
        let mut tasks: Vec<VecDeque<_>> = self.remotes.iter().map(|_| VecDeque::new()).collect();
        let reports = self.reports_and(|shard, report, task| {
            if report.activity() == Activity::Idle {
                tasks[shard].push_back(task());
            }
        });
        let mut stacks: Vec<VecDeque<_>> = self.remotes.iter().map(|_| VecDeque::new()).collect();
        for report in &reports {
            let Some(stack) = report.stack() else { continue };
            // SAFETY: only addresses of stack headers are noted, and those live for ever.
            let stack: &'static StackHeader = unsafe { &*stack.cast() };
            let owner = stack.owner.load(Ordering::Relaxed).cast_const();
            let index = self.remotes.iter().position(|remote| std::ptr::eq(remote, owner));
            if let Some(index) = index {
                stacks[index].push_back((report.id(), stack));
            }
        }
        let state = State { workers_left: stacks.len(), ..State::default() };
        let answers = Arc::new(Answers { state: Mutex::new(state), complete: Notify::new() });
        if stacks.iter().any(|stacks| !stacks.is_empty()) || tasks.iter().any(|it| !it.is_empty()) {
            answers.give_up_after(patience);
        }
        for ((remote, stacks), tasks) in self.remotes.iter().zip(stacks).zip(tasks) {
            let round = Round { stacks, tasks, answers: answers.clone() };
            if round.is_over() {
                answers.worker_is_done();
                continue;
            }
            remote.questions.ask(round);
            if remote.questions.any() {
                remote.unpark();
            }
        }
        (reports, answers)
    }
}

impl Worker {
    /// Answers what others have asked, a batch at a time. May give a task that is to be run now, to be
    /// looked at. On a loop stack.
    #[cold]
    pub fn answer(&self) -> Option<TaskRef> {
        let questions = &self.shared.remotes[self.index].questions;
        let mut round = questions.next()?;
        if round.is_over() || !round.answers.is_awaited() {
            round.answers.worker_is_done();
            return None;
        }
        for (task, stack) in round.stacks.drain(..BATCH.min(round.stacks.len())) {
            if let Some(trace) = self.visit(stack, task, &round.answers) {
                round.answers.state.lock().unwrap().traces.insert(task, trace);
            }
        }
        let next = round.tasks.pop_front();
        let run = next.and_then(|task| self.look_at(&task, &round.answers));
        // What is left, later; also if that is nothing, since what is seen is told after the poll.
        questions.ask(round);
        run
    }
}

/// What a capture needs: unwinding takes 6 KiB (measured), 8 in a debug build.
const ROOM: usize = 12 << 10;

/// Whether a backtrace can be captured on a stack that is used down to `address`. Of a stack that isn't
/// ours nobody knows.
fn has_room<T: ?Sized>(address: *const T) -> bool {
    room_below(address).is_some_and(|left| left >= ROOM)
}

/// The addresses of the calls on this stack, from the last to the first.
fn addresses() -> Vec<usize> {
    let mut addresses = Vec::with_capacity(64);
    // SAFETY: `note` keeps the contract of the unwinder's callback; the pointer is that of a `Vec` which
    // outlives the call.
    unsafe { _Unwind_Backtrace(note, (&raw mut addresses).cast()) };
    addresses
}

/// As many frames are compared.
const MOST_FRAMES: usize = 256;

/// # Safety
/// `context` is the unwinder's; `addresses` points to a `Vec<usize>`.
unsafe extern "C" fn note(context: *mut c_void, addresses: *mut c_void) -> c_int {
    // SAFETY: as promised.
    let addresses = unsafe { &mut *addresses.cast::<Vec<usize>>() };
    // SAFETY: as promised.
    addresses.push(unsafe { _Unwind_GetIP(context) });
    // Anything but zero ends the walk.
    c_int::from(addresses.len() == MOST_FRAMES)
}
