//! Coroutines: a stack, the body that runs on it, and the right to resume it.
//!
//! ```text
//!  stack of a coroutine                     Coroutine (moves freely)
//!  ╞════════════════════════╡ ◄─ top        ┌──────┬────┬───────┐
//!  │ Suspender              │ ◄─────────────┤ link │ at │ stack │
//!  │ body, until it starts  │               └──────┴─┬──┴───────┘
//!  ├────────────────────────┤                        │
//!  │ entry: reads the body, │                        │
//!  │   catches its panics   │                        │
//!  │ frames of the body …   │ ◄──────────────────────┘
//!  ▼                        ▼
//! ```
//!
//! The coroutine is resumed only through `&mut Coroutine`, so by one resumer at a time, and never
//! by itself. The stack is given back only after the last frame has gone.
//!
//! What it does not do: move to another thread once started, run borrowed bodies (see
//! [`Generator::scope`](crate::Generator::scope) for those), or resume itself.

use core::{
    fmt,
    marker::PhantomData,
    mem::{ManuallyDrop, align_of, size_of},
    ptr::{self, NonNull},
};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use crate::{
    arch::{Arrival, Suspended},
    sanitizer,
    stack::{self, DEFAULT_SIZE, Stack},
    suspender::{Outcome, Phase, Suspender, receive},
};

/// A call on a stack of its own, which can be suspended at any depth and resumed later.
///
/// The body gets a [`Suspender`] and the input of the first [`resume`](Coroutine::resume).
///
/// ```
/// use bifilar_coroutine::{Coroutine, CoroutineState::*};
///
/// let mut sum = Coroutine::new(|suspender, mut number: u32| {
///     let mut total = 0;
///     while number > 0 {
///         total += number;
///         number = suspender.suspend(total);
///     }
///     format!("{total} in all")
/// });
/// assert_eq!(sum.resume(3), Yielded(3));
/// assert_eq!(sum.resume(4), Yielded(7));
/// assert_eq!(sum.resume(0), Returned("7 in all".to_string()));
/// ```
///
/// # Drop
///
/// Dropping a coroutine that is suspended unwinds its stack, so that everything on it is dropped
/// in order; see [`Suspender::suspend`] for what its body sees. If the body ends by a panic of its
/// own instead, the drop passes that on. A body that was never started is dropped, not called.
///
/// Where panics abort (`panic = "abort"`) a stack can't be unwound: a suspended coroutine that is
/// dropped leaks its stack and all that stands on it. So does [`mem::forget`](std::mem::forget).
///
/// # Threads
///
/// A coroutine stays on its thread, since its stack may hold things that are bound to it. One of
/// them it must not outlive: a coroutine that stands still inside
/// [`LocalKey::with`](std::thread::LocalKey::with), and is itself kept in another thread-local, must
/// be taken out and dropped before the thread ends, because thread-locals end one after another.
///
/// ```compile_fail,E0277
/// # use bifilar_coroutine::Coroutine;
/// fn is_send<T: Send>(_: T) {}
/// is_send(Coroutine::new(|_, ()| ()) as Coroutine<(), (), ()>);
/// ```
///
/// # Borrows
///
/// The body, its inputs and what it gives must be `'static`. A suspended coroutine can be
/// forgotten, and then whatever it borrowed would seem free while, for example, a
/// [`thread::scope`](std::thread::scope) inside it still counts on being finished first.
///
/// ```compile_fail,E0597
/// # use bifilar_coroutine::Coroutine;
/// let text = String::from("borrowed");
/// let mut coroutine: Coroutine<(), (), usize> = Coroutine::new(|_, ()| text.len());
/// coroutine.resume(());
/// ```
pub struct Coroutine<Input, Yield, Return> {
    /// At the top of `stack`, valid as long as that is.
    link: NonNull<Suspender<Input, Yield>>,
    /// Where it is suspended; none once the body has ended.
    at: Option<Suspended>,
    /// Dropped by hand, once nothing stands on it any more.
    stack: ManuallyDrop<Stack>,
    /// Takes inputs, gives values and at last a return value.
    marker: PhantomData<fn(Input) -> (Yield, Return)>,
}

