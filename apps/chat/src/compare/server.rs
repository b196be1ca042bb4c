//! A server in a process of its own, and what it used.

use std::{
    fs,
    io::{self, BufRead, BufReader, Read},
    process::{Child, ChildStdout, Command, ExitStatus, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use serde::Serialize;

use crate::serve::Style;

/// How often the number of threads is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// How long a server may take to end.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a server used from its start to its end.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Usage {
    /// Most memory it had at once, in KiB (`VmHWM`).
    pub memory_kib: u64,
    /// Most threads it had at once, as far as seen.
    pub threads: u64,
    /// Processor time it used, in seconds.
    pub cpu_seconds: f64,
}

/// A running server; killed when dropped, and gone soon after this process if that is killed.
#[derive(Debug)]
pub struct Server {
    child: Child,
    address: String,
    /// Kept open: the server may write to it.
    _stdout: BufReader<ChildStdout>,
    /// What it logs, for the case that it fails.
    log: Option<JoinHandle<String>>,
    watched: Arc<Watched>,
    watcher: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Watched {
    threads: AtomicU64,
    over: AtomicBool,
}

impl Server {
    /// Starts a server of this style and waits until it listens.
    ///
    /// # Errors
    ///
    /// A text for the user, with what the server logged.
    pub fn start(style: Style) -> Result<Self, String> {
        let failed = |error: io::Error| format!("cannot start a server of style {style}: {error}");
        let program = std::env::current_exe().map_err(failed)?;
        let mut child = Command::new(program)
            .args(["serve", "--listen", "127.0.0.1:0", "--style", &style.to_string()])
            .arg("--leash")
            .stdin(Stdio::piped()) // kept open by `child`, and by nobody when this process is gone
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(failed)?;
        let mut stderr = child.stderr.take().expect("stderr is piped");
        let log = thread::spawn(move || {
            let mut text = Vec::new();
            let _ = stderr.read_to_end(&mut text);
            String::from_utf8_lossy(&text).into_owned()
        });
        let mut stdout = BufReader::new(child.stdout.take().expect("stdout is piped"));
        let mut line = String::new();
        let read = stdout.read_line(&mut line);
        let address = line.trim_end().strip_prefix("listening on ").map(str::to_owned);
        let Some(address) = address.filter(|_| read.is_ok()) else {
            let _ = child.kill();
            let _ = child.wait();
            return Err(format!("{}\n{}", failed(io::Error::other("it said:")), join(log)));
        };
        let watched = Arc::new(Watched::default());
        let watcher = watch(child.id(), watched.clone());
        let (log, watcher) = (Some(log), Some(watcher));
        Ok(Self { child, address, _stdout: stdout, log, watched, watcher })
    }

    /// Where it listens.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Stops it and says what it used.
    ///
    /// # Errors
    ///
    /// A text for the user, when it had ended before or does not end well.
    pub fn stop(mut self) -> Result<Usage, String> {
        let usage = self.usage();
        let pid = Pid::from_child(&self.child);
        let signalled = kill_process(pid, Signal::TERM).map_err(io::Error::from);
        let ended = signalled.and_then(|()| self.wait());
        match (usage, ended) {
            (Ok(usage), Ok(status)) if status.success() => Ok(usage),
            (_, ended) => {
                let _ = self.child.kill();
                let log = self.log.take().map(join).unwrap_or_default();
                let how = ended.map_or_else(|error| error.to_string(), |status| status.to_string());
                Err(format!("the server did not end well: {how}\n{log}"))
            }
        }
    }

    fn wait(&mut self) -> io::Result<ExitStatus> {
        let end = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            if Instant::now() >= end {
                return Err(io::Error::other("it ignores SIGTERM"));
            }
            thread::sleep(LOOK_EVERY);
        }
    }

    fn usage(&self) -> io::Result<Usage> {
        let pid = self.child.id();
        let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
        let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
        let ticks = rustix::param::clock_ticks_per_second() as f64;
        Ok(Usage {
            memory_kib: field(&status, "VmHWM:"),
            threads: self.watched.threads.load(Relaxed).max(field(&status, "Threads:")),
            cpu_seconds: cpu_ticks(&stat) as f64 / ticks,
        })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        self.watched.over.store(true, Relaxed);
        self.watcher.take().map(JoinHandle::join);
    }
}

fn join(log: JoinHandle<String>) -> String {
    log.join().unwrap_or_default()
}

/// Notes the peak of a process's threads, which the kernel does not.
fn watch(pid: u32, watched: Arc<Watched>) -> JoinHandle<()> {
    thread::spawn(move || {
        while !watched.over.load(Relaxed) {
            let Ok(status) = fs::read_to_string(format!("/proc/{pid}/status")) else { return };
            watched.threads.fetch_max(field(&status, "Threads:"), Relaxed);
            thread::sleep(LOOK_EVERY);
        }
    })
}

/// A number from /proc/PID/status; 0 when it is not there.
fn field(status: &str, name: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

/// User and system time from /proc/PID/stat: fields 14 and 15, counted behind the program's name,
/// which may hold anything and ends with the last parenthesis.
fn cpu_ticks(stat: &str) -> u64 {
    let rest = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    rest.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proc_files_are_read() {
        let status = "Name:\tchat\nVmHWM:\t    5120 kB\nThreads:\t3\n";
        assert_eq!((field(status, "VmHWM:"), field(status, "Threads:")), (5120, 3));
        assert_eq!(field(status, "VmPeak:"), 0);
        let stat = "7 (a) b) S 1 2 3 4 5 6 7 8 9 10 250 50 0 0 20 0";
        assert_eq!(cpu_ticks(stat), 300);
    }
}
