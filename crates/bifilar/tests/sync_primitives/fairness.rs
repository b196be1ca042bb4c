//! Who goes first: overtaking is allowed, starving anybody is not.

use crate::support::{Polled, waiting};
use bifilar::sync::{Mutex, RwLock, Semaphore, channel};
use std::collections::VecDeque;

#[test]
fn a_lock_may_be_taken_ahead_of_those_woken() {
    let mutex = Mutex::new(());
    let holder = mutex.try_lock().unwrap();
    let mut first = waiting(mutex.lock(), 1);
    drop(holder);
    assert_eq!(first.rings(), 1);
    let newcomer = mutex.try_lock().unwrap();
    first.pends();
    drop(newcomer);
    assert_eq!(first.rings(), 2);
    drop(first.ready());
}

#[test]
fn who_is_overtaken_too_often_gets_the_lock_reserved() {
    let mutex = Mutex::new(());
    let mut holder = mutex.try_lock().unwrap();
    let mut first = waiting(mutex.lock(), 1);
    let mut overtaken = 0;
    loop {
        drop(holder);
        let Ok(newcomer) = mutex.try_lock() else { break };
        holder = newcomer;
        first.pends();
        overtaken += 1;
        assert!(overtaken <= 4, "starved");
    }
    // Reserved: a newcomer has to queue behind.
    let mut newcomer = waiting(mutex.lock(), 1);
    drop(first.ready());
    assert!(newcomer.poll().is_ready());
    assert!(mutex.try_lock().is_ok());
}

#[test]
fn a_reservation_ends_when_its_owner_goes() {
    let mutex = Mutex::new(());
    let mut first = Polled::new(mutex.lock());
    let mut holder = mutex.try_lock().unwrap();
    for _ in 0..5 {
        first.pends();
        drop(holder);
        match mutex.try_lock() {
            Ok(newcomer) => holder = newcomer,
            Err(_) => break,
        }
    }
    assert!(mutex.try_lock().is_err(), "reserved");
    drop(first);
    assert!(mutex.try_lock().is_ok());
}

#[test]
fn waiters_keep_their_order() {
    let mutex = Mutex::new(());
    let holder = mutex.try_lock().unwrap();
    let mut waiters: Vec<_> = (0..20).map(|_| waiting(mutex.lock(), 1)).collect();
    drop(holder);
    for at in 0..waiters.len() {
        let rings: Vec<usize> = waiters.iter().map(Polled::rings).collect();
        let expected: Vec<usize> = (0..20).map(|n| (n <= at) as usize).collect();
        assert_eq!(rings, expected);
        drop(waiters[at].ready());
    }
}

#[test]
fn each_permit_calls_one_more() {
    let semaphore = Semaphore::new(0);
    let waiters: Vec<_> = (0..4).map(|_| waiting(semaphore.acquire(), 1)).collect();
    for n in 1..=4 {
        semaphore.add_permits(1);
        assert_eq!(waiters.iter().map(Polled::rings).sum::<usize>(), n);
    }
    // None of them has polled; a guard given back is no different.
    let semaphore = Semaphore::new(2);
    let guards = [semaphore.try_acquire().unwrap(), semaphore.try_acquire().unwrap()];
    let waiters = [waiting(semaphore.acquire(), 1), waiting(semaphore.acquire(), 1)];
    drop(guards);
    assert_eq!(waiters.each_ref().map(Polled::rings), [1, 1]);
}

#[test]
fn no_reader_passes_a_writer_that_stands_first() {
    let lock = RwLock::new(());
    let first = lock.try_read().unwrap();
    let second = lock.try_read().unwrap();
    let mut writer = waiting(lock.write(), 1);
    assert!(lock.try_read().is_err());
    let mut late = waiting(lock.read(), 1);
    drop(first);
    assert_eq!(writer.rings(), 0);
    drop(second);
    assert_eq!((writer.rings(), late.rings()), (1, 0));
    drop(writer.ready());
    assert_eq!(late.rings(), 1);
    drop(late.ready());
}

#[test]
fn readers_waiting_together_go_in_together() {
    let lock = RwLock::new(());
    let writer = lock.try_write().unwrap();
    let mut readers: Vec<_> = (0..20).map(|_| waiting(lock.read(), 1)).collect();
    drop(writer);
    let guards: Vec<_> = readers.iter_mut().map(Polled::ready).collect();
    assert_eq!(guards.len(), 20);
    // Eight are called at first, and each calls the next as it goes in.
    assert!(readers.iter().all(|reader| reader.rings() == 1));
}

#[test]
fn a_large_need_is_not_overtaken_by_small_ones() {
    let semaphore = Semaphore::new(3);
    let one = semaphore.try_acquire().unwrap();
    let mut large = waiting(semaphore.acquire_many(3), 1);
    assert!(semaphore.try_acquire().is_err(), "two are free, but kept for the three");
    drop(one);
    assert_eq!(large.ready().unwrap().num_permits(), 3);
}

#[test]
fn what_a_reservation_leaves_over_may_be_taken() {
    let semaphore = Semaphore::new(0);
    let mut large = waiting(semaphore.acquire_many(2), 1);
    semaphore.add_permits(3);
    drop(semaphore.try_acquire().unwrap());
    assert_eq!(large.ready().unwrap().num_permits(), 2);
}

#[test]
fn a_sender_that_is_overtaken_too_often_gets_its_place_reserved() {
    let (sender, receiver) = channel::bounded(1);
    sender.try_send(0).unwrap();
    let mut first = waiting(sender.send(1), 1);
    let mut overtaken = 0;
    while receiver.try_recv() == Ok(0) && sender.try_send(0).is_ok() {
        first.pends();
        overtaken += 1;
        assert!(overtaken <= 4, "starved");
    }
    assert_eq!(first.ready(), Ok(()));
    assert_eq!(receiver.try_recv(), Ok(1));
}

#[test]
fn a_receiver_that_is_overtaken_too_often_gets_a_message_reserved() {
    let (sender, receiver) = channel::unbounded();
    let mut first = waiting(receiver.recv(), 1);
    let mut overtaken = 0;
    loop {
        sender.try_send(overtaken).unwrap();
        if receiver.try_recv().is_err() {
            break;
        }
        first.pends();
        overtaken += 1;
        assert!(overtaken <= 4, "starved");
    }
    assert_eq!(first.ready(), Ok(overtaken));
}

#[test]
fn messages_keep_their_order() {
    let (sender, receiver) = channel::bounded(3);
    for n in 0..3 {
        sender.try_send(n).unwrap();
    }
    let mut sends: VecDeque<_> = (3..10).map(|n| waiting(sender.send(n), 1)).collect();
    let mut received = Vec::new();
    while let Ok(message) = receiver.try_recv() {
        received.push(message);
        if let Some(mut first) = sends.pop_front() {
            assert_eq!(first.rings(), 1);
            first.ready().unwrap();
        }
    }
    assert_eq!(received, (0..10).collect::<Vec<_>>());
}

#[test]
fn nothing_can_always_be_had() {
    let semaphore = Semaphore::new(0);
    let _large = waiting(semaphore.acquire_many(2), 1);
    assert_eq!(Polled::new(semaphore.acquire_many(0)).ready().unwrap().num_permits(), 0);
    assert!(semaphore.try_acquire_many(0).is_ok());
}
