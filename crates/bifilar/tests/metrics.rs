//! What a runtime says of itself: the numbers are those of what happened, and the text is what Prometheus
//! reads.

mod listener;

use bifilar::{
    Builder, Handle, Runtime, Wait, fiber,
    metrics::Metrics,
    net::{TcpListener, TcpStream},
    task, unblock,
};
use std::{
    collections::{BTreeMap, HashMap},
    io::{Read, Write},
    sync::{
        atomic::{AtomicUsize, Ordering::Relaxed},
        mpsc,
    },
    time::{Duration, Instant},
};
use tracing::Level;

/// How stacks are guarded depends on the kernel, which is asked once: whoever operates the program sees the
/// answer before anything overflows.
#[test]
fn the_kind_of_guards_is_told_and_counted() {
    listener::listen();
    let guards = Builder::new().workers(1).stack_size(1 << 20).run(|| metrics().stacks.guards);
    let told = listener::told("bifilar", Level::DEBUG);
    let start = told.iter().find(|fields| {
        fields["message"] == "a runtime starts" && fields["stack_size"] == (1 << 20).to_string()
    });
    assert_eq!(start.expect("an event")["guards"], format!("{guards:?}"), "{told:?}");
}

fn metrics() -> Metrics {
    Handle::current().metrics()
}

#[test]
fn tasks_are_counted_by_kind_and_outcome() {
    Builder::new().workers(1).run(|| {
        for _ in 0..5 {
            task::spawn(async {}).wait().unwrap();
        }
        let hook = std::panic::take_hook();
        std::panic::set_hook(Box::new(|_| ()));
        assert!(fiber::spawn(|| panic!("on purpose")).join().is_err());
        std::panic::set_hook(hook);
        let waiting = fiber::spawn(|| std::future::pending::<()>().wait());
        fiber::yield_now();
        unblock(|| ()).wait().unwrap();

        let now = metrics();
        let of = |tasks: bifilar::metrics::TaskMetrics| {
            (tasks.spawned, tasks.returned, tasks.panicked, tasks.cancelled, tasks.alive())
        };
        assert_eq!(of(now.async_tasks), (5, 5, 0, 0, 0));
        assert_eq!(of(now.fibers), (3, 0, 1, 0, 2), "with this one");
        assert_eq!(now.blocking_calls.spawned, 1);
        // Its thread tells who waits for it before it counts.
        while metrics().blocking_calls.alive() > 0 {
            fiber::yield_now();
        }
        assert_eq!(metrics().blocking_calls.returned, 1);

        waiting.cancel();
        assert!(waiting.join().is_err());
        assert_eq!(of(metrics().fibers), (3, 0, 1, 1, 1));
    });
}

#[test]
fn a_worker_counts_what_it_does() {
    Builder::new().workers(1).run(|| {
        let before = &metrics().workers[0];
        for _ in 0..10 {
            task::spawn(task::yield_now()).wait().unwrap();
        }
        let after = &metrics().workers[0];
        assert_eq!(after.polls - before.polls, 20, "ten tasks, each polled twice");
        assert_eq!(after.suspensions - before.suspensions, 10);
        assert_eq!((after.steals, after.stolen_tasks), (0, 0), "there is nobody to steal from");
    });
}

#[test]
fn a_simulated_run_counts_the_same_each_time() {
    let run = |seed| {
        Builder::new().simulate(seed).run(|| {
            let fibers: Vec<_> = (0..5).map(|_| fiber::spawn(fiber::yield_now)).collect();
            fibers.into_iter().for_each(|fiber| fiber.join().unwrap());
            let worker = metrics().workers.remove(0);
            (worker.polls, worker.suspensions)
        })
    };
    assert_eq!(run(3), run(3));
    assert_eq!(run(3).0, 6);
}

#[test]
fn queues_and_pools_show_their_depth() {
    Builder::new().workers(1).run(|| {
        let tasks: Vec<_> = (0..300).map(|_| task::spawn(async {})).collect();
        assert_eq!(metrics().workers[0].queued, 300, "more than the ring holds");
        let handle = Handle::current();
        let outside = std::thread::spawn(move || handle.spawn(async {})).join().unwrap();
        assert_eq!(metrics().injected, 1);
        tasks.into_iter().for_each(|task| task.wait().unwrap());
        outside.wait().unwrap();
        assert_eq!((metrics().injected, metrics().workers[0].queued), (0, 0));

        let (sender, receiver) = mpsc::channel::<()>();
        let call = unblock(move || receiver.recv());
        let busy = metrics().blocking_pool;
        assert_eq!((busy.threads, metrics().blocking_calls.alive()), (1, 1));
        drop(sender);
        assert!(call.wait().unwrap().is_err());
    });
}

