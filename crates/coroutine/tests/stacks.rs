//! Stacks: sizes, number, reuse, and what guards them.

mod child;

use std::{io::ErrorKind, os::unix::process::ExitStatusExt, thread};

use bifilar_coroutine::{
    Coroutine, CoroutineState,
    stack::{DEFAULT_SIZE, GuardKind, MAX_SIZE, MIN_SIZE, Stack, guard_kind},
};
use child::Side;

const PAGE: usize = 4096;

#[test]
fn sizes() {
    let cases = [
        (0, MIN_SIZE),
        (1, MIN_SIZE),
        (4095, MIN_SIZE),
        (4096, MIN_SIZE),
        (4097, MIN_SIZE),
        (MIN_SIZE - 1, MIN_SIZE),
        (MIN_SIZE, MIN_SIZE),
        (MIN_SIZE + 1, 2 * MIN_SIZE),
        (65_535, 65_536),
        (65_536, 65_536),
        (65_537, 131_072),
        (DEFAULT_SIZE, DEFAULT_SIZE),
        (1 << 20, 1 << 20),
        ((1 << 26) + 1, 1 << 27),
        (MAX_SIZE - 1, MAX_SIZE),
        (MAX_SIZE, MAX_SIZE),
    ];
    for (wish, reserved) in cases {
        let stack = Stack::new(wish).unwrap();
        assert_eq!(stack.reserved(), reserved, "{wish}");
        let (top, limit) = (stack.top().as_ptr().addr(), stack.limit().as_ptr().addr());
        assert_eq!((top % 16, limit % PAGE), (0, 0), "{wish}");
        assert_eq!(stack.size(), top - limit, "{wish}");
        let lost = reserved - stack.size();
        assert!((PAGE..PAGE + 2048).contains(&lost), "{wish}: {lost} lost");
    }
    for wish in [MAX_SIZE + 1, isize::MAX as usize, usize::MAX - 4095, usize::MAX] {
        let error = Stack::new(wish).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{wish}");
        assert!(error.to_string().contains(&wish.to_string()));
    }
}

#[test]
fn every_byte_is_usable() {
    for size in [MIN_SIZE, DEFAULT_SIZE] {
        let stack = Stack::new(size).unwrap();
        // SAFETY: the memory is ours and nothing runs on it.
        unsafe { stack.limit().write_bytes(0xAA, stack.size()) };
    }
}

#[test]
fn the_smallest_stack_can_be_unwound() {
    for _ in 0..64 {
        let stack = Stack::new(0).unwrap();
        let token = std::rc::Rc::new(());
        let inside = std::rc::Rc::clone(&token);
        let mut coroutine: Coroutine<(), (), ()> = Coroutine::with_stack(stack, move |s, ()| {
            let _inside = inside;
            s.suspend(());
        });
        coroutine.resume(());
        assert_eq!(std::rc::Rc::strong_count(&token), 2);
        drop(coroutine);
        assert_eq!(std::rc::Rc::strong_count(&token), 1);
    }
}

#[test]
fn tops_are_coloured() {
    let stacks: Vec<_> = (0..64).map(|_| Stack::new(1 << 22).unwrap()).collect();
    let mut colours: Vec<_> = stacks.iter().map(|stack| stack.top().addr().get() % PAGE).collect();
    colours.sort_unstable();
    colours.dedup();
    assert_eq!(colours.len(), 32);
    assert!(colours.iter().all(|colour| colour % 64 == 0));
}

#[test]
fn the_last_one_given_back_is_the_first_taken() {
    // A class that no other test of this process uses, so that none takes ours.
    const SIZE: usize = 1 << 19;
    let stacks: Vec<_> = (0..100).map(|_| Stack::new(SIZE).unwrap()).collect();
    let tops: Vec<_> = stacks.iter().map(Stack::top).collect();
    for stack in stacks {
        drop(stack);
    }
    let again: Vec<_> = (0..100).map(|_| Stack::new(SIZE).unwrap()).collect();
    let mut reused: Vec<_> = again.iter().map(Stack::top).collect();
    // The few that stayed warm come first, in reverse, and then the others, in reverse.
    assert_eq!(reused[0], tops[15]);
    assert_eq!(reused[16], tops[99]);
    let mut tops = tops;
    tops.sort_unstable();
    reused.sort_unstable();
    assert_eq!(reused, tops);
}

