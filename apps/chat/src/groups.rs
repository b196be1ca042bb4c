//! The table of groups, one for all four styles.
//!
//! ```text
//!   post("Dogs", …) ─► table ─► Group "Dogs" ─► broadcast of 1,000 lines ─┬─► Subscription (member 1)
//!                                                                         ├─► Subscription (member 2)
//!                                                                         └─► …
//! ```
//!
//! - A message is encoded once, when its group takes it; every member gets the same line. The
//!   order in which the group's broadcast takes lines is the order for everybody.
//! - A group begins with its first member and ends with its last: after that, posting to it is an
//!   error again. So the table is never larger than the memberships of the clients that are there.
//! - Nobody waits for a slow member: it loses the oldest lines and is told how many.
//! - Closing the table ([`Groups::close`]) takes no more messages, while what was taken can still
//!   be read to its end.
//!
//! A [`Subscription`] is polled, so it suits a thread, a fiber, a task and a callback alike. The
//! table writes to no socket and knows no connections.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock},
    task::{Context, Poll},
};

use bifilar::sync::broadcast;

use crate::protocol::{Notice, encode};

/// How many lines a member may be behind before it loses the oldest.
pub const MAX_LAG: usize = 1_000;

/// An encoded notice, line feed included, shared by all who get it.
pub type Line = Arc<str>;

/// Why the table did not do what it was asked.
#[derive(Debug, PartialEq)]
pub enum Refusal {
    /// Nobody is in a group of this name.
    NoSuchGroup(String),
    /// The table was closed.
    Closed,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::NoSuchGroup(name) => write!(f, "Group '{name}' does not exist"),
            Refusal::Closed => write!(f, "The server is shutting down"),
        }
    }
}

/// All groups of a server.
#[derive(Debug)]
pub struct Groups {
    table: Mutex<Table>,
}

#[derive(Debug)]
struct Table {
    open: bool,
    groups: HashMap<Arc<str>, Entry>,
    /// A channel on which nothing is ever said; whoever is in no group listens to it, and so
    /// learns of the closing like everybody else.
    lobby: Arc<Channel>,
}

#[derive(Debug)]
struct Entry {
    channel: Arc<Channel>,
    members: usize,
}

/// The sending side of a group; empty once the table is closed.
#[derive(Debug)]
struct Channel(RwLock<Option<broadcast::Sender<Line>>>);

impl Channel {
    fn new(capacity: usize) -> Arc<Self> {
        Arc::new(Channel(RwLock::new(Some(broadcast::channel(capacity).0))))
    }

    /// Gives the line to every member; `None` when the channel is closed.
    fn send(&self, line: Line) -> Option<()> {
        let sender = self.0.read().unwrap_or_else(PoisonError::into_inner);
        // That no member is left is no error here: the last one left just now.
        sender.as_ref().map(|sender| drop(sender.send(line)))
    }

    fn subscribe(&self) -> Option<broadcast::Receiver<Line>> {
        let sender = self.0.read().unwrap_or_else(PoisonError::into_inner);
        sender.as_ref().map(broadcast::Sender::subscribe)
    }

    fn close(&self) {
        let sender = self.0.write().unwrap_or_else(PoisonError::into_inner).take();
        drop(sender);
    }
}

impl Groups {
    /// An empty, open table.
    pub fn new() -> Arc<Self> {
        let lobby = Channel::new(1);
        Arc::new(Self { table: Mutex::new(Table { open: true, groups: HashMap::new(), lobby }) })
    }

    /// Makes the caller a member of the group, which comes into being if need be. It gets every
    /// message the group takes from now on.
    ///
    /// # Errors
    ///
    /// [`Refusal::Closed`].
    pub fn join(self: &Arc<Self>, name: &str) -> Result<Subscription, Refusal> {
        let mut table = self.table();
        if !table.open {
            return Err(Refusal::Closed);
        }
        let name = match table.groups.get_key_value(name) {
            Some((name, _)) => name.clone(),
            None => Arc::from(name),
        };
        let entry = table
            .groups
            .entry(name.clone())
            .or_insert_with(|| Entry { channel: Channel::new(MAX_LAG), members: 0 });
        let receiver = entry.channel.subscribe().ok_or(Refusal::Closed)?;
        entry.members += 1;
        let membership = Some(Membership { groups: self.clone(), name });
        Ok(Subscription { receiver, left: usize::MAX, membership })
    }

    /// Gives a message to everybody in the group.
    ///
    /// # Errors
    ///
    /// [`Refusal::NoSuchGroup`] when nobody is in it, [`Refusal::Closed`].
    pub fn post(&self, name: &str, message: &str) -> Result<(), Refusal> {
        let channel = {
            let table = self.table();
            match table.groups.get(name) {
                Some(entry) => entry.channel.clone(),
                None if table.open => return Err(Refusal::NoSuchGroup(name.to_owned())),
                None => return Err(Refusal::Closed),
            }
        };
        // Not under the table's lock: sending wakes members, and what a waker does is its affair.
        channel.send(encode(&Notice::message(name, message)).into()).ok_or(Refusal::Closed)
    }

    /// A subscription to nothing but the closing of the table.
    pub fn lobby(&self) -> Option<Subscription> {
        let lobby = self.table().lobby.clone();
        lobby.subscribe().map(|receiver| Subscription {
            receiver,
            left: usize::MAX,
            membership: None,
        })
    }

    /// Takes no more messages and no more members. Every subscription still hands out what its
    /// group had taken, and then says [`News::Closed`].
    pub fn close(&self) {
        let channels: Vec<_> = {
            let mut table = self.table();
            table.open = false;
            let groups = table.groups.values().map(|entry| entry.channel.clone());
            groups.chain([table.lobby.clone()]).collect()
        };
        channels.iter().for_each(|channel| channel.close());
    }

