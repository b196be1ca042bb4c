//! `.wait()` where no other runtime allows it: each case waits, in the middle of an async task's
//! poll, for something that another task *on the same worker* must do first. A wait that held up the
//! worker would hang. Every case runs on one worker and on several.

use bifilar::{Builder, Wait, WaitIter, sync::channel, task};
use futures_util::stream::{FuturesUnordered, StreamExt};
use serde::Deserialize;
use std::{
    collections::BTreeMap,
    future::Future,
    io::{self, BufRead, BufReader, Read},
    pin::Pin,
    sync::{
        Mutex,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

type Link = (channel::Sender<u64>, channel::Receiver<u64>);

/// A partner task that answers each number with its successor.
fn partner() -> Link {
    let (ask, asked) = channel::bounded::<u64>(1);
    let (answer, answered) = channel::bounded(1);
    drop(task::spawn(async move {
        while let Ok(number) = asked.recv().await {
            if answer.send(number + 1).await.is_err() {
                break;
            }
        }
    }));
    (ask, answered)
}

/// Asks the partner, waiting twice, deep in whatever calls this.
fn ask((ask, answered): &Link, number: u64) -> u64 {
    ask.send(number).wait().unwrap();
    answered.recv().wait().unwrap()
}

/// Runs a case as several async tasks at once, on one worker and on several.
fn everywhere<F, Fut>(case: F)
where
    F: Fn(Link) -> Fut + Send + Sync + Copy + 'static,
    Fut: Future<Output = ()> + Send + 'static,
{
    for workers in [1, 2, 4] {
        Builder::new().workers(workers).block_on(async move {
            let tasks: Vec<_> =
                (0..20).map(|_| task::spawn(async move { case(partner()).await })).collect();
            for task in tasks {
                task.await.unwrap();
            }
        });
    }
}

#[test]
fn in_a_drop() {
    static DROPPED: AtomicUsize = AtomicUsize::new(0);
    struct Asks(Link);
    impl Drop for Asks {
        fn drop(&mut self) {
            assert_eq!(ask(&self.0, 1), 2);
            DROPPED.fetch_add(1, Ordering::Relaxed);
        }
    }
    everywhere(|link| async move {
        let _asks = Asks(link);
        task::yield_now().await;
    });
    assert_eq!(DROPPED.load(Ordering::Relaxed), 60);
}

#[test]
fn in_an_iterator() {
    everywhere(|link| async move {
        let sum: u64 = (0..10).map(|i| ask(&link, i)).sum();
        assert_eq!(sum, 55);
    });
}

#[test]
fn in_a_deserialize() {
    // `Deserialize` takes no argument, so the links are in a static, found by the number asked for.
    static LINKS: Mutex<BTreeMap<u64, Link>> = Mutex::new(BTreeMap::new());
    static NEXT: AtomicU64 = AtomicU64::new(1);
    struct Asked(u64);
    impl<'de> Deserialize<'de> for Asked {
        fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            let number = u64::deserialize(deserializer)?;
            let link = LINKS.lock().unwrap()[&(number / 10)].clone();
            Ok(Asked(ask(&link, number)))
        }
    }
    everywhere(|link| async move {
        let key = NEXT.fetch_add(1, Ordering::Relaxed);
        LINKS.lock().unwrap().insert(key, link);
        let text = format!("[{key}1, {key}2, {key}3]");
        let numbers = serde_json::from_str::<Vec<Asked>>(&text).unwrap();
        let answers: Vec<_> = numbers.iter().map(|asked| asked.0).collect();
        assert_eq!(answers, [key * 10 + 2, key * 10 + 3, key * 10 + 4]);
        LINKS.lock().unwrap().remove(&key);
    });
}

#[test]
fn in_a_read_handed_to_a_sync_parser() {
    struct Asking {
        link: Link,
        left: u64,
    }
    impl Read for Asking {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            if self.left == 0 {
                return Ok(0);
            }
            self.left -= 1;
            // One byte at a time, so that the parser is in the middle of something.
            buffer[0] = b"]3,2,1["[ask(&self.link, self.left) as usize - 1];
            Ok(1)
        }
    }
    everywhere(|link| async move {
        let numbers: Vec<u64> = serde_json::from_reader(Asking { link, left: 7 }).unwrap();
        assert_eq!(numbers, [1, 2, 3]);
    });
}

