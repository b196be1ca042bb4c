//! Tokens: a request to stop reaches whoever waits, and whoever is made meanwhile.

use super::{block_on, model, poll_once};
use crate::primitives::{UnsafeCell, thread};
use crate::sync::CancelToken;
use std::{pin::pin, sync::Arc};

#[test]
fn a_child_made_meanwhile_is_cancelled() {
    model(None, || {
        let parent = CancelToken::new();
        let canceller = thread::spawn({
            let parent = parent.clone();
            move || parent.cancel()
        });
        let child = parent.child();
        // A lost request would be a deadlock.
        block_on(child.cancelled());
        assert!(child.is_cancelled() && parent.is_cancelled());
        canceller.join().unwrap();
    });
}

#[test]
fn a_grandchild_made_meanwhile_is_cancelled() {
    model(Some(3), || {
        let top = CancelToken::new();
        let middle = top.child();
        let canceller = thread::spawn({
            let top = top.clone();
            move || top.cancel()
        });
        let last = middle.child();
        drop((top, middle));
        block_on(last.cancelled());
        canceller.join().unwrap();
    });
}

#[test]
fn who_sees_the_request_sees_what_came_before() {
    struct Shared {
        token: CancelToken,
        value: UnsafeCell<i32>,
    }
    // SAFETY: the model is about exactly this.
    unsafe impl Sync for Shared {}

    model(None, || {
        let shared = Arc::new(Shared { token: CancelToken::new(), value: UnsafeCell::new(0) });
        let waiter = thread::spawn({
            let (shared, child) = (shared.clone(), shared.token.child());
            move || {
                block_on(child.cancelled());
                // SAFETY: written before the request.
                shared.value.with(|value| unsafe { assert_eq!(*value, 1) });
            }
        });
        // SAFETY: not read before the request.
        shared.value.with_mut(|value| unsafe { *value = 1 });
        shared.token.cancel();
        waiter.join().unwrap();
    });
}

#[test]
fn two_requests_and_one_who_gives_up_waiting() {
    model(Some(2), || {
        let token = CancelToken::new();
        let child = token.child();
        let cancellers: Vec<_> = [token.clone(), child.clone()]
            .into_iter()
            .map(|token| thread::spawn(move || token.cancel()))
            .collect();
        {
            let mut given_up = pin!(child.cancelled());
            let _ = poll_once(given_up.as_mut());
        }
        block_on(child.cancelled());
        for canceller in cancellers {
            canceller.join().unwrap();
        }
        assert!(token.is_cancelled());
    });
}
