//! Guard pages: which kind this kernel offers, and putting one in place.
//!
//! What it does not do: handle the signal that a hit raises; see [`super::overflow`].

use core::ptr::{NonNull, null_mut};
use std::{io, sync::OnceLock};

/// The bytes of every guard. Fixed by the first stack.
static SIZE: OnceLock<usize> = OnceLock::new();

/// Makes guards larger than a page: `bytes`, rounded up to whole pages.
///
/// Rust touches each page that a large frame spans, so a single page stops it. C code may be
/// compiled without such probes (`-fstack-clash-protection` adds them): a frame larger than the
/// guard can then step over it, into the stack below. Call this before the first stack is made, in
/// programs that run such code on coroutines. Guards are address space, not memory; they are part
/// of a stack's size, and a stack is at least twice as large as its guard.
///
/// # Errors
///
/// - [`InvalidInput`](io::ErrorKind::InvalidInput) if `bytes` is more than 64 MiB.
/// - [`AlreadyExists`](io::ErrorKind::AlreadyExists) if there are stacks already, or another size
///   has been chosen.
///
/// ```standalone_crate
/// use bifilar_coroutine::stack::{Stack, set_guard_size};
///
/// set_guard_size(64 * 1024)?;
/// assert!(Stack::new(256 * 1024)?.size() > 190 * 1024);
/// assert!(set_guard_size(4096).is_err());
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn set_guard_size(bytes: usize) -> io::Result<()> {
    if bytes > LARGEST {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("guards of {bytes} bytes: the largest possible are {LARGEST}"),
        ));
    }
    let wanted = bytes.max(1).next_multiple_of(page_size());
    match *SIZE.get_or_init(|| wanted) {
        fixed if fixed == wanted => Ok(()),
        fixed => Err(io::Error::new(
            io::ErrorKind::AlreadyExists,
            format!(
                "guards are {fixed} bytes already: their size is chosen before the first stack"
            ),
        )),
    }
}

/// More than any sane frame.
const LARGEST: usize = 64 << 20;

/// The bytes of every guard.
#[inline]
pub(super) fn size() -> usize {
    *SIZE.get_or_init(page_size)
}

/// How the pages below stacks are made inaccessible. See [`guard_kind`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GuardKind {
    /// A mark in the page table (Linux 6.13): any number of them.
    Madvise,
    /// Page protection, which splits the mapping: about 32,000 of them by default.
    Mprotect,
}

/// Says how guards are made here. Asks the kernel once.
///
/// [`GuardKind::Mprotect`] means that the kernel is older than 6.13, or a sandbox or an emulator
/// hides the call, or the process has locked its memory. The number of stacks is then limited by
/// `vm.max_map_count`, at two mappings each.
///
/// ```
/// use bifilar_coroutine::stack::{GuardKind, guard_kind};
/// if guard_kind() == GuardKind::Mprotect {
///     eprintln!("more than 30,000 stacks need a larger vm.max_map_count");
/// }
/// ```
pub fn guard_kind() -> GuardKind {
    static KIND: OnceLock<GuardKind> = OnceLock::new();
    *KIND.get_or_init(|| if light_guard_works() { GuardKind::Madvise } else { GuardKind::Mprotect })
}

/// Installs light guards: from `include/uapi/asm-generic/mman-common.h` of Linux 6.13.
const MADV_GUARD_INSTALL: libc::c_int = 102;

/// Makes the guard at `slot`, the lowest [`size`] bytes of a slot, inaccessible.
///
/// # Safety
///
/// They are pages of a mapping we own, and nothing uses their content.
pub(super) unsafe fn install(slot: NonNull<u8>) -> io::Result<()> {
    let address = slot.as_ptr().cast();
    if guard_kind() == GuardKind::Madvise {
        // SAFETY: the caller owns the pages and gave up their content.
        if unsafe { libc::madvise(address, size(), MADV_GUARD_INSTALL) } == 0 {
            return Ok(());
        }
        // The kernel refuses where memory was locked after the probe: fall through.
    }
    // SAFETY: as above.
    if unsafe { libc::mprotect(address, size(), libc::PROT_NONE) } == 0 {
        return Ok(());
    }
    let error = io::Error::last_os_error();
    if error.raw_os_error() != Some(libc::ENOMEM) {
        return Err(error);
    }
    Err(io::Error::new(
        io::ErrorKind::OutOfMemory,
        format!(
            "no guard for another stack: {error}; each takes two memory mappings here, and the \
             sysctl vm.max_map_count says how many a process may have"
        ),
    ))
}

/// The size of a page.
#[inline]
pub(super) fn page_size() -> usize {
    // SAFETY: asks for a constant of the system.
    unsafe { libc::sysconf(libc::_SC_PAGESIZE) as usize }
}

/// Tries a light guard on a page of its own.
fn light_guard_works() -> bool {
    let length = page_size();
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    // SAFETY: a fresh mapping at an address of the kernel's choice touches nothing that exists.
    let page =
        unsafe { libc::mmap(null_mut(), length, libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0) };
    if page == libc::MAP_FAILED {
        return false;
    }
    // An emulator may take any advice for granted and ignore it (QEMU does), so look at the page.
    // SAFETY: the page is ours and empty.
    let works = unsafe { libc::madvise(page, length, MADV_GUARD_INSTALL) } == 0
        && is_inaccessible(page.cast());
    // SAFETY: nothing refers to the page.
    unsafe { libc::munmap(page, length) };
    works
}

/// Whether the kernel, which gives an error where we would get a signal, can't read at `address`.
fn is_inaccessible(address: *const u8) -> bool {
    let mut ends = [-1; 2];
    // SAFETY: writes two descriptors into an array of two.
    if unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC) } != 0 {
        return false;
    }
    // SAFETY: the kernel checks the address; one byte finds room in an empty pipe.
    let written = unsafe { libc::write(ends[1], address.cast(), 1) };
    let inaccessible =
        written == -1 && io::Error::last_os_error().raw_os_error() == Some(libc::EFAULT);
    for end in ends {
        // SAFETY: a descriptor from above that nobody else knows.
        unsafe { libc::close(end) };
    }
    inaccessible
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_is_asked_whether_a_page_can_be_read() {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        for (protection, expected) in [(libc::PROT_READ, false), (libc::PROT_NONE, true)] {
            // SAFETY: a fresh mapping at an address of the kernel's choice.
            let page = unsafe { libc::mmap(null_mut(), page_size(), protection, flags, -1, 0) };
            assert_ne!(page, libc::MAP_FAILED);
            assert_eq!(is_inaccessible(page.cast()), expected);
            // SAFETY: nothing refers to the page.
            unsafe { libc::munmap(page, page_size()) };
        }
    }
}
