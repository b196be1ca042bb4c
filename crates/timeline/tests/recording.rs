//! Recorders, threads and snapshots, as a user sees them.

use bifilar_timeline::{Event, Name, Outcome, Recorder, set_enabled};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread;

/// A clock that ticks each time it is read.
fn counting() -> impl Fn() -> u64 + Send + Sync {
    let time = AtomicU64::new(0);
    move || time.fetch_add(1, Relaxed)
}

#[test]
fn the_newest_records_stay_and_the_lost_are_counted() {
    set_enabled(true);
    for (capacity, made) in [(0, 3), (1, 0), (1, 1), (1, 5), (4, 4), (4, 5), (100, 1000)] {
        let recorder = Recorder::with_clock(capacity, counting());
        let thread = recorder.thread("worker");
        for number in 0..made {
            thread.record(Event::TimerFired { deadline_ns: number });
        }
        let first = made.saturating_sub(capacity as u64);
        let track = &recorder.snapshot().threads[0];
        assert_eq!(track.lost, first);
        let expected: Vec<_> =
            (first..made).map(|n| (n, Event::TimerFired { deadline_ns: n })).collect();
        let found: Vec<_> =
            track.events.iter().map(|record| (record.time_ns, record.event)).collect();
        assert_eq!(found, expected);
    }
}

#[test]
fn equal_runs_on_a_given_clock_make_equal_recordings() {
    set_enabled(true);
    let run = || {
        let recorder = Recorder::with_clock(64, counting());
        let (one, two) = (recorder.thread("one"), recorder.thread("two"));
        one.record(Event::PollBegin { task: 1, stack: 0 });
        two.record(Event::Wake { from: 0, to: 1 });
        one.record(Event::PollEnd { task: 1, outcome: Outcome::Ready });
        recorder.snapshot()
    };
    let (first, second) = (run(), run());
    assert_eq!(first.threads, second.threads);
    let times: Vec<_> = first.in_order().iter().map(|(_, record)| record.time_ns).collect();
    assert_eq!(times, [0, 1, 2]);
}

#[test]
fn tracks_are_sorted_by_time() {
    set_enabled(true);
    let recorder = Recorder::new(64);
    let thread = recorder.thread("worker");
    for time in [5, 3, 9, 3] {
        thread.record_at(time, Event::WorkerPark { worker: time as u32 });
    }
    let times: Vec<_> = recorder.snapshot().threads[0].events.iter().map(|r| r.time_ns).collect();
    assert_eq!(times, [3, 3, 5, 9]);
}

#[test]
fn snapshots_under_writing_hold_valid_records_only() {
    set_enabled(true);
    const THREADS: u64 = 3;
    let recorder = Recorder::new(128);
    let stop = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> = (1..=THREADS)
        .map(|task| {
            let thread = recorder.thread(&format!("writer {task}"));
            let stop = stop.clone();
            thread::spawn(move || {
                let mut number = 0_u64;
                while !stop.load(Relaxed) {
                    thread.record(Event::SpanBegin { task, span: number * task, name: Name::NONE });
                    thread.record(Event::Wake { from: task, to: number * task });
                    number += 1;
                }
                2 * number
            })
        })
        .collect();

    let mut seen = 0;
    while seen < 20_000 {
        let recording = recorder.snapshot();
        for (task, track) in (1..).zip(&recording.threads) {
            assert!(track.events.len() <= 128);
            assert!(track.events.is_sorted_by_key(|record| record.time_ns));
            for (number, record) in (track.lost..).zip(&track.events) {
                let expected = match number % 2 {
                    0 => Event::SpanBegin { task, span: number / 2 * task, name: Name::NONE },
                    _ => Event::Wake { from: task, to: number / 2 * task },
                };
                assert_eq!(record.event, expected);
            }
            seen += track.events.len();
        }
    }
    stop.store(true, Relaxed);
    let made: Vec<u64> = writers.into_iter().map(|writer| writer.join().unwrap()).collect();

    let recording = recorder.snapshot();
    for (track, made) in recording.threads.iter().zip(made) {
        assert_eq!(track.lost + track.events.len() as u64, made, "nothing is counted twice");
        assert_eq!(track.events.len() as u64, made.min(128));
    }
}

#[test]
fn finished_threads_are_kept_up_to_a_bound() {
    set_enabled(true);
    let recorder = Recorder::new(4);
    let alive = recorder.thread("alive");
    for number in 0..200 {
        recorder.thread(&number.to_string()).record(Event::WorkerPark { worker: number });
    }
    let recording = recorder.snapshot();
    let names: Vec<&str> = recording.threads.iter().map(|track| track.name.as_str()).collect();
    assert_eq!(names[0], "alive");
    let expected: Vec<String> = (135..200).map(|number| number.to_string()).collect();
    assert_eq!(names[1..], expected, "64, and the one that has finished since");
    drop(alive);
}

#[test]
fn names_are_interned_up_to_a_bound() {
    let recorder = Recorder::new(4);
    let names: Vec<Name> = (1..65_536).map(|n| recorder.name(&n.to_string())).collect();
    assert!(names.is_sorted() && !names.contains(&Name::NONE));
    assert_eq!(recorder.name("one too many"), Name::NONE);
    assert_eq!(recorder.name("7"), names[6]);
    assert_eq!(recorder.snapshot().name(names[6]), "7");
}

#[test]
fn recorders_are_shared_and_thread_recorders_are_moved() {
    fn shared<T: Send + Sync + Clone>() {}
    fn moved<T: Send>() {}
    shared::<Recorder>();
    moved::<bifilar_timeline::ThreadRecorder>();
}
