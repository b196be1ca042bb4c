//! Stacks: sizes, number, reuse, and what guards them.

mod child;

use std::{
    io::ErrorKind,
    os::unix::process::ExitStatusExt,
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
    thread,
};

use bifilar_coroutine::{
    Coroutine, CoroutineState,
    stack::{COMPANION_SIZE, DEFAULT_SIZE, GuardKind, MAX_SIZE, MIN_SIZE, Pool, Stack, guard_kind},
};
use child::Side;

/// In bytes.
fn page() -> usize {
    // SAFETY: only asks.
    unsafe { libc::sysconf(libc::_SC_PAGESIZE) }.try_into().unwrap()
}

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
        // Larger pages make the smallest ones larger.
        let reserved = reserved.max(4 * page());
        assert_eq!(stack.reserved(), reserved, "{wish}");
        let (top, limit) = (stack.top().as_ptr().addr(), stack.limit().as_ptr().addr());
        assert_eq!((top % 16, limit % page()), (0, 0), "{wish}");
        assert_eq!(stack.size(), top - limit, "{wish}");
        let lost = reserved - stack.size();
        assert!((page()..page() + 2048).contains(&lost), "{wish}: {lost} lost");
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
    let mut colours: Vec<_> =
        stacks.iter().map(|stack| stack.top().addr().get() % page()).collect();
    colours.sort_unstable();
    colours.dedup();
    assert_eq!(colours.len(), 32);
    assert!(colours.iter().all(|colour| colour % 64 == 0));
}

#[test]
fn kept_stacks_are_taken_first_and_trimmed_ones_by_address() {
    static POOL: Pool = Pool::new();
    let stacks: Vec<_> = (0..200).map(|_| POOL.take(DEFAULT_SIZE).unwrap()).collect();
    let tops: Vec<_> = stacks.iter().map(|stack| stack.top().addr()).collect();
    assert!(tops.is_sorted());
    assert_eq!(usage(&POOL), (200, 0));
    let mut stacks = stacks.into_iter();
    stacks.by_ref().take(64).for_each(drop);
    assert_eq!(usage(&POOL), (136, 64));
    // One more: the lowest quarter stays warm.
    drop(stacks.next());
    assert_eq!(usage(&POOL), (135, 16));
    let warm: Vec<_> = (0..16).map(|_| POOL.take(DEFAULT_SIZE).unwrap()).collect();
    let cold: Vec<_> = (0..49).map(|_| POOL.take(DEFAULT_SIZE).unwrap()).collect();
    assert_eq!(usage(&POOL), (200, 0));
    let again: Vec<_> = warm.iter().chain(&cold).map(|stack| stack.top().addr()).collect();
    assert_eq!(again, tops[..65]);
    // The last one given back is the first taken.
    drop(cold);
    let reused = POOL.take(DEFAULT_SIZE).unwrap();
    assert_eq!(reused.top().addr(), tops[64]);
    // Other sizes have slabs of their own.
    let other = POOL.take(2 * DEFAULT_SIZE).unwrap();
    assert!(!tops.contains(&other.top().addr()));
}

fn usage(pool: &Pool) -> (usize, usize) {
    let usage = pool.usage();
    (usage.in_use, usage.kept)
}

#[test]
fn a_huge_stack_is_not_kept() {
    static POOL: Pool = Pool::new();
    for _ in 0..3 {
        let stack = POOL.take(MAX_SIZE).unwrap();
        // SAFETY: ours.
        unsafe {
            assert_eq!(stack.top().sub(1).read(), 0);
            stack.top().sub(1).write(1);
        }
    }
    assert_eq!(usage(&POOL), (0, 0));
    assert!(POOL.usage().reserved < 2 * MAX_SIZE, "one and the same place");
}

