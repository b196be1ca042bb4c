//! Oneshot: the message, its cell and the two wakers' cells have one owner at any time.

use super::{block_on, model, poll_once};
use crate::primitives::thread;
use crate::sync::oneshot;
use std::{pin::Pin, task::Poll};

#[test]
fn a_message_arrives() {
    model(None, || {
        let (sender, receiver) = oneshot::channel();
        let producer = thread::spawn(move || sender.send(Box::new(1)).unwrap());
        assert_eq!(*block_on(receiver).unwrap(), 1);
        producer.join().unwrap();
    });
}

#[test]
fn a_sender_that_goes_is_noticed() {
    model(None, || {
        let (sender, receiver) = oneshot::channel::<Box<i32>>();
        let producer = thread::spawn(move || drop(sender));
        assert_eq!(block_on(receiver), Err(oneshot::RecvError));
        producer.join().unwrap();
    });
}

#[test]
fn the_waker_may_change() {
    model(None, || {
        let (sender, mut receiver) = oneshot::channel();
        let producer = thread::spawn(move || sender.send(Box::new(1)).unwrap());
        let message = match poll_once(Pin::new(&mut receiver)) {
            Poll::Ready(message) => message,
            Poll::Pending => block_on(receiver),
        };
        assert_eq!(*message.unwrap(), 1);
        producer.join().unwrap();
    });
}

#[test]
fn the_message_is_received_or_comes_back() {
    model(None, || {
        let (sender, mut receiver) = oneshot::channel();
        let producer = thread::spawn(move || sender.send(Box::new(1)));
        let _ = poll_once(Pin::new(&mut receiver));
        receiver.close();
        let received = receiver.try_recv().is_ok();
        let came_back = producer.join().unwrap().is_err();
        assert!(!(received && came_back));
    });
}

#[test]
fn dropping_the_receiver_frees_a_message_sent() {
    model(None, || {
        let (sender, mut receiver) = oneshot::channel();
        // Loom's Arc reports a message that was leaked or freed twice.
        let message = crate::primitives::Arc::new(1);
        let producer = thread::spawn(move || drop(sender.send(message)));
        let _ = poll_once(Pin::new(&mut receiver));
        drop(receiver);
        producer.join().unwrap();
    });
}

#[test]
fn closing_is_noticed_by_the_sender() {
    model(None, || {
        let (mut sender, receiver) = oneshot::channel::<Box<i32>>();
        let consumer = thread::spawn(move || drop(receiver));
        let _ = poll_once(Pin::new(&mut sender.closed()));
        block_on(sender.closed());
        assert!(sender.send(Box::new(1)).is_err());
        consumer.join().unwrap();
    });
}
