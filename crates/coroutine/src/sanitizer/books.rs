//! Who stands where: a record for each stack, and `arch`'s functions with the sanitizer told.
//!
//! ```text
//!  taken ──► idle ── prepare, switch to it ──► in use ── exit_to ──► idle
//!              ▲                                  │
//!              └── given_back, prepare: frames abandoned
//! ```
//!
//! Records are found by address, since a [`Suspended`] says no more than that. Like the memory of
//! stacks, they stay for ever; the next stack at the same place takes over the record.

use core::{
    cell::{Cell, UnsafeCell},
    ptr::{self, NonNull},
};
use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use super::tool;
use crate::{
    arch::{self, Arrival, Entry, Suspended},
    stack::Stack,
};

/// What a sanitizer has to know of a stack.
pub(super) struct Record {
    /// The lowest usable address; that of a native stack isn't known before it was left.
    pub(super) limit: usize,
    #[cfg_attr(bifilar_sanitizer = "thread", expect(dead_code, reason = "no need of bounds"))]
    pub(super) top: usize,
    /// Whether an execution has begun there and has not ended.
    pub(super) in_use: bool,
    /// What the sanitizer itself wants kept.
    pub(super) state: tool::State,
}

impl Record {
    const fn new(limit: usize, top: usize, in_use: bool) -> Record {
        Record { limit, top, in_use, state: tool::State::NEW }
    }
}

// SAFETY: what it names is used only by the thread that stands on the stack, or owns it.
unsafe impl Send for Record {}

/// All stacks, by their tops.
type Stacks = BTreeMap<usize, Box<UnsafeCell<Record>>>;

/// Records stay where they are; one is written by whoever stands on its stack, or owns that.
static STACKS: Mutex<Stacks> = Mutex::new(BTreeMap::new());

thread_local! {
    static NATIVE: UnsafeCell<Record> = const { UnsafeCell::new(Record::new(0, 0, true)) };
    /// The stack that this thread stands on; null is the native one.
    static CURRENT: Cell<*mut Record> = const { Cell::new(ptr::null_mut()) };
    /// The stack it was on before.
    static LEFT: Cell<*mut Record> = const { Cell::new(ptr::null_mut()) };
}

/// What a fresh execution really begins with, kept at the top of its stack.
struct Start {
    entry: Entry,
    arg: *mut (),
}

/// Must be called when a stack was taken.
pub(crate) fn taken(stack: &Stack) {
    let (limit, top) = (stack.limit().as_ptr().addr(), stack.top().as_ptr().addr());
    with_stacks(|stacks| {
        // SAFETY: bounds of our own record, which nobody else uses.
        if stacks.get(&top).is_some_and(|record| unsafe { (*record.get()).limit } == limit) {
            return;
        }
        // Stacks of another size may have been here before.
        while let Some((&other, _)) = stacks.range(limit + 1..=top).next() {
            stacks.remove(&other);
        }
        stacks.insert(top, Box::new(UnsafeCell::new(Record::new(limit, top, false))));
    });
}

/// Must be called when a stack is about to be given back.
pub(crate) fn given_back(stack: &Stack) {
    // SAFETY: whoever gives it back owns it.
    unsafe { abandon(find(stack.top().as_ptr().addr())) };
}

/// As [`arch::prepare`].
///
/// # Safety
///
/// As there.
pub(crate) unsafe fn prepare(top: NonNull<u8>, entry: Entry, arg: *mut ()) -> Suspended {
    // SAFETY: the caller owns the stack.
    unsafe { abandon(find(top.as_ptr().addr())) };
    // SAFETY: the caller owns the memory below `top`, with room for this and for the preparation.
    let start = unsafe { top.cast::<Start>().sub(1) };
    // SAFETY: as above; `top` is 16-aligned, and so is what stands two words below.
    unsafe { start.write(Start { entry, arg }) };
    // SAFETY: the caller's promises are the same for what is below.
    unsafe { arch::prepare(start.cast(), begin, start.as_ptr().cast()) }
}

