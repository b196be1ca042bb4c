//! Models of a task's end and wake-ups: who polls, joins, wakes, cancels and drops at the same time.

use super::{Header, Id, Meta, Schedule, TaskKind, TaskRef, new};
use bifilar_timeline::Outcome;
use loom::thread;
use std::{
    future::{Future, poll_fn},
    panic::Location,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    task::{Context, Poll, Wake, Waker},
};

thread_local! {
    /// What `interrupt` was last given. Loom's threads share this one, and only one of them cancels.
    static INTERRUPTED: std::cell::Cell<*mut ()> = const { std::cell::Cell::new(std::ptr::null_mut()) };
}

/// Counts how often it was given the right to a poll. Its address is the tasks' `scheduler`.
#[derive(Default)]
struct Counts {
    scheduled: AtomicUsize,
    finished: AtomicUsize,
}

struct Counting;

impl Counting {
    fn counts(task: TaskRef) -> &'static Counts {
        // SAFETY: set by `spawn` to counts that are leaked.
        unsafe { &*task.as_ref().scheduler.cast::<Counts>() }
    }
}

// SAFETY: the models poll as often as the counts allow.
unsafe impl Schedule for Counting {
    fn schedule(task: TaskRef) {
        Self::counts(task).scheduled.fetch_add(1, SeqCst);
    }

    fn reschedule(task: TaskRef) {
        Self::schedule(task);
    }

    fn finished(task: TaskRef, _: Outcome) {
        Self::counts(task).finished.fetch_add(1, SeqCst);
    }

    fn interrupt(stack: *mut ()) {
        INTERRUPTED.with(|place| place.set(stack));
    }
}

/// A task that may be handed to a loom thread.
struct Runnable(TaskRef);

// SAFETY: the models obey the rules for tasks.
unsafe impl Send for Runnable {}

impl Runnable {
    fn poll(&self) {
        // SAFETY: the model owns the right to this poll.
        unsafe { Header::poll(self.0) }
    }
}

#[track_caller]
fn spawn<F: Future>(future: F) -> (Runnable, super::JoinHandle<F::Output>, &'static Counts) {
    let counts: &'static Counts = Box::leak(Box::default());
    let meta = Meta {
        id: Id::next(),
        kind: TaskKind::Async,
        main: false,
        pinned: None,
        shard: 0,
        location: Location::caller(),
        extra: None,
    };
    let (task, handle) = new::<F, Counting>(future, std::ptr::from_ref(counts).cast(), meta);
    (Runnable(task), handle, counts)
}

#[derive(Default)]
struct Woken(AtomicUsize);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, SeqCst);
    }
}

struct Dropped(Arc<AtomicUsize>);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.fetch_add(1, SeqCst);
    }
}

#[test]
fn loom_whoever_joins_is_woken_or_finds_the_result() {
    loom::model(|| {
        let (task, mut handle, _) = spawn(async { 7 });
        let worker = thread::spawn(move || task.poll());
        let woken = [Arc::new(Woken::default()), Arc::new(Woken::default())];
        let mut ready = false;
        let mut last = 0;
        // Polled twice, with different wakers.
        for (i, woken) in woken.iter().enumerate() {
            let waker = Waker::from(woken.clone());
            last = i;
            match Pin::new(&mut handle).poll(&mut Context::from_waker(&waker)) {
                Poll::Ready(result) => {
                    assert_eq!(result.unwrap(), 7);
                    ready = true;
                    break;
                }
                Poll::Pending => {}
            }
        }
        worker.join().unwrap();
        if !ready {
            assert_eq!(woken[last].0.load(SeqCst), 1, "the last waker counts");
            let again = Pin::new(&mut handle).poll(&mut Context::from_waker(Waker::noop()));
            assert!(matches!(again, Poll::Ready(Ok(7))));
        }
    });
}

