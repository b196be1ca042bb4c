//! Deadlines, shields and other edges of regions: what they interrupt, and what they don't;
//! `coroutines` is about those that a coroutine's body makes.

mod coroutines;
#[path = "../drops/mod.rs"]
mod drops;

use bifilar::{
    Builder, Wait, fiber,
    net::{TcpListener, TcpStream},
    shield,
    sync::{CancelToken, channel, oneshot},
    task,
    time::{timeout, timeout_at, with_deadline, with_deadline_at},
    unblock, until,
};
use bifilar_coroutine::{Coroutine, CoroutineState, Generator};
use drops::Drops;
use std::{
    any::Any,
    future::{pending, poll_fn, ready},
    io::{BufRead, BufReader, Read, Write},
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    task::Poll,
    time::{Duration, Instant},
};

const SOON: Duration = Duration::from_millis(2);
const LATE: Duration = Duration::from_secs(600);

/// On the thread's own worker alone, and with others.
fn everywhere(f: impl Fn()) {
    Builder::new().build_local().unwrap().run(&f);
    for workers in [1, 2, 4] {
        Builder::new().workers(workers).run(&f);
    }
}

fn never() {
    pending::<()>().wait()
}

/// What a `wait` unwinds with, caught.
fn swallow(f: impl FnOnce()) -> Box<dyn Any + Send> {
    catch_unwind(AssertUnwindSafe(f)).expect_err("it is interrupted")
}

fn connected() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").wait().unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).wait().unwrap();
    (client, listener.accept().wait().unwrap().0)
}

#[test]
fn a_deadline_ends_sync_code_and_runs_its_destructors() {
    everywhere(|| {
        let drops = Drops::default();
        let result = with_deadline(SOON, || {
            let _outer = drops.guard();
            [1].iter().for_each(|_| {
                let _inner = drops.guard();
                never()
            });
        });
        assert!(result.is_err());
        drops.assert_all(2);
        assert_eq!(with_deadline(LATE, || ready(7).wait()), Ok(7));
    });
}

#[test]
fn a_deadline_ends_parsers_that_know_nothing_of_it() {
    type Parser = fn(&TcpStream) -> usize;
    let parsers: [(&str, &str, Parser); 3] = [
        ("serde_json", r#"{"words": ["any", "task", "#, |stream| {
            let value: serde_json::Value = serde_json::from_reader(BufReader::new(stream))
                .expect("interrupted before an error");
            value.as_object().map_or(0, |object| object.len())
        }),
        ("lines", "one\ntwo\nthr", |stream| BufReader::new(stream).lines().count()),
        ("read_to_end", "bytes", |mut stream| stream.read_to_end(&mut Vec::new()).unwrap()),
    ];
    everywhere(|| {
        for (name, text, parser) in parsers {
            let (mut client, server) = connected();
            client.write_all(text.as_bytes()).unwrap();
            // The peer stalls, with the connection open.
            let result = with_deadline(SOON, || parser(&server));
            assert!(result.is_err(), "{name}");
            // The stream is as good as before.
            client.write_all(b"again").unwrap();
            let mut five = [0; 5];
            with_deadline(LATE, || (&server).read_exact(&mut five)).unwrap().unwrap();
            assert_eq!(&five, b"again", "{name}");
        }
    });
}

#[test]
fn of_nested_deadlines_the_nearest_ends_its_own_region() {
    let rows = [(SOON, LATE, "outer"), (LATE, SOON, "inner"), (SOON, SOON, "one of them")];
    everywhere(|| {
        for (outer, inner, wins) in rows {
            let result = with_deadline(outer, || with_deadline(inner, never));
            match (wins, result) {
                ("outer", Err(_)) | ("inner", Ok(Err(_))) => {}
                ("one of them", Err(_) | Ok(Err(_))) => {}
                other => panic!("{other:?}"),
            }
        }
        // What the inner one has ended is not ended again by it.
        let both = with_deadline(SOON, || {
            assert!(with_deadline_at(Instant::now(), never).is_err());
            never()
        });
        assert!(both.is_err());
    });
}

