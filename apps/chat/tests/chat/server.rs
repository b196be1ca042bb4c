//! A server in a process of its own.

use std::{
    io::{BufRead, BufReader, Read},
    net::TcpStream,
    process::{Child, ChildStdout, Command, ExitStatus, Stdio},
    sync::{Arc, Condvar, Mutex},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

use crate::{PATIENCE, client::Client};

/// The program under test.
pub const CHAT: &str = env!("CARGO_BIN_EXE_chat");

/// More messages than the kernel's buffers hold, fewer than a member may lag.
pub const LEFT_UNREAD: usize = 950;

/// A running server; killed when dropped.
pub struct Server {
    pub child: Child,
    pub address: String,
    log: Arc<Log>,
    _stdout: BufReader<ChildStdout>,
}

#[derive(Default)]
struct Log {
    text: Mutex<String>,
    grew: Condvar,
}

impl Server {
    /// Starts a server of this style on a free port.
    pub fn start(style: &str) -> Self {
        Self::start_with(style, &[])
    }

    /// The same with further arguments.
    pub fn start_with(style: &str, arguments: &[&str]) -> Self {
        Self::spawn(Command::new(CHAT).args(serve(style)).args(arguments))
    }

    /// The same with a limit on open files.
    pub fn start_with_files(style: &str, files: u32) -> Self {
        let script = format!("ulimit -n {files} && exec \"$0\" \"$@\"");
        Self::spawn(Command::new("sh").args(["-c", &script, CHAT]).args(serve(style)))
    }

    /// Starts the program with nothing but an address.
    pub fn without_a_command() -> Self {
        Self::spawn(Command::new(CHAT).args(["--listen", "127.0.0.1:0"]))
    }

    /// The same with a log that nobody here reads.
    pub fn start_logging_to(style: &str, log: impl Into<Stdio>) -> Self {
        Self::spawn_logging_to(Command::new(CHAT).args(serve(style)), log.into())
    }

    fn spawn(command: &mut Command) -> Self {
        Self::spawn_logging_to(command, Stdio::piped())
    }

    fn spawn_logging_to(command: &mut Command, log: Stdio) -> Self {
        let command = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log);
        let mut child = command.spawn().unwrap();
        let log = Arc::new(Log::default());
        let (stderr, to) = (child.stderr.take(), log.clone());
        thread::spawn(move || {
            let Some(mut stderr) = stderr else { return };
            let mut bytes = [0; 1024];
            while let Ok(count @ 1..) = stderr.read(&mut bytes) {
                to.text.lock().unwrap().push_str(&String::from_utf8_lossy(&bytes[..count]));
                to.grew.notify_all();
            }
        });
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        let Some(address) = line.trim_end().strip_prefix("listening on ").map(str::to_owned) else {
            panic!("no server: {line:?}, {:?}, {}", child.wait(), log.text.lock().unwrap());
        };
        Self { child, address, log, _stdout: stdout }
    }

    /// A new client of this server.
    pub fn client(&self) -> Client {
        Client::connect(&self.address)
    }

    /// A new client that is a member of the group.
    pub fn member(&self, group: &str) -> Client {
        let mut client = self.client();
        client.join(group);
        client.fence();
        client
    }

    /// So many members of the group "Deaf" who don't read, with [`LEFT_UNREAD`] messages for each in
    /// the server's hands; and what stands behind each message's number.
    pub fn deaf_members(&self, count: usize) -> (Vec<Client>, String) {
        let padding = "x".repeat(8 * 1024);
        let members: Vec<_> = (0..count).map(|_| self.member("Deaf")).collect();
        members.iter().for_each(Client::read_slowly);
        let mut poster = self.client();
        (0..LEFT_UNREAD).for_each(|n| poster.post_plain("Deaf", &format!("{n} {padding}")));
        poster.fence();
        (members, padding)
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Waits until it refuses connections.
    pub fn refuses(&self) {
        let end = Instant::now() + PATIENCE;
        while TcpStream::connect(&self.address).is_ok() {
            assert!(Instant::now() < end, "the server still accepts");
            thread::yield_now();
        }
    }

    /// Waits until it has ended.
    pub fn ended(&mut self) -> ExitStatus {
        wait(&mut self.child)
    }

    /// Waits until the log holds this text.
    pub fn logs(&self, text: &str) {
        let log = self.log.text.lock().unwrap();
        let missing = |log: &mut String| !log.contains(text);
        let (log, waited) = self.log.grew.wait_timeout_while(log, PATIENCE, missing).unwrap();
        drop(log); // which the end of this server prints
        assert!(!waited.timed_out(), "not in the log: {text:?}");
    }

    /// Everything logged so far.
    pub fn log(&self) -> String {
        self.log.text.lock().unwrap().clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            eprintln!("the server's log:\n{}", self.log());
        }
    }
}

fn serve(style: &str) -> [&str; 5] {
    ["serve", "--listen", "127.0.0.1:0", "--style", style]
}

/// Waits until a process has ended; kills it when that takes too long.
pub fn wait(child: &mut Child) -> ExitStatus {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        if Instant::now() >= end {
            let _ = child.kill();
            panic!("the process does not end");
        }
        thread::sleep(Duration::from_millis(5));
    }
}