/// What [`Coroutine::resume`] came back with.
///
/// ```
/// use bifilar_coroutine::{Coroutine, CoroutineState};
///
/// let mut countdown = Coroutine::new(|suspender, ()| {
///     for n in [3, 2, 1] {
///         suspender.suspend(n);
///     }
///     "lift-off"
/// });
/// let end = loop {
///     match countdown.resume(()) {
///         CoroutineState::Yielded(n) => println!("{n}"),
///         CoroutineState::Returned(end) => break end,
///     }
/// };
/// assert_eq!(end, "lift-off");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CoroutineState<Yield, Return> {
    /// The coroutine suspended itself with this value, and can be resumed.
    Yielded(Yield),
    /// The body returned this value; the coroutine is done.
    Returned(Return),
}

/// What stands at the top of the stack of a coroutine.
#[repr(C)]
struct Top<Body, Input, Yield> {
    /// Moved out when the coroutine starts.
    body: ManuallyDrop<Body>,
    suspender: Suspender<Input, Yield>,
}

/// The largest [`Top`] that is put on a stack; larger bodies, or ones with a large alignment, are
/// boxed. The smallest stack has room for several of these.
const LARGEST_TOP: usize = 1024;

impl<Input, Yield, Return> Coroutine<Input, Yield, Return> {
    /// Makes a coroutine that will run `body` on a stack of [`DEFAULT_SIZE`].
    ///
    /// Nothing runs before the first [`resume`](Coroutine::resume).
    ///
    /// # Panics
    ///
    /// If there is no memory for a stack; use [`with_stack`](Coroutine::with_stack) to handle that.
    ///
    /// ```
    /// use bifilar_coroutine::{Coroutine, CoroutineState::*};
    /// let mut greet = Coroutine::new(|suspender, name: &str| {
    ///     let other = suspender.suspend(format!("hello {name}"));
    ///     format!("and {other}")
    /// });
    /// assert_eq!(greet.resume("Ada"), Yielded("hello Ada".to_string()));
    /// assert_eq!(greet.resume("Alan"), Returned("and Alan".to_string()));
    /// ```
    #[track_caller]
    pub fn new<Body>(body: Body) -> Self
    where
        Body: FnOnce(&Suspender<Input, Yield>, Input) -> Return + 'static,
        Input: 'static,
        Yield: 'static,
        Return: 'static,
    {
        match Stack::new(DEFAULT_SIZE) {
            Ok(stack) => Self::with_stack(stack, body),
            Err(error) => panic!("no memory for the stack of a coroutine: {error}"),
        }
    }

    /// Makes a coroutine that will run `body` on `stack`.
    ///
    /// ```
    /// use bifilar_coroutine::{Coroutine, CoroutineState::*, stack::Stack};
    ///
    /// let deep = Stack::new(4 * 1024 * 1024)?;
    /// let mut coroutine: Coroutine<u64, (), u64> = Coroutine::with_stack(deep, |_, n| {
    ///     fn sum(n: u64) -> u64 {
    ///         if n == 0 { 0 } else { n + sum(n - 1) }
    ///     }
    ///     sum(n)
    /// });
    /// assert_eq!(coroutine.resume(10_000), Returned(50_005_000));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn with_stack<Body>(stack: Stack, body: Body) -> Self
    where
        Body: FnOnce(&Suspender<Input, Yield>, Input) -> Return + 'static,
        Input: 'static,
        Yield: 'static,
        Return: 'static,
    {
        // SAFETY: all types are 'static.
        unsafe { Self::borrowing(stack, body) }
    }

    /// Makes a coroutine whose body may borrow.
    ///
    /// # Safety
    ///
    /// Once started, the coroutine is finished or dropped, and not leaked, before anything that
    /// `body`, its inputs or its values borrow ends.
    pub(crate) unsafe fn borrowing<Body>(stack: Stack, body: Body) -> Self
    where
        Body: FnOnce(&Suspender<Input, Yield>, Input) -> Return,
    {
        stack::prepare_thread();
        let (link, fresh) = if size_of::<Top<Body, Input, Yield>>() <= LARGEST_TOP {
            place(&stack, body)
        } else {
            let body = Box::new(body);
            place(&stack, move |suspender: &_, input| body(suspender, input))
        };
        Coroutine { link, at: Some(fresh), stack: ManuallyDrop::new(stack), marker: PhantomData }
    }

