//! Overflow: says who ran off its stack, and ends the process.
//!
//! ```text
//!  SIGSEGV, SIGBUS ──► handler, on the thread's alternate stack
//!     │
//!     ├─ at a guard of ours, and the thread stands on that very stack
//!     │      ──► one line that names who it was, one that helps, abort
//!     └─ anywhere else
//!            ──► whoever handled the signal before us, std's own handler for example
//! ```
//!
//! The handler is installed with the first slab. A program that installs one of its own later has
//! the last word. The line is what std says of threads: the process can't go on, since what stands
//! on the stack can't be unwound without a stack.
//!
//! - *Recognition*: slabs are noted in a list that only grows, so the handler walks it without a
//!   lock. A wild pointer that hits the guard of another stack is not an overflow; the stack pointer
//!   tells the two apart.
//! - *In the handler* nothing is allocated, nothing locked, and 2 KiB of stack are enough. It writes
//!   to the standard error stream by `write`, nothing else.
//! - *The alternate stack*: std gives one to its threads, but not to those that C started, nor in
//!   programs whose `main` isn't Rust's. [`prepare_thread`] makes up for that.
//!
//! What it does not do: know schedulers. One says who runs here by [`describe_overflows`].

use core::{
    cell::{Cell, OnceCell},
    ffi::{c_int, c_void},
    fmt::{self, Write},
    mem::{MaybeUninit, zeroed},
    ptr::{self, NonNull, null_mut},
    sync::atomic::{AtomicPtr, Ordering},
};
use std::sync::{Once, OnceLock};

use super::{Stack, guard};
use crate::arch;

/// What the handler finds out, for who can tell whose stack it was. See [`describe_overflows`].
#[derive(Debug)]
pub struct Overflow {
    slot: usize,
    bits: u32,
}

impl Overflow {
    /// Whether it is `stack` that overflowed.
    pub fn is_of(&self, stack: &Stack) -> bool {
        stack.start().as_ptr().addr() == self.slot
    }
}

/// Says who stands on a stack that overflowed; see [`describe_overflows`].
pub type Describe = fn(&Overflow, &mut Line) -> Option<&'static str>;

static DESCRIBE: OnceLock<Describe> = OnceLock::new();

/// Lets a scheduler say who stands on a stack that overflowed. The first caller counts.
///
/// `describe` runs on the thread that overflowed, within the signal handler: it must neither
/// allocate nor lock, nor use more than 1 KiB of stack. It writes who it was, which becomes the
/// beginning of the message, and gives a hint for the next line; or writes nothing and gives `None`.
///
/// ```
/// use bifilar_coroutine::stack;
/// use std::fmt::Write;
///
/// stack::describe_overflows(|_overflow, line| {
///     let _ = line.write_str("the parser");
///     Some("the grammar must not recurse so deeply")
/// });
/// // the parser overflowed its 256 KiB stack
/// // help: the grammar must not recurse so deeply
/// ```
pub fn describe_overflows(describe: Describe) {
    let _ = DESCRIBE.set(describe);
}

/// Sees to it that an overflow on this thread can be reported: gives the thread an alternate signal
/// stack, for as long as it lives, if it has none.
///
/// [`Coroutine`](crate::Coroutine) calls it; schedulers that switch by [`raw`](crate::raw) call it
/// on each of their threads. Where there is no memory for an alternate stack an overflow ends the
/// process without a message.
///
/// ```
/// bifilar_coroutine::stack::prepare_thread();
/// ```
#[inline]
pub fn prepare_thread() {
    thread_local! {
        static PREPARED: Cell<bool> = const { Cell::new(false) };
    }
    if !PREPARED.replace(true) {
        AlternateStack::install_if_missing();
    }
}

/// Text on its way to the standard error stream: written in one piece if it isn't very long.
pub struct Line {
    buffer: [u8; 256],
    length: usize,
}

impl Line {
    fn flush(&mut self) {
        let mut rest = &self.buffer[..self.length];
        while !rest.is_empty() {
            // SAFETY: the pointer and the length are those of a slice.
            match unsafe { libc::write(libc::STDERR_FILENO, rest.as_ptr().cast(), rest.len()) } {
                written @ 1.. => rest = &rest[written as usize..],
                // Nobody listens. An interruption counts as that: signals of our kinds are held off.
                _ => break,
            }
        }
        self.length = 0;
    }
}

impl Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut bytes = text.as_bytes();
        while !bytes.is_empty() {
            if self.length == self.buffer.len() {
                self.flush();
            }
            let room = &mut self.buffer[self.length..];
            let (now, later) = bytes.split_at(bytes.len().min(room.len()));
            room[..now.len()].copy_from_slice(now);
            self.length += now.len();
            bytes = later;
        }
        Ok(())
    }
}

impl fmt::Debug for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Line").finish_non_exhaustive()
    }
}

/// The size of a stack: a power of two, so a whole number of the largest unit that fits.
struct Size(usize);

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (shift, unit) = match self.0.ilog2() {
            30.. => (30, "GiB"),
            20.. => (20, "MiB"),
            _ => (10, "KiB"),
        };
        write!(f, "{} {unit}", self.0 >> shift)
    }
}

