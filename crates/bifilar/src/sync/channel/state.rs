//! The queue, with a line of senders before it and a line of receivers after it, under one lock.
//!
//! Whatever changes the queue ends in `State::settle`, which calls from each line those whom the
//! room or the messages are for. A sender or receiver that is woken takes its turn when it is
//! polled, not before, so that a future dropped in between has neither sent nor taken anything;
//! dropping it calls the next.
//!
//! `len` mirrors the length of the queue outside the lock. Its only use inside is a guess, whether
//! a waker will be needed: cloning one is foreign code, so it is done before the lock is taken.
//! Relaxed suffices for a guess.

use super::{RecvError, SendError, TryRecvError, TrySendError};
use crate::primitives::{AtomicUsize, Mutex, MutexGuard, Ordering::Relaxed};
use crate::sync::{
    lock,
    turnstile::{Place, Turnstile},
    wake_batch::{WakeBatch, wake_in_rounds},
};
use std::{
    collections::VecDeque,
    pin::Pin,
    task::{Context, Poll, Waker},
};

pub(super) struct Channel<T> {
    state: Mutex<State<T>>,
    len: AtomicUsize,
    capacity: usize,
}

struct State<T> {
    queue: VecDeque<T>,
    closed: bool,
    senders: Turnstile,
    receivers: Turnstile,
}

impl<T> Channel<T> {
    /// `usize::MAX` means unbounded.
    pub(super) fn new(capacity: usize) -> Self {
        let state = State {
            queue: VecDeque::new(),
            closed: false,
            senders: Turnstile::new(),
            receivers: Turnstile::new(),
        };
        Self { state: Mutex::new(state), len: AtomicUsize::new(0), capacity }
    }

    pub(super) fn len(&self) -> usize {
        self.len.load(Relaxed)
    }

    pub(super) fn capacity(&self) -> Option<usize> {
        (self.capacity < usize::MAX).then_some(self.capacity)
    }

    pub(super) fn is_closed(&self) -> bool {
        lock(&self.state).closed
    }

    pub(super) fn try_send(&self, message: T) -> Result<(), TrySendError<T>> {
        let mut message = Some(message);
        let mut state = lock(&self.state);
        let result = state.push(&None, &mut message, self.capacity);
        if result.is_ok() {
            self.settle_and_wake(state);
            return Ok(());
        }
        drop(state);
        let message = message.expect("not sent");
        Err(match result {
            Err(Refused::Closed) => TrySendError::Closed(message),
            _ => TrySendError::Full(message),
        })
    }

    pub(super) fn try_recv(&self) -> Result<T, TryRecvError> {
        let mut state = lock(&self.state);
        match state.pop(&None) {
            Ok(message) => {
                self.settle_and_wake(state);
                Ok(message)
            }
            Err(Refused::Closed) => Err(TryRecvError::Closed),
            Err(Refused::NotNow) => Err(TryRecvError::Empty),
        }
    }

    /// Takes the message out of `message` if it could be sent or the channel is closed.
    pub(super) fn poll_send(
        &self,
        mut place: Pin<&mut Place>,
        message: &mut Option<T>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), SendError<T>>> {
        assert!(message.is_some(), "the message was sent: don't poll again");
        let mut waker = (self.len() >= self.capacity).then(|| cx.waker().clone());
        loop {
            let mut state = lock(&self.state);
            let (result, old) = match state.push(&place, message, self.capacity) {
                Ok(()) => (Poll::Ready(Ok(())), state.senders.leave(place.as_mut())),
                Err(Refused::Closed) => {
                    let message = message.take().expect("not sent");
                    (Poll::Ready(Err(SendError(message))), state.senders.leave(place.as_mut()))
                }
                Err(Refused::NotNow) => match waker.take() {
                    Some(waker) => (Poll::Pending, state.senders.wait(place.as_mut(), 1, waker)),
                    None => {
                        drop(state);
                        waker = Some(cx.waker().clone());
                        continue;
                    }
                },
            };
            self.settle_and_wake(state);
            drop::<Option<Waker>>(old);
            return result;
        }
    }

