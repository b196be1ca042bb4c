//! An echo server in async style: a task for each connection. Lay it beside `echo_blocking`.
//!
//!     cargo run --release -p bifilar --example echo_async
//!
//! and in another terminal, `nc 127.0.0.1 7001`. Another address may be given as an argument.

use bifilar::{
    net::{TcpListener, TcpStream},
    task,
};
use futures_util::{AsyncReadExt, AsyncWriteExt, StreamExt};
use std::io;

#[bifilar::main]
async fn main() -> io::Result<()> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:7001".into());
    if address.starts_with('-') {
        println!("usage: echo_async [ADDRESS]        (127.0.0.1:7001 without one)");
        return Ok(());
    }

    let listener = TcpListener::bind(&address).await?;
    println!("listening on {}", listener.local_addr()?);

    let mut incoming = listener.incoming();
    while let Some(stream) = incoming.next().await {
        match stream {
            Ok(stream) => {
                task::spawn(async move { report(echo(&stream).await) });
            }
            Err(error) => eprintln!("accept: {error}"),
        }
    }
    Ok(())
}

async fn echo(mut stream: &TcpStream) -> io::Result<()> {
    let mut buffer = [0; 1024];
    loop {
        let count = stream.read(&mut buffer).await?;
        if count == 0 {
            return Ok(());
        }
        stream.write_all(&buffer[..count]).await?;
    }
}

fn report(result: io::Result<()>) {
    if let Err(error) = result {
        eprintln!("connection: {error}");
    }
}
