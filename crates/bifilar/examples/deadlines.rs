//! Children that borrow, a deadline over sync code, and an end that says who is late.
//!
//! ```text
//! cargo run -p bifilar --example deadlines
//! ```
//!
//! A server that answers some and keeps others waiting is asked by three children at once, each of
//! which reads with the standard library's `BufRead` and knows nothing of deadlines.

use bifilar::{
    Builder, Wait, fiber,
    net::{TcpListener, TcpStream},
    scope,
    time::{sleep, with_deadline},
};
use std::{
    io::{self, BufRead, BufReader, Write},
    net::SocketAddr,
    time::Duration,
};

fn main() -> io::Result<()> {
    let runtime = Builder::new().build()?;
    let entered = runtime.handle().enter();
    let address = start_server()?;
    let names = ["Ada", "Grace", "Kurt"].map(String::from);
    let mut answers = vec![None; names.len()];

    // Each child borrows a name and a place for the answer; all have ended when `scope` returns.
    scope(|s| {
        for (name, answer) in names.iter().zip(&mut answers) {
            s.spawn(move || {
                let asked = with_deadline(Duration::from_millis(200), || ask(address, name));
                *answer = Some(match asked {
                    Ok(Ok(text)) => text,
                    Ok(Err(error)) => error.to_string(),
                    Err(late) => late.to_string(),
                });
            });
        }
    });
    for (name, answer) in names.iter().zip(answers) {
        println!("{name:8}{}", answer.unwrap());
    }

    // The server still holds a connection: the end of the runtime says so, if it is not told to hurry.
    drop(entered);
    let report = runtime.shutdown(Duration::from_millis(100));
    println!("{report}");
    Ok(())
}

/// Plain sync code, as a library would have it.
fn ask(address: SocketAddr, name: &str) -> io::Result<String> {
    let mut stream = &TcpStream::connect(address).wait()?;
    writeln!(stream, "{name}")?;
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line)?;
    Ok(line.trim_end().to_string())
}

/// Answers everybody but Kurt, whom it keeps waiting, whatever happens.
fn start_server() -> io::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").wait()?;
    let address = listener.local_addr()?;
    fiber::Builder::new().name("server").spawn(move || {
        while let Ok((stream, peer)) = listener.accept().wait() {
            let serve = move || {
                let mut name = String::new();
                let _ = BufReader::new(&stream).read_line(&mut name);
                if name.trim_end() == "Kurt" {
                    bifilar::shield(|| sleep(Duration::from_secs(3600)).wait());
                }
                let _ = writeln!(&stream, "good evening, {}", name.trim_end());
            };
            let _ = fiber::Builder::new().name(format!("for {peer}")).spawn(serve);
        }
    })?;
    Ok(address)
}
