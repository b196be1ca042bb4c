//! The connections to be called though their sockets have no event: their groups have news, or
//! they had more to do than one turn allows.
//!
//! | the loop is | `wake` on the loop's own thread | `wake` on another thread |
//! |---|---|---|
//! | running | puts the token on the list | puts the token on the list |
//! | in `wait`, or about to be | cannot happen | puts the token on the list, wakes the queue |
//!
//! The list and the word on whether the loop waits are under one lock, so no wake-up falls between
//! them.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Wake, Waker},
    time::Duration,
};

use bifilar_events::{EventQueue, Token};

/// The event queue with its list.
#[derive(Debug)]
pub struct ReadyList {
    queue: EventQueue,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    ready: Vec<Arc<Call>>,
    waiting: bool,
}

/// One connection's waker.
#[derive(Debug)]
struct Call {
    token: Token,
    list: Arc<ReadyList>,
    /// Whether it is on the list. Set before the push, cleared before the connection is called.
    listed: AtomicBool,
}

impl ReadyList {
    /// An empty list beside this queue.
    pub fn new(queue: EventQueue) -> Arc<Self> {
        Arc::new(Self { queue, state: Mutex::default() })
    }

    /// The queue that the loop waits on.
    pub fn queue(&self) -> &EventQueue {
        &self.queue
    }

    /// A waker that puts `token` on the list.
    pub fn waker(self: &Arc<Self>, token: Token) -> Waker {
        Arc::new(Call { token, list: self.clone(), listed: AtomicBool::new(false) }).into()
    }

    /// Announces a wait; returns its timeout, which is `idle`'s while the list is empty.
    pub fn before_wait(&self, idle: impl FnOnce() -> Option<Duration>) -> Option<Duration> {
        let mut state = self.state();
        if state.ready.is_empty() {
            state.waiting = true;
            idle()
        } else {
            Some(Duration::ZERO)
        }
    }

    /// The wait is over.
    pub fn after_wait(&self) {
        self.state().waiting = false;
    }

    /// Takes the list.
    pub fn take(&self) -> impl Iterator<Item = Token> + use<> {
        let ready = std::mem::take(&mut self.state().ready);
        ready.into_iter().map(|call| {
            // Partner: the swap in wake. Whoever listed the connection before this did so for
            // something that the call to come will see.
            call.listed.swap(false, Ordering::AcqRel);
            call.token
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wake for Call {
    fn wake(self: Arc<Self>) {
        if self.listed.swap(true, Ordering::AcqRel) {
            return;
        }
        let list = self.list.clone();
        let mut state = list.state();
        state.ready.push(self);
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        if waiting && let Err(error) = list.queue.wake() {
            tracing::warn!("cannot wake the event queue: {error}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bifilar_events::Events;

    fn tokens(list: &ReadyList) -> Vec<u64> {
        list.take().map(|token| token.0).collect()
    }

    #[test]
    fn a_connection_is_listed_once_until_taken() {
        let list = ReadyList::new(EventQueue::new().unwrap());
        let [one, two] = [1, 2].map(|n| list.waker(Token(n)));
        one.wake_by_ref();
        two.wake_by_ref();
        one.wake_by_ref();
        assert_eq!(list.before_wait(|| None), Some(Duration::ZERO));
        assert_eq!(tokens(&list), [1, 2]);
        assert_eq!(list.before_wait(|| None), None);
        list.after_wait();
        one.wake();
        assert_eq!(tokens(&list), [1]);
    }

    #[test]
    fn a_wake_up_from_elsewhere_ends_the_wait() {
        let list = ReadyList::new(EventQueue::new().unwrap());
        let waker = list.waker(Token(7));
        let mut events = Events::with_capacity(8);
        assert_eq!(list.before_wait(|| None), None);
        let elsewhere = std::thread::spawn(move || waker.wake());
        list.queue().wait(&mut events, None).unwrap();
        list.after_wait();
        assert_eq!(tokens(&list), [7]);
        elsewhere.join().unwrap();
    }
}
