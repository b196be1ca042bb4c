//! Channels: nothing is lost, doubled or forgotten, whoever quits or closes when.

use super::{block_on, model, poll_once};
use crate::primitives::thread;
use crate::sync::channel::{RecvError, bounded, unbounded};
use std::{pin::pin, task::Poll};

#[test]
fn two_messages_through_one_place() {
    model(Some(3), || {
        let (sender, receiver) = bounded(1);
        let producer = thread::spawn(move || {
            block_on(sender.send(1)).unwrap();
            block_on(sender.send(2)).unwrap();
        });
        assert_eq!(block_on(receiver.recv()), Ok(1));
        assert_eq!(block_on(receiver.recv()), Ok(2));
        assert_eq!(block_on(receiver.recv()), Err(RecvError));
        producer.join().unwrap();
    });
}

#[test]
fn two_senders_share_one_place() {
    model(Some(2), || {
        let (sender, receiver) = bounded(1);
        let senders: Vec<_> = (1..3)
            .map(|n| {
                let sender = sender.clone();
                thread::spawn(move || block_on(sender.send(n)).unwrap())
            })
            .collect();
        let sum = block_on(receiver.recv()).unwrap() + block_on(receiver.recv()).unwrap();
        assert_eq!(sum, 3);
        for sender in senders {
            sender.join().unwrap();
        }
    });
}

#[test]
fn two_receivers_get_one_message_each() {
    model(Some(2), || {
        let (sender, receiver) = unbounded();
        let receivers: Vec<_> = (0..2)
            .map(|_| {
                let receiver = receiver.clone();
                thread::spawn(move || block_on(receiver.recv()).unwrap())
            })
            .collect();
        sender.try_send(1).unwrap();
        sender.try_send(2).unwrap();
        let sum: i32 = receivers.into_iter().map(|receiver| receiver.join().unwrap()).sum();
        assert_eq!(sum, 3);
    });
}

#[test]
fn a_quitting_receiver_leaves_its_message_to_the_other() {
    model(Some(2), || {
        let (sender, receiver) = bounded(1);
        let quitter = thread::spawn({
            let (sender, receiver) = (sender.clone(), receiver.clone());
            move || {
                let mut recv = pin!(receiver.recv());
                if let Poll::Ready(message) = poll_once(recv.as_mut()) {
                    block_on(sender.send(message.unwrap())).unwrap();
                }
            }
        });
        let other = thread::spawn(move || block_on(receiver.recv()));
        block_on(sender.send(1)).unwrap();
        quitter.join().unwrap();
        assert_eq!(other.join().unwrap(), Ok(1));
    });
}

#[test]
fn a_quitting_sender_leaves_its_place_to_the_other() {
    model(Some(2), || {
        let (sender, receiver) = bounded(1);
        sender.try_send(0).unwrap();
        let quitter = thread::spawn({
            let sender = sender.clone();
            move || poll_once(pin!(sender.send(1))).is_ready()
        });
        let other = thread::spawn(move || block_on(sender.send(2)).unwrap());
        assert_eq!(block_on(receiver.recv()), Ok(0));
        // The receiver takes as many as were sent: this also empties the place for the other.
        let first = block_on(receiver.recv()).unwrap();
        if quitter.join().unwrap() {
            let second = block_on(receiver.recv()).unwrap();
            assert_eq!(first + second, 3);
        } else {
            assert_eq!(first, 2);
        }
        other.join().unwrap();
        assert_eq!(block_on(receiver.recv()), Err(RecvError));
    });
}

#[test]
fn closing_ends_both_lines() {
    model(Some(2), || {
        let (sender, receiver) = bounded(1);
        let consumer = thread::spawn({
            let receiver = receiver.clone();
            move || {
                let mut received = 0;
                while block_on(receiver.recv()).is_ok() {
                    received += 1;
                }
                received
            }
        });
        let producer =
            thread::spawn(move || (0..2).take_while(|_| block_on(sender.send(())).is_ok()).count());
        receiver.close();
        assert_eq!(consumer.join().unwrap(), producer.join().unwrap());
    });
}

#[test]
fn the_last_receiver_to_go_frees_a_waiting_sender() {
    model(None, || {
        let (sender, receiver) = bounded(1);
        let producer = thread::spawn(move || {
            let first = block_on(sender.send(1)).is_ok();
            let second = block_on(sender.send(2)).is_ok();
            assert!(first || !second);
        });
        let _ = receiver.try_recv();
        drop(receiver);
        producer.join().unwrap();
    });
}
