//! A session as a state machine: what the other styles keep on a stack or in a future is kept in
//! fields here.
//!
//! ```text
//!             the client closed its side,            everything is
//!             or a line was too long                 written
//!   Talking ───────────────────────────► Finishing ───────────────► Lingering ──► closed
//!      │                                                                ▲   the client closed,
//!      └────────────────────────────────────────────────────────────────┘   or its time is over
//!             the groups were closed, everything is written
//! ```
//!
//! A socket that was ready stays so until it says `WouldBlock` (events report changes only).
//! While the client doesn't read, `out` is not empty, and nothing more is taken from its groups
//! and, past [`MAX_UNSENT`], nothing more from the client.

use std::{
    io::{self, ErrorKind, Read, Write},
    net::{Shutdown, TcpStream},
    task::{Context, Waker},
};

use bifilar_events::Event;

use super::super::{
    Hall,
    member::{BATCH_BYTES, IDLE_BYTES, Member, Outbox, Outcome},
    sessions::{Delivering, Open},
};
use crate::lines::LineBuffer;

/// Reads and writes in one call before the other connections get their turn.
const TURNS: usize = 16;

/// With more unsent bytes than this, no further requests are read.
const MAX_UNSENT: usize = 4 * BATCH_BYTES;

/// One client.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    readable: bool,
    writable: bool,
    phase: Phase,
    lines: LineBuffer,
    member: Member,
    outbox: Outbox,
    waker: Waker,
    out: Vec<u8>,
    /// How much of `out` is written.
    sent: usize,
    open: Option<Open>,
    delivering: Option<Delivering>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Phase {
    Talking,
    Finishing { client_closed: bool },
    Lingering,
}

/// What a connection needs after it was called.
#[derive(Debug, PartialEq)]
pub enum Next {
    /// A call when its socket or its groups have something.
    Wait,
    /// Another call soon: it was not at an end.
    Again,
    /// A call as for `Wait`, and to be closed when its time to linger is over.
    Linger,
    /// To be closed.
    Close,
}

impl Connection {
    /// A client that has just come; `waker` is to have it called.
    pub fn new(hall: &Hall, stream: TcpStream, waker: Waker) -> Self {
        let (open, delivering) = hall.sessions.enter();
        Self {
            stream,
            readable: true,
            writable: true,
            phase: Phase::Talking,
            lines: LineBuffer::new(hall.max_line),
            member: Member::new(hall.groups.clone(), hall.max_line),
            outbox: Outbox::new(&hall.groups),
            waker,
            out: Vec::new(),
            sent: 0,
            open: Some(open),
            delivering: Some(delivering),
        }
    }

    /// Has this connection called again.
    pub fn wake(&self) {
        self.waker.wake_by_ref();
    }

    /// Takes note of what the event queue says of the socket.
    pub fn note_readiness(&mut self, event: &Event) {
        self.readable |= event.is_readable() || event.is_read_closed() || event.is_error();
        self.writable |= event.is_writable() || event.is_write_closed() || event.is_error();
    }

    /// Reads and writes what can be read and written.
    pub fn advance(&mut self) -> Next {
        let was = self.phase;
        for _ in 0..TURNS {
            let moved = self.write().and_then(|wrote| Ok(wrote | self.read()?));
            match (moved, self.phase) {
                (Err(_), _) => return Next::Close,
                (Ok(true), _) => {}
                (Ok(false), Phase::Lingering) if was != Phase::Lingering => return Next::Linger,
                (Ok(false), _) => return Next::Wait,
            }
        }
        if self.phase == Phase::Lingering && was != Phase::Lingering {
            self.wake();
            return Next::Linger;
        }
        Next::Again
    }

    /// One step of writing; whether anything moved. An error ends the connection.
    fn write(&mut self) -> io::Result<bool> {
        if self.phase == Phase::Lingering {
            return Ok(false);
        }
        if self.out.is_empty() {
            self.outbox.gather(&mut Context::from_waker(&self.waker), &mut self.out);
        }
        if self.out.is_empty() && self.outbox.is_over() {
            self.outbox.say_goodbye(&mut self.out);
        }
        if self.out.is_empty() {
            if self.phase != Phase::Talking || self.outbox.is_over() {
                return self.everything_is_written();
            }
            self.out.shrink_to(IDLE_BYTES);
            return Ok(false);
        }
        if !self.writable {
            return Ok(false);
        }
        match self.stream.write(&self.out[self.sent..]) {
            Ok(count) => self.sent += count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => self.writable = false,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
        if self.sent == self.out.len() {
            self.out.clear();
            self.sent = 0;
        }
        Ok(self.writable)
    }

    fn everything_is_written(&mut self) -> io::Result<bool> {
        self.delivering = None;
        self.outbox.leave();
        self.stream.shutdown(Shutdown::Write)?;
        if self.phase == (Phase::Finishing { client_closed: true }) {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        self.phase = Phase::Lingering;
        Ok(true)
    }

    /// One step of reading; whether anything moved. An error ends the connection.
    fn read(&mut self) -> io::Result<bool> {
        let wanted = match self.phase {
            Phase::Talking => self.out.len() - self.sent < MAX_UNSENT,
            Phase::Finishing { .. } => false,
            Phase::Lingering => true,
        };
        if !wanted || !self.readable {
            return Ok(false);
        }
        if self.phase == Phase::Lingering {
            return self.discard();
        }
        match self.stream.read(self.lines.space()) {
            Ok(0) => self.finish(true),
            Ok(count) => {
                self.lines.filled(count);
                self.handle_lines();
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => self.readable = false,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            // The client reset the connection; nothing can be sent to it either.
            Err(error) => return Err(error),
        }
        Ok(self.readable)
    }

    fn handle_lines(&mut self) {
        while let Some(line) = self.lines.next_line() {
            match self.member.handle(line) {
                Outcome::Done => {}
                Outcome::Note(note) => self.outbox.take(note, &mut self.out),
                Outcome::Last(note) => {
                    self.outbox.take(note, &mut self.out);
                    return self.finish(false);
                }
            }
        }
    }

    /// The client asks for nothing more, or is not heard any more.
    fn finish(&mut self, client_closed: bool) {
        self.phase = Phase::Finishing { client_closed };
        self.open = None;
        self.outbox.finish();
    }

    /// Reads and forgets; an error when the client has closed.
    fn discard(&mut self) -> io::Result<bool> {
        let mut bytes = [0; 4096];
        match self.stream.read(&mut bytes) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => self.readable = false,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
        Ok(self.readable)
    }
}
