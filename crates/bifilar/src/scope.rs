//! Scopes: tasks that borrow from whoever spawns them.
//!
//! ```text
//!   scope(|s| …)      ─┬── body ──────────────┬─ wait for all ─┬─► value, or a panic
//!                      │                      │                │
//!   s.spawn(…)         └── child ─── … ───────┼── ends ────────┤
//!   s.spawn_future(…)      └── child of a child ── ends ───────┘
//!                                             │
//!   the body, or the wait, unwinds  ──────────┴─ cancel all, wait for all (shielded), unwind on
//! ```
//!
//! The call does not return, by whatever way, before every child has ended and everything that a
//! child owned has been dropped. That is what makes borrowing sound, and why there is no scope that
//! is a future: a future can be forgotten, a call can't. A child counts as running until its
//! [`Departure`] is dropped, the last field of what the task cell holds.
//!
//! What it deliberately does not do: catch the stack on which it stands. A coroutine that is
//! forgotten in the middle of a scope leaks its stack, and so what the children borrow stays.

use crate::{
    cell::{CancelUnwind, JoinError, JoinHandle, Task, TaskKind},
    context::{
        self,
        waiting::{self, What},
    },
    fiber::Body,
    primitives::{Mutex, MutexGuard},
    scheduler::{self, Birth, Shared},
    sync::{Notify, lock},
    wait::Wait,
};
use pin_project_lite::pin_project;
use std::{
    collections::{BTreeMap, HashSet},
    fmt,
    future::{Future, poll_fn},
    marker::PhantomData,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll},
};

/// Runs a closure that can spawn tasks which borrow, and returns when all of them have ended.
///
/// As [`std::thread::scope`], with tasks for threads: the children may borrow whatever outlives the
/// call, run on all workers, and may spawn siblings. The calling task waits for them; its worker goes
/// on with others. It may be called from a fiber, from any depth of an async task, and from a plain
/// thread that has entered a runtime (one that runs meanwhile: not a
/// [`LocalRuntime`](crate::LocalRuntime) of the same thread).
///
/// # Cancellation
/// When the caller is cancelled, interrupted by a deadline, or the closure panics, all children are
/// cancelled, and the call waits for their destructors before it unwinds. The end of the runtime does
/// the same to a task; on a plain thread, which it can't interrupt, the call panics then instead of
/// returning as if its children had run.
///
/// # Panics
/// With what the closure panics with. If a child panicked and nobody was told by joining it, with "a
/// scoped task panicked", after the others have ended. A [`spawn`](Scope::spawn) outside of a runtime
/// panics.
///
/// ```
/// let words = ["any", "task", "may", "block"].map(String::from);
/// let mut longest = String::new();
///
/// let letters: usize = bifilar::run(|| {
///     bifilar::scope(|s| {
///         s.spawn(|| longest = words.iter().max_by_key(|word| word.len()).unwrap().clone());
///         let counts: Vec<_> = words.iter().map(|word| s.spawn(|| word.len())).collect();
///         let rest = s.spawn_future(async { words.len() - 1 });
///         counts.into_iter().map(|count| count.join().unwrap()).sum::<usize>()
///             + rest.join().unwrap()
///     })
/// });
/// assert_eq!((letters, longest.as_str()), (18, "block"));
/// ```
///
/// What a child borrows must outlive the scope:
///
/// ```compile_fail,E0373
/// bifilar::scope(|s| {
///     let inside = String::new();
///     s.spawn(|| inside.len());
/// });
/// ```
///
/// and must be fit to be seen by another thread:
///
/// ```compile_fail,E0277
/// let count = std::cell::Cell::new(0);
/// bifilar::scope(|s| {
///     s.spawn(|| count.set(1));
/// });
/// ```
pub fn scope<'env, F, T>(f: F) -> T
where
    F: for<'scope> FnOnce(&'scope Scope<'scope, 'env>) -> T,
{
    let scope = Scope::new(false);
    let value = run(&scope.children, || f(&scope));
    if !scope.children.lock().panics.is_empty() {
        panic!("a scoped task panicked");
    }
    scope.end_if_the_runtime_did();
    value
}

