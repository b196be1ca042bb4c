//! Switching on AArch64 under the procedure call standard AAPCS64, little-endian or big.
//!
//! ```text
//!  a suspended stack                        a fresh stack
//!
//!  │ frames …         │                     ╞══════════════════╡ ◄─ top, 16-aligned
//!  │ frame of the     │                     │ 0                │
//!  │ function that    │                     │ address of `base`│ ◄─ aligned: sp of `base` at
//!  │ called `switch`  │                     │ arg              │    its jump to `entry`
//!  ├──────────────────┤ ◄─ aligned          │ entry            │ ◄─ Suspended
//!  │ (unused)         │                     └──────────────────┘
//!  │ pc (label 2)     │
//!  │ x19              │
//!  │ x29              │ ◄─ Suspended
//!  └──────────────────┘
//! ```
//!
//! In both drawings a [`Suspended`] is the stack pointer to continue with, which the processor
//! wants to be 16-aligned, and the address to continue from stands two words above. So a switch
//! need not know which it meets.
//!
//! - *Only what lives is saved.* The assembly declares every register but x19, x29 and sp as
//!   overwritten (of v8 to v15 a called function must keep the low halves; here they go as well).
//!   The compiler then saves what it still needs, where it has the cheapest place for it, and
//!   nothing else. It keeps x19 and x29 to itself and accepts no such declaration for them, so
//!   those two are pushed.
//! - *Resumption is a jump, not a return.* The processor predicts returns by a private stack of
//!   the calls it saw; after a change of stacks these guesses would be wrong one after another. An
//!   indirect jump is predicted by where it went before.
//! - *Landing pads.* Where branch targets are enforced (BTI), a jump may only arrive at an
//!   instruction that says so: `hint #36` (`bti j`) stands wherever a switch arrives, and jumps go
//!   through x16, which may also arrive where calls do (`bti c`). Older processors do nothing there.
//! - *Not switched*: fpcr and fpsr. They belong to the thread, and code that changes fpcr must
//!   restore it before it lets go of its stack.
//! - *Signed return addresses* (PAC) work: each is signed with the stack pointer of its own frame,
//!   and frames stay where they are. The address to continue from is not signed itself.
//! - *Not supported*: switches with the matrix storage of SME alive or in streaming mode, and
//!   shadow stacks of either kind (GCS, or `-Z sanitizer=shadow-call-stack`, which keeps a second
//!   stack in x18). x18 is the platform's register, and is left alone.

use core::{
    arch::{asm, naked_asm},
    mem::offset_of,
    ptr::NonNull,
};

use super::{Arrival, Entry, Suspended};

/// What [`prepare`] writes below the top of a fresh stack, lowest word first.
#[repr(C)]
struct FirstFrame {
    /// Popped by `base` into x16.
    entry: Entry,
    /// Popped by `base` into x0, the register of a first argument. The second, x1, is the message,
    /// which arrives there.
    arg: *mut (),
    /// Where to continue: [`base`].
    pc: unsafe extern "C" fn() -> !,
    /// Stays above `base` as the end of the stack, for tools that read past the outermost frame.
    end: usize,
}

// A whole number of aligned pairs; and the address to continue from is where `switch` has it, too.
const _: () = assert!(size_of::<FirstFrame>() == 4 * 8 && offset_of!(FirstFrame, pc) == 2 * 8);

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
    unsafe { frame.write(FirstFrame { entry, arg, pc: base, end: 0 }) };
    Suspended::new(frame.cast())
}

/// The outermost frame of every stack: calls `entry(arg, message, from)`, which never returns.
///
/// Its unwind information says that the return address is *undefined*: the standard mark of an
/// outermost frame, at which unwinders, backtraces and debuggers stop. x29 is zero, which ends the
/// chain for tools that follow frame pointers. The jump in place of a call keeps the processor's
/// guesses about returns in step, see the head of this file.
#[unsafe(naked)]
unsafe extern "C" fn base() -> ! {
    naked_asm!(
        ".cfi_startproc",
        ".cfi_undefined x30",
        // The frame address is `top` throughout.
        ".cfi_def_cfa sp, 32",
        "hint #36",
        "ldp x16, x0, [sp], #16",
        ".cfi_def_cfa_offset 16",
        "mov x2, x3",
        "mov x29, xzr",
        "adr x30, 2f",
        "br x16",
        // Unwinders look up the instruction *before* a return address, debuggers sometimes the
        // one at it: both lie within this function.
        "brk #1",
        "2:",
        "brk #1",
        ".cfi_endproc",
    )
}

/// The instructions of [`switch`]; or those of [`hand_over`], without `save`.
///
/// Whoever continues this side arrives at label 2 with sp at the pushed x29, so x19, x29 and sp are
/// again what they were; all other registers are declared as overwritten. x0 and x2 are read before
/// anything overwrites them, and x1 and x3 pass from one side to the other. Memory is declared as
/// changed by default.
macro_rules! leave {
    ($to:ident, $message:ident $(, $save:ident: $write:literal)?) => {{
        let (answer, from): (*const (), *mut u8);
        asm!(
            "stp x29, x19, [sp, #-32]!",
            "adr x4, 2f",
            "str x4, [sp, #16]",
            "mov x3, sp",
            $($write,)?
            "ldr x16, [x2, #16]",
            "mov sp, x2",
            "br x16",
            "2:",
            "hint #36",
            "ldp x29, x19, [sp], #32",
            $(in("x0") $save,)?
            in("x2") $to.as_ptr(),
            inlateout("x1") $message => answer,
            lateout("x3") from,
            lateout("x20") _,
            lateout("x21") _,
            lateout("x22") _,
            lateout("x23") _,
            lateout("x24") _,
            lateout("x25") _,
            lateout("x26") _,
            lateout("x27") _,
            lateout("x28") _,
            clobber_abi("C"),
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
    unsafe { leave!(to, message, save: "str x3, [x0]") }
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
            "mov x3, xzr",
            "ldr x16, [x2, #16]",
            "mov sp, x2",
            "br x16",
            in("x2") to.as_ptr(),
            in("x1") message,
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
    unsafe { (*context).uc_mcontext.sp as usize }
}
