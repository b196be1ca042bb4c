//! Recording under load, while snapshots are taken.

use bifilar::{
    Builder, Wait, fiber,
    sync::channel,
    task,
    time::sleep,
    timeline::{Diagram, Event, NO_TASK, Recorder, Recording},
    unblock,
};
use std::{
    collections::HashSet,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

/// Some of everything, from several tasks on all workers.
fn work(rounds: u32) {
    let (sender, receiver) = channel::bounded(2);
    let consumer = task::spawn(async move {
        let mut sum = 0;
        while let Ok(number) = receiver.recv().await {
            sum += number;
        }
        sum
    });
    let producers: Vec<_> = (0..4)
        .map(|_| {
            let sender = sender.clone();
            fiber::spawn(move || {
                for round in 0..rounds {
                    sender.send(1_u32).wait().unwrap();
                    match round % 100 {
                        0 => sleep(Duration::from_micros(100)).wait(),
                        50 => unblock(|| ()).wait().unwrap(),
                        25 => task::spawn(task::yield_now()).join().unwrap(),
                        _ => {}
                    }
                }
            })
        })
        .collect();
    drop(sender);
    producers.into_iter().for_each(|producer| producer.join().unwrap());
    assert_eq!(consumer.join().unwrap(), 4 * rounds);
}

/// What holds of each thread's events, from wherever its ring begins.
fn check(recording: &Recording) {
    for track in &recording.threads {
        let mut running = None;
        let mut begun = false;
        let mut before = 0;
        for record in &track.events {
            assert!(before <= record.time_ns, "time goes back on {}", track.name);
            before = record.time_ns;
            match record.event {
                Event::PollBegin { task, .. } | Event::StackResume { task, .. } => {
                    assert_eq!(running, None, "{record:?} on {}", track.name);
                    (running, begun) = (Some(task), true);
                }
                Event::PollEnd { task, .. } | Event::StackSuspend { task, .. } => {
                    assert!(!begun || running == Some(task), "{record:?} on {}", track.name);
                    (running, begun) = (None, true);
                }
                Event::Wake { to, .. } => assert_ne!(to, NO_TASK),
                _ => {}
            }
        }
    }
}

#[test]
fn snapshots_of_a_runtime_under_load() {
    let recorder = Recorder::new(2_000);
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut taken = 0;
            while !done.load(Ordering::Relaxed) {
                let recording = recorder.snapshot();
                check(&recording);
                if taken % 10 == 0 {
                    assert!(!Diagram::from(&recording).svg().is_empty());
                }
                taken += 1;
            }
            taken
        });
        Builder::new().workers(3).record(&recorder).run(|| work(5_000));
        done.store(true, Ordering::Relaxed);
        assert!(reader.join().unwrap() > 0);
    });
    let recording = recorder.snapshot();
    check(&recording);
    assert!(recording.threads.iter().any(|track| track.lost > 0), "the rings are full");
}

/// With rings that are large enough, the story is complete: each task is born once and ends once,
/// and what was suspended goes on.
#[test]
fn nothing_is_missing() {
    let recorder = Recorder::new(200_000);
    Builder::new().workers(2).record(&recorder).run(|| work(1_000));
    let recording = recorder.snapshot();
    check(&recording);
    let (mut born, mut ended) = (HashSet::new(), HashSet::new());
    let (mut suspended, mut resumed) = (0, 0);
    for (track, record) in recording.in_order() {
        assert_eq!(track.lost, 0);
        match record.event {
            Event::Spawn { task, .. } => assert!(born.insert(task), "{task} is born twice"),
            Event::BlockingEnd { task, .. } => assert!(ended.insert(task), "{task} ends twice"),
            Event::PollEnd { task, outcome } if outcome != bifilar::timeline::Outcome::Pending => {
                assert!(ended.insert(task), "{task} ends twice");
            }
            Event::StackSuspend { .. } => suspended += 1,
            Event::StackResume { .. } => resumed += 1,
            _ => {}
        }
    }
    assert_eq!(born, ended);
    assert_eq!(suspended, resumed);
    assert!(suspended > 0);
}
