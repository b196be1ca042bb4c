//! One connection's two halves, without the connection.
//!
//! ```text
//!   lines in ──► Member ──post──► Groups ──► Subscriptions ─┐
//!                  │                                        ├─► Outbox ──► lines out
//!                  └───── notes (replies, new subscriptions)┘
//! ```
//!
//! A [`Member`] does what request lines ask for. An [`Outbox`] gathers what its client is to be
//! told. How a style moves bytes, and how a note gets from the one half to the other, is the
//! style's own: the callbacks style hands it over directly, the others put a channel between
//! ([`mailbox`](super::mailbox)).

use std::{
    collections::HashSet,
    num::NonZeroUsize,
    sync::Arc,
    task::{Context, Poll},
};

use crate::{
    groups::{Groups, News, Refusal, Subscription},
    lines::TooLong,
    protocol::{BadLine, Notice, Request, decode, encode},
};

/// Gathering stops once this many bytes are ready: one write's worth.
pub const BATCH_BYTES: usize = 16 * 1024;

/// What a batch with nothing in it may keep allocated: members that only listen are many.
pub const IDLE_BYTES: usize = 4 * 1024;

/// What a request leaves for the outbox of its own connection.
#[derive(Debug)]
pub enum Note {
    /// A line to send, line feed included.
    Reply(String),
    /// A group was joined.
    Joined(Subscription),
}

/// Whether a connection goes on after a line.
#[derive(Debug)]
pub enum Outcome {
    /// Nothing to tell.
    Done,
    /// This is for the outbox.
    Note(Note),
    /// This is for the outbox, and the connection is to be closed after it.
    Last(Note),
}

/// The half of a client that asks.
#[derive(Debug)]
pub struct Member {
    groups: Arc<Groups>,
    max_line: NonZeroUsize,
    joined: HashSet<String>,
}

impl Member {
    /// A member of nothing yet.
    pub fn new(groups: Arc<Groups>, max_line: NonZeroUsize) -> Self {
        Self { groups, max_line, joined: HashSet::new() }
    }

    /// Does what a line asks. Whatever is wrong with the line is told to its client alone.
    pub fn handle(&mut self, line: Result<&[u8], TooLong>) -> Outcome {
        let request = match line {
            Ok(line) => decode(line),
            Err(TooLong) => {
                let error = BadLine::TooLong { limit: self.max_line.get() };
                return Outcome::Last(Note::error(&error));
            }
        };
        match request {
            Ok(Request::Join { group_name }) => self.join(&group_name),
            Ok(Request::Post { group_name, message }) => {
                match self.groups.post(&group_name, &message) {
                    Ok(()) => Outcome::Done,
                    Err(refusal) => Outcome::Note(Note::error(&refusal)),
                }
            }
            Err(error) => Outcome::Note(Note::error(&error)),
        }
    }

    /// Joining twice is the same as joining once.
    fn join(&mut self, name: &str) -> Outcome {
        if self.joined.contains(name) {
            return Outcome::Done;
        }
        match self.groups.join(name) {
            Ok(subscription) => {
                self.joined.insert(name.to_owned());
                Outcome::Note(Note::Joined(subscription))
            }
            Err(refusal) => Outcome::Note(Note::error(&refusal)),
        }
    }
}

impl Note {
    fn error(text: &impl std::fmt::Display) -> Self {
        Note::Reply(encode(&Notice::error(text)))
    }
}

/// The half of a client that is told.
#[derive(Debug)]
pub struct Outbox {
    groups: Arc<Groups>,
    /// One for each group joined; while there is none, one to the lobby.
    subscriptions: Vec<Subscription>,
    in_lobby: bool,
    /// Which subscription comes first next time, so that a busy group cannot silence the others.
    turn: usize,
    said_goodbye: bool,
}

impl Outbox {
    /// An outbox that hears of nothing but the table's closing.
    pub fn new(groups: &Arc<Groups>) -> Self {
        Self {
            groups: groups.clone(),
            subscriptions: groups.lobby().into_iter().collect(),
            in_lobby: true,
            turn: 0,
            said_goodbye: false,
        }
    }

    /// Takes a note in; what it says goes to `batch`, or comes with the next
    /// [`gather`](Self::gather).
    pub fn take(&mut self, note: Note, batch: &mut Vec<u8>) {
        match note {
            Note::Reply(line) => batch.extend_from_slice(line.as_bytes()),
            Note::Joined(subscription) => {
                if std::mem::take(&mut self.in_lobby) {
                    self.subscriptions.clear();
                }
                self.subscriptions.push(subscription);
            }
        }
    }

    /// Puts the lines that are ready into `batch`, until it is full or nothing is ready; in the
    /// latter case a wake-up follows when something is.
    pub fn gather(&mut self, cx: &mut Context<'_>, batch: &mut Vec<u8>) {
        let mut pending = 0;
        while pending < self.subscriptions.len() && batch.len() < BATCH_BYTES {
            self.turn %= self.subscriptions.len();
            if self.drain(cx, batch) {
                self.turn += 1;
                pending += 1;
            } else {
                pending = 0;
            }
        }
    }

