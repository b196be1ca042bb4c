//! `chat serve`: what the four styles have in common around them.
//!
//! ```text
//!              ┌ threads    two threads a connection ─┐
//!              │                                      ├─ session ─┐
//!   serve ─────┼ fibers     two fibers a connection  ─┘           ├─ mailbox ─┐
//!    │         ├ tasks      two async tasks a connection ─────────┘           ├─ member ─ groups
//!    │         └ callbacks  one thread, a state machine a connection ─────────┘
//!    └─ signals: close the hall; every style ends by itself, fibers and tasks by one farewell
//! ```
//!
//! Two for each connection, because two things go on at once: the one reads what the client asks,
//! the other writes what the client is told. Code that waits for one thing at a time could not take
//! requests while it waits for news or for a client that does not read.
//!
//! The styles are meant to be read side by side: each is one file (callbacks need four) with the
//! same three parts, the accept loop, the start of a session, and the session's reading and writing
//! halves (which threads and fibers share to the letter). None of them knows JSON or the table of
//! groups.

mod accept;
mod callbacks;
mod farewell;
mod fibers;
mod flight;
mod mailbox;
mod member;
mod metrics;
mod session;
mod sessions;
mod tasks;
mod threads;

use std::{
    fmt,
    io::{self, Write},
    net::{SocketAddr, TcpListener},
    num::NonZeroUsize,
    os::fd::AsFd,
    path::PathBuf,
    process::ExitCode,
    sync::{Arc, Mutex},
    time::Duration,
};

use bifilar::{recording::FlightRecorder, sync::CancelToken};

use crate::{address, groups::Groups, limits, signals};
use sessions::Sessions;

/// How a server is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Style {
    /// Two threads for each connection, a reader and a writer; blocking calls.
    Threads,
    /// One thread, an event queue, a state machine for each connection.
    Callbacks,
    /// Two fibers for each connection, the same code as threads.
    Fibers,
    /// Two async tasks for each connection, a reader and a writer.
    Tasks,
}

impl Style {
    /// All four, in the order in which they are compared.
    pub const ALL: [Style; 4] = [Style::Threads, Style::Callbacks, Style::Fibers, Style::Tasks];
}

impl fmt::Display for Style {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Style::Threads => "threads",
            Style::Callbacks => "callbacks",
            Style::Fibers => "fibers",
            Style::Tasks => "tasks",
        })
    }
}

/// `chat serve`.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// Where to listen; port 0 picks a free one
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:7000")]
    pub listen: String,
    /// How connections are served: each by two threads, fibers or tasks, so that one reads on
    /// while the other waits to write; or all by callbacks on one thread
    #[arg(long, value_enum, default_value_t = Style::Fibers)]
    pub style: Style,
    /// Threads that run fibers or tasks, 1 to 4096 [default: one for each core]
    #[arg(long, value_name = "N")]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=4096))]
    pub workers: Option<u16>,
    /// Longest request line in bytes
    #[arg(long, value_name = "BYTES", default_value = "65536")]
    pub max_line: NonZeroUsize,
    /// Say over HTTP how the runtime does, in the text that Prometheus reads; for fibers and tasks
    #[arg(long, value_name = "ADDR:PORT")]
    pub metrics: Option<String>,
    /// How long clients may take, after a signal, to read what was taken for them
    #[arg(long, value_name = "SECONDS", default_value = "5")]
    #[arg(value_parser = clap::value_parser!(u32).range(..=86_400))]
    pub shutdown_limit: u32,
    /// Draw what ran of late, on SIGUSR1, when something panics and at the end, each into a file named
    /// after this one: .svg, .html (to look around in), .json (for Perfetto) or .txt; styles fibers and
    /// tasks
    #[arg(long, value_name = "FILE")]
    pub record: Option<PathBuf>,
    /// End, as on a signal, when the other end of the pipe that is standard input is closed: so
    /// ends with whoever started it, however that one ends
    #[arg(long, hide = true)]
    pub leash: bool,
}

/// How a server ends, for whoever types `--help`.
pub const EXIT_STATUS: &str = "\
SIGQUIT (Ctrl-\\) has the styles fibers and tasks say on stderr what every task
is doing.

SIGINT or SIGTERM ends the server when it has delivered what it has taken; a
second one ends it at once.

Exit status:
    0  everything was delivered
    1  the server could not serve
    2  the command line is wrong
    3  at the limit some clients had not read everything
  130  a second signal came, SIGINT (143: SIGTERM)";

/// Some clients had not read everything.
const CUT_OFF: u8 = 3;

