//! The four styles, one file each, all with the same two-line promise: fetch every request, and
//! report each outcome in the order of the requests.

mod fibers;
mod sync;
mod tasks;
mod threads;

use std::{
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use bifilar::timeline::Recorder;

use crate::{exchange::FetchError, request::Request, response::Response};

/// How requests run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Style {
    /// One after the other
    Sync,
    /// Each on a thread of its own, in blocking style
    Threads,
    /// Each on a fiber of its own, in blocking style
    Fibers,
    /// Each in a task of its own, in async style
    Tasks,
}

/// What became of one request.
#[derive(Debug)]
pub struct Outcome {
    /// The URL as written.
    pub url: String,
    /// The response, or why there is none.
    pub result: Result<Response, FetchError>,
    /// From the beginning of this request to its end.
    pub elapsed: Duration,
}

/// Fetches all `requests` in the given style; `report` is called once for each, in their order, as
/// soon as it and those before it are done.
pub fn fetch_all(way: &Way, requests: &[Arc<Request>], report: &mut dyn FnMut(Outcome)) {
    match way.style {
        Style::Sync => sync::fetch_all(way.recorder.as_ref(), requests, report),
        Style::Threads => threads::fetch_all(way.recorder.as_ref(), requests, report),
        Style::Fibers => fibers::fetch_all(way.runtime(), requests, report),
        Style::Tasks => tasks::fetch_all(way.runtime(), requests, report),
    }
}

/// How requests are to run.
#[derive(Debug)]
pub struct Way {
    pub style: Style,
    /// Threads that run fibers or tasks.
    pub workers: Option<u16>,
    /// What to record it with.
    pub recorder: Option<Recorder>,
}

impl Way {
    fn runtime(&self) -> bifilar::Builder {
        let mut runtime = bifilar::Builder::new();
        if let Some(workers) = self.workers {
            runtime = runtime.workers(workers.into());
        }
        if let Some(recorder) = &self.recorder {
            runtime = runtime.record(recorder);
        }
        runtime
    }
}

impl Outcome {
    /// Runs `fetch` and takes its time.
    fn of(request: &Request, fetch: impl FnOnce() -> Result<Response, FetchError>) -> Self {
        let begin = Instant::now();
        let result = fetch();
        Self::since(begin, request, result)
    }

    /// What became of `request`, which began at `begin` and has just ended.
    fn since(begin: Instant, request: &Request, result: Result<Response, FetchError>) -> Self {
        Self { url: request.url.text.clone(), result, elapsed: begin.elapsed() }
    }
}

impl fmt::Display for Style {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sync => "sync",
            Self::Threads => "threads",
            Self::Fibers => "fibers",
            Self::Tasks => "tasks",
        })
    }
}