#[test]
fn discarding_keeps_the_topmost_page() {
    let stack = Stack::new(1 << 21).unwrap();
    // SAFETY: the memory is ours and nothing runs on it.
    unsafe {
        stack.top().sub(1).write(1);
        stack.limit().write(1);
        stack.top().sub(3 * PAGE).write(1);
        stack.discard();
        assert_eq!(stack.top().sub(1).read(), 1);
        assert_eq!(stack.limit().read(), 0);
        assert_eq!(stack.top().sub(3 * PAGE).read(), 0);
    }
}

#[test]
fn stacks_travel_between_threads() {
    let stacks: Vec<_> = (0..8).map(|_| Stack::new(DEFAULT_SIZE).unwrap()).collect();
    thread::scope(|scope| {
        for stack in stacks {
            scope.spawn(move || {
                let mut coroutine = Coroutine::with_stack(stack, |suspender, n: u32| {
                    suspender.suspend(n);
                });
                assert_eq!(coroutine.resume(1), CoroutineState::Yielded(1));
                drop(coroutine);
                for n in 0..1000 {
                    let mut short: Coroutine<u32, (), u32> = Coroutine::new(|_, n| n);
                    assert_eq!(short.resume(n), CoroutineState::Returned(n));
                }
            });
        }
    });
}

#[test]
fn a_hundred_thousand_at_once() {
    // mprotect guards end at about 32,000 by default.
    let count = match guard_kind() {
        GuardKind::Madvise => 100_000,
        GuardKind::Mprotect => 20_000,
    };
    let mut coroutines: Vec<_> = (0..count)
        .map(|n| {
            let mut coroutine: Coroutine<usize, usize, usize> =
                Coroutine::new(move |suspender, a| n + suspender.suspend(n + a));
            assert_eq!(coroutine.resume(1), CoroutineState::Yielded(n + 1));
            coroutine
        })
        .collect();
    for (n, coroutine) in coroutines.iter_mut().enumerate() {
        assert_eq!(coroutine.resume(2), CoroutineState::Returned(n + 2));
    }
    if guard_kind() == GuardKind::Madvise {
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap().lines().count();
        assert!(maps < 1_000, "{maps} mappings");
    }
}

/// Kernels without light guards refuse them; so do all where memory is locked. Ends by SIGSEGV if
/// the other kind of guard is in place: the pointer is wild, and no stack has overflowed.
#[test]
fn without_light_guards_page_protection_guards() {
    let case = match child::side() {
        Side::Child(case) => case,
        Side::Parent => {
            for case in ["locked before the probe", "locked after the probe"] {
                let output = child::run("without_light_guards_page_protection_guards", case);
                let locked = output.status.code() != Some(MAY_NOT_LOCK);
                assert!(
                    !locked || output.status.signal() == Some(libc::SIGSEGV),
                    "{case}: {output:?}"
                );
            }
            return;
        }
    };
    const MAY_NOT_LOCK: i32 = 99;
    if case == "locked after the probe" {
        guard_kind();
    }
    // SAFETY: locks memory; pages that aren't there stay away until they are touched.
    if unsafe { libc::mlockall(libc::MCL_CURRENT | libc::MCL_FUTURE | libc::MCL_ONFAULT) } != 0 {
        std::process::exit(MAY_NOT_LOCK);
    }
    if case == "locked before the probe" {
        assert_eq!(guard_kind(), GuardKind::Mprotect);
    }
    let stack = Stack::new(DEFAULT_SIZE).unwrap();
    // Locked pages can't be given up, which must not matter.
    let many: Vec<_> = (0..100).map(|_| Stack::new(DEFAULT_SIZE).unwrap()).collect();
    drop(many);
    // SAFETY: ours.
    unsafe { stack.limit().write_volatile(1) };
    // SAFETY: not sound at all; the guard is what is tested.
    unsafe { stack.limit().sub(1).write_volatile(0) };
}

