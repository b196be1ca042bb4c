//! Polls that take long: measured with the times that are recorded anyway.
//!
//! | | who | when |
//! |---|---|---|
//! | [`Running::see`] | the thread that polls | a poll begins, or ends and has taken too long |
//! | [`Source::look_at_polls`] | the monitor | one goes on for too long |
//!
//! A *poll* is here what runs in one piece: from `PollBegin` or `StackResume` to `PollEnd` or
//! `StackSuspend`. Whoever of the two finds it first tells of it, once: `told` is its beginning then.
//!
//! What it deliberately does not do: measure calls on the blocking pool, which may take long.

use super::{Source, enabled};
use bifilar_timeline::{self as timeline, Event, NO_TASK, TaskId};
use std::sync::{
    PoisonError,
    atomic::{AtomicU32, AtomicU64, Ordering},
};

/// Who is told of panics and slow polls. It must neither block nor call back.
pub(crate) trait Watch: Send + Sync {
    /// From how many nanoseconds on a poll is slow, if that is watched.
    fn slow_ns(&self) -> Option<u64>;
    /// A poll has taken long, or does so still.
    fn slow_poll(&self, task: TaskId, took_ns: u64, ended: bool);
    /// A task has ended by a panic.
    fn panicked(&self, task: TaskId);
}

/// What a thread runs. All is the thread's own to write but `told`.
///
/// Relaxed but for `began_ns`, which is stored last with Release and loaded first with Acquire by the
/// monitor: so that the monitor sees the task of that poll, or of a later one.
#[derive(Default)]
pub(super) struct Running {
    /// 0: nothing.
    began_ns: AtomicU64,
    task: AtomicU64,
    /// `timeline::switches` at the beginning.
    switches: AtomicU32,
    /// When the poll began that was told last.
    told: AtomicU64,
}

impl Running {
    /// The thread has recorded `event`.
    #[inline(always)]
    pub fn see(&self, source: &Source, time_ns: u64, event: Event) {
        match event {
            Event::PollBegin { task, .. } | Event::StackResume { task, .. } => {
                self.task.store(task, Ordering::Relaxed);
                self.switches.store(timeline::switches(), Ordering::Relaxed);
                self.began_ns.store(time_ns.max(1), Ordering::Release);
            }
            // Not that of a call on the blocking pool which is dropped in the middle of a poll.
            Event::PollEnd { task, .. } | Event::StackSuspend { task, .. }
                if task == self.task.load(Ordering::Relaxed) =>
            {
                let began_ns = self.began_ns.load(Ordering::Relaxed);
                self.ends();
                self.measure(source, began_ns, task, time_ns, true);
            }
            _ => {}
        }
    }

    /// Nothing runs any more.
    pub fn ends(&self) {
        self.task.store(NO_TASK, Ordering::Relaxed);
        self.began_ns.store(0, Ordering::Relaxed);
    }

    fn measure(&self, source: &Source, began_ns: u64, task: TaskId, now_ns: u64, ended: bool) {
        let took_ns = now_ns.saturating_sub(began_ns);
        if began_ns > 0
            && source.slow_ns.is_some_and(|slow_ns| took_ns >= slow_ns)
            && self.told.swap(began_ns, Ordering::Relaxed) != began_ns
            && let Some(watch) = source.watch()
        {
            watch.slow_poll(task, took_ns, ended);
        }
    }
}

impl Source {
    /// For the monitor: tells of polls that have not ended and are slow already.
    pub fn look_at_polls(&self) {
        if !enabled() {
            return;
        }
        let switches = timeline::switches();
        let now_ns = self.now_ns();
        for thread in &*self.running.lock().unwrap_or_else(PoisonError::into_inner) {
            let Some(running) = thread.upgrade() else { continue };
            // Acquire: partner of the Release in `see`.
            let began_ns = running.began_ns.load(Ordering::Acquire);
            let task = running.task.load(Ordering::Relaxed);
            // While recording was off, it may have ended.
            if running.switches.load(Ordering::Relaxed) == switches && task != NO_TASK {
                running.measure(self, began_ns, task, now_ns, false);
            }
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::{super::Log, *};
    use bifilar_timeline::{Name, Outcome, Recorder};
    use std::sync::{Arc, Mutex};

    #[derive(Default)]
    struct Told(Mutex<Vec<SlowPoll>>);

    /// Which task, for how long, and whether it has ended.
    type SlowPoll = (TaskId, u64, bool);

    impl Watch for Told {
        fn slow_ns(&self) -> Option<u64> {
            Some(100)
        }

        fn slow_poll(&self, task: TaskId, took_ns: u64, ended: bool) {
            self.0.lock().unwrap().push((task, took_ns, ended));
        }

        fn panicked(&self, _: TaskId) {}
    }

    /// What happens when, with `None` for a round of the monitor; and what is told.
    #[test]
    fn each_slow_poll_is_told_once_by_whoever_sees_it_first() {
        let begins = |task| Some(Event::PollBegin { task, stack: 1 });
        let resumes = |task| Some(Event::StackResume { task, stack: 1 });
        let suspends = |task| Some(Event::StackSuspend { task, stack: 1, waits_for: Name::NONE });
        let ends = |task| Some(Event::PollEnd { task, outcome: Outcome::Pending });
        let time = Arc::new(AtomicU64::new(0));
        let clock = {
            let time = time.clone();
            Box::new(move || time.load(Ordering::Relaxed))
        };
        let told = Arc::new(Told::default());
        let source = Source::new(Recorder::new(1), Some(clock), Some(told.clone()));
        let log = Log::new(&source, "worker 0");
        let steps: Vec<(u64, Option<Event>, &[SlowPoll])> = vec![
            (10, begins(1), &[]),
            (109, suspends(1), &[]),
            (1_000, None, &[]),
            (1_000, resumes(2), &[]),
            // A new beginning takes the time at which the last one ended: 109.
            (1_100, suspends(2), &[(2, 991, true)]),
            (1_110, Some(Event::WorkerPark { worker: 0 }), &[]),
            (2_000, begins(3), &[]),
            (2_099, None, &[]),
            (2_100, None, &[(3, 100, false)]),
            (2_500, None, &[]),
            (3_000, ends(3), &[]),
            (9_000, None, &[]),
            (9_000, Some(Event::WorkerPark { worker: 0 }), &[]),
            (9_100, begins(4), &[]),
            // Another task's end is none of this poll.
            (9_300, ends(5), &[]),
        ];
        for (time_ns, event, expected) in steps {
            time.store(time_ns, Ordering::Relaxed);
            match event {
                Some(event) => log.record(event),
                None => source.look_at_polls(),
            }
            assert_eq!(*std::mem::take(&mut *told.0.lock().unwrap()), *expected, "at {time_ns}");
        }
    }
}