/// What the handler knows of a slab. Never freed.
struct Slab {
    start: usize,
    bytes: usize,
    bits: u32,
    next: *const Slab,
}

/// The slab that was noted last.
static SLABS: AtomicPtr<Slab> = AtomicPtr::new(null_mut());

/// Notes `bytes` of slots of `1 << bits` bytes each, from `start` on, before the first is used.
pub(super) fn note(start: NonNull<u8>, bytes: usize, bits: u32) {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(install);
    let start = start.as_ptr().addr();
    let slab = Box::leak(Box::new(Slab { start, bytes, bits, next: ptr::null() }));
    let mut head = SLABS.load(Ordering::Relaxed);
    loop {
        slab.next = head;
        // Release: pairs with the Acquire of `guard_at`, who reads what was written above.
        match SLABS.compare_exchange_weak(head, slab, Ordering::Release, Ordering::Relaxed) {
            Ok(_) => return,
            Err(now) => head = now,
        }
    }
}

/// The slot that `address` lies in, if it is one of ours, and how far within. Takes no lock.
pub(super) fn slot_at(address: usize) -> Option<(Overflow, usize)> {
    let mut next = SLABS.load(Ordering::Acquire).cast_const();
    // SAFETY: slabs are never freed, and don't change once they are in the list.
    while let Some(slab) = unsafe { next.as_ref() } {
        let offset = address.wrapping_sub(slab.start);
        if offset < slab.bytes {
            let within = offset & ((1 << slab.bits) - 1);
            return Some((Overflow { slot: address - within, bits: slab.bits }, within));
        }
        next = slab.next;
    }
    None
}

/// The slot whose guard `address` lies in, if it is one of ours.
fn guard_at(address: usize) -> Option<Overflow> {
    let (overflow, within) = slot_at(address)?;
    (within < guard::size()).then_some(overflow)
}

/// The signals by which the system says that memory can't be reached.
const SIGNALS: [c_int; 2] = [libc::SIGSEGV, libc::SIGBUS];

/// Who handled them before us.
static BEFORE: [OnceLock<libc::sigaction>; 2] = [const { OnceLock::new() }; 2];

/// Puts the handler before those that exist.
fn install() {
    for (signal, before) in SIGNALS.into_iter().zip(&BEFORE) {
        // SAFETY: a plain C structure, for which zeroes are a value.
        let mut old: libc::sigaction = unsafe { zeroed() };
        // SAFETY: reads the action of a signal into a place of ours.
        if unsafe { libc::sigaction(signal, ptr::null(), &raw mut old) } != 0 {
            continue;
        }
        let mut new = old;
        new.sa_sigaction = handler as *const () as usize;
        new.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | (old.sa_flags & libc::SA_RESTART);
        // Known before it can be needed.
        let _ = before.set(old);
        // SAFETY: the handler has the type that SA_SIGINFO asks for, and is safe to run at any time.
        unsafe { libc::sigaction(signal, &raw const new, null_mut()) };
    }
}

/// # Safety
/// For the system to call, by the rules of `sigaction` with SA_SIGINFO.
unsafe extern "C" fn handler(signal: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    // SAFETY: the system gives a valid `info`.
    let sent = unsafe { (*info).si_code } <= 0;
    if !sent {
        // SAFETY: valid, and of a kind that has an address, since the system raised the signal.
        let address = unsafe { (*info).si_addr() }.addr();
        // SAFETY: the third argument of such a handler is the interrupted context.
        let stack_pointer = unsafe { arch::stack_pointer(context.cast()) };
        if let Some(overflow) = guard_at(address)
            && stands_on(&overflow, stack_pointer)
        {
            report(&overflow);
        }
    }
    // SAFETY: as they came.
    unsafe { pass_on(signal, sent, info, context) };
}

/// Whether `stack_pointer` belongs to the stack that overflowed. Compilers touch each page as a frame
/// grows, so it lies in the guard, or has just left it.
fn stands_on(overflow: &Overflow, stack_pointer: usize) -> bool {
    let lowest = overflow.slot - guard::page_size();
    (lowest..=overflow.slot + (1 << overflow.bits)).contains(&stack_pointer)
}

/// Says who it was, and ends the process.
fn report(overflow: &Overflow) -> ! {
    let mut line = Line { buffer: [0; 256], length: 0 };
    let hint = DESCRIBE.get().and_then(|describe| describe(overflow, &mut line));
    let hint = hint.unwrap_or_else(|| {
        let _ = line.write_str("a coroutine");
        "Coroutine::with_stack and Generator::with_stack take a larger one"
    });
    let _ = writeln!(line, " overflowed its {} stack\nhelp: {hint}", Size(1 << overflow.bits));
    line.flush();
    // SAFETY: ends the process, as may be done in a signal handler.
    unsafe { libc::abort() }
}

