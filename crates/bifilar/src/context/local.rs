//! Task-locals: values that go with the code, and not with the thread.
//!
//! ```text
//!   context ──► binding C ──► binding A ──► ∅        the newest of a key counts
//!   child   ──────────────────────┘                  (spawned before C was bound)
//! ```
//!
//! Bindings form a list that never changes and only grows at its head, so a spawned task takes over
//! all of them by holding on to the head: one reference. Binding and looking up cost as much as there
//! are bindings, which is few.
//!
//! What it deliberately does not do: change a value that was bound. Bind another one, or put a
//! [`Mutex`](std::sync::Mutex) into it.

use super::with;
use pin_project_lite::pin_project;
use std::{
    any::Any,
    cell::Cell,
    fmt,
    future::Future,
    marker::PhantomData,
    pin::Pin,
    ptr,
    sync::Arc,
    task::{Context as TaskContext, Poll},
};

/// A value that goes with the running code wherever it is suspended and continued, and that tasks
/// inherit from whoever spawns them.
///
/// Declare it as a `static`, [`bind`](Self::bind) a value for the length of a call or of a future, and
/// [`get`](Self::get) it at any depth. A task (a fiber, a call of [`unblock`](crate::unblock), a child
/// of a [`scope`](crate::scope)) has the values that were bound where it was spawned, for as long as
/// it lives, even when the binding has ended. A value lives as long as somebody can get it.
///
/// ```
/// use bifilar::{fiber, task};
///
/// static REQUEST: task::Local<u64> = task::Local::new();
///
/// fn log(text: &str) -> String {
///     format!("[{}] {text}", REQUEST.get().map_or(0, |id| *id))
/// }
///
/// bifilar::run(|| {
///     let child = REQUEST.bind(7, || fiber::spawn(|| log("in a child")));
///     assert_eq!(child.join().unwrap(), "[7] in a child");
///     assert_eq!(log("outside"), "[0] outside");
/// });
/// ```
pub struct Local<T> {
    /// Something to have an address, which is the key.
    _address: u8,
    value: PhantomData<fn() -> T>,
}

/// A node of the list.
pub(crate) struct Binding {
    key: *const (),
    value: Arc<dyn Any + Send + Sync>,
    older: Bindings,
}

// SAFETY: the key is an address that is only compared; the rest is `Send` and `Sync`.
unsafe impl Send for Binding {}
// SAFETY: as above.
unsafe impl Sync for Binding {}

/// A list of bindings.
pub(crate) type Bindings = Option<Arc<Binding>>;

impl<T: Send + Sync + 'static> Local<T> {
    /// A local without a value. For a `static`: the values of a `const` can't be found again.
    #[expect(clippy::new_without_default, reason = "a default would be a temporary, not a static")]
    pub const fn new() -> Self {
        Local { _address: 0, value: PhantomData }
    }

    fn key(&'static self) -> *const () {
        ptr::from_ref(self).cast()
    }

    /// The value bound here, if there is one.
    pub fn get(&'static self) -> Option<Arc<T>> {
        let bindings = bindings();
        let mut cursor = bindings.as_ref();
        while let Some(binding) = cursor {
            if ptr::eq(binding.key, self.key()) {
                return binding.value.clone().downcast().ok();
            }
            cursor = binding.older.as_ref();
        }
        None
    }

    /// Runs `f` with `value` bound.
    pub fn bind<R>(&'static self, value: T, f: impl FnOnce() -> R) -> R {
        let _bound = Bound::new(self.extend(Arc::new(value)));
        f()
    }

    /// A future that runs `future` with `value` bound.
    ///
    /// ```
    /// use bifilar::task;
    /// static USER: task::Local<&str> = task::Local::new();
    ///
    /// bifilar::block_on(async {
    ///     let name = USER.bind_future("Ada", async { USER.get() }).await;
    ///     assert_eq!(*name.unwrap(), "Ada");
    ///     assert!(USER.get().is_none());
    /// });
    /// ```
    pub fn bind_future<F: Future>(&'static self, value: T, future: F) -> BoundFuture<F, T> {
        BoundFuture { local: self, value: Arc::new(value), future }
    }

    fn extend(&'static self, value: Arc<T>) -> Bindings {
        Some(Arc::new(Binding { key: self.key(), value, older: bindings() }))
    }
}

impl<T> fmt::Debug for Local<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Local").finish_non_exhaustive()
    }
}

pin_project! {
    /// The future of [`Local::bind_future`].
    #[must_use = "futures do nothing unless you .await or .wait() for them"]
    pub struct BoundFuture<F, T: 'static> {
        local: &'static Local<T>,
        value: Arc<T>,
        #[pin]
        future: F,
    }
}

impl<F: Future, T: Send + Sync + 'static> Future for BoundFuture<F, T> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<F::Output> {
        let this = self.project();
        let _bound = Bound::new(this.local.extend(this.value.clone()));
        this.future.poll(cx)
    }
}

impl<F, T> fmt::Debug for BoundFuture<F, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BoundFuture").finish_non_exhaustive()
    }
}

/// The place of a list in the context, which owns a reference to it. So a guard that is dropped in
/// another order, or elsewhere, leaves the wrong list behind, but none that is gone.
pub(crate) struct Place(Cell<*const Binding>);

impl Place {
    pub const fn new() -> Self {
        Place(Cell::new(ptr::null()))
    }

    pub fn replace(&self, bindings: Bindings) -> Bindings {
        let old = self.0.replace(bindings.map_or(ptr::null(), Arc::into_raw));
        // SAFETY: what stands here came from `into_raw`, and its reference is given to the caller.
        (!old.is_null()).then(|| unsafe { Arc::from_raw(old) })
    }

    fn get(&self) -> Bindings {
        let here = self.0.get();
        // SAFETY: this place owns a reference to what it names; the clone gets one of its own.
        (!here.is_null()).then(|| unsafe {
            Arc::increment_strong_count(here);
            Arc::from_raw(here)
        })
    }
}

/// What the running code has bound: what a task that it spawns inherits.
pub(crate) fn bindings() -> Bindings {
    with(|context| context.locals.get())
}

/// A list that is in force until this is dropped.
pub(crate) struct Bound(Bindings);

impl Bound {
    pub fn new(bindings: Bindings) -> Self {
        Bound(with(|context| context.locals.replace(bindings)))
    }
}

impl Drop for Bound {
    fn drop(&mut self) {
        let before = self.0.take();
        // Outside of the context: the values' destructors may be anything.
        let ended = with(|context| context.locals.replace(before));
        drop(ended);
    }
}
