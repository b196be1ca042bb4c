//! Sync code inside async tasks that waits: a `Drop`, an iterator, and a parser of a library that
//! knows nothing of futures. Everything runs on a single worker, which goes on with a ticking task
//! meanwhile: watch the dots.
//!
//!     cargo run -p bifilar --example wait_anywhere

use bifilar::{
    Wait, WaitIter,
    sync::channel::{self, Receiver, Sender},
    task,
    time::{interval, sleep},
};
use futures_util::StreamExt;
use std::{
    io::{self, Read, Write},
    time::Duration,
};

#[bifilar::main(workers = 1)]
async fn main() {
    let ticking = task::spawn(async {
        let mut dots = interval(Duration::from_millis(20));
        while dots.next().await.is_some() {
            print!(".");
            io::stdout().flush().expect("a terminal or a pipe");
        }
    });

    in_an_iterator().await;
    in_a_parser().await;
    in_a_drop().await;

    ticking.cancel();
}

/// An iterator whose `next` waits.
async fn in_an_iterator() {
    let sum: usize =
        interval(Duration::from_millis(50)).wait_iter().take(5).zip(1..).map(|(_, n)| n).sum();
    println!("\niterator: the sum is {sum}");
}

/// `serde_json` reads from something that trickles in from another task.
async fn in_a_parser() {
    let (sender, receiver) = channel::bounded(1);
    task::spawn(trickle(sender));
    let numbers: Vec<u32> = serde_json::from_reader(Trickle(receiver)).expect("valid JSON");
    println!("\nparser: got {numbers:?}");
}

async fn trickle(bytes: Sender<u8>) {
    for byte in b"[1, 2, 3]" {
        sleep(Duration::from_millis(30)).await;
        bytes.send(*byte).await.expect("the parser reads on");
    }
}

struct Trickle(Receiver<u8>);

impl Read for Trickle {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.0.recv().wait() {
            Ok(byte) => {
                buffer[0] = byte;
                Ok(1)
            }
            // The other side is done: the end of the input.
            Err(_) => Ok(0),
        }
    }
}

/// A destructor that says goodbye over something slow.
async fn in_a_drop() {
    struct Goodbye;
    impl Drop for Goodbye {
        fn drop(&mut self) {
            sleep(Duration::from_millis(200)).wait();
            println!("\ndrop: goodbye, after 200 ms");
        }
    }
    let _goodbye = Goodbye;
}