#[test]
fn shields_hold_off_what_is_outside_and_nothing_else() {
    everywhere(|| {
        let (sender, receiver) = channel::bounded(1);
        // A shield inside: the code gets on in spite of the deadline, which ends the next wait.
        let mut got = None;
        let result = with_deadline_at(Instant::now(), || {
            shield(|| {
                sender.send(1).wait().unwrap();
                bifilar::time::sleep(SOON).wait();
                got = Some(receiver.recv().wait().unwrap());
            });
            never()
        });
        assert!(result.is_err());
        assert_eq!(got, Some(1));
        // A shield outside is none for a deadline inside.
        assert!(shield(|| with_deadline(SOON, never)).is_err());
        // Shields nest.
        let result = with_deadline_at(Instant::now(), || {
            shield(|| {
                shield(|| fiber::sleep(SOON));
                fiber::sleep(SOON);
                "whole"
            })
        });
        assert_eq!(result, Ok("whole"));
    });
}

#[test]
fn who_swallows_it_meets_it_again() {
    everywhere(|| {
        let drops = Drops::default();
        let mut swallowed = 0;
        let result = until(async { drops.guard() }, || {
            for _ in 0..3 {
                drop(swallow(never));
                swallowed += 1;
            }
            never()
        });
        assert!(result.is_err());
        assert_eq!(swallowed, 3);
        // It doesn't have to wait again.
        let result = until(async { drops.guard() }, || {
            drop(swallow(never));
            "all the same"
        });
        assert!(matches!(result, Ok("all the same")));
        drop(result);
        let (made, dropped) = drops.get();
        assert_eq!(made, 2);
        assert_eq!(dropped, 1, "the first output is still held");
    });
}

#[test]
fn what_is_ready_is_returned_although_the_time_is_up() {
    everywhere(|| {
        let past = Instant::now();
        let (sender, receiver) = oneshot::channel();
        sender.send(1).unwrap();
        assert_eq!(with_deadline_at(past, || receiver.wait().unwrap()), Ok(1));
        let done = fiber::spawn(|| 2);
        while !done.is_finished() {
            fiber::yield_now();
        }
        assert_eq!(with_deadline_at(past, || done.join().unwrap()), Ok(2));
        assert_eq!(timeout_at(past, ready(3)).wait(), Ok(3));
    });
}

/// The producer has sent more whenever the consumer comes round, but it must wait now and then.
#[test]
fn a_flow_that_never_ends_is_interrupted() {
    everywhere(|| {
        for cancel in [false, true] {
            let (sender, receiver) = channel::bounded(4);
            let (first, is_first) = oneshot::channel();
            let producer = fiber::spawn(move || while sender.send(()).wait().is_ok() {});
            let consumer = fiber::spawn(move || {
                let mut first = Some(first);
                let limit = if cancel { LATE } else { SOON };
                with_deadline(limit, || {
                    loop {
                        receiver.recv().wait().unwrap();
                        if let Some(first) = first.take() {
                            first.send(()).unwrap();
                        }
                    }
                })
            });
            is_first.wait().unwrap();
            if cancel {
                consumer.cancel();
            }
            match consumer.join() {
                Ok(result) => assert!(!cancel && result.is_err()),
                Err(error) => assert!(cancel && error.is_cancelled()),
            }
            producer.join().unwrap();
        }
    });
}

/// More than the buffers of a loopback connection hold, so that the destructor must wait.
const MUCH: usize = 8 << 20;