/// Like [`scope`], but the first error cancels everything else and is returned.
///
/// Children and closure give `Result`s. When the first of them fails, the others are cancelled, the
/// closure is interrupted at its next [`wait`](Wait::wait), and when all have ended the error is
/// returned; later errors are dropped. A child that panics cancels the others as well; one that is
/// cancelled by its own handle is no error.
///
/// # Errors
/// The first error.
///
/// # Panics
/// As [`scope`], also if the child that panicked was joined.
///
/// ```
/// use bifilar::{Wait, time::sleep, try_scope};
/// use std::time::Duration;
///
/// let result = bifilar::run(|| {
///     try_scope(|s| {
///         s.spawn(|| Ok(sleep(Duration::from_secs(3600)).wait()));
///         s.spawn(|| "seven".parse::<u32>());
///         s.spawn_future(async { Ok(sleep(Duration::from_secs(3600)).await) });
///         Ok(())
///     })
/// });
/// assert_eq!(result.unwrap_err().to_string(), "invalid digit found in string");
/// ```
pub fn try_scope<'env, F, T, E>(f: F) -> Result<T, E>
where
    F: for<'scope> FnOnce(&'scope TryScope<'scope, 'env, E>) -> Result<T, E>,
    E: Send + 'env,
{
    let first_error = Arc::new(Mutex::new(None));
    let scope = TryScope { scope: Scope::new(true), first_error: first_error.clone() };
    let children = &scope.scope.children;
    let body = run(children, || match context::until(children.cancelled(), || f(&scope)) {
        Ok(Ok(value)) => Some(value),
        Ok(Err(error)) => {
            scope.fail(error);
            None
        }
        Err(()) => None,
    });
    if !children.lock().panics.is_empty() {
        panic!("a scoped task panicked");
    }
    scope.scope.end_if_the_runtime_did();
    match (lock(&first_error).take(), body) {
        (Some(error), _) => Err(error),
        (None, Some(value)) => Ok(value),
        (None, None) => unreachable!("the body ends early by an error or a panic only"),
    }
}

/// Runs the body of a scope, and doesn't come back before all children have ended.
fn run<T>(children: &Children, body: impl FnOnce() -> T) -> T {
    let result = catch_unwind(AssertUnwindSafe(|| {
        let value = body();
        children.wait_for_all();
        value
    }));
    result.unwrap_or_else(|payload| {
        // A wait without memory for another stack panics. There is no way out but through.
        let end = || {
            children.cancel();
            context::shielded(|| children.wait_for_all());
        };
        while catch_unwind(AssertUnwindSafe(end)).is_err() {
            std::thread::yield_now();
        }
        resume_unwind(payload)
    })
}

/// What a scope's closure gets, to spawn with. See [`scope`].
pub struct Scope<'scope, 'env: 'scope> {
    children: Arc<Children>,
    /// The runtime of whoever opened the scope.
    shared: Option<Arc<Shared>>,
    /// Invariant in both, as in std: neither may be shortened or lengthened behind our back.
    scope: PhantomData<&'scope mut &'scope ()>,
    env: PhantomData<&'env mut &'env ()>,
}

