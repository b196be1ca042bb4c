//! Asking a thread by a signal where it stands.
//!
//! The monitor alone asks, and one worker at a time: [`Turn`] says whose turn it is. The handler writes the answer in its place; it
//! allocates nothing and takes no lock.
//!
//! # The signal
//!
//! SIGURG, as in Go and for Go's reasons: it is ignored by default (so a late one does no harm), nothing
//! in the C library uses it, debuggers let it pass, and a program that uses it for what it was meant for
//! (urgent data on a socket) must cope with spurious ones. The handler passes on what isn't from here to
//! the handler that was there before. System calls that were interrupted are restarted (SA_RESTART), but
//! for those that Linux never restarts (`poll`, `nanosleep` and the like, see signal(7)), which return
//! EINTR to C code that isn't prepared for it. One signal is sent for each time that a worker is held up.
//!
//! # Why the handler may unwind
//!
//! `_Unwind_Backtrace` isn't on the list of signal-safety(7). What it does is to look for the unwind
//! information of each address and to interpret it, with some 3 KiB of stack and no allocation. The one
//! thing that locks is that search: `dl_iterate_phdr` takes the loader's lock, which the interrupted
//! thread might hold. But from GCC 12 on libgcc asks `_dl_find_object` of glibc 2.35, which is documented
//! as async-signal-safe. So it is done where the C library has that function; elsewhere the answer is the
//! interrupted address alone. It runs once beforehand, outside of the handler, so that nothing is left to
//! bind lazily.
//!
//! It is done only on the worker's own stack: on a coroutine's, the thread may be halfway between two
//! stacks, where unwind information doesn't hold. (A switch away from the worker's own stack could still be
//! met within its first three instructions, where the frame is off by a word or two: the trace is cut
//! short then.)
//!
//! The handler runs on the thread's alternate signal stack, since what is left of a task's own stack may be
//! less than the frame of a signal takes.

use super::{
    super::{
        Remote,
        unwinder::{_Unwind_Backtrace, _Unwind_GetIP},
        worker::Worker,
    },
    turn::Turn,
};
use crate::{
    cell::{Meta, TaskKind},
    context,
};
use std::{
    cell::UnsafeCell,
    ffi::{c_int, c_void},
    mem::zeroed,
    ops::Deref,
    panic::Location,
    ptr,
    sync::{
        Once, OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

const SIGNAL: c_int = libc::SIGURG;

/// How long an answer may take. A thread in an uninterruptible call gives none.
const PATIENCE: Duration = Duration::from_millis(100);

/// As many calls are told.
const MOST_FRAMES: usize = 64;

/// Names are cut to as many bytes.
const MOST_NAME: usize = 64;

/// See the module's head.
pub(in super::super) struct Inquiry {
    turn: Turn,
    /// The worker's progress as the monitor knows it: it is stuck if that is still so.
    progress: AtomicU64,
    answer: UnsafeCell<Answer>,
}

// SAFETY: `answer` is the handler's between `take` and `give`, and then the monitor's until `end`.
unsafe impl Sync for Inquiry {}
// SAFETY: plain data.
unsafe impl Send for Inquiry {}

pub(super) struct Answer {
    /// It came round before it could be asked.
    pub too_late: bool,
    place: Place,
    kind: TaskKind,
    id: u64,
    location: &'static Location<'static>,
    /// `None` is as long as this.
    name_length: usize,
    name: [u8; MOST_NAME],
    frame_count: usize,
    frames: [usize; MOST_FRAMES],
}

enum Place {
    Task,
    Loop,
    OtherRuntime,
}

/// Who holds a worker up.
pub(super) enum Who {
    Task(HeldBy),
    Loop,
    OtherRuntime,
    Unknown,
}

pub(super) struct HeldBy {
    pub kind: TaskKind,
    pub id: u64,
    pub location: &'static Location<'static>,
    pub name: Option<String>,
}

const NO_NAME: usize = usize::MAX;

impl Answer {
    pub fn who(&self) -> Who {
        match self.place {
            Place::Loop => Who::Loop,
            Place::OtherRuntime => Who::OtherRuntime,
            Place::Task => {
                let name = self.name.get(..self.name_length);
                let name = name.map(|name| String::from_utf8_lossy(name).into_owned());
                let Answer { kind, id, location, .. } = *self;
                Who::Task(HeldBy { kind, id, location, name })
            }
        }
    }

    /// Addresses of the calls, from the last to the first: that of the instruction to be executed next,
    /// and then return addresses.
    pub fn frames(&self) -> &[usize] {
        &self.frames[..self.frame_count]
    }
}

/// An answer while it is the monitor's.
pub(super) struct Answered<'a>(&'a Inquiry);

impl Deref for Answered<'_> {
    type Target = Answer;

    fn deref(&self) -> &Answer {
        // SAFETY: it is answered, until this ends.
        unsafe { &*self.0.answer.get() }
    }
}