#[test]
fn destructors_flush_over_a_real_connection() {
    struct Flushes(TcpStream);
    impl Drop for Flushes {
        fn drop(&mut self) {
            self.0.write_all(&vec![7; MUCH]).unwrap();
        }
    }
    everywhere(|| {
        for cancel in [false, true] {
            let (client, mut server) = connected();
            let (started, is_started) = oneshot::channel();
            let writer = fiber::spawn(move || {
                let limit = if cancel { LATE } else { SOON };
                with_deadline(limit, || {
                    let _flushes = Flushes(client);
                    started.send(()).unwrap();
                    never()
                })
            });
            is_started.wait().unwrap();
            if cancel {
                writer.cancel();
            }
            let mut received = Vec::new();
            server.read_to_end(&mut received).unwrap();
            assert_eq!(received.len(), MUCH);
            assert!(received.iter().all(|byte| *byte == 7));
            match writer.join() {
                Ok(result) => assert!(!cancel && result.is_err()),
                Err(error) => assert!(cancel && error.is_cancelled()),
            }
        }
    });
}

#[test]
fn a_timeout_reaches_into_a_future_that_waits() {
    everywhere(|| {
        let drops = Drops::default();
        let deep = || async {
            let _guard = drops.guard();
            task::yield_now().await;
            [0].iter().for_each(|_| {
                let _guard = drops.guard();
                never()
            });
        };
        assert!(timeout(SOON, deep()).wait().is_err());
        assert!(async { timeout(SOON, deep()).await }.wait().is_err());
        // Nested, the outer one being sooner.
        assert!(timeout(SOON, timeout(LATE, deep())).wait().is_err());
        // And the inner one.
        assert!(timeout(LATE, timeout(SOON, deep())).wait().unwrap().is_err());
        drops.assert_all(8);
    });
}

#[test]
fn a_timeout_whose_future_swallowed_it() {
    everywhere(|| {
        let swallows = || drop(swallow(never));
        // Ready in the same poll: that wins.
        let result = timeout(SOON, async {
            swallows();
            5
        });
        assert_eq!(result.wait(), Ok(5));
        let result = timeout(SOON, async {
            swallows();
            pending::<()>().await
        });
        assert!(result.wait().is_err());
    });
}

#[test]
fn timeouts_on_all_workers() {
    for workers in [1, 2, 4] {
        Builder::new().workers(workers).run(|| {
            let drops = Drops::default();
            let tasks: Vec<_> = (0..400u64)
                .map(|i| {
                    let drops = drops.clone();
                    let limit = Duration::from_millis(i % 4);
                    task::spawn(async move {
                        timeout(limit, async {
                            let _guard = drops.guard();
                            for _ in 0..i % 7 {
                                // Goes to another worker, perhaps.
                                task::yield_now().await;
                            }
                            match i % 2 {
                                0 => never(),
                                _ => pending().await,
                            }
                        })
                        .await
                    })
                })
                .collect();
            for task in tasks {
                assert!(task.join().unwrap().is_err());
            }
            drops.assert_all(400);
        });
    }
}

#[test]
fn any_future_can_be_the_edge_of_a_region() {
    everywhere(|| {
        let (stop, stopped) = oneshot::channel();
        let task = fiber::spawn(move || until(stopped, never));
        stop.send("oneshot").unwrap();
        assert_eq!(task.join().unwrap(), Err(Ok("oneshot")));

        let token = CancelToken::new();
        let child = token.child();
        let task = fiber::spawn(move || until(child.cancelled(), never));
        token.cancel();
        assert_eq!(task.join().unwrap(), Err(()));

        let (go, gone) = oneshot::channel();
        let other = fiber::spawn(move || gone.wait().unwrap());
        let task = fiber::spawn(move || until(other, never).map_err(|joined| joined.unwrap()));
        go.send("joined").unwrap();
        assert_eq!(task.join().unwrap(), Err("joined"));

        let (sender, receiver) = channel::bounded(1);
        let task = fiber::spawn(move || until(receiver.recv(), never));
        sender.send("received").wait().unwrap();
        assert_eq!(task.join().unwrap(), Err(Ok("received")));
    });
}

