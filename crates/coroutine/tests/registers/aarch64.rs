//! What these tests do to registers on AArch64.

use std::arch::asm;

use bifilar_coroutine::raw::Suspended;

use super::Pair;

/// Bounces back to `main`, with every register changed that a function must keep, and some others.
pub unsafe extern "C" fn overwrite(arg: *mut ()) -> ! {
    let pair = arg.cast::<Pair>();
    loop {
        // SAFETY: a switch by hand, so that the other side finds x19 and x29 overwritten; they are
        // put back afterwards, as they must be between two statements, and all others are declared
        // as overwritten. The test has suspended itself at `main`.
        unsafe {
            asm!(
                "mov x20, #-1", "mov x21, #-1", "mov x22, #-1", "mov x23, #-1", "mov x24, #-1",
                "mov x25, #-1", "mov x26, #-1", "mov x27, #-1", "mov x28, #-1",
                "movi v0.16b, #255", "movi v7.16b, #255", "movi v8.16b, #255",
                "movi v9.16b, #255", "movi v10.16b, #255", "movi v11.16b, #255",
                "movi v12.16b, #255", "movi v13.16b, #255", "movi v14.16b, #255",
                "movi v15.16b, #255", "movi v16.16b, #255", "movi v31.16b, #255",
                "stp x29, x19, [sp, #-32]!", "mov x19, #-1", "mov x29, #-1",
                "adr x3, 2f", "str x3, [sp, #16]", "mov x3, sp", "str x3, [x0]",
                "ldr x16, [x2, #16]", "mov sp, x2", "br x16",
                "2:", "ldp x29, x19, [sp], #32",
                in("x0") &raw mut (*pair).other,
                in("x2") (*pair).main.map_or(std::ptr::null_mut(), Suspended::as_ptr),
                lateout("x20") _, lateout("x21") _, lateout("x22") _, lateout("x23") _,
                lateout("x24") _, lateout("x25") _, lateout("x26") _, lateout("x27") _,
                lateout("x28") _,
                clobber_abi("C"),
            );
        }
    }
}

pub fn stack_pointer() -> usize {
    let sp: usize;
    // SAFETY: reads a register.
    unsafe { asm!("mov {}, sp", out(reg) sp) };
    sp
}

/// Faults if the stack pointer isn't 16-aligned, where the processor checks that (the emulator
/// doesn't); the address of `place` is checked by the caller.
pub fn store_aligned(place: *mut [u8; 16]) {
    // SAFETY: a push and a pop; then a store to the caller's own place.
    unsafe {
        asm!(
            "str {place}, [sp, #-16]!", "ldr {place}, [sp], #16",
            "movi v0.16b, #7", "str q0, [{place}]",
            place = inout(reg) place => _, out("v0") _,
        );
    }
}

/// Calls `switch(pair)` with a value of its own in every register that a function must keep.
/// Whether each comes back.
pub fn call_keeps_registers(switch: unsafe extern "C" fn(*mut Pair), pair: *mut Pair) -> bool {
    let values: [u64; 19] = std::array::from_fn(|n| n as u64 + 11);
    let mut found = values;
    // SAFETY: x19 and x29 are put back, and the others declared as overwritten; `found` holds
    // nineteen words, which are read before the call and written after it.
    unsafe {
        asm!(
            "stp x29, x19, [sp, #-32]!", "str x9, [sp, #16]",
            "ldp x19, x20, [x9]", "ldp x21, x22, [x9, #16]", "ldp x23, x24, [x9, #32]",
            "ldp x25, x26, [x9, #48]", "ldp x27, x28, [x9, #64]", "ldr x29, [x9, #80]",
            "ldp d8, d9, [x9, #88]", "ldp d10, d11, [x9, #104]", "ldp d12, d13, [x9, #120]",
            "ldp d14, d15, [x9, #136]",
            // Zero at first, so that nothing can be found that wasn't put there.
            "mov x11, #19", "2:", "str xzr, [x9], #8", "subs x11, x11, #1", "b.ne 2b",
            "blr x10",
            "ldr x9, [sp, #16]",
            "stp x19, x20, [x9]", "stp x21, x22, [x9, #16]", "stp x23, x24, [x9, #32]",
            "stp x25, x26, [x9, #48]", "stp x27, x28, [x9, #64]", "str x29, [x9, #80]",
            "stp d8, d9, [x9, #88]", "stp d10, d11, [x9, #104]", "stp d12, d13, [x9, #120]",
            "stp d14, d15, [x9, #136]",
            "ldp x29, x19, [sp], #32",
            in("x9") found.as_mut_ptr(),
            in("x10") switch,
            in("x0") pair,
            out("x20") _, out("x21") _, out("x22") _, out("x23") _, out("x24") _,
            out("x25") _, out("x26") _, out("x27") _, out("x28") _,
            clobber_abi("C"),
        );
    }
    found == values
}
