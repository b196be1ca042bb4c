//! The switch is global, so it is tested in a process of its own.

use bifilar_timeline::{Event, Recorder, enabled, set_enabled};

#[test]
fn nothing_is_recorded_while_it_is_off() {
    assert!(!enabled(), "off at first");
    let recorder = Recorder::with_clock(16, || panic!("the clock is not read while it is off"));
    let thread = recorder.thread("worker");
    thread.record(Event::WorkerPark { worker: 1 });
    thread.record_at(1, Event::WorkerPark { worker: 2 });

    set_enabled(true);
    thread.record_at(2, Event::WorkerPark { worker: 3 });
    set_enabled(false);
    thread.record_at(3, Event::WorkerPark { worker: 4 });

    let track = &recorder.snapshot().threads[0];
    let events: Vec<Event> = track.events.iter().map(|record| record.event).collect();
    assert_eq!((events, track.lost), (vec![Event::WorkerPark { worker: 3 }], 0));
}