/// The future of a region may wait itself; nothing interrupts it then.
#[test]
fn an_edge_that_waits() {
    everywhere(|| {
        let (open, gate) = channel::bounded(2);
        let (polled, is_polled) = oneshot::channel();
        let task = fiber::spawn(move || {
            let mut polled = Some(polled);
            until(
                poll_fn(|_| {
                    if let Some(polled) = polled.take() {
                        polled.send(()).unwrap();
                    }
                    Poll::Ready(gate.recv().wait().unwrap())
                }),
                never,
            )
        });
        is_polled.wait().unwrap();
        task.cancel();
        open.send(1).wait().unwrap();
        // The region has its end, and the cancellation comes after it: the fiber doesn't wait again.
        assert_eq!(task.join().unwrap(), Err(1));
    });
}

#[test]
fn an_edge_that_panics() {
    everywhere(|| {
        let drops = Drops::default();
        let payload = swallow(|| {
            let _ = until(poll_fn(|_| -> Poll<()> { panic!("the edge's own") }), || {
                let _guard = drops.guard();
                never()
            });
        });
        assert_eq!(*payload.downcast::<&str>().unwrap(), "the edge's own");
        drops.assert_all(1);
        // The list of regions is in order.
        assert!(with_deadline(SOON, never).is_err());
    });
}

/// Code that always finds something ready is interrupted all the same.
fn busy() {
    loop {
        ready(()).wait();
    }
}

#[test]
fn code_that_is_always_ready_is_interrupted() {
    everywhere(|| {
        assert!(with_deadline(SOON, busy).is_err());
        assert!(timeout(SOON, async { busy() }).wait().is_err());
        let fiber = fiber::spawn(busy);
        fiber::yield_now();
        fiber.cancel();
        assert!(fiber.join().unwrap_err().is_cancelled());
        assert!(unblock(|| with_deadline(SOON, busy)).join().unwrap().is_err());
        assert!(
            with_deadline(SOON, || loop {
                fiber::yield_now()
            })
            .is_err()
        );
    });
}

#[test]
fn cancellation_and_regions_keep_apart() {
    everywhere(|| {
        // Cancelled within a region: its edge lets the cancellation through.
        let drops = Drops::default();
        let (counted, (started, is_started)) = (drops.clone(), oneshot::channel());
        let fiber = fiber::spawn(move || {
            let _ = with_deadline(LATE, || {
                let _guard = counted.guard();
                started.send(()).unwrap();
                never()
            });
            unreachable!("cancelled, not interrupted")
        });
        is_started.wait().unwrap();
        fiber.cancel();
        let error = fiber.join().unwrap_err();
        assert!(error.is_cancelled());
        drops.assert_all(1);

        // Both at once: the region ends by itself, then the task.
        let (ended, is_ended) = oneshot::channel();
        let (started, is_started) = oneshot::channel();
        let fiber = fiber::spawn(move || {
            let result = shield(|| {
                started.send(()).unwrap();
                with_deadline(SOON, never)
            });
            ended.send(result.is_err()).unwrap();
            never()
        });
        is_started.wait().unwrap();
        fiber.cancel();
        assert_eq!(is_ended.wait(), Ok(true));
        assert!(fiber.join().unwrap_err().is_cancelled());

        // Cancelled before it comes to the region.
        let fiber = fiber::spawn(|| {
            task::current().cancel();
            let _ = with_deadline_at(Instant::now(), || ());
            let _ = with_deadline(LATE, never);
            unreachable!("cancelled in the second region")
        });
        assert!(fiber.join().unwrap_err().is_cancelled());
    });
}

#[test]
fn the_end_of_a_runtime_ends_regions() {
    let drops = Drops::default();
    for workers in [1, 2, 4] {
        Builder::new().workers(workers).run(|| {
            let (started, running) = channel::bounded(2);
            let (counted, also_counted) = (drops.clone(), drops.clone());
            let also_started = started.clone();
            drop(fiber::spawn(move || {
                with_deadline(LATE, || {
                    let _guard = counted.guard();
                    also_started.send(()).wait().unwrap();
                    never()
                })
            }));
            drop(task::spawn(timeout(LATE, async move {
                let _guard = also_counted.guard();
                started.send(()).await.unwrap();
                never()
            })));
            (0..2).for_each(|_| running.recv().wait().unwrap());
        });
    }
    drops.assert_all(6);
}

