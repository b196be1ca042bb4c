//! Style threads: what style sync does, with a thread for each request.

use std::{sync::Arc, thread};

use bifilar::{recording, timeline::Recorder};

use super::{Outcome, sync};
use crate::{exchange::FetchError, request::Request};

/// Fetches all `requests` at the same time. A thread that cannot be started fails its request only.
pub fn fetch_all(
    recorder: Option<&Recorder>,
    requests: &[Arc<Request>],
    report: &mut dyn FnMut(Outcome),
) {
    thread::scope(|scope| {
        let threads: Vec<_> = requests
            .iter()
            .zip(1..)
            .map(|(request, number)| {
                let body = move || {
                    let name = format!("thread {number}");
                    let _recorded = recorder.map(|recorder| recording::thread(recorder, &name));
                    Outcome::of(request, || sync::fetch(request))
                };
                thread::Builder::new().spawn_scoped(scope, body)
            })
            .collect();
        for (request, thread) in requests.iter().zip(threads) {
            report(match thread.map(thread::ScopedJoinHandle::join) {
                Ok(Ok(outcome)) => outcome,
                Ok(Err(_)) => failed(request, "the request's thread panicked".to_string()),
                Err(error) => failed(request, format!("cannot start a thread: {error}")),
            });
        }
    });
}

fn failed(request: &Request, reason: String) -> Outcome {
    Outcome::of(request, || Err(FetchError::Failed(reason)))
}
