//! One group under load: its books, its window, and the task that posts.
//!
//! At most `window` messages of a group are on their way at once, a message being on its way until
//! every member has it. So no member of a server that works is ever further behind than that, and
//! the load never runs into the server's limit on lagging by itself.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use bifilar::{net::TcpStream, sync::Semaphore};
use futures_util::AsyncWriteExt;
use hdrhistogram::Histogram;

use super::{
    accounting::{Arrival, Ledger, Nanos, Verdict},
    random::Random,
};
use crate::protocol::{Request, encode};

/// Text after a message's number: between nothing and this many bytes.
const MAX_PADDING: u64 = 100;

/// Longest latency that the histogram tells apart; longer ones count as this.
const MAX_LATENCY_US: u64 = 600_000_000;

/// One group of clients.
#[derive(Debug)]
pub struct Group {
    /// Its name on the server.
    pub name: String,
    /// Number of members.
    pub members: usize,
    began: Instant,
    window: Semaphore,
    books: Mutex<Books>,
}

#[derive(Debug)]
struct Books {
    ledger: Ledger,
    latency_us: Histogram<u64>,
    last_arrival: Nanos,
    unknown: u64,
}

/// What a group's books say at the end.
#[derive(Debug)]
pub struct Closing {
    /// What arrived, and what is wrong with it.
    pub verdict: Verdict,
    /// From sending to arrival, in microseconds.
    pub latency_us: Histogram<u64>,
    /// When the last message arrived.
    pub last_arrival: Nanos,
    /// Messages that arrived though nobody sent them.
    pub unknown: u64,
}

impl Group {
    /// A group in which nothing was said yet. Times count from `began`.
    pub fn new(name: String, members: usize, window: usize, began: Instant) -> Arc<Self> {
        let latency_us = Histogram::new_with_bounds(1, MAX_LATENCY_US, 3)
            .expect("bounds and digits are within the histogram's");
        let ledger = Ledger::new(members);
        let books = Mutex::new(Books { ledger, latency_us, last_arrival: 0, unknown: 0 });
        Arc::new(Self { name, members, began, window: Semaphore::new(window), books })
    }

    /// Posts so many messages, each through a member's connection chosen at random; ends early
    /// when the group is [stopped](Self::stop) or a connection fails.
    pub async fn post(&self, messages: u64, connections: Vec<TcpStream>, mut random: Random) {
        for _ in 0..messages {
            let Ok(permit) = self.window.acquire().await else { return };
            permit.forget(); // given back by the member who sees the message last
            let poster = random.below(connections.len() as u64) as usize;
            let text = {
                let now = self.now();
                let number = self.books().ledger.send(poster, now);
                let padding = random.below(MAX_PADDING + 1) as usize;
                format!("{number} {:x<padding$}", "")
            };
            let line = encode(&Request::post(&self.name, &text));
            if (&connections[poster]).write_all(line.as_bytes()).await.is_err() {
                return; // its reader tells of the connection's end
            }
        }
    }

    /// Member `member` got messages with these numbers (none: a text that is not ours). Returns
    /// how many it sees for the first time.
    pub fn arrive(&self, member: usize, numbers: &[Option<u32>]) -> u64 {
        let now = self.now();
        let (mut new, mut complete) = (0, 0);
        let mut books = self.books();
        for number in numbers {
            let arrival = number.map(|number| books.ledger.arrive(member, number));
            match arrival.unwrap_or(Arrival::Unknown) {
                Arrival::New { sent_at, complete: last } => {
                    new += 1;
                    complete += usize::from(last);
                    books
                        .latency_us
                        .saturating_record((now.saturating_sub(sent_at)).div_ceil(1_000));
                    books.last_arrival = books.last_arrival.max(now);
                }
                Arrival::Duplicate => {}
                Arrival::Unknown => books.unknown += 1,
            }
        }
        drop(books);
        if complete > 0 {
            self.window.add_permits(complete);
        }
        new
    }

    /// Lets no more messages out.
    pub fn stop(&self) {
        self.window.close();
    }

    /// Closes the books.
    pub fn close(&self) -> Closing {
        let books = self.books();
        Closing {
            verdict: books.ledger.judge(),
            latency_us: books.latency_us.clone(),
            last_arrival: books.last_arrival,
            unknown: books.unknown,
        }
    }

    fn now(&self) -> Nanos {
        self.began.elapsed().as_nanos() as Nanos
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The number in the text of one of our messages.
pub fn number(text: &str) -> Option<u32> {
    text.split(' ').next()?.parse().ok()
}
