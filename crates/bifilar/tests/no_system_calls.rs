//! A fiber on a warm stack is spawned, blocks, is woken and ends without a system call of its own: all
//! that shows is the worker's look at the event queue every 61 turns.
//!
//! The kernel hands each system call of the thread to a signal handler (`PR_SET_SYSCALL_USER_DISPATCH`,
//! Linux 5.11), which counts it and then makes it.

#![cfg(target_arch = "x86_64")]

use bifilar::{Builder, Wait, fiber, sync::channel};
use std::{
    mem::zeroed,
    ptr::null_mut,
    sync::atomic::{AtomicU8, AtomicUsize, Ordering::Relaxed},
};

const ROUNDS: usize = 610;

#[test]
fn spawn_block_wake_and_end() {
    let mut counted = None;
    Builder::new().workers(1).run(|| {
        let (sender, receiver) = channel::unbounded();
        let round = || {
            let receiver = receiver.clone();
            let fiber = fiber::spawn(move || receiver.recv().wait().unwrap());
            fiber::yield_now();
            assert!(!fiber.is_finished(), "it has run, and blocks");
            sender.try_send(7).unwrap();
            assert_eq!(fiber.join().unwrap(), 7);
        };
        // The first few take their stacks from the kernel, and memory for queues.
        (0..ROUNDS).for_each(|_| round());
        counted = count_system_calls(|| (0..ROUNDS).for_each(|_| round()));
    });
    let Some(calls) = counted else {
        return eprintln!("skipped: this system doesn't hand out system calls");
    };
    // Each round has a few turns of the worker's loop.
    let (looks, others): (Vec<_>, Vec<_>) =
        calls.iter().partition(|&&(call, _)| is_epoll_wait(call));
    let looks: usize = looks.iter().map(|(_, count)| count).sum();
    assert!(others.is_empty(), "calls by number: {others:?}");
    assert!((1..=ROUNDS * 6 / 61).contains(&looks), "{looks} looks at the event queue");
}

fn is_epoll_wait(call: usize) -> bool {
    [libc::SYS_epoll_wait, libc::SYS_epoll_pwait, libc::SYS_epoll_pwait2].contains(&(call as _))
}

/// 1: hand system calls to the handler.
static SELECTOR: AtomicU8 = AtomicU8::new(0);
static CALLS: [AtomicUsize; 512] = [const { AtomicUsize::new(0) }; 512];

/// Which system calls this thread makes during `f`, by number, and how often.
fn count_system_calls(f: impl FnOnce()) -> Option<Vec<(usize, usize)>> {
    const SET_USER_DISPATCH: libc::c_int = 59;
    const ON: usize = 1;
    // SAFETY: a zeroed action is one without flags; the handler does what the call would have done.
    // The selector lives for ever.
    unsafe {
        let mut action: libc::sigaction = zeroed();
        action.sa_sigaction = pass_on as *const () as usize;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_NODEFER;
        assert_eq!(libc::sigaction(libc::SIGSYS, &action, null_mut()), 0);
        // The call by which a handler returns must not be handed to one. It stands at the address that
        // the C library gave to the kernel, and that only the kernel tells: `struct sigaction` as the
        // kernel has it is handler, flags, restorer, mask.
        let mut known = [0_usize; 4];
        libc::syscall(libc::SYS_rt_sigaction, libc::SIGSYS, null_mut::<()>(), &mut known, 8);
        let (restorer, length) = (known[2], 16_usize);
        if libc::prctl(SET_USER_DISPATCH, ON, restorer, length, SELECTOR.as_ptr()) != 0 {
            return None;
        }
    }
    SELECTOR.store(1, Relaxed);
    f();
    SELECTOR.store(0, Relaxed);
    let counts = CALLS.iter().map(|count| count.load(Relaxed)).enumerate();
    Some(counts.filter(|&(_, count)| count > 0).collect())
}

/// Counts a system call, and makes it.
extern "C" fn pass_on(_: libc::c_int, _: *mut libc::siginfo_t, context: *mut libc::c_void) {
    SELECTOR.store(0, Relaxed);
    // SAFETY: the kernel gives the registers at the call to the handler of this signal.
    let registers = unsafe { &mut (*context.cast::<libc::ucontext_t>()).uc_mcontext.gregs };
    let argument = |register: libc::c_int| registers[register as usize];
    let call = argument(libc::REG_RAX);
    CALLS[call as usize].fetch_add(1, Relaxed);
    let result: i64;
    // SAFETY: this is the call that the thread was about to make, with its arguments.
    unsafe {
        std::arch::asm!(
            "syscall",
            inlateout("rax") call => result,
            in("rdi") argument(libc::REG_RDI),
            in("rsi") argument(libc::REG_RSI),
            in("rdx") argument(libc::REG_RDX),
            in("r10") argument(libc::REG_R10),
            in("r8") argument(libc::REG_R8),
            in("r9") argument(libc::REG_R9),
            lateout("rcx") _,
            lateout("r11") _,
        );
    }
    registers[libc::REG_RAX as usize] = result;
    SELECTOR.store(1, Relaxed);
}
