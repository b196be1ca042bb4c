//! A worker: the part of it that only its own thread touches, and what it runs next.
//!
//! Order of search: the inbox is emptied into the local queue; then the
//! task woken last (`next`, three times in a row at most, so that two tasks in conversation can't starve
//! the others), then the local queue and the stealable queue in turns,
//! then the injector, the event queue, the queues of others; then sleep. Every [`EVENT_INTERVAL`]
//! ticks the event queue and the injector have their turn in any case. Who asks for a dump has every
//! third turn, so that both queues have theirs meanwhile.
//!
//! **Invariant:** nothing here stays borrowed while a task is polled, since the loop's frame may be
//! suspended under it; fields are cells, and borrows last for one statement.

use super::{
    Run, Shared, counters,
    deadlock::STANDSTILL,
    dice::Dice,
    dump::{Leaves, Visit},
    split,
    stack::StackHeader,
};
use crate::{
    cell::{Fifo, Link, TaskRef},
    context::{self, BUDGET, waiting},
    primitives::Ordering,
    reactor::TurnBuffer,
    record,
};
use bifilar_coroutine::raw::Suspended;
use bifilar_timeline::Event;
use std::{
    cell::{Cell, RefCell},
    ptr::{self, NonNull},
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

/// Ticks between two looks at the event queue and the injector: Go's and tokio's figure, a prime
/// so that it doesn't beat in time with the program.
const EVENT_INTERVAL: u32 = 61;

/// How often in a row the task woken last may jump the queue; tokio's figure.
const MOST_JUMPS: u32 = 3;

/// In a simulation budgets are drawn below this: small, so that tasks give way at every other turn.
const MOST_DRAWN: usize = 4;

pub(super) struct Worker {
    pub shared: Arc<Shared>,
    pub index: usize,
    /// Its part of `shared`.
    remote: NonNull<super::Remote>,
    /// Whether what costs looks at the clock is measured.
    measure: bool,
    /// Woken stacks and tasks that only this worker may run.
    local: RefCell<Fifo>,
    tick: Cell<u32>,
    jumps: Cell<u32>,
    searching: Cell<bool>,
    turn: RefCell<Option<TurnBuffer>>,
    /// If the order of tasks is simulated.
    dice: Option<Dice>,
    /// Nothing has happened since it looked for a deadlock.
    stood_still: Cell<bool>,
    /// When what runs was polled or continued, in nanoseconds since the runtime's start, if that is
    /// measured.
    began: Cell<u64>,
    /// The worker that this one blocks: it is driven within one of that one's tasks.
    pub outer: Cell<*const Worker>,
    /// When to give up waiting for unfinished tasks, during shutdown.
    pub deadline: Cell<Option<Instant>>,

    // What `switching` needs.
    /// A loop looks at a suspended stack, which it has just continued.
    pub visit: Cell<*const Visit<'static>>,
    /// What is seen of a task that is polled for a dump.
    pub look: Cell<Option<Rc<Leaves>>>,
    /// Where the thread's native stack is suspended.
    pub root: Cell<Option<Suspended>>,
    /// Warm stacks of the default class.
    pub spare: RefCell<Vec<&'static StackHeader>>,
    /// One more, for a `wait` that must not fail when there is no memory for others.
    pub reserve: Cell<Option<&'static StackHeader>>,
    /// A stack that was just left for ever, and could not be given back while it was stood on.
    pub retired: Cell<Option<&'static StackHeader>>,
    /// A task that needs a stack of its own: the first thing a new loop stack runs.
    pub first: Cell<Option<TaskRef>>,
    /// Cancelled stacks that can't unwind while another one of this thread does.
    pub deferred: RefCell<Vec<&'static StackHeader>>,
}

impl Worker {
    pub fn new(shared: Arc<Shared>, index: usize) -> Self {
        Worker {
            index,
            remote: NonNull::from(&shared.remotes[index]),
            measure: shared.config.measure,
            local: RefCell::new(Fifo::new()),
            tick: Cell::new(0),
            jumps: Cell::new(0),
            searching: Cell::new(false),
            turn: RefCell::new(None),
            stood_still: Cell::new(false),
            dice: shared.config.seed.map(Dice::new),
            shared,
            began: Cell::new(0),
            outer: Cell::new(ptr::null()),
            deadline: Cell::new(None),
            visit: Cell::new(ptr::null()),
            look: Cell::new(None),
            root: Cell::new(None),
            spare: RefCell::new(Vec::new()),
            reserve: Cell::new(None),
            retired: Cell::new(None),
            first: Cell::new(None),
            deferred: RefCell::new(Vec::new()),
        }
    }

    /// The worker of this thread, if it has one.
    #[inline]
    pub fn with_current<R>(f: impl FnOnce(Option<&Worker>) -> R) -> R {
        let worker = context::with(|context| context.worker.get()).cast::<Worker>();
        // SAFETY: `drive` sets it to a worker that it frees only after it has reset it.
        f(unsafe { worker.as_ref() })
    }

    #[inline(always)]
    pub fn remote(&self) -> &super::Remote {
        // SAFETY: it stands in `shared`, which this holds.
        unsafe { self.remote.as_ref() }
    }

    /// Queues what only this worker may run.
    pub fn push_local(&self, link: NonNull<Link>) {
        if self.measure {
            self.shared.stamp(link);
        }
        // SAFETY: the caller owns the right to queue it, so it is alive and in no other queue.
        unsafe { self.local.borrow_mut().push(link) };
    }

    /// Queues a task for any worker.
    pub fn push(&self, task: TaskRef) {
        self.remote().queue.push(task);
        self.shared.notify_one();
    }

    /// Queues a task to run as soon as the running one ends or waits.
    ///
    /// Nobody is woken to steal it: moving it to another core would cost more than it saves.
    pub fn push_next(&self, task: TaskRef) {
        let before = self.remote().next.swap(task.as_ptr(), Ordering::AcqRel);
        if let Some(before) = NonNull::new(before) {
            self.push(before);
        }
    }

    /// What to run next; waits for it. `None`: go back to the native stack.
    pub fn next(&self) -> Option<Run> {
        loop {
            let tick = self.tick.get().wrapping_add(1);
            self.tick.set(tick);
            self.take_inbox();
            if tick.is_multiple_of(EVENT_INTERVAL) {
                self.look_around();
            }
            if self.must_leave() {
                self.found();
                return None;
            }
            let asked = self.remote().questions.any();
            if asked {
                // The poll that was looked at has ended, or was suspended.
                self.look_away();
                // One turn for who asks, and one for each of the two queues.
                if tick.is_multiple_of(3) {
                    return Some(Run::Answer);
                }
            }
            if let Some(run) = self.take(tick) {
                self.found();
                return Some(run);
            }
            if asked {
                return Some(Run::Answer);
            }
            self.find_work();
        }
    }

    /// A stack that is next in turn, for one that is about to be suspended: saves a detour over a
    /// loop. `None`: let a loop decide.
    pub fn next_stack(&self) -> Option<&'static StackHeader> {
        let tick = self.tick.get().wrapping_add(1);
        let not_now = self.must_leave() || self.dice.is_some() || self.remote().questions.any();
        if tick.is_multiple_of(EVENT_INTERVAL) || not_now {
            return None;
        }
        let remote = self.remote();
        if !remote.next.load(Ordering::Relaxed).is_null()
            || !remote.inbox.is_empty()
            || (tick.is_multiple_of(2) && !remote.queue.is_empty())
        {
            return None;
        }
        let mut local = self.local.borrow_mut();
        match split(local.front()?) {
            Run::Stack(stack) => {
                local.pop();
                self.tick.set(tick);
                Some(stack)
            }
            Run::Task(_) | Run::Answer => None,
        }
    }

    /// A suspended stack that is ready to go on, for when nothing else may run. It has the usual size,
    /// so that a loop may stand on it afterwards.
    pub fn ready_stack(&self) -> Option<&'static StackHeader> {
        self.look_around();
        self.take_inbox();
        let mut local = self.local.borrow_mut();
        for _ in 0..local.len() {
            let link = local.pop()?;
            if let Run::Stack(stack) = split(link)
                && stack.class() == self.shared.config.stack_class
            {
                return Some(stack);
            }
            // SAFETY: popped just now.
            unsafe { local.push(link) };
        }
        None
    }

    /// The next of what is queued here.
    fn take(&self, tick: u32) -> Option<Run> {
        if let Some(dice) = &self.dice {
            return self.take_any(dice);
        }
        let remote = self.remote();
        if !remote.next.load(Ordering::Relaxed).is_null()
            && let Some(task) = NonNull::new(remote.next.swap(ptr::null_mut(), Ordering::AcqRel))
        {
            if self.jumps.get() < MOST_JUMPS {
                self.jumps.set(self.jumps.get() + 1);
                return Some(Run::Task(task));
            }
            self.push(task);
        }
        self.jumps.set(0);
        let local = || self.local.borrow_mut().pop().map(split);
        let queue = || remote.queue.pop().map(Run::Task);
        if tick.is_multiple_of(2) { queue().or_else(local) } else { local().or_else(queue) }
    }

    /// Any of what is queued here.
    fn take_any(&self, dice: &Dice) -> Option<Run> {
        let remote = self.remote();
        if let Some(task) = NonNull::new(remote.next.swap(ptr::null_mut(), Ordering::AcqRel)) {
            remote.queue.push(task);
        }
        let mut local = self.local.borrow_mut();
        let others = remote.queue.len();
        if others + local.len() == 0 {
            return None;
        }
        let drawn = dice.below(others + local.len());
        if drawn < others {
            for _ in 0..drawn {
                remote.queue.push(remote.queue.pop()?);
            }
            return remote.queue.pop().map(Run::Task);
        }
        for _ in others..drawn {
            let link = local.pop()?;
            // SAFETY: just taken from this very list.
            unsafe { local.push(link) };
        }
        local.pop().map(split)
    }

    /// How many ready operations a task may do before it must let others run.
    #[inline]
    pub fn budget(&self) -> u32 {
        self.dice.as_ref().map_or(BUDGET, |dice| dice.below(MOST_DRAWN) as u32)
    }

    /// What has its turn however much else there is to do.
    fn look_around(&self) {
        self.retry_deferred();
        self.turn(Some(Duration::ZERO));
        self.remote().queue.take_from(&self.shared.injector);
    }

    /// Fills the own queues, or sleeps.
    fn find_work(&self) {
        record::meet_others();
        self.retry_deferred();
        self.take_inbox();
        let remote = self.remote();
        remote.queue.take_from(&self.shared.injector);
        if self.has_work() {
            return;
        }
        if self.shared.remotes.len() > 1 {
            self.turn(Some(Duration::ZERO));
            if self.has_work() || self.steal() {
                return;
            }
        }
        self.sleep();
    }

    fn has_work(&self) -> bool {
        let remote = self.remote();
        !self.local.borrow().is_empty()
            || !remote.queue.is_empty()
            || !remote.inbox.is_empty()
            || !remote.next.load(Ordering::Relaxed).is_null()
    }

    /// Cancelled stacks that could not unwind while another one did.
    fn retry_deferred(&self) {
        if !self.deferred.borrow().is_empty() && !std::thread::panicking() {
            let deferred = self.deferred.take();
            deferred.into_iter().for_each(StackHeader::notify);
        }
    }

    fn take_inbox(&self) {
        let remote = self.remote();
        if !remote.inbox.is_empty() {
            record::meet_others();
            remote.inbox.take(&mut self.local.borrow_mut());
        }
    }

    fn turn(&self, timeout: Option<Duration>) {
        let remote = self.remote();
        let counters = &remote.counters;
        counters.waits.add(1);
        counters.spares.set(self.spare.borrow().len() as u64);
        counters.local.set(self.local.borrow().len() as u64);
        // Taken out for the length of the turn: wakers are called there, and they may be anything.
        let mut buffer = self.turn.take().unwrap_or_else(TurnBuffer::new);
        remote.reactor.turn(&mut buffer, timeout);
        let events = buffer.events() as u64;
        counters.events.add(events);
        counters.events_per_wait.record(events);
        waiting::set_time();
        self.turn.replace(Some(buffer));
    }

    /// Takes work from another worker, or from the injector.
    fn steal(&self) -> bool {
        if !self.searching.get() {
            if !self.shared.idle.start_searching() {
                return false;
            }
            self.searching.set(true);
        }
        let remotes = &self.shared.remotes;
        let start = context::draw_lot(remotes.len());
        for i in 0..remotes.len() {
            let other = &remotes[(start + i) % remotes.len()];
            if other.index == self.index {
                continue;
            }
            let stolen = self.remote().queue.steal_from(&other.queue).or_else(|| {
                NonNull::new(other.next.load(Ordering::Relaxed))
                    .and_then(|_| NonNull::new(other.next.swap(ptr::null_mut(), Ordering::AcqRel)))
            });
            if let Some(task) = stolen {
                let counters = &self.remote().counters;
                counters.steals.add(1);
                // Its own queue was empty, or it would not have looked elsewhere.
                counters.stolen.add(1 + self.remote().queue.len() as u64);
                self.remote().queue.push(task);
                return true;
            }
        }
        false
    }

    /// A task that stood in no queue is about to run.
    pub fn stamp_queued(&self, task: TaskRef) {
        if self.measure {
            self.shared.stamp(task.cast());
        }
    }

    /// What stood in a queue by `link` is about to run.
    #[inline]
    pub fn begin_run(&self, link: &Link) {
        if self.measure {
            let began = self.shared.started.elapsed().as_nanos() as u64;
            self.began.set(began);
            let queued = link.queued.load(Ordering::Relaxed);
            self.remote().counters.latency.record(counters::since_stamp(began, queued));
        }
    }

    /// What ran has given way, or has ended.
    #[inline]
    pub fn end_run(&self) {
        if self.measure {
            let now = self.shared.started.elapsed().as_nanos() as u64;
            self.remote().counters.runs.record(now.saturating_sub(self.began.get()));
        }
    }

    /// This worker has found something to do.
    pub fn found(&self) {
        self.stood_still.set(false);
        if self.searching.replace(false)
            && let Some(worker) = self.shared.idle.stop_searching()
        {
            self.shared.remotes[worker].unpark();
        }
    }

    /// Sleeps in the event queue until there is something to do. See [`super::idle`].
    fn sleep(&self) {
        let remote = self.remote();
        let crowd = self.shared.remotes.len() > 1;
        if crowd {
            self.shared.idle.park(self.index, self.searching.replace(false));
        }
        let work_elsewhere = crowd
            && (!self.shared.injector.is_empty()
                || self.shared.remotes.iter().any(|other| !other.queue.is_empty()));
        if !work_elsewhere && remote.parking.prepare() {
            let timeout =
                self.deadline.get().map(|at| at.saturating_duration_since(Instant::now()));
            // The last look at what `unpark` announces: the token may have been left before.
            if remote.inbox.is_empty()
                && !self.must_leave()
                && self.shared.injector.is_empty()
                && !remote.questions.any()
            {
                let worker = self.index as u32;
                record::event(|_| Event::WorkerPark { worker });
                remote.counters.parks.add(1);
                remote.counters.work.end();
                self.turn_alone(timeout);
                remote.counters.work.begin();
                record::event(|_| Event::WorkerUnpark { worker });
            }
            remote.parking.finish();
        }
        if crowd && self.shared.idle.unpark(self.index) {
            self.searching.set(true);
        }
        if self.shared.has_monitor() {
            self.shared.monitor.stir();
        }
    }

    /// A sleeping turn. A worker that is alone looks for a deadlock itself.
    fn turn_alone(&self, timeout: Option<Duration>) {
        let alone = self.shared.remotes.len() == 1;
        if !alone || timeout.is_some() || self.stood_still.get() || self.shared.expects_events() {
            return self.turn(timeout);
        }
        let begin = Instant::now();
        self.turn(Some(STANDSTILL));
        if begin.elapsed() >= STANDSTILL && !self.has_work() {
            self.stood_still.set(true);
            self.shared.tell_if_deadlocked();
        }
    }

    /// Whether the loop shall return to the native stack.
    fn must_leave(&self) -> bool {
        self.remote().leave.load(Ordering::Relaxed)
            || self.shared.is_finished()
            || self.deadline.get().is_some_and(|deadline| {
                self.tick.get().is_multiple_of(EVENT_INTERVAL) && deadline <= Instant::now()
            })
    }
}
