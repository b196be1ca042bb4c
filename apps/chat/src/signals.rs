//! SIGINT and SIGTERM: the first asks the server to finish, the second ends the process at once.
//!
//! The second is a matter between the kernel and the handler: no thread of ours has to be alive,
//! or free, for it.

use std::{
    io::{self, Stdin, Write},
    os::{fd::AsFd, unix::net::UnixStream},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    thread,
};

use rustix::{
    event::{PollFd, PollFlags, poll},
    io::retry_on_intr,
};
use signal_hook::{
    consts::{SIGINT, SIGTERM},
    flag,
    low_level::pipe,
};

/// Calls `finish` on a thread of its own when the first signal comes, or when nobody holds the
/// other end of `leash` any more. From the call of this function on, the first signal no longer
/// ends the process by itself.
///
/// # Errors
///
/// What the operating system says when the handlers or the thread cannot be made.
pub fn on_first(
    leash: Option<Stdin>,
    finish: impl FnOnce(&'static str) + Send + 'static,
) -> io::Result<()> {
    let signalled = Arc::new(AtomicBool::new(false));
    let which = Arc::new(AtomicUsize::new(0));
    let (came, handlers) = UnixStream::pair()?;
    for signal in [SIGINT, SIGTERM] {
        // Handlers run in this order: whoever is woken sees which signal it was, and the shutdown
        // sees what an earlier signal set.
        flag::register_usize(signal, which.clone(), signal as usize)?;
        pipe::register(signal, handlers.try_clone()?)?;
        flag::register_conditional_shutdown(signal, 128 + signal, signalled.clone())?;
        flag::register(signal, signalled.clone())?;
    }
    if which.load(Relaxed) != 0 {
        // It came when only the first of its handlers was there.
        (&handlers).write_all(&[0])?;
    }
    let watch = move || {
        wait(&came, leash.as_ref());
        finish(match which.load(Relaxed) as i32 {
            SIGINT => "SIGINT",
            SIGTERM => "SIGTERM",
            _ => "standard input has closed",
        });
    };
    thread::Builder::new().name("signals".into()).spawn(watch)?;
    Ok(())
}

/// Returns when there is something to read from `came`, or the other end of `leash` is closed.
fn wait(came: &UnixStream, leash: Option<&Stdin>) {
    let mut files = vec![PollFd::new(came, PollFlags::IN)];
    // The end is reported without being asked for.
    files.extend(leash.map(|leash| PollFd::from_borrowed_fd(leash.as_fd(), PollFlags::empty())));
    // An error, for want of memory, is as good a reason to finish.
    let _ = retry_on_intr(|| poll(&mut files, None));
}
