//! Regions of code whose waits can be interrupted, or may not be.
//!
//! ```text
//!   stack of a worker: loop ─ poll(task) ─ until(deadline) ─ shield ─ until(token) ─ … ─ wait
//!                                 │                │            │                         │
//!   list of the stack:            3 ◄──────────────2 ◄──────────1 ◄───────────── newest ──┘
//! ```
//!
//! Deadlines, tokens and failing scopes are all the same: a future that, when it is ready, makes the
//! waits of a region unwind up to the region's edge, where the unwinding ends and the future's output
//! is the result ([`until`]). A shield is a region without a future, at which the look for
//! interruptions ends. A `wait` that would suspend looks through the list from the newest region on;
//! the oldest place of all is the task itself, which may have been cancelled. The future of a region
//! is polled then and not before, so a region in which nothing waits costs four stores.
//!
//! The list belongs to the stack, not to the task: what is suspended keeps its regions, and nothing
//! is saved or restored. A coroutine of the user's may be left in the middle of a region, finished on
//! another stack, or forgotten. So each region can leave the list from any place in it, and one that
//! stands on the stack of a coroutine is passed over: nobody knows whether that runs. When a poll
//! ends, the list is cleared: whatever is in it then was left behind by a coroutine, and the stack may
//! go to another thread.
//!
//! What it deliberately does not do: unwind. `wait` does, when [`Regions::interrupted`] says so.

use super::with;
use std::{
    cell::{Cell, UnsafeCell},
    future::{Future, IntoFuture},
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    pin::{Pin, pin},
    ptr,
    task::{Context as TaskContext, Poll},
};

/// The regions of one stack, or of a thread that stands on its own.
pub(crate) struct Regions {
    newest: Cell<*const Region>,
}

/// One region. It stands on a stack, in the frame of the call that made it, and doesn't move.
struct Region {
    /// Null once the stack has let go of it.
    list: Cell<*const Regions>,
    newer: Cell<*const Region>,
    older: Cell<*const Region>,
    /// `None`: a shield. The pointer is valid as long as the region is in the list.
    interrupt: Option<*const dyn Interrupt>,
}

/// What a region's end is asked: has it come?
trait Interrupt {
    fn poll(&self, cx: &mut TaskContext<'_>) -> Poll<()>;
}

/// The payload with which a `wait` unwinds to the edge of a region. Private, as is its meaning.
pub(crate) struct RegionUnwind(*const ());

// SAFETY: the address is compared and never followed; a payload has to be `Send`.
unsafe impl Send for RegionUnwind {}

/// What a `wait` finds when it looks for interruptions.
pub(crate) enum Interruption {
    /// Nothing in the regions; whether the task has been cancelled is still to be asked.
    AskTheTask,
    /// A shield keeps everything else off.
    Shielded,
    /// Unwind with this.
    Unwind(RegionUnwind),
}

impl Regions {
    pub const fn new() -> Self {
        Regions { newest: Cell::new(ptr::null()) }
    }

    /// Looks from the newest region to the oldest; `on_this_stack` says of an address whether it is
    /// on the stack to which the list belongs.
    #[inline]
    pub fn interrupted(
        &self,
        cx: &mut TaskContext<'_>,
        on_this_stack: impl Fn(*const ()) -> bool,
    ) -> Interruption {
        if self.newest.get().is_null() {
            return Interruption::AskTheTask;
        }
        self.look(cx, &on_this_stack)
    }

    /// For whoever owns the stack, when nothing stands on it but a loop: lets go of the regions that
    /// coroutines have left here.
    #[inline]
    pub fn clear(&self) {
        if !self.newest.get().is_null() {
            self.orphan_all();
        }
    }

    #[cold]
    fn orphan_all(&self) {
        let mut cursor = self.newest.replace(ptr::null());
        // SAFETY: what stands in the list is alive, see `Linked`, and on this thread.
        while let Some(region) = unsafe { cursor.as_ref() } {
            cursor = region.older.replace(ptr::null());
            region.newer.set(ptr::null());
            region.list.set(ptr::null());
        }
    }

    #[cold]
    fn look(
        &self,
        cx: &mut TaskContext<'_>,
        on_this_stack: &dyn Fn(*const ()) -> bool,
    ) -> Interruption {
        let here = 0u8;
        let in_a_coroutine = !on_this_stack((&raw const here).cast());
        let mut cursor = self.newest.get();
        // SAFETY: what stands in the list is alive, see `Linked`. A region on this stack stays there
        // until we return to it, so it is alive after it was polled as well.
        while let Some(region) = unsafe { cursor.as_ref() } {
            let older_frame = on_this_stack(cursor.cast());
            // A shield is never followed, so it may as well hold off too much.
            if region.interrupt.is_none() && (older_frame || in_a_coroutine) {
                return Interruption::Shielded;
            }
            if let Some(interrupt) = region.interrupt
                && older_frame
            {
                // A `wait` in this poll must not come back here.
                // SAFETY: valid as long as the region is in the list.
                if shielded(|| unsafe { &*interrupt }.poll(cx)).is_ready() {
                    return Interruption::Unwind(RegionUnwind(cursor.cast()));
                }
            }
            cursor = region.older.get();
        }
        Interruption::AskTheTask
    }
}

/// A region in its list, until this is dropped.
struct Linked<'a>(&'a Region);

