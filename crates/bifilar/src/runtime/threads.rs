//! The threads of a runtime, workers and monitor: started together, joined together.

use super::first_stacks;
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
        let start = |role: &str, body: Box<dyn FnOnce(Arc<Shared>) + Send>| {
            let (shared, running) = (shared.clone(), running.clone());
            let name = format!("{}-{role}", shared.config.name);
            let thread = thread::Builder::new().name(name.clone()).spawn(move || {
                let _running = running;
                body(shared);
            });
            thread.map_err(|error| {
                io::Error::new(error.kind(), format!("no thread for {name}: {error}"))
            })
        };
        let worker = |index: usize| {
            let first = first_stacks(shared)?;
            let body = Box::new(move |shared| {
                let driver = Driver::new(shared, index, first);
                driver.run_until_finished(None);
                // Whoever comes first: all tasks have ended.
                driver.shared().close_reactors();
            });
            start(&index.to_string(), body)
        };
        let monitor = || start("monitor", Box::new(|shared| scheduler::monitor(&shared)));
        let mut threads = (from..shared.config.workers)
            .map(worker)
            .collect::<io::Result<Vec<_>>>()
            .inspect_err(|_| shared.close())?;
        if shared.has_monitor() {
            match monitor() {
                Ok(thread) => threads.push(thread),
                // One worker alone gets on without.
                Err(error) if shared.config.workers == 1 => {
                    tracing::warn!(target: "bifilar::watchdog", %error, "there is no watchdog");
                }
                Err(error) => {
                    shared.close();
                    return Err(error);
                }
            }
        }
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
