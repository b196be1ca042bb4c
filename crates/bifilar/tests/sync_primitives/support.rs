//! Futures polled by hand, with wakers that can be watched.

use std::{
    future::Future,
    pin::{Pin, pin},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    task::{Context, Poll, Wake, Waker},
    thread,
};

/// Parks the thread until the future is ready, with nothing of the runtime.
pub fn block_on<F: Future>(future: F) -> F::Output {
    struct Unpark(thread::Thread);

    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }

    let waker = Arc::new(Unpark(thread::current())).into();
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park(),
        }
    }
}

/// A waker that counts its calls.
#[derive(Default)]
pub struct Bell(AtomicUsize);

impl Bell {
    pub fn new() -> (Arc<Self>, Waker) {
        let bell = Arc::new(Self::default());
        (bell.clone(), bell.into())
    }

    pub fn rings(&self) -> usize {
        self.0.load(SeqCst)
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, SeqCst);
    }
}

/// A future on the heap with a bell of its own.
pub struct Polled<F: Future> {
    future: Option<Pin<Box<F>>>,
    bell: Arc<Bell>,
    waker: Waker,
}

impl<F: Future> Polled<F> {
    pub fn new(future: F) -> Self {
        let (bell, waker) = Bell::new();
        Self { future: Some(Box::pin(future)), bell, waker }
    }

    pub fn poll(&mut self) -> Poll<F::Output> {
        let future = self.future.as_mut().expect("not dropped");
        future.as_mut().poll(&mut Context::from_waker(&self.waker))
    }

    /// Polls, and expects to have to wait.
    #[track_caller]
    pub fn pends(&mut self) {
        assert!(self.poll().is_pending(), "was ready");
    }

    /// Polls, and expects the output.
    #[track_caller]
    pub fn ready(&mut self) -> F::Output {
        match self.poll() {
            Poll::Ready(output) => output,
            Poll::Pending => panic!("was pending"),
        }
    }

    pub fn rings(&self) -> usize {
        self.bell.rings()
    }
}

/// A future that has been polled `polls` times and was pending each time.
pub fn waiting<F: Future>(future: F, polls: usize) -> Polled<F> {
    let mut polled = Polled::new(future);
    for _ in 0..polls {
        polled.pends();
    }
    polled
}

/// Messages that report their end.
#[derive(Clone)]
pub struct Tracked {
    pub n: u32,
    dropped: Arc<Mutex<Vec<u32>>>,
}

impl Tracked {
    pub fn log() -> Arc<Mutex<Vec<u32>>> {
        Arc::default()
    }

    pub fn new(n: u32, dropped: &Arc<Mutex<Vec<u32>>>) -> Self {
        Self { n, dropped: dropped.clone() }
    }
}

impl Drop for Tracked {
    fn drop(&mut self) {
        self.dropped.lock().unwrap().push(self.n);
    }
}
