//! What these tests do to registers on x86_64.

use std::arch::{asm, x86_64::*};

use bifilar_coroutine::raw::Suspended;

use super::Pair;

/// Bounces back to `main`, with every register changed that a function must keep, and some others.
pub unsafe extern "C" fn overwrite(arg: *mut ()) -> ! {
    let pair = arg.cast::<Pair>();
    loop {
        // SAFETY: overwrites registers and says so.
        unsafe {
            asm!(
                "mov r12, -1", "mov r13, -1", "mov r14, -1", "mov r15, -1",
                "pcmpeqd xmm0, xmm0", "pcmpeqd xmm7, xmm7", "pcmpeqd xmm15, xmm15",
                out("r12") _, out("r13") _, out("r14") _, out("r15") _,
                out("xmm0") _, out("xmm7") _, out("xmm15") _,
            );
        }
        // SAFETY: a switch by hand, so that the other side finds rbx and rbp overwritten; they are
        // put back afterwards, as they must be between two statements. The test has suspended
        // itself at `main`.
        unsafe {
            asm!(
                "push rbx", "push rbp", "mov rbx, -1", "mov rbp, -1",
                "lea rax, [rip + 2f]", "push rax", "mov [rdi], rsp",
                "lea rsp, [rsi + 8]", "jmp [rsi]",
                "2:", "pop rbp", "pop rbx",
                in("rdi") &raw mut (*pair).other,
                in("rsi") (*pair).main.map_or(std::ptr::null_mut(), Suspended::as_ptr),
                lateout("r12") _, lateout("r13") _, lateout("r14") _, lateout("r15") _,
                clobber_abi("sysv64"),
            );
        }
    }
}

pub fn stack_pointer() -> usize {
    let rsp: usize;
    // SAFETY: reads a register.
    unsafe { asm!("mov {}, rsp", out(reg) rsp) };
    rsp
}

/// Faults if `place` isn't 16-aligned.
pub fn store_aligned(place: *mut [u8; 16]) {
    // SAFETY: the caller's place is its own, and aligned unless the stack isn't.
    unsafe { _mm_store_si128(place.cast(), _mm_set1_epi8(7)) };
}

/// Calls `switch(pair)` with a value of its own in every register that a function must keep.
/// Whether each comes back.
pub fn call_keeps_registers(switch: unsafe extern "C" fn(*mut Pair), pair: *mut Pair) -> bool {
    const VALUES: [u64; 6] = [11, 12, 13, 14, 15, 16];
    let mut found = [0; 6];
    // SAFETY: rbx and rbp are put back, and the others declared as overwritten; `found` holds six
    // words. Three words are pushed, and one for the alignment.
    unsafe {
        asm!(
            "push rbx", "push rbp", "push {found}", "push 0",
            "mov rbx, 11", "mov rbp, 12", "mov r12, 13", "mov r13, 14", "mov r14, 15",
            "mov r15, 16",
            "call {switch}",
            "pop rax", "pop rax",
            "mov [rax], rbx", "mov [rax + 8], rbp", "mov [rax + 16], r12",
            "mov [rax + 24], r13", "mov [rax + 32], r14", "mov [rax + 40], r15",
            "pop rbp", "pop rbx",
            found = in(reg) found.as_mut_ptr(),
            switch = in(reg) switch,
            in("rdi") pair,
            out("r12") _, out("r13") _, out("r14") _, out("r15") _,
            clobber_abi("sysv64"),
        );
    }
    found == VALUES
}
