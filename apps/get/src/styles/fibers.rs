//! Style fibers: the function that styles sync and threads run, on fibers over `bifilar::net`.
//!
//! It needs no sockets with time limits: whoever waits for a fiber waits no longer than it wants,
//! and then cancels it, wherever in the exchange it stands.

use std::{io, net::Shutdown, sync::Arc, time::Instant};

use bifilar::{Wait, fiber, net::TcpStream, time::timeout_at};

use super::Outcome;
use crate::{
    exchange::{Duplex, FetchError, exchange},
    request::Request,
    response::Response,
};

/// Fetches all `requests` at the same time, a fiber for each.
pub fn fetch_all(
    runtime: bifilar::Builder,
    requests: &[Arc<Request>],
    report: &mut dyn FnMut(Outcome),
) {
    runtime.run(|| {
        let begin = Instant::now();
        let fibers: Vec<_> = requests
            .iter()
            .zip(1..)
            .map(|(request, number)| {
                let request = request.clone();
                let fiber = fiber::Builder::new().name(format!("fetch {number}"));
                fiber.spawn(move || Outcome::of(&request, || fetch(&request))).expect("a runtime")
            })
            .collect();
        for (request, mut fiber) in requests.iter().zip(fibers) {
            report(match timeout_at(begin + request.timeout, &mut fiber).wait() {
                Ok(Ok(outcome)) => outcome,
                Ok(Err(error)) => {
                    Outcome::since(begin, request, Err(FetchError::Failed(error.to_string())))
                }
                Err(_) => {
                    fiber.cancel();
                    Outcome::since(begin, request, Err(FetchError::TimedOut))
                }
            });
        }
    });
}

/// Fetches one request on the calling fiber.
fn fetch(request: &Request) -> Result<Response, FetchError> {
    let address = (request.url.host.as_str(), request.url.port);
    exchange(request, || TcpStream::connect(address).wait())
}

impl Duplex for TcpStream {
    fn shut_down_write(&mut self) -> io::Result<()> {
        self.shutdown(Shutdown::Write)
    }
}
