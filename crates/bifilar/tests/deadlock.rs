//! A runtime in which all tasks wait for one another says so. Each case runs in a process of its own,
//! since the threads of the process count; and without the test harness, which has a thread too many.

use bifilar::{Builder, Runtime, Wait, fiber, net, sync, task, time::sleep, unblock};
use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

const CASE: &str = "BIFILAR_DEADLOCK_CASE";

/// Runs `case` in a child, and gives what it said on stderr until `mark`, or until
/// `limit` has passed.
fn said(case: &str, mark: &str, limit: Duration) -> String {
    let mut child = Reaped(
        Command::new(std::env::current_exe().unwrap())
            .env(CASE, case)
            .stderr(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap(),
    );
    let (sender, lines) = std::sync::mpsc::channel();
    let stderr = BufReader::new(child.0.stderr.take().unwrap());
    let reader = std::thread::spawn(move || {
        stderr.lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
    });
    let (mut text, end) = (String::new(), Instant::now() + limit);
    while let Ok(line) = lines.recv_timeout(end.saturating_duration_since(Instant::now())) {
        text += &line;
        text.push('\n');
        if line.contains(mark) {
            break;
        }
    }
    drop((child, lines));
    let _ = reader.join();
    text
}

struct Reaped(Child);

impl Drop for Reaped {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn main() {
    if let Ok(case) = std::env::var(CASE) {
        return child(&case);
    }
    let tests: [(&str, fn()); 2] = [
        ("those_who_wait_for_one_another_are_told", those_who_wait_for_one_another_are_told),
        ("those_who_may_be_woken_from_outside_are_left_in_peace", others_are_left_in_peace),
    ];
    for (name, test) in tests {
        test();
        println!("test {name} ... ok");
    }
}

fn child(case: &str) {
    match case {
        "two locks" | "two locks, two workers" => {
            let workers = if case == "two locks" { 1 } else { 2 };
            Builder::new().workers(workers).run(|| {
                let locks = Arc::new([sync::Mutex::new(0), sync::Mutex::new(1)]);
                let both = Arc::new(sync::Barrier::new(2));
                let fibers = [0, 1].map(|first| {
                    let (locks, both) = (locks.clone(), both.clone());
                    let name = ["left", "right"][first];
                    let body = move || {
                        let _one = locks[first].lock().wait();
                        both.wait().wait();
                        let _other = locks[1 - first].lock().wait();
                    };
                    fiber::Builder::new().name(name).spawn(body).unwrap()
                });
                for fiber in fibers {
                    fiber.join().unwrap();
                }
            });
        }
        "a message from oneself" => bifilar::block_on(async {
            let (_sender, receiver) = sync::channel::bounded::<()>(1);
            receiver.recv().await.unwrap();
        }),
        "async tasks" => {
            let runtime = Builder::new().build_local().unwrap();
            runtime.block_on(async {
                let (sender, receiver) = sync::channel::unbounded::<()>();
                let child = task::spawn_local(async move { receiver.recv().await });
                child.await.unwrap().unwrap();
                drop(sender);
            });
        }
        "a timer" => Builder::new().workers(1).run(|| {
            let (_sender, receiver) = sync::channel::unbounded::<()>();
            fiber::spawn(move || receiver.recv().wait());
            sleep(Duration::from_secs(3600)).wait();
        }),
        "a socket" => Builder::new().workers(1).run(|| {
            let listener = net::TcpListener::bind("127.0.0.1:0").wait().unwrap();
            let _ = fiber::spawn(move || listener.accept().wait()).join();
        }),
        "a blocking call" => Builder::new().workers(1).run(|| {
            unblock(|| std::thread::sleep(Duration::from_secs(3600))).wait().unwrap();
        }),
        "a foreign future" => Builder::new().workers(1).run(|| std::future::pending::<()>().wait()),
        "nothing to do" => {
            let _runtime = Runtime::new().unwrap();
            std::thread::sleep(Duration::from_secs(3600));
        }
        other => panic!("no case {other}"),
    }
}

fn those_who_wait_for_one_another_are_told() {
    let cases: [(&str, &[&str]); 4] = [
        (
            "two locks",
            &[
                "all 3 tasks",
                "'left'",
                "'right'",
                "a mutex made at crates/bifilar/tests/deadlock.rs",
                "in a circle: ",
            ],
        ),
        ("two locks, two workers", &["all 3 tasks", "'left'", "'right'", "in a circle: "]),
        ("a message from oneself", &["the only task", "a message from a channel"]),
        ("async tasks", &["all 2 tasks", "the end of task", "a message from a channel"]),
    ];
    for (case, expected) in cases {
        let text = said(case, expected[expected.len() - 1], Duration::from_secs(30));
        for part in expected {
            assert!(text.contains(part), "{case}: no {part:?} in:\n{text}");
        }
    }
}

fn others_are_left_in_peace() {
    for case in ["a timer", "a socket", "a blocking call", "a foreign future", "nothing to do"] {
        let text = said(case, "never said", Duration::from_millis(2500));
        assert!(!text.contains("wait"), "{case}:\n{text}");
    }
}
