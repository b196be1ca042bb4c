//! The threads of a runtime, workers and monitor: started together, joined together.

use crate::scheduler::{self, Driver, Shared};
use std::{
    io,
    sync::{Arc, Mutex, mpsc},
    thread,
    time::Duration,
};

pub(super) struct Threads {
    threads: Vec<thread::JoinHandle<()>>,
    /// Disconnected when all of them have ended. A lock only to be `Sync`.
    ended: Mutex<mpsc::Receiver<()>>,
}

impl Threads {
    /// Starts workers `from..`. When one can't be started, ends those that could.
    pub fn start(shared: &Arc<Shared>, from: usize) -> io::Result<Self> {
        let (running, ended) = mpsc::channel();
        let start = |role: &str, body: fn(Arc<Shared>, usize), index| {
            let (shared, running) = (shared.clone(), running.clone());
            let name = format!("{}-{role}", shared.config.name);
            thread::Builder::new().name(name).spawn(move || {
                let _running = running;
                body(shared, index);
            })
        };
        let worker = |shared, index| match Driver::new(shared, index) {
            Ok(driver) => {
                driver.run_until_finished(None);
                // Whoever comes first: all tasks have ended.
                driver.shared().close_reactors();
            }
            Err(error) => tracing::error!(%error, "a worker has no memory for a stack: one less"),
        };
        let monitor = |shared, _| scheduler::monitor(&shared);
        let workers = from..shared.config.workers;
        let threads = workers
            .map(|index| start(&index.to_string(), worker, index))
            .chain((shared.config.workers > 1).then(|| start("monitor", monitor, 0)))
            .collect::<io::Result<_>>()
            .inspect_err(|_| shared.close())?;
        Ok(Threads { threads, ended: Mutex::new(ended) })
    }

    /// Waits for the workers of a runtime that was closed. `false`: some of them go on after
    /// `limit`.
    pub fn join(&mut self, limit: Duration) -> bool {
        let ended = self.ended.get_mut().unwrap();
        if ended.recv_timeout(limit) != Err(mpsc::RecvTimeoutError::Disconnected) {
            return false;
        }
        for thread in self.threads.drain(..) {
            // A worker never panics: `Driver` aborts first.
            let _ = thread.join();
        }
        true
    }
}
