//! Style *fibers*: a fiber for each connection's reading half and one for its writing half. The
//! code is the threads' code; a call that would block suspends the fiber, and can be interrupted
//! there when the server is to end.

use std::{
    convert::Infallible,
    io,
    net::{Shutdown, SocketAddr},
    sync::Arc,
};

use bifilar::{
    Wait, fiber,
    net::{TcpListener, TcpStream},
    sync::channel::{self, Sender},
    time::timeout,
};

use super::{
    Hall, Options,
    accept::AcceptErrors,
    farewell, metrics,
    session::{Interrupted, Socket, split},
    sessions::CLOSE_GRACE,
};

/// Serves until the hall closes; returns how many clients were cut off.
pub fn serve(hall: &Arc<Hall>, options: &Options) -> io::Result<usize> {
    hall.runtime(options).run(|| {
        let listener = TcpListener::bind(&options.listen).wait()?;
        metrics::serve(hall)?;
        hall.open(&listener, listener.local_addr()?)?;
        let (asking, readers) = channel::bounded(1);
        let mut errors = AcceptErrors::default();
        loop {
            match listener.accept().wait() {
                Ok((stream, peer)) => start(hall, stream, peer, asking.clone())?,
                Err(_) if hall.is_closing() => break,
                Err(error) => fiber::sleep(errors.pause_after(&error)),
            }
        }
        drop((listener, asking));
        farewell::deliver(hall, readers).wait()
    })
}

fn start(
    hall: &Hall,
    stream: TcpStream,
    peer: SocketAddr,
    asking: Sender<Infallible>,
) -> io::Result<()> {
    super::prepare(&stream);
    let (mut reader, writer) = split(hall, stream);
    let read = move || {
        if let Err(Interrupted) = reader.run() {
            reader.drain();
            drop(asking);
            reader.linger();
        }
    };
    let name = |half| fiber::Builder::new().name(format!("{half} {peer}"));
    name("writer").spawn(|| writer.run())?; // detached, as with threads
    name("reader").spawn(read)?;
    Ok(())
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
