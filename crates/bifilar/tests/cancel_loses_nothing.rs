//! Whatever is cancelled or interrupted in the middle of waiting: no message, byte, connection or
//! permit is lost, and none is there twice.

use bifilar::{
    Builder, JoinHandle, Wait, fiber,
    net::{TcpListener, TcpStream},
    sync::{CancelToken, Mutex, Semaphore, broadcast, channel, oneshot, watch},
    task,
    time::with_deadline,
    unblock, until,
};
use std::{
    future::Future,
    io::{BufRead, BufReader, BufWriter, Read, Write},
    ops::ControlFlow,
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

/// Waits that are ended early, for each kind of channel on each runtime. Under the thread sanitizer each
/// takes many times as long.
const ROUNDS: usize = if cfg!(bifilar_sanitizer = "thread") {
    10_000
} else if cfg!(debug_assertions) {
    30_000
} else {
    100_000
};

const SOON: Duration = Duration::from_millis(2);

fn everywhere(f: impl Fn(usize)) {
    for workers in [1, 2] {
        Builder::new().workers(workers).run(|| f(workers));
    }
}

/// Xorshift (Marsaglia 2003), from a seed that never changes.
struct Random(u32);

impl Random {
    fn below(&mut self, limit: u32) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 17;
        self.0 ^= self.0 << 5;
        self.0 % limit
    }
}

/// How often each number has turned up.
struct Seen(Vec<AtomicU32>);

impl Seen {
    fn new(numbers: usize) -> Arc<Self> {
        Arc::new(Seen((0..numbers).map(|_| AtomicU32::new(0)).collect()))
    }

    fn note(&self, number: usize) {
        self.0[number].fetch_add(1, SeqCst);
    }

    #[track_caller]
    fn assert_once_each(&self, numbers: usize) {
        for (number, times) in self.0.iter().enumerate() {
            assert_eq!(times.load(SeqCst), u32::from(number < numbers), "number {number}");
        }
    }
}

/// Lets others run a few times, then ends the task in one of three ways, `ROUNDS` times in all.
/// `step` is a wait, and what is done with what it gave; it breaks when there will be no more.
fn interrupt_often<S, F>(seed: u32, rounds: usize, step: S)
where
    S: Fn() -> F + Clone + Send + Sync + 'static,
    F: Future<Output = ControlFlow<()>> + Send,
{
    let mut random = Random(seed);
    for _ in 0..rounds {
        let step = step.clone();
        let token = CancelToken::new();
        let task: JoinHandle<()> = match random.below(3) {
            0 => fiber::spawn(move || while step().wait().is_continue() {}),
            1 => task::spawn(async move { while step().await.is_continue() {} }),
            _ => {
                let token = token.clone();
                fiber::spawn(move || {
                    let _ = until(token.cancelled(), || while step().wait().is_continue() {});
                })
            }
        };
        for _ in 0..random.below(4) {
            fiber::yield_now();
        }
        token.cancel();
        task.cancel();
        let _ = task.join();
    }
}

#[test]
fn received_messages() {
    for capacity in [Some(2), None] {
        everywhere(|workers| {
            const MOST: usize = 4 * ROUNDS;
            let (sender, receiver) = match capacity {
                Some(capacity) => channel::bounded(capacity),
                None => channel::unbounded(),
            };
            let seen = Seen::new(MOST);
            let stop = CancelToken::new();
            let producer = fiber::spawn({
                let stop = stop.clone();
                move || {
                    let mut sent = 0;
                    while sent < MOST && !stop.is_cancelled() {
                        sender.send(sent).wait().unwrap();
                        sent += 1;
                        if sent % 3 == 0 {
                            fiber::yield_now();
                        }
                    }
                    sent
                }
            });
            interrupt_often(7, ROUNDS, {
                let (receiver, seen) = (receiver.clone(), seen.clone());
                move || {
                    let (receiver, seen) = (receiver.clone(), seen.clone());
                    async move {
                        match receiver.recv().await {
                            Ok(number) => seen.note(number),
                            Err(_) => return ControlFlow::Break(()),
                        }
                        ControlFlow::Continue(())
                    }
                }
            });
            stop.cancel();
            while let Ok(number) = receiver.recv().wait() {
                seen.note(number);
            }
            let sent = producer.join().unwrap();
            assert!(sent > 1_000, "{sent} messages, {workers} workers, capacity {capacity:?}");
            seen.assert_once_each(sent);
        });
    }
}

