//! Futures dropped at every point of their lives: what was meant for them goes to the next.

use crate::support::{Polled, Tracked, waiting};
use bifilar::sync::{Barrier, Mutex, Notify, OnceCell, RwLock, Semaphore, broadcast, channel};
use std::future::{Future, pending, ready};
use std::sync::Arc;

/// How far a future gets before it is dropped.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Point {
    NeverPolled,
    Waiting,
    PolledTwice,
    /// Woken, but not polled since.
    Woken,
}

const POINTS: [Point; 4] = [Point::NeverPolled, Point::Waiting, Point::PolledTwice, Point::Woken];

impl Point {
    fn polls(self) -> usize {
        match self {
            Point::NeverPolled => 0,
            Point::Waiting | Point::Woken => 1,
            Point::PolledTwice => 2,
        }
    }
}

/// `quitter` comes before `next`; `release` gives what one of them waits for.
fn next_gets_it<A: Future, B: Future>(
    point: Point,
    quitter: A,
    next: B,
    release: impl FnOnce(),
) -> B::Output {
    let quitter = waiting(quitter, point.polls());
    let mut next = waiting(next, 1);
    if point == Point::Woken {
        release();
        assert_eq!(quitter.rings(), 1, "{point:?}");
        drop(quitter);
    } else {
        drop(quitter);
        release();
    }
    assert_eq!(next.rings(), 1, "{point:?}");
    next.ready()
}

#[test]
fn a_lock_goes_to_the_next() {
    for point in POINTS {
        let mutex = Mutex::new(());
        let holder = mutex.try_lock().unwrap();
        drop(next_gets_it(point, mutex.lock(), mutex.lock(), || drop(holder)));
        assert!(mutex.try_lock().is_ok());

        let mutex = Arc::new(mutex);
        let holder = mutex.clone().try_lock_owned().unwrap();
        let (a, b) = (mutex.clone().lock_owned(), mutex.clone().lock_owned());
        drop(next_gets_it(point, a, b, || drop(holder)));
        assert!(mutex.try_lock().is_ok());
    }
}

#[test]
fn a_read_write_lock_goes_to_the_next() {
    for point in POINTS {
        let lock = RwLock::new(());
        let holder = lock.try_write().unwrap();
        drop(next_gets_it(point, lock.read(), lock.write(), || drop(holder)));
        let holder = lock.try_write().unwrap();
        drop(next_gets_it(point, lock.write(), lock.read(), || drop(holder)));
        assert!(lock.try_write().is_ok());
    }
}

#[test]
fn readers_pass_once_the_writer_before_them_gives_up() {
    let lock = RwLock::new(());
    let reader = lock.try_read().unwrap();
    let writer = waiting(lock.write(), 1);
    let mut second = waiting(lock.read(), 1);
    drop(writer);
    assert_eq!(second.rings(), 1);
    drop(second.ready());
    drop(reader);
    assert!(lock.try_write().is_ok());
}

#[test]
fn permits_go_to_the_next() {
    for point in POINTS {
        let semaphore = Semaphore::new(0);
        let (a, b) = (semaphore.acquire(), semaphore.acquire());
        drop(next_gets_it(point, a, b, || semaphore.add_permits(1)).unwrap());
        assert_eq!(semaphore.available_permits(), 1);

        // Three wait for what one of them gives up.
        let semaphore = Semaphore::new(0);
        let quitter = waiting(semaphore.acquire_many(3), point.polls());
        let mut others: Vec<_> = (0..3).map(|_| waiting(semaphore.acquire(), 1)).collect();
        semaphore.add_permits(3);
        drop(quitter);
        let permits: Vec<_> = others.iter_mut().map(|other| other.ready().unwrap()).collect();
        assert_eq!(semaphore.available_permits(), 0);
        drop(permits);
        assert_eq!(semaphore.available_permits(), 3);
    }
}

