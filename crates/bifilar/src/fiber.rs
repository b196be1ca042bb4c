//! Fibers: tasks whose bodies are closures in blocking style.
//!
//! As easy as threads, and far cheaper: a fiber takes a stack when it first waits, and gives it back
//! when it returns.
//!
//! ```
//! use bifilar::{Wait, fiber, time::sleep};
//! use std::time::Duration;
//!
//! bifilar::run(|| {
//!     let fibers: Vec<_> = (0..1_000)
//!         .map(|i| fiber::spawn(move || {
//!             sleep(Duration::from_millis(1)).wait();
//!             i
//!         }))
//!         .collect();
//!     let sum: u32 = fibers.into_iter().map(|fiber| fiber.join().unwrap()).sum();
//!     assert_eq!(sum, 499_500);
//! });
//! ```

use crate::{
    cell::{JoinHandle, TaskKind},
    context,
    scheduler::{self, Birth, Shared},
    time, wait,
    wait::Wait,
};
use bifilar_coroutine::stack;
use std::{
    future::Future,
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

/// The closure of a fiber as a future: its only poll runs it to its end.
pub(crate) struct Body<F>(Option<F>);

impl<F> Body<F> {
    pub fn new(f: F) -> Self {
        Body(Some(f))
    }
}

// The closure is moved out before it is called, so pinning promises it nothing.
impl<F> Unpin for Body<F> {}

impl<T, F: FnOnce() -> T> Future for Body<F> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<T> {
        let body = self.0.take().expect("polled after completion");
        Poll::Ready(body())
    }
}

/// Spawns a fiber.
///
/// It may start on any worker and stays there once it has started. The [`JoinHandle`] gives its
/// result; dropping that detaches the fiber. A panic ends only the fiber, and is told to who joins.
///
/// # Panics
/// Outside of a runtime: use [`Handle::spawn_fiber`](crate::Handle::spawn_fiber) there.
///
/// ```
/// bifilar::run(|| {
///     let fiber = bifilar::fiber::spawn(|| "done");
///     assert_eq!(fiber.join().unwrap(), "done");
/// });
/// ```
#[track_caller]
pub fn spawn<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    let birth = Birth::new(TaskKind::Fiber);
    scheduler::expect_current().spawn(Body::new(f), birth)
}

/// Spawns a fiber that stays on this worker, and so needn't be `Send`.
///
/// # Panics
/// On a thread that is no worker.
///
/// ```
/// use std::{cell::Cell, rc::Rc};
///
/// bifilar::run(|| {
///     let count = Rc::new(Cell::new(0));
///     let fiber = bifilar::fiber::spawn_local({
///         let count = count.clone();
///         move || count.set(1)
///     });
///     fiber.join().unwrap();
///     assert_eq!(count.get(), 1);
/// });
/// ```
#[track_caller]
pub fn spawn_local<T: 'static>(f: impl FnOnce() -> T + 'static) -> JoinHandle<T> {
    scheduler::spawn_local(Body::new(f), Birth::new(TaskKind::Fiber))
}

/// Lets other tasks of this worker run. On a thread that is no worker, lets other threads run.
///
/// When the fiber has been cancelled, it unwinds from here.
///
/// ```
/// bifilar::run(|| bifilar::fiber::yield_now());
/// ```
pub fn yield_now() {
    wait::yield_stack();
}

/// Waits for `duration`: [`time::sleep`] in blocking style.
///
/// # Panics
/// Outside of a runtime.
///
/// ```
/// use std::time::Duration;
/// bifilar::run(|| bifilar::fiber::sleep(Duration::from_millis(1)));
/// ```
#[track_caller]
pub fn sleep(duration: Duration) {
    time::sleep(duration).wait();
}

/// Spawns fibers with a name or a stack size of their own.
///
/// ```
/// use bifilar::fiber;
///
/// bifilar::run(|| {
///     let deep = fiber::Builder::new()
///         .name("deep")
///         .stack_size(4 << 20)
///         .spawn(|| bifilar::task::current().name().map(String::from))?;
///     assert_eq!(deep.join()?.as_deref(), Some("deep"));
///     Ok::<(), std::io::Error>(())
/// }).unwrap();
/// ```
#[derive(Clone, Debug, Default)]
#[must_use = "a Builder does nothing until you call spawn"]
pub struct Builder {
    name: Option<String>,
    stack_size: Option<usize>,
    measure_stack: bool,
}