/// Does what would have been done without us.
///
/// # Safety
/// Only within the handler, with its arguments; `sent`: by a process, not by a fault.
unsafe fn pass_on(signal: c_int, sent: bool, info: *mut libc::siginfo_t, context: *mut c_void) {
    let which = usize::from(signal == SIGNALS[1]);
    let Some(before) = BEFORE[which].get() else {
        // SAFETY: within the handler.
        return unsafe { pass_on_to_system(signal, sent) };
    };
    match before.sa_sigaction {
        // SAFETY: within the handler.
        libc::SIG_DFL => unsafe { pass_on_to_system(signal, sent) },
        // A fault can't be ignored; the system ends the process as well.
        libc::SIG_IGN if sent => {}
        // SAFETY: within the handler.
        libc::SIG_IGN => unsafe { pass_on_to_system(signal, sent) },
        function => {
            if before.sa_flags & libc::SA_RESETHAND != 0 {
                // SAFETY: what the system would have done before the call.
                unsafe { libc::signal(signal, libc::SIG_DFL) };
            }
            if before.sa_flags & libc::SA_NODEFER != 0 {
                // SAFETY: as above.
                unsafe { unblock(signal) };
            }
            if before.sa_flags & libc::SA_SIGINFO != 0 {
                type Function = extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void);
                // SAFETY: SA_SIGINFO says that it is such a function.
                let function = unsafe { core::mem::transmute::<usize, Function>(function) };
                function(signal, info, context);
            } else {
                // SAFETY: without SA_SIGINFO it is such a function.
                let function =
                    unsafe { core::mem::transmute::<usize, extern "C" fn(c_int)>(function) };
                function(signal);
            }
        }
    }
}

/// Lets the system do what it does by default: end the process.
///
/// # Safety
/// Only within the handler.
unsafe fn pass_on_to_system(signal: c_int, sent: bool) {
    // SAFETY: allowed in handlers. A fault happens again when the handler returns.
    unsafe { libc::signal(signal, libc::SIG_DFL) };
    if sent {
        // SAFETY: allowed in handlers. Held off until this one returns.
        unsafe { libc::raise(signal) };
    }
}

/// # Safety
/// Only within the handler, and when that may be interrupted by `signal`.
unsafe fn unblock(signal: c_int) {
    let mut set = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: initialises the set.
    unsafe { libc::sigemptyset(set.as_mut_ptr()) };
    // SAFETY: initialised above.
    unsafe { libc::sigaddset(set.as_mut_ptr(), signal) };
    // SAFETY: a valid set; the caller allows the change.
    unsafe { libc::pthread_sigmask(libc::SIG_UNBLOCK, set.as_ptr(), null_mut()) };
}

/// An alternate signal stack of ours, for one thread: a guard and some pages above it.
struct AlternateStack {
    mapping: NonNull<c_void>,
    length: usize,
}

thread_local! {
    static ALTERNATE: OnceCell<AlternateStack> = const { OnceCell::new() };
}

impl AlternateStack {
    #[cold]
    fn install_if_missing() {
        let mut now = MaybeUninit::<libc::stack_t>::uninit();
        // SAFETY: reads this thread's alternate stack into a place of ours.
        if unsafe { libc::sigaltstack(ptr::null(), now.as_mut_ptr()) } != 0 {
            return;
        }
        // SAFETY: the call succeeded.
        if unsafe { now.assume_init() }.ss_flags & libc::SS_DISABLE == 0 {
            return;
        }
        let _ = ALTERNATE.try_with(|place| AlternateStack::new().map(|stack| place.set(stack)));
    }

    fn new() -> Option<AlternateStack> {
        // SAFETY: asks for a constant of the system.
        let least = unsafe { libc::getauxval(libc::AT_MINSIGSTKSZ) } as usize;
        let page = guard::page_size();
        // What the system itself puts there, and room for handlers, others' included.
        let usable = (least + libc::SIGSTKSZ).next_multiple_of(page);
        let length = page + usable;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_STACK;
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a fresh mapping at an address of the system's choice touches nothing that exists.
        let mapping = unsafe { libc::mmap(null_mut(), length, protection, flags, -1, 0) };
        if mapping == libc::MAP_FAILED {
            return None;
        }
        let stack = AlternateStack { mapping: NonNull::new(mapping)?, length };
        // SAFETY: the lowest page of a fresh mapping.
        unsafe { libc::mprotect(mapping, page, libc::PROT_NONE) };
        // SAFETY: the mapping is longer than a page.
        let low = unsafe { mapping.byte_add(page) };
        let new = libc::stack_t { ss_sp: low, ss_flags: 0, ss_size: usable };
        // SAFETY: the memory is ours, and stays until `stack` is dropped, which disables it first.
        (unsafe { libc::sigaltstack(&raw const new, null_mut()) } == 0).then_some(stack)
    }
}

impl Drop for AlternateStack {
    fn drop(&mut self) {
        let none = libc::stack_t { ss_sp: null_mut(), ss_flags: libc::SS_DISABLE, ss_size: 0 };
        // SAFETY: it was set by this thread, which ends; where somebody has set another one since,
        // that one goes too, since nobody is left to use it.
        unsafe { libc::sigaltstack(&raw const none, null_mut()) };
        // SAFETY: the mapping is ours, and not in use any more.
        unsafe { libc::munmap(self.mapping.as_ptr(), self.length) };
    }
}
