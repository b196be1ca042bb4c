//! One client under load: how it comes in, and how it listens.

use std::{io, net::SocketAddr, num::NonZeroUsize, time::Duration};

use bifilar::{net::TcpStream, time::timeout};
use futures_util::{AsyncReadExt, AsyncWriteExt};

use super::{
    group::{Group, number},
    totals::Totals,
};
use crate::{
    lines::LineBuffer,
    protocol::{Notice, Request, decode, encode},
};

/// Longest line taken from a server.
const MAX_LINE: NonZeroUsize = NonZeroUsize::new(1 << 20).unwrap();

/// How long coming in may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// A client that is in its group.
#[derive(Debug)]
pub struct Client {
    /// Its connection.
    pub stream: TcpStream,
    lines: LineBuffer,
}

impl Client {
    /// Connects and joins the group; done when the server has taken the join.
    ///
    /// The protocol has no answer to a join. But a server takes a connection's requests in their
    /// order; so a post to a group that does not exist, whose error is awaited, shows that the
    /// join before it was taken.
    pub async fn come_in(address: SocketAddr, group: &str) -> io::Result<Self> {
        match timeout(PATIENCE, Self::connect_and_join(address, group)).await {
            Ok(client) => client,
            Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "no answer to its requests")),
        }
    }

    async fn connect_and_join(address: SocketAddr, group: &str) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let nobody = format!("{group}-nobody");
        let requests = encode(&Request::join(group)) + &encode(&Request::post(&nobody, ""));
        (&stream).write_all(requests.as_bytes()).await?;
        let mut client = Self { stream, lines: LineBuffer::new(MAX_LINE) };
        match client.first_notice().await? {
            Some(text) if text.contains(&nobody) => Ok(client),
            Some(text) => Err(io::Error::other(format!("the server says: {text}"))),
            None => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }

    /// The text of the first notice; `None` when the server closes instead.
    async fn first_notice(&mut self) -> io::Result<Option<String>> {
        loop {
            let count = (&self.stream).read(self.lines.space()).await?;
            self.lines.filled(count);
            if let Some(line) = self.lines.next_line() {
                let line = line.map_err(|_| io::Error::other("a line without end"))?;
                return match decode(line).map_err(io::Error::other)? {
                    Notice::Error(text) | Notice::Goodbye(text) => Ok(Some(text.into_owned())),
                    Notice::Message { message, .. } => Ok(Some(message.into_owned())),
                };
            }
            if count == 0 {
                return Ok(None);
            }
        }
    }

    /// Enters what arrives into the group's books, until the server closes the connection.
    pub async fn listen(mut self, group: &Group, member: usize, totals: &Totals) {
        let mut numbers = Vec::new();
        let end = loop {
            match (&self.stream).read(self.lines.space()).await {
                Ok(count @ 1..) => self.lines.filled(count),
                Ok(_) => break None,
                Err(error) => break Some(error),
            }
            numbers.clear();
            while let Some(line) = self.lines.next_line() {
                match line.map(decode::<Notice<'_>>) {
                    Ok(Ok(Notice::Message { group_name, message })) => {
                        numbers.push(number(&message).filter(|_| group_name == group.name));
                    }
                    Ok(Ok(Notice::Error(text) | Notice::Goodbye(text))) => totals.complaint(&text),
                    Ok(Err(error)) => totals.complaint(&error),
                    Err(_) => return totals.disconnected(Some("a line without end".into())),
                }
            }
            totals.delivered(group.arrive(member, &numbers));
        };
        totals.disconnected(end.map(|error| error.to_string()));
    }
}