impl<'scope> Scope<'scope, '_> {
    fn new(ends_at_panic: bool) -> Self {
        Scope {
            children: Arc::new(Children::new(ends_at_panic)),
            shared: Shared::current(),
            scope: PhantomData,
            env: PhantomData,
        }
    }

    /// Whoever opened the scope counts on its children. If the runtime's end took some before they had a
    /// result, it must not go on as if they had run.
    #[track_caller]
    fn end_if_the_runtime_did(&self) {
        let Some(shared) = self.shared.as_ref().filter(|shared| shared.is_closed()) else { return };
        let state = self.children.lock();
        if state.unfinished.is_empty() || state.cancelled || std::thread::panicking() {
            return;
        }
        drop(state);
        if Task::current().is_some() && scheduler::stands_on(shared) {
            // It is being cancelled as well, if it doesn't know yet.
            resume_unwind(Box::new(CancelUnwind));
        }
        panic!("the bifilar runtime has been shut down, and children of a scope with it");
    }

    /// Spawns a fiber that may borrow what outlives the scope.
    ///
    /// # Panics
    /// If the scope was opened outside of a runtime.
    #[track_caller]
    pub fn spawn<F, T>(&'scope self, f: F) -> ScopedJoinHandle<'scope, T>
    where
        F: FnOnce() -> T + Send + 'scope,
        T: Send + 'scope,
    {
        self.adopt(Body::new(f), Birth::new(TaskKind::Fiber))
    }

    /// Spawns a future that may borrow what outlives the scope.
    ///
    /// # Panics
    /// If the scope was opened outside of a runtime.
    #[track_caller]
    pub fn spawn_future<F>(&'scope self, future: F) -> ScopedJoinHandle<'scope, F::Output>
    where
        F: Future + Send + 'scope,
        F::Output: Send + 'scope,
    {
        self.adopt(future, Birth::new(TaskKind::Async))
    }

    /// Asks all children to end early, and those that are still to come.
    ///
    /// ```
    /// use bifilar::{Wait, scope, time::sleep};
    /// use std::time::Duration;
    /// bifilar::run(|| scope(|s| {
    ///     s.spawn(|| sleep(Duration::from_secs(3600)).wait());
    ///     s.cancel();
    /// }));
    /// ```
    pub fn cancel(&self) {
        self.children.cancel();
    }

    #[track_caller]
    fn adopt<F>(&'scope self, future: F, birth: Birth) -> ScopedJoinHandle<'scope, F::Output>
    where
        F: Future + Send + 'scope,
        F::Output: Send + 'scope,
    {
        let Some(shared) = &self.shared else { panic!("{}", scheduler::OUTSIDE) };
        let departure = Children::arrive(&self.children);
        let number = departure.number;
        let packet = Arc::new(Packet {
            result: Mutex::new(None),
            number,
            children: self.children.clone(),
            scope: PhantomData,
        });
        let child = Child { future: Some(future), packet: packet.clone(), departure };
        // SAFETY: future and output are `Send`. What they borrow outlives the scope, which waits for
        // the departure, and that is dropped after the future and the result.
        let task = unsafe { shared.spawn_borrowing(child, birth) };
        self.children.note(number, task.task());
        ScopedJoinHandle { task, packet }
    }
}

impl fmt::Debug for Scope<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let children = self.children.lock().running.len();
        f.debug_struct("Scope").field("running", &children).finish()
    }
}

/// What the closure of [`try_scope`] gets, to spawn with.
pub struct TryScope<'scope, 'env: 'scope, E> {
    scope: Scope<'scope, 'env>,
    first_error: Arc<Mutex<Option<E>>>,
}

impl<'scope, E: Send + 'scope> TryScope<'scope, '_, E> {
    /// Spawns a fiber that may borrow what outlives the scope, and whose error ends it.
    ///
    /// Its handle gives `None` if it failed: the error belongs to the scope.
    ///
    /// # Panics
    /// If the scope was opened outside of a runtime.
    #[track_caller]
    pub fn spawn<F, T>(&'scope self, f: F) -> ScopedJoinHandle<'scope, Option<T>>
    where
        F: FnOnce() -> Result<T, E> + Send + 'scope,
        T: Send + 'scope,
    {
        let body = move || f().map_err(|error| self.fail(error)).ok();
        self.scope.adopt(Body::new(body), Birth::new(TaskKind::Fiber))
    }

    /// Spawns a future that may borrow what outlives the scope, and whose error ends it.
    ///
    /// Its handle gives `None` if it failed: the error belongs to the scope.
    ///
    /// # Panics
    /// If the scope was opened outside of a runtime.
    #[track_caller]
    pub fn spawn_future<F, T>(&'scope self, future: F) -> ScopedJoinHandle<'scope, Option<T>>
    where
        F: Future<Output = Result<T, E>> + Send + 'scope,
        T: Send + 'scope,
    {
        let body = async move { future.await.map_err(|error| self.fail(error)).ok() };
        self.scope.adopt(body, Birth::new(TaskKind::Async))
    }

    fn fail(&self, error: E) {
        let mut first = lock(&self.first_error);
        let late = if first.is_some() { Some(error) } else { first.replace(error) };
        drop(first);
        drop(late);
        self.scope.children.cancel();
    }
}

impl<E> fmt::Debug for TryScope<'_, '_, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TryScope").field(&self.scope).finish()
    }
}