#[test]
fn sent_messages() {
    everywhere(|_| {
        const MOST: usize = 8 * ROUNDS;
        let (sender, receiver) = channel::bounded::<usize>(2);
        let (sent, seen) = (Seen::new(MOST), Seen::new(MOST));
        let next = Arc::new(AtomicUsize::new(0));
        let consumer = fiber::spawn({
            let seen = seen.clone();
            move || {
                while let Ok(number) = receiver.recv().wait() {
                    seen.note(number);
                    if number % 5 == 0 {
                        fiber::yield_now();
                    }
                }
            }
        });
        interrupt_often(11, ROUNDS, {
            let (sender, sent) = (sender.clone(), sent.clone());
            move || {
                let (sender, sent, next) = (sender.clone(), sent.clone(), next.clone());
                async move {
                    // Each number is tried once, whether or not it gets through.
                    let number = next.fetch_add(1, SeqCst);
                    if number >= MOST || sender.send(number).await.is_err() {
                        return ControlFlow::Break(());
                    }
                    sent.note(number);
                    ControlFlow::Continue(())
                }
            }
        });
        drop(sender);
        consumer.join().unwrap();
        let mut count = 0;
        for (number, (sent, seen)) in sent.0.iter().zip(&seen.0).enumerate() {
            let (sent, seen) = (sent.load(SeqCst), seen.load(SeqCst));
            assert_eq!(sent, seen, "number {number}: sent, and received");
            assert!(sent <= 1);
            count += sent;
        }
        assert!(count > 1_000, "{count} messages");
    });
}

/// A receiver that is kept outside of the wait gets in the end what came for it.
#[test]
fn oneshot_messages_and_results_of_tasks() {
    everywhere(|_| {
        let mut random = Random(13);
        for round in 0..ROUNDS / 4 {
            let token = CancelToken::new();
            let (sender, mut receiver) = oneshot::channel();
            let mut done = fiber::spawn(move || sender.send(round).unwrap());
            let waits = fiber::spawn({
                let token = token.child();
                move || {
                    let message = until(token.cancelled(), || (&mut receiver).wait())
                        .unwrap_or_else(|()| (&mut receiver).wait());
                    let result = until(token.cancelled(), || (&mut done).wait())
                        .unwrap_or_else(|()| (&mut done).wait());
                    result.unwrap();
                    message.unwrap()
                }
            });
            for _ in 0..random.below(4) {
                fiber::yield_now();
            }
            token.cancel();
            assert_eq!(waits.join().unwrap(), round);
        }
    });
}

#[test]
fn broadcast_messages() {
    everywhere(|_| {
        let (sender, first) = broadcast::channel(64);
        let second = sender.subscribe();
        let (allow, allowed) = (Arc::new(Semaphore::new(32)), CancelToken::new());
        // Each receiver gives a permit back for what it got, so that none can lag.
        let receivers: Vec<_> = [first, second]
            .into_iter()
            .map(|mut receiver| {
                let (allow, stop) = (allow.clone(), allowed.clone());
                fiber::spawn(move || {
                    let (mut expected, mut interrupted, mut random) = (0, 0, Random(17));
                    while !stop.is_cancelled() {
                        let token = CancelToken::new();
                        let canceller = fiber::spawn({
                            let token = token.clone();
                            let yields = random.below(4);
                            move || {
                                (0..yields).for_each(|_| fiber::yield_now());
                                token.cancel();
                            }
                        });
                        let end = until(token.cancelled(), || {
                            loop {
                                match receiver.recv().wait() {
                                    Ok(number) => {
                                        assert_eq!(number, expected);
                                        expected += 1;
                                        allow.add_permits(1);
                                    }
                                    Err(broadcast::RecvError::Closed) => break,
                                    Err(error) => panic!("{error:?}"),
                                }
                            }
                        });
                        interrupted += usize::from(end.is_err());
                        canceller.join().unwrap();
                    }
                    while let Ok(number) = receiver.try_recv() {
                        assert_eq!(number, expected);
                        expected += 1;
                    }
                    (expected, interrupted)
                })
            })
            .collect();
        const MESSAGES: usize = ROUNDS / 2;
        for number in 0..MESSAGES {
            allow.acquire_many(2).wait().unwrap().forget();
            sender.send(number).unwrap();
        }
        allowed.cancel();
        for receiver in receivers {
            let (received, interrupted) = receiver.join().unwrap();
            assert_eq!(received, MESSAGES);
            assert!(interrupted > 100, "{interrupted}");
        }
    });
}

