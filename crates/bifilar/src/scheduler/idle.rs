//! Who sleeps, who searches, and whom to wake: no work is left lying while a worker sleeps, and no
//! crowd is woken for one task.
//!
//! A worker is *running*, *searching* (it has nothing of its own and looks into the queues of
//! others) or *parked* (in its event queue). Two layers:
//!
//! **[`Parking`]**, one for each worker: a token, as in `std::thread::park`.
//!
//! | state | means | transitions |
//! |---|---|---|
//! | EMPTY | running | `prepare`: → PARKED; `unpark`: → NOTIFIED |
//! | PARKED | in its event queue, or about to be | `unpark`: → NOTIFIED, and the caller rings the event queue; `finish`: → EMPTY |
//! | NOTIFIED | must not park | `prepare`: → EMPTY, and doesn't park; `finish`: → EMPTY |
//!
//! **[`Idle`]**, one for the runtime: how many search and how many are parked, in one word, and
//! the list of those who are parked.
//!
//! # Why no work is lost
//!
//! Somebody who makes work visible to all (pushes to a stealable queue) then calls `notify_one`;
//! a worker that found nothing calls `park` and *then looks at all queues once more*. Between the
//! push and the look at the word, and between the change of the word and the last look, stands a
//! SeqCst fence on either side. So either the pusher sees the worker parked (and wakes it), or the
//! worker sees the push (and doesn't sleep).
//!
//! The pusher wakes nobody while somebody is searching, since the searcher may find the task. It
//! may also have passed that queue already; therefore a searcher that *finds* something, and was
//! the last one to search, wakes another (`stop_searching`), and one that finds nothing passes
//! through `park`, with its last look. Go's and tokio's schedulers reason alike.

use crate::primitives::{AtomicU8, AtomicUsize, Mutex, Ordering, fence};

const EMPTY: u8 = 0;
const PARKED: u8 = 1;
const NOTIFIED: u8 = 2;

#[derive(Debug)]
pub(super) struct Parking(AtomicU8);

impl Parking {
    pub fn new() -> Self {
        Parking(AtomicU8::new(EMPTY))
    }

    /// For the worker. `false`: it was notified and must look around instead of parking.
    #[must_use]
    pub fn prepare(&self) -> bool {
        // Acquire pairs with the Release of `unpark`: what was pushed before it is seen.
        match self.0.compare_exchange(EMPTY, PARKED, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => true,
            Err(_) => {
                // Not a store: a second token may have been left since, and what came before it
                // must be seen as well.
                self.0.swap(EMPTY, Ordering::AcqRel);
                false
            }
        }
    }

    /// For the worker, when it comes back.
    pub fn finish(&self) {
        self.0.swap(EMPTY, Ordering::AcqRel);
    }

    /// Whether the worker sleeps, or is about to.
    pub fn is_parked(&self) -> bool {
        self.0.load(Ordering::Relaxed) == PARKED
    }

    /// `true`: the worker is parked, and the caller must ring its event queue.
    #[must_use]
    pub fn unpark(&self) -> bool {
        self.0.swap(NOTIFIED, Ordering::AcqRel) == PARKED
    }
}

const SEARCHING: usize = 1 << 32;

#[derive(Debug)]
pub(super) struct Idle {
    /// Parked workers, and SEARCHING times the searching ones.
    word: AtomicUsize,
    workers: usize,
    parked: Mutex<Vec<usize>>,
}

impl Idle {
    pub fn new(workers: usize) -> Self {
        Idle { word: AtomicUsize::new(0), workers, parked: Mutex::new(Vec::with_capacity(workers)) }
    }

    /// After work was made visible to all: the worker to wake for it, if there is need. It counts
    /// as searching from here on. For the workers of a crowd: one that is alone has nobody to wake.
    #[must_use]
    #[inline]
    pub fn notify_one(&self) -> Option<usize> {
        if self.workers == 1 {
            return None;
        }
        // Partner of the fence in `park`.
        fence(Ordering::SeqCst);
        let word = self.word.load(Ordering::Relaxed);
        if word >= SEARCHING || word == 0 { None } else { self.claim_parked() }
    }

    #[cold]
    fn claim_parked(&self) -> Option<usize> {
        let mut parked = self.parked.lock().unwrap();
        if self.word.load(Ordering::Relaxed) >= SEARCHING {
            return None;
        }
        let worker = parked.pop()?;
        self.word.fetch_add(SEARCHING - 1, Ordering::SeqCst);
        Some(worker)
    }

    /// For a worker that would search: at most half of them do at a time.
    #[must_use]
    pub fn start_searching(&self) -> bool {
        if 2 * (self.word.load(Ordering::Relaxed) / SEARCHING) >= self.workers {
            return false;
        }
        self.word.fetch_add(SEARCHING, Ordering::SeqCst);
        true
    }

