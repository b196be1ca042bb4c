//! The timers of one worker: the wheel, the clock, and how long the worker may sleep.
//!
//! Ticks are whole milliseconds since the start, rounded up: a timer is never early, and late by a
//! millisecond at most plus what the worker is busy with.

use super::{
    Clock,
    wheel::{Key, Wheel},
};
use crate::{
    primitives::{AtomicU64, Mutex, Ordering},
    record,
};
use bifilar_timeline::Event;
use std::{
    task::Waker,
    time::{Duration, Instant},
};

pub(crate) struct Timers {
    pub clock: Clock,
    inner: Mutex<Inner>,
    /// The next tick at which something may be due, or `NEVER`: lets a busy worker pass by without
    /// the lock and the clock.
    next: AtomicU64,
}

struct Inner {
    wheel: Wheel<Waker>,
    /// While the worker sleeps: the tick at which it wakes up by itself.
    sleeping_until: Option<u64>,
}

const NEVER: u64 = u64::MAX;
const TICK: Duration = Duration::from_millis(1);
const TICK_NS: u64 = TICK.as_nanos() as u64;

impl Timers {
    pub fn new(clock: Clock) -> Self {
        Timers {
            clock,
            inner: Mutex::new(Inner { wheel: Wheel::new(), sleeping_until: None }),
            next: AtomicU64::new(NEVER),
        }
    }

    /// The first tick that is not before `time`.
    fn tick_at_or_after(&self, time: Instant) -> u64 {
        let since = time.saturating_duration_since(self.clock.start());
        u64::try_from(since.as_nanos().div_ceil(TICK.as_nanos())).unwrap_or(NEVER - 1)
    }

    /// The last tick that has passed.
    fn now(&self) -> u64 {
        let since = self.clock.now().saturating_duration_since(self.clock.start());
        (since.as_nanos() / TICK.as_nanos()) as u64
    }

    /// Sets a timer. `true`: the worker sleeps for longer than that and must be rung.
    pub fn insert(&self, deadline: Instant, waker: Waker) -> (Key, bool) {
        let tick = self.tick_at_or_after(deadline);
        let mut inner = self.inner.lock().unwrap();
        let key = inner.wheel.insert(tick, waker);
        // What the wheel says, which may be before `tick`: it wants to move the block of `tick` down
        // first, and the worker will wake up for that.
        self.next.store(inner.wheel.next_deadline().unwrap_or(NEVER), Ordering::Relaxed);
        (key, inner.sleeping_until.is_some_and(|until| tick < until))
    }

    /// `true`: it has not fired yet.
    pub fn is_pending(&self, key: Key, waker: &Waker) -> bool {
        // Cloned and dropped outside of the lock: a waker may be anybody's.
        let mut waker = waker.clone();
        let mut inner = self.inner.lock().unwrap();
        let Some(set) = inner.wheel.get_mut(key) else { return false };
        if !set.will_wake(&waker) {
            std::mem::swap(set, &mut waker);
        }
        true
    }

    pub fn cancel(&self, key: Key) {
        let cancelled = self.inner.lock().unwrap().wheel.cancel(key);
        // The waker's destructor may be foreign code: not under the lock.
        drop(cancelled);
    }

    /// Moves the wakers of all timers that are due to `woken`.
    pub fn fire(&self, woken: &mut Vec<Waker>) {
        let next = self.next.load(Ordering::Relaxed);
        if next == NEVER {
            return;
        }
        let now = self.now();
        if next <= now {
            self.advance(now, woken);
        }
    }

    /// As if all time had passed.
    pub fn fire_all(&self, woken: &mut Vec<Waker>) {
        self.advance(NEVER - 1, woken);
    }

    fn advance(&self, now: u64, woken: &mut Vec<Waker>) {
        let mut inner = self.inner.lock().unwrap();
        inner.wheel.advance(now, |tick, waker| {
            record::event(|log| {
                let late = self.clock.elapsed_ns().saturating_sub(tick.saturating_mul(TICK_NS));
                Event::TimerFired { deadline_ns: log.now_ns().saturating_sub(late) }
            });
            woken.push(waker);
        });
        self.next.store(inner.wheel.next_deadline().unwrap_or(NEVER), Ordering::Relaxed);
    }

    /// The worker is about to sleep: for how long it may.
    pub fn limit_sleep(&self, most: Option<Duration>) -> Option<Duration> {
        let mut inner = self.inner.lock().unwrap();
        let next = inner.wheel.next_deadline();
        let until_next = next.map(|tick| {
            if self.clock.is_simulated() {
                // What waits for nothing else needn't wait for it: see `pass_time`.
                return Duration::ZERO;
            }
            let due = self.clock.start().checked_add(Duration::from_millis(tick));
            due.map_or(Duration::MAX, |due| due.saturating_duration_since(Instant::now()))
        });
        let sleep = match (until_next, most) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        inner.sleeping_until = Some(next.unwrap_or(NEVER));
        sleep
    }

    /// Whether any timer is set.
    pub fn any(&self) -> bool {
        self.next.load(Ordering::Relaxed) != NEVER
    }

    /// The worker would sleep, and nothing has come: if time is simulated, it passes up to the next
    /// timer.
    pub fn pass_time(&self) {
        let next = self.next.load(Ordering::Relaxed);
        if next != NEVER && self.clock.is_simulated() {
            self.clock.jump_to(Duration::from_millis(next));
        }
    }

    /// The worker is back.
    pub fn awake(&self) {
        self.inner.lock().unwrap().sleeping_until = None;
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    /// A worker that sleeps until the wheel wants to be advanced, but whose `fire` then finds
    /// nothing to advance for, asks again how long it may sleep, hears "not at all", and spins.
    #[test]
    fn fire_advances_whenever_a_sleep_ends() {
        let start = Instant::now();
        for deadline_ms in [1, 63, 64, 65, 100, 5_000, 1_000_000] {
            let timers = Timers::new(Clock::new(false));
            let deadline = start + Duration::from_millis(deadline_ms);
            let _ = timers.insert(deadline, Waker::noop().clone());
            let _ = timers.limit_sleep(None);
            let until = timers.inner.lock().unwrap().sleeping_until.unwrap();
            assert_eq!(timers.next.load(Ordering::Relaxed), until, "{deadline_ms} ms");
        }
    }
}
