//! Broadcast: each receiver sees each message, or is told that it didn't.

use super::{block_on, model, poll_once};
use crate::primitives::thread;
use crate::sync::broadcast::{self, Receiver, RecvError};
use std::pin::Pin;

/// How many messages went by a receiver until the channel was closed, seen or missed.
fn count(mut receiver: Receiver<u64>) -> u64 {
    let mut next = 0;
    loop {
        match block_on(receiver.recv()) {
            Ok(message) => {
                assert_eq!(message, next);
                next += 1;
            }
            Err(RecvError::Lagged(missed)) => next += missed,
            Err(RecvError::Closed) => return next,
        }
    }
}

#[test]
fn two_receivers_account_for_every_message() {
    model(Some(2), || {
        let (sender, first) = broadcast::channel(1);
        let second = sender.subscribe();
        let receivers = [first, second].map(|receiver| thread::spawn(move || count(receiver)));
        for n in 0..2 {
            sender.send(n).unwrap();
        }
        drop(sender);
        for receiver in receivers {
            assert_eq!(receiver.join().unwrap(), 2);
        }
    });
}

#[test]
fn one_receiver_waits_for_each() {
    model(Some(3), || {
        let (sender, receiver) = broadcast::channel(2);
        let receiver = thread::spawn(move || count(receiver));
        for n in 0..2 {
            sender.send(n).unwrap();
        }
        drop(sender);
        assert_eq!(receiver.join().unwrap(), 2);
    });
}

#[test]
fn a_receiver_that_goes_keeps_nothing() {
    model(Some(3), || {
        let (sender, mut quitter) = broadcast::channel(2);
        let mut receiver = sender.subscribe();
        let quitting = thread::spawn(move || {
            let _ = poll_once(Pin::new(&mut quitter.recv()));
            drop(quitter);
        });
        sender.send(0).unwrap();
        assert_eq!(block_on(receiver.recv()), Ok(0));
        quitting.join().unwrap();
        assert!(sender.is_empty());
    });
}