impl Drop for Answered<'_> {
    fn drop(&mut self) {
        self.0.turn.end();
    }
}

impl Inquiry {
    pub fn new() -> Self {
        Inquiry {
            turn: Turn::new(),
            progress: AtomicU64::new(0),
            answer: UnsafeCell::new(Answer {
                too_late: false,
                place: Place::Loop,
                kind: TaskKind::Async,
                id: 0,
                location: Location::caller(),
                name_length: NO_NAME,
                name: [0; MOST_NAME],
                frame_count: 0,
                frames: [0; MOST_FRAMES],
            }),
        }
    }

    /// Asks the thread of a worker, for the monitor. `None`: it gave no answer in time.
    pub(super) fn ask(&self, remote: &Remote, progress: u64) -> Option<Answered<'_>> {
        static INSTALLED: Once = Once::new();
        INSTALLED.call_once(install);
        self.progress.store(progress, Ordering::Relaxed);
        self.turn.ask(remote.index);
        let thread = remote.thread.load(Ordering::Relaxed);
        // SAFETY: a signal to a thread of this process. It may be gone, or even another one by now: that
        // one finds that it isn't asked.
        let sent = thread != 0
            && unsafe { libc::syscall(libc::SYS_tgkill, libc::getpid(), thread, SIGNAL) } == 0;
        let end = Instant::now() + if sent { PATIENCE } else { Duration::ZERO };
        loop {
            if self.turn.is_answered() {
                return Some(Answered(self));
            }
            // What can't be withdrawn is being written, or has been.
            if Instant::now() >= end && self.turn.withdraw(remote.index) {
                return None;
            }
            thread::sleep(Duration::from_micros(100));
        }
    }

    /// In the handler, on the thread of `worker`. `false`: it wasn't asked.
    fn answer(&self, worker: &Worker, innermost: bool, at: Interrupted) -> bool {
        if !self.turn.take(worker.index) {
            return false;
        }
        // SAFETY: ours until `give`.
        let answer = unsafe { &mut *self.answer.get() };
        let progress = worker.remote().counters.progress();
        answer.too_late = progress != self.progress.load(Ordering::Relaxed);
        if !answer.too_late {
            context::with(|context| {
                answer.place = match context.task.get() {
                    _ if !innermost => Place::OtherRuntime,
                    None => Place::Loop,
                    Some(task) => {
                        // SAFETY: the task being polled on this thread is alive.
                        answer.describe(&unsafe { task.as_ref() }.meta);
                        Place::Task
                    }
                };
                let stack_pointer = ptr::without_provenance(at.stack_pointer);
                let at_home =
                    context.stack.get().is_some_and(|stack| stack.contains(stack_pointer));
                answer.walk(at.instruction, at_home && MAY_UNWIND.load(Ordering::Relaxed));
            });
        }
        self.turn.give();
        true
    }
}

impl Answer {
    fn describe(&mut self, meta: &Meta) {
        self.kind = meta.kind;
        self.id = meta.id.get();
        self.location = meta.location;
        self.name_length = NO_NAME;
        if let Some(name) = meta.name() {
            let length = name.floor_char_boundary(MOST_NAME);
            self.name[..length].copy_from_slice(&name.as_bytes()[..length]);
            self.name_length = length;
        }
    }

    fn walk(&mut self, instruction: usize, unwind: bool) {
        self.frames[0] = instruction;
        self.frame_count = 0;
        if unwind {
            // SAFETY: `note` keeps the contract of the unwinder's callback, and gets what it expects.
            unsafe { _Unwind_Backtrace(note, ptr::from_mut(self).cast()) };
        }
        // Where it was interrupted is known in any case.
        self.frame_count = self.frame_count.max(1);
    }
}

/// Notes an address, once the walk has left the handler.
///
/// # Safety
/// `context` is the unwinder's; `answer` points to an `Answer`.
unsafe extern "C" fn note(context: *mut c_void, answer: *mut c_void) -> c_int {
    // SAFETY: as promised.
    let answer = unsafe { &mut *answer.cast::<Answer>() };
    // SAFETY: as promised.
    let address = unsafe { _Unwind_GetIP(context) };
    if address == 0 {
        // Beyond the first frame of a stack.
        return 1;
    }
    if answer.frame_count > 0 || address == answer.frames[0] {
        answer.frames[answer.frame_count] = address;
        answer.frame_count += 1;
    }
    // Anything but zero ends the walk.
    c_int::from(answer.frame_count == MOST_FRAMES)
}