/// As [`arch::switch`].
///
/// # Safety
///
/// As there.
// Always inlined: the thread sanitizer counts calls and returns for each stack, so the function
// that leaves a stack must be the one that comes back to it.
#[inline(always)]
pub(crate) unsafe fn switch(save: *mut Suspended, to: Suspended, message: *const ()) -> Arrival {
    let (here, there) = depart(to);
    // SAFETY: two records of this thread; the switch follows at once.
    unsafe { tool::leave(here, there) };
    // SAFETY: the caller's promises are the same.
    let arrival = unsafe { arch::switch(save, to, message) };
    // SAFETY: we are back where we left.
    unsafe { tool::arrive(here, LEFT.get()) };
    arrival
}

/// As [`arch::hand_over`].
///
/// # Safety
///
/// As there.
#[inline(always)] // as `switch`
pub(crate) unsafe fn hand_over(to: Suspended, message: *const ()) -> Arrival {
    let (here, there) = depart(to);
    // SAFETY: two records of this thread; the switch follows at once.
    unsafe { tool::leave(here, there) };
    // SAFETY: the caller's promises are the same.
    let arrival = unsafe { arch::hand_over(to, message) };
    // SAFETY: we are back where we left.
    unsafe { tool::arrive(here, LEFT.get()) };
    arrival
}

/// As [`arch::exit_to`].
///
/// # Safety
///
/// As there.
#[inline(always)]
pub(crate) unsafe fn exit_to(to: Suspended, message: *const ()) -> ! {
    let (here, there) = depart(to);
    // SAFETY: we stand on it, and no execution of this stack will go on.
    unsafe { (*here).in_use = false };
    // SAFETY: two records of this thread; the switch follows at once.
    unsafe { tool::leave(here, there) };
    // SAFETY: the caller's promises are the same.
    unsafe { arch::exit_to(to, message) }
}

/// Where each fresh execution begins.
///
/// # Safety
///
/// `start` is the address of a [`Start`].
unsafe extern "C" fn begin(start: *mut (), message: *const (), from: Option<Suspended>) -> ! {
    // SAFETY: `prepare` wrote it.
    let Start { entry, arg } = unsafe { start.cast::<Start>().read() };
    let here = CURRENT.get();
    // SAFETY: whoever came here said where it goes.
    unsafe { (*here).in_use = true };
    // SAFETY: as above: the first arrival.
    unsafe { tool::arrive(here, LEFT.get()) };
    // SAFETY: what `prepare` was promised.
    unsafe { entry(arg, message, from) }
}

/// Notes that this thread goes from where it stands to `to`: the records of both.
#[inline(never)]
fn depart(to: Suspended) -> (*mut Record, *mut Record) {
    let native = NATIVE.with(UnsafeCell::get);
    let here = if CURRENT.get().is_null() { native } else { CURRENT.get() };
    let there = find(to.as_ptr().addr()).unwrap_or(native);
    LEFT.set(here);
    CURRENT.set(there);
    (here, there)
}

/// Frames that stood there are gone for ever, if there were any.
///
/// # Safety
///
/// Nothing runs on the stack, and the caller owns it.
unsafe fn abandon(record: Option<*mut Record>) {
    let record = record.expect("in builds for sanitizers an execution stands on a `Stack`");
    // SAFETY: the caller owns it.
    unsafe {
        if (*record).in_use {
            (*record).in_use = false;
            tool::abandoned(record);
        }
    }
}

/// The record of the stack that `address` belongs to (or is the top of), if it is one of ours.
fn find(address: usize) -> Option<*mut Record> {
    with_stacks(|stacks| {
        let (_, record) = stacks.range(address..).next()?;
        // SAFETY: bounds are never written again.
        let limit = unsafe { (*record.get()).limit };
        (limit <= address).then_some(record.get())
    })
}

/// The books must not order what the program leaves unordered, so they are kept unseen.
fn with_stacks<R>(action: impl FnOnce(&mut Stacks) -> R) -> R {
    tool::unseen(|| action(&mut STACKS.lock().unwrap_or_else(PoisonError::into_inner)))
}
