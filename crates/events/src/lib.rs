//! The operating system's event queue: register file descriptors, wait until some of them are
//! ready, and be woken from another thread.
//!
//! ```text
//!  register(source, token, interest, mode)          wake(), from any thread
//!        │                                                │
//!        ▼                                                ▼
//!  ┌───────────────── EventQueue (epoll) ──────────────────────┐
//!  │  watched: token 1 ─ socket   token 2 ─ pipe   the waker   │
//!  └──────────────────────────┬────────────────────────────────┘
//!                             │ wait(&mut events, timeout)
//!                             ▼
//!         Events: [ Event { token 2, readable }, … ]   woken: yes / no
//! ```
//!
//! The queue reports *readiness*: a read or write that is tried now is worth trying. It moves no
//! bytes itself, keeps no table of what is registered (the kernel does), starts no thread, never
//! reads a clock, and knows nothing of futures: a reactor, or a table of callbacks as in
//! `examples/echo_callbacks.rs`, is built on top of it.
//!
//! # Example
//!
//! ```
//! use bifilar_events::{EventQueue, Events, Interest, Mode, Token};
//! use std::io::Write;
//! use std::os::unix::net::UnixStream;
//!
//! # fn main() -> std::io::Result<()> {
//! let (mut near, far) = UnixStream::pair()?;
//! let queue = EventQueue::new()?;
//! queue.register(&far, Token(7), Interest::READABLE, Mode::Edge)?;
//!
//! near.write_all(b"hello")?;
//!
//! let mut events = Events::with_capacity(64);
//! queue.wait(&mut events, None)?;
//! let event = events.iter().next().unwrap();
//! assert_eq!(event.token(), Token(7));
//! assert!(event.is_readable());
//! # Ok(())
//! # }
//! ```
#![deny(unsafe_code)] // backend/epoll.rs opts out for one system call, with its reason

mod backend;
mod event;
mod interest;
mod queue;

pub use event::{Event, Events, Iter};
pub use interest::{Interest, Mode, Token};
pub use queue::EventQueue;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
