//! `unblock`: how many calls run at a time, and what becomes of the others.

use bifilar::unblock;
use std::sync::{Arc, Condvar, Mutex};

/// As `unblock` documents it.
const MOST: usize = 512;

/// Where calls block their threads for real, until they are let out.
#[derive(Default)]
struct Gate {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    entered: usize,
    left: usize,
    most_inside: usize,
    /// How many may leave.
    tickets: usize,
}

impl Gate {
    /// Stays inside until there is a ticket.
    fn pass(&self) {
        let mut state = self.state.lock().unwrap();
        state.entered += 1;
        state.most_inside = state.most_inside.max(state.entered - state.left);
        self.changed.notify_all();
        let mut state = self.changed.wait_while(state, |state| state.tickets == 0).unwrap();
        state.tickets -= 1;
        state.left += 1;
        self.changed.notify_all();
    }

    fn let_out(&self, count: usize) {
        self.state.lock().unwrap().tickets += count;
        self.changed.notify_all();
    }

    fn until(&self, condition: impl Fn(&State) -> bool) {
        let state = self.state.lock().unwrap();
        drop(self.changed.wait_while(state, |state| !condition(state)).unwrap());
    }
}

#[test]
fn at_most_512_calls_run_at_a_time_and_all_complete() {
    const CALLS: usize = 600;
    bifilar::run(|| {
        let gate = Arc::new(Gate::default());
        let calls: Vec<_> = (0..CALLS)
            .map(|number| {
                let gate = gate.clone();
                unblock(move || {
                    gate.pass();
                    number
                })
            })
            .collect();
        gate.until(|state| state.entered >= MOST);
        // One by one, so that a call too many would have time to show itself.
        for left in 1..=CALLS - MOST {
            gate.let_out(1);
            gate.until(|state| state.left == left && state.entered >= MOST + left);
        }
        gate.let_out(MOST);
        for (number, call) in calls.into_iter().enumerate() {
            assert_eq!(call.join().unwrap(), number);
        }
        assert_eq!(gate.state.lock().unwrap().most_inside, MOST);
    });
}

#[test]
fn a_call_in_the_queue_can_be_cancelled() {
    bifilar::run(|| {
        let gate = Arc::new(Gate::default());
        let calls: Vec<_> = (0..MOST)
            .map(|_| {
                let gate = gate.clone();
                unblock(move || gate.pass())
            })
            .collect();
        gate.until(|state| state.entered == MOST);
        let queued = unblock(|| unreachable!("cancelled before its turn"));
        queued.cancel();
        gate.let_out(MOST);
        assert!(queued.join().unwrap_err().is_cancelled());
        for call in calls {
            call.join().unwrap();
        }
    });
}