#[test]
fn a_notification_goes_to_the_next_or_stays() {
    for point in POINTS {
        let bell = Notify::new();
        next_gets_it(point, bell.notified(), bell.notified(), || bell.notify_one());
        waiting(bell.notified(), 1); // there was only the one
    }
    let bell = Notify::new();
    let quitter = waiting(bell.notified(), 1);
    bell.notify_one();
    drop(quitter);
    Polled::new(bell.notified()).ready();
}

#[test]
fn a_general_notification_leaves_nothing_behind() {
    let bell = Notify::new();
    let quitter = waiting(bell.notified(), 1);
    bell.notify_waiters();
    drop(quitter);
    waiting(bell.notified(), 1);
}

#[test]
fn a_message_goes_to_the_next_receiver() {
    for point in POINTS {
        let (sender, receiver) = channel::bounded(1);
        let got = next_gets_it(point, receiver.recv(), receiver.recv(), || {
            sender.try_send(7).unwrap();
        });
        assert_eq!(got, Ok(7));
    }
}

#[test]
fn room_goes_to_the_next_sender() {
    for point in POINTS {
        let dropped = Tracked::log();
        let (sender, receiver) = channel::bounded(1);
        assert!(sender.try_send(Tracked::new(0, &dropped)).is_ok());
        let quitter = sender.send(Tracked::new(1, &dropped));
        let next = sender.send(Tracked::new(2, &dropped));
        let sent = next_gets_it(point, quitter, next, || drop(receiver.try_recv()));
        assert!(sent.is_ok());
        // The message of a send that was dropped went with it, and was never in the channel.
        assert_eq!(receiver.try_recv().unwrap().n, 2);
        assert!(receiver.is_empty());
        let mut dropped = dropped.lock().unwrap();
        dropped.sort();
        assert_eq!(*dropped, [0, 1, 2], "{point:?}");
    }
}

#[test]
fn a_stream_that_goes_leaves_its_message() {
    use futures_util::StreamExt;

    let (sender, receiver) = channel::bounded(1);
    let mut stream = receiver.clone();
    waiting(stream.next(), 1);
    let mut other = waiting(receiver.recv(), 1);
    sender.try_send(1).unwrap(); // calls the stream, which stands first
    drop(stream);
    assert_eq!(other.ready(), Ok(1));
}

#[test]
fn an_arrival_is_taken_back() {
    for point in [Point::NeverPolled, Point::Waiting, Point::PolledTwice] {
        let barrier = Barrier::new(2);
        drop(waiting(barrier.wait(), point.polls()));
        let mut first = waiting(barrier.wait(), 1);
        assert!(Polled::new(barrier.wait()).ready().is_leader(), "{point:?}");
        assert!(!first.ready().is_leader());
    }
    // Once all have come, leaving changes nothing for the next round.
    let barrier = Barrier::new(2);
    let first = waiting(barrier.wait(), 1);
    assert!(Polled::new(barrier.wait()).ready().is_leader());
    drop(first);
    waiting(barrier.wait(), 1);
}

#[test]
fn the_next_fills_a_cell_that_was_given_up() {
    for polls in 0..3 {
        let cell = OnceCell::new();
        let first = waiting(cell.get_or_init(pending::<u32>), polls);
        let mut second = Polled::new(cell.get_or_init(|| ready(2)));
        if polls > 0 {
            second.pends();
        }
        drop(first);
        assert_eq!(*second.ready(), 2);
    }
}

#[test]
fn a_broadcast_receiver_can_stop_waiting_and_go_on() {
    for polls in 0..3 {
        let (sender, mut receiver) = broadcast::channel(2);
        let recv = waiting(receiver.recv(), polls);
        let bell_rang = polls > 0;
        sender.send(1).unwrap();
        assert_eq!(recv.rings(), bell_rang as usize);
        drop(recv);
        let recv = Polled::new(receiver.recv()).ready();
        assert_eq!(recv, Ok(1));

        let recv = waiting(receiver.recv(), 1);
        let bell = recv.rings();
        drop(recv);
        sender.send(2).unwrap();
        assert_eq!(bell, 0);
        assert_eq!(receiver.try_recv(), Ok(2));
    }
}