#[test]
fn loom_an_output_is_dropped_once_whoever_is_last() {
    loom::model(|| {
        let drops = Arc::new(AtomicUsize::new(0));
        let output = Dropped(drops.clone());
        let (task, mut handle, counts) = spawn(async move { output });
        let worker = thread::spawn(move || task.poll());
        let waker = Waker::from(Arc::new(Woken::default()));
        let polled = Pin::new(&mut handle).poll(&mut Context::from_waker(&waker));
        drop((handle, polled));
        worker.join().unwrap();
        assert_eq!(drops.load(SeqCst), 1);
        assert_eq!(counts.finished.load(SeqCst), 1);
    });
}

#[test]
fn loom_a_wake_up_during_a_poll_leads_to_another_poll() {
    loom::model(|| {
        let flag = loom::sync::Arc::new(loom::sync::atomic::AtomicBool::new(false));
        let seen = flag.clone();
        let (hand_over, waker) = std::sync::mpsc::channel();
        let (task, _handle, counts) = spawn(poll_fn(move |cx| {
            let _ = hand_over.send(cx.waker().clone());
            if seen.load(loom::sync::atomic::Ordering::Relaxed) {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        }));
        // A first poll leaves the waker behind; the second one meets the wake-up.
        task.poll();
        let waker = waker.recv().unwrap();
        waker.wake_by_ref();
        assert_eq!(counts.scheduled.load(SeqCst), 1);
        let waking = thread::spawn(move || {
            flag.store(true, loom::sync::atomic::Ordering::Relaxed);
            waker.wake();
        });
        task.poll();
        waking.join().unwrap();
        // It saw the flag, or it was scheduled once more.
        let scheduled = counts.scheduled.load(SeqCst);
        if counts.finished.load(SeqCst) == 0 {
            assert_eq!(scheduled, 2, "the wake-up was lost");
            task.poll();
        }
        assert_eq!(counts.finished.load(SeqCst), 1);
    });
}

#[test]
fn loom_cancelled_while_it_is_polled() {
    loom::model(|| {
        let drops = Arc::new(AtomicUsize::new(0));
        let guard = Dropped(drops.clone());
        let (task, handle, counts) = spawn(async move {
            let _guard = guard;
            std::future::pending::<()>().await
        });
        let handle = std::sync::Arc::new(handle);
        let canceller = {
            let handle = handle.clone();
            thread::spawn(move || handle.cancel())
        };
        task.poll();
        canceller.join().unwrap();
        if counts.finished.load(SeqCst) == 0 {
            assert_eq!(counts.scheduled.load(SeqCst), 1, "the cancellation was lost");
            task.poll();
        }
        assert_eq!(counts.finished.load(SeqCst), 1);
        assert_eq!(drops.load(SeqCst), 1);
        let mut handle = std::sync::Arc::into_inner(handle).unwrap();
        let joined = Pin::new(&mut handle).poll(&mut Context::from_waker(Waker::noop()));
        assert!(matches!(joined, Poll::Ready(Err(error)) if error.is_cancelled()));
    });
}

#[test]
fn loom_a_stack_about_to_be_suspended_meets_a_cancellation() {
    loom::model(|| {
        let (task, handle, _) = spawn(std::future::pending::<()>());
        // SAFETY: alive: the handle holds a reference.
        let header = unsafe { task.0.as_ref() };
        // As if in the middle of a poll.
        let _ = header.state.start_poll();
        let canceller = thread::spawn(move || {
            handle.cancel();
            let found = INTERRUPTED.with(|stack| stack.replace(std::ptr::null_mut()));
            (!found.is_null(), handle)
        });
        let mut here = 0_u8;
        let seen = header.note_stack((&raw mut here).cast());
        let (found, handle) = canceller.join().unwrap();
        assert!(seen || found, "neither saw the other");
        // Ends the poll, so that the cell can be freed.
        let _ = header.state.end_poll();
        task.poll();
        drop(handle);
    });
}
