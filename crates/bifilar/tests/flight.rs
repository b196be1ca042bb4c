//! The flight recorder: each trigger, what is handed over, and what goes wrong.

use bifilar::{
    Builder, Runtime, Wait, fiber,
    recording::{FlightRecorder, FlightRecorderBuilder, Trigger},
    task,
    time::sleep,
    timeline::{Event, Outcome, Recorder, Recording, set_enabled},
    unblock,
};
use std::{
    env,
    fs::{self, File},
    io::{self, Write},
    panic::{AssertUnwindSafe, catch_unwind},
    path::PathBuf,
    process::{self, Command},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
    time::Duration,
};

fn builder() -> FlightRecorderBuilder {
    FlightRecorder::builder(&Recorder::new(10_000))
}

type Delivered = mpsc::Receiver<(Trigger, Recording)>;

/// Delivers to a channel.
fn to_channel(builder: FlightRecorderBuilder) -> (FlightRecorder, Delivered) {
    let (sender, delivered) = mpsc::channel();
    let send =
        move |trigger, recording| sender.send((trigger, recording)).map_err(io::Error::other);
    (builder.deliver_to(send).unwrap(), delivered)
}

/// An empty directory, removed in the end.
struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Self {
        let path = env::temp_dir().join(format!("bifilar-flight-{}-{name}", process::id()));
        fs::create_dir(&path).unwrap();
        Directory(path)
    }

    /// Names of files and what is in them, sorted.
    fn files(&self) -> Vec<(String, String)> {
        let mut files: Vec<_> = fs::read_dir(&self.0)
            .unwrap()
            .map(|entry| {
                let entry = entry.unwrap();
                let text = fs::read_to_string(entry.path()).unwrap();
                (entry.file_name().into_string().unwrap(), text)
            })
            .collect();
        files.sort();
        files
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn panicking() -> bifilar::JoinHandle<()> {
    fiber::spawn(|| panic!("expected"))
}

#[test]
fn a_call_writes_and_overwrites_nothing() {
    let directory = Directory::new("call");
    let flight = builder().write_to(directory.0.join("run.recording")).unwrap();
    Builder::new().workers(1).flight_recorder(&flight).run(|| {
        flight.write_now().wait().unwrap();
        fiber::Builder::new().name("later").spawn(|| ()).unwrap().join().unwrap();
        flight.write_now().wait().unwrap();
    });
    let before = directory.files();
    // The runtime has gone.
    flight.write_now().wait().unwrap();
    let after = directory.files();
    assert_eq!((before.len(), after.len()), (2, 3));
    assert!(before.iter().all(|file| after.contains(file)));
    for (name, text) in &after {
        assert!(name.starts_with("run-2") && name.contains("Z-call"), "{name}");
        assert!(text.parse::<Recording>().is_ok(), "{text}");
    }
    let with_later = after.iter().filter(|(_, text)| text.contains("name=later")).count();
    assert_eq!(with_later, 2);
}

#[test]
fn every_form() {
    for (ending, begin) in [
        ("svg", "<svg"),
        ("html", "<!doctype html>"),
        ("json", "{"),
        ("txt", "run: "),
        ("recording", ""),
    ] {
        let directory = Directory::new(ending);
        let flight = builder().write_to(directory.0.join(format!("run.{ending}"))).unwrap();
        Builder::new()
            .workers(1)
            .flight_recorder(&flight)
            .run(|| flight.write_now().wait().unwrap());
        let [(name, text)] = &directory.files()[..] else { panic!("not one file") };
        assert!(name.ends_with(ending) && text.starts_with(begin), "{name}: {text}");
    }
}

#[test]
fn a_signal() {
    let (flight, delivered) = to_channel(builder().on_signal(libc::SIGUSR1));
    Builder::new().workers(1).flight_recorder(&flight).run(|| {
        // SAFETY: there is a handler.
        assert_eq!(unsafe { libc::kill(libc::getpid(), libc::SIGUSR1) }, 0);
        let (trigger, recording) = delivered.recv().unwrap();
        assert_eq!(trigger, Trigger::Signal(libc::SIGUSR1));
        assert!(recording.to_string().contains("name=main"));
    });
}

/// The task that has panicked stands in the recording, up to that moment.
#[test]
fn panics_of_all_kinds_of_tasks() {
    let kinds: [(&str, fn()); 3] = [
        ("fiber", || assert!(panicking().join().is_err())),
        ("task", || {
            assert!(task::spawn(async { panic!("expected") }).join().is_err());
        }),
        ("call", || {
            assert!(unblock(|| panic!("expected")).wait().is_err());
        }),
    ];
    for (kind, program) in kinds {
        let (flight, delivered) = to_channel(builder().on_panic());
        Builder::new().workers(1).flight_recorder(&flight).run(program);
        let (Trigger::Panic { task }, recording) = delivered.recv().unwrap() else {
            panic!("another trigger")
        };
        let ended = |event| match event {
            Event::PollEnd { task: of, outcome: Outcome::Panicked } => of == task && kind != "call",
            Event::BlockingEnd { task: of, .. } => of == task && kind == "call",
            _ => false,
        };
        let mut events = recording.in_order().into_iter().map(|(_, record)| record.event);
        assert!(events.any(ended), "{kind}: {recording}");
        drop(flight);
        assert!(delivered.recv().is_err(), "{kind}: more than one");
    }
}

#[test]
fn what_is_no_panic_triggers_nothing() {
    let (flight, delivered) = to_channel(builder().on_panic());
    Builder::new().workers(1).flight_recorder(&flight).run(|| {
        let cancelled = fiber::spawn(|| sleep(Duration::MAX).wait());
        fiber::yield_now();
        cancelled.cancel();
        assert!(cancelled.join().unwrap_err().is_cancelled());
        fiber::spawn(|| assert!(catch_unwind(|| panic!("expected")).is_err())).join().unwrap();
    });
    drop(flight);
    assert!(delivered.recv().is_err());
}

/// The end of the runtime waits for the file, although it goes on as a panic.
#[test]
fn a_panic_of_the_main_task_is_written_before_run_panics() {
    let directory = Directory::new("main");
    let flight = builder().on_panic().write_to(directory.0.join("run.svg")).unwrap();
    let run = || Builder::new().flight_recorder(&flight).run(|| panic!("expected"));
    assert!(catch_unwind(AssertUnwindSafe(run)).is_err());
    assert_eq!(directory.files().len(), 1);

    let runtime = Builder::new().workers(2).flight_recorder(&flight).build().unwrap();
    assert!(runtime.spawn_fiber(panics).join().is_err());
    assert!(runtime.shutdown(Duration::from_secs(10)).is_clean());
    // Within ten seconds of the other one.
    assert_eq!(directory.files().len(), 1);
}

fn panics() {
    panic!("expected")
}

/// A worker that stands still can't do it; and it is told once, although the poll ends later.
#[test]
fn a_poll_that_does_not_end_until_it_was_told() {
    let limit = Duration::from_millis(20);
    let builder = builder().on_slow_poll(limit).at_least_apart(Duration::ZERO);
    let (flight, delivered) = to_channel(builder);
    Builder::new().workers(1).watchdog(None).flight_recorder(&flight).run(|| {
        let (trigger, recording) = delivered.recv().unwrap();
        let Trigger::SlowPoll { task, took, ended: false } = trigger else { panic!("{trigger:?}") };
        assert!(took >= limit, "{took:?}");
        assert!(recording.to_string().contains(&format!("spawn task={task} ")), "{recording}");
    });
    drop(flight);
    assert!(delivered.recv().is_err(), "told again");
}

/// Time that passes in polls, and nothing else, makes them slow.
#[test]
fn a_poll_that_has_taken_long() {
    let time = Arc::new(AtomicU64::new(1));
    let clock = {
        let time = time.clone();
        move || time.load(Ordering::Relaxed)
    };
    let recorder = Recorder::with_clock(1_000, clock);
    let builder = FlightRecorder::builder(&recorder).on_slow_poll(Duration::from_secs(1));
    let (flight, delivered) = to_channel(builder.at_least_apart(Duration::ZERO));
    let pass = |time: &AtomicU64, seconds: u64| {
        time.fetch_add(seconds * 1_000_000_000, Ordering::Relaxed);
    };
    Builder::new().workers(1).flight_recorder(&flight).run(|| {
        // While it waits.
        let (passes, recorder) = (time.clone(), recorder.clone());
        let call = unblock(move || {
            while !recorder.snapshot().to_string().contains("stack-suspend") {
                std::thread::yield_now();
            }
            pass(&passes, 5);
        });
        call.wait().unwrap();
        fiber::yield_now();
        // In two halves.
        for _ in 0..2 {
            time.fetch_add(600_000_000, Ordering::Relaxed);
            fiber::yield_now();
        }
        let slow = fiber::spawn({
            let time = time.clone();
            move || {
                pass(&time, 2);
                task::current().id().get()
            }
        });
        let slow = slow.join().unwrap();
        let (trigger, _) = delivered.recv().unwrap();
        let Trigger::SlowPoll { task, took, .. } = trigger else { panic!("{trigger:?}") };
        assert_eq!((task, took), (slow, Duration::from_secs(2)));
    });
    drop(flight);
    assert!(delivered.recv().is_err());
}

/// Switched off in a poll, and on again when that has long ended.
#[test]
fn time_in_which_nothing_is_recorded_counts_for_nothing() {
    const CHILD: &str = "BIFILAR_FLIGHT_SWITCH";
    if env::var_os(CHILD).is_none() {
        return in_a_child(
            "time_in_which_nothing_is_recorded_counts_for_nothing",
            CHILD,
            |_, stderr| {
                assert_eq!(stderr, "");
            },
        );
    }
    let time = Arc::new(AtomicU64::new(1));
    let clock = {
        let time = time.clone();
        move || time.load(Ordering::Relaxed)
    };
    let builder = FlightRecorder::builder(&Recorder::with_clock(1_000, clock));
    let (flight, delivered) = to_channel(builder.on_slow_poll(Duration::from_secs(1)));
    Builder::new().workers(1).flight_recorder(&flight).run(|| {
        fiber::spawn(|| set_enabled(false)).join().unwrap();
        time.fetch_add(5_000_000_000, Ordering::Relaxed);
        set_enabled(true);
        fiber::yield_now();
        fiber::spawn(fiber::yield_now).join().unwrap();
    });
    drop(flight);
    assert!(delivered.recv().is_err());
}

#[test]
fn a_storm_is_bounded() {
    let hour = Duration::from_secs(3600);
    for (name, apart, most, expected) in [("number", Duration::ZERO, 5, 5), ("time", hour, 100, 1)]
    {
        let directory = Directory::new(name);
        let builder = builder().on_panic().at_least_apart(apart).at_most(most);
        let flight = builder.write_to(directory.0.join("storm.recording")).unwrap();
        Builder::new().workers(2).flight_recorder(&flight).run(|| {
            for _ in 0..200 {
                assert!(panicking().join().is_err());
            }
        });
        assert_eq!(directory.files().len(), expected, "{name}");
        flight.write_now().wait().unwrap();
        assert_eq!(directory.files().len(), expected + 1, "{name}: a call is not limited");
    }
}

#[test]
fn calls_that_nobody_takes_have_a_bound() {
    let (open, gate) = mpsc::channel::<()>();
    let gate = std::sync::Mutex::new(gate);
    let deliver = move |_, _| {
        let _ = gate.lock().unwrap().recv();
        Ok(())
    };
    let flight = builder().deliver_to(deliver).unwrap();
    let calls: Vec<_> = (0..100).map(|_| flight.write_now()).collect();
    drop(open);
    let results: Vec<_> = calls.into_iter().map(Wait::wait).collect();
    // The first one may have left the queue before the last one came.
    let taken = results.iter().filter(|result| result.is_ok()).count();
    assert!([64, 65].contains(&taken), "{taken}");
    let refused = results.into_iter().filter_map(Result::err);
    assert!(refused.map(|error| error.kind()).all(|kind| kind == io::ErrorKind::WouldBlock));
}

#[test]
fn the_last_seconds() {
    let recorder = Recorder::new(10_000);
    let builder = FlightRecorder::builder(&recorder).last(Duration::from_secs(10));
    let (flight, delivered) = to_channel(builder);
    Builder::new().simulate(1).flight_recorder(&flight).run(|| {
        for name in ["old", "new"] {
            fiber::Builder::new().name(name).spawn(|| ()).unwrap().join().unwrap();
            sleep(Duration::from_secs(6)).wait();
        }
        flight.write_now().wait().unwrap();
    });
    let (_, last) = delivered.recv().unwrap();
    assert!(last.to_string().contains("name=new"), "{last}");
    assert!(!last.to_string().contains("name=old"), "{last}");
    assert!(recorder.snapshot().to_string().contains("name=old"));
}

#[test]
fn what_cannot_be_written_is_told_and_the_next_one_is_written() {
    let full = builder()
        .deliver_to(|_, recording| {
            let mut file = File::options().write(true).open("/dev/full")?;
            file.write_all(recording.to_string().as_bytes())
        })
        .unwrap();
    Builder::new().workers(1).flight_recorder(&full).run(|| {
        let error = full.write_now().wait().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull, "{error}");
    });

    let directory = Directory::new("missing");
    let missing = directory.0.join("missing");
    let flight = builder().write_to(missing.join("run.svg")).unwrap();
    let error = flight.write_now().wait().unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::NotFound, "{error}");
    assert!(error.to_string().starts_with(&*missing.to_string_lossy()), "{error}");
    File::create(&missing).unwrap();
    let error = flight.write_now().wait().unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::NotADirectory, "{error}");
    fs::remove_file(&missing).unwrap();
    fs::create_dir(&missing).unwrap();
    flight.write_now().wait().unwrap();
    assert_eq!(fs::read_dir(&missing).unwrap().count(), 1);
}

