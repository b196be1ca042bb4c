//! A session in blocking style: plain [`Read`] and [`Write`], and no word about whether it is a
//! thread that blocks or a fiber that waits. Threads and fibers run this very code.
//!
//! Each session has a reading half and a writing half with a [`Mailbox`] between them, so a
//! client that doesn't read holds up nobody but itself.
//!
//! How a session ends: the client closes, or breaks the rules, and the reading half ends first;
//! or the server shuts down, or the client is gone, and the writing half ends first. Either way
//! the other half follows. Where the reading half can be interrupted (in a fiber), a server that
//! shuts down has it [`drain`](Reader::drain) first, so that what has arrived is taken.

use std::{
    io::{self, ErrorKind, Read, Write},
    net::Shutdown,
    os::fd::AsFd,
    sync::Arc,
};

use bifilar::{
    Wait,
    sync::{CancelToken, channel::Sender},
    until,
};

use super::{
    Hall, farewell,
    mailbox::Mailbox,
    member::{Member, Note, Outcome},
    sessions::{Delivering, Open},
};
use crate::lines::LineBuffer;

/// A connection that any number of threads or fibers may read and write through `&`.
pub trait Socket: AsFd + Send + Sync + 'static {
    /// Shuts one or both directions down.
    fn shutdown(&self, how: Shutdown) -> io::Result<()>;

    /// Reads and forgets until the client closes, for
    /// [`CLOSE_GRACE`](super::sessions::CLOSE_GRACE) at most.
    fn discard(&self);
}

/// The server is to end.
#[derive(Debug)]
pub struct Interrupted;

/// The reading half.
#[derive(Debug)]
pub struct Reader<S> {
    stream: Arc<S>,
    lines: LineBuffer,
    member: Member,
    notes: Sender<Note>,
    closing: CancelToken,
    _open: Open,
}

/// The writing half.
#[derive(Debug)]
pub struct Writer<S> {
    stream: Arc<S>,
    mailbox: Mailbox,
    _delivering: Delivering,
}

/// The two halves of a new session.
pub fn split<S: Socket>(hall: &Hall, stream: S) -> (Reader<S>, Writer<S>) {
    let stream = Arc::new(stream);
    let (open, delivering) = hall.sessions.enter();
    let (notes, mailbox) = Mailbox::new(&hall.groups);
    let reader = Reader {
        stream: stream.clone(),
        lines: LineBuffer::new(hall.max_line),
        member: Member::new(hall.groups.clone(), hall.max_line),
        notes,
        closing: hall.closing.clone(),
        _open: open,
    };
    (reader, Writer { stream, mailbox, _delivering: delivering })
}

impl<S: Socket> Reader<S>
where
    for<'a> &'a S: Read,
{
    /// Does what the client asks until it closes or has to be closed. Where reading can be interrupted,
    /// that is also the end; the client may have asked more by then.
    pub fn run(&mut self) -> Result<(), Interrupted> {
        while let Ok(1..) = self.read()? {
            while let Some(line) = self.lines.next_line() {
                match self.member.handle(line) {
                    Outcome::Done => {}
                    // Without a writing half the session is ending: nobody to tell.
                    Outcome::Note(note) => drop(self.notes.send(note).wait()),
                    Outcome::Last(note) => {
                        drop(self.notes.send(note).wait());
                        self.notes.close(); // the writing half says it and ends
                        self.stream.discard();
                        let _ = self.stream.shutdown(Shutdown::Both);
                        return Ok(());
                    }
                }
            }
        }
        Ok(())
    }

    /// Reads what there is; 0 at the end. Waits no longer than until the server is to end, if waiting
    /// is the runtime's: no thread is interrupted.
    fn read(&mut self) -> Result<io::Result<usize>, Interrupted> {
        until(self.closing.cancelled(), || {
            loop {
                match (&*self.stream).read(self.lines.space()) {
                    Err(error) if error.kind() == ErrorKind::Interrupted => {}
                    read => return read.inspect(|&count| self.lines.filled(count)),
                }
            }
        })
        .map_err(|()| Interrupted)
    }

    /// After an interruption: does what the client had asked by then.
    pub fn drain(&mut self) {
        farewell::drain(&*self.stream, &mut self.lines, &mut self.member, &self.notes).wait();
    }

    /// Reads and forgets until the client closes. The writing half goes on meanwhile.
    pub fn linger(self) {
        let mut bytes = [0; 4096];
        while let Ok(1..) = (&*self.stream).read(&mut bytes) {}
    }
}

impl<S: Socket> Writer<S>
where
    for<'a> &'a S: Write,
{
    /// Sends what the client is to be told until there will be no more.
    pub fn run(mut self) {
        let mut batch = Vec::new();
        while self.mailbox.next_batch(&mut batch).wait() {
            if (&*self.stream).write_all(&batch).is_err() {
                let _ = self.stream.shutdown(Shutdown::Both); // the reading half sees the end
                return;
            }
        }
        let _ = self.stream.shutdown(Shutdown::Write);
    }
}
