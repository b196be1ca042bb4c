//! Keeps what the runtime tells through `tracing`, for tests that look at it.

use std::{
    collections::HashMap,
    fmt::Debug,
    sync::{Mutex, Once},
};
use tracing::{
    Event, Level, Metadata, Subscriber,
    field::{Field, Visit},
    span,
};

/// The fields of an event, as text.
pub type Fields = HashMap<&'static str, String>;

/// The events of this process, in order.
static TOLD: Mutex<Vec<(&'static str, Level, Fields)>> = Mutex::new(Vec::new());

/// Listens from now on, in the whole process.
pub fn listen() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| tracing::subscriber::set_global_default(Listener).unwrap());
}

/// What was told under this target at this level.
pub fn told(target: &str, level: Level) -> Vec<Fields> {
    let told = TOLD.lock().unwrap();
    let fitting = told.iter().filter(|event| (event.0, event.1) == (target, level));
    fitting.map(|event| event.2.clone()).collect()
}

struct Listener;

impl Subscriber for Listener {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        !metadata.is_span() && metadata.target().starts_with("bifilar")
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &Event<'_>) {
        struct Reader(Fields);
        impl Visit for Reader {
            fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
                self.0.insert(field.name(), format!("{value:?}"));
            }

            fn record_str(&mut self, field: &Field, value: &str) {
                self.0.insert(field.name(), value.to_string());
            }
        }
        let mut reader = Reader(Fields::new());
        event.record(&mut reader);
        let metadata = event.metadata();
        TOLD.lock().unwrap().push((metadata.target(), *metadata.level(), reader.0));
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}
