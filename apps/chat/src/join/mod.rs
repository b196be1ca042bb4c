//! `chat join`: a person at a terminal, in touch with a server.
//!
//! Two things go on at once, lines from the terminal and lines from the server, and each is
//! written down as if it were alone: the second is a fiber, and the terminal, which can only be
//! read by blocking a thread, is read through [`unblock`].

mod command;

use std::{
    fmt,
    io::{self, IsTerminal, Read, Write},
    net::Shutdown,
    num::NonZeroUsize,
    time::Duration,
};

use bifilar::{JoinHandle, Wait, fiber, net::TcpStream, time::timeout, unblock};
use futures_util::future::{Either, select};

use crate::{
    address,
    lines::LineBuffer,
    print,
    protocol::{Notice, Request, decode, encode},
};
use command::Command;

/// Longest line taken from a server.
const MAX_LINE: NonZeroUsize = NonZeroUsize::new(16 << 20).unwrap();

/// How long the server may take to answer what was typed last.
const FAREWELL: Duration = Duration::from_secs(5);

/// `chat join`.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// The server
    #[arg(value_name = "ADDR:PORT")]
    pub address: String,
}

/// Talks until the input ends or the server goes away.
///
/// # Errors
///
/// A text for the user.
pub fn run(options: &Options) -> Result<(), String> {
    bifilar::Builder::new().workers(1).watchdog(None).run(|| talk(&options.address))
}

fn talk(address: &str) -> Result<(), String> {
    let stream = TcpStream::connect(address).wait().map_err(|error| {
        format!("cannot connect to {address}: {}", address::explain(address, &error))
    })?;
    let _ = stream.set_nodelay(true);
    if io::stdin().is_terminal() {
        print::remark(format_args!("Connected to {address}.\n{}", command::HELP));
    }
    let incoming = stream.clone();
    let mut printer = fiber::spawn(move || print_notices(&incoming));
    let gone = |_| format!("the server at {address} has closed the connection");
    loop {
        match select(&mut printer, read_line()).wait() {
            Either::Left((Ok(Parting::Goodbye), _)) => return Ok(()),
            Either::Left(_) => return Err(gone(())),
            Either::Right((Ok(Ok(Some(line))), _)) => match Command::parse(&line) {
                Ok(Command::Nothing) => {}
                Ok(Command::Help) => print::remark(command::HELP),
                Ok(Command::Quit) => break,
                Ok(Command::Send(request)) => send(&stream, &request).map_err(|_| gone(()))?,
                Err(text) => print::remark(text),
            },
            Either::Right((Ok(Ok(None)), _)) => break,
            Either::Right((Ok(Err(error)), _)) => {
                return Err(format!("cannot read input: {error}"));
            }
            Either::Right((Err(error), _)) => return Err(format!("cannot read input: {error}")),
        }
    }
    // The server answers what it was sent, then closes as well.
    let _ = stream.shutdown(Shutdown::Write);
    match timeout(FAREWELL, printer).wait() {
        Ok(_) => Ok(()),
        Err(_) => Err(format!("the server at {address} did not answer everything in time")),
    }
}

/// A line from the terminal without its end; `None` at the end of the input.
fn read_line() -> JoinHandle<io::Result<Option<String>>> {
    unblock(|| {
        let mut line = String::new();
        let count = io::stdin().read_line(&mut line)?;
        Ok((count > 0).then_some(line))
    })
}

fn send(mut stream: &TcpStream, request: &Request<'_>) -> io::Result<()> {
    stream.write_all(encode(request).as_bytes())
}

/// How the server closed.
enum Parting {
    /// With a goodbye.
    Goodbye,
    /// Without one.
    Silence,
}

/// Prints what comes until the server closes.
fn print_notices(mut stream: &TcpStream) -> Parting {
    let mut parting = Parting::Silence;
    let mut lines = LineBuffer::new(MAX_LINE);
    while let Ok(count @ 1..) = stream.read(lines.space()) {
        lines.filled(count);
        let mut out = io::stdout().lock();
        while let Some(line) = lines.next_line() {
            let printed = match line.map(decode::<Notice<'_>>) {
                Ok(Ok(Notice::Message { group_name, message })) => {
                    writeln!(out, "[{}] {}", Printable(&group_name), Printable(&message))
                }
                Ok(Ok(Notice::Error(text))) => writeln!(out, "Error: {}", Printable(&text)),
                Ok(Ok(Notice::Goodbye(reason))) => {
                    parting = Parting::Goodbye;
                    writeln!(out, "{}. Goodbye!", Printable(&reason))
                }
                Ok(Err(error)) => writeln!(out, "The server sent a line I don't know. {error}"),
                Err(_) => {
                    print::remark("The server sent a line without end.");
                    return parting;
                }
            };
            if printed.is_err() {
                return parting; // nobody reads what is printed
            }
        }
        let _ = out.flush();
    }
    parting
}

/// Text from others, without the control characters with which it could take over the terminal.
struct Printable<'a>(&'a str);

impl fmt::Display for Printable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            if c.is_control() {
                write!(f, "{}", c.escape_default())?;
            } else {
                f.write_str(c.encode_utf8(&mut [0; 4]))?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_from_others_cannot_control_the_terminal() {
        assert_eq!(Printable("a\x1b[2Jb\nü\u{9b}").to_string(), r"a\u{1b}[2Jb\nü\u{9b}");
    }
}