/// Fills a pool, writes all over, gives stacks back in many orders, and looks for content that
/// should not be there, or should, and for guards.
#[test]
fn memory_given_up_is_zero_and_what_stays_is_untouched() {
    static POOL: Pool = Pool::new();
    // Three slabs, the third of them in part.
    const COUNT: usize = 4096 + 4096 + 500;
    let mut random = Random(0x5EED);
    let mut stacks: Vec<Stack> = Vec::new();
    for round in 0..6 {
        while stacks.len() < COUNT {
            let stack = POOL.take(MIN_SIZE).unwrap();
            // SAFETY: ours; a guarded page would end the process.
            unsafe {
                let (low, high) = (stack.limit(), stack.top().sub(8));
                // A kept stack is as its last user left it: with its own address.
                let expected = [0, stack.top().addr().get()];
                assert!(expected.contains(&low.cast::<usize>().read()), "round {round}");
                assert!(expected.contains(&high.cast::<usize>().read()), "round {round}");
                low.cast::<usize>().write(stack.top().addr().get());
                high.cast::<usize>().write(stack.top().addr().get());
            }
            stacks.push(stack);
        }
        let mut tops: Vec<_> = stacks.iter().map(|stack| stack.top().addr()).collect();
        tops.sort_unstable();
        tops.dedup();
        assert_eq!(tops.len(), COUNT, "round {round}: two own the same");
        match round % 3 {
            0 => stacks.sort_by_key(|stack| stack.top().addr()),
            1 => stacks.sort_by_key(|stack| std::cmp::Reverse(stack.top().addr())),
            _ => random.shuffle(&mut stacks),
        }
        // All, a few, nearly all.
        stacks.truncate([0, COUNT - 300, 40][round % 3]);
        for stack in &stacks {
            // SAFETY: ours.
            let content = unsafe { stack.limit().cast::<usize>().read() };
            assert_eq!(content, stack.top().addr().get(), "round {round}");
        }
        let usage = POOL.usage();
        assert_eq!(usage.in_use, stacks.len());
        assert!(usage.kept <= 64);
    }
}

#[test]
fn companions_are_zero_at_first_and_valid_for_ever() {
    static POOL: Pool = Pool::new();
    let mut words: Vec<&'static AtomicUsize> = Vec::new();
    for round in 0..3 {
        let stacks: Vec<_> = (0..5000).map(|_| POOL.take(MIN_SIZE).unwrap()).collect();
        for stack in &stacks {
            assert!(stack.companion().addr().get().is_multiple_of(COMPANION_SIZE));
            // SAFETY: atomics are what this pool's companions are, at each of their ends.
            let (first, last): (&AtomicUsize, &AtomicUsize) = unsafe {
                let end = stack.companion().add(COMPANION_SIZE - size_of::<usize>());
                (stack.companion().cast().as_ref(), end.cast().as_ref())
            };
            for word in [first, last] {
                let before = word.fetch_add(1, Relaxed);
                assert!(before < 2 * 3, "round {round}: {before}");
                words.push(word);
            }
        }
        drop(stacks);
        words.iter().for_each(|word| _ = word.load(Relaxed));
    }
    let mut addresses: Vec<_> = words.iter().map(|word| std::ptr::from_ref(*word)).collect();
    addresses.sort_unstable();
    addresses.dedup();
    assert_eq!(addresses.len(), 10_000, "no two stacks have the same, and each has the same again");
}

#[test]
fn threads_share_a_pool() {
    static POOL: Pool = Pool::new();
    thread::scope(|scope| {
        for seed in 1..=4 {
            scope.spawn(move || {
                let mut random = Random(seed);
                let mut stacks: Vec<Stack> = Vec::new();
                for _ in 0..20_000 {
                    if random.below(1000) == 0 {
                        random.shuffle(&mut stacks);
                        stacks.truncate(random.below(20));
                    }
                    let stack = POOL.take(MIN_SIZE).unwrap();
                    // SAFETY: ours, unless it is somebody else's, too.
                    unsafe { stack.limit().cast::<u64>().write_volatile(seed) };
                    stacks.push(stack);
                    let old = &stacks[random.below(stacks.len())];
                    // SAFETY: ours, and written above.
                    assert_eq!(unsafe { old.limit().cast::<u64>().read_volatile() }, seed);
                }
            });
        }
    });
    assert_eq!(POOL.usage().in_use, 0);
}

/// Pages and page tables of a crowd of stacks go back, in whatever order they come back.
#[test]
fn a_crowd_leaves_no_memory_behind() {
    let case = match child::side() {
        Side::Child(case) => case,
        Side::Parent => {
            for case in ["first first", "last first", "shuffled", "all but a few"] {
                let output = child::run("a_crowd_leaves_no_memory_behind", case);
                assert!(output.status.success(), "{case}: {output:?}");
            }
            return;
        }
    };
    static POOL: Pool = Pool::new();
    let count = if guard_kind() == GuardKind::Madvise { 50_000 } else { 20_000 };
    let mut stacks: Vec<Stack> = Vec::with_capacity(count);
    let crowd = |stacks: &mut Vec<Stack>, count| {
        for _ in 0..count {
            let stack = POOL.take(DEFAULT_SIZE).unwrap();
            // SAFETY: ours.
            unsafe { stack.top().sub(8).write(1) };
            stacks.push(stack);
        }
    };
    // What is kept stands there before as well as after.
    crowd(&mut stacks, 1_000);
    stacks.clear();
    let before = memory();
    crowd(&mut stacks, count);
    let grown = memory() - before;
    assert!(grown > count * page(), "{grown}");
    match &*case {
        "first first" => {}
        "last first" => stacks.reverse(),
        "shuffled" => Random(0x5EED).shuffle(&mut stacks),
        // They gather in the lowest slab as time passes, but at first they are everywhere.
        "all but a few" => stacks = stacks.into_iter().step_by(count / 10).collect(),
        _ => unreachable!(),
    }
    if case != "all but a few" {
        stacks.clear();
    }
    let left = memory().saturating_sub(before);
    assert!(left < grown / 100, "{case}: {left} of {grown} bytes are left");
}

