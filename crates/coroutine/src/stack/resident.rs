//! The pages of a range that are in memory: those that were touched, as `mincore` tells.
//!
//! What it does not do: tell pages that were swapped out from those that were never touched.

use core::ptr::NonNull;

use super::guard::page_size;

/// How many pages are asked for in one system call.
const CHUNK: usize = 256;

/// The pages in memory among those of `length` bytes from `start` on, lowest first.
///
/// `start` is the address of a page and `length` a whole number of pages.
pub(super) fn pages(start: NonNull<u8>, length: usize) -> Pages {
    Pages { start, pages: length / page_size(), page: 0, answers: [0; CHUNK] }
}

pub(super) struct Pages {
    start: NonNull<u8>,
    pages: usize,
    /// The next to look at.
    page: usize,
    /// Of the chunk in which `page` is, once that has been begun.
    answers: [u8; CHUNK],
}

impl Pages {
    fn ask(&mut self) {
        let address = self.start.as_ptr().wrapping_add(self.page * page_size());
        let length = (self.pages - self.page).min(CHUNK) * page_size();
        // SAFETY: asks about memory, and writes one byte for each of at most CHUNK pages.
        let result = unsafe { libc::mincore(address.cast(), length, self.answers.as_mut_ptr()) };
        if result != 0 {
            // No answer: any page may be there.
            self.answers = [1; CHUNK];
        }
    }
}

impl Iterator for Pages {
    type Item = NonNull<u8>;

    fn next(&mut self) -> Option<NonNull<u8>> {
        while self.page < self.pages {
            let within = self.page % CHUNK;
            if within == 0 {
                self.ask();
            }
            let page = self.start.as_ptr().wrapping_add(self.page * page_size());
            self.page += 1;
            if self.answers[within] & 1 != 0 {
                return NonNull::new(page);
            }
        }
        None
    }
}
