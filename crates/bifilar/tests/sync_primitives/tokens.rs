//! Tokens: a request to stop goes down the tree, to whoever waits and to whoever comes later.

use crate::support::waiting;
use bifilar::sync::CancelToken;

#[test]
fn a_request_goes_down_and_never_up() {
    //        a
    //      b   c
    //    d  e
    for (cancelled, reached) in [(0, "abcde"), (1, "bde"), (2, "c"), (3, "d"), (4, "e")] {
        let a = CancelToken::new();
        let (b, c) = (a.child(), a.child());
        let (d, e) = (b.child(), b.child());
        let tree = [a, b, c, d, e];
        tree[cancelled].cancel();
        for (token, name) in tree.iter().zip("abcde".chars()) {
            assert_eq!(token.is_cancelled(), reached.contains(name), "{name} of {reached}");
            assert_eq!(token.child().is_cancelled(), token.is_cancelled());
            assert_eq!(token.clone().is_cancelled(), token.is_cancelled());
        }
    }
}

#[test]
fn grandchildren_are_reached_when_nobody_holds_their_parent() {
    let top = CancelToken::new();
    let grandchild = top.child().child().child();
    assert!(!grandchild.is_cancelled());
    let mut waiter = waiting(grandchild.cancelled(), 1);
    top.cancel();
    assert!(grandchild.is_cancelled());
    assert_eq!(waiter.rings(), 1);
    waiter.ready();
}

#[test]
fn everybody_who_waits_is_woken_once() {
    let token = CancelToken::new();
    let child = token.child();
    let waiters: Vec<_> = (0..40)
        .map(|i| waiting(if i % 2 == 0 { token.cancelled() } else { child.cancelled() }, 1))
        .collect();
    // Made before the request, polled after it.
    let mut late = waiting(token.cancelled(), 0);
    token.cancel();
    token.cancel();
    for mut waiter in waiters {
        assert_eq!(waiter.rings(), 1);
        waiter.ready();
    }
    late.ready();
    waiting(child.cancelled(), 0).ready();
}

#[test]
fn a_long_line_of_tokens_is_cancelled_and_dropped() {
    // Far deeper than any stack would bear.
    std::thread::Builder::new()
        .stack_size(128 << 10)
        .spawn(|| {
            for cancel in [false, true] {
                let top = CancelToken::new();
                let mut last = top.child();
                for _ in 0..100_000 {
                    last = last.child();
                }
                if cancel {
                    top.cancel();
                }
                assert_eq!(last.is_cancelled(), cancel);
                drop(top);
                drop(last);
            }
        })
        .unwrap()
        .join()
        .unwrap();
}

#[test]
fn children_that_are_gone_are_forgotten() {
    let token = CancelToken::new();
    // Would take a hundred megabytes if they were kept.
    for _ in 0..300_000 {
        token.child();
    }
    let child = token.child();
    token.cancel();
    assert!(child.is_cancelled());
}

#[test]
fn the_guard_cancels_also_when_its_scope_unwinds() {
    let token = CancelToken::new();
    let guarded = token.child();
    let unwound = std::panic::catch_unwind({
        let guarded = guarded.clone();
        move || {
            let _guard = guarded.cancel_on_drop();
            panic!("on purpose");
        }
    });
    assert!(unwound.is_err() && guarded.is_cancelled() && !token.is_cancelled());
    // Nothing is left behind by a waiter that gave up.
    drop(waiting(token.cancelled(), 2));
    token.cancel();
}