#[test]
fn changes_of_a_watched_value() {
    everywhere(|_| {
        let (sender, mut receiver) = watch::channel(0);
        let stop = CancelToken::new();
        let watcher = fiber::spawn(move || {
            let (mut last, mut interrupted, mut random) = (0, 0, Random(19));
            loop {
                let token = CancelToken::new();
                let canceller = fiber::spawn({
                    let token = token.clone();
                    let yields = random.below(4);
                    move || {
                        (0..yields).for_each(|_| fiber::yield_now());
                        token.cancel();
                    }
                });
                let changed = until(token.cancelled(), || receiver.changed().wait());
                canceller.join().unwrap();
                match changed {
                    Ok(Ok(())) => {
                        let value = *receiver.borrow_and_update();
                        assert!(value > last, "{value} after {last}");
                        last = value;
                    }
                    // All that was sent has been seen.
                    Ok(Err(_)) => return (last, interrupted),
                    Err(()) => interrupted += 1,
                }
            }
        });
        for value in 1..=ROUNDS {
            sender.send(value).unwrap();
            if value % 4 != 0 {
                fiber::yield_now();
            }
            // So that there is something to wait for, now and then.
            if value % 1_000 == 0 {
                (0..20).for_each(|_| fiber::yield_now());
            }
        }
        drop((sender, stop));
        let (last, interrupted) = watcher.join().unwrap();
        assert_eq!(last, ROUNDS);
        assert!(interrupted > ROUNDS / 1_000, "{interrupted}");
    });
}

#[test]
fn permits_and_locks() {
    everywhere(|_| {
        let semaphore = Arc::new(Semaphore::new(2));
        let mutex = Arc::new(Mutex::new(0usize));
        let done = Arc::new(AtomicUsize::new(0));
        // Somebody else holds them now and then, so that there is something to wait for.
        let stop = CancelToken::new();
        let rival = fiber::spawn({
            let (semaphore, mutex, stop) = (semaphore.clone(), mutex.clone(), stop.clone());
            move || {
                while !stop.is_cancelled() {
                    let permits = semaphore.acquire_many(2).wait().unwrap();
                    let lock = mutex.lock().wait();
                    fiber::yield_now();
                    drop((lock, permits));
                    fiber::yield_now();
                }
            }
        });
        interrupt_often(23, ROUNDS / 3, {
            let (semaphore, mutex, done) = (semaphore.clone(), mutex.clone(), done.clone());
            move || {
                let (semaphore, mutex, done) = (semaphore.clone(), mutex.clone(), done.clone());
                async move {
                    let _permit = semaphore.acquire().await.unwrap();
                    let mut lock = mutex.lock().await;
                    *lock += 1;
                    done.fetch_add(1, SeqCst);
                    // An async task that is never pending is never cancelled.
                    task::yield_now().await;
                    ControlFlow::Continue(())
                }
            }
        });
        stop.cancel();
        rival.join().unwrap();
        assert_eq!(semaphore.available_permits(), 2);
        assert_eq!(*mutex.try_lock().unwrap(), done.load(SeqCst));
    });
}

fn connected() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").wait().unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).wait().unwrap();
    (client, listener.accept().wait().unwrap().0)
}

/// Runs `step` over and over in regions that are ended early, until it breaks. Says how often one
/// was.
fn in_short_regions(seed: u32, mut step: impl FnMut() -> ControlFlow<()>) -> usize {
    let (mut random, mut interrupted) = (Random(seed), 0);
    loop {
        let token = CancelToken::new();
        let canceller = fiber::spawn({
            let token = token.clone();
            let yields = random.below(3);
            move || {
                (0..yields).for_each(|_| fiber::yield_now());
                token.cancel();
            }
        });
        let end = until(token.cancelled(), || while step().is_continue() {});
        canceller.join().unwrap();
        match end {
            Ok(()) => return interrupted,
            Err(()) => interrupted += 1,
        }
    }
}

