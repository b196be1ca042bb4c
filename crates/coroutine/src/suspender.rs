//! The link between a coroutine and whoever resumes it: two words at the top of the stack.
//!
//! ```text
//!   resumer                              coroutine
//!      │ ───── switch, with &input ────────► │
//!      │                                     │  reads the input
//!      │ ◄──── switch, with &value ───────── │
//!      │  reads the value                    │
//! ```
//!
//! Each side leaves its message in its own frame, and passes its address. The frame can't change
//! before the message is read, for its side is suspended until then. Null in place of an input
//! means: unwind.
//!
//! With its message each side tells where it is suspended, and the other side notes that in a place of
//! its own: the coroutine in `resumer`, at the top of the stack, and the resumer in the `Coroutine`.
//! Neither writes where the other looks, which would have to wait for it; and a body that suspends again
//! soon still has the word in a register. A coroutine that has ended tells nothing. `phase` tells what
//! else may happen:
//!
//! ```text
//!          resume            return, panic
//!  Fresh ─────────► Started ───────────────► the end
//!    │                 │                        ▲
//!    └──── drop ───────┴───► Dropping ──────────┘
//! ```
//!
//! A resumer may read `phase` at any time, since the coroutine stands still then, and sets
//! `Dropping`. The coroutine sets `Started`.

use core::{any::Any, cell::Cell, marker::PhantomData, mem::ManuallyDrop, ptr};
use std::{panic::resume_unwind, thread};

use crate::{
    arch::{Arrival, Suspended},
    sanitizer,
};

/// Suspends the coroutine that it was given to: the body of every
/// [`Coroutine`](crate::Coroutine) gets a reference to one.
///
/// It can't leave the body it was given to, and can't reach another thread. It can be passed down
/// at will, through recursion for one:
///
/// ```
/// use bifilar_coroutine::{Generator, Suspender};
///
/// fn count_down(from: u32, output: &Suspender<(), u32>) {
///     output.suspend(from);
///     if from > 0 {
///         count_down(from - 1, output);
///     }
/// }
/// assert!(Generator::new(|output| count_down(3, output)).eq([3, 2, 1, 0]));
/// ```
///
/// When another coroutine is running inside this one, [`suspend`](Suspender::suspend) suspends
/// both, and they continue together.
///
/// It is bound to its body by its lifetime:
///
/// ```compile_fail,E0521
/// # use bifilar_coroutine::{Coroutine, Suspender};
/// let (sender, receiver) = std::sync::mpsc::channel::<&Suspender<(), ()>>();
/// Coroutine::new(move |suspender, ()| sender.send(suspender).unwrap());
/// ```
///
/// and to its thread by not being `Sync`:
///
/// ```compile_fail,E0277
/// # use bifilar_coroutine::Coroutine;
/// Coroutine::new(|suspender, ()| {
///     std::thread::scope(|scope| {
///         scope.spawn(|| suspender.suspend(1));
///     });
/// });
/// ```
pub struct Suspender<Input, Yield> {
    /// While the coroutine runs: where its resumer is suspended.
    resumer: Cell<Option<Suspended>>,
    phase: Cell<Phase>,
    /// Takes a value, gives an input. (Not being `Sync` comes from the cells.)
    marker: PhantomData<fn(Yield) -> Input>,
}

/// See the head of this file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Fresh,
    Started,
    Dropping,
}

/// What travels up the stack of a coroutine that is dropped while suspended.
pub(crate) struct ForcedUnwind {
    /// The address of the suspender of the coroutine that is to end.
    of: usize,
}

/// How a body ended: it returned, or panicked with this payload.
pub(crate) type Outcome<Return> = thread::Result<Return>;

impl<Input, Yield> Suspender<Input, Yield> {
    pub(crate) fn new() -> Self {
        Suspender { resumer: Cell::new(None), phase: Cell::new(Phase::Fresh), marker: PhantomData }
    }

    pub(crate) fn phase(&self) -> Phase {
        self.phase.get()
    }

