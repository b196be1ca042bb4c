//! One program with something of everything: its recording and its diagram stay as they are.
//!
//! `BIFILAR_BLESS=1 cargo test -p bifilar --test recording` writes them anew; look at them then.

use super::{named, simulated};
use bifilar::{
    Wait, fiber,
    sync::{Mutex, channel},
    task,
    time::{sleep, timeout},
    timeline::Diagram,
};
use std::{env, fs, path::Path, sync::Arc, time::Duration};

const MS: Duration = Duration::from_millis(1);

/// A fiber that feeds an async task through a channel that is too small, two that share a lock, and
/// one that takes too long.
fn program() {
    let (sender, receiver) = channel::bounded(1);
    let source = named("source", move || {
        for number in 1..=3_u64 {
            sleep(number as u32 * MS).wait();
            sender.send(number).wait().unwrap();
        }
    });
    let sum = task::Builder::new().name("sum").spawn(async move {
        let mut sum = 0;
        while let Ok(number) = receiver.recv().await {
            sum += number;
            sleep(4 * MS).await;
        }
        sum
    });
    let lock = Arc::new(Mutex::new(()));
    let [first, second] = ["first", "second"].map(|name| {
        let lock = lock.clone();
        named(name, move || {
            let _held = lock.lock().wait();
            sleep(2 * MS).wait();
            fiber::yield_now();
        })
    });
    let slow = named("slow", || sleep(Duration::MAX).wait());
    assert!(timeout(6 * MS, slow).wait().is_err());
    source.join().unwrap();
    assert_eq!(sum.unwrap().join().unwrap(), 6);
    first.join().unwrap();
    second.join().unwrap();
}

#[test]
fn the_recording_and_its_diagram() {
    let recording = simulated(program);
    let diagram = Diagram::from(&recording).titled("One simulated run");
    compare("simulated.recording", &recording.to_string());
    compare("simulated.txt", &diagram.text(120));
    compare("simulated.svg", &diagram.svg());
}

#[test]
fn every_run_is_the_same() {
    let once = simulated(program).to_string();
    for _ in 0..20 {
        assert_eq!(simulated(program).to_string(), once);
    }
}

fn compare(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/recording").join(name);
    if env::var_os("BIFILAR_BLESS").is_some() {
        return fs::write(path, text).unwrap();
    }
    let kept = fs::read_to_string(&path).unwrap_or_default();
    assert!(kept == text, "{name} differs; BIFILAR_BLESS=1 writes it anew. Now:\n{text}");
}
