//! What each end sees when the other closes or goes.

use crate::support::{Polled, Tracked, waiting};
use bifilar::sync::{AcquireError, Semaphore, TryAcquireError, broadcast, channel, oneshot, watch};
use channel::{RecvError, SendError, TryRecvError, TrySendError};

#[test]
fn a_closed_semaphore_sends_waiters_away_and_keeps_permits_valid() {
    let semaphore = Semaphore::new(1);
    let permit = semaphore.try_acquire().unwrap();
    let mut waiters: Vec<_> = (0..40).map(|_| waiting(semaphore.acquire(), 1)).collect();
    semaphore.close();
    assert!(semaphore.is_closed());
    for waiter in &mut waiters {
        assert_eq!(waiter.rings(), 1);
        let error: AcquireError = waiter.ready().unwrap_err();
        assert_eq!(error.to_string(), "the semaphore is closed");
    }
    drop(permit);
    assert_eq!(semaphore.available_permits(), 1);
    assert_eq!(semaphore.try_acquire().unwrap_err(), TryAcquireError::Closed);
    assert!(Polled::new(semaphore.acquire()).ready().is_err());
}

#[test]
fn a_closed_channel_can_be_emptied() {
    type Close = fn(channel::Sender<u32>, &channel::Receiver<u32>);
    let close: [Close; 3] =
        [|s, _| drop(s), |s, _| assert!(s.close()), |s, r| assert!(r.close() && !s.close())];
    for close in close {
        let (sender, receiver) = channel::bounded(2);
        sender.try_send(1).unwrap();
        sender.try_send(2).unwrap();
        let other = sender.clone();
        let mut send = waiting(other.send(3), 1);
        close(sender, &receiver);
        other.close();
        assert_eq!(send.ready(), Err(SendError(3)));
        assert_eq!(other.try_send(4), Err(TrySendError::Closed(4)));
        assert!(receiver.is_closed());
        assert_eq!(Polled::new(receiver.recv()).ready(), Ok(1));
        assert_eq!(receiver.try_recv(), Ok(2));
        assert_eq!(receiver.try_recv(), Err(TryRecvError::Closed));
        assert_eq!(Polled::new(receiver.recv()).ready(), Err(RecvError));
    }
}

#[test]
fn the_last_sender_ends_all_receivers() {
    let (sender, receiver) = channel::unbounded::<u32>();
    let mut waiters: Vec<_> = (0..40).map(|_| waiting(receiver.recv(), 1)).collect();
    let second = sender.clone();
    drop(sender);
    assert!(!receiver.is_closed());
    drop(second);
    for waiter in &mut waiters {
        assert_eq!(waiter.rings(), 1);
        assert_eq!(waiter.ready(), Err(RecvError));
    }
}

#[test]
fn the_last_receiver_drops_what_is_left() {
    let dropped = Tracked::log();
    let (sender, receiver) = channel::bounded(2);
    for n in 0..2 {
        assert!(sender.try_send(Tracked::new(n, &dropped)).is_ok());
    }
    let mut send = waiting(sender.send(Tracked::new(2, &dropped)), 1);
    drop(receiver.clone());
    assert!(dropped.lock().unwrap().is_empty());
    drop(receiver);
    assert_eq!(*dropped.lock().unwrap(), [0, 1]);
    assert_eq!(send.ready().unwrap_err().0.n, 2);
    assert_eq!(sender.len(), 0);
}

#[test]
fn a_oneshot_without_sender_or_receiver() {
    let (sender, receiver) = oneshot::channel::<u32>();
    let mut receiver = waiting(receiver, 1);
    drop(sender);
    assert_eq!(receiver.rings(), 1);
    assert_eq!(receiver.ready(), Err(oneshot::RecvError));

    let (mut sender, receiver) = oneshot::channel::<u32>();
    let mut closed = waiting(sender.closed(), 1);
    drop(receiver);
    assert_eq!(closed.rings(), 1);
    closed.ready();
    drop(closed);
    assert!(sender.is_closed());
    assert_eq!(sender.send(1), Err(1));
}

#[test]
fn a_closed_oneshot_still_has_what_was_sent() {
    let (sender, mut receiver) = oneshot::channel();
    sender.send(1).unwrap();
    receiver.close();
    assert_eq!(receiver.try_recv(), Ok(1));
    assert_eq!(Polled::new(receiver).ready(), Err(oneshot::RecvError));

    let (sender, mut receiver) = oneshot::channel();
    receiver.close();
    assert_eq!(sender.send(1), Err(1));
    assert_eq!(receiver.try_recv(), Err(oneshot::TryRecvError::Closed));
}

#[test]
fn a_oneshot_message_goes_with_its_receiver() {
    let dropped = Tracked::log();
    let (sender, receiver) = oneshot::channel();
    assert!(sender.send(Tracked::new(1, &dropped)).is_ok());
    drop(receiver);
    assert_eq!(*dropped.lock().unwrap(), [1]);
}

#[test]
fn a_broadcast_ends_after_its_last_message() {
    let (sender, mut receiver) = broadcast::channel(2);
    let mut other = sender.subscribe();
    let mut waiting_other = waiting(other.recv(), 1);
    sender.clone().send(1).unwrap();
    drop(sender);
    assert_eq!(waiting_other.ready(), Ok(1));
    assert_eq!(Polled::new(receiver.recv()).ready(), Ok(1));
    assert_eq!(Polled::new(receiver.recv()).ready(), Err(broadcast::RecvError::Closed));
    assert_eq!(receiver.try_recv(), Err(broadcast::TryRecvError::Closed));
}

#[test]
fn a_broadcast_to_nobody_fails_until_somebody_comes() {
    let (sender, receiver) = broadcast::channel(2);
    assert_eq!(sender.receiver_count(), 1);
    drop(receiver);
    assert_eq!(sender.send(1), Err(broadcast::SendError(1)));
    let mut receiver = sender.subscribe();
    assert_eq!(sender.send(2), Ok(1));
    assert_eq!(receiver.try_recv(), Ok(2));
}

#[test]
fn a_watched_value_outlives_its_senders() {
    let (sender, mut receiver) = watch::channel(0);
    sender.send(1).unwrap();
    drop(sender);
    assert_eq!(receiver.has_changed(), Ok(true));
    assert!(Polled::new(receiver.changed()).ready().is_ok());
    assert!(Polled::new(receiver.changed()).ready().is_err());
    assert!(receiver.has_changed().is_err());
    assert_eq!(*receiver.borrow(), 1);
}

#[test]
fn a_value_nobody_watches_stays() {
    let (sender, receiver) = watch::channel(0);
    drop(receiver);
    assert!(sender.is_closed());
    assert_eq!(sender.send(1), Err(watch::SendError(1)));
    assert_eq!(*sender.borrow(), 0);
    sender.send_modify(|value| *value = 2);
    assert_eq!(*sender.subscribe().borrow(), 2);
}
