//! A request to stop, passed around: a flag, whoever waits for it, and the tokens made from it.
//!
//! ```text
//!   token ──child()──► token ──child()──► token      cancel() goes down this tree,
//!     └─────child()──► token                         and never up
//! ```
//!
//! A token holds its parent, so that the way down from an ancestor stays, and knows its children
//! weakly. The flag of a child is set by whoever cancels an ancestor, under no lock but that of one
//! list at a time.
//!
//! What it deliberately does not do: end anything by itself. Who holds a token looks, or waits.

use super::{Notified, Notify, lock};
use crate::context::waiting::{self, What};
use crate::primitives::{AtomicBool, Mutex, Ordering};
use pin_project_lite::pin_project;
use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::{Arc, Weak},
    task::{Context, Poll},
};

/// A request to stop that can be passed around, looked at and waited for.
///
/// Clones are the same token. Cancelling is for ever, and reaches all tokens made by
/// [`child`](Self::child).
///
/// ```
/// use bifilar::{Wait, fiber, sync::CancelToken, time::sleep, until};
/// use std::time::Duration;
///
/// bifilar::run(|| {
///     let token = CancelToken::new();
///     let worker = fiber::spawn({
///         let token = token.child();
///         // Any code in blocking style, interrupted wherever it waits.
///         move || until(token.cancelled(), || sleep(Duration::from_secs(3600)).wait())
///     });
///     token.cancel();
///     assert!(worker.join().unwrap().is_err());
/// });
/// ```
#[derive(Clone)]
pub struct CancelToken {
    node: Arc<Node>,
}

struct Node {
    cancelled: AtomicBool,
    waiters: Notify,
    children: Mutex<Children>,
    /// Only held, for `cancel` to come by.
    parent: Option<Arc<Node>>,
}

impl Drop for Node {
    /// Goes up in a loop: a long line of parents must not become a deep recursion.
    fn drop(&mut self) {
        let mut parent = self.parent.take();
        while let Some(node) = parent {
            parent = Arc::into_inner(node).and_then(|mut last| last.parent.take());
        }
    }
}

#[derive(Default)]
struct Children {
    nodes: Vec<Weak<Node>>,
    /// When `nodes` is as long as this, those that are gone are swept out.
    sweep_at: usize,
}

const LEAST_SWEEP: usize = 16;

impl CancelToken {
    /// A token that nobody has cancelled.
    pub fn new() -> Self {
        Self::below(None)
    }

    fn below(parent: Option<Arc<Node>>) -> Self {
        CancelToken {
            node: Arc::new(Node {
                cancelled: AtomicBool::new(false),
                waiters: Notify::new(),
                children: Mutex::new(Children::default()),
                parent,
            }),
        }
    }

    /// A token that is cancelled with this one, and can also be cancelled alone.
    ///
    /// ```
    /// use bifilar::sync::CancelToken;
    /// let all = CancelToken::new();
    /// let (one, other) = (all.child(), all.child());
    /// one.cancel();
    /// assert!(one.is_cancelled() && !other.is_cancelled() && !all.is_cancelled());
    /// all.cancel();
    /// assert!(other.is_cancelled());
    /// assert!(all.child().is_cancelled());
    /// ```
    pub fn child(&self) -> Self {
        let child = Self::below(Some(self.node.clone()));
        let mut children = lock(&self.node.children);
        // Under the lock, so that `cancel` has either set the flag or will find the child.
        if self.is_cancelled() {
            drop(children);
            child.cancel();
            return child;
        }
        if children.nodes.len() >= children.sweep_at {
            children.nodes.retain(|child| child.strong_count() > 0);
            children.sweep_at = (2 * children.nodes.len()).max(LEAST_SWEEP);
        }
        children.nodes.push(Arc::downgrade(&child.node));
        child
    }

    /// Asks everybody who holds this token, or one made from it, to stop.
    pub fn cancel(&self) {
        let mut reached = vec![self.node.clone()];
        while let Some(node) = reached.pop() {
            let children = {
                let mut children = lock(&node.children);
                // Release pairs with `is_cancelled`.
                node.cancelled.store(true, Ordering::Release);
                std::mem::take(&mut children.nodes)
            };
            reached.extend(children.iter().filter_map(Weak::upgrade));
            node.waiters.notify_waiters();
        }
    }

    /// Whether somebody has asked to stop.
    pub fn is_cancelled(&self) -> bool {
        // Acquire: what came before the request is seen.
        self.node.cancelled.load(Ordering::Acquire)
    }

    /// A future that is ready once the token has been cancelled.
    ///
    /// # Cancellation
    /// Dropping it loses nothing.
    pub fn cancelled(&self) -> Cancelled<'_> {
        Cancelled { token: self, notified: self.node.waiters.notified() }
    }

    /// Cancels the token when what is returned is dropped.
    ///
    /// ```
    /// use bifilar::sync::CancelToken;
    /// let token = CancelToken::new();
    /// drop(token.clone().cancel_on_drop());
    /// assert!(token.is_cancelled());
    /// ```
    pub fn cancel_on_drop(self) -> CancelOnDrop {
        CancelOnDrop { token: self }
    }
}

impl Default for CancelToken {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for CancelToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CancelToken").field("cancelled", &self.is_cancelled()).finish()
    }
}

/// Cancels a token when it is dropped: see [`CancelToken::cancel_on_drop`].
#[derive(Debug)]
#[must_use = "the token is cancelled as soon as this is dropped"]
pub struct CancelOnDrop {
    token: CancelToken,
}

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.token.cancel();
    }
}

pin_project! {
    /// The future of [`CancelToken::cancelled`].
    #[must_use = "futures do nothing unless awaited or waited for"]
    pub struct Cancelled<'a> {
        token: &'a CancelToken,
        #[pin]
        notified: Notified<'a>,
    }
}

impl Future for Cancelled<'_> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        // `notified` was made before this look, so a cancel after it is not missed.
        if self.token.is_cancelled() {
            return Poll::Ready(());
        }
        waiting::noted(What::Cancelled, self.project().notified.poll(cx))
    }
}

impl fmt::Debug for Cancelled<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cancelled").field("token", self.token).finish()
    }
}
