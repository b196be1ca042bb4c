//! A descriptor whose operations wait instead of saying "would block".

use super::{Direction, Registration, current, gone};
use crate::{
    context::{
        self,
        waiting::{self, Waiting, What},
    },
    record,
};
use std::{
    fmt, io,
    mem::ManuallyDrop,
    os::fd::{AsFd, AsRawFd},
    sync::{Mutex, OnceLock},
    task::{Context, Poll, ready},
};

/// Owns a non-blocking source. Shared by reference: any number of tasks and threads may operate on
/// it at once, in both directions.
pub(crate) struct Io<T: AsFd> {
    /// Until it is closed.
    source: ManuallyDrop<T>,
    registration: OnceLock<Registration>,
    registering: Mutex<()>,
}

/// What an operation did.
pub(crate) enum Done<R> {
    /// It did all that was asked for; there may be more.
    Full(R),
    /// It came up short: the next one would block. Spares a system call to find that out.
    Short(R),
}

impl<T: AsFd> Io<T> {
    /// `source` must be in non-blocking mode.
    pub fn new(source: T) -> Self {
        Io {
            source: ManuallyDrop::new(source),
            registration: OnceLock::new(),
            registering: Mutex::new(()),
        }
    }

    pub fn get(&self) -> &T {
        &self.source
    }

    /// Tries `operation` whenever the source may be ready, until it doesn't say "would block".
    pub fn poll<R>(
        &self,
        cx: &mut Context<'_>,
        direction: Direction,
        mut operation: impl FnMut(&T) -> io::Result<Done<R>>,
    ) -> Poll<io::Result<R>> {
        ready!(context::poll_budget(cx));
        loop {
            let Some(registration) = self.registration.get() else {
                match self.attempt(&mut operation) {
                    Some(result) => return Poll::Ready(result.map(Done::into_inner)),
                    None => self.register(direction)?,
                }
                continue;
            };
            let readiness = &registration.readiness;
            let attempt = readiness.ready(direction);
            let Some(attempt) = attempt.or_else(|| readiness.wait(direction, cx.waker())) else {
                return direction.pending(&*self.source);
            };
            match self.attempt(&mut operation) {
                Some(result) => {
                    if let Ok(Done::Short(_)) = result {
                        readiness.clear(direction, attempt);
                    }
                    return Poll::Ready(result.map(Done::into_inner));
                }
                None if registration.reactor.is_closed() => return Poll::Ready(Err(gone())),
                None => readiness.clear_blocked(direction, attempt),
            }
        }
    }

    /// Waits until the source reports to be ready, without an operation that could tell: for
    /// `connect`.
    pub fn poll_ready(&self, cx: &mut Context<'_>, direction: Direction) -> Poll<io::Result<()>> {
        if self.registration.get().is_none() {
            self.register(direction)?;
        }
        let registration = self.registration.get().expect("registered above");
        let readiness = &registration.readiness;
        let attempt = readiness.ready(direction);
        match attempt.or_else(|| readiness.wait(direction, cx.waker())) {
            Some(_) if registration.reactor.is_closed() => Poll::Ready(Err(gone())),
            Some(_) => Poll::Ready(Ok(())),
            None => direction.pending(&*self.source),
        }
    }

    /// `None`: it would block.
    fn attempt<R>(
        &self,
        operation: &mut impl FnMut(&T) -> io::Result<Done<R>>,
    ) -> Option<io::Result<Done<R>>> {
        loop {
            match operation(&self.source) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return None,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => return Some(result),
            }
        }
    }

    #[cold]
    fn register(&self, blocked: Direction) -> io::Result<()> {
        let reactor = current().ok_or_else(|| {
            io::Error::other(
                "waiting for a socket outside of a bifilar runtime: use bifilar::run, \
                 bifilar::block_on or Handle::enter",
            )
        })?;
        let _one_at_a_time = self.registering.lock().unwrap();
        if self.registration.get().is_none() {
            let registration = reactor.register(self.source.as_fd(), blocked)?;
            let _ = self.registration.set(registration);
        }
        Ok(())
    }
}

impl Direction {
    /// Notes what is waited for.
    fn pending<R>(self, source: &impl AsFd) -> Poll<R> {
        let what = match self {
            Direction::Read => What::Readable,
            Direction::Write => What::Writable,
        };
        waiting::note(Waiting::on(what, source.as_fd().as_raw_fd() as u64));
        Poll::Pending
    }
}

impl<R> Done<R> {
    fn into_inner(self) -> R {
        match self {
            Done::Full(value) | Done::Short(value) => value,
        }
    }
}

impl<T: AsFd> Drop for Io<T> {
    fn drop(&mut self) {
        if let Some(registration) = self.registration.get() {
            registration.deregister(self.source.as_fd());
        }
        let fd = self.source.as_fd().as_raw_fd();
        // SAFETY: taken once, here, and not used again.
        let source = unsafe { ManuallyDrop::take(&mut self.source) };
        let _ = record::system_call("close", fd, 0, || {
            drop(source);
            Ok(())
        });
    }
}

impl<T: AsFd + fmt::Debug> fmt::Debug for Io<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.source.fmt(f)
    }
}
