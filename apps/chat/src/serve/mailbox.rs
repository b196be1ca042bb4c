//! An [`Outbox`] at the far end of a channel, for the styles in which one thread, fiber or task
//! reads a connection and another writes it.
//!
//! The channel is short: a client that keeps sending mistakes without reading the replies stops
//! being read. Messages from groups don't pass through it.

use std::{
    future::poll_fn,
    sync::Arc,
    task::{Context, Poll},
};

use bifilar::sync::channel::{self, Receiver, Sender};
use futures_util::StreamExt;

use super::member::{BATCH_BYTES, IDLE_BYTES, Note, Outbox};
use crate::groups::Groups;

/// Notes that may wait for the writing half before the reading half waits too.
const MAX_NOTES: usize = 16;

/// What a client is to be told, notes included.
#[derive(Debug)]
pub struct Mailbox {
    /// None once the reading half is gone.
    notes: Option<Receiver<Note>>,
    outbox: Outbox,
}

impl Mailbox {
    /// A mailbox, and the sender through which the reading half puts its notes in.
    pub fn new(groups: &Arc<Groups>) -> (Sender<Note>, Self) {
        let (sender, notes) = channel::bounded(MAX_NOTES);
        (sender, Self { notes: Some(notes), outbox: Outbox::new(groups) })
    }

    /// Waits until there is something to send and fills `batch` with it, one write's worth at
    /// most. False when nothing more will come: the reading half is gone, or the table of groups
    /// was closed, and everything taken until then was handed out, with a goodbye at its end.
    pub async fn next_batch(&mut self, batch: &mut Vec<u8>) -> bool {
        batch.clear();
        poll_fn(|cx| self.poll_batch(cx, batch)).await
    }

    fn poll_batch(&mut self, cx: &mut Context<'_>, batch: &mut Vec<u8>) -> Poll<bool> {
        self.poll_notes(cx, batch);
        self.outbox.gather(cx, batch);
        if self.outbox.is_over() {
            // A group may have been joined just before the closing.
            self.poll_notes(cx, batch);
            self.outbox.gather(cx, batch);
        }
        let over = self.notes.is_none() || self.outbox.is_over();
        if batch.is_empty() && over {
            self.outbox.say_goodbye(batch);
        }
        if !batch.is_empty() {
            Poll::Ready(true)
        } else if over {
            Poll::Ready(false)
        } else {
            batch.shrink_to(IDLE_BYTES);
            Poll::Pending
        }
    }

    fn poll_notes(&mut self, cx: &mut Context<'_>, batch: &mut Vec<u8>) {
        while batch.len() < BATCH_BYTES {
            let Some(notes) = &mut self.notes else { return };
            match notes.poll_next_unpin(cx) {
                Poll::Ready(Some(note)) => self.outbox.take(note, batch),
                Poll::Ready(None) => {
                    self.notes = None;
                    self.outbox.finish();
                }
                Poll::Pending => return,
            }
        }
    }
}