/// Runs this very test in a child, where `variable` is set.
fn in_a_child(test: &str, variable: &str, check: impl FnOnce(&Directory, &str)) {
    let directory = Directory::new(test);
    let output = Command::new(env::current_exe().unwrap())
        .args([test, "--exact", "--nocapture"])
        .env(variable, &directory.0)
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {stderr}", output.status);
    check(&directory, &stderr);
}

/// The signal that the kernel sends with the error would end the process.
#[test]
fn a_file_that_may_not_grow_is_removed_and_the_program_goes_on() {
    const CHILD: &str = "BIFILAR_FLIGHT_LIMIT";
    let name = "a_file_that_may_not_grow_is_removed_and_the_program_goes_on";
    let Some(directory) = env::var_os(CHILD) else {
        return in_a_child(name, CHILD, |directory, stderr| {
            assert_eq!(directory.files(), []);
            let told = "bifilar: a recording could not be delivered (task ";
            assert!(stderr.contains(told) && stderr.contains("run-2"), "{stderr}");
        });
    };
    let limit = libc::rlimit { rlim_cur: 2_000, rlim_max: 2_000 };
    // SAFETY: a limit for this process.
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_FSIZE, &limit) }, 0);
    let flight = builder().on_panic().write_to(PathBuf::from(directory).join("run.svg")).unwrap();
    Builder::new().workers(1).flight_recorder(&flight).run(|| {
        assert!(panicking().join().is_err());
        let error = flight.write_now().wait().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::FileTooLarge, "{error}");
    });
}