    /// For a searcher that found something. Returns whom to wake to go on searching.
    #[must_use]
    pub fn stop_searching(&self) -> Option<usize> {
        let before = self.word.fetch_sub(SEARCHING, Ordering::SeqCst);
        if before / SEARCHING == 1 { self.notify_one() } else { None }
    }

    /// For a worker that found nothing. It must look at all queues once more after this, and
    /// before it sleeps.
    pub fn park(&self, worker: usize, searching: bool) {
        let mut parked = self.parked.lock().unwrap();
        parked.push(worker);
        // One step: a searcher becomes a sleeper without a moment of being neither.
        let change = 1_usize.wrapping_sub(if searching { SEARCHING } else { 0 });
        self.word.fetch_add(change, Ordering::SeqCst);
        drop(parked);
        // Partner of the fence in `notify_one`.
        fence(Ordering::SeqCst);
    }

    /// For a worker that comes back. `true`: `notify_one` had chosen it, and it counts as
    /// searching.
    #[must_use]
    pub fn unpark(&self, worker: usize) -> bool {
        let mut parked = self.parked.lock().unwrap();
        match parked.iter().position(|&other| other == worker) {
            Some(place) => {
                parked.swap_remove(place);
                self.word.fetch_sub(1, Ordering::SeqCst);
                false
            }
            None => true,
        }
    }
}

#[cfg(all(test, loom))]
mod loom_tests {
    use super::*;
    use crate::primitives::{Arc, AtomicBool};

    /// Two workers and a queue that is a counter. Worker 0 pushes one task while worker 1 goes to
    /// sleep: either it is told, or it finds the task before it sleeps.
    #[test]
    fn loom_a_push_meets_a_worker_that_parks() {
        loom::model(|| {
            let idle = Arc::new(Idle::new(2));
            let parking = Arc::new(Parking::new());
            let task = Arc::new(AtomicBool::new(false));
            let sleeper = {
                let (idle, parking, task) = (idle.clone(), parking.clone(), task.clone());
                loom::thread::spawn(move || {
                    let searching = idle.start_searching();
                    // Looks are loads, as they are in the queues: a look by an exchange would let
                    // loom put its write after the push.
                    if task.load(Ordering::Acquire) {
                        let _ = searching.then(|| idle.stop_searching());
                        return true;
                    }
                    idle.park(1, searching);
                    if task.load(Ordering::Acquire) {
                        let _ = idle.unpark(1).then(|| idle.stop_searching());
                        return true;
                    }
                    // Sleeps for good unless notified: prepare says false, or a ring comes later.
                    let _ = parking.prepare();
                    false
                })
            };
            task.store(true, Ordering::Release);
            let notified = idle.notify_one();
            let rang = notified.map(|worker| {
                assert_eq!(worker, 1);
                parking.unpark()
            });
            let ran = sleeper.join().unwrap();
            // It ran, or it was told to look again (whether it slept already or was about to).
            assert!(ran || rang.is_some(), "the task was lost");
        });
    }

    /// Two tokens, and a worker that was about to park for the second time: it takes part in both.
    #[test]
    fn loom_a_token_is_not_overwritten_unseen() {
        loom::model(|| {
            let parking = Arc::new(Parking::new());
            let pushes = Arc::new([AtomicBool::new(false), AtomicBool::new(false)]);
            let wakers: Vec<_> = (0..2)
                .map(|i| {
                    let (parking, pushes) = (parking.clone(), pushes.clone());
                    loom::thread::spawn(move || {
                        pushes[i].store(true, Ordering::Relaxed);
                        parking.unpark()
                    })
                })
                .collect();
            let mut seen = 0;
            let mut slept = false;
            for _ in 0..3 {
                slept = parking.prepare();
                seen = pushes.iter().filter(|push| push.load(Ordering::Relaxed)).count();
                if slept || seen == 2 {
                    break;
                }
            }
            let rang = wakers.into_iter().filter_map(|w| w.join().unwrap().then_some(())).count();
            assert!(seen == 2 || (slept && rang == 1), "seen {seen}, slept {slept}, rang {rang}");
        });
    }

    /// A wake-up between the last look and the sleep is not lost.
    #[test]
    fn loom_a_token_is_seen_before_or_rings() {
        loom::model(|| {
            let parking = Arc::new(Parking::new());
            let inbox = Arc::new(AtomicBool::new(false));
            let waker = {
                let (parking, inbox) = (parking.clone(), inbox.clone());
                loom::thread::spawn(move || {
                    inbox.store(true, Ordering::Relaxed);
                    parking.unpark()
                })
            };
            let slept = parking.prepare();
            let seen = inbox.load(Ordering::Relaxed);
            let rang = waker.join().unwrap();
            // If it parked, either the bell rings; if it did not park, it sees the push.
            assert!(if slept { rang } else { seen });
        });
    }
}
