//! SIGQUIT: a dump on stderr, for whoever sits at the terminal (Ctrl-\\) or knows the process number.
//!
//! The handler writes to an eventfd; a thread reads there, and asks for the dumps. There is one of each
//! for the process, from the first runtime on that wants it.

use super::Handle;
use crate::{scheduler::Shared, wait::Wait};
use rustix::event::{EventfdFlags, eventfd};
use std::{
    fs::File,
    io::{self, Read, Write},
    os::fd::{AsRawFd, IntoRawFd},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex, Weak,
        atomic::{AtomicI32, Ordering},
    },
    thread,
};

/// The runtimes that are dumped.
static RUNTIMES: Mutex<Vec<Weak<Shared>>> = Mutex::new(Vec::new());

/// What the handler writes to; it stays open as long as the process lives.
static BELL: AtomicI32 = AtomicI32::new(-1);

/// Has `shared` dumped whenever SIGQUIT comes.
pub(super) fn dump(shared: &Arc<Shared>) -> io::Result<()> {
    let mut runtimes = RUNTIMES.lock().unwrap();
    if BELL.load(Ordering::Relaxed) == -1 {
        install()?;
    }
    runtimes.retain(|runtime| runtime.strong_count() > 0);
    runtimes.push(Arc::downgrade(shared));
    Ok(())
}

fn install() -> io::Result<()> {
    let bell = File::from(eventfd(0, EventfdFlags::CLOEXEC)?);
    let mut heard = bell.try_clone()?;
    let listen = move || {
        while heard.read_exact(&mut [0; 8]).is_ok() {
            dump_all();
        }
    };
    thread::Builder::new().name("bifilar-sigquit".into()).spawn(listen)?;
    // Before the handler is there to look for it.
    BELL.store(bell.as_raw_fd(), Ordering::Relaxed);
    // SAFETY: all zeroes is a valid `sigaction`, with an empty mask.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = ring as extern "C" fn(libc::c_int) as usize;
    action.sa_flags = libc::SA_RESTART | libc::SA_ONSTACK;
    // SAFETY: the handler does nothing but what a handler may, see there.
    if unsafe { libc::sigaction(libc::SIGQUIT, &action, std::ptr::null_mut()) } != 0 {
        BELL.store(-1, Ordering::Relaxed);
        return Err(io::Error::last_os_error());
    }
    // The handler may use it from now on, for ever.
    let _ = bell.into_raw_fd();
    Ok(())
}

/// write(2) may be called from a handler (signal-safety(7)), as long as errno is left as it was.
extern "C" fn ring(_: libc::c_int) {
    // SAFETY: the thread's own errno.
    let errno = unsafe { &mut *libc::__errno_location() };
    let before = *errno;
    let one = 1_u64.to_ne_bytes();
    // SAFETY: eight bytes, to a descriptor that is never closed.
    unsafe { libc::write(BELL.load(Ordering::Relaxed), one.as_ptr().cast(), one.len()) };
    *errno = before;
}

fn dump_all() {
    let runtimes: Vec<_> = RUNTIMES.lock().unwrap().iter().filter_map(Weak::upgrade).collect();
    for shared in runtimes {
        // One that fails must not be the last.
        let dumped = catch_unwind(AssertUnwindSafe(|| {
            let dump = Handle::new(shared).dump().wait();
            // Nobody can be told that stderr is closed.
            let _ = writeln!(io::stderr(), "{dump}");
        }));
        drop(dumped);
    }
}