#[test]
fn plain_threads_and_blocking_calls() {
    let runtime = Builder::new().workers(2).build().unwrap();
    let check = || {
        let drops = Drops::default();
        let result = with_deadline(SOON, || {
            let _guard = drops.guard();
            never()
        });
        assert!(result.is_err());
        assert!(with_deadline(LATE, || with_deadline(SOON, never)).unwrap().is_err());
        assert!(with_deadline(SOON, || with_deadline(LATE, never)).is_err());
        assert_eq!(
            with_deadline_at(Instant::now(), || shield(|| {
                fiber::sleep(SOON);
                "whole"
            })),
            Ok("whole")
        );
        let token = CancelToken::new();
        let (waits, cancel) = (token.child(), runtime.spawn_fiber(move || token.cancel()));
        assert_eq!(until(waits.cancelled(), never), Err(()));
        cancel.join().unwrap();
        // While the thread unwinds, its destructors are left in peace.
        struct Waits;
        impl Drop for Waits {
            fn drop(&mut self) {
                fiber::sleep(SOON);
            }
        }
        let result = with_deadline(SOON, || {
            let (_waits, _guard) = (Waits, drops.guard());
            never()
        });
        assert!(result.is_err());
        drops.assert_all(2);
    };
    {
        let _entered = runtime.handle().enter();
        check();
        std::thread::scope(|threads| {
            for _ in 0..2 {
                threads.spawn(|| {
                    let _entered = runtime.handle().enter();
                    check();
                });
            }
        });
    }
    runtime.block_on(async { check() });
    let call = runtime.block_on(async {
        unblock(|| {
            let drops = Drops::default();
            let result = with_deadline(SOON, || {
                let _guard = drops.guard();
                never()
            });
            drops.assert_all(1);
            result.is_err()
        })
        .await
    });
    assert!(call.unwrap());
}

#[test]
fn outside_of_any_runtime_regions_without_timers_work() {
    let (stop, stopped) = oneshot::channel();
    let thread = std::thread::spawn(move || until(stopped, never));
    stop.send(1).unwrap();
    assert_eq!(thread.join().unwrap(), Err(Ok(1)));
}

/// While one stack of a thread unwinds, no other one can begin to: it is made up for afterwards.
#[test]
fn an_interruption_that_comes_while_another_stack_unwinds() {
    struct Waits(channel::Receiver<()>);
    impl Drop for Waits {
        fn drop(&mut self) {
            self.0.recv().wait().unwrap();
        }
    }
    Builder::new().workers(1).run(|| {
        let (open, gate) = channel::bounded(1);
        let unwinding = fiber::spawn(move || {
            let _waits = Waits(gate);
            panic!("on purpose");
        });
        fiber::yield_now();
        assert!(std::thread::panicking(), "of the suspended stack");
        let (sender, receiver) = oneshot::channel();
        let interrupted = fiber::spawn(move || {
            let result = with_deadline_at(Instant::now(), never);
            sender.send(result.is_err()).unwrap();
        });
        for _ in 0..5 {
            fiber::yield_now();
        }
        assert!(!interrupted.is_finished());
        open.send(()).wait().unwrap();
        assert!(unwinding.join().unwrap_err().is_panic());
        assert_eq!(receiver.wait(), Ok(true));
        interrupted.join().unwrap();
    });
}

/// User code can keep what a wait unwinds with, and raise it where it doesn't belong.
#[test]
fn a_payload_raised_elsewhere_ends_nothing_but_its_task() {
    everywhere(|| {
        let fiber = fiber::spawn(|| {
            let mut kept = None;
            let first = with_deadline_at(Instant::now(), || kept = Some(swallow(never)));
            assert_eq!(first, Ok(()));
            let _ = until(pending::<()>(), || resume_unwind(kept.take().unwrap()));
            unreachable!("it is not that region's")
        });
        assert!(fiber.join().unwrap_err().is_cancelled());
    });
}
