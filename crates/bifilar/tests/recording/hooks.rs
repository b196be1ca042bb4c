//! Small programs, and all of their events. Time is simulated, so it passes in sleeps only.

use super::{named, simulated};
use bifilar::{
    Builder, Handle, Wait, fiber,
    net::{TcpListener, TcpStream},
    span,
    sync::channel,
    task,
    time::sleep,
    timeline::{Event, Recorder, Recording, Track},
    unblock,
};
use std::{
    io::{Read, Write},
    thread,
    time::Duration,
};

const MS: Duration = Duration::from_millis(1);

#[track_caller]
fn expect(recording: &Recording, lines: &str) {
    let unindented: String =
        lines.lines().map(|line| line.trim_start().to_owned() + "\n").collect();
    assert_eq!(recording.to_string(), unindented.trim_start());
}

/// The only track whose name is this.
fn track<'a>(recording: &'a Recording, name: &str) -> &'a Track {
    let mut tracks = recording.threads.iter().filter(|track| track.name == name);
    let track = tracks.next().unwrap_or_else(|| panic!("no track {name}:\n{recording}"));
    assert!(tracks.next().is_none(), "two tracks {name}:\n{recording}");
    track
}

/// The events of a track, but for the calls that ring a worker which sleeps: it needn't.
fn without_rings(recording: &Recording, track: &Track) -> Vec<Event> {
    let events = track.events.iter().map(|record| record.event);
    let is_ring = |event: &Event| matches!(event, Event::SystemCall { name, fd: -1, bytes: 8, .. } if recording.name(*name) == "write");
    events.filter(|event| !is_ring(event)).collect()
}

#[test]
fn spawning_and_joining() {
    expect(
        &simulated(|| named("child", || {}).join().unwrap()),
        "thread worker 0
         0 spawn task=1 parent=0 name=main
         0 poll-begin task=1 stack=1
         0 spawn task=2 parent=1 name=child
         0 stack-suspend task=1 stack=1 name=join
         0 poll-begin task=2 stack=2
         0 poll-end task=2 outcome=ready
         0 wake from=2 to=1
         0 stack-resume task=1 stack=1
         0 poll-end task=1 outcome=ready",
    );
}

#[test]
fn a_task_without_a_name_has_its_place() {
    let line = line!() + 1;
    let recording = simulated(|| fiber::spawn(|| {}).join().unwrap());
    let spawn = track(&recording, "worker 0").events[2].event;
    let Event::Spawn { task: 2, parent: 1, name } = spawn else { panic!("{spawn:?}") };
    assert_eq!(recording.name(name), format!("hooks.rs:{line}"));
}

#[test]
fn sleeping() {
    expect(
        &simulated(|| sleep(5 * MS).wait()),
        "thread worker 0
         0 spawn task=1 parent=0 name=main
         0 poll-begin task=1 stack=1
         0 stack-suspend task=1 stack=1 name=sleep
         0 worker-park worker=0
         0 system-call fd=-1 bytes=0 result=0 took=0 name=epoll_wait
         5000000 timer-fired deadline=5000000
         5000000 wake from=0 to=1
         5000000 worker-unpark worker=0
         5000000 stack-resume task=1 stack=1
         5000000 poll-end task=1 outcome=ready",
    );
}

#[test]
fn giving_way() {
    expect(
        &simulated(fiber::yield_now),
        "thread worker 0
         0 spawn task=1 parent=0 name=main
         0 poll-begin task=1 stack=1
         0 stack-suspend task=1 stack=1 name=its turn
         0 stack-resume task=1 stack=1
         0 poll-end task=1 outcome=ready",
    );
}

/// A task that is woken while it is polled, and one that is woken by a timer.
#[test]
fn an_async_task() {
    let recording = simulated(|| {
        let task = task::Builder::new().name("async").spawn(async {
            task::yield_now().await;
            sleep(2 * MS).await;
        });
        task.unwrap().join().unwrap();
    });
    expect(
        &recording,
        "thread worker 0
         0 spawn task=1 parent=0 name=main
         0 poll-begin task=1 stack=1
         0 spawn task=2 parent=1 name=async
         0 stack-suspend task=1 stack=1 name=join
         0 poll-begin task=2 stack=2
         0 wake from=2 to=2
         0 poll-end task=2 outcome=pending
         0 poll-begin task=2 stack=2
         0 poll-end task=2 outcome=pending
         0 worker-park worker=0
         0 system-call fd=-1 bytes=0 result=0 took=0 name=epoll_wait
         2000000 timer-fired deadline=2000000
         2000000 wake from=0 to=2
         2000000 worker-unpark worker=0
         2000000 poll-begin task=2 stack=2
         2000000 poll-end task=2 outcome=ready
         2000000 wake from=2 to=1
         2000000 stack-resume task=1 stack=1
         2000000 poll-end task=1 outcome=ready",
    );
}

