//! The event queue over Linux's `epoll`, with an `eventfd` as the waker.
//!
//! # The waker: why no wake-up is lost
//!
//! The eventfd is registered edge-triggered and never read. Each write to it makes the kernel put
//! it on the epoll's ready list (once, if it is there already), and a report takes it off. So
//! being on the list *is* the pending wake-up; there is no counter to drain, and a wake-up costs
//! one system call in all: the write.
//!
//! Writes between one report and the next are coalesced by `rung`, so that a crowd of wakers makes
//! one system call:
//!
//! ```text
//!                    wake(): swap → true, then write to the eventfd
//!            ┌──────────────────────────────────────────────────────┐
//!            │                                                      ▼
//!       rung = false                                           rung = true ─┐ wake(): swap → true,
//!            ▲                                                      │   ▲   │ was true: no write
//!            └──────────────────────────────────────────────────────┘   └───┘
//!                    wait(): got the waker's event, swap → false
//! ```
//!
//! Let W be a call of `wake`, and take the total order of the swaps on `rung`:
//!
//! - W's swap found `false`: W writes after it. Its write puts the eventfd on the list, where it
//!   stays until a wait reports it. That wait returns, after W began.
//! - W's swap found `true`: some earlier waker V turned it true, and no wait has swapped it back
//!   yet. V's write either is still to come or has put the eventfd on the list; either way a wait
//!   will report it, swap `rung` to `false` and return, and that swap comes after W's.
//!
//! A report can come from V's write and its swap still be preceded by another report: V swaps,
//! and is delayed before its write; nothing was written since the last report, so there is none.
//! With several threads in `wait`, each report belongs to one write, and there is one write for
//! each change of `rung` from false to true, so reports and changes back alternate one to one.
//!
//! Both swaps are `AcqRel`: what a thread did before `wake` is seen by the thread whose `wait`
//! says `woken`, in the second case through `rung` itself.
//!
//! # Timeouts
//!
//! `epoll_pwait2` (Linux 5.11) takes nanoseconds. Where it is missing (an older kernel, a filter,
//! an emulator) `epoll_pwait` is used, rounded up to whole milliseconds. Neither returns early
//! unless interrupted.
#![allow(unsafe_code)] // rustix chooses between the two waits when it is compiled, not when run

use crate::event::Readiness;
use crate::{Event, Interest, Mode, Token};
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::event::{EventfdFlags, eventfd};
use rustix::fd::{AsRawFd, BorrowedFd, OwnedFd};
use rustix::io::Errno;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

pub(crate) type RawEvent = libc::epoll_event;

pub(crate) const EMPTY_EVENT: RawEvent = RawEvent { events: 0, u64: 0 };

pub(crate) struct Epoll {
    epoll: OwnedFd,
    waker: OwnedFd,
    /// True from the call of `wake` that writes until the wait that reports it.
    rung: AtomicBool,
}

impl Epoll {
    pub(crate) fn new() -> io::Result<Self> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        let waker = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let data = EventData::new_u64(Token::RESERVED.0);
        epoll::add(&epoll, &waker, data, EventFlags::IN | EventFlags::ET)?;
        Ok(Self { epoll, waker, rung: AtomicBool::new(false) })
    }

    pub(crate) fn register(
        &self,
        source: BorrowedFd<'_>,
        token: Token,
        interest: Interest,
        mode: Mode,
    ) -> io::Result<()> {
        Ok(epoll::add(&self.epoll, source, EventData::new_u64(token.0), flags(interest, mode))?)
    }

    pub(crate) fn modify(
        &self,
        source: BorrowedFd<'_>,
        token: Token,
        interest: Interest,
        mode: Mode,
    ) -> io::Result<()> {
        Ok(epoll::modify(&self.epoll, source, EventData::new_u64(token.0), flags(interest, mode))?)
    }

    pub(crate) fn deregister(&self, source: BorrowedFd<'_>) -> io::Result<()> {
        Ok(epoll::delete(&self.epoll, source)?)
    }

    /// Fills the front of `buffer` and says how far; zero when time is up or on a signal.
    pub(crate) fn wait(
        &self,
        buffer: &mut [RawEvent],
        timeout: Option<Duration>,
    ) -> io::Result<usize> {
        let found = match timeout {
            None => epoll_wait(&self.epoll, buffer, -1),
            Some(Duration::ZERO) => epoll_wait(&self.epoll, buffer, 0),
            Some(timeout) => self.wait_until_over(buffer, timeout),
        };
        match found {
            Ok(len) => {
                if buffer[..len].iter().any(|raw| token(raw) == Token::RESERVED) {
                    // AcqRel, partner of the swap in `wake`: see the module's head.
                    self.rung.swap(false, Ordering::AcqRel);
                }
                Ok(len)
            }
            Err(Errno::INTR) => Ok(0),
            Err(error) => Err(error.into()),
        }
    }

    pub(crate) fn wake(&self) -> io::Result<()> {
        // AcqRel, partner of the swap in `wait`: see the module's head.
        if self.rung.swap(true, Ordering::AcqRel) {
            return Ok(());
        }
        match ring(&self.waker) {
            // The counter is full after 2^64 - 2 writes. Only then is it emptied.
            Err(Errno::AGAIN) => {
                rustix::io::read(&self.waker, &mut [0; 8])?;
                Ok(ring(&self.waker)?)
            }
            result => Ok(result?),
        }
    }

    /// Waits with the resolution of the kernel's timers, or of a millisecond where it must.
    fn wait_until_over(&self, buffer: &mut [RawEvent], timeout: Duration) -> Result<usize, Errno> {
        /// Set by the first call that is refused. Relaxed: nothing else depends on it.
        static REFUSED: AtomicBool = AtomicBool::new(false);

        if !REFUSED.load(Ordering::Relaxed) {
            match epoll_pwait2(&self.epoll, buffer, timeout) {
                Err(Errno::NOSYS | Errno::PERM) => REFUSED.store(true, Ordering::Relaxed),
                result => return result,
            }
        }
        epoll_wait(&self.epoll, buffer, milliseconds(timeout))
    }
}