#[test]
fn a_callback_that_panics_is_no_trigger_and_no_end() {
    let calls = Arc::new(AtomicU64::new(0));
    let flight = builder().on_panic().at_least_apart(Duration::ZERO);
    let counted = calls.clone();
    let flight = flight
        .deliver_to(move |_, _| match counted.fetch_add(1, Ordering::Relaxed) {
            0 => panic!("expected"),
            _ => Ok(()),
        })
        .unwrap();
    Builder::new().workers(1).flight_recorder(&flight).run(|| {
        let error = flight.write_now().wait().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::Other, "{error}");
        flight.write_now().wait().unwrap();
    });
    assert_eq!(calls.load(Ordering::Relaxed), 2);
}

/// It has a runtime with the same flight recorder, in which something panics: that is delivered after it,
/// and so on to the bound.
#[test]
fn a_callback_may_use_runtimes() {
    static FLIGHT: OnceLock<FlightRecorder> = OnceLock::new();
    let (sender, triggers) = mpsc::channel();
    let deliver = move |trigger, _| {
        let flight = FLIGHT.get().unwrap();
        Runtime::new()?;
        Builder::new().workers(1).flight_recorder(flight).run(|| {
            assert!(panicking().join().is_err());
        });
        sender.send(trigger).map_err(io::Error::other)
    };
    let flight = builder().on_panic().at_least_apart(Duration::ZERO).at_most(3);
    let flight = FLIGHT.get_or_init(|| flight.deliver_to(deliver).unwrap());
    Builder::new().workers(1).flight_recorder(flight).run(|| flight.write_now().wait().unwrap());
    flight.write_now().wait().unwrap();
    let triggers: Vec<_> = triggers.try_iter().collect();
    assert_eq!(triggers.len(), 5, "{triggers:?}");
    assert_eq!((triggers[0], triggers[4]), (Trigger::Call, Trigger::Call));
}

#[test]
fn what_cannot_be_set_up_is_an_error() {
    for path in ["run.png", "run", "", "/"] {
        let error = builder().write_to(path).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{path}: {error}");
    }
    for signal in [-1, 0, 65, libc::SIGKILL, libc::SIGSEGV, libc::SIGURG] {
        let error = builder().on_signal(signal).deliver_to(|_, _| Ok(())).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{signal}: {error}");
    }
}
