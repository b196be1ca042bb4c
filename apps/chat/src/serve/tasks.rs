//! Style *tasks*: an async task for each connection's reading half and one for its writing half.
//! What blocks in the other styles is awaited.

use std::{io, net::Shutdown, sync::Arc};

use bifilar::{
    net::{TcpListener, TcpStream},
    sync::channel::Sender,
    task,
    time::{sleep, timeout},
    unblock,
};
use futures_util::{AsyncReadExt, AsyncWriteExt};

use super::{
    Hall, Options,
    accept::AcceptErrors,
    mailbox::Mailbox,
    member::{Member, Note, Outcome},
    metrics,
    sessions::CLOSE_GRACE,
};
use crate::lines::LineBuffer;

/// Serves until the hall closes; returns how many clients were cut off.
pub fn serve(hall: &Arc<Hall>, options: &Options) -> io::Result<usize> {
    super::runtime(options).block_on(accept(hall, options))
}

async fn accept(hall: &Arc<Hall>, options: &Options) -> io::Result<usize> {
    let listener = TcpListener::bind(&options.listen).await?;
    metrics::serve(hall)?;
    hall.open(&listener, listener.local_addr()?)?;
    let mut errors = AcceptErrors::default();
    loop {
        match listener.accept().await {
            Ok((stream, _)) => start(hall, stream),
            Err(_) if hall.is_closing() => break,
            Err(error) => sleep(errors.pause_after(&error)).await,
        }
    }
    let sessions = hall.sessions.clone();
    unblock(move || sessions.wait_until_over()).await.map_err(io::Error::other)
}

fn start(hall: &Hall, stream: TcpStream) {
    super::prepare(&stream);
    let (open, delivering) = hall.sessions.enter();
    let (notes, mailbox) = Mailbox::new(&hall.groups);
    let lines = LineBuffer::new(hall.max_line);
    let member = Member::new(hall.groups.clone(), hall.max_line);
    let writer = {
        let stream = stream.clone();
        async move {
            write(&stream, mailbox).await;
            drop(delivering);
        }
    };
    let reader = async move {
        read(&stream, lines, member, notes).await;
        drop(open);
    };
    task::spawn(writer); // detached, as threads are
    task::spawn(reader);
}

/// The reading half: does what the client asks until it closes or has to be closed.
async fn read(stream: &TcpStream, mut lines: LineBuffer, mut member: Member, notes: Sender<Note>) {
    while let Ok(count @ 1..) = AsyncReadExt::read(&mut &*stream, lines.space()).await {
        lines.filled(count);
        while let Some(line) = lines.next_line() {
            match member.handle(line) {
                Outcome::Done => {}
                // Without a writing half the session is ending: nobody to tell.
                Outcome::Note(note) => drop(notes.send(note).await),
                Outcome::Last(note) => {
                    drop(notes.send(note).await);
                    drop(notes); // the writing half says it and ends
                    let _ = timeout(CLOSE_GRACE, discard(stream)).await;
                    let _ = stream.shutdown(Shutdown::Both);
                    return;
                }
            }
        }
    }
}

/// The writing half: sends what the client is to be told until there will be no more.
async fn write(stream: &TcpStream, mut mailbox: Mailbox) {
    let mut batch = Vec::new();
    while mailbox.next_batch(&mut batch).await {
        if AsyncWriteExt::write_all(&mut &*stream, &batch).await.is_err() {
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
