//! The queue of triggers, and the thread that snapshots and delivers.

use super::{
    Trigger,
    builder::Settings,
    limits::{Limits, Verdict},
};
use crate::sync::oneshot;
use bifilar_timeline::Recording;
use std::{
    collections::VecDeque,
    io,
    mem::zeroed,
    panic::{AssertUnwindSafe, catch_unwind},
    ptr,
    sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError},
    thread::{self, ThreadId},
    time::Instant,
};

/// As many are to be delivered at a time; each takes a snapshot only when it is its turn.
const MOST_QUEUED: usize = 64;

pub(super) type Deliver = Box<dyn Fn(Trigger, Recording) -> io::Result<()> + Send + Sync>;

type Answer = oneshot::Sender<io::Result<()>>;

/// A recording that is to be delivered.
struct Order {
    trigger: Trigger,
    /// Whom to tell of the result.
    answer: Option<Answer>,
    /// It is the last one of those that come by themselves.
    is_last: bool,
}

pub(super) struct Writer {
    pub settings: Settings,
    deliver: Deliver,
    state: Mutex<State>,
    /// There is something to do, or it ends.
    work: Condvar,
    /// There is nothing left to do.
    done: Condvar,
    thread: OnceLock<ThreadId>,
}

#[derive(Default)]
struct State {
    queue: VecDeque<Order>,
    limits: Limits,
    /// Something is being delivered.
    busy: bool,
    closed: bool,
}

impl Writer {
    pub fn start(settings: Settings, deliver: Deliver) -> io::Result<Arc<Self>> {
        let writer = Arc::new(Writer {
            settings,
            deliver,
            state: Mutex::default(),
            work: Condvar::new(),
            done: Condvar::new(),
            thread: OnceLock::new(),
        });
        let this = writer.clone();
        let thread =
            thread::Builder::new().name("bifilar-flight".into()).spawn(move || this.work())?;
        let _ = writer.thread.set(thread.thread().id());
        Ok(writer)
    }

    /// Nothing foreign runs under this lock.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has a recording delivered because of `trigger`. `false`: not for this one.
    pub fn post(&self, trigger: Trigger, answer: Option<Answer>) -> bool {
        let mut state = self.lock();
        let is_queued = |queued: &Order| queued.trigger == trigger;
        if matches!(trigger, Trigger::Signal(_)) && state.queue.iter().any(is_queued) {
            return true;
        }
        if state.queue.len() == MOST_QUEUED {
            state.limits.pass_over();
            return false;
        }
        let verdict = state.limits.judge(&trigger, &self.settings, Instant::now());
        if verdict == Verdict::PassedOver {
            return false;
        }
        let is_last = verdict == Verdict::TakenAsLast;
        state.queue.push_back(Order { trigger, answer, is_last });
        self.work.notify_one();
        true
    }

    /// The thread ends when it has delivered what is queued.
    pub fn close(&self) {
        self.lock().closed = true;
        self.work.notify_one();
    }

    /// See [`FlightRecorder::flush`](super::FlightRecorder::flush).
    pub fn flush(&self, deadline: Option<Instant>) -> bool {
        if self.thread.get() == Some(&thread::current().id()) {
            return true;
        }
        let mut state = self.lock();
        while state.busy || !state.queue.is_empty() {
            let wait = match deadline {
                Some(deadline) => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        return false;
                    }
                    self.done
                        .wait_timeout(state, left)
                        .map(|(state, _)| state)
                        .map_err(|error| error.into_inner().0)
                }
                None => self.done.wait(state).map_err(PoisonError::into_inner),
            };
            state = wait.unwrap_or_else(|state| state);
        }
        true
    }

    /// The life of the thread.
    fn work(&self) {
        survive_limits_of_files();
        let mut state = self.lock();
        loop {
            if let Some(order) = state.queue.pop_front() {
                state.busy = true;
                let passed_over = state.limits.take_passed_over();
                drop(state);
                self.act(order, passed_over);
                state = self.lock();
                state.busy = false;
                if state.queue.is_empty() {
                    self.done.notify_all();
                }
            } else if state.closed {
                return;
            } else {
                state = self.work.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
        }
    }

    /// The callback, the recorder's clock, whoever waits for an answer and the subscriber of the log are
    /// foreign code: a panic of theirs is not the end of this thread.
    fn act(&self, order: Order, passed_over: u64) {
        let Order { trigger, answer, is_last } = order;
        let delivered = caught(|| {
            let mut recording = self.settings.recorder.snapshot();
            if let Some(last) = self.settings.last {
                recording = recording.last(last);
            }
            (self.deliver)(trigger, recording)
        });
        let delivered =
            delivered.unwrap_or_else(|| Err(io::Error::other("delivering has panicked")));
        caught(|| {
            let untold = match answer {
                // If nobody waits for it any more, it comes back.
                Some(answer) => answer.send(delivered).err().and_then(Result::err),
                None => delivered.err(),
            };
            if let Some(error) = untold {
                tell(&format!("a recording could not be delivered ({trigger}): {error}"));
            }
            if passed_over > 0 {
                tell(&format!("{passed_over} panics or slow polls came too soon to be recorded"));
            }
            if is_last {
                let most = self.settings.most;
                tell(&format!("no further panics and slow polls are recorded: there were {most}"));
            }
        });
    }
}

fn caught<T>(f: impl FnOnce() -> T) -> Option<T> {
    // A payload's destructor could panic as well.
    catch_unwind(AssertUnwindSafe(f)).map_err(std::mem::forget).ok()
}

/// To the log; if there is none, to stderr.
fn tell(message: &str) {
    if tracing::dispatcher::has_been_set() {
        tracing::error!(target: "bifilar::recording", "{message}");
    } else {
        eprintln!("bifilar: {message}");
    }
}

/// A file that grows beyond RLIMIT_FSIZE would end the process by SIGXFSZ. Blocked on the thread that
/// writes, there is an error instead (setrlimit(2)).
fn survive_limits_of_files() {
    // SAFETY: all zeroes is a valid set of signals; the calls change this thread's mask alone.
    unsafe {
        let mut set: libc::sigset_t = zeroed();
        libc::sigemptyset(&mut set);
        libc::sigaddset(&mut set, libc::SIGXFSZ);
        libc::pthread_sigmask(libc::SIG_BLOCK, &set, ptr::null_mut());
    }
}