#[test]
fn in_a_buffered_reader() {
    struct Lines(channel::Receiver<u8>);
    impl Read for Lines {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            match self.0.recv().wait() {
                Ok(byte) => {
                    buffer[0] = byte;
                    Ok(1)
                }
                Err(_) => Ok(0),
            }
        }
    }
    everywhere(|_| async move {
        let (sender, receiver) = channel::bounded(1);
        drop(task::spawn(async move {
            for byte in b"any\ntask\nmay\nblock" {
                sender.send(*byte).await.unwrap();
            }
        }));
        let lines: Vec<_> = BufReader::new(Lines(receiver)).lines().map(Result::unwrap).collect();
        assert_eq!(lines, ["any", "task", "may", "block"]);
    });
}

#[test]
fn in_a_future_polled_by_futures_unordered() {
    everywhere(|link| async move {
        let waiting: FuturesUnordered<_> = (0..5)
            .map(|i| {
                let link = link.clone();
                async move {
                    task::yield_now().await;
                    ask(&link, i)
                }
            })
            .collect();
        let mut answers: Vec<_> = waiting.collect().await;
        answers.sort_unstable();
        assert_eq!(answers, [1, 2, 3, 4, 5]);
    });
}

#[test]
fn in_a_nested_block_on() {
    everywhere(|link| async move {
        let answer = bifilar::block_on(async {
            let inner = link.clone();
            // And once more within it.
            bifilar::block_on(async { inner.0.send(1).await.unwrap() });
            link.1.recv().await.unwrap()
        });
        assert_eq!(answer, 2);
        assert_eq!(bifilar::run(|| ask(&link, 5)), 6);
    });
}

#[test]
fn in_a_stream_iterated_in_blocking_style() {
    everywhere(|_| async move {
        let (sender, receiver) = channel::bounded(1);
        drop(task::spawn(async move {
            for i in 0..10 {
                sender.send(i).await.unwrap();
            }
        }));
        assert_eq!(receiver.wait_iter().sum::<i32>(), 45);
    });
}

/// The outer wait's wake-up arrives while the inner one waits: it must not be lost.
#[test]
fn nested_waits_keep_each_others_notifications() {
    struct Both {
        outer: channel::Receiver<u64>,
        inner: Option<channel::Receiver<u64>>,
    }
    impl Future for Both {
        type Output = u64;
        fn poll(mut self: Pin<&mut Self>, cx: &mut std::task::Context<'_>) -> std::task::Poll<u64> {
            // Registers the outer waker first …
            let outer = self.outer.clone();
            let mut recv = std::pin::pin!(outer.recv());
            if let std::task::Poll::Ready(value) = recv.as_mut().poll(cx) {
                return std::task::Poll::Ready(value.unwrap());
            }
            let waker = cx.waker().clone();
            if let Some(inner) = self.inner.take() {
                // … then waits inside; meanwhile the outer channel is filled.
                inner.recv().wait().unwrap();
                waker.wake_by_ref();
            }
            std::task::Poll::Pending
        }
    }
    everywhere(|_| async move {
        let (fill_outer, outer) = channel::bounded(1);
        let (fill_inner, inner) = channel::bounded(1);
        drop(task::spawn(async move {
            fill_outer.send(7).await.unwrap();
            task::yield_now().await;
            fill_inner.send(0).await.unwrap();
        }));
        assert_eq!(Both { outer, inner: Some(inner) }.wait(), 7);
    });
}

#[test]
fn outside_of_a_runtime_it_parks_the_thread() {
    let (sender, receiver) = channel::bounded(1);
    let thread = std::thread::spawn(move || receiver.recv().wait().unwrap());
    sender.send(3).wait().unwrap();
    assert_eq!(thread.join().unwrap(), 3);
}

#[test]
fn on_a_blocking_thread_it_parks_the_thread() {
    bifilar::run(|| {
        let (ask, answered) = partner();
        let answer = bifilar::unblock(move || {
            ask.send(1).wait().unwrap();
            bifilar::time::sleep(std::time::Duration::from_millis(1)).wait();
            answered.recv().wait().unwrap()
        });
        assert_eq!(answer.join().unwrap(), 2);
    });
}
