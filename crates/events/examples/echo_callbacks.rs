//! Serves many clients with plain callbacks: no tasks, no futures, one thread.
//!
//! ```text
//! cargo run -p bifilar-events --example echo_callbacks -- 127.0.0.1:7001
//! ```
//!
//! prints `listening on 127.0.0.1:7001` (without an address: a free port). Talk to it with
//! `nc 127.0.0.1 7001`.
//!
//! Each client is a closure in a table, called with the events of its token. A client that
//! doesn't read its echo is not read from either, so it costs one buffer and not more.

use bifilar_events::{Event, EventQueue, Events, Interest, Mode, Token};
use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};

const LISTENER: Token = Token(0);

/// What a callback wants done after an event.
enum Next {
    Stay,
    Leave,
}

type Callback = Box<dyn FnMut(&EventQueue, Event) -> io::Result<Next>>;

fn main() -> io::Result<()> {
    let address = std::env::args().nth(1).unwrap_or("127.0.0.1:0".into());
    if address.starts_with('-') {
        println!("usage: echo_callbacks [ADDRESS]        (a free port of 127.0.0.1 without one)");
        return Ok(());
    }
    let listener = TcpListener::bind(address)?;
    println!("listening on {}", listener.local_addr()?);
    serve(listener)
}

/// Accepts and echoes until the event queue itself fails.
pub fn serve(listener: TcpListener) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let queue = EventQueue::new()?;
    queue.register(&listener, LISTENER, Interest::READABLE, Mode::Edge)?;

    let mut clients: HashMap<Token, Callback> = HashMap::new();
    let mut next_token = 1;
    let mut events = Events::with_capacity(256);
    loop {
        queue.wait(&mut events, None)?;
        let mut accept = false;
        for event in &events {
            if event.token() == LISTENER {
                accept = true;
            } else if let Some(callback) = clients.get_mut(&event.token())
                && !matches!(callback(&queue, event), Ok(Next::Stay))
            {
                clients.remove(&event.token());
                accept = true; // a place is free, in case accepting had failed for want of one
            }
        }
        while accept && let Some(stream) = accept_one(&listener) {
            let token = Token(next_token);
            next_token += 1;
            if let Ok(callback) = echo(&queue, token, stream) {
                clients.insert(token, callback);
            }
        }
    }
}

/// The next client; `None` if there is none, or no room for one until another leaves.
fn accept_one(listener: &TcpListener) -> Option<TcpStream> {
    loop {
        match listener.accept() {
            Ok((stream, _)) => return Some(stream),
            Err(error) => match error.kind() {
                io::ErrorKind::WouldBlock => return None,
                // The client gave up before it was accepted; the one behind it may not have.
                io::ErrorKind::ConnectionAborted | io::ErrorKind::Interrupted => {}
                _ => {
                    eprintln!("cannot accept: {error}");
                    return None;
                }
            },
        }
    }
}

/// Registers a client and makes the closure that serves it: one read or one write for each event,
/// so that clients take turns.
fn echo(queue: &EventQueue, token: Token, mut stream: TcpStream) -> io::Result<Callback> {
    stream.set_nonblocking(true)?;
    queue.register(&stream, token, Interest::READABLE, Mode::Level)?;
    let mut unsent: Vec<u8> = Vec::new();
    Ok(Box::new(move |queue, _event| {
        let was_behind = !unsent.is_empty();
        if !was_behind {
            let mut buffer = [0; 16 * 1024];
            match stream.read(&mut buffer) {
                Ok(0) => return Ok(Next::Leave),
                Ok(count) => unsent.extend_from_slice(&buffer[..count]),
                Err(error) if is_not_ready(&error) => return Ok(Next::Stay),
                Err(error) => return Err(error),
            }
        }
        match stream.write(&unsent) {
            Ok(count) => drop(unsent.drain(..count)),
            Err(error) if is_not_ready(&error) => {}
            Err(error) => return Err(error),
        }
        // Watch for what the next step needs: room for the rest, or else more to read.
        let is_behind = !unsent.is_empty();
        if is_behind != was_behind {
            let interest = if is_behind { Interest::WRITABLE } else { Interest::READABLE };
            queue.modify(&stream, token, interest, Mode::Level)?;
        }
        Ok(Next::Stay)
    }))
}

/// An event is a hint: not being ready after all is no failure.
fn is_not_ready(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}