    /// Whether the table was closed.
    pub fn is_closed(&self) -> bool {
        !self.table().open
    }

    fn leave(&self, name: &str) {
        let mut table = self.table();
        let Some(entry) = table.groups.get_mut(name) else { return };
        entry.members -= 1;
        if entry.members == 0 {
            let entry = table.groups.remove(name);
            drop(table); // not under the lock: dropping a channel may wake
            drop(entry);
        }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        // Every change to the table is complete when it unlocks, also when a caller panics.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a subscription brings.
#[derive(Debug, PartialEq)]
pub enum News {
    /// A message.
    Message(Line),
    /// So many messages were lost, because their reader was more than [`MAX_LAG`] behind.
    Dropped(u64),
    /// The table was closed or the subscription finished, and everything was read.
    Closed,
}

/// One member's place in one group; dropping it leaves the group.
#[derive(Debug)]
pub struct Subscription {
    receiver: broadcast::Receiver<Line>,
    /// How many more messages to hand out.
    left: usize,
    /// None in the lobby.
    membership: Option<Membership>,
}

#[derive(Debug)]
struct Membership {
    groups: Arc<Groups>,
    name: Arc<str>,
}

impl Subscription {
    /// The next piece of news; pending when there is none yet, with a wake-up to follow.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<News> {
        if self.left == 0 {
            return Poll::Ready(News::Closed);
        }
        self.receiver.poll_recv(cx).map(|received| match received {
            Ok(line) => {
                self.left -= 1;
                News::Message(line)
            }
            Err(broadcast::RecvError::Lagged(count)) => News::Dropped(count),
            Err(broadcast::RecvError::Closed) => News::Closed,
        })
    }

    /// Its reader is about to leave: what the group has taken by now is still handed out, what it
    /// takes later need not be, so that the reader gets away from a busy group.
    pub fn finish(&mut self) {
        self.left = self.left.min(MAX_LAG);
    }

    /// The group's name; empty in the lobby.
    pub fn group(&self) -> &str {
        self.membership.as_ref().map_or("", |membership| &membership.name)
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        self.groups.leave(&self.name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::task::Waker;

    fn next(subscription: &mut Subscription) -> Poll<News> {
        subscription.poll_next(&mut Context::from_waker(Waker::noop()))
    }

    fn message(group: &str, message: &str) -> Poll<News> {
        Poll::Ready(News::Message(encode(&Notice::message(group, message)).into()))
    }

    fn no_such(group: &str) -> Result<(), Refusal> {
        Err(Refusal::NoSuchGroup(group.to_owned()))
    }

    #[test]
    fn a_group_lives_from_its_first_member_to_its_last() {
        let groups = Groups::new();
        assert_eq!(groups.post("Dogs", "hi"), no_such("Dogs"));
        let mut one = groups.join("Dogs").unwrap();
        assert_eq!(groups.post("Dogs", "a"), Ok(()));
        let mut two = groups.join("Dogs").unwrap();
        assert_eq!(groups.post("Dogs", "b"), Ok(()));
        assert_eq!(next(&mut one), message("Dogs", "a"));
        assert_eq!(next(&mut one), message("Dogs", "b"));
        assert_eq!(next(&mut two), message("Dogs", "b"));
        assert_eq!(next(&mut two), Poll::Pending);
        drop(one);
        assert_eq!(groups.post("Dogs", "c"), Ok(()));
        assert_eq!(next(&mut two), message("Dogs", "c"));
        drop(two);
        assert_eq!(groups.post("Dogs", "d"), no_such("Dogs"));
        assert!(groups.table().groups.is_empty());
    }

    #[test]
    fn a_lagging_member_is_told_how_much_it_lost() {
        let groups = Groups::new();
        let mut member = groups.join("Dogs").unwrap();
        for n in 0..MAX_LAG + 7 {
            groups.post("Dogs", &n.to_string()).unwrap();
        }
        assert_eq!(next(&mut member), Poll::Ready(News::Dropped(7)));
        for n in 7..MAX_LAG + 7 {
            assert_eq!(next(&mut member), message("Dogs", &n.to_string()));
        }
        assert_eq!(next(&mut member), Poll::Pending);
        groups.post("Dogs", "on").unwrap();
        assert_eq!(next(&mut member), message("Dogs", "on"));
    }

    #[test]
    fn a_finished_subscription_hands_out_what_was_taken_and_little_more() {
        let groups = Groups::new();
        let mut member = groups.join("Dogs").unwrap();
        for n in 0..MAX_LAG {
            groups.post("Dogs", &n.to_string()).unwrap();
        }
        member.finish();
        for n in 0..MAX_LAG {
            assert_eq!(next(&mut member), message("Dogs", &n.to_string()));
            groups.post("Dogs", "later").unwrap();
        }
        assert_eq!(next(&mut member), Poll::Ready(News::Closed));
    }

    #[test]
    fn a_closed_table_still_delivers_what_it_took() {
        let groups = Groups::new();
        let mut member = groups.join("Dogs").unwrap();
        let mut idle = groups.lobby().unwrap();
        groups.post("Dogs", "last").unwrap();
        groups.close();
        assert_eq!(groups.post("Dogs", "late"), Err(Refusal::Closed));
        assert_eq!(groups.post("Cats", "late"), Err(Refusal::Closed));
        assert_eq!(groups.join("Cats").unwrap_err(), Refusal::Closed);
        assert_eq!(next(&mut member), message("Dogs", "last"));
        assert_eq!(next(&mut member), Poll::Ready(News::Closed));
        assert_eq!(next(&mut idle), Poll::Ready(News::Closed));
        assert!(groups.lobby().is_none());
    }
}