/// Whether the unwinder finds its way without a lock.
static MAY_UNWIND: AtomicBool = AtomicBool::new(false);

/// Who handled the signal before us.
static BEFORE: OnceLock<libc::sigaction> = OnceLock::new();

fn install() {
    // SAFETY: looks for a name.
    let lock_free = unsafe { libc::dlsym(libc::RTLD_DEFAULT, c"_dl_find_object".as_ptr()) };
    if !lock_free.is_null() {
        let mut seen = 0_usize;
        // SAFETY: `count` keeps the contract of the unwinder's callback.
        unsafe { _Unwind_Backtrace(count, (&raw mut seen).cast()) };
        MAY_UNWIND.store(seen > 0, Ordering::Relaxed);
    }
    // SAFETY: a plain C structure, for which zeroes are a value.
    let mut old: libc::sigaction = unsafe { zeroed() };
    // SAFETY: reads the action of a signal into a place of ours.
    if unsafe { libc::sigaction(SIGNAL, ptr::null(), &raw mut old) } != 0 {
        return;
    }
    let mut new = old;
    new.sa_sigaction = handler as *const () as usize;
    new.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_RESTART;
    // Known before it can be needed.
    let _ = BEFORE.set(old);
    // SAFETY: the handler has the type that SA_SIGINFO asks for, and does what a handler may: see the
    // module's head.
    unsafe { libc::sigaction(SIGNAL, &raw const new, ptr::null_mut()) };
}

/// # Safety
/// `seen` points to a number.
unsafe extern "C" fn count(_: *mut c_void, seen: *mut c_void) -> c_int {
    // SAFETY: as promised.
    unsafe { *seen.cast::<usize>() += 1 };
    0
}

/// Where the thread was.
#[derive(Clone, Copy)]
struct Interrupted {
    instruction: usize,
    stack_pointer: usize,
}

impl Interrupted {
    /// # Safety
    /// `context` is what the system gave to the handler.
    unsafe fn of(context: *const libc::ucontext_t) -> Self {
        // SAFETY: as promised.
        let machine = unsafe { &(*context).uc_mcontext };
        #[cfg(target_arch = "x86_64")]
        let (instruction, stack_pointer) =
            (machine.gregs[libc::REG_RIP as usize], machine.gregs[libc::REG_RSP as usize]);
        #[cfg(target_arch = "aarch64")]
        let (instruction, stack_pointer) = (machine.pc, machine.sp);
        Interrupted { instruction: instruction as usize, stack_pointer: stack_pointer as usize }
    }
}

/// # Safety
/// For the system to call, by the rules of `sigaction` with SA_SIGINFO.
unsafe extern "C" fn handler(signal: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    // SAFETY: the thread's own errno.
    let errno = unsafe { &mut *libc::__errno_location() };
    let before = *errno;
    // SAFETY: the system gives a valid `info`, which has a sender when a process has sent it.
    let ours = unsafe { (*info).si_code == libc::SI_TKILL && (*info).si_pid() == libc::getpid() };
    // SAFETY: the third argument of such a handler is the interrupted context.
    if !ours || !answer(unsafe { Interrupted::of(context.cast()) }) {
        // SAFETY: as they came.
        unsafe { pass_on(signal, info, context) };
    }
    *errno = before;
}

/// Answers for the worker that is asked, if it is this thread's: the one that runs, or one that is blocked
/// beneath it.
fn answer(at: Interrupted) -> bool {
    Worker::with_current(|mut worker| {
        let mut innermost = true;
        while let Some(this) = worker {
            if this.shared.inquiry.answer(this, innermost, at) {
                return true;
            }
            innermost = false;
            // SAFETY: set by `Driver::enter` to the worker that is blocked on this very thread.
            worker = unsafe { this.outer.get().as_ref() };
        }
        false
    })
}

/// Does what would have been done without us; by default, nothing.
///
/// # Safety
/// Only within the handler, with its arguments.
unsafe fn pass_on(signal: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    let Some(before) = BEFORE.get() else { return };
    match before.sa_sigaction {
        libc::SIG_DFL | libc::SIG_IGN => {}
        function if before.sa_flags & libc::SA_SIGINFO != 0 => {
            type Function = extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void);
            // SAFETY: SA_SIGINFO says that it is such a function.
            let function = unsafe { std::mem::transmute::<usize, Function>(function) };
            function(signal, info, context);
        }
        function => {
            // SAFETY: without SA_SIGINFO it is such a function.
            let function = unsafe { std::mem::transmute::<usize, extern "C" fn(c_int)>(function) };
            function(signal);
        }
    }
}
