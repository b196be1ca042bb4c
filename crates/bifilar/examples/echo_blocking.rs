//! An echo server in blocking style: a fiber for each connection, and nothing but `std::io` in it.
//! Lay it beside `echo_async`.
//!
//!     cargo run --release -p bifilar --example echo_blocking
//!
//! and in another terminal, `nc 127.0.0.1 7001`. Another address may be given as an argument.

use bifilar::{
    Wait, WaitIter, fiber,
    net::{TcpListener, TcpStream},
};
use std::io::{self, Read, Write};

fn main() -> io::Result<()> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:7001".into());
    if address.starts_with('-') {
        println!("usage: echo_blocking [ADDRESS]        (127.0.0.1:7001 without one)");
        return Ok(());
    }

    bifilar::run(|| {
        let listener = TcpListener::bind(&address).wait()?;
        println!("listening on {}", listener.local_addr()?);

        for stream in listener.incoming().wait_iter() {
            match stream {
                Ok(stream) => {
                    fiber::spawn(move || report(echo(&stream)));
                }
                Err(error) => eprintln!("accept: {error}"),
            }
        }
        Ok(())
    })
}

fn echo(mut stream: &TcpStream) -> io::Result<()> {
    let mut buffer = [0; 1024];
    loop {
        let count = stream.read(&mut buffer)?;
        if count == 0 {
            return Ok(());
        }
        stream.write_all(&buffer[..count])?;
    }
}

fn report(result: io::Result<()>) {
    if let Err(error) = result {
        eprintln!("connection: {error}");
    }
}