#[test]
fn a_panic() {
    expect(
        &simulated(|| assert!(named("bad", || panic!("expected")).join().is_err())),
        "thread worker 0
         0 spawn task=1 parent=0 name=main
         0 poll-begin task=1 stack=1
         0 spawn task=2 parent=1 name=bad
         0 stack-suspend task=1 stack=1 name=join
         0 poll-begin task=2 stack=2
         0 poll-end task=2 outcome=panicked
         0 wake from=2 to=1
         0 stack-resume task=1 stack=1
         0 poll-end task=1 outcome=ready",
    );
}

/// A stack is unwound from where it was suspended; a future is dropped in a poll of its own.
#[test]
fn cancelling() {
    let recording = simulated(|| {
        let sleeper = named("fiber", || sleep(Duration::MAX).wait());
        sleep(MS).wait();
        sleeper.cancel();
        assert!(sleeper.join().is_err());
    });
    expect(
        &recording,
        "thread worker 0
         0 spawn task=1 parent=0 name=main
         0 poll-begin task=1 stack=1
         0 spawn task=2 parent=1 name=fiber
         0 stack-suspend task=1 stack=1 name=sleep
         0 poll-begin task=2 stack=2
         0 stack-suspend task=2 stack=2 name=sleep
         0 worker-park worker=0
         0 system-call fd=-1 bytes=0 result=0 took=0 name=epoll_wait
         1000000 timer-fired deadline=1000000
         1000000 wake from=0 to=1
         1000000 worker-unpark worker=0
         1000000 stack-resume task=1 stack=1
         1000000 wake from=1 to=2
         1000000 stack-suspend task=1 stack=1 name=join
         1000000 stack-resume task=2 stack=2
         1000000 poll-end task=2 outcome=cancelled
         1000000 wake from=2 to=1
         1000000 stack-resume task=1 stack=1
         1000000 poll-end task=1 outcome=ready",
    );

    let recording = simulated(|| {
        let task = task::Builder::new().name("task").spawn(std::future::pending::<()>()).unwrap();
        sleep(MS).wait();
        task.cancel();
        assert!(task.join().is_err());
    });
    let lines = recording.to_string();
    let end = "1000000 wake from=1 to=2
        1000000 stack-suspend task=1 stack=1 name=join
        1000000 poll-begin task=2 stack=2
        1000000 poll-end task=2 outcome=cancelled
        1000000 wake from=2 to=1
        1000000 stack-resume task=1 stack=1
        1000000 poll-end task=1 outcome=ready";
    let end = end.lines().map(|line| line.trim_start().to_owned() + "\n").collect::<String>();
    assert!(lines.ends_with(&end), "{lines}");
}

/// The call runs on another thread, whose events have a track of their own.
#[test]
fn a_call_that_blocks() {
    let recorder = Recorder::new(1_000);
    let name = Builder::new()
        .simulate(1)
        .record(&recorder)
        .run(|| unblock(|| thread::current().name().unwrap().to_owned()).wait().unwrap());
    let recording = recorder.snapshot().renumbered();
    let events = without_rings(&recording, track(&recording, &name));
    let [Event::BlockingBegin { task: 2, name }, end, ref wakes @ ..] = events[..] else {
        panic!("{events:?}")
    };
    assert_eq!(end, Event::BlockingEnd { task: 2, name });
    // None if the call had ended before the main fiber came to wait for it.
    assert!(wakes.is_empty() || wakes == [Event::Wake { from: 2, to: 1 }], "{wakes:?}");
    assert!(recording.name(name).starts_with("hooks.rs:"), "{recording}");
}

/// A thread that is no worker wakes a task, spawns one and waits: it has a track for that.
#[test]
fn a_thread_from_outside() {
    let recorder = Recorder::new(1_000);
    Builder::new().workers(1).record(&recorder).run(|| {
        let (sender, receiver) = channel::bounded(1);
        let handle = Handle::current();
        let waker = thread::Builder::new().name("waker".into());
        let waker = waker.spawn(move || sender.send(()).wait().unwrap()).unwrap();
        receiver.recv().wait().unwrap();
        let spawner = thread::Builder::new().name("spawner".into());
        let spawner = spawner
            .spawn(move || {
                // SAFETY: asks for a number.
                let stat = format!("/proc/self/task/{}/stat", unsafe { libc::gettid() });
                let sleeps = move || {
                    let stat = std::fs::read_to_string(&stat).unwrap();
                    stat.rsplit(") ").next().unwrap().starts_with('S')
                };
                let task = handle.spawn_fiber(move || {
                    while !sleeps() {
                        fiber::yield_now();
                    }
                });
                handle.block_on(task).unwrap();
            })
            .unwrap();
        unblock(|| [waker, spawner].map(|thread| thread.join().unwrap())).wait().unwrap();
    });
    let recording = recorder.snapshot().renumbered();
    // If the main fiber had to wait for it.
    let mut waker = recording.threads.iter().filter(|track| track.name == "waker");
    if let Some(waker) = waker.next() {
        assert_eq!(without_rings(&recording, waker), [Event::Wake { from: 0, to: 1 }]);
    }
    let events = without_rings(&recording, track(&recording, "spawner"));
    let [Event::Spawn { task, parent: 0, .. }, rest @ ..] = &events[..] else {
        panic!("{recording}")
    };
    let waits = rest.iter().any(
        |event| matches!(event, Event::SystemCall { name, .. } if recording.name(*name) == "futex"),
    );
    assert!(waits, "{recording}");
    let polled = track(&recording, "worker 0").events.iter().any(
        |record| matches!(record.event, Event::PollBegin { task: polled, .. } if polled == *task),
    );
    assert!(polled, "{recording}");
}

