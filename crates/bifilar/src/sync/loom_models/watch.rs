//! Watch: whoever waits for a change sees the last one.

use super::{block_on, model};
use crate::primitives::thread;
use crate::sync::watch;

#[test]
fn the_last_value_is_always_seen() {
    model(Some(2), || {
        let (sender, receiver) = watch::channel(0);
        let receivers = [receiver.clone(), receiver].map(|mut receiver| {
            thread::spawn(move || {
                let mut last = 0;
                while block_on(receiver.changed()).is_ok() {
                    let value = *receiver.borrow_and_update();
                    assert!(value >= last);
                    last = value;
                }
                last
            })
        });
        sender.send(1).unwrap();
        sender.send(2).unwrap();
        drop(sender);
        for receiver in receivers {
            assert_eq!(receiver.join().unwrap(), 2);
        }
    });
}

#[test]
fn no_change_overwrites_another() {
    model(Some(3), || {
        let (sender, receiver) = watch::channel(0);
        let other = thread::spawn({
            let sender = sender.clone();
            move || sender.send_modify(|value| *value += 1)
        });
        sender.send_modify(|value| *value += 1);
        other.join().unwrap();
        assert_eq!(*receiver.borrow(), 2);
    });
}
