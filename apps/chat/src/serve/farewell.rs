//! The end of a server whose sessions are tasks or fibers.
//!
//! ```text
//!   a signal ─► nobody is accepted ─► readers drain ─► the groups close ─► writers deliver, say
//!               any more                               when all have         goodbye, and end
//!                                                      or at the limit       or at the limit
//! ```
//!
//! So what had arrived when the signal came is taken, and what was taken is delivered. The first half
//! is over as soon as all readers had their turn, unless a client made more mistakes than it reads the
//! replies to; the second waits for clients to read. Together they take no longer than the limit of
//! the hall, the first no longer than half of it, and who made them take so long is named.

use std::{convert::Infallible, io, os::fd::AsFd, time::Instant};

use bifilar::{
    Handle, TaskKind,
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
    let _ = timeout(limit / 2, readers.recv()).await; // ends with the last sender
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

/// Does what a client had asked by now, after its reader was interrupted.
pub async fn drain(
    stream: impl AsFd,
    lines: &mut LineBuffer,
    member: &mut Member,
    notes: &Sender<Note>,
) {
    // No more than this, for a client that sends without end.
    let mut arrived = ioctl_fionread(&stream).unwrap_or(0);
    loop {
        while let Some(line) = lines.next_line() {
            match member.handle(line) {
                Outcome::Done => {}
                Outcome::Note(note) => drop(notes.send(note).await),
                Outcome::Last(note) => return drop(notes.send(note).await),
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

/// Tells the log of all readers and writers.
fn name_what_is_left() {
    let mut tasks = Handle::current().tasks();
    // Not the one that asks, nor the call that it waited for, which may be there for a moment yet.
    let myself = task::current().id();
    tasks.retain(|task| task.id() != myself && task.kind() != TaskKind::Blocking);
    for task in tasks.iter().take(MOST_LINES) {
        tracing::warn!("still there: {task}");
    }
    if let Some(more @ 1..) = tasks.len().checked_sub(MOST_LINES) {
        tracing::warn!("… and {more} more");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{groups::Groups, serve::mailbox::Mailbox};
    use std::{io::Write, num::NonZeroUsize, os::unix::net::UnixStream};

    /// What a member of "Dogs" gets when the reader of a client that has sent this is interrupted,
    /// and what is left unread.
    fn drained(read: &[u8], unread: &[u8]) -> (String, u64) {
        let (mut client, stream) = UnixStream::pair().unwrap();
        let groups = Groups::new();
        let max_line = NonZeroUsize::new(1_000).unwrap();
        let mut member = Member::new(groups.clone(), max_line);
        let mut lines = LineBuffer::new(max_line);
        lines.space()[..read.len()].copy_from_slice(read);
        lines.filled(read.len());
        client.write_all(unread).unwrap();
        let text = bifilar::block_on(async {
            let (notes, mut mailbox) = Mailbox::new(&groups);
            let writer = task::spawn(async move {
                let (mut text, mut batch) = (Vec::new(), Vec::new());
                while mailbox.next_batch(&mut batch).await {
                    text.extend_from_slice(&batch);
                }
                String::from_utf8(text).unwrap()
            });
            drain(&stream, &mut lines, &mut member, &notes).await;
            drop(notes);
            writer.await.unwrap()
        });
        (text, ioctl_fionread(&stream).unwrap())
    }

    #[test]
    fn what_had_arrived_is_done_whole_lines_only() {
        let join = "{\"Join\":{\"group_name\":\"Dogs\"}}\n";
        let post = "{\"Post\":{\"group_name\":\"Dogs\",\"message\":\"hi\"}}\n";
        let message = post.replace("Post", "Message");
        // In the buffer a line and a half; in the socket the rest, many lines, and half a line.
        let (whole, half) = (format!("{join}{}", &post[..9]), &post[9..]);
        let unread = format!("{half}{}{}", post.repeat(499), &post[..9]);
        assert_eq!(drained(whole.as_bytes(), unread.as_bytes()), (message.repeat(500), 0));
    }

    #[test]
    fn more_mistakes_than_a_mailbox_holds_are_answered() {
        let (text, left) = drained(b"", &b"?\n".repeat(500));
        assert_eq!((text.lines().count(), left), (500, 0));
        let (text, _) = drained(b"", &[b'x'; 5_000]);
        assert_eq!(text, "{\"Error\":\"Line too long: the limit is 1000 bytes\"}\n");
    }
}
