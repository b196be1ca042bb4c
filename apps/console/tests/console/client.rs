//! A client of console-subscriber's server in this process: what tokio-console would be told.
//!
//! ```text
//!   tests ── tracing ──► ConsoleLayer ──► aggregator ──► server on a port of its own
//!                                                            │ gRPC
//!   tests ◄── wait until a task is as it should be ── state ◄┘
//! ```

use console_api::{
    field::{Name, Value},
    instrument::{InstrumentRequest, Update, instrument_client::InstrumentClient},
    resources::resource::{Kind, kind},
    tasks::{Stats, Task},
};
use console_subscriber::{ConsoleLayer, ServerParts};
use std::{
    collections::{BTreeMap, HashMap},
    fmt::Debug,
    net::Ipv4Addr,
    sync::{Condvar, Mutex, OnceLock},
    thread,
    time::{Duration, Instant, SystemTime},
};
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tracing::{Metadata, subscriber::NoSubscriber};
use tracing_subscriber::{Layer, filter::FilterFn, layer::SubscriberExt, util::SubscriberInitExt};

/// Far more than anything here takes.
const LIMIT: Duration = Duration::from_secs(30);

const TIMER: kind::Kind = kind::Kind::Known(kind::Known::Timer as i32);

/// What the client has been told of a task.
#[derive(Clone, Debug, Default)]
pub struct Told {
    pub kind: String,
    pub name: Option<String>,
    pub number: u64,
    pub bytes: u64,
    pub file: String,
    pub line: u32,
    pub column: u32,
    pub polls: u64,
    pub wakes: u64,
    pub self_wakes: u64,
    /// Clones of its wakers that there are: what the console calls its waker count.
    pub wakers: i64,
    pub is_running: bool,
    pub is_closed: bool,
    pub busy: Duration,
}

impl Told {
    fn of(task: &Task) -> Self {
        let mut told = Told::default();
        for field in &task.fields {
            let Some(Name::StrName(name)) = &field.name else { panic!("{field:?}") };
            match (name.as_str(), field.value.clone()) {
                ("kind", Some(Value::StrVal(kind))) => told.kind = kind,
                ("task.name", Some(Value::StrVal(name))) => told.name = Some(name),
                ("task.id", Some(Value::U64Val(number))) => told.number = number,
                ("size.bytes", Some(Value::U64Val(bytes))) => told.bytes = bytes,
                _ => panic!("not what the console looks for: {field:?}"),
            }
        }
        let place = task.location.clone().expect("where it was spawned");
        told.file = place.file.expect("the file");
        told.line = place.line.expect("the line");
        told.column = place.column.expect("the column");
        told
    }

    fn update(&mut self, stats: &Stats) {
        let polls = stats.poll_stats.expect("statistics of polls");
        self.polls = polls.polls;
        self.is_running = time(polls.last_poll_started) > time(polls.last_poll_ended);
        self.busy = polls.busy_time.unwrap_or_default().try_into().unwrap();
        (self.wakes, self.self_wakes) = (stats.wakes, stats.self_wakes);
        self.wakers = stats.waker_clones as i64 - stats.waker_drops as i64;
        self.is_closed = stats.dropped_at.is_some();
    }
}

/// What the client has been told of something that tasks wait for.
#[derive(Clone, Debug, Default)]
pub struct Resource {
    pub concrete_type: String,
    pub is_timer: bool,
    pub line: u32,
    pub is_closed: bool,
}

/// What the client has been told of a task that waits.
#[derive(Clone, Debug)]
pub struct Wait {
    pub operation: String,
    pub polls: u64,
    pub is_closed: bool,
    pub resource: Resource,
    resource_id: u64,
    task: u64,
}

#[derive(Default)]
struct State {
    tasks: HashMap<u64, Told>,
    resources: HashMap<u64, Resource>,
    waits: BTreeMap<u64, Wait>,
}

/// See the module's head.
#[derive(Default)]
pub struct Client {
    state: Mutex<State>,
    news: Condvar,
}