/// Runs a server until it is told to stop by a signal.
///
/// # Errors
///
/// A text for the user, when the server cannot start.
pub fn run(options: &Options) -> Result<ExitCode, String> {
    limits::raise_open_files();
    if options.workers.is_some() && matches!(options.style, Style::Threads | Style::Callbacks) {
        tracing::warn!("--workers has no effect on the style {}", options.style);
    }
    let metrics = options.metrics.as_deref().map(|address| metrics::listen(address, options.style));
    let hall = Arc::new(Hall {
        groups: Groups::new(),
        sessions: Arc::default(),
        max_line: options.max_line,
        closing: CancelToken::new(),
        shutdown_limit: Duration::from_secs(options.shutdown_limit.into()),
        leash: options.leash,
        flight: flight::begin(options)?,
        metrics: Mutex::new(metrics.transpose()?),
    });
    let served = match options.style {
        Style::Threads => threads::serve(&hall, options),
        Style::Callbacks => callbacks::serve(&hall, options),
        Style::Fibers => fibers::serve(&hall, options),
        Style::Tasks => tasks::serve(&hall, options),
    };
    if let Some(flight) = &hall.flight {
        flight::draw(flight);
    }
    match served {
        Ok(0) => {
            tracing::info!("everything was delivered");
            Ok(ExitCode::SUCCESS)
        }
        Ok(cut_off) => {
            tracing::warn!(cut_off, "some clients had not read everything");
            Ok(ExitCode::from(CUT_OFF))
        }
        Err(error) => {
            let reason = address::explain(&options.listen, &error);
            Err(format!("cannot serve on {}: {reason}", options.listen))
        }
    }
}

/// A listener of std's, for the styles without a runtime; with the queue that bifilar's listeners
/// have, where std's own has room for 128 connections.
fn listen(address: &str) -> io::Result<TcpListener> {
    let listener = TcpListener::bind(address)?;
    rustix::net::listen(&listener, 4096)?;
    Ok(listener)
}

/// Sets a new connection up: small writes go out at once, and the kernel asks after clients that
/// have been silent for hours, so that those who went without a word are found out.
fn prepare(stream: &impl AsFd) {
    use rustix::net::sockopt::{set_socket_keepalive, set_tcp_nodelay};
    // A connection that is gone already is found out soon enough.
    let _ = set_tcp_nodelay(stream, true).and_then(|()| set_socket_keepalive(stream, true));
}

/// What all connections of a server share.
#[derive(Debug)]
struct Hall {
    groups: Arc<Groups>,
    sessions: Arc<Sessions>,
    max_line: NonZeroUsize,
    /// The server is to end.
    closing: CancelToken,
    /// How long that may take.
    shutdown_limit: Duration,
    leash: bool,
    flight: Option<FlightRecorder>,
    /// Where to say how the runtime does, until somebody does.
    metrics: Mutex<Option<TcpListener>>,
}

impl Hall {
    /// The runtime for the styles that need one.
    fn runtime(&self, options: &Options) -> bifilar::Builder {
        // Who is cut off has had its time; this is for destructors, which wait for nobody.
        let mut runtime = bifilar::Builder::new()
            .name("chat")
            .shutdown_limit(sessions::CLOSE_GRACE)
            .dump_on_sigquit();
        if let Some(workers) = options.workers {
            runtime = runtime.workers(workers.into());
        }
        if let Some(flight) = &self.flight {
            runtime = runtime.flight_recorder(flight);
        }
        runtime
    }

    /// Tells the world that the server listens, and arranges for its end: on a signal the hall is
    /// closing, and the listener is shut down, which makes its accept fail. The style then closes the
    /// groups, which ends every session when it has delivered.
    fn open(&self, listener: &impl AsFd, address: SocketAddr) -> io::Result<()> {
        let listener = listener.as_fd().try_clone_to_owned()?;
        let closing = self.closing.clone();
        let leash = self.leash.then(io::stdin);
        signals::on_first(leash, move |reason| {
            tracing::info!("{reason}: delivering what was taken, then leaving");
            closing.cancel();
            if let Err(error) = rustix::net::shutdown(&listener, rustix::net::Shutdown::Both) {
                tracing::warn!("cannot shut the listener down: {error}");
            }
        })?;
        // Whoever started the server may not care to read this.
        let mut out = io::stdout().lock();
        let _ = writeln!(out, "listening on {address}").and_then(|()| out.flush());
        Ok(())
    }

    /// Whether accept loops are to end.
    fn is_closing(&self) -> bool {
        self.closing.is_cancelled()
    }
}
