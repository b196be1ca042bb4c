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
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant},
};

use clap::Parser;

use exchange::FetchError;
use report::Report;
use request::Request;
use styles::{Outcome, Style};
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
}

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
    styles::fetch_all(options.style, requests, &mut |outcome| report.row(&outcome));
    match report.close(options.style, begin.elapsed()) {
        Ok(0) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("get: cannot write the report: {error}");
            ExitCode::FAILURE
        }
    }
}

/// A number of seconds between a millisecond and a day, as in `0.5`.
fn seconds(text: &str) -> Result<Duration, String> {
    let number: f64 = text.parse().map_err(|_| format!("`{text}` is not a number"))?;
    if !(0.001..=86_400.0).contains(&number) {
        return Err("must lie between 0.001 and 86400".to_string());
    }
    Ok(Duration::from_secs_f64(number))
}