#[test]
fn stacks_in_use_rise_and_fall_and_the_peak_stays() {
    // All runtimes of the process share them, so those of other tests come on top.
    const FIBERS: usize = 2_000;
    Builder::new().workers(1).run(|| {
        static WAITING: AtomicUsize = AtomicUsize::new(0);
        let body = || {
            WAITING.fetch_add(1, Relaxed);
            std::future::pending::<()>().wait();
        };
        let fibers: Vec<_> = (0..FIBERS).map(|_| fiber::spawn(body)).collect();
        while WAITING.load(Relaxed) < FIBERS {
            fiber::yield_now();
        }
        let during = metrics().stacks;
        assert!(during.in_use >= FIBERS - 100, "{during:?}");
        assert!(during.peak >= during.in_use && during.reserved_bytes >= FIBERS * 250 * 1024);
        fibers.iter().for_each(|fiber| fiber.cancel());
        fibers.into_iter().for_each(|fiber| assert!(fiber.join().is_err()));
        let after = metrics().stacks;
        assert!(after.in_use < during.in_use / 2 && after.peak >= during.peak, "{after:?}");
    });
}

#[test]
fn sleep_is_not_work() {
    let runtime = Builder::new().workers(1).build().unwrap();
    let spin = |time| {
        move || {
            let begin = Instant::now();
            while begin.elapsed() < time {}
        }
    };
    let handle = runtime.handle();
    let (zero, busy) = (handle.metrics(), Duration::from_millis(60));
    runtime.spawn_fiber(spin(busy)).wait().unwrap();
    let worked = handle.metrics();
    assert!(worked.workers[0].busy - zero.workers[0].busy >= busy);
    // Asleep: the clock of its work stands still.
    let mut last = handle.metrics().workers[0].busy;
    let begin = Instant::now();
    loop {
        std::thread::sleep(Duration::from_millis(5));
        let now = handle.metrics();
        if now.workers[0].is_parked && now.workers[0].busy == last {
            assert!(now.workers[0].parks > 0 && now.busy_ratio(Some(&worked)) < 1.0);
            break;
        }
        last = now.workers[0].busy;
        assert!(begin.elapsed() < Duration::from_secs(30), "it doesn't go to sleep: {now:?}");
    }
}

#[test]
fn a_local_runtime_that_nobody_drives_is_at_rest() {
    let runtime = Builder::new().build_local().unwrap();
    let handle = runtime.handle();
    assert_eq!(handle.metrics().workers[0].busy, Duration::ZERO);
    runtime.block_on(async {});
    let busy = handle.metrics().workers[0].busy;
    assert!(busy > Duration::ZERO);
    assert_eq!(handle.metrics().workers[0].busy, busy);
}

#[test]
fn runs_and_latency_are_measured_on_request_only() {
    Builder::new().workers(1).run(|| assert!(metrics().workers[0].runs.is_none()));
    let time = Duration::from_millis(3);
    Builder::new().workers(1).measure(true).run(|| {
        let waiting = fiber::spawn(|| ());
        let begin = Instant::now();
        while begin.elapsed() < time {}
        // This run has taken 3 ms, and the other fiber has stood in the queue for as long.
        waiting.join().unwrap();
        let worker = metrics().workers.remove(0);
        let (latency, runs) = (worker.latency.unwrap(), worker.runs.unwrap());
        for histogram in [latency, runs] {
            let longest = histogram.buckets().filter(|&(_, count)| count > 0).last().unwrap().0;
            assert!(longest.unwrap() >= time.as_nanos() as u64, "{histogram:?}");
            assert!(histogram.sum() >= time.as_nanos() as u64 - 256, "{histogram:?}");
        }
    });
}

#[test]
fn events_are_counted_where_they_come_in() {
    Builder::new().workers(1).run(|| {
        let listener = TcpListener::bind("127.0.0.1:0").wait().unwrap();
        let address = listener.local_addr().unwrap();
        let server = fiber::spawn(move || {
            let (mut stream, _) = listener.accept().wait().unwrap();
            let mut bytes = [0; 5];
            stream.read_exact(&mut bytes).unwrap();
            bytes
        });
        let mut client = TcpStream::connect(address).wait().unwrap();
        fiber::sleep(Duration::from_millis(1));
        client.write_all(b"hello").unwrap();
        assert_eq!(&server.join().unwrap(), b"hello");
        let worker = &metrics().workers[0];
        assert!(worker.events >= 2, "{worker:?}");
        assert_eq!(worker.events, worker.events_per_wait.sum());
    });
}

/// A family as the text has it.
struct Family {
    kind: String,
    /// Name and labels of each sample, and its value.
    samples: Vec<(String, BTreeMap<String, String>, f64)>,
}

/// Reads the exposition format, version 0.0.4, and refuses what strays from it.
fn parse(text: &str) -> HashMap<String, Family> {
    assert!(text.ends_with('\n'), "the last line must end");
    let mut families: HashMap<String, Family> = HashMap::new();
    let mut current = String::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').expect("a help text");
            assert!(!help.is_empty() && !help.contains('\\'));
            let kind = lines.next().and_then(|line| line.strip_prefix("# TYPE ")).expect("a type");
            let kind = kind.strip_prefix(name).expect("of the same name").trim().to_string();
            assert!(["counter", "gauge", "histogram"].contains(&&*kind), "{kind}");
            assert_eq!(kind == "counter", name.ends_with("_total"), "{name} is a {kind}");
            let family = Family { kind, samples: Vec::new() };
            assert!(families.insert(name.to_string(), family).is_none(), "{name}: twice");
            current = name.to_string();
            continue;
        }
        let (name, labels, value) = parse_sample(line);
        let family = families.get_mut(&current).expect("a family before its samples");
        let rest = name.strip_prefix(&current).unwrap_or_else(|| panic!("{name} in {current}"));
        let expected: &[&str] =
            if family.kind == "histogram" { &["_bucket", "_sum", "_count"] } else { &[""] };
        assert!(expected.contains(&rest), "{name} in a {}", family.kind);
        let known = &family.samples;
        assert!(!known.iter().any(|(n, l, _)| (n, l) == (&name, &labels)), "twice: {line}");
        family.samples.push((name, labels, value));
    }
    families
}