#[test]
fn bytes() {
    const BYTES: usize = 2 << 20;
    everywhere(|_| {
        let (mut client, mut server) = connected();
        // Neither end knows how far the other has come; both are interrupted all the time.
        let writer = fiber::spawn(move || {
            let text: Vec<u8> = (0..BYTES).map(|i| (i % 251) as u8).collect();
            let mut written = 0;
            let interrupted = in_short_regions(29, || {
                let end = text.len().min(written + 700);
                written += client.write(&text[written..end]).unwrap();
                if written % 3 == 0 {
                    fiber::yield_now();
                }
                if written == BYTES { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            });
            (written, interrupted)
        });
        let mut received = Vec::new();
        let interrupted = in_short_regions(31, || {
            let mut buffer = [0; 1000];
            let count = server.read(&mut buffer).unwrap();
            received.extend_from_slice(&buffer[..count]);
            if count == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        let (written, _) = writer.join().unwrap();
        assert_eq!((written, received.len()), (BYTES, BYTES));
        assert!(received.iter().enumerate().all(|(i, byte)| usize::from(*byte) == i % 251));
        assert!(interrupted > 0, "{interrupted}");
    });
}

/// What the documentation of `TcpStream` says of it.
#[test]
fn an_interrupted_read_exact_has_put_what_came_into_the_buffer() {
    everywhere(|_| {
        let (mut client, mut server) = connected();
        client.write_all(b"abc").unwrap();
        let mut five = [0; 5];
        // What has come is read before anything waits, and so before the deadline can end it.
        let read = with_deadline(SOON, || server.read_exact(&mut five));
        assert!(read.is_err());
        assert_eq!(&five, b"abc\0\0");
        client.write_all(b"de").unwrap();
        server.read_exact(&mut five[3..]).unwrap();
        assert_eq!(&five, b"abcde");
    });
}

/// What the documentation of `TcpStream` says of std's readers and writers over it.
#[test]
fn what_std_keeps_of_an_interrupted_call() {
    everywhere(|_| {
        type Reader = fn(&mut BufReader<TcpStream>, &mut Vec<u8>);
        let readers: [(&str, Reader, &[u8]); 5] = [
            ("read_until", |reader, kept| drop(reader.read_until(b'\n', kept)), b"begun"),
            ("read_to_end", |reader, kept| drop(reader.read_to_end(kept)), b"begun"),
            (
                "read_exact",
                |reader, kept| {
                    kept.resize(5, 0);
                    kept.push(b'?');
                    drop(reader.read_exact(kept));
                },
                b"begun?",
            ),
            (
                "read_line",
                |reader, kept| in_a_string(kept, |text| drop(reader.read_line(text))),
                b"",
            ),
            (
                "read_to_string",
                |reader, kept| in_a_string(kept, |text| drop(reader.read_to_string(text))),
                b"",
            ),
        ];
        for (name, read, expected) in readers {
            let (mut client, server) = connected();
            let mut reader = BufReader::new(server);
            client.write_all(b"begun").unwrap();
            let mut kept = Vec::new();
            assert!(with_deadline(SOON, || read(&mut reader, &mut kept)).is_err(), "{name}");
            assert_eq!(kept, expected, "{name}");
            // What comes next is whole.
            client.write_all(b" and done\n").unwrap();
            let mut next = String::new();
            reader.read_line(&mut next).unwrap();
            assert_eq!(next, " and done\n", "{name}");
        }
    });

    /// Runs `read` with a string, and keeps what is in it also when that unwinds.
    fn in_a_string(kept: &mut Vec<u8>, read: impl FnOnce(&mut String)) {
        struct Keep<'a>(String, &'a mut Vec<u8>);
        impl Drop for Keep<'_> {
            fn drop(&mut self) {
                self.1.extend_from_slice(self.0.as_bytes());
            }
        }
        read(&mut Keep(String::new(), kept).0);
    }
}

#[test]
fn an_interrupted_buf_writer_is_flushed_when_it_is_told_to() {
    /// More than the system's buffers hold.
    const MUCH: usize = 8 << 20;
    everywhere(|_| {
        for flush in [true, false] {
            let (client, mut server) = connected();
            // A larger one, or what is written would not be kept at all.
            let mut writer = BufWriter::with_capacity(2 * MUCH, client);
            writer.write_all(&vec![7; MUCH]).unwrap();
            assert!(with_deadline(SOON, || writer.flush()).is_err());
            let reader = fiber::spawn(move || {
                let mut received = Vec::new();
                server.read_to_end(&mut received).unwrap();
                received.len()
            });
            if flush {
                writer.flush().unwrap();
            }
            drop(writer);
            let received = reader.join().unwrap();
            assert_eq!(received == MUCH, flush, "{received} bytes");
        }
    });
}

#[test]
fn connections() {
    const CONNECTIONS: usize = 300;
    everywhere(|_| {
        let listener = TcpListener::bind("127.0.0.1:0").wait().unwrap();
        let address = listener.local_addr().unwrap();
        let clients = fiber::spawn(move || {
            for i in 0..CONNECTIONS {
                let mut client = TcpStream::connect(address).wait().unwrap();
                client.write_all(&(i as u32).to_le_bytes()).unwrap();
                fiber::yield_now();
            }
        });
        let seen = Seen::new(CONNECTIONS);
        let mut accepted = Vec::new();
        in_short_regions(37, || {
            accepted.push(listener.accept().wait().unwrap().0);
            if accepted.len() == CONNECTIONS {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        });
        for mut stream in accepted {
            let mut number = [0; 4];
            stream.read_exact(&mut number).unwrap();
            seen.note(u32::from_le_bytes(number) as usize);
        }
        clients.join().unwrap();
        seen.assert_once_each(CONNECTIONS);
    });
}

/// Who gives up waiting for a blocking call doesn't end it.
#[test]
fn blocking_calls() {
    everywhere(|_| {
        let (go, gone) = std::sync::mpsc::channel::<()>();
        let mut call = unblock(move || gone.recv().map(|()| 5).unwrap());
        assert!(until(std::future::ready(()), || (&mut call).wait().unwrap()).is_err());
        go.send(()).unwrap();
        assert_eq!(call.join().unwrap(), 5);
    });
}