    /// Continues the coroutine, until it suspends itself or its body ends. The first call starts
    /// it.
    ///
    /// See [`Coroutine`] for an example.
    ///
    /// # Panics
    ///
    /// - If the body panics: with the same payload. The coroutine is done then.
    /// - If the coroutine is done.
    #[inline]
    #[track_caller]
    pub fn resume(&mut self, input: Input) -> CoroutineState<Yield, Return> {
        let Some(at) = self.at else { resumed_after_its_end() };
        let input = ManuallyDrop::new(input);
        // SAFETY: the coroutine hasn't ended, and since `self` is borrowed mutably it isn't running: it
        // is suspended, and expects an input or null. It hasn't run on another thread, as `Self` isn't
        // Send. `input` stays where it is until the coroutine has moved it out.
        let arrival = unsafe { sanitizer::hand_over(at, (&raw const input).cast()) };
        self.at = arrival.from;
        if self.at.is_some() {
            // SAFETY: a coroutine that hasn't ended comes back by `suspend`, with a value that it gave
            // up.
            return CoroutineState::Yielded(unsafe { arrival.message.cast::<Yield>().read() });
        }
        // SAFETY: a coroutine that has ended comes back by `finish`, with an outcome of `entry`.
        match unsafe { arrival.message.cast::<Outcome<Return>>().read() } {
            Ok(value) => CoroutineState::Returned(value),
            Err(payload) => resume_unwind(payload),
        }
    }

    /// Whether the body has ended: it returned or panicked.
    ///
    /// ```
    /// use bifilar_coroutine::Coroutine;
    /// let mut coroutine: Coroutine<(), (), ()> = Coroutine::new(|_, ()| ());
    /// assert!(!coroutine.is_done());
    /// coroutine.resume(());
    /// assert!(coroutine.is_done());
    /// ```
    #[inline]
    pub fn is_done(&self) -> bool {
        self.at.is_none()
    }

    /// How many bytes of its stack the coroutine has used so far, if the stack was clean when it was
    /// made: see [`Stack::clear`] and [`Stack::depth`].
    ///
    /// ```
    /// use bifilar_coroutine::{Coroutine, stack::Stack};
    ///
    /// let stack = Stack::new(256 * 1024)?;
    /// // SAFETY: nothing runs on it yet.
    /// unsafe { stack.clear() };
    /// let mut coroutine: Coroutine<u8, (), u8> = Coroutine::with_stack(stack, |_, n| {
    ///     std::hint::black_box([n; 100_000]).iter().fold(0, |sum, n| sum ^ n)
    /// });
    /// assert!(coroutine.stack_depth() < 1_000);
    /// coroutine.resume(7);
    /// assert!(coroutine.stack_depth() > 100_000);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn stack_depth(&self) -> usize {
        // SAFETY: the coroutine and its stack are bound to this thread.
        unsafe { self.stack.depth() }
    }

    /// Whether the body has begun, and has not ended: frames stand on the stack.
    pub(crate) fn is_suspended(&self) -> bool {
        self.at.is_some() && self.link().phase() == Phase::Started
    }

    #[inline(always)]
    fn link(&self) -> &Suspender<Input, Yield> {
        // SAFETY: it stands at the top of our stack, and is only ever used by shared reference.
        unsafe { self.link.as_ref() }
    }
}

impl<Input, Yield, Return> Drop for Coroutine<Input, Yield, Return> {
    fn drop(&mut self) {
        let mut remains = None;
        if let Some(at) = self.at.take() {
            if cfg!(panic = "abort") && self.link().phase() == Phase::Started {
                // There is no unwinding: the frames stay for ever, and so does their stack.
                return;
            }
            let link = self.link();
            link.set_dropping();
            // SAFETY: as in `resume`; null is what a coroutine being dropped expects. From now on
            // `suspend` doesn't come back here: the body ends, with an outcome.
            let arrival = unsafe { sanitizer::hand_over(at, ptr::null()) };
            debug_assert!(arrival.from.is_none());
            // SAFETY: as just said; the body gave it up.
            remains = unsafe { receive::<Outcome<Return>>(arrival.message) };
            if let Some(Err(payload)) = &remains
                && self.link().is_forced_unwind(&**payload)
            {
                remains = None;
            }
        }
        // SAFETY: the body has ended, so nothing stands on the stack any more; this is the only
        // place that drops it, once. `link` isn't used from here on.
        unsafe { ManuallyDrop::drop(&mut self.stack) };
        match remains {
            // The body stopped the unwinding and returned, or panicked by itself.
            Some(Ok(value)) => drop(value),
            Some(Err(payload)) => resume_unwind(payload),
            None => {}
        }
    }
}