fn parse_sample(line: &str) -> (String, BTreeMap<String, String>, f64) {
    let is_name = |name: &str| {
        let mut bytes = name.bytes();
        bytes.next().is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_')
            && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    };
    let (name, mut rest) = line.split_once('{').expect("labels");
    assert!(is_name(name), "{line}");
    let mut labels = BTreeMap::new();
    loop {
        let (label, after) = rest.split_once("=\"").expect("a label");
        assert!(is_name(label), "{line}");
        let (mut value, mut chars) = (String::new(), after.char_indices());
        let end = loop {
            match chars.next().expect("a closing quote") {
                (at, '"') => break at,
                (_, '\\') => value.push(match chars.next().unwrap().1 {
                    'n' => '\n',
                    other @ ('\\' | '"') => other,
                    other => panic!("\\{other}: {line}"),
                }),
                (_, other) => value.push(other),
            }
        };
        assert!(labels.insert(label.to_string(), value).is_none(), "{label} twice: {line}");
        rest = &after[end + 1..];
        match rest.strip_prefix(',') {
            Some(more) => rest = more,
            None => break,
        }
    }
    let value = rest.strip_prefix("} ").expect("a value").parse().expect("a number");
    (name.to_string(), labels, value)
}

#[test]
fn the_text_is_what_prometheus_reads() {
    let name = "odd \"name\"\\with\nall";
    let metrics = Builder::new().name(name).workers(2).measure(true).run(|| {
        (0..20).for_each(|_| fiber::spawn(fiber::yield_now).join().unwrap());
        metrics()
    });
    let families = parse(&metrics.to_string());
    for (family, Family { kind, samples }) in &families {
        assert!(family.starts_with("bifilar_"));
        assert!(!samples.is_empty(), "{family}");
        for (sample, labels, value) in samples {
            assert_eq!(labels["runtime"], name);
            assert!(value.is_finite() && *value >= 0.0, "{sample} {value}");
            assert!(kind != "counter" || value.fract() == 0.0 || family.contains("seconds"));
        }
        if kind == "histogram" {
            for worker in ["0", "1"] {
                check_histogram(family, samples, worker);
            }
        }
    }
    let finished = &families["bifilar_tasks_finished_total"].samples;
    let returned = finished
        .iter()
        .find(|(_, labels, _)| (&*labels["kind"], &*labels["outcome"]) == ("fiber", "returned"));
    assert_eq!(returned.unwrap().2, 20.0);
    let polls = &families["bifilar_worker_polls_total"].samples;
    let sum: f64 = polls.iter().map(|(_, _, value)| value).sum();
    assert_eq!(sum as u64, metrics.workers.iter().map(|worker| worker.polls).sum::<u64>());
}

fn check_histogram(
    family: &str,
    samples: &[(String, BTreeMap<String, String>, f64)],
    worker: &str,
) {
    let of = |suffix: &str| {
        let name = format!("{family}{suffix}");
        let of_worker = |(n, l, _): &&(String, BTreeMap<String, String>, f64)| {
            *n == name && l["worker"] == worker
        };
        samples.iter().filter(of_worker).cloned().collect::<Vec<_>>()
    };
    let bound = |text: &str| if text == "+Inf" { f64::INFINITY } else { text.parse().unwrap() };
    let buckets: Vec<(f64, f64)> =
        of("_bucket").iter().map(|(_, labels, value)| (bound(&labels["le"]), *value)).collect();
    assert!(buckets.windows(2).all(|two| two[0].0 < two[1].0 && two[0].1 <= two[1].1), "{family}");
    let (last, count) = (buckets.last().unwrap(), of("_count")[0].2);
    assert_eq!(*last, (f64::INFINITY, count), "{family}");
    // The sum is within what the buckets allow.
    let sum = of("_sum")[0].2;
    let mut least = 0.0;
    for two in buckets.windows(2) {
        least += (two[1].1 - two[0].1) * two[0].0;
    }
    assert!(sum >= least * 0.999_999, "{family}: {sum} < {least}");
}

#[test]
fn an_ended_runtime_still_answers() {
    let runtime = Runtime::new().unwrap();
    let handle = runtime.handle().clone();
    runtime.spawn(std::future::pending::<()>());
    drop(runtime);
    let metrics = handle.metrics();
    assert_eq!((metrics.async_tasks.cancelled, metrics.async_tasks.alive()), (1, 0));
}
