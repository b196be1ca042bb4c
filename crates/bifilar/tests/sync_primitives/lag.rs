//! Broadcast: every message is seen once and in order, or counted as missed.

use crate::support::{Polled, Tracked};
use bifilar::sync::broadcast::{self, Receiver, RecvError, TryRecvError};

#[test]
fn lag_is_told_once_and_exactly() {
    //  capacity, sent, missed
    let table = [(1, 1, 0), (1, 2, 1), (1, 9, 8), (3, 3, 0), (3, 4, 1), (3, 100, 97), (64, 65, 1)];
    for (capacity, sent, missed) in table {
        let (sender, mut receiver) = broadcast::channel(capacity);
        for n in 0..sent {
            sender.send(n).unwrap();
        }
        if missed > 0 {
            assert_eq!(receiver.try_recv(), Err(TryRecvError::Lagged(missed)));
        }
        for n in missed..sent {
            assert_eq!(receiver.try_recv(), Ok(n), "capacity {capacity}, sent {sent}");
        }
        assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty));
    }
}

#[test]
fn lag_grows_until_it_is_told() {
    let (sender, mut receiver) = broadcast::channel(2);
    for n in 0..5 {
        sender.send(n).unwrap();
    }
    assert_eq!(Polled::new(receiver.recv()).ready(), Err(RecvError::Lagged(3)));
    // Told once; what is lost from now on is told anew.
    for n in 5..7 {
        sender.send(n).unwrap();
    }
    assert_eq!(Polled::new(receiver.recv()).ready(), Err(RecvError::Lagged(2)));
    assert_eq!(Polled::new(receiver.recv()).ready(), Ok(5));
}

#[test]
fn a_late_subscriber_has_missed_nothing() {
    let (sender, _receiver) = broadcast::channel(2);
    for n in 0..5 {
        sender.send(n).unwrap();
    }
    let mut late = sender.subscribe();
    assert_eq!(late.try_recv(), Err(TryRecvError::Empty));
    sender.send(5).unwrap();
    assert_eq!(late.try_recv(), Ok(5));
}

#[test]
fn a_message_goes_when_the_last_has_seen_it() {
    let dropped = Tracked::log();
    let (sender, mut first) = broadcast::channel(8);
    let mut second = sender.subscribe();
    let third = sender.subscribe();
    for n in 0..3 {
        assert!(sender.send(Tracked::new(n, &dropped)).is_ok());
    }
    let clones = |receiver: &mut Receiver<Tracked>, n: u32| {
        assert_eq!(receiver.try_recv().ok().map(|message| message.n), Some(n));
    };
    clones(&mut first, 0);
    clones(&mut first, 1);
    clones(&mut second, 0);
    assert_eq!(sender.len(), 3);
    drop(third);
    assert_eq!(sender.len(), 2, "the first was seen by both that are left");
    clones(&mut second, 1); // the message itself, not a clone
    assert_eq!(sender.len(), 1);
    drop((first, second));
    assert!(sender.is_empty());
    assert_eq!(dropped.lock().unwrap().iter().filter(|n| **n == 2).count(), 1);
}

/// A receiver as the documentation has it: a list of all that was sent, and a place in it.
struct Model {
    receiver: Receiver<u64>,
    next: u64,
}

#[test]
fn any_order_of_calls_agrees_with_the_model() {
    for seed in 1..200u64 {
        let mut random = seed;
        let mut dice = |sides: u64| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            random % sides
        };
        let capacity = 1 + dice(5);
        let (sender, receiver) = broadcast::channel(capacity as usize);
        let mut sent = 0;
        let mut models = vec![Model { receiver, next: 0 }];
        for _ in 0..200 {
            match dice(8) {
                0..3 => {
                    let result = sender.send(sent);
                    assert_eq!(result.ok(), (!models.is_empty()).then_some(models.len()));
                    sent += !models.is_empty() as u64;
                }
                3..6 if !models.is_empty() => {
                    let at = dice(models.len() as u64) as usize;
                    let model = &mut models[at];
                    let missed = (sent - model.next).saturating_sub(capacity);
                    let expected = if missed > 0 {
                        model.next += missed;
                        Err(TryRecvError::Lagged(missed))
                    } else if model.next == sent {
                        Err(TryRecvError::Empty)
                    } else {
                        model.next += 1;
                        Ok(model.next - 1)
                    };
                    assert_eq!(model.receiver.try_recv(), expected, "seed {seed}");
                }
                6 if models.len() < 5 => {
                    models.push(Model { receiver: sender.subscribe(), next: sent });
                }
                7 if !models.is_empty() => {
                    models.swap_remove(dice(models.len() as u64) as usize);
                }
                _ => {}
            }
            let retained = models.iter().map(|model| sent - model.next).max().unwrap_or(0);
            assert_eq!(sender.len() as u64, retained.min(capacity), "seed {seed}");
        }
    }
}