impl Client {
    /// The client of this process: from the first call on, tasks are told of.
    pub fn get() -> &'static Client {
        static CLIENT: OnceLock<Client> = OnceLock::new();
        static STARTED: OnceLock<()> = OnceLock::new();
        let client = CLIENT.get_or_init(Client::default);
        STARTED.get_or_init(|| start(client));
        client
    }

    /// The task of this name, once it is as `wanted`.
    ///
    /// # Panics
    /// If it doesn't become so.
    #[track_caller]
    pub fn named(&self, name: &str, wanted: impl Fn(&Told) -> bool) -> Told {
        self.find(name, |task| task.name.as_deref() == Some(name), wanted)
    }

    /// The task that was spawned in this line of `file`, once it is as `wanted`.
    ///
    /// # Panics
    /// As `named`.
    #[track_caller]
    pub fn spawned_at(&self, file: &str, line: u32, wanted: impl Fn(&Told) -> bool) -> Told {
        let is_it = |task: &Told| task.line == line && task.file.ends_with(file);
        self.find(&format!("{file}:{line}"), is_it, wanted)
    }

    #[track_caller]
    fn find(
        &self,
        whom: &str,
        is_it: impl Fn(&Told) -> bool,
        wanted: impl Fn(&Told) -> bool,
    ) -> Told {
        self.once(|state| {
            let found: Vec<Told> =
                state.tasks.values().filter(|task| is_it(task)).cloned().collect();
            match &found[..] {
                [task] if wanted(task) => Ok(task.clone()),
                _ => Err(format!("{whom} is not, or not alone, what it should be: {found:#?}")),
            }
        })
    }

    /// What the task of this name waits or has waited for, once that is as `wanted`. In the order of
    /// their spans, which is none.
    ///
    /// # Panics
    /// As `named`.
    #[track_caller]
    pub fn waits(&self, name: &str, wanted: impl Fn(&[Wait]) -> bool) -> Vec<Wait> {
        self.once(|state| {
            let is_it = |task: &Told| task.name.as_deref() == Some(name);
            let task = state.tasks.iter().find(|(_, task)| is_it(task));
            let task = task.map(|(id, _)| *id).unwrap_or_default();
            let waits = state.waits.values().filter(|wait| wait.task == task).map(|wait| {
                let resource = state.resources[&wait.resource_id].clone();
                Wait { resource, ..wait.clone() }
            });
            let waits: Vec<Wait> = waits.collect();
            if wanted(&waits) { Ok(waits) } else { Err(format!("{name} waits for {waits:#?}")) }
        })
    }

    /// What `look` finds, once it does.
    #[track_caller]
    fn once<T>(&self, look: impl Fn(&State) -> Result<T, String>) -> T {
        let end = Instant::now() + LIMIT;
        let mut state = self.state.lock().unwrap();
        loop {
            let missing = match look(&state) {
                Ok(found) => return found,
                Err(missing) => missing,
            };
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                drop(state); // for the other tests
                panic!("{missing}");
            }
            state = self.news.wait_timeout(state, left).unwrap().0;
        }
    }

    fn take(&self, update: Update) {
        let mut state = self.state.lock().unwrap();
        let State { tasks, resources, waits } = &mut *state;
        let Update { task_update, resource_update, async_op_update, .. } = update;

        let news = task_update.expect("always there");
        assert_eq!(news.dropped_events, 0, "the buffer of console-subscriber was too small");
        for task in &news.new_tasks {
            tasks.insert(task.id.expect("a task's span").id, Told::of(task));
        }
        for (id, stats) in &news.stats_update {
            tasks.get_mut(id).expect("known before its statistics").update(stats);
        }

        let news = resource_update.expect("always there");
        for resource in news.new_resources {
            let told = Resource {
                concrete_type: resource.concrete_type,
                is_timer: resource.kind == Some(Kind { kind: Some(TIMER) }),
                line: resource.location.and_then(|place| place.line).expect("where it was made"),
                is_closed: false,
            };
            resources.insert(resource.id.expect("a resource's span").id, told);
        }
        for (id, stats) in &news.stats_update {
            resources.get_mut(id).expect("known").is_closed = stats.dropped_at.is_some();
        }

        let news = async_op_update.expect("always there");
        for wait in news.new_async_ops {
            let told = Wait {
                operation: wait.source,
                polls: 0,
                is_closed: false,
                resource: Resource::default(),
                resource_id: wait.resource_id.expect("a resource's span").id,
                task: 0,
            };
            waits.insert(wait.id.expect("an operation's span").id, told);
        }
        for (id, stats) in &news.stats_update {
            let wait = waits.get_mut(id).expect("known");
            wait.is_closed = stats.dropped_at.is_some();
            wait.polls = stats.poll_stats.expect("statistics of polls").polls;
            wait.task = stats.task_id.map_or(0, |task| task.id);
        }
        self.news.notify_all();
    }
}

fn time<T: TryInto<SystemTime, Error: Debug>>(time: Option<T>) -> Option<SystemTime> {
    time.map(|time| time.try_into().unwrap())
}

/// What `ConsoleLayer::spawn` lets through.
fn is_for_the_console(metadata: &Metadata<'_>) -> bool {
    if metadata.is_event() {
        metadata.target().starts_with("runtime")
    } else {
        metadata.name().starts_with("runtime.")
    }
}

fn start(client: &'static Client) {
    if !cfg!(any(console_without_tokio_unstable, tokio_unstable)) {
        panic!(
            "a RUSTFLAGS in the environment hides that of .cargo/config.toml: add \
             `--cfg console_without_tokio_unstable` to it"
        );
    }
    let (layer, server) = ConsoleLayer::builder()
        .publish_interval(Duration::from_millis(20))
        .event_buffer_capacity(1 << 16)
        .build();
    tracing_subscriber::registry()
        .with(bifilar::recording::TracingLayer::new())
        .with(layer.with_filter(FilterFn::new(is_for_the_console)))
        .init();
    thread::spawn(move || {
        // tokio's doings are not for the console.
        let _nothing = tracing::subscriber::set_default(NoSubscriber::default());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async move {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
            let address = listener.local_addr().unwrap();
            let ServerParts { instrument_server, aggregator, .. } = server.into_parts();
            tokio::spawn(aggregator.run());
            tokio::spawn(
                tonic::transport::Server::builder()
                    .add_service(instrument_server)
                    .serve_with_incoming(TcpListenerStream::new(listener)),
            );
            let mut connection =
                InstrumentClient::connect(format!("http://{address}")).await.unwrap();
            let request = connection.watch_updates(InstrumentRequest {}).await;
            let mut updates = request.unwrap().into_inner();
            while let Some(update) = updates.message().await.unwrap() {
                client.take(update);
            }
        });
    });
}