/// The children of a scope, as the scope and each of them see them.
struct Children {
    state: Mutex<State>,
    /// Notified when the last child has ended, and when all are cancelled.
    changed: Notify,
    /// A child that panics cancels the others.
    ends_at_panic: bool,
}

#[derive(Default)]
struct State {
    /// Those that have not ended, by number; `None` while the spawner hasn't noted the task yet.
    running: BTreeMap<u64, Option<Task>>,
    next_number: u64,
    cancelled: bool,
    /// The children that panicked, and nobody was told.
    panics: HashSet<u64>,
    /// The children that were cancelled before they had a result, and nobody was told.
    unfinished: HashSet<u64>,
}

impl Children {
    fn new(ends_at_panic: bool) -> Self {
        Children { state: Mutex::new(State::default()), changed: Notify::new(), ends_at_panic }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// Counts a child as running, until what is returned is dropped.
    fn arrive(this: &Arc<Self>) -> Departure {
        let mut state = this.lock();
        let number = state.next_number;
        state.next_number += 1;
        state.running.insert(number, None);
        drop(state);
        Departure { children: this.clone(), number }
    }

    /// Remembers the task of a child, so that it can be cancelled.
    fn note(&self, number: u64, task: Task) {
        let mut state = self.lock();
        let cancelled = state.cancelled;
        // It may have ended by now.
        if let Some(place) = state.running.get_mut(&number) {
            *place = Some(task.clone());
        }
        drop(state);
        if cancelled {
            task.cancel();
        }
    }

    fn cancel(&self) {
        let mut state = self.lock();
        state.cancelled = true;
        let tasks: Vec<_> = state.running.values().flatten().cloned().collect();
        drop(state);
        for task in tasks {
            task.cancel();
        }
        self.changed.notify_waiters();
    }

    fn panicked(&self, number: u64) {
        self.lock().panics.insert(number);
        if self.ends_at_panic {
            self.cancel();
        }
    }

    fn unfinished(&self, number: u64) {
        self.lock().unfinished.insert(number);
    }

    /// Somebody was told how a child ended. A panic that has ended the scope stays one.
    fn told(&self, number: u64) {
        let mut state = self.lock();
        state.unfinished.remove(&number);
        if !self.ends_at_panic {
            state.panics.remove(&number);
        }
    }

    async fn cancelled(&self) {
        self.until(|state| state.cancelled).await;
    }

    fn wait_for_all(&self) {
        let mut all_ended = pin!(self.until(|state| state.running.is_empty()));
        // So that reports say it by name.
        poll_fn(|cx| waiting::noted(What::Children, all_ended.as_mut().poll(cx))).wait();
    }

    async fn until(&self, condition: impl Fn(&State) -> bool) {
        loop {
            // Made before the look, so that no change is missed.
            let changed = self.changed.notified();
            if condition(&self.lock()) {
                return;
            }
            changed.await;
        }
    }
}

/// Counts a child as running until it is dropped.
struct Departure {
    children: Arc<Children>,
    number: u64,
}

impl Drop for Departure {
    fn drop(&mut self) {
        let mut state = self.children.lock();
        let task = state.running.remove(&self.number);
        let last = state.running.is_empty();
        drop(state);
        if last {
            self.children.changed.notify_waiters();
        }
        drop(task);
    }
}

pin_project! {
    /// What the task of a child runs. **The order of the fields is the order in which they are
    /// dropped**, and what borrows must go before the departure.
    struct Child<'scope, F: Future> {
        #[pin]
        future: Option<F>,
        packet: Arc<Packet<'scope, F::Output>>,
        departure: Departure,
    }

