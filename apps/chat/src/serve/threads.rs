//! Style *threads*: a thread for each connection's reading half and one for its writing half;
//! every call blocks. Nothing of the runtime is used but its channels, which park threads as
//! readily as they suspend fibers.

use std::{
    fs,
    io::{self, Read},
    net::{Shutdown, TcpStream},
    sync::Arc,
    thread,
    time::Instant,
};

use super::{
    Hall, Options,
    accept::AcceptErrors,
    session::{Socket, split},
    sessions::CLOSE_GRACE,
};

/// Stack of a session's threads. They are many and their calls are not deep.
const STACK_BYTES: usize = 128 * 1024;

/// Memory mappings of a session: each of its two threads has a stack, a stack for signals, and a
/// guard for either.
const SESSION_MAPPINGS: usize = 8;

/// Serves until the hall closes; returns how many clients were cut off.
pub fn serve(hall: &Arc<Hall>, options: &Options) -> io::Result<usize> {
    let listener = super::listen(&options.listen)?;
    hall.open(&listener, listener.local_addr()?)?;
    let max_sessions = max_sessions();
    let mut errors = AcceptErrors::default();
    while !hall.is_closing() {
        let started = if hall.sessions.count() < max_sessions {
            listener.accept().and_then(|(stream, _)| start(hall, stream))
        } else {
            Err(io::Error::other(format!("{max_sessions} connections are as many as there can be")))
        };
        if let Err(error) = started
            && !hall.is_closing()
        {
            thread::sleep(errors.pause_after(&error));
        }
    }
    hall.groups.close();
    Ok(hall.sessions.wait_until_over(hall.shutdown_limit))
}

/// As many sessions as the kernel's limit on memory mappings allows, with a tenth to spare. Beyond
/// it std cannot give a new thread its stack for signals, and ends the process.
fn max_sessions() -> usize {
    let limit = fs::read_to_string("/proc/sys/vm/max_map_count").ok();
    let mappings = limit.and_then(|text| text.trim().parse().ok()).unwrap_or(65_530);
    mappings / SESSION_MAPPINGS / 10 * 9
}

fn start(hall: &Hall, stream: TcpStream) -> io::Result<()> {
    super::prepare(&stream);
    let (mut reader, writer) = split(hall, stream);
    spawn("writer", || writer.run())?;
    spawn("reader", move || {
        let _ = reader.run(); // no thread is interrupted
    })
}

fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> io::Result<()> {
    thread::Builder::new().name(name.into()).stack_size(STACK_BYTES).spawn(body).map(drop)
}

impl Socket for TcpStream {
    fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.shutdown(how)
    }

    fn discard(&self) {
        let end = Instant::now() + CLOSE_GRACE;
        let mut stream = self;
        let mut bytes = [0; 4096];
        loop {
            let left = end.saturating_duration_since(Instant::now());
            // A timeout of zero is refused with an error: the end as well.
            if self.set_read_timeout(Some(left)).is_err()
                || !matches!(stream.read(&mut bytes), Ok(1..))
            {
                return;
            }
        }
    }
}