#[inline(never)]
fn use_stack<const BYTES: usize>() -> usize {
    let mut array = [1_u8; BYTES];
    std::hint::black_box(&mut array);
    array.iter().map(|&byte| usize::from(byte)).sum()
}

fn depth_of(size: usize, body: fn() -> usize) -> usize {
    let stack = Stack::new(size).unwrap();
    // SAFETY: nothing runs on it.
    unsafe { stack.clear() };
    let mut coroutine: Coroutine<(), (), usize> = Coroutine::with_stack(stack, move |_, ()| body());
    coroutine.resume(());
    coroutine.stack_depth()
}

#[test]
fn the_depth_is_what_was_used() {
    for size in [1 << 14, 1 << 18, 1 << 23, MAX_SIZE] {
        let stack = Stack::new(size).unwrap();
        // SAFETY: the memory is ours and nothing runs on it.
        unsafe {
            stack.limit().write_bytes(0xAA, stack.size().min(1 << 20));
            assert_eq!(stack.depth(), stack.size(), "{size}");
            stack.clear();
            assert_eq!(stack.depth(), 0, "{size}");
            for depth in [8, 16, 4000, stack.size() - 4096, stack.size()] {
                stack.top().sub(depth).write(1);
                assert_eq!(stack.depth(), depth, "{size}");
            }
            stack.clear();
            assert_eq!(stack.depth(), 0, "{size}");
            // A zero is not to be seen, though its page is there.
            stack.limit().write(0);
            stack.top().sub(24).write(1);
            assert_eq!(stack.depth(), 24, "{size}");
        }
    }
}

#[test]
fn the_depth_does_not_depend_on_earlier_users() {
    const KIB: usize = 1024;
    let shallow = depth_of(DEFAULT_SIZE, || 0);
    assert!((64..4 * KIB).contains(&shallow), "{shallow}");
    let deep = depth_of(DEFAULT_SIZE, use_stack::<{ 100 * KIB }>);
    assert!((100 * KIB..110 * KIB).contains(&deep), "{deep}");
    assert_eq!(depth_of(DEFAULT_SIZE, || 0), shallow);
    assert_eq!(depth_of(1 << 23, use_stack::<{ 100 * KIB }>), deep);
}

/// Such memory can't be given up, but it can be written.
#[test]
fn the_depth_in_locked_memory() {
    if let Side::Child(_) = child::side() {
        // SAFETY: locks memory; pages that aren't there stay away until they are touched.
        if unsafe { libc::mlockall(libc::MCL_CURRENT | libc::MCL_FUTURE | libc::MCL_ONFAULT) } == 0
        {
            the_depth_is_what_was_used();
            the_depth_does_not_depend_on_earlier_users();
        }
        return;
    }
    let output = child::run("the_depth_in_locked_memory", "locked");
    assert!(output.status.success(), "{output:?}");
}

/// Where a limit leaves no room for a large slab, there are small ones; and where there is no room at
/// all, an error.
#[test]
fn stacks_within_a_limit() {
    if let Side::Child(_) = child::side() {
        let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
        let pages: u64 = statm.split(' ').next().unwrap().parse().unwrap();
        let limit = pages * PAGE as u64 + (40 << 20);
        let limit = libc::rlimit { rlim_cur: limit, rlim_max: limit };
        // SAFETY: a limit of this process.
        assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_AS, &raw const limit) }, 0);
        let mut stacks = Vec::new();
        let error = loop {
            match Stack::new(1 << 20) {
                Ok(stack) => stacks.push(stack),
                Err(error) => break error,
            }
        };
        assert_eq!(error.kind(), ErrorKind::OutOfMemory);
        assert!((10..=40).contains(&stacks.len()), "{}", stacks.len());
        // What was given back can be had again.
        drop(stacks.pop());
        stacks.push(Stack::new(1 << 20).unwrap());
        assert!(Stack::new(1 << 20).is_err());
        return;
    }
    let output = child::run("stacks_within_a_limit", "limited");
    assert!(output.status.success(), "{output:?}");
}