impl<'a> Linked<'a> {
    /// Puts `region` into the list of the current stack.
    fn new(region: &'a Region) -> Self {
        let list = super::regions();
        region.list.set(list);
        // SAFETY: the list of a stack lives for ever; that of a thread until the thread ends, and
        // regions never leave their thread.
        let newest = unsafe { &(*list).newest };
        region.older.set(newest.get());
        // SAFETY: what stands in the list is alive: its `Linked` borrows it, and takes it out when it
        // is dropped. A `Linked` that never is stands on a stack that is never freed.
        if let Some(older) = unsafe { newest.get().as_ref() } {
            older.newer.set(region);
        }
        newest.set(region);
        Linked(region)
    }
}

impl Drop for Linked<'_> {
    fn drop(&mut self) {
        if self.0.list.get().is_null() {
            return;
        }
        let (newer, older) = (self.0.newer.get(), self.0.older.get());
        // SAFETY: neighbours in the list are alive.
        match unsafe { newer.as_ref() } {
            Some(newer) => newer.older.set(older),
            // SAFETY: see `Linked::new`.
            None => unsafe { (*self.0.list.get()).newest.set(older) },
        }
        // SAFETY: as above.
        if let Some(older) = unsafe { older.as_ref() } {
            older.newer.set(newer);
        }
    }
}

impl Region {
    fn new(interrupt: Option<*const dyn Interrupt>) -> Self {
        Region {
            list: Cell::new(ptr::null()),
            newer: Cell::new(ptr::null()),
            older: Cell::new(ptr::null()),
            interrupt,
        }
    }
}

/// Runs `f` with interruptions held off: a `wait` inside doesn't unwind, unless for a region that
/// was made inside.
pub(crate) fn shielded<R>(f: impl FnOnce() -> R) -> R {
    let region = Region::new(None);
    let _linked = Linked::new(&region);
    f()
}

/// Runs `f` until it returns, or until `interrupt` is ready *and* `f` waits for something that isn't.
///
/// # Errors
/// The output of `interrupt`, after `f` was unwound.
pub(crate) fn until<I: IntoFuture, R>(interrupt: I, f: impl FnOnce() -> R) -> Result<R, I::Output> {
    let future = pin!(interrupt.into_future());
    let edge = Edge { future: UnsafeCell::new(future), output: UnsafeCell::new(None) };
    let region = Region::new(Some(erase(&edge)));
    let linked = Linked::new(&region);
    let result = catch_unwind(AssertUnwindSafe(f));
    drop(linked);
    result.or_else(|payload| match payload.downcast::<RegionUnwind>() {
        Ok(unwind) if unwind.0 == ptr::from_ref(&region).cast() => {
            edge.output.into_inner().map(Err).unwrap_or_else(|| resume_unwind(unwind))
        }
        Ok(unwind) => resume_unwind(unwind),
        Err(payload) => resume_unwind(payload),
    })
}

/// The future at the edge of a region, and what it has said.
struct Edge<'a, F: Future> {
    future: UnsafeCell<Pin<&'a mut F>>,
    output: UnsafeCell<Option<F::Output>>,
}

/// Forgets the lifetime of what `edge` borrows.
fn erase<'a, F: Future>(edge: &Edge<'a, F>) -> *const (dyn Interrupt + 'static) {
    let edge: *const (dyn Interrupt + '_) = edge;
    // SAFETY: only the lifetime changes. Whoever follows the pointer sees to it that the region is
    // in its list, which is so within `until` only.
    unsafe { std::mem::transmute(edge) }
}

impl<F: Future> Interrupt for Edge<'_, F> {
    fn poll(&self, cx: &mut TaskContext<'_>) -> Poll<()> {
        // SAFETY: only `Regions::look` comes here, on the one thread of the list, and shields what it
        // polls from coming here again: so no two of these borrows overlap.
        let (future, output) = unsafe { (&mut *self.future.get(), &mut *self.output.get()) };
        if output.is_none() {
            let Poll::Ready(ready) = future.as_mut().poll(cx) else { return Poll::Pending };
            *output = Some(ready);
        }
        // Once it is ready it stays so: code that caught the unwinding is unwound again.
        Poll::Ready(())
    }
}

/// The list for code on this thread: its stack's, or its own.
pub(super) fn current() -> *const Regions {
    thread_local! {
        static OF_THE_THREAD: Regions = const { Regions::new() };
    }
    match with(|context| context.stack.get()) {
        Some(stack) => stack.regions(),
        None => OF_THE_THREAD.with(ptr::from_ref),
    }
}
