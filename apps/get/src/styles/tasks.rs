//! Style tasks: the same exchange once more, as `async` code.
//!
//! Nothing can be shared with the function of the other styles but what neither reads nor writes:
//! that is the price of two kinds of functions.

use std::{io, net::Shutdown, sync::Arc, time::Instant};

use bifilar::{net::TcpStream, span, task, time::timeout};
use futures_util::{AsyncReadExt, AsyncWriteExt};

use super::Outcome;
use crate::{
    exchange::{FetchError, MAX_RESPONSE, ignore_gone, read_response},
    request::Request,
    response::Response,
};

/// Fetches all `requests` at the same time, a task for each.
pub fn fetch_all(
    runtime: bifilar::Builder,
    requests: &[Arc<Request>],
    report: &mut dyn FnMut(Outcome),
) {
    runtime.block_on(async {
        let begin = Instant::now();
        let spawn = |(request, number): (&Arc<Request>, u32)| {
            let task = task::Builder::new().name(format!("fetch {number}"));
            task.spawn(fetch_in_time(request.clone())).expect("a runtime")
        };
        let tasks: Vec<_> = requests.iter().zip(1..).map(spawn).collect();
        for (request, task) in requests.iter().zip(tasks) {
            report(task.await.unwrap_or_else(|error| {
                Outcome::since(begin, request, Err(FetchError::Failed(error.to_string())))
            }));
        }
    });
}

async fn fetch_in_time(request: Arc<Request>) -> Outcome {
    let begin = Instant::now();
    let result = timeout(request.timeout, fetch(&request)).await;
    Outcome::since(begin, &request, result.unwrap_or(Err(FetchError::TimedOut)))
}

async fn fetch(request: &Request) -> Result<Response, FetchError> {
    let address = (request.url.host.as_str(), request.url.port);
    let mut stream = {
        let _span = span!("connect");
        TcpStream::connect(address).await.map_err(FetchError::connecting)?
    };
    send(request, &mut stream).await.map_err(FetchError::using)?;
    let bytes = receive(stream).await.map_err(FetchError::using)?;
    read_response(request, &bytes)
}

async fn send(request: &Request, stream: &mut TcpStream) -> io::Result<()> {
    let _span = span!("send");
    stream.write_all(&request.bytes).await?;
    if request.shut_down { ignore_gone(stream.shutdown(Shutdown::Write)) } else { Ok(()) }
}

async fn receive(stream: TcpStream) -> io::Result<Vec<u8>> {
    let _span = span!("receive");
    let mut bytes = Vec::new();
    stream.take(MAX_RESPONSE + 1).read_to_end(&mut bytes).await?;
    Ok(bytes)
}
