//! Spans of `tracing` across suspensions: what is the current span where, and what is recorded.

use bifilar::{
    Builder, Wait, fiber,
    recording::TracingLayer,
    task,
    time::sleep,
    timeline::{Event, Recorder},
};
use std::time::Duration;
use tracing::{Instrument, Span, info_span};
use tracing_subscriber::{layer::SubscriberExt, registry, util::SubscriberInitExt};

const MS: Duration = Duration::from_millis(1);

/// One test, since the subscriber is the process's.
#[test]
fn spans_go_with_their_stack() {
    registry().with(TracingLayer::new()).init();
    let recorder = Recorder::new(1_000);
    Builder::new().simulate(1).record(&recorder).run(|| {
        let outer = info_span!("outer").entered();
        assert_eq!(current(), "outer");
        let fibers = ["a", "b"].map(|_| {
            fiber::spawn(|| {
                // Others are suspended within their spans, on this very thread.
                assert_eq!(current(), "");
                let inner = info_span!("inner").entered();
                for _ in 0..3 {
                    sleep(MS).wait();
                    assert_eq!(current(), "inner");
                    info_span!("innermost").in_scope(|| {
                        fiber::yield_now();
                        assert_eq!(current(), "innermost");
                    });
                    assert_eq!(current(), "inner");
                }
                drop(inner);
                assert_eq!(current(), "");
            })
        });
        let task = task::spawn(
            async {
                sleep(2 * MS).await;
                assert_eq!(current(), "instrumented");
                info_span!("waits").in_scope(|| sleep(2 * MS).wait());
                assert_eq!(current(), "instrumented");
            }
            .instrument(info_span!("instrumented")),
        );
        fibers.into_iter().for_each(|fiber| fiber.join().unwrap());
        task.join().unwrap();
        assert_eq!(current(), "outer");
        drop(outer);
        assert_eq!(current(), "");
    });

    // The box of a fiber's span is open from its beginning to its end, over all suspensions.
    let recording = recorder.snapshot();
    let count = |wanted: &str| {
        let events = recording.threads[0].events.iter();
        let begins = events.filter(|record| {
            matches!(record.event, Event::SpanBegin { name, .. } if recording.name(name) == wanted)
        });
        begins.count()
    };
    assert_eq!(["outer", "inner", "innermost", "waits"].map(count), [1, 2, 6, 1]);
    let all = |begin: bool| {
        let events = recording.threads[0].events.iter();
        let ends = events.filter(|record| match record.event {
            Event::SpanBegin { .. } => begin,
            Event::SpanEnd { .. } => !begin,
            _ => false,
        });
        ends.count()
    };
    assert_eq!(all(true), all(false), "{recording}");
}

/// The name of the current span, unless that is the task's, which it has with the feature `console`.
fn current() -> &'static str {
    let name = Span::current().metadata().map_or("", |metadata| metadata.name());
    if name == "runtime.spawn" && cfg!(feature = "console") { "" } else { name }
}