    pub(super) fn poll_recv(
        &self,
        mut place: Pin<&mut Place>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<T, RecvError>> {
        let mut waker = (self.len() == 0).then(|| cx.waker().clone());
        loop {
            let mut state = lock(&self.state);
            let (result, old) = match state.pop(&place) {
                Ok(message) => (Poll::Ready(Ok(message)), state.receivers.leave(place.as_mut())),
                Err(Refused::Closed) => {
                    (Poll::Ready(Err(RecvError)), state.receivers.leave(place.as_mut()))
                }
                Err(Refused::NotNow) => match waker.take() {
                    Some(waker) => (Poll::Pending, state.receivers.wait(place.as_mut(), 1, waker)),
                    None => {
                        drop(state);
                        waker = Some(cx.waker().clone());
                        continue;
                    }
                },
            };
            self.settle_and_wake(state);
            drop::<Option<Waker>>(old);
            return result;
        }
    }

    /// A sender gives up its place.
    #[inline]
    pub(super) fn cancel_send(&self, place: Pin<&mut Place>) {
        if place.is_some() {
            self.cancel(place, |state| &mut state.senders);
        }
    }

    /// A receiver gives up its place.
    #[inline]
    pub(super) fn cancel_recv(&self, place: Pin<&mut Place>) {
        if place.is_some() {
            self.cancel(place, |state| &mut state.receivers);
        }
    }

    #[cold]
    fn cancel(&self, place: Pin<&mut Place>, line: fn(&mut State<T>) -> &mut Turnstile) {
        let mut state = lock(&self.state);
        let old = line(&mut state).leave(place);
        self.settle_and_wake(state);
        drop(old);
    }

    /// Lets nothing more in, and sends everybody on who waits.
    pub(super) fn close(&self) -> bool {
        let mut state = lock(&self.state);
        let was_open = !std::mem::replace(&mut state.closed, true);
        wake_in_rounds(&self.state, state, |state, batch| {
            // Nobody joins a line any more: with the channel closed nothing is `NotNow`.
            state.senders.dismiss(batch) || state.receivers.dismiss(batch)
        });
        was_open
    }

    /// Closes, and drops what nobody can receive any more.
    pub(super) fn abandon(&self) {
        self.close();
        let mut state = lock(&self.state);
        let unreceived = std::mem::take(&mut state.queue);
        self.len.store(0, Relaxed);
        drop(state);
        drop(unreceived);
    }

    /// Calls those whose turn it is, releases the lock, wakes them.
    #[inline]
    fn settle_and_wake(&self, mut state: MutexGuard<'_, State<T>>) {
        let len = state.queue.len();
        self.len.store(len, Relaxed);
        let room = self.capacity - len;
        if (room == 0 || state.senders.is_empty()) && (len == 0 || state.receivers.is_empty()) {
            return;
        }
        let mut batch = WakeBatch::new();
        state.senders.call(room, &mut batch);
        state.receivers.call(len, &mut batch);
        drop(state);
        batch.wake();
    }
}

/// Why nothing was sent or received.
enum Refused {
    Closed,
    /// Full, empty, or reserved for somebody else.
    NotNow,
}

impl<T> State<T> {
    /// Puts the message in, unless the channel is closed or it is not this place's turn.
    #[inline]
    fn push(
        &mut self,
        place: &Place,
        message: &mut Option<T>,
        capacity: usize,
    ) -> Result<(), Refused> {
        if self.closed {
            return Err(Refused::Closed);
        }
        if !self.senders.may_take(place, 1, capacity - self.queue.len()) {
            return Err(Refused::NotNow);
        }
        self.queue.extend(message.take());
        Ok(())
    }

    /// Takes a message out, unless it is not this place's turn; once the channel is closed there
    /// are no turns.
    #[inline]
    fn pop(&mut self, place: &Place) -> Result<T, Refused> {
        if !self.closed && !self.receivers.may_take(place, 1, self.queue.len()) {
            return Err(Refused::NotNow);
        }
        self.queue.pop_front().ok_or(Refused::Closed)
    }
}
