//! The list of a runtime's unfinished tasks: what a shutdown cancels and waits for.
//!
//! An intrusive doubly linked list under a lock; the runtime keeps one for each worker, so that
//! spawning on two workers takes two locks.

use super::{
    header::{Header, TaskRef},
    report::TaskReport,
    tally::Tally,
    task::Task,
};
use crate::primitives::Mutex;
use bifilar_timeline::Outcome;
use std::ptr::NonNull;

#[derive(Debug)]
pub(crate) struct Links {
    previous: Option<NonNull<Header>>,
    next: Option<NonNull<Header>>,
}

impl Links {
    pub fn new() -> Self {
        Links { previous: None, next: None }
    }
}

/// See the module's head.
pub(crate) struct Registry(Mutex<List>);

struct List {
    head: Option<TaskRef>,
    len: usize,
    closed: bool,
    tally: Tally,
}

// SAFETY: the list is reached under its lock alone, and a header may be named from any thread.
unsafe impl Send for List {}

impl Registry {
    pub fn new() -> Self {
        Registry(Mutex::new(List { head: None, len: 0, closed: false, tally: Tally::default() }))
    }

    /// Adds a new task. `false`: the runtime is shutting down and takes no more.
    ///
    /// # Safety
    /// The task is alive until it is removed, and stands in no registry.
    #[must_use]
    pub unsafe fn insert(&self, task: TaskRef) -> bool {
        let mut list = self.0.lock().unwrap();
        if list.closed {
            return false;
        }
        let old = list.head.replace(task);
        // SAFETY: the lock is held, and both tasks are alive.
        unsafe {
            links(task, |links| *links = Links { previous: None, next: old });
            if let Some(old) = old {
                links(old, |links| links.previous = Some(task));
            }
        }
        list.len += 1;
        // SAFETY: alive.
        list.tally.born(unsafe { task.as_ref() }.meta.kind);
        true
    }

    /// Takes a task out that has ended. Returns whether it was the last one of a closed registry.
    ///
    /// # Safety
    /// The task stands in this registry, or was refused by it.
    pub unsafe fn remove(&self, task: TaskRef, outcome: Outcome) -> bool {
        let mut list = self.0.lock().unwrap();
        // SAFETY: the lock is held; what stands in the registry is alive.
        unsafe {
            let Links { previous, next } =
                links(task, |links| std::mem::replace(links, Links::new()));
            if previous.is_none() && list.head != Some(task) {
                // It came when the registry was closed already.
                return false;
            }
            match previous {
                Some(previous) => links(previous, |links| links.next = next),
                None => list.head = next,
            }
            if let Some(next) = next {
                links(next, |links| links.previous = previous);
            }
        }
        list.len -= 1;
        // SAFETY: alive.
        list.tally.ended(unsafe { task.as_ref() }.meta.kind, outcome);
        list.closed && list.len == 0
    }

    pub fn is_closed_and_empty(&self) -> bool {
        let list = self.0.lock().unwrap();
        list.closed && list.len == 0
    }

    pub fn is_empty(&self) -> bool {
        self.0.lock().unwrap().len == 0
    }

    pub fn is_closed(&self) -> bool {
        self.0.lock().unwrap().closed
    }

    /// How many tasks there were, and what became of them.
    pub fn tally(&self) -> Tally {
        self.0.lock().unwrap().tally.clone()
    }

    /// Says of each task what it is doing.
    pub fn report(&self, mut each: impl FnMut(TaskReport, &dyn Fn() -> Task)) {
        let list = self.0.lock().unwrap();
        let mut cursor = list.head;
        while let Some(task) = cursor {
            // SAFETY: the lock is held; what stands in the registry is alive.
            unsafe {
                each(TaskReport::of(task.as_ref()), &|| Task::from_ref(task));
                cursor = links(task, |links| links.next);
            }
        }
    }

    /// Takes no more tasks.
    pub fn close(&self) {
        self.0.lock().unwrap().closed = true;
    }

    /// Cancels all tasks that are here.
    pub fn cancel_all(&self) {
        let mut tasks = Vec::new();
        {
            let list = self.0.lock().unwrap();
            let mut cursor = list.head;
            while let Some(task) = cursor {
                // SAFETY: the lock is held; what stands in the registry is alive. The reference
                // keeps it so when the lock is given back.
                cursor = unsafe {
                    task.as_ref().state.ref_inc();
                    links(task, |links| links.next)
                };
                tasks.push(task);
            }
        }
        for task in tasks {
            // SAFETY: a reference was taken above; it is given back here and not used again.
            unsafe {
                Header::cancel(task);
                Header::release(task);
            }
        }
    }
}

/// # Safety
/// The lock of the registry is held and the task is alive.
unsafe fn links<R>(task: TaskRef, f: impl FnOnce(&mut Links) -> R) -> R {
    // SAFETY: as promised.
    unsafe { task.as_ref() }.registry.with_mut(|links| f(unsafe { &mut *links }))
}
