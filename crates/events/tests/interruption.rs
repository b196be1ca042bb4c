//! A signal ends a wait early, empty and without an error.

use bifilar_events::{EventQueue, Events};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread;

extern "C" fn nothing(_signal: libc::c_int) {}

#[test]
fn a_signal_ends_the_wait() {
    // SAFETY: the handler does nothing, and all zeros is a valid `sigaction` (no flags, so that
    // system calls are not restarted; an empty mask).
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = nothing as extern "C" fn(libc::c_int) as usize;
        assert_eq!(libc::sigaction(libc::SIGUSR1, &action, std::ptr::null_mut()), 0);
    }
    let queue = EventQueue::new().unwrap();
    let returned = AtomicBool::new(false);
    let (say, hear) = mpsc::channel();
    thread::scope(|scope| {
        scope.spawn(|| {
            let say = say;
            // SAFETY: asks for this thread's own number; cannot fail.
            say.send(unsafe { libc::pthread_self() }).unwrap();
            let mut events = Events::with_capacity(4);
            queue.wait(&mut events, None).unwrap();
            assert!(events.is_empty() && !events.woken());
            returned.store(true, Ordering::Release);
            hear_last(&queue);
        });
        let waiter = hear.recv().unwrap();
        // A signal that comes before the wait is lost, so it is sent until one has worked. The
        // waiter lives on until it is woken below, so its number stays valid.
        while !returned.load(Ordering::Acquire) {
            // SAFETY: the thread is alive, see above.
            unsafe { libc::pthread_kill(waiter, libc::SIGUSR1) };
            thread::yield_now();
        }
        queue.wake().unwrap();
    });
}

/// Keeps the thread alive until it is woken.
fn hear_last(queue: &EventQueue) {
    let mut events = Events::with_capacity(4);
    while !events.woken() {
        queue.wait(&mut events, None).unwrap();
    }
}