impl<Input, Yield, Return> fmt::Debug for Coroutine<Input, Yield, Return> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Coroutine").field("done", &self.is_done()).finish_non_exhaustive()
    }
}

/// Lays out the top of `stack`, as drawn in the head of this file, with a fresh execution below.
fn place<Body, Input, Yield, Return>(
    stack: &Stack,
    body: Body,
) -> (NonNull<Suspender<Input, Yield>>, Suspended)
where
    Body: FnOnce(&Suspender<Input, Yield>, Input) -> Return,
{
    let size = size_of::<Top<Body, Input, Yield>>();
    let align = align_of::<Top<Body, Input, Yield>>().max(16);
    debug_assert!(size <= LARGEST_TOP && align <= LARGEST_TOP);
    let end = stack.top();
    let address = (end.as_ptr().addr() - size) & !(align - 1);
    // SAFETY: neither size nor alignment exceeds LARGEST_TOP, so this is still far above the limit
    // of even the smallest stack.
    let top = unsafe { end.sub(end.as_ptr().addr() - address) };
    // SAFETY: the stack below `top` is unused, and is large enough for `entry`: what the body
    // needs beyond that is guarded by the guard page. Whoever gets the link keeps the stack. The
    // argument is what `entry` asks for, as soon as it is written.
    let fresh = unsafe {
        sanitizer::prepare(top, entry::<Body, Input, Yield, Return>, top.as_ptr().cast())
    };
    let top = top.cast::<Top<Body, Input, Yield>>();
    // SAFETY: there is room for it and it is aligned, see above; nothing else is there.
    unsafe { top.write(Top { body: ManuallyDrop::new(body), suspender: Suspender::new() }) };
    // SAFETY: a field of what was just written.
    let link = unsafe { NonNull::new_unchecked(&raw mut (*top.as_ptr()).suspender) };
    (link, fresh)
}

/// The first function on the stack of a coroutine.
///
/// # Safety
///
/// `top` is the address of a `Top<Body, Input, Yield>` that stays valid until this ends, and whose
/// body nobody else uses. The resumer expects an `Outcome<Return>`.
unsafe extern "C" fn entry<Body, Input, Yield, Return>(
    top: *mut (),
    message: *const (),
    from: Option<Suspended>,
) -> !
where
    Body: FnOnce(&Suspender<Input, Yield>, Input) -> Return,
{
    let top = top.cast::<Top<Body, Input, Yield>>();
    // SAFETY: valid as the caller says, and only ever used by shared reference.
    let suspender = unsafe { &(*top).suspender };
    // SAFETY: this is the only place that takes the body, and it runs once.
    let body = unsafe { (&raw const (*top).body).cast::<Body>().read() };
    // SAFETY: this is the first thing on the coroutine, and its first message.
    let input = unsafe { suspender.start(Arrival { message, from }) };
    // Panics go on to the resumer as if it had called the body, so it sees what it would have
    // seen then: nothing here needs to be safe against unwinding.
    let outcome = match input {
        Some(input) => catch_unwind(AssertUnwindSafe(|| body(suspender, input))),
        None => catch_unwind(AssertUnwindSafe(|| drop(body)))
            .and_then(|()| Err(suspender.forced_unwind())),
    };
    // SAFETY: the body and the input are gone, and the outcome is given away.
    unsafe { suspender.finish(outcome) }
}

#[cold]
#[inline(never)]
#[track_caller]
fn resumed_after_its_end() -> ! {
    panic!("resumed a coroutine that is done: ask `is_done` first")
}
