//! Races and `select!`: who wins, who starves, what is dropped when.

use bifilar::{
    Builder, Wait, fiber, race,
    race::{Of2, Of3, Of8},
    select, select_wait,
    sync::{Mutex, channel, oneshot},
    task,
    time::sleep,
};
use std::{
    cell::RefCell,
    future::{Future, pending, poll_fn, ready},
    pin::pin,
    rc::Rc,
    task::Poll,
    time::Duration,
};

const HOUR: Duration = Duration::from_secs(3600);

#[test]
fn the_first_to_be_ready_wins() {
    bifilar::run(|| {
        assert_eq!(race((pending::<u8>(), ready(2))).wait(), Of2::B(2));
        assert_eq!(race((sleep(HOUR), pending::<()>(), ready('c'))).wait(), Of3::C('c'));
        let never = || pending::<()>();
        let eight = (never(), never(), never(), never(), never(), never(), never(), ready(8));
        assert!(matches!(race(eight).wait(), Of8::H(8)));
        let (sender, receiver) = oneshot::channel();
        let waiting = fiber::spawn(move || race((receiver, sleep(HOUR))).wait());
        fiber::yield_now();
        sender.send(5).unwrap();
        assert_eq!(waiting.join().unwrap(), Of2::A(Ok(5)));
    });
}

#[test]
fn none_that_is_ready_starves() {
    for seed in 0..20 {
        let wins = Builder::new().simulate(seed).run(|| {
            let mut wins = [0; 3];
            for _ in 0..300 {
                select_wait! {
                    () = ready(()) => wins[0] += 1,
                    () = ready(()) => wins[1] += 1,
                    () = ready(()) => { wins[2] += 1 }
                }
            }
            wins
        });
        // Each is expected 100 times; 8.2 is the standard deviation.
        assert!(wins.iter().all(|&wins| (50..150).contains(&wins)), "seed {seed}: {wins:?}");
    }
}

#[test]
fn a_biased_race_takes_the_first_as_written() {
    for _ in 0..100 {
        let first = select_wait! { biased; () = ready(()) => 1, () = ready(()) => 2 };
        assert_eq!(first, 1);
    }
}

/// Notes in a list when it is dropped.
struct Noted(&'static str, Rc<RefCell<Vec<&'static str>>>);

impl Drop for Noted {
    fn drop(&mut self) {
        self.1.borrow_mut().push(self.0);
    }
}

#[test]
fn those_who_lose_are_dropped_before_the_code_of_the_winner_runs() {
    let list = Rc::new(RefCell::new(Vec::new()));
    let holds = |name| {
        let noted = Noted(name, list.clone());
        poll_fn(move |_| {
            let _ = &noted;
            Poll::<()>::Pending
        })
    };
    select_wait! {
        () = holds("first") => unreachable!(),
        () = ready(()) => list.borrow_mut().push("code"),
        () = holds("third") => unreachable!(),
    }
    let list = list.borrow();
    assert_eq!(list.last(), Some(&"code"));
    assert_eq!(list.len(), 3);
}

#[test]
fn a_future_that_loses_can_be_raced_again_by_reference() {
    bifilar::block_on(async {
        let mut slow = pin!(async {
            for _ in 0..10 {
                task::yield_now().await;
            }
            "slow"
        });
        let mut rounds = 0;
        let end = loop {
            select! {
                end = &mut slow => break end,
                () = task::yield_now() => rounds += 1,
            }
        };
        assert_eq!(end, "slow");
        assert!(rounds > 0);
    });
}

#[test]
fn code_stands_where_the_macro_stands() {
    async fn first_line(lines: &[&str]) -> Result<usize, std::num::ParseIntError> {
        for line in lines {
            select! {
                line = ready(*line) => {
                    if line.is_empty() {
                        continue;
                    }
                    let number = line.parse::<usize>()?;
                    task::yield_now().await;
                    return Ok(number);
                }
                () = pending() => break,
            }
        }
        Ok(0)
    }
    bifilar::block_on(async {
        assert_eq!(first_line(&["", "12"]).await, Ok(12));
        assert!(first_line(&["", "x"]).await.is_err());
        assert_eq!(first_line(&[]).await, Ok(0));
    });
}

/// What a lock or a channel had meant for a branch that loses goes to the next in line.
#[test]
fn races_lose_nothing() {
    for seed in 0..500 {
        Builder::new().simulate(seed).run(|| {
            let (sender, receiver) = channel::bounded(1);
            let lock = std::sync::Arc::new(Mutex::new(0));
            let received: Vec<_> = (0..3)
                .map(|_| {
                    let (receiver, lock) = (receiver.clone(), lock.clone());
                    fiber::spawn(move || {
                        let mut received = 0;
                        loop {
                            select_wait! {
                                message = receiver.recv() => match message {
                                    Ok(()) => received += 1,
                                    Err(_) => return received,
                                },
                                mut held = lock.lock() => {
                                    *held += 1;
                                    fiber::yield_now();
                                }
                            }
                        }
                    })
                })
                .collect();
            for _ in 0..10 {
                sender.send(()).wait().unwrap();
            }
            drop((sender, receiver));
            let sum: u32 = received.into_iter().map(|fiber| fiber.join().unwrap()).sum();
            assert_eq!(sum, 10, "seed {seed}");
            assert!(lock.try_lock().is_ok(), "seed {seed}");
        });
    }
}

#[test]
fn a_branch_that_panics_drops_the_others() {
    let list = Rc::new(RefCell::new(Vec::new()));
    let noted = Noted("other", list.clone());
    let other = poll_fn(move |_| {
        let _ = &noted;
        Poll::<()>::Pending
    });
    let panics = async { std::panic::resume_unwind(Box::new("expected")) };
    let raced = std::panic::AssertUnwindSafe(|| race((other, boxed(panics))).biased().wait());
    let _: Of2<(), ()> = match std::panic::catch_unwind(raced) {
        Ok(_) => panic!("it must panic"),
        Err(_) => Of2::A(()),
    };
    assert_eq!(*list.borrow(), ["other"]);
}

fn boxed<T>(
    future: impl Future<Output = T> + 'static,
) -> std::pin::Pin<Box<dyn Future<Output = T>>> {
    Box::pin(future)
}