    /// Reads the subscription whose turn it is; true when it has nothing more, false when it
    /// filled the batch or is gone.
    fn drain(&mut self, cx: &mut Context<'_>, batch: &mut Vec<u8>) -> bool {
        let subscription = &mut self.subscriptions[self.turn];
        while batch.len() < BATCH_BYTES {
            match subscription.poll_next(cx) {
                Poll::Ready(News::Message(line)) => batch.extend_from_slice(line.as_bytes()),
                Poll::Ready(News::Dropped(count)) => {
                    let text = format!("Dropped {count} messages from {}.", subscription.group());
                    batch.extend_from_slice(encode(&Notice::error(&text)).as_bytes());
                }
                Poll::Ready(News::Closed) => {
                    self.subscriptions.swap_remove(self.turn);
                    return false;
                }
                Poll::Pending => return true,
            }
        }
        self.turn += 1;
        false
    }

    /// The client asks for nothing more: only what was taken by now is still gathered.
    pub fn finish(&mut self) {
        self.subscriptions.iter_mut().for_each(Subscription::finish);
    }

    /// Leaves every group.
    pub fn leave(&mut self) {
        self.subscriptions.clear();
    }

    /// For when there is nothing more to send: a goodbye, once, if the table was closed.
    pub fn say_goodbye(&mut self, batch: &mut Vec<u8>) {
        if !self.said_goodbye && self.groups.is_closed() {
            self.said_goodbye = true;
            batch.extend_from_slice(encode(&Notice::goodbye(&Refusal::Closed)).as_bytes());
        }
    }

    /// Whether nothing can come any more: the table was closed and everything is gathered.
    pub fn is_over(&self) -> bool {
        self.subscriptions.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::groups::MAX_LAG;
    use std::task::Waker;

    struct Client {
        member: Member,
        outbox: Outbox,
    }

    fn client(groups: &Arc<Groups>) -> Client {
        let max_line = NonZeroUsize::new(1024).unwrap();
        Client { member: Member::new(groups.clone(), max_line), outbox: Outbox::new(groups) }
    }

    impl Client {
        /// What comes back at once for these lines.
        fn say(&mut self, lines: &[&str]) -> Vec<String> {
            let mut batch = Vec::new();
            for line in lines {
                match self.member.handle(Ok(line.as_bytes())) {
                    Outcome::Done => {}
                    Outcome::Note(note) | Outcome::Last(note) => {
                        self.outbox.take(note, &mut batch);
                    }
                }
            }
            loop {
                let before = batch.len();
                let mut part = Vec::new();
                self.outbox.gather(&mut Context::from_waker(Waker::noop()), &mut part);
                batch.append(&mut part);
                if batch.len() == before {
                    break;
                }
            }
            String::from_utf8(batch).unwrap().lines().map(str::to_owned).collect()
        }
    }

    const JOIN: &str = r#"{"Join":{"group_name":"Dogs"}}"#;

    fn post(message: &str) -> String {
        format!(r#"{{"Post":{{"group_name":"Dogs","message":"{message}"}}}}"#)
    }

    fn message(message: &str) -> String {
        format!(r#"{{"Message":{{"group_name":"Dogs","message":"{message}"}}}}"#)
    }

    #[test]
    fn joining_twice_delivers_once() {
        let groups = Groups::new();
        let mut dog = client(&groups);
        assert_eq!(
            dog.say(&[JOIN, JOIN, &post("a"), JOIN, &post("b")]),
            [message("a"), message("b")]
        );
    }

    #[test]
    fn mistakes_are_told_to_their_maker() {
        let groups = Groups::new();
        let (mut dog, mut cat) = (client(&groups), client(&groups));
        assert_eq!(cat.say(&[&post("a")]), [r#"{"Error":"Group 'Dogs' does not exist"}"#]);
        assert!(dog.say(&[JOIN]).is_empty());
        assert!(cat.say(&[&post("b")]).is_empty());
        assert_eq!(cat.say(&["?"]), [r#"{"Error":"Bad JSON: expected value at column 1"}"#]);
        assert_eq!(dog.say(&[]), [message("b")]);
        let Outcome::Last(Note::Reply(line)) = dog.member.handle(Err(TooLong)) else { panic!() };
        assert_eq!(line, "{\"Error\":\"Line too long: the limit is 1024 bytes\"}\n");
    }

    #[test]
    fn a_busy_group_does_not_silence_another() {
        let groups = Groups::new();
        let mut dog = client(&groups);
        dog.say(&[JOIN, r#"{"Join":{"group_name":"Cats"}}"#]);
        for _ in 0..MAX_LAG {
            groups.post("Dogs", &"woof ".repeat(20)).unwrap();
        }
        groups.post("Cats", "meow").unwrap();
        let mut cx = Context::from_waker(Waker::noop());
        let mut batches: [Vec<u8>; 2] = Default::default();
        batches.iter_mut().for_each(|batch| dog.outbox.gather(&mut cx, batch));
        assert!(batches.iter().all(|batch| batch.len() < BATCH_BYTES + 200));
        assert!(String::from_utf8_lossy(&batches.concat()).contains("meow"));
    }

    #[test]
    fn an_outbox_is_over_when_the_table_closed_and_all_is_gathered() {
        let groups = Groups::new();
        let (mut dog, mut idle) = (client(&groups), client(&groups));
        dog.say(&[JOIN]);
        groups.post("Dogs", "last").unwrap();
        groups.close();
        assert!(!dog.outbox.is_over() && !idle.outbox.is_over());
        assert_eq!(dog.say(&[]), [message("last")]);
        assert!(idle.say(&[]).is_empty());
        assert!(dog.outbox.is_over() && idle.outbox.is_over());
        assert_eq!(dog.say(&[&post("late")]), [r#"{"Error":"The server is shutting down"}"#]);
    }
}
