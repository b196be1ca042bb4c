//! Style *fibers*: a fiber for each connection's reading half and one for its writing half. The
//! code is the threads' code; a call that would block suspends the fiber.

use std::{io, net::Shutdown, sync::Arc};

use bifilar::{
    Wait, fiber,
    net::{TcpListener, TcpStream},
    time::timeout,
    unblock,
};

use super::{
    Hall, Options,
    accept::AcceptErrors,
    metrics,
    session::{Socket, split},
    sessions::CLOSE_GRACE,
};

/// Serves until the hall closes; returns how many clients were cut off.
pub fn serve(hall: &Arc<Hall>, options: &Options) -> io::Result<usize> {
    super::runtime(options).run(|| {
        let listener = TcpListener::bind(&options.listen).wait()?;
        metrics::serve(hall)?;
        hall.open(&listener, listener.local_addr()?)?;
        let mut errors = AcceptErrors::default();
        loop {
            match listener.accept().wait() {
                Ok((stream, _)) => start(hall, stream),
                Err(_) if hall.is_closing() => break,
                Err(error) => fiber::sleep(errors.pause_after(&error)),
            }
        }
        let sessions = hall.sessions.clone();
        unblock(move || sessions.wait_until_over()).wait().map_err(io::Error::other)
    })
}

fn start(hall: &Hall, stream: TcpStream) {
    super::prepare(&stream);
    let (reader, writer) = split(hall, stream);
    fiber::spawn(|| writer.run()); // detached, as with threads
    fiber::spawn(|| reader.run());
}

impl Socket for TcpStream {
    fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.shutdown(how)
    }

    fn discard(&self) {
        // A deadline is where a future is the shorter way to say it.
        let _ = timeout(CLOSE_GRACE, super::tasks::discard(self)).wait();
    }
}
