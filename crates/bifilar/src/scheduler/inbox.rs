//! Wake-ups from other threads for what only this worker may run: suspended stacks and local tasks.
//!
//! A stack of links (Treiber 1986): any thread pushes, the worker takes all at once and turns the
//! order around. Taking all at once is what makes it free of the ABA problem.
//!
//! Orderings: `push` releases the element, `take` acquires all of them.

use crate::{
    cell::{Fifo, Link},
    primitives::{AtomicPtr, Ordering},
};
use std::ptr::{self, NonNull};

pub(super) struct Inbox(AtomicPtr<Link>);

impl Inbox {
    pub fn new() -> Self {
        Inbox(AtomicPtr::new(ptr::null_mut()))
    }

    #[inline]
    pub fn is_empty(&self) -> bool {
        self.0.load(Ordering::Relaxed).is_null()
    }

    /// `true`: the inbox was empty, and this caller must see to it that the worker looks. Others
    /// that find it filled may rely on the first one.
    ///
    /// # Safety
    /// `link` is alive until it is taken, and stands in no other queue.
    #[must_use]
    pub unsafe fn push(&self, link: NonNull<Link>) -> bool {
        let mut head = self.0.load(Ordering::Relaxed);
        loop {
            // SAFETY: alive, and ours until the exchange below succeeds.
            unsafe { link.as_ref() }.set_next(head);
            match self.0.compare_exchange_weak(
                head,
                link.as_ptr(),
                Ordering::Release,
                Ordering::Relaxed,
            ) {
                Ok(_) => return head.is_null(),
                Err(now) => head = now,
            }
        }
    }

    /// Moves everything to the end of `list`, in the order of arrival. For the worker alone.
    pub fn take(&self, list: &mut Fifo) {
        let mut newest = self.0.swap(ptr::null_mut(), Ordering::Acquire);
        let mut oldest: *mut Link = ptr::null_mut();
        while let Some(link) = NonNull::new(newest) {
            // SAFETY: taken from the inbox, so alive and ours.
            let link = unsafe { link.as_ref() };
            let next = link.next();
            link.set_next(oldest);
            oldest = newest;
            newest = next;
        }
        while let Some(link) = NonNull::new(oldest) {
            // SAFETY: as above.
            oldest = unsafe { link.as_ref() }.next();
            // SAFETY: it stands in no other queue any more.
            unsafe { list.push(link) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cell::Kind;

    fn leak() -> NonNull<Link> {
        NonNull::from(Box::leak(Box::new(Link::new(Kind::Stack))))
    }

    fn free(link: NonNull<Link>) {
        // SAFETY: made by `leak`, and in no queue.
        drop(unsafe { Box::from_raw(link.as_ptr()) });
    }

    #[cfg(not(loom))]
    #[test]
    fn the_order_of_arrival_is_kept() {
        let inbox = Inbox::new();
        let links: Vec<_> = (0..5).map(|_| leak()).collect();
        let mut list = Fifo::new();
        for (i, &link) in links.iter().enumerate() {
            // SAFETY: alive, in no queue.
            let first = unsafe { inbox.push(link) };
            assert_eq!(first, i == 0 || i == 3);
            if i == 2 {
                inbox.take(&mut list);
            }
        }
        inbox.take(&mut list);
        assert!(inbox.is_empty());
        let got: Vec<_> = std::iter::from_fn(|| list.pop()).collect();
        assert_eq!(got, links);
        got.into_iter().for_each(free);
    }

    #[cfg(loom)]
    #[test]
    fn loom_nothing_is_lost_and_somebody_is_responsible() {
        loom::model(|| {
            let inbox = loom::sync::Arc::new(Inbox::new());
            let pushers: Vec<_> = (0..2)
                .map(|_| {
                    let inbox = inbox.clone();
                    loom::thread::spawn(move || {
                        // SAFETY: alive, in no queue.
                        unsafe { inbox.push(leak()) }
                    })
                })
                .collect();
            let mut list = Fifo::new();
            inbox.take(&mut list);
            let early = list.len();
            let firsts = pushers.into_iter().filter(|_| true).map(|p| p.join().unwrap());
            let firsts = firsts.filter(|&first| first).count();
            inbox.take(&mut list);
            assert_eq!(list.len(), 2);
            // One "first" for each time that the inbox went from empty to filled.
            assert_eq!(firsts, if early == 1 { 2 } else { 1 });
            while let Some(link) = list.pop() {
                free(link);
            }
        });
    }
}
