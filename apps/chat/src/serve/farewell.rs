//! The end of a server whose sessions are tasks or fibers.
//!
//! ```text
//!   a signal ─► nobody is accepted ─► readers drain ─► the groups close ─► writers deliver, say
//!               any more                               when all have         goodbye, and end
//!                                                      or at the limit       or at the limit
//! ```
//!
//! So what had arrived when the signal came is taken, and what was taken is delivered. A reader that
//! drains waits for nobody, so the first half is over as soon as all of them had their turn, whatever
//! clients do; the second waits for clients to read. Both together take no longer than the limit of
//! the hall, and who made them take so long is named.

use std::{convert::Infallible, io, os::fd::AsFd, time::Instant};

use bifilar::{
    Handle,
    sync::channel::{Receiver, Sender},
    task,
    time::timeout,
    unblock,
};
use rustix::{
    io::ioctl_fionread,
    net::{RecvFlags, recv},
};

use super::{
    Hall,
    member::{Member, Note, Outcome},
};
use crate::lines::LineBuffer;

/// As many tasks are named in the log.
const MOST_LINES: usize = 20;

/// Waits until everything is delivered, or the limit has passed; returns how many clients were cut
/// off. Each reader holds a sender for `readers` until it has drained.
pub async fn deliver(hall: &Hall, readers: Receiver<Infallible>) -> io::Result<usize> {
    let since = Instant::now();
    let limit = hall.shutdown_limit;
    let _ = timeout(limit, readers.recv()).await; // nothing is sent: it ends with the last sender
    hall.groups.close();
    let sessions = hall.sessions.clone();
    let left = limit.saturating_sub(since.elapsed());
    let over = unblock(move || sessions.wait_until_over(left)).await;
    let cut_off = over.map_err(io::Error::other)?;
    if cut_off > 0 {
        name_what_is_left();
    }
    Ok(cut_off)
}

/// Does what a client had asked by now, after its reader was interrupted. It waits for nothing, not
/// even for the writing half: of a client that doesn't read the replies no more is taken.
pub fn drain(stream: impl AsFd, lines: &mut LineBuffer, member: &mut Member, notes: &Sender<Note>) {
    // No more than this, for a client that sends without end.
    let mut arrived = ioctl_fionread(&stream).unwrap_or(0);
    loop {
        while let Some(line) = lines.next_line() {
            let taken = match member.handle(line) {
                Outcome::Done => true,
                Outcome::Note(note) => notes.try_send(note).is_ok(),
                Outcome::Last(note) => {
                    let _ = notes.try_send(note);
                    false
                }
            };
            if !taken {
                return;
            }
        }
        if arrived == 0 {
            return;
        }
        match recv(&stream, lines.space(), RecvFlags::DONTWAIT) {
            Ok((count @ 1.., _)) => {
                lines.filled(count);
                arrived = arrived.saturating_sub(count as u64);
            }
            _ => return,
        }
    }
}

/// Tells the log of all tasks but the one that asks.
fn name_what_is_left() {
    let mut tasks = Handle::current().tasks();
    tasks.retain(|task| task.id() != task::current().id());
    for task in tasks.iter().take(MOST_LINES) {
        tracing::warn!("still there: {task}");
    }
    if let Some(more @ 1..) = tasks.len().checked_sub(MOST_LINES) {
        tracing::warn!("… and {more} more");
    }
}
