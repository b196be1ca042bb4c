//! Mutex, RwLock, Semaphore, OnceCell: what stands on permits.

use super::{block_on, model, poll_once};
use crate::primitives::thread;
use crate::sync::{Mutex, OnceCell, RwLock, Semaphore};
use std::{pin::pin, sync::Arc};

#[test]
fn two_threads_exclude_each_other() {
    model(None, || {
        let mutex = Arc::new(Mutex::new(0));
        let other = thread::spawn({
            let mutex = mutex.clone();
            move || *block_on(mutex.lock()) += 1
        });
        *block_on(mutex.lock()) += 1;
        other.join().unwrap();
        assert_eq!(*mutex.try_lock().unwrap(), 2);
    });
}

#[test]
fn two_threads_lock_twice_each() {
    model(Some(3), || {
        let mutex = Arc::new(Mutex::new(0));
        let add_two = |mutex: Arc<Mutex<i32>>| {
            for _ in 0..2 {
                *block_on(mutex.lock()) += 1;
            }
        };
        let other = thread::spawn({
            let mutex = mutex.clone();
            move || add_two(mutex)
        });
        add_two(mutex.clone());
        other.join().unwrap();
        assert_eq!(*mutex.try_lock().unwrap(), 4);
    });
}

#[test]
fn three_threads_exclude_each_other() {
    model(Some(2), || {
        let mutex = Arc::new(Mutex::new(0));
        let others: Vec<_> = (0..2)
            .map(|_| {
                let mutex = mutex.clone();
                thread::spawn(move || *block_on(mutex.lock()) += 1)
            })
            .collect();
        *block_on(mutex.lock()) += 1;
        for other in others {
            other.join().unwrap();
        }
        assert_eq!(*mutex.try_lock().unwrap(), 3);
    });
}

#[test]
fn a_dropped_waiter_passes_its_wake_up_on() {
    model(Some(3), || {
        let mutex = Arc::new(Mutex::new(0));
        let holder = mutex.try_lock().unwrap();
        let waiter = thread::spawn({
            let mutex = mutex.clone();
            move || *block_on(mutex.lock()) += 1
        });
        let quitter = thread::spawn({
            let mutex = mutex.clone();
            move || {
                let mut lock = pin!(mutex.lock());
                let _ = poll_once(lock.as_mut());
            }
        });
        drop(holder);
        waiter.join().unwrap();
        quitter.join().unwrap();
        assert_eq!(*mutex.try_lock().unwrap(), 1);
    });
}

#[test]
fn a_writer_and_two_readers() {
    model(Some(2), || {
        let lock = Arc::new(RwLock::new(0));
        let readers: Vec<_> = (0..2)
            .map(|_| {
                let lock = lock.clone();
                thread::spawn(move || *block_on(lock.read()))
            })
            .collect();
        *block_on(lock.write()) += 1;
        for reader in readers {
            assert!(reader.join().unwrap() <= 1);
        }
        assert_eq!(*lock.try_read().unwrap(), 1);
    });
}

#[test]
fn permits_reach_a_large_and_a_small_need() {
    model(Some(2), || {
        let semaphore = Arc::new(Semaphore::new(1));
        let large = thread::spawn({
            let semaphore = semaphore.clone();
            move || drop(block_on(semaphore.acquire_many(2)).unwrap())
        });
        let small = thread::spawn({
            let semaphore = semaphore.clone();
            move || drop(block_on(semaphore.acquire()).unwrap())
        });
        semaphore.add_permits(1);
        large.join().unwrap();
        small.join().unwrap();
        assert_eq!(semaphore.available_permits(), 2);
    });
}

#[test]
fn closing_wakes_everybody() {
    model(Some(2), || {
        let semaphore = Arc::new(Semaphore::new(0));
        let waiters: Vec<_> = (0..2)
            .map(|_| {
                let semaphore = semaphore.clone();
                thread::spawn(move || assert!(block_on(semaphore.acquire()).is_err()))
            })
            .collect();
        semaphore.close();
        for waiter in waiters {
            waiter.join().unwrap();
        }
    });
}

#[test]
fn a_cell_is_filled_once() {
    model(None, || {
        let cell = Arc::new(OnceCell::new());
        let other = thread::spawn({
            let cell = cell.clone();
            move || *block_on(cell.get_or_init(|| std::future::ready(1)))
        });
        let mine = *block_on(cell.get_or_init(|| std::future::ready(2)));
        assert_eq!(other.join().unwrap(), mine);
        assert_eq!(cell.get(), Some(&mine));
    });
}

#[test]
fn a_cell_given_up_is_filled_by_the_next() {
    model(Some(3), || {
        let cell = Arc::new(OnceCell::new());
        let quitter = thread::spawn({
            let cell = cell.clone();
            move || {
                let mut filling = pin!(cell.get_or_init(std::future::pending::<i32>));
                let _ = poll_once(filling.as_mut());
            }
        });
        assert_eq!(*block_on(cell.get_or_init(|| std::future::ready(2))), 2);
        quitter.join().unwrap();
    });
}