impl Builder {
    /// A fiber without a name, on a stack of the runtime's size.
    pub fn new() -> Self {
        Self::default()
    }

    /// Names the fiber, for messages and dumps.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Bytes of address space for its stack, guard page included; rounded up to a power of two of
    /// at least 16 KiB.
    ///
    /// The stack is taken when the fiber starts. When the system refuses it then, the fiber ends as if
    /// it had panicked with the system's reason, and who joins is told.
    pub fn stack_size(mut self, bytes: usize) -> Self {
        self.stack_size = Some(bytes);
        self
    }

    /// Whether to find out how deep the fiber's stack goes, so that sizes can be chosen from facts.
    /// [`Task::stack_depth`](crate::task::Task::stack_depth) tells it when the fiber has ended, and so
    /// does an event of `tracing` at the level "debug".
    ///
    /// Such a fiber starts on an empty stack, which costs some microseconds and page faults.
    ///
    /// ```
    /// use bifilar::fiber;
    ///
    /// bifilar::run(|| {
    ///     let handle = fiber::Builder::new().measure_stack(true).spawn(|| {
    ///         std::hint::black_box([1_u8; 50_000]).iter().map(|&n| u32::from(n)).sum::<u32>()
    ///     })?;
    ///     let fiber = handle.task();
    ///     handle.join()?;
    ///     assert!(fiber.stack_depth().unwrap() > 50_000);
    ///     Ok::<(), std::io::Error>(())
    /// }).unwrap();
    /// ```
    pub fn measure_stack(mut self, yes: bool) -> Self {
        self.measure_stack = yes;
        self
    }

    /// Spawns the fiber: see [`spawn`].
    ///
    /// # Errors
    /// `InvalidInput` if the size of the stack is out of range; `Unsupported` outside of a runtime.
    #[track_caller]
    pub fn spawn<T: Send + 'static>(
        self,
        f: impl FnOnce() -> T + Send + 'static,
    ) -> io::Result<JoinHandle<T>> {
        let measured = self.measure_stack;
        let birth = self.birth(Birth::new(TaskKind::Fiber))?;
        let shared = Shared::current().ok_or_else(outside)?;
        Ok(if measured {
            shared.spawn(Body::new(Measured::around(f)), birth)
        } else {
            shared.spawn(Body::new(f), birth)
        })
    }

    /// Spawns the fiber on this worker: see [`spawn_local`].
    ///
    /// # Errors
    /// `InvalidInput` if the size of the stack is out of range; `Unsupported` on a thread that is no
    /// worker.
    #[track_caller]
    pub fn spawn_local<T: 'static>(
        self,
        f: impl FnOnce() -> T + 'static,
    ) -> io::Result<JoinHandle<T>> {
        let measured = self.measure_stack;
        let birth = self.birth(Birth::new(TaskKind::Fiber))?;
        if !scheduler::on_worker() {
            return Err(outside());
        }
        Ok(if measured {
            scheduler::spawn_local(Body::new(Measured::around(f)), birth)
        } else {
            scheduler::spawn_local(Body::new(f), birth)
        })
    }

    fn birth(self, mut birth: Birth) -> io::Result<Birth> {
        if let Some(name) = self.name {
            birth.extra().name = Some(name.into_boxed_str());
        }
        if let Some(size) = self.stack_size {
            birth.extra().stack_class = Some(stack::round_up(size)?);
        }
        if self.measure_stack {
            birth.extra().measure_stack = true;
        }
        Ok(birth)
    }
}

/// Notes how deep the stack went, at the end of a fiber's body: before anybody learns of it.
struct Measured;

impl Measured {
    fn around<T>(f: impl FnOnce() -> T) -> impl FnOnce() -> T {
        || {
            let _measured = Measured;
            f()
        }
    }
}

impl Drop for Measured {
    fn drop(&mut self) {
        let Some((bytes, size)) = scheduler::measure_stack() else { return };
        let Some(task) = context::with(|context| context.task.get()) else { return };
        // SAFETY: the task being polled is alive.
        let meta = &unsafe { task.as_ref() }.meta;
        meta.set_stack_depth(bytes);
        tracing::debug!(
            task = %meta.id,
            name = meta.name(),
            location = %meta.location,
            bytes,
            size,
            "depth of a fiber's stack"
        );
    }
}

fn outside() -> io::Error {
    io::Error::new(io::ErrorKind::Unsupported, scheduler::OUTSIDE)
}
