//! The door to the operating system: the only place that says which system needs which backend.
//!
//! A backend provides these names, and everything outside is written with them alone:
//!
//! | name | what |
//! |---|---|
//! | `Backend` | the queue: `new`, `register`, `modify`, `deregister`, `wait`, `wake` |
//! | `RawEvent`, `EMPTY_EVENT` | an event as the kernel writes it, and one to fill space with |
//! | `token`, `event` | what is in a `RawEvent` |

#[cfg(target_os = "linux")]
mod epoll;
#[cfg(target_os = "linux")]
pub(crate) use epoll::{EMPTY_EVENT, Epoll as Backend, RawEvent, event, token};

#[cfg(not(target_os = "linux"))]
compile_error!("bifilar-events has a backend for Linux only (epoll)");
