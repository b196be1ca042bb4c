//! Spans of the crate `tracing` in recordings.

use super::{record, waiting};
use crate::entered;
use bifilar_timeline::Event;
use tracing::{Subscriber, span};
use tracing_subscriber::{Layer, layer::Context, registry::LookupSpan};

/// Records the spans of `tracing`, and keeps them right where stacks are suspended.
///
/// A span is a box in the lane of the task in which it is entered. One that is entered in blocking
/// style stays open over a `.wait()`, as [`span!`](crate::span!) does; one that
/// [instruments](https://docs.rs/tracing/0.1/tracing/trait.Instrument.html) a future is left and
/// entered again with each poll, and shown as one box that is suspended between.
///
/// # Across suspensions
/// `tracing` keeps the current spans of each *thread*. A fiber that waits within an entered span
/// would leave that behind as the current span of whoever runs next on the worker. With this layer
/// the runtime exits the spans of a stack when it is suspended, and enters them again when it goes on.
/// Other layers see that as well: `on_exit` and `on_enter` around each suspension, as they do for
/// instrumented futures.
///
/// Limits: it holds for the subscriber that was the default where the stack was suspended. A
/// subscriber that is set for a scope (`with_default`) is set for the thread, and a stack that is
/// suspended in that scope leaves it so. An entered guard that is held over an `.await` is as wrong
/// as everywhere.
///
/// ```
/// use bifilar::{Wait, recording::TracingLayer, time::sleep, timeline::Recorder};
/// use std::time::Duration;
/// use tracing_subscriber::{layer::SubscriberExt, registry, util::SubscriberInitExt};
///
/// registry().with(TracingLayer::new()).init();
/// let recorder = Recorder::new(10_000);
/// bifilar::Builder::new().record(&recorder).run(|| {
///     let _entered = tracing::info_span!("nap").entered();
///     sleep(Duration::from_millis(1)).wait();
/// });
/// assert!(recorder.snapshot().to_string().contains("name=nap"));
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub struct TracingLayer {}

impl TracingLayer {
    /// To be put onto a registry. From now on the runtimes of this process exit and enter spans around
    /// suspensions.
    #[expect(clippy::new_without_default, reason = "it has an effect on the whole process")]
    pub fn new() -> Self {
        entered::watch();
        TracingLayer {}
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for TracingLayer {
    fn on_enter(&self, id: &span::Id, context: Context<'_, S>) {
        if entered::enter(id) {
            record::event(|log| Event::SpanBegin {
                task: waiting::task_number(),
                span: numbered(id),
                name: log.word(context.metadata(id).map_or("", |metadata| metadata.name())),
            });
        }
    }

    fn on_exit(&self, id: &span::Id, _: Context<'_, S>) {
        if entered::exit(id) {
            let span = numbered(id);
            record::event(|_| Event::SpanEnd { task: waiting::task_number(), span });
        }
    }
}

/// Apart from the numbers of our own spans.
fn numbered(id: &span::Id) -> u64 {
    id.into_u64() | 1 << 63
}