/// The system calls of a conversation, of both ends, without those of the event queue.
#[test]
fn sockets() {
    let recording = simulated(|| {
        let listener = TcpListener::bind("127.0.0.1:0").wait().unwrap();
        let address = listener.local_addr().unwrap();
        let server = named("server", move || {
            let (mut stream, _) = listener.accept().wait().unwrap();
            let mut bytes = [0; 10];
            assert_eq!(stream.read(&mut bytes).unwrap(), 4);
            stream.write_all(b"pong!").unwrap();
        });
        let mut stream = TcpStream::connect(address).wait().unwrap();
        stream.write_all(b"ping").unwrap();
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).unwrap();
        assert_eq!(bytes, b"pong!");
        server.join().unwrap();
    });
    // By whom, and what; descriptors are compared within the recording.
    let mut calls = Vec::new();
    let mut running = 0;
    let mut ready = 0;
    for record in &track(&recording, "worker 0").events {
        match record.event {
            Event::PollBegin { task, .. } | Event::StackResume { task, .. } => running = task,
            Event::SystemCall { name, bytes, result, .. }
                if recording.name(name) != "epoll_wait" =>
            {
                calls.push((running, recording.name(name), bytes, result));
            }
            Event::IoReady { .. } => ready += 1,
            _ => {}
        }
    }
    let of = |task: u64, names: &[&str]| -> Vec<(&str, u32, i32)> {
        let own = calls.iter().filter(|(by, name, ..)| *by == task && names.contains(name));
        own.map(|(_, name, bytes, result)| (*name, *bytes, *result)).collect()
    };
    assert_eq!(of(1, &["socket", "connect", "getsockopt", "send"]).len(), 4, "{recording}");
    assert_eq!(of(1, &["send"]), [("send", 4, 4)], "{recording}");
    assert_eq!(of(2, &["send"]), [("send", 5, 5)], "{recording}");
    assert!(of(2, &["recv"]).contains(&("recv", 10, 4)), "{recording}");
    assert!(of(2, &["accept4"]).last().is_some_and(|(_, _, fd)| *fd > 0), "{recording}");
    let received: i32 = of(1, &["recv"]).iter().map(|(_, _, result)| (*result).max(0)).sum();
    assert_eq!(received, 5, "{recording}");
    assert!(ready > 0, "{recording}");
    // The server's stream and listener, and the client's.
    assert_eq!(of(2, &["close"]).len(), 2, "{recording}");
    assert_eq!(of(1, &["close"]).len(), 1, "{recording}");
}

/// Ringing a worker out of its sleep is a system call of whoever rings.
#[test]
fn a_ring() {
    let recorder = Recorder::new(1_000);
    let ringer = Builder::new().workers(1).record(&recorder).run(|| {
        let (sender, receiver) = channel::bounded(1);
        let runtime = Handle::current();
        let ringer = unblock(move || {
            while !runtime.metrics().workers[0].is_parked {
                thread::yield_now();
            }
            sender.try_send(()).unwrap();
            thread::current().name().unwrap().to_owned()
        });
        receiver.recv().wait().unwrap();
        ringer.wait().unwrap()
    });
    let recording = recorder.snapshot();
    let events = track(&recording, &ringer).events.iter();
    let names: Vec<_> = events
        .filter_map(|record| match record.event {
            Event::SystemCall { name, bytes: 8, result: 8, .. } => Some(recording.name(name)),
            _ => None,
        })
        .collect();
    // For the message, and perhaps for its own end.
    assert!(!names.is_empty() && names.iter().all(|name| *name == "write"), "{recording}");
}

/// A span stays open while its task is suspended in either style, and other tasks run.
#[test]
fn spans() {
    let recording = simulated(|| {
        let task = task::Builder::new().name("async").spawn(async {
            let _span = span!("awaits");
            sleep(2 * MS).await;
        });
        let outer = span!("waits");
        sleep(MS).wait();
        drop(outer);
        task.unwrap().join().unwrap();
    });
    let spans: Vec<_> = track(&recording, "worker 0")
        .events
        .iter()
        .filter_map(|record| match record.event {
            Event::SpanBegin { task, span, name } => {
                Some((record.time_ns, "begin", task, span, recording.name(name)))
            }
            Event::SpanEnd { task, span } => Some((record.time_ns, "end", task, span, "")),
            _ => None,
        })
        .collect();
    assert_eq!(
        spans,
        [
            (0, "begin", 1, 1, "waits"),
            (0, "begin", 2, 2, "awaits"),
            (1_000_000, "end", 1, 1, ""),
            (2_000_000, "end", 2, 2, ""),
        ]
    );
}
