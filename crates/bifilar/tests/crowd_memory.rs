//! What a crowd of blocked fibers costs, and that all of it goes back. In a process of its own, since
//! it looks at the memory of the process.

use bifilar::{Builder, JoinHandle, Wait, fiber, sync::channel, time::sleep};
use bifilar_coroutine::stack::{GuardKind, guard_kind};
use std::{
    env,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

#[test]
fn a_burst_of_fibers_gives_its_memory_back() {
    const ARENAS: &str = "MALLOC_ARENA_MAX";
    if env::var_os(ARENAS).is_none() {
        // Of several arenas, glibc's malloc_trim empties only the first to the top.
        let output = Command::new(env::current_exe().unwrap())
            .args(["a_burst_of_fibers_gives_its_memory_back", "--exact", "--nocapture"])
            .env(ARENAS, "1")
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        return;
    }
    Builder::new().workers(2).run(|| {
        // With mprotect's guards there are at most 32,000 stacks.
        let count = if guard_kind() == GuardKind::Madvise { 100_000 } else { 25_000 };
        // What stays after any crowd: kept stacks, more or less of them, and the like.
        let small = |_| {
            burst(2_000);
            memory()
        };
        let before = (0..5).map(small).max().unwrap();
        for round in 0..2 {
            let parked = burst(count);
            let each = parked.saturating_sub(before) / count;
            // In debug builds frames are larger, and some stacks take two pages.
            let most = if cfg!(debug_assertions) { 9_400 } else { 5_200 };
            assert!(each >= 4_096, "round {round}: {each} bytes each, that is no fiber");
            assert!(each <= most, "round {round}: {each} bytes each");
            let after = memory();
            assert!(
                after <= before + before / 10,
                "round {round}: {before} bytes before, {parked} with the crowd, {after} after it",
            );
        }
    });
}

/// Blocks so many fibers at once, wakes and joins them; returns the memory while they stood.
fn burst(count: usize) -> usize {
    let (sender, receiver) = channel::unbounded::<()>();
    let started = Arc::new(AtomicUsize::new(0));
    let fibers: Vec<JoinHandle<()>> = (0..count)
        .map(|_| {
            let (receiver, started) = (receiver.clone(), started.clone());
            fiber::spawn(move || {
                started.fetch_add(1, Relaxed);
                receiver.recv().wait().unwrap();
            })
        })
        .collect();
    while started.load(Relaxed) < count {
        sleep(Duration::from_millis(1)).wait();
    }
    let parked = memory();
    for _ in 0..count {
        sender.try_send(()).unwrap();
    }
    for fiber in fibers {
        fiber.join().unwrap();
    }
    parked
}

/// Resident pages plus page tables, in bytes. What the allocator holds though it was freed isn't
/// meant here.
fn memory() -> usize {
    #[cfg(target_env = "gnu")]
    // SAFETY: may be called at any time.
    unsafe {
        libc::malloc_trim(0);
    }
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let kibibytes = |field: &str| -> usize {
        let line = status.lines().find(|line| line.starts_with(field)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    };
    (kibibytes("VmRSS:") + kibibytes("VmPTE:")) * 1024
}
