//! Switching on x86_64 under the System V calling convention.
//!
//! ```text
//!  a suspended stack                        a fresh stack
//!
//!  │ frames …         │                     ╞══════════════════╡ ◄─ top, 16-aligned
//!  │ frame of the     │                     │ 0                │
//!  │ function that    │                     │ 0                │ ◄─ aligned: rsp of `base` at
//!  │ called `switch`  │                     │ arg              │    its jump to `entry`
//!  ├──────────────────┤                     │ entry            │
//!  │ rbp              │                     │ address of `base`│ ◄─ Suspended
//!  │ rbx              │                     └──────────────────┘
//!  │ rip (label 2)    │ ◄─ Suspended
//!  └──────────────────┘
//! ```
//!
//! In both drawings the word a [`Suspended`] points at is the address to continue from, and the
//! stack pointer to continue with is the word above it. So a switch need not know which it meets.
//!
//! - *Only what lives is saved.* The assembly declares every register but rbx, rbp and rsp as
//!   overwritten. The compiler then saves what it still needs, where it has the cheapest place for
//!   it, and nothing else. It keeps rbx and rbp to itself and accepts no such declaration for
//!   them, so those two are pushed.
//! - *Resumption is a jump, not a return.* The processor predicts returns by a private stack of
//!   the calls it saw; after a change of stacks these guesses would be wrong one after another. An
//!   indirect jump is predicted by where it went before.
//! - *Not switched*: mxcsr, the x87 control word and the direction flag. They belong to the
//!   thread, and code that changes them must restore them before it lets go of its stack.
//! - *Not supported*: shadow stacks (CET). The kernel enables them only for programs whose every
//!   part is marked as compatible; this file carries no such mark.

use core::{
    arch::{asm, naked_asm},
    mem::offset_of,
    ptr::NonNull,
};

use super::{Arrival, Entry, Suspended};

/// What [`prepare`] writes below the top of a fresh stack, lowest word first.
#[repr(C)]
struct FirstFrame {
    /// Where to continue: [`base`].
    rip: unsafe extern "C" fn() -> !,
    /// Popped by `base` into rax.
    entry: Entry,
    /// Popped by `base` into rdi, the register of a first argument. The second and third, rsi and
    /// rdx, are the message and where it comes from, which arrive in rdx and rcx.
    arg: *mut (),
    /// Stays above `base` as the end of the stack, for tools that read past the outermost frame.
    end: [usize; 2],
}

// Once `base` has popped the three words below `end`, rsp is aligned again, as a call demands.
const _: () = assert!(size_of::<FirstFrame>() == 5 * 8 && offset_of!(FirstFrame, end) == 3 * 8);

/// See [`crate::raw::prepare`]. The entry gets the message of the first switch as well.
///
/// # Safety
///
/// As there.
#[inline]
pub(crate) unsafe fn prepare(top: NonNull<u8>, entry: Entry, arg: *mut ()) -> Suspended {
    debug_assert!(top.as_ptr().addr().is_multiple_of(16));
    // SAFETY: the caller owns the memory below `top`, and promised room for a frame there.
    let frame = unsafe { top.cast::<FirstFrame>().sub(1) };
    // SAFETY: as above; `top` is 16-aligned and the frame a whole number of words, so the frame is
    // aligned as well.
    unsafe { frame.write(FirstFrame { rip: base, entry, arg, end: [0; 2] }) };
    Suspended::new(frame.cast())
}

/// The outermost frame of every stack: calls `entry(arg, message, from)`, which never returns.
///
/// Its unwind information says that the return address is *undefined*: the standard mark of an
/// outermost frame, at which unwinders, backtraces and debuggers stop. rbp is zero, which ends the
/// chain for tools that follow frame pointers. The jump in place of a call keeps the processor's
/// guesses about returns in step, see the head of this file.
#[unsafe(naked)]
unsafe extern "C" fn base() -> ! {
    naked_asm!(
        ".cfi_startproc",
        ".cfi_undefined rip",
        // The frame address is `top` throughout.
        ".cfi_def_cfa rsp, 32",
        "pop rax",
        ".cfi_def_cfa_offset 24",
        "pop rdi",
        ".cfi_def_cfa_offset 16",
        "mov rsi, rdx",
        "mov rdx, rcx",
        "xor ebp, ebp",
        "lea rcx, [rip + 2f]",
        "push rcx",
        "jmp rax",
        // Unwinders look up the instruction *before* a return address, debuggers sometimes the
        // one at it: both lie within this function.
        "ud2",
        "2:",
        "ud2",
        ".cfi_endproc",
    )
}

/// The instructions of [`switch`]; or those of [`hand_over`], without `save`.
///
/// Whoever continues this side arrives at label 2 with rsp just above the popped address, so rbx, rbp
/// and rsp are again what they were; all other registers are declared as overwritten. rdi and rsi are
/// read before anything overwrites them, and rdx and rcx pass from one side to the other. Memory is
/// declared as changed by default.
macro_rules! leave {
    ($to:ident, $message:ident $(, $save:ident: $write:literal)?) => {{
        let (answer, from): (*const (), *mut u8);
        asm!(
            "push rbp",
            "push rbx",
            "lea rax, [rip + 2f]",
            "push rax",
            "mov rcx, rsp",
            $($write,)?
            "lea rsp, [rsi + 8]",
            "jmp [rsi]",
            "2:",
            "pop rbx",
            "pop rbp",
            $(in("rdi") $save,)?
            in("rsi") $to.as_ptr(),
            inlateout("rdx") $message => answer,
            lateout("rcx") from,
            lateout("r12") _,
            lateout("r13") _,
            lateout("r14") _,
            lateout("r15") _,
            clobber_abi("sysv64"),
        );
        Arrival { message: answer, from: NonNull::new(from).map(Suspended::new) }
    }};
}

/// See [`crate::raw::switch`]. Whoever continues gets `message` and where this side is suspended;
/// returns the same of whoever continues `*save`.
///
/// # Safety
///
/// As there.
#[inline(always)]
pub(crate) unsafe fn switch(save: *mut Suspended, to: Suspended, message: *const ()) -> Arrival {
    // SAFETY: leaves a frame as drawn above at `*save`, which the caller declared writable, and
    // continues `to`, which the caller declared to be such a frame.
    unsafe { leave!(to, message, save: "mov [rdi], rcx") }
}

/// As [`switch`]; where this side is suspended is only told to whoever continues.
///
/// # Safety
///
/// As there.
#[inline(always)]
pub(crate) unsafe fn hand_over(to: Suspended, message: *const ()) -> Arrival {
    // SAFETY: as in `switch`.
    unsafe { leave!(to, message) }
}

/// See [`crate::raw::exit_to`]. Whoever continues gets `message`, from nowhere.
///
/// # Safety
///
/// As there.
#[inline(always)]
pub(crate) unsafe fn exit_to(to: Suspended, message: *const ()) -> ! {
    // SAFETY: as in `switch`, without leaving a frame: nobody can come back.
    unsafe {
        asm!(
            "xor ecx, ecx",
            "lea rsp, [rsi + 8]",
            "jmp [rsi]",
            in("rsi") to.as_ptr(),
            in("rdx") message,
            options(noreturn),
        );
    }
}

/// Where the stack pointer stood when a signal came.
///
/// # Safety
///
/// `context` is what the system gave to the handler of that signal.
pub(crate) unsafe fn stack_pointer(context: *const libc::ucontext_t) -> usize {
    // SAFETY: as promised.
    unsafe { (*context).uc_mcontext.gregs[libc::REG_RSP as usize] as usize }
}
