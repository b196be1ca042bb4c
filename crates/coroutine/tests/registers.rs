//! What a function had in registers before a switch, it has after it; stacks are aligned.

#![cfg(target_arch = "x86_64")]

use std::{
    arch::{asm, x86_64::*},
    hint::black_box,
    ptr,
};

use bifilar_coroutine::{
    Coroutine,
    CoroutineState::*,
    Suspender,
    raw::{self, Suspended},
    stack::Stack,
};

/// Keeps more integers and floats alive across a suspension than there are registers.
fn mix(suspender: &Suspender<u64, u64>, seed: u64, rounds: u64) -> (u64, f64) {
    let mut integers: [u64; 20] = std::array::from_fn(|n| seed.wrapping_mul(n as u64 + 1));
    let mut floats: [f64; 20] = std::array::from_fn(|n| (seed % 1000) as f64 + n as f64);
    for _ in 0..rounds {
        let input = suspender.suspend(integers[0]);
        for n in 0..20 {
            integers[n] = integers[n].rotate_left(7) ^ integers[(n + 1) % 20] ^ input;
            floats[n] = (floats[n] * 1.25 + floats[(n + 3) % 20]) % 1e6;
        }
    }
    (integers.iter().fold(0, |a, b| a ^ b), floats.iter().sum())
}

#[test]
fn many_coroutines_keep_their_registers() {
    const ROUNDS: u64 = 1000;
    let alone = |seed: u64| {
        let mut coroutine =
            Coroutine::new(move |suspender, first| mix(suspender, seed ^ first, ROUNDS));
        let mut input = 1;
        loop {
            match coroutine.resume(input) {
                Yielded(_) => input = 5,
                Returned(result) => break result,
            }
        }
    };
    let expected: Vec<_> = (0..50).map(alone).collect();

    let mut coroutines: Vec<_> = (0..50u64)
        .map(|seed| {
            Coroutine::new(move |suspender, first: u64| mix(suspender, seed ^ first, ROUNDS))
        })
        .collect();
    let mut input = 1;
    let mut results = vec![];
    while results.len() < coroutines.len() {
        for coroutine in &mut coroutines {
            if let Returned(result) = coroutine.resume(input) {
                results.push(result);
            }
        }
        input = 5;
    }
    assert_eq!(results, expected);
}

/// Bounces back to `main`, with every register changed that a function may change.
struct Trash {
    main: Option<Suspended>,
    other: Option<Suspended>,
}

unsafe extern "C" fn trash(arg: *mut ()) -> ! {
    let pair = arg.cast::<Trash>();
    loop {
        // SAFETY: overwrites registers and says so; rbx and rbp are put back, as they must be
        // between two statements. The switch is given what the test prepared.
        unsafe {
            asm!(
                "mov r12, -1", "mov r13, -1", "mov r14, -1", "mov r15, -1",
                "pcmpeqd xmm0, xmm0", "pcmpeqd xmm7, xmm7", "pcmpeqd xmm15, xmm15",
                out("r12") _, out("r13") _, out("r14") _, out("r15") _,
                out("xmm0") _, out("xmm7") _, out("xmm15") _,
            );
            asm!(
                "push rbx", "push rbp", "mov rbx, -1", "mov rbp, -1",
                // A switch by hand, so that the other side finds rbx and rbp overwritten.
                "lea rax, [rip + 2f]", "push rax", "mov [rdi], rsp",
                "lea rsp, [rsi + 8]", "jmp [rsi]",
                "2:", "pop rbp", "pop rbx",
                in("rdi") &raw mut (*pair).other,
                in("rsi") (*pair).main.unwrap().as_ptr(),
                lateout("r12") _, lateout("r13") _, lateout("r14") _, lateout("r15") _,
                clobber_abi("sysv64"),
            );
        }
    }
}

#[test]
fn registers_the_other_side_overwrites_come_back() {
    let stack = Stack::new(64 * 1024).unwrap();
    let mut pair = Trash { main: None, other: None };
    let pair = &raw mut pair;
    // SAFETY: the stack is alive throughout; `trash` is abandoned with nothing to be dropped.
    unsafe { (*pair).other = Some(raw::prepare(stack.top(), trash, pair.cast())) };
    for round in 0..1000u64 {
        let before: [u64; 16] = std::array::from_fn(|n| black_box(round * 16 + n as u64));
        let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = before;
        let float = black_box(round as f64);
        // SAFETY: `other` is suspended, and `main` is what `trash` continues.
        unsafe { raw::switch((&raw mut (*pair).main).cast(), (*pair).other.unwrap()) };
        assert_eq!([a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p], before);
        assert_eq!(float, round as f64);
    }
}

#[test]
fn stacks_are_aligned_where_calls_demand_it() {
    #[inline(never)]
    fn aligned_store() -> usize {
        // An aligned store faults if the compiler was misled about the stack.
        let mut place = [0u8; 16];
        // SAFETY: the place is checked to be aligned by the type.
        #[repr(align(16))]
        struct Place([u8; 16]);
        let mut aligned = Place([0; 16]);
        // SAFETY: `aligned` is 16 bytes at an aligned address.
        unsafe { _mm_store_si128(aligned.0.as_mut_ptr().cast(), _mm_set1_epi8(7)) };
        place.copy_from_slice(&aligned.0);
        black_box(&mut aligned);
        assert_eq!(place, [7; 16]);
        ptr::from_ref(&aligned).addr() % 16
    }
    // All colours, hence many stacks at once.
    let mut coroutines: Vec<Coroutine<(), usize, ()>> = (0..64)
        .map(|_| {
            Coroutine::new(|suspender, ()| {
                suspender.suspend(aligned_store());
                suspender.suspend(aligned_store());
            })
        })
        .collect();
    for _ in 0..2 {
        for coroutine in &mut coroutines {
            assert_eq!(coroutine.resume(()), Yielded(0));
        }
    }
}

#[test]
fn entries_find_an_aligned_stack_pointer() {
    unsafe extern "C" fn entry(arg: *mut ()) -> ! {
        let rsp: usize;
        // SAFETY: reads a register.
        unsafe { asm!("mov {}, rsp", out(reg) rsp) };
        let report = arg.cast::<(Option<Suspended>, usize)>();
        // SAFETY: the test keeps this alive, and its side is suspended.
        unsafe {
            (*report).1 = rsp;
            raw::exit_to((*report).0.unwrap())
        }
    }
    let stack = Stack::new(0).unwrap();
    for offset in [0, 16, 32, 48] {
        let mut report: (Option<Suspended>, usize) = (None, 0);
        let report = &raw mut report;
        // SAFETY: the stack is ours, has room below its top, and is left by `entry` for ever.
        unsafe {
            let fresh = raw::prepare(stack.top().sub(offset), entry, report.cast());
            raw::switch((&raw mut (*report).0).cast(), fresh);
            assert_eq!((*report).1 % 16, 0);
            assert!((*report).1 < stack.top().as_ptr().addr() - offset);
        }
    }
}