/// Resident pages plus page tables, in bytes.
fn memory() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let kibibytes = |field: &str| -> usize {
        let line = status.lines().find(|line| line.starts_with(field)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    };
    (kibibytes("VmRSS:") + kibibytes("VmPTE:")) * 1024
}

/// Xorshift (Marsaglia 2003).
struct Random(u64);

impl Random {
    fn below(&mut self, below: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % below as u64) as usize
    }

    fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            items.swap(i, self.below(i + 1));
        }
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

#[test]
fn guards_come_back_after_a_trim() {
    // All three ways of giving up: a slab, blocks, and runs of slots.
    for keep in [0, 1, 500] {
        let mut many: Vec<_> = (0..1000).map(|_| Stack::new(1 << 15).unwrap()).collect();
        many.truncate(keep);
    }
    for stack in (0..1000).map(|_| Stack::new(1 << 15).unwrap()).collect::<Vec<_>>() {
        assert!(!is_accessible(stack.limit().as_ptr().addr() - page()));
        assert!(!is_accessible(stack.limit().as_ptr().addr() - 1));
        assert!(is_accessible(stack.limit().as_ptr().addr()));
    }
}

/// Asks the kernel to read a byte for us, as we would: not through `/proc/self/mem`, which reads what
/// page protection forbids.
fn is_accessible(address: usize) -> bool {
    let (_reader, writer) = std::io::pipe().unwrap();
    let descriptor = std::os::fd::AsRawFd::as_raw_fd(&writer);
    // SAFETY: the kernel checks the address.
    unsafe { libc::write(descriptor, std::ptr::without_provenance(address), 1) == 1 }
}

/// Locks all memory, where that is allowed. By its number: sanitizers do nothing under its name.
fn lock_memory() -> bool {
    let all = libc::MCL_CURRENT | libc::MCL_FUTURE | libc::MCL_ONFAULT;
    // SAFETY: pages that aren't there stay away until they are touched.
    unsafe { libc::syscall(libc::SYS_mlockall, all) == 0 }
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
    if !lock_memory() {
        std::process::exit(MAY_NOT_LOCK);
    }
    if case == "locked before the probe" {
        assert_eq!(guard_kind(), GuardKind::Mprotect);
    }
    let stack = Stack::new(DEFAULT_SIZE).unwrap();
    // Locked pages can't be given up, which must not matter.
    let many: Vec<_> = (0..1000).map(|_| Stack::new(DEFAULT_SIZE).unwrap()).collect();
    drop(many);
    let many: Vec<_> = (0..1000).map(|_| Stack::new(DEFAULT_SIZE).unwrap()).collect();
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
    // In builds for sanitizers frames are several times as large.
    let most = if child::SANITIZED { 16 * KIB } else { 4 * KIB };
    assert!((64..most).contains(&shallow), "{shallow}");
    let deep = depth_of(DEFAULT_SIZE, use_stack::<{ 100 * KIB }>);
    assert!((100 * KIB..106 * KIB + most).contains(&deep), "{deep}");
    // A sanitizer's own functions run on the stack, too, and go deeper one time than another.
    let differ = if child::SANITIZED { most } else { 0 };
    assert!(depth_of(DEFAULT_SIZE, || 0).abs_diff(shallow) <= differ);
    assert!(depth_of(1 << 23, use_stack::<{ 100 * KIB }>).abs_diff(deep) <= differ);
}

/// Such memory can't be given up, but it can be written.
#[test]
fn the_depth_in_locked_memory() {
    if let Side::Child(_) = child::side() {
        if lock_memory() {
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
        let limit = pages * page() as u64 + (40 << 20);
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
