//! `get`: fetches `http://` URLs, in four styles that do the same.
//!
//! ```text
//! connect ─► write the request ─► shut down the write side ─► read to the end ─► count the body
//! ```
//!
//! | style | each request runs | written |
//! |---|---|---|
//! | sync | one after the other, on the main thread | blocking, over `std::net` |
//! | threads | on a thread of its own | the same function |
//! | fibers | on a fiber of its own | **the same function**, over `bifilar::net` |
//! | tasks | in a task of its own | `async`, over `bifilar::net` |
//!
//! It doesn't follow redirects, keep connections, speak TLS or store what it fetches.

mod exchange;
mod report;
mod request;
mod response;
mod styles;
mod url;

use std::{
    ffi::OsStr,
    path::PathBuf,
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant},
};

use bifilar::timeline::{Diagram, Recorder};
use clap::Parser;

use exchange::FetchError;
use report::Report;
use request::Request;
use styles::{Outcome, Style, Way};
use url::Url;

/// Fetch http:// URLs with a request written by hand, in four styles.
///
/// Exits with 1 if any URL could not be fetched. A status such as 404 is an answer, not an error.
#[derive(Debug, Parser)]
#[command(name = "get", version, args_override_self = true)]
struct Options {
    /// What to fetch, as in http://127.0.0.1:8000/index.html
    #[arg(required = true, value_name = "URL")]
    urls: Vec<String>,

    /// How the requests run
    #[arg(long, value_enum, default_value_t = Style::Fibers)]
    style: Style,

    /// How many times to fetch each URL
    #[arg(long, value_name = "N", default_value_t = 1,
          value_parser = clap::value_parser!(u32).range(1..=10_000))]
    repeat: u32,

    /// Give up on a request after this many seconds
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = seconds)]
    timeout: Duration,

    /// Leave the write side open after the request, for servers (proxies above all) that take its
    /// end for a client that has left
    #[arg(long)]
    no_shutdown: bool,

    /// Threads that run fibers or tasks, 1 to 4096 [default: one for each core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=4096))]
    workers: Option<u16>,

    /// Draw what ran when: .svg, .html (to look around in), .json (for Perfetto) or .txt
    #[arg(long, value_name = "FILE", value_parser = picture)]
    diagram: Option<PathBuf>,
}

/// Events that are kept of each thread, 32 bytes each: some 1,000 requests.
const RECORDED: usize = 1 << 15;

fn main() -> ExitCode {
    let options = Options::parse();
    let mut report = Report::new(std::io::stdout().lock());
    let begin = Instant::now();

    let mut requests = Vec::new();
    for text in &options.urls {
        match Url::parse(text) {
            Ok(url) => {
                let request = Request::new(url, options.timeout, !options.no_shutdown);
                let request = Arc::new(request);
                requests.extend((0..options.repeat).map(|_| request.clone()));
            }
            Err(error) => report.row(&Outcome {
                url: text.clone(),
                result: Err(FetchError::Url(error)),
                elapsed: Duration::ZERO,
            }),
        }
    }
    let recorder = options.diagram.as_ref().map(|_| Recorder::new(RECORDED));
    let way = Way { style: options.style, workers: options.workers, recorder };
    styles::fetch_all(&way, &requests, &mut |outcome| report.row(&outcome));
    if let (Some(path), Some(recorder)) = (&options.diagram, &way.recorder) {
        let title = format!("{} × get, {}", requests.len(), options.style);
        let diagram = Diagram::from(&recorder.snapshot().renumbered()).titled(&title);
        if let Err(error) = diagram.write_to(path) {
            eprintln!("get: cannot write {}: {error}", path.display());
            return ExitCode::FAILURE;
        }
    }
    match report.close(options.style, begin.elapsed()) {
        Ok(0) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("get: cannot write the report: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The name of a file whose ending says how to draw.
fn picture(text: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(text);
    let ending = path.extension().map(|ending| ending.to_ascii_lowercase());
    let known = ["svg", "html", "json", "txt"].map(OsStr::new);
    if ending.is_some_and(|ending| known.contains(&ending.as_os_str())) {
        return Ok(path);
    }
    Err("must end in .svg, .html, .json or .txt".to_string())
}

/// A number of seconds between a millisecond and a day, as in `0.5`.
fn seconds(text: &str) -> Result<Duration, String> {
    let number: f64 = text.parse().map_err(|_| format!("`{text}` is not a number"))?;
    if !(0.001..=86_400.0).contains(&number) {
        return Err("must lie between 0.001 and 86400".to_string());
    }
    Ok(Duration::from_secs_f64(number))
}
