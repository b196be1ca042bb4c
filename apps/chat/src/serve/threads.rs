//! Style *threads*: a thread for each connection's reading half and one for its writing half;
//! every call blocks. Nothing of the runtime is used but its channels, which park threads as
//! readily as they suspend fibers.

use std::{
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

/// Serves until the hall closes; returns how many clients were cut off.
pub fn serve(hall: &Arc<Hall>, options: &Options) -> io::Result<usize> {
    let listener = super::listen(&options.listen)?;
    hall.open(&listener, listener.local_addr()?)?;
    let mut errors = AcceptErrors::default();
    loop {
        match listener.accept() {
            Ok((stream, _)) => start(hall, stream),
            Err(_) if hall.is_closing() => break,
            Err(error) => thread::sleep(errors.pause_after(&error)),
        }
    }
    Ok(hall.sessions.wait_until_over())
}

fn start(hall: &Hall, stream: TcpStream) {
    let _ = stream.set_nodelay(true);
    let (reader, writer) = split(hall, stream);
    let spawned = spawn("writer", || writer.run()).and_then(|()| spawn("reader", || reader.run()));
    if let Err(error) = spawned {
        tracing::warn!("no thread for a connection, closing it: {error}");
    }
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
