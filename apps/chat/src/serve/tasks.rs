//! Style *tasks*: an async task for each connection's reading half and one for its writing half.
//! What blocks in the other styles is awaited.

use std::{
    convert::Infallible,
    io,
    net::{Shutdown, SocketAddr},
    sync::Arc,
};

use bifilar::{
    net::{TcpListener, TcpStream},
    race,
    race::Of2,
    sync::{
        CancelToken,
        channel::{self, Sender},
    },
    task,
    time::{sleep, timeout},
};
use futures_util::{AsyncReadExt, AsyncWriteExt};

use super::{
    Hall, Options,
    accept::AcceptErrors,
    farewell,
    mailbox::Mailbox,
    member::{Member, Note, Outcome},
    metrics,
    session::Interrupted,
    sessions::{CLOSE_GRACE, Delivering, Open},
};
use crate::lines::LineBuffer;

/// Serves until the hall closes; returns how many clients were cut off.
pub fn serve(hall: &Arc<Hall>, options: &Options) -> io::Result<usize> {
    hall.runtime(options).block_on(accept(hall, options))
}

async fn accept(hall: &Arc<Hall>, options: &Options) -> io::Result<usize> {
    let listener = TcpListener::bind(&options.listen).await?;
    metrics::serve(hall)?;
    hall.open(&listener, listener.local_addr()?)?;
    let (asking, readers) = channel::bounded(1);
    let mut errors = AcceptErrors::default();
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => start(hall, stream, peer, asking.clone())?,
            Err(_) if hall.is_closing() => break,
            Err(error) => sleep(errors.pause_after(&error)).await,
        }
    }
    drop((listener, asking));
    farewell::deliver(hall, readers).await
}

fn start(
    hall: &Hall,
    stream: TcpStream,
    peer: SocketAddr,
    asking: Sender<Infallible>,
) -> io::Result<()> {
    super::prepare(&stream);
    let (open, delivering) = hall.sessions.enter();
    let (notes, mailbox) = Mailbox::new(&hall.groups);
    let writer = write(stream.clone(), mailbox, delivering);
    let mut reader = Reader {
        stream,
        lines: LineBuffer::new(hall.max_line),
        member: Member::new(hall.groups.clone(), hall.max_line),
        notes,
        closing: hall.closing.clone(),
        _open: open,
    };
    let read = async move {
        if let Err(Interrupted) = reader.run().await {
            let Reader { stream, lines, member, notes, .. } = &mut reader;
            farewell::drain(&*stream, lines, member, notes).await;
            drop(asking);
            discard(&reader.stream).await;
        }
    };
    let name = |half| task::Builder::new().name(format!("{half} {peer}"));
    name("writer").spawn(writer)?; // detached, as threads are
    name("reader").spawn(read)?;
    Ok(())
}

/// The reading half.
struct Reader {
    stream: TcpStream,
    lines: LineBuffer,
    member: Member,
    notes: Sender<Note>,
    closing: CancelToken,
    _open: Open,
}

impl Reader {
    /// Does what the client asks until it closes or has to be closed, or until the server is to end;
    /// the client may have asked more by then.
    async fn run(&mut self) -> Result<(), Interrupted> {
        while let Ok(1..) = self.read().await? {
            while let Some(line) = self.lines.next_line() {
                match self.member.handle(line) {
                    Outcome::Done => {}
                    // Without a writing half the session is ending: nobody to tell.
                    Outcome::Note(note) => drop(self.notes.send(note).await),
                    Outcome::Last(note) => {
                        drop(self.notes.send(note).await);
                        self.notes.close(); // the writing half says it and ends
                        let _ = timeout(CLOSE_GRACE, discard(&self.stream)).await;
                        let _ = self.stream.shutdown(Shutdown::Both);
                        return Ok(());
                    }
                }
            }
        }
        Ok(())
    }

    /// Reads what there is; 0 at the end. Waits no longer than until the server is to end.
    async fn read(&mut self) -> Result<io::Result<usize>, Interrupted> {
        let mut stream = &self.stream;
        let read = AsyncReadExt::read(&mut stream, self.lines.space());
        match race((read, self.closing.cancelled())).biased().await {
            Of2::A(read) => Ok(read.inspect(|&count| self.lines.filled(count))),
            Of2::B(()) => Err(Interrupted),
        }
    }
}

/// The writing half: sends what the client is to be told until there will be no more.
async fn write(stream: TcpStream, mut mailbox: Mailbox, _delivering: Delivering) {
    let mut batch = Vec::new();
    while mailbox.next_batch(&mut batch).await {
        if AsyncWriteExt::write_all(&mut &stream, &batch).await.is_err() {
            let _ = stream.shutdown(Shutdown::Both); // the reading half sees the end
            return;
        }
    }
    let _ = stream.shutdown(Shutdown::Write);
}

/// Reads and forgets until the client closes.
pub async fn discard(mut stream: &TcpStream) {
    let mut bytes = [0; 4096];
    while let Ok(1..) = AsyncReadExt::read(&mut stream, &mut bytes).await {}
}