    impl<F: Future> PinnedDrop for Child<'_, F> {
        /// A panic of its destructors counts as the child's. The task cell passes it on.
        fn drop(this: Pin<&mut Self>) {
            let mut this = this.project();
            let dropped = catch_unwind(AssertUnwindSafe(|| this.future.set(None)));
            if lock(&this.packet.result).is_none() {
                this.departure.children.unfinished(this.departure.number);
            }
            if let Err(payload) = dropped {
                this.departure.children.panicked(this.departure.number);
                resume_unwind(payload);
            }
        }
    }
}

impl<F: Future> Future for Child<'_, F> {
    type Output = ();

    /// Leaves the result in the packet: in the task cell it could outlive the scope.
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.project();
        let future = this.future.as_pin_mut().expect("there until it is dropped");
        let result = match catch_unwind(AssertUnwindSafe(|| future.poll(cx))) {
            Ok(Poll::Pending) => return Poll::Pending,
            Ok(Poll::Ready(value)) => Ok(value),
            Err(payload) => {
                let error = Task::current().expect("polled by a worker").join_error(payload);
                if error.is_panic() {
                    this.departure.children.panicked(this.departure.number);
                } else {
                    this.departure.children.unfinished(this.departure.number);
                }
                Err(error)
            }
        };
        *lock(&this.packet.result) = Some(result);
        Poll::Ready(())
    }
}

/// The result of a child, on its way to whoever joins it.
struct Packet<'scope, T> {
    result: Mutex<Option<Result<T, JoinError>>>,
    number: u64,
    children: Arc<Children>,
    scope: PhantomData<&'scope ()>,
}

/// Waits for a child of a scope and gives its result.
///
/// A future, as [`JoinHandle`]; dropping it leaves the child to the scope.
pub struct ScopedJoinHandle<'scope, T> {
    task: JoinHandle<()>,
    packet: Arc<Packet<'scope, T>>,
}

impl<T> ScopedJoinHandle<'_, T> {
    /// Waits for the child and gives its result.
    ///
    /// # Errors
    /// A [`JoinError`] if the child panicked, with the payload, or was cancelled.
    pub fn join(self) -> Result<T, JoinError> {
        self.wait()
    }

    /// Asks the child to end early: see [`JoinHandle::cancel`].
    pub fn cancel(&self) {
        self.task.cancel();
    }

    /// Whether the child has ended; then joining doesn't wait.
    pub fn is_finished(&self) -> bool {
        self.task.is_finished()
    }

    /// What is known of the child's task.
    pub fn task(&self) -> Task {
        self.task.task()
    }
}

impl<T> Unpin for ScopedJoinHandle<'_, T> {}

impl<T> Future for ScopedJoinHandle<'_, T> {
    type Output = Result<T, JoinError>;

    /// # Panics
    /// If it is polled again after it gave the result.
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Poll::Ready(ended) = Pin::new(&mut self.task).poll(cx) else { return Poll::Pending };
        let left = lock(&self.packet.result).take();
        // A child that was dropped where it stood has left nothing; and if a destructor panicked then,
        // that is the worse news.
        let result = ended.and_then(|()| left.expect("left by the poll that ended it"));
        if result.is_err() {
            self.packet.children.told(self.packet.number);
        }
        Poll::Ready(result)
    }
}

impl<T> fmt::Debug for ScopedJoinHandle<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ScopedJoinHandle").field(&self.task).finish()
    }
}
