//! `chat load`: many clients, many messages, and a check of every delivery.
//!
//! ```text
//!             ┌ group 0: one task posts ──► a member's connection, at random ──► server
//!   load ─────┤          a task for each member listens ◄──────────────────────────┘
//!             │                └─► books of group 0 (who saw what, when, in which order)
//!             └ group 1 …
//! ```
//!
//! It has four parts: everybody comes in ([`client`]), messages go out in windows ([`group`]),
//! arrivals are entered into books ([`accounting`]), and when everything has arrived or nothing
//! moves any more, the books are closed and [`report`]ed. It knows the protocol and nothing else
//! of the server; the runtime under it is bifilar's, so it needs neither many threads nor much
//! memory for 10,000 clients.

mod accounting;
mod client;
mod group;
mod random;
mod report;
mod totals;

use std::{
    net::SocketAddr,
    num::{NonZeroU64, NonZeroUsize},
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant},
};

use bifilar::{
    JoinHandle,
    net::TcpStream,
    task,
    time::{sleep, timeout},
};
use hdrhistogram::Histogram;
use indicatif::{ProgressBar, ProgressStyle};

pub use self::report::{Report, milliseconds, thousands};
use self::{
    accounting::Verdict, client::Client, group::Group, random::Random, report::Findings,
    totals::Totals,
};
use crate::{address, limits, print};

/// Clients that come in at the same time. More would overrun a listener's queue, and wait for the
/// kernel to try again.
const COMING_IN: usize = 64;

/// How often progress is looked at.
const TICK: Duration = Duration::from_millis(20);

/// How long the server may take, at the end, to close connections that the clients closed.
const FAREWELL: Duration = Duration::from_secs(10);

/// `chat load`.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// The server
    #[arg(value_name = "ADDR:PORT")]
    pub address: String,
    /// How much load
    #[command(flatten)]
    pub amount: Amount,
    /// Print the report as one JSON object
    #[arg(long)]
    pub json: bool,
}

/// How much load.
#[derive(Clone, Debug, clap::Args)]
pub struct Amount {
    /// Clients, each with a connection of its own
    #[arg(long, value_name = "N", default_value = "100")]
    pub clients: NonZeroUsize,
    /// Groups; each client is in one of them
    #[arg(long, value_name = "G", default_value = "10")]
    pub groups: NonZeroUsize,
    /// Messages posted, over all groups
    #[arg(long, value_name = "M", default_value = "10000")]
    pub messages: NonZeroU64,
    /// Messages of one group that may be on their way at once
    #[arg(long, value_name = "W", default_value = "64")]
    pub window: NonZeroUsize,
    /// Give up when nothing arrives for so many seconds
    #[arg(long, value_name = "SECONDS", default_value = "10")]
    pub stall: NonZeroU64,
    /// Who posts and how long the messages are is drawn from this
    #[arg(long, value_name = "S", default_value = "1")]
    pub seed: u64,
}

