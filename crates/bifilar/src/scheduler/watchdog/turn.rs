//! Whose turn it is, the monitor's that asks or a handler's that answers: one word.
//!
//! | state | means | transitions |
//! |---|---|---|
//! | IDLE | nobody is asked | `ask`: → ASKED |
//! | ASKED + n | a signal is on its way to worker n | its handler, `take`: → ANSWERING; `withdraw`: → IDLE |
//! | ANSWERING | the handler writes | `give`: → ANSWERED |
//! | ANSWERED | the answer is the monitor's | `end`: → IDLE |
//!
//! Who is asked is part of the word. A signal can be late, so a handler may run whose question was
//! withdrawn, while somebody else is asked; it must not be able to take that question.

use crate::primitives::{AtomicUsize, Ordering};

const IDLE: usize = 0;
const ANSWERING: usize = 1;
const ANSWERED: usize = 2;
const ASKED: usize = 3;

pub(super) struct Turn(AtomicUsize);

impl Turn {
    pub fn new() -> Self {
        Turn(AtomicUsize::new(IDLE))
    }

    /// For the monitor, when it is IDLE: what was written before is the handler's to read.
    pub fn ask(&self, worker: usize) {
        self.0.store(ASKED + worker, Ordering::Release); // partner: `take`
    }

    /// For the monitor. `false`: the worker that it asked is answering, or has answered.
    #[must_use]
    pub fn withdraw(&self, worker: usize) -> bool {
        self.0.compare_exchange(ASKED + worker, IDLE, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    /// For the monitor. `true`: the answer is its own until `end`.
    #[must_use]
    pub fn is_answered(&self) -> bool {
        self.0.load(Ordering::Acquire) == ANSWERED // partner: `give`
    }

    /// For the handler on the thread of `worker`. `true`: the answer is its to write, until `give`.
    #[must_use]
    pub fn take(&self, worker: usize) -> bool {
        // Acquire: partner of `ask`.
        self.0
            .compare_exchange(ASKED + worker, ANSWERING, Ordering::Acquire, Ordering::Relaxed)
            .is_ok()
    }

    /// For the handler, when it has written.
    pub fn give(&self) {
        self.0.store(ANSWERED, Ordering::Release); // partner: `is_answered`
    }

    /// For the monitor, when it has read.
    pub fn end(&self) {
        self.0.store(IDLE, Ordering::Relaxed);
    }
}

#[cfg(all(test, loom))]
mod loom_tests {
    use super::*;
    use crate::primitives::{Arc, UnsafeCell, thread};

    struct Inquiry {
        turn: Turn,
        question: UnsafeCell<usize>,
        answer: UnsafeCell<Option<(usize, usize)>>,
    }

    impl Inquiry {
        fn handle(&self, worker: usize) {
            if self.turn.take(worker) {
                let question = self.question.with(|question| unsafe { *question });
                self.answer.with_mut(|answer| unsafe { *answer = Some((worker, question)) });
                self.turn.give();
            }
        }

        /// Without patience: it looks once.
        fn ask(&self, worker: usize, question: usize) {
            self.question.with_mut(|place| unsafe { *place = question });
            self.turn.ask(worker);
            if self.turn.withdraw(worker) {
                return;
            }
            while !self.turn.is_answered() {
                thread::yield_now();
            }
            let answer = self.answer.with_mut(|answer| unsafe { (*answer).take() });
            assert_eq!(answer, Some((worker, question)), "somebody else answered");
            self.turn.end();
        }
    }

    /// The monitor asks worker 0, withdraws, and asks worker 1, while the handlers run at any time:
    /// nobody answers for another, and nobody writes what another reads.
    #[test]
    fn loom_a_late_signal_meets_the_next_question() {
        loom::model(|| {
            let inquiry = Arc::new(Inquiry {
                turn: Turn::new(),
                question: UnsafeCell::new(0),
                answer: UnsafeCell::new(None),
            });
            let handlers = [0, 1].map(|worker| {
                let inquiry = inquiry.clone();
                thread::spawn(move || inquiry.handle(worker))
            });
            inquiry.ask(0, 10);
            inquiry.ask(1, 11);
            for handler in handlers {
                handler.join().unwrap();
            }
        });
    }
}
