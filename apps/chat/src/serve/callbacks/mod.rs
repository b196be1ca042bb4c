//! Style *callbacks*: one thread, an event queue, and for each connection a state machine that is
//! called back when its socket is ready or its groups have news.
//!
//! ```text
//!            ┌────────────────────────────────────────────────┐
//!            ▼                                                │
//!   wait for events ─► listener: accept                       │
//!                   └► connection: Connection::advance ─┐     │
//!   ready list ──────► connection: Connection::advance ─┴─────┘
//!       ▲                                 │ post
//!       └── wakers of group members ◄─────┘
//! ```
//!
//! No runtime, no tasks: the group table's wakers are made here by hand, and put a connection on
//! the [`ReadyList`]. What a connection does when it is called is in [`connection`].

mod connection;
mod ready;
mod table;

use std::{
    collections::VecDeque,
    io::{self, ErrorKind},
    net::{TcpListener, TcpStream},
    sync::Arc,
    time::{Duration, Instant},
};

use bifilar_events::{Event, EventQueue, Events, Interest, Mode, Token};

use self::{
    connection::{Connection, Next},
    ready::ReadyList,
    table::Table,
};
use super::{
    Hall, Options,
    accept::AcceptErrors,
    sessions::{CLOSE_GRACE, Farewell},
};

/// The listener's token; connections have those that the [`Table`] gives out.
const LISTENER: Token = Token(u64::MAX - 1);

/// Events taken from the queue at once.
const EVENTS: usize = 1024;

/// Connections accepted before the others get their turn.
const ACCEPTS: usize = 64;

/// How often the loop looks whether a shutdown is over.
const FAREWELL_TICK: Duration = Duration::from_millis(10);

/// Serves until the hall closes; returns how many clients were cut off.
pub fn serve(hall: &Arc<Hall>, options: &Options) -> io::Result<usize> {
    let listener = super::listen(&options.listen)?;
    listener.set_nonblocking(true)?;
    let queue = EventQueue::new()?;
    queue.register(&listener, LISTENER, Interest::READABLE, Mode::Edge)?;
    let address = listener.local_addr()?;
    let server = Server {
        hall,
        listener: &listener,
        ready: ReadyList::new(queue),
        connections: Table::new(),
        errors: AcceptErrors::default(),
        accept_at: None,
        lingering: VecDeque::new(),
    };
    hall.open(&listener, address)?;
    server.run()
}

struct Server<'a> {
    hall: &'a Hall,
    listener: &'a TcpListener,
    ready: Arc<ReadyList>,
    connections: Table<Connection>,
    errors: AcceptErrors,
    /// When to go on accepting after an error, or because others had their turn first.
    accept_at: Option<Instant>,
    /// Connections that wait for their client to close, and until when; earliest first.
    lingering: VecDeque<(Instant, Token)>,
}

impl Server<'_> {
    fn run(mut self) -> io::Result<usize> {
        let mut events = Events::with_capacity(EVENTS);
        let mut closing_since = None;
        loop {
            let timeout = self.ready.before_wait(|| self.timeout(closing_since));
            self.ready.queue().wait(&mut events, timeout)?;
            self.ready.after_wait();
            for event in &events {
                self.dispatch(event);
            }
            for token in self.ready.take() {
                self.advance(token);
            }
            self.look_at_the_clock();
            if self.hall.is_closing() {
                let since = *closing_since.get_or_insert_with(|| {
                    self.hall.groups.close();
                    Instant::now()
                });
                let limit = self.hall.shutdown_limit;
                if let Farewell::Over { cut_off } = self.hall.sessions.farewell(since, limit) {
                    return Ok(cut_off);
                }
            }
        }
    }

    /// How long nothing needs to be done unless an event comes.
    fn timeout(&self, closing_since: Option<Instant>) -> Option<Duration> {
        let linger = self.lingering.front().map(|&(until, _)| until);
        let next = [linger, self.accept_at].into_iter().flatten().min();
        let next = next.map(|time| time.saturating_duration_since(Instant::now()));
        match closing_since {
            Some(_) => Some(next.map_or(FAREWELL_TICK, |time| time.min(FAREWELL_TICK))),
            None => next,
        }
    }

    fn look_at_the_clock(&mut self) {
        if self.accept_at.is_none() && self.lingering.is_empty() {
            return;
        }
        let now = Instant::now();
        if self.accept_at.is_some_and(|time| time <= now) {
            self.accept();
        }
        while let Some((_, token)) = self.lingering.pop_front_if(|(until, _)| *until <= now) {
            self.connections.remove(token);
        }
    }

    fn dispatch(&mut self, event: Event) {
        if event.token() == LISTENER {
            self.accept();
        } else if let Some(connection) = self.connections.get_mut(event.token()) {
            connection.note_readiness(&event);
            self.advance(event.token());
        }
    }

    fn accept(&mut self) {
        self.accept_at = None;
        for _ in 0..ACCEPTS {
            let accepted = self.listener.accept();
            match accepted.and_then(|(stream, _)| self.start(stream)) {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(_) if self.hall.is_closing() => return,
                Err(error) => {
                    let pause = self.errors.pause_after(&error);
                    if !pause.is_zero() {
                        self.accept_at = Some(Instant::now() + pause);
                        return;
                    }
                }
            }
        }
        self.accept_at = Some(Instant::now());
    }

    fn start(&mut self, stream: TcpStream) -> io::Result<()> {
        let token = self.connections.next_token();
        stream.set_nonblocking(true)?;
        super::prepare(&stream);
        let both = Interest::READABLE | Interest::WRITABLE;
        self.ready.queue().register(&stream, token, both, Mode::Edge)?;
        let waker = self.ready.waker(token);
        self.connections.insert(token, Connection::new(self.hall, stream, waker));
        self.advance(token);
        Ok(())
    }

    /// Lets a connection do what it can, and arranges for its next call.
    fn advance(&mut self, token: Token) {
        let Some(connection) = self.connections.get_mut(token) else { return };
        match connection.advance() {
            Next::Wait => {}
            Next::Again => connection.wake(),
            Next::Linger => self.lingering.push_back((Instant::now() + CLOSE_GRACE, token)),
            Next::Close => self.connections.remove(token),
        }
    }
}