/// Puts a server under load and prints the report; fails when anything is wrong with it.
///
/// # Errors
///
/// A text for the user, when there was no load to report on.
pub fn run(options: &Options) -> Result<ExitCode, String> {
    let report = measure(&options.address, &options.amount, "load".into())?;
    if options.json {
        let json = serde_json::to_string(&report).map_err(|error| error.to_string())?;
        print::result(format_args!("{json}\n"))?;
    } else {
        print::result(&report)?;
    }
    Ok(if report.is_clean() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Puts the server at `address` under load. `label` stands beside the progress bar.
///
/// # Errors
///
/// A text for the user: the amount makes no sense, the server is not there or turns clients away.
pub fn measure(address: &str, amount: &Amount, label: String) -> Result<Report, String> {
    amount.check()?;
    // It keeps this machine busy on purpose: the watchdog would tell of that and nothing else.
    bifilar::Builder::new().name("load").watchdog(None).block_on(async {
        let probe = TcpStream::connect(address).await;
        let peer = probe.and_then(|stream| stream.peer_addr());
        let peer = peer.map_err(|error| {
            format!("cannot connect to {address}: {}", address::explain(address, &error))
        })?;
        Load::new(amount, label).run(peer).await
    })
}

impl Amount {
    /// Whether such a load is possible.
    ///
    /// # Errors
    ///
    /// A text for the user.
    pub fn check(&self) -> Result<(), String> {
        if self.groups > self.clients {
            return Err(format!(
                "--groups {} is more than --clients {}: a group needs at least one member",
                self.groups, self.clients
            ));
        }
        limits::check_room_for(self.clients.get())
    }
}

struct Load<'a> {
    amount: &'a Amount,
    began: Instant,
    groups: Vec<Arc<Group>>,
    totals: Arc<Totals>,
    progress: ProgressBar,
}

/// The tasks of a load under way.
struct Tasks {
    streams: Vec<TcpStream>,
    listeners: Vec<JoinHandle<()>>,
    posters: Vec<JoinHandle<()>>,
}

impl<'a> Load<'a> {
    fn new(amount: &'a Amount, label: String) -> Self {
        let (clients, groups) = (amount.clients.get(), amount.groups.get());
        let began = Instant::now();
        // Names that no other load on the same server uses.
        let run = format!("load-{}-{}", std::process::id(), amount.seed);
        let group = |g: usize| {
            let members = clients / groups + usize::from(g < clients % groups);
            Group::new(format!("{run}-{g}"), members, amount.window.get(), began)
        };
        let progress = ProgressBar::no_length(); // draws on stderr, if that is a terminal
        progress.set_prefix(label);
        Self {
            amount,
            began,
            groups: (0..groups).map(group).collect(),
            totals: Arc::default(),
            progress,
        }
    }

    async fn run(self, address: SocketAddr) -> Result<Report, String> {
        self.show("clients", self.amount.clients.get() as u64);
        let clients = self.come_in(address).await.inspect_err(|_| self.progress.abandon())?;
        let expected = (0..self.groups.len())
            .map(|g| self.messages_of(g) * self.groups[g].members as u64)
            .sum();
        self.show("deliveries", expected);
        let first_sent = self.began.elapsed();
        let tasks = self.start(clients);
        let mut given_up = self.watch(expected).await;
        if let Err(reason) = self.end(tasks).await {
            given_up.get_or_insert(reason);
        }
        self.progress.finish_and_clear();
        Ok(self.report(first_sent, given_up))
    }

    /// Client `i` is member `i / groups` of group `i % groups`.
    async fn come_in(&self, address: SocketAddr) -> Result<Vec<Client>, String> {
        let total = self.amount.clients.get();
        let names: Arc<[String]> = self.groups.iter().map(|group| group.name.clone()).collect();
        let doors: Vec<_> = (0..COMING_IN.min(total))
            .map(|door| {
                let (names, progress) = (names.clone(), self.progress.clone());
                task::spawn(async move {
                    let mut clients = Vec::new();
                    for index in (door..total).step_by(COMING_IN) {
                        let client = Client::come_in(address, &names[index % names.len()]).await;
                        let client = client.map_err(|error| {
                            let (nth, total) =
                                (thousands(index as u64 + 1), thousands(total as u64));
                            format!("client {nth} of {total} cannot come in: {error}")
                        })?;
                        clients.push((index, client));
                        progress.inc(1);
                    }
                    Ok(clients)
                })
            })
            .collect();
        let mut clients = Vec::with_capacity(total);
        for door in doors {
            let came: Result<_, String> = door.await.map_err(|error| error.to_string())?;
            clients.extend(came?);
        }
        clients.sort_unstable_by_key(|&(index, _)| index);
        Ok(clients.into_iter().map(|(_, client)| client).collect())
    }

    fn start(&self, clients: Vec<Client>) -> Tasks {
        let streams: Vec<_> = clients.iter().map(|client| client.stream.clone()).collect();
        let groups = self.groups.len();
        let listen = |(index, client): (usize, Client)| {
            let (group, totals) = (self.groups[index % groups].clone(), self.totals.clone());
            task::spawn(async move { client.listen(&group, index / groups, &totals).await })
        };
        let listeners = clients.into_iter().enumerate().map(listen).collect();
        let post = |g: usize| {
            let group = self.groups[g].clone();
            let members: Vec<_> = streams.iter().skip(g).step_by(groups).cloned().collect();
            let random = Random::new(self.amount.seed, g as u64);
            let messages = self.messages_of(g);
            task::spawn(async move { group.post(messages, members, random).await })
        };
        let posters = (0..groups).map(post).collect();
        Tasks { streams, listeners, posters }
    }

    /// How many messages go to group `g`.
    fn messages_of(&self, g: usize) -> u64 {
        let (messages, groups) = (self.amount.messages.get(), self.groups.len() as u64);
        messages / groups + u64::from((g as u64) < messages % groups)
    }

    /// Waits until everything has arrived; returns the reason when it gives up before.
    async fn watch(&self, expected: u64) -> Option<String> {
        let stall = Duration::from_secs(self.amount.stall.get());
        let (mut before, mut since) = (0, Instant::now());
        loop {
            let delivered = self.totals.deliveries();
            self.progress.set_position(delivered);
            if delivered >= expected {
                return None;
            }
            if delivered > before {
                (before, since) = (delivered, Instant::now());
            } else if since.elapsed() >= stall {
                return Some(format!(
                    "nothing arrived for {} s, {} of {} deliveries are missing",
                    stall.as_secs(),
                    thousands(expected - delivered),
                    thousands(expected)
                ));
            }
            sleep(TICK).await;
        }
    }

    /// Closes every connection's sending side and listens to the end: whatever the server still
    /// sends, a duplicate perhaps, is entered too.
    async fn end(&self, tasks: Tasks) -> Result<(), String> {
        self.totals.end();
        self.groups.iter().for_each(|group| group.stop());
        for poster in tasks.posters {
            // A server that does not read keeps it from ending.
            let _ = timeout(TICK, poster).await;
        }
        for stream in &tasks.streams {
            let _ = stream.shutdown(std::net::Shutdown::Write);
        }
        let all = async {
            for listener in tasks.listeners {
                listener.await.map_err(|error| error.to_string())?;
            }
            Ok(())
        };
        match timeout(FAREWELL, all).await {
            Ok(ended) => ended,
            Err(_) => Err("the server did not close connections that were closed".into()),
        }
    }

    fn report(&self, first_sent: Duration, given_up: Option<String>) -> Report {
        let mut verdict = Verdict::default();
        let mut latency_us = Histogram::new(3).expect("three digits are within the histogram's");
        let (mut unknown, mut last_arrival) = (0, 0);
        for group in &self.groups {
            let closing = group.close();
            verdict += closing.verdict;
            latency_us += closing.latency_us;
            unknown += closing.unknown;
            last_arrival = last_arrival.max(closing.last_arrival);
        }
        let load = Duration::from_nanos(last_arrival).saturating_sub(first_sent);
        Report::new(Findings {
            clients: self.amount.clients.get(),
            groups: self.groups.len(),
            seed: self.amount.seed,
            planned: self.amount.messages.get(),
            verdict,
            unknown,
            latency_us,
            seconds: load.as_secs_f64(),
            disconnected: self.totals.disconnects(),
            complaints: self.totals.complaints(),
            given_up,
        })
    }

    /// Begins a part of the progress bar.
    fn show(&self, unit: &'static str, length: u64) {
        let style = "{prefix:<9} [{wide_bar}] {percent:>3}%  {human_pos}/{human_len} {msg}  {eta}";
        let style = ProgressStyle::with_template(style).expect("the template is right");
        self.progress.set_style(style.progress_chars("=> "));
        self.progress.set_message(unit);
        self.progress.set_length(length);
        self.progress.reset();
    }
}
