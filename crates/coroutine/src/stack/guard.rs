//! Guard pages: which kind this kernel offers, and putting one in place.
//!
//! What it does not do: handle the signal that a hit raises.

use core::ptr::{NonNull, null_mut};
use std::{io, sync::OnceLock};

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

/// Makes the page at `page` inaccessible.
///
/// # Safety
///
/// `page` is the address of a page of a mapping we own, and nothing uses its content.
pub(super) unsafe fn install(page: NonNull<u8>) -> io::Result<()> {
    let address = page.as_ptr().cast();
    if guard_kind() == GuardKind::Madvise {
        // SAFETY: the caller owns the page and gave up its content.
        if unsafe { libc::madvise(address, page_size(), MADV_GUARD_INSTALL) } == 0 {
            return Ok(());
        }
        // The kernel refuses where memory was locked after the probe: fall through.
    }
    // SAFETY: as above.
    match unsafe { libc::mprotect(address, page_size(), libc::PROT_NONE) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// The size of a page, and of a guard.
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