    /// Suspends the coroutine: its [`resume`](crate::Coroutine::resume) returns `value`. Returns
    /// the input of the next one.
    ///
    /// ```
    /// use bifilar_coroutine::{Coroutine, CoroutineState::*};
    ///
    /// let mut echo = Coroutine::new(|suspender, mut word: &str| {
    ///     while word != "stop" {
    ///         word = suspender.suspend(word.len());
    ///     }
    /// });
    /// assert_eq!(echo.resume("one"), Yielded(3));
    /// assert_eq!(echo.resume("three"), Yielded(5));
    /// assert_eq!(echo.resume("stop"), Returned(()));
    /// ```
    ///
    /// # Panics
    ///
    /// If the coroutine is dropped while it is suspended here, this call unwinds, without a message
    /// and without calling the panic hook, so that everything on the stack is dropped. A body that
    /// stops this by [`catch_unwind`](std::panic::catch_unwind) gets it again from its next
    /// `suspend`. A destructor that suspends while its coroutine unwinds for this reason gets it
    /// too, and unless it catches it, that is a panic in a destructor during unwinding: the
    /// process aborts.
    ///
    /// A destructor may suspend while an ordinary panic unwinds the coroutine. Until the coroutine
    /// is resumed, [`thread::panicking`](std::thread::panicking) is then true on this thread.
    #[inline]
    pub fn suspend(&self, value: Yield) -> Input {
        if self.phase.get() == Phase::Dropping {
            self.unwind();
        }
        let value = ManuallyDrop::new(value);
        // SAFETY: a suspender never leaves the body it was given to, so this runs on the coroutine
        // (or on one that runs inside it, and is suspended with it): its resumer is suspended on this
        // thread, and expects a message. `value` stays where it is until the resumer has moved it out.
        let arrival = unsafe { sanitizer::hand_over(self.resumer(), (&raw const value).cast()) };
        // A word in memory, and for the compiler a value that it may still have in a register when the
        // next `suspend` asks.
        self.resumer.set(arrival.from);
        // SAFETY: a resumer sends an input or null, and gave up the input.
        match unsafe { receive(arrival.message) } {
            Some(input) => input,
            None => self.unwind(),
        }
    }

    /// Where the resumer is suspended, for the coroutine that runs.
    #[inline(always)]
    fn resumer(&self) -> Suspended {
        // SAFETY: asked for on the coroutine only, which notes it whenever it is resumed; and a resumer
        // is suspended, not gone for ever.
        unsafe { self.resumer.get().unwrap_unchecked() }
    }

    /// Marks the coroutine as being dropped: from now on `suspend` unwinds.
    pub(crate) fn set_dropping(&self) {
        self.phase.set(Phase::Dropping);
    }

    /// Takes the input the coroutine is started with; none if it is dropped instead.
    ///
    /// # Safety
    ///
    /// To be called once, first thing on the coroutine, with what its first resumer sent.
    pub(crate) unsafe fn start(&self, arrival: Arrival) -> Option<Input> {
        self.resumer.set(arrival.from);
        // SAFETY: a resumer sends an input or null, and gave up the input.
        let input = unsafe { receive(arrival.message) };
        if input.is_some() {
            self.phase.set(Phase::Started);
        }
        input
    }

    /// Ends the coroutine.
    ///
    /// # Safety
    ///
    /// To be called last thing on the coroutine; nothing on its stack is left to be dropped. The
    /// resumer expects this `Return`.
    pub(crate) unsafe fn finish<Return>(&self, outcome: Outcome<Return>) -> ! {
        let outcome = ManuallyDrop::new(outcome);
        // SAFETY: the coroutine runs, so its resumer is suspended. `outcome` stays where it is until
        // the resumer has moved it out, for the resumer still owns the stack.
        unsafe { sanitizer::exit_to(self.resumer(), (&raw const outcome).cast()) }
    }

    /// Unwinds this stack because its coroutine is being dropped.
    #[cold]
    #[inline(never)]
    fn unwind(&self) -> ! {
        resume_unwind(self.forced_unwind())
    }

    /// The payload that ends this coroutine.
    pub(crate) fn forced_unwind(&self) -> Box<dyn Any + Send> {
        Box::new(ForcedUnwind { of: ptr::from_ref(self).addr() })
    }

    /// Whether `payload` was raised to end this coroutine, and not another one.
    pub(crate) fn is_forced_unwind(&self, payload: &(dyn Any + Send)) -> bool {
        payload.downcast_ref().is_some_and(|&ForcedUnwind { of }| of == ptr::from_ref(self).addr())
    }
}

impl<Input, Yield> core::fmt::Debug for Suspender<Input, Yield> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Suspender").finish_non_exhaustive()
    }
}

/// Moves a message out of the frame of the other side; null is none.
///
/// # Safety
///
/// `message` is null or the address of a `T` that nobody else will use.
#[inline(always)]
pub(crate) unsafe fn receive<T>(message: *const ()) -> Option<T> {
    if message.is_null() {
        return None;
    }
    // SAFETY: the caller's promise.
    Some(unsafe { message.cast::<T>().read() })
}
