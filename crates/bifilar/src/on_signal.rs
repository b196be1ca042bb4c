//! What is done when a signal comes, on a thread that may do anything.
//!
//! ```text
//!   handler ── write(2) ──► eventfd of the signal ──► its thread ──► whoever asked for it, in turn
//! ```
//!
//! A handler and a thread for each signal that somebody has asked for, until the process ends. Signals
//! that come while the thread is busy are one.

use rustix::event::{EventfdFlags, eventfd};
use std::{
    ffi::c_int,
    fs::File,
    io::{self, Read},
    mem::zeroed,
    os::fd::{AsRawFd, IntoRawFd},
    panic::{AssertUnwindSafe, catch_unwind},
    ptr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicI32, Ordering},
    },
    thread,
};

/// Linux counts its signals from 1 to 64.
const SIGNALS: usize = 65;

/// Those that the code which runs has raised itself, so that it can't go on; and the watchdog's.
const NOT_FOR_THIS: [c_int; 6] =
    [libc::SIGSEGV, libc::SIGBUS, libc::SIGFPE, libc::SIGILL, libc::SIGTRAP, libc::SIGURG];

/// `false`: it needn't be called any more.
type Act = Arc<dyn Fn() -> bool + Send + Sync>;

/// Who is called, for which signal.
static ACTS: Mutex<Vec<(c_int, Act)>> = Mutex::new(Vec::new());

/// What each handler writes to; it stays open as long as the process lives. -1: there is no handler.
static BELLS: [AtomicI32; SIGNALS] = [const { AtomicI32::new(-1) }; SIGNALS];

/// Has `act` called whenever `signal` comes, until it returns `false`. From then on the signal doesn't do
/// any more what it does by default.
///
/// # Errors
/// `InvalidInput` for a signal that can't be used so, `AlreadyExists` if the program has a handler for it;
/// what the system says when it has no descriptor or thread.
pub(crate) fn on_signal(
    signal: c_int,
    act: impl Fn() -> bool + Send + Sync + 'static,
) -> io::Result<()> {
    let bell = usize::try_from(signal).ok().and_then(|signal| BELLS.get(signal));
    let Some(bell) = bell.filter(|_| signal > 0 && !NOT_FOR_THIS.contains(&signal)) else {
        let message = format!("signal {signal} can't be used to ask for something");
        return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
    };
    let mut acts = acts();
    if bell.load(Ordering::Relaxed) == -1 {
        install(signal, bell)?;
    }
    acts.push((signal, Arc::new(act)));
    Ok(())
}

fn acts() -> MutexGuard<'static, Vec<(c_int, Act)>> {
    // Foreign code is never called under this lock.
    ACTS.lock().unwrap_or_else(PoisonError::into_inner)
}

fn install(signal: c_int, bell: &AtomicI32) -> io::Result<()> {
    let ours = File::from(eventfd(0, EventfdFlags::CLOEXEC)?);
    let heard = ours.try_clone()?;
    // Before the handler is there to look for it.
    bell.store(ours.as_raw_fd(), Ordering::Relaxed);
    let installed = install_handler(signal).and_then(|()| {
        let listen = move || {
            while (&heard).read_exact(&mut [0; 8]).is_ok() {
                act(signal);
            }
        };
        thread::Builder::new().name(format!("bifilar-signal-{signal}")).spawn(listen)?;
        Ok(())
    });
    match installed {
        // The handler may use it from now on, for ever.
        Ok(()) => _ = ours.into_raw_fd(),
        Err(_) => bell.store(-1, Ordering::Relaxed),
    }
    installed
}

fn install_handler(signal: c_int) -> io::Result<()> {
    // SAFETY: all zeroes is a valid `sigaction`, with an empty mask.
    let (mut action, mut before): (libc::sigaction, libc::sigaction) = unsafe { zeroed() };
    action.sa_sigaction = ring as extern "C" fn(c_int) as usize;
    action.sa_flags = libc::SA_RESTART | libc::SA_ONSTACK;
    // SAFETY: the handler does nothing but what a handler may, see there.
    if unsafe { libc::sigaction(signal, &action, &mut before) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let handlers = [libc::SIG_DFL, libc::SIG_IGN, action.sa_sigaction];
    if !handlers.contains(&before.sa_sigaction) {
        // SAFETY: puts back what was there.
        unsafe { libc::sigaction(signal, &before, ptr::null_mut()) };
        let message = format!("the program has a handler for signal {signal} already");
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, message));
    }
    Ok(())
}

/// write(2) may be called from a handler (signal-safety(7)), as long as errno is left as it was.
extern "C" fn ring(signal: c_int) {
    // SAFETY: the thread's own errno.
    let errno = unsafe { &mut *libc::__errno_location() };
    let before = *errno;
    let one = 1_u64.to_ne_bytes();
    let bell = BELLS[signal as usize].load(Ordering::Relaxed);
    // SAFETY: eight bytes, to a descriptor that is never closed once a handler was installed for good.
    unsafe { libc::write(bell, one.as_ptr().cast(), one.len()) };
    *errno = before;
}

/// Calls all who have asked for `signal`.
fn act(signal: c_int) {
    let asked: Vec<Act> =
        acts().iter().filter(|(of, _)| *of == signal).map(|(_, act)| act.clone()).collect();
    for act in asked {
        // One that fails must not be the last.
        let goes_on = catch_unwind(AssertUnwindSafe(|| act()));
        if let Ok(false) = goes_on {
            acts().retain(|(_, other)| !Arc::ptr_eq(other, &act));
        }
        if let Err(payload) = goes_on {
            std::mem::forget(payload);
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use std::sync::mpsc;

    #[test]
    fn each_signal_calls_its_own_until_they_have_had_enough() {
        let (sender, called) = mpsc::channel();
        let (first, second, third) = (sender.clone(), sender.clone(), sender);
        on_signal(libc::SIGRTMIN(), move || first.send("once").is_err()).unwrap();
        on_signal(libc::SIGRTMIN(), move || second.send("always").is_ok()).unwrap();
        on_signal(libc::SIGRTMIN() + 1, move || third.send("other").is_ok()).unwrap();
        let raise = |signal| {
            // SAFETY: a signal to ourselves, for which there is a handler.
            assert_eq!(unsafe { libc::raise(signal) }, 0);
        };
        let next = || called.recv().unwrap();
        raise(libc::SIGRTMIN());
        assert_eq!([next(), next()], ["once", "always"]);
        raise(libc::SIGRTMIN());
        assert_eq!(next(), "always");
        raise(libc::SIGRTMIN() + 1);
        assert_eq!(next(), "other");
    }

    #[test]
    fn signals_that_are_not_for_this() {
        for signal in [-1, 0, 65, libc::SIGSEGV, libc::SIGURG, libc::SIGKILL, libc::SIGSTOP] {
            let error = on_signal(signal, || true).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{signal}: {error}");
        }
    }

    #[test]
    fn a_handler_that_was_there_stays() {
        extern "C" fn theirs(_: c_int) {}
        let signal = libc::SIGRTMIN() + 2;
        // SAFETY: a handler that does nothing.
        unsafe { libc::signal(signal, theirs as extern "C" fn(c_int) as usize) };
        let error = on_signal(signal, || true).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists, "{error}");
        // SAFETY: as above.
        let before = unsafe { libc::signal(signal, libc::SIG_DFL) };
        assert_eq!(before, theirs as extern "C" fn(c_int) as usize);
    }
}