/// Rounded up, and 24 days at most.
fn milliseconds(timeout: Duration) -> libc::c_int {
    let ms = timeout.as_nanos().div_ceil(1_000_000);
    libc::c_int::try_from(ms).unwrap_or(libc::c_int::MAX)
}

fn ring(waker: &OwnedFd) -> Result<(), Errno> {
    rustix::io::write(waker, &1_u64.to_ne_bytes()).map(drop)
}

fn epoll_wait(
    epoll: &OwnedFd,
    buffer: &mut [RawEvent],
    timeout_ms: libc::c_int,
) -> Result<usize, Errno> {
    // SAFETY: the kernel writes at most `room(buffer)` events into memory that is borrowed
    // mutably for the call and as long as that.
    let found = unsafe {
        libc::epoll_wait(epoll.as_raw_fd(), buffer.as_mut_ptr(), room(buffer), timeout_ms)
    };
    outcome(found.into())
}

fn epoll_pwait2(
    epoll: &OwnedFd,
    buffer: &mut [RawEvent],
    timeout: Duration,
) -> Result<usize, Errno> {
    /// `struct __kernel_timespec`, 64 bits wide on every architecture.
    #[repr(C)]
    struct KernelTimespec {
        tv_sec: i64,
        tv_nsec: i64,
    }

    let timeout = KernelTimespec {
        tv_sec: i64::try_from(timeout.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: timeout.subsec_nanos().into(),
    };
    // SAFETY: the kernel writes at most `room(buffer)` events into memory that is borrowed
    // mutably for the call and as long as that; it only reads the timeout; where there is no
    // signal mask it doesn't look at the mask's size.
    let found = unsafe {
        libc::syscall(
            libc::SYS_epoll_pwait2,
            epoll.as_raw_fd(),
            buffer.as_mut_ptr(),
            room(buffer),
            &raw const timeout,
            std::ptr::null::<libc::sigset_t>(),
            0_usize,
        )
    };
    outcome(found)
}

/// How many events the kernel may write; it refuses absurd numbers, and needs no such.
fn room(buffer: &[RawEvent]) -> libc::c_int {
    buffer.len().min(1 << 20) as libc::c_int
}

/// Tells a count from an error, which is in `errno` then.
fn outcome(found: libc::c_long) -> Result<usize, Errno> {
    usize::try_from(found).map_err(|_| {
        let error = io::Error::last_os_error();
        Errno::from_io_error(&error).unwrap_or(Errno::INVAL)
    })
}

fn flags(interest: Interest, mode: Mode) -> EventFlags {
    let mut flags = match mode {
        Mode::Edge => EventFlags::ET,
        Mode::Level => EventFlags::empty(),
        Mode::OneShot => EventFlags::ONESHOT,
    };
    if interest.contains(Interest::READABLE) {
        flags |= EventFlags::IN | EventFlags::RDHUP;
    }
    if interest.contains(Interest::WRITABLE) {
        flags |= EventFlags::OUT;
    }
    if interest.contains(Interest::PRIORITY) {
        flags |= EventFlags::PRI;
    }
    flags
}

pub(crate) fn token(raw: &RawEvent) -> Token {
    Token(raw.u64)
}

pub(crate) fn event(raw: &RawEvent) -> Event {
    let flags = EventFlags::from_bits_retain(raw.events);
    let answers = [
        (EventFlags::IN, Readiness::READABLE),
        (EventFlags::OUT, Readiness::WRITABLE),
        (EventFlags::RDHUP, Readiness::READ_CLOSED),
        (EventFlags::HUP, Readiness::READ_CLOSED | Readiness::WRITE_CLOSED),
        (EventFlags::ERR, Readiness::ERROR | Readiness::WRITE_CLOSED),
        (EventFlags::PRI, Readiness::PRIORITY),
    ];
    let readiness = answers
        .iter()
        .filter(|(flag, _)| flags.contains(*flag))
        .fold(0, |bits, (_, answer)| bits | answer);
    Event { token: token(raw), readiness: Readiness(readiness) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn milliseconds_are_rounded_up_and_bounded() {
        let cases = [
            (Duration::from_nanos(1), 1),
            (Duration::from_millis(1), 1),
            (Duration::new(1, 1), 1_001),
            (Duration::from_millis(i32::MAX as u64), i32::MAX),
            (Duration::from_millis(1 << 31), i32::MAX),
            (Duration::MAX, i32::MAX),
        ];
        for (timeout, expected) in cases {
            assert_eq!(milliseconds(timeout), expected, "{timeout:?}");
        }
    }

    #[test]
    fn a_full_counter_is_emptied_and_rung_again() {
        let queue = Epoll::new().unwrap();
        rustix::io::write(&queue.waker, &(u64::MAX - 1).to_ne_bytes()).unwrap();
        let mut buffer = [EMPTY_EVENT; 4];
        assert_eq!(queue.wait(&mut buffer, None).unwrap(), 1);
        for _ in 0..2 {
            queue.wake().unwrap();
            assert_eq!(queue.wait(&mut buffer, Some(Duration::ZERO)).unwrap(), 1);
        }
    }
}
