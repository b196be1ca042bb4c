//! The door between this crate and the instruction set: the only place in the sources that asks
//! which processor they are compiled for. (`build.rs` asks first, so that a target without a file
//! here is refused in one line.)
//!
//! Every file beside this one holds the same items in the same order, so that two of them can be
//! laid side by side:
//!
//! 1. the drawing of a suspended stack and of a fresh one,
//! 2. `FirstFrame` and `prepare`, which lay out a fresh stack,
//! 3. `base`, the outermost frame of every stack,
//! 4. `switch`, `hand_over` and `exit_to`, which leave one stack for another,
//! 5. `stack_pointer`, which reads it from what a signal interrupted.
//!
//! A switch carries two words to the side that it continues, in registers: a *message*, and where it
//! came *from*. Through memory, the other side's loads would wait for this side's stores, each about as
//! long as all the rest of a switch takes. [`crate::raw`] hides them, [`crate::suspender`] lives on
//! them.

use core::ptr::NonNull;

/// A suspended execution: where its stack pointer stands.
///
/// One pointer wide, as is `Option<Suspended>`. It is a plain address: copies of it are copies of
/// the address, and only one of them may be used to continue the execution, once.
///
/// ```
/// use bifilar_coroutine::raw::Suspended;
/// assert_eq!(size_of::<Option<Suspended>>(), size_of::<usize>());
/// ```
#[repr(transparent)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Suspended(NonNull<u8>);

// SAFETY: an address by itself does nothing; the functions that use it are unsafe, and demand the
// right thread.
unsafe impl Send for Suspended {}
// SAFETY: as for Send; there is no interior mutability.
unsafe impl Sync for Suspended {}

impl Suspended {
    #[inline(always)]
    fn new(stack_pointer: NonNull<u8>) -> Suspended {
        Suspended(stack_pointer)
    }

    /// The address at which the execution is suspended, within the memory of its stack.
    ///
    /// Tells on which stack an execution stands, and how much of it is in use.
    ///
    /// ```
    /// use bifilar_coroutine::{raw, stack::Stack};
    ///
    /// unsafe extern "C" fn entry(_: *mut ()) -> ! {
    ///     std::process::abort()
    /// }
    /// let stack = Stack::new(64 * 1024)?;
    /// // SAFETY: the stack is ours; nothing needs to be dropped on one that was never entered.
    /// let fresh = unsafe { raw::prepare(stack.top(), entry, std::ptr::null_mut()) };
    /// let in_use = stack.top().as_ptr().addr() - fresh.as_ptr().addr();
    /// assert!(in_use <= 64);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[inline(always)]
    pub fn as_ptr(self) -> *mut u8 {
        self.0.as_ptr()
    }
}

/// What an execution runs: called once, with the `arg` given to `prepare`, and what the first switch
/// to it brings. Never returns, never unwinds.
pub(crate) type Entry =
    unsafe extern "C" fn(arg: *mut (), message: *const (), from: Option<Suspended>) -> !;

/// What a switch brings to the side that it continues.
pub(crate) struct Arrival {
    pub message: *const (),
    /// Where the other side is suspended; none if it has left for ever.
    pub from: Option<Suspended>,
}

#[cfg(target_arch = "aarch64")]
mod aarch64;
#[cfg(target_arch = "aarch64")]
pub(crate) use aarch64::{exit_to, hand_over, prepare, stack_pointer, switch};

#[cfg(target_arch = "x86_64")]
mod x86_64;
#[cfg(target_arch = "x86_64")]
pub(crate) use x86_64::{exit_to, hand_over, prepare, stack_pointer, switch};
