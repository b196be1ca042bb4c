//! Dumps: every task of a runtime, what it does, what it waits for, and where.

use super::Handle;
use crate::{
    cell::{Id, TaskReport},
    scheduler::{self, Leaf, Shared, Trace},
};
use std::{
    backtrace::Backtrace,
    collections::HashMap,
    fmt::{self, Write},
    future::Future,
    sync::Arc,
    time::Duration,
};

/// How long workers may take to answer; one that is in the middle of a computation, or of a call that
/// blocks for real, doesn't.
const PATIENCE: Duration = Duration::from_secs(1);

/// Lists every task of the current runtime: see [`Handle::dump`].
///
/// ```
/// use bifilar::{Wait, fiber, sync::channel};
///
/// bifilar::run(|| {
///     let (sender, receiver) = channel::unbounded::<()>();
///     let waiting = fiber::spawn(move || receiver.recv().wait());
///     while !bifilar::dump().wait().to_string().contains("a message from a channel") {
///         fiber::yield_now(); // until it has begun to wait
///     }
///     drop(sender);
///     assert!(waiting.join().unwrap().is_err());
/// });
/// ```
///
/// # Panics
/// Outside of a runtime.
#[track_caller]
pub fn dump() -> impl Future<Output = Dump> + Send {
    Handle::new(scheduler::expect_current()).dump()
}

impl Handle {
    /// Lists every task of the runtime: what it is, what it is doing and for how long, what it waits
    /// for, and where: for one that is suspended in a [`wait`](crate::Wait::wait) the backtrace of its
    /// stack, for one at an `.await` the calls that lead to what it awaits.
    ///
    /// It disturbs nobody: suspended stacks are looked at by their workers between two polls, and stay
    /// suspended. A task at an `.await` is polled once more, as if it had been woken for nothing, which
    /// every future must bear; those of the runtime's own operations that aren't ready are what is seen
    /// of it. Tasks go on meanwhile, so each is seen at a moment of its own. A worker that is busy for a
    /// second doesn't answer, and its tasks are listed without backtraces.
    ///
    /// ```
    /// use bifilar::{Runtime, Wait};
    /// let runtime = Runtime::new()?;
    /// runtime.spawn(std::future::pending::<()>());
    /// let dump = runtime.handle().dump().wait();
    /// assert_eq!(dump.tasks().len(), 1);
    /// println!("{dump}");
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn dump(&self) -> impl Future<Output = Dump> + Send + use<> {
        let shared = self.shared().clone();
        async move {
            let (reports, answers) = shared.ask_for_traces(PATIENCE);
            answers.complete().await;
            Dump::new(&shared, reports, answers.take())
        }
    }
}

/// The tasks of a runtime at some moment. Made by [`Handle::dump`].
///
/// As text by `{}`, as JSON by [`to_json`](Dump::to_json). Either turns addresses into names, which
/// takes a second or more for the first time in a large program: leave it to
/// [`unblock`](crate::unblock) where that matters.
#[derive(Clone, Debug)]
pub struct Dump {
    runtime: String,
    tasks: Vec<TaskDump>,
}

/// One task in a [`Dump`].
#[derive(Clone, Debug)]
pub struct TaskDump {
    report: TaskReport,
    waits_for: Option<String>,
    trace: Option<Trace>,
    leaves: Vec<LeafDump>,
}

/// Something that a task awaits. Part of a [`TaskDump`].
#[derive(Clone, Debug)]
pub struct LeafDump {
    waits_for: String,
    trace: Arc<Backtrace>,
}

/// A call on a stack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// The name of the function, as far as it is known.
    pub function: String,
    /// `file:line:column`, if the program has debug information.
    pub location: Option<String>,
}

impl Dump {
    fn new(shared: &Arc<Shared>, reports: Vec<TaskReport>, mut traces: HashMap<Id, Trace>) -> Self {
        let names: HashMap<u64, Box<str>> = reports
            .iter()
            .filter_map(|report| Some((report.id().get(), report.name()?.into())))
            .collect();
        let name = |task| names.get(&task).map(|name| &**name);
        let tasks = reports
            .into_iter()
            .map(|report| {
                let mut trace = traces.remove(&report.id());
                let leaf = |leaf: Leaf| LeafDump {
                    waits_for: leaf.waiting.in_words(name),
                    trace: leaf.trace,
                };
                let leaves = match trace.take_if(|trace| matches!(trace, Trace::Leaves(_))) {
                    Some(Trace::Leaves(leaves)) => leaves.into_iter().map(leaf).collect(),
                    _ => Vec::new(),
                };
                let waits_for = report.waiting.map(|waiting| waiting.in_words(name));
                TaskDump { waits_for, trace, leaves, report }
            })
            .collect();
        Dump { runtime: shared.config.name.clone(), tasks }
    }

    /// The tasks, in the order in which they were spawned, roughly.
    pub fn tasks(&self) -> &[TaskDump] {
        &self.tasks
    }

    /// The dump as a JSON object.
    ///
    /// ```text
    /// {"runtime": "bifilar", "tasks": [
    ///   {"id": 12, "name": "writer", "kind": "fiber", "spawned_at": "src/main.rs:7:5",
    ///    "activity": "suspended", "seconds": 1.250, "cancelled": false,
    ///    "waits_for": "a message from a channel",
    ///    "backtrace": [{"function": "app::write", "location": "src/main.rs:30:9"}], "leaves": []},
    ///   {"id": 13, "name": null, "kind": "task", "spawned_at": "src/main.rs:8:5",
    ///    "activity": "idle", "seconds": 0.750, "cancelled": false,
    ///    "waits_for": "a sleep, 1.200 s left",
    ///    "backtrace": null, "leaves": [{"waits_for": "a sleep, 1.200 s left",
    ///      "backtrace": [{"function": "app::pause::{{closure}}", "location": "src/main.rs:40:9"}]}]}
    /// ]}
    /// ```
    /// What isn't known is `null`.
    pub fn to_json(&self) -> String {
        let mut json = String::new();
        let _ = write!(json, "{{\"runtime\": {}, \"tasks\": [", quoted(&self.runtime));
        for (index, task) in self.tasks.iter().enumerate() {
            json.push_str(if index == 0 { "\n" } else { ",\n" });
            task.write_json(&mut json);
        }
        json.push_str("\n]}\n");
        json
    }
}

impl TaskDump {
    /// What the task is, what it is doing and for how long.
    pub fn report(&self) -> &TaskReport {
        &self.report
    }

    /// What it waits for, in words. Tells more than the report does: names of tasks, addresses of
    /// sockets.
    pub fn waits_for(&self) -> Option<&str> {
        self.waits_for.as_deref()
    }

    /// The calls on its stack if it is suspended there, from the one that waits to the body of the
    /// task. Empty if they aren't known.
    pub fn backtrace(&self) -> Vec<Frame> {
        match &self.trace {
            Some(Trace::Stack(trace)) => frames(&trace.to_string()),
            _ => Vec::new(),
        }
    }

    /// What it awaits, if it is between two polls: each of the runtime's own operations that wasn't ready
    /// when it was polled. Several in a race or a join; none if it awaits a future of foreign make.
    ///
    /// ```
    /// use bifilar::{Wait, time::sleep};
    /// use std::time::Duration;
    ///
    /// async fn outer() {
    ///     inner().await
    /// }
    ///
    /// async fn inner() {
    ///     sleep(Duration::from_secs(60)).await
    /// }
    ///
    /// let runtime = bifilar::Builder::new().workers(1).build()?;
    /// runtime.spawn(outer());
    /// # let settled = || runtime.handle().tasks()[0].activity() == bifilar::Activity::Idle;
    /// # while !settled() { std::thread::yield_now() }
    /// let dump = runtime.handle().dump().wait();
    /// let [leaf] = dump.tasks()[0].leaves() else { panic!("it awaits a sleep:\n{dump}") };
    /// assert!(leaf.waits_for().starts_with("a sleep"));
    /// assert!(leaf.backtrace()[0].function.contains("inner"));
    /// assert!(leaf.backtrace()[1].function.contains("outer"));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn leaves(&self) -> &[LeafDump] {
        &self.leaves
    }

    fn write_json(&self, json: &mut String) {
        let report = &self.report;
        let or_null = |text: Option<&str>| text.map_or("null".into(), quoted);
        let seconds = report.duration().map(|duration| format!("{:.3}", duration.as_secs_f64()));
        let _ = write!(
            json,
            "  {{\"id\": {}, \"name\": {}, \"kind\": {}, \"spawned_at\": {}, \"activity\": {}, \
             \"seconds\": {}, \"cancelled\": {}, \"waits_for\": {}, \"backtrace\": ",
            report.id(),
            or_null(report.name()),
            quoted(&report.kind().to_string()),
            quoted(&report.location().to_string()),
            quoted(&report.activity().to_string()),
            seconds.as_deref().unwrap_or("null"),
            report.is_cancelled(),
            or_null(self.waits_for()),
        );
        match &self.trace {
            Some(Trace::Stack(_)) => json.push_str(&Frame::list(&self.backtrace())),
            _ => json.push_str("null"),
        }
        let leaf = |leaf: &LeafDump| {
            let calls = Frame::list(&leaf.backtrace());
            format!("{{\"waits_for\": {}, \"backtrace\": {calls}}}", quoted(leaf.waits_for()))
        };
        let leaves: Vec<_> = self.leaves.iter().map(leaf).collect();
        let _ = write!(json, ", \"leaves\": [{}]}}", leaves.join(", "));
    }
}

impl LeafDump {
    /// What it is, in words.
    pub fn waits_for(&self) -> &str {
        &self.waits_for
    }

    /// The calls that lead there from the body of the task, which comes last.
    pub fn backtrace(&self) -> Vec<Frame> {
        frames(&self.trace.to_string())
    }
}

impl Frame {
    /// Some as JSON.
    fn list(frames: &[Frame]) -> String {
        let json = |frame: &Frame| {
            let location = frame.location.as_deref().map_or("null".into(), quoted);
            format!("{{\"function\": {}, \"location\": {location}}}", quoted(&frame.function))
        };
        format!("[{}]", frames.iter().map(json).collect::<Vec<_>>().join(", "))
    }
}

impl fmt::Display for Dump {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.tasks.len();
        let tasks = if count == 1 { "task" } else { "tasks" };
        write!(f, "{count} {tasks} of the runtime '{}'", self.runtime)?;
        // Many tasks stand at the same place: each trace is turned into text once.
        let mut texts = HashMap::new();
        let mut calls = |trace: &Arc<Backtrace>| {
            let text = texts.entry(Arc::as_ptr(trace)).or_insert_with(|| {
                let frames = frames(&trace.to_string());
                Arc::<str>::from(
                    frames.iter().map(|call| format!("\n    {call}")).collect::<String>(),
                )
            });
            text.clone()
        };
        for task in &self.tasks {
            write!(f, "\n\n{}", task.report.without_wait())?;
            if let Some(what) = &task.waits_for {
                write!(f, ", waits for {what}")?;
            }
            match &task.trace {
                Some(Trace::Stack(trace)) => f.write_str(&calls(trace))?,
                Some(Trace::NoRoom) => f.write_str("\n    (its stack is too full to be walked)")?,
                None if task.report.stack().is_some() => {
                    f.write_str("\n    (it has moved on, or its worker is busy: no backtrace)")?;
                }
                _ => {}
            }
            for leaf in &task.leaves {
                if task.leaves.len() > 1 {
                    write!(f, "\n  {}:", leaf.waits_for)?;
                }
                f.write_str(&calls(&leaf.trace))?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.function)?;
        match &self.location {
            Some(location) => write!(f, " at {location}"),
            None => Ok(()),
        }
    }
}

/// The user's calls in the text of a `std::backtrace::Backtrace`: what stands between the machinery that
/// captured it and that of the worker.
fn frames(text: &str) -> Vec<Frame> {
    let mut frames: Vec<Frame> = Vec::new();
    for line in text.lines().map(str::trim_start) {
        if let Some(location) = line.strip_prefix("at ") {
            if let Some(frame) = frames.last_mut() {
                frame.location = Some(location.trim_start_matches("./").into());
            }
        } else if let Some((number, function)) = line.split_once(": ")
            && number.bytes().all(|byte| byte.is_ascii_digit())
        {
            frames.push(Frame { function: function.into(), location: None });
        }
    }
    while frames.pop_if(|frame| frame.is_machinery()).is_some() {}
    let ours = frames.iter().take_while(|frame| frame.is_machinery()).count();
    frames.split_off(ours)
}

impl Frame {
    /// Whether this may stand between the user's calls and the place where a trace was captured, or
    /// between them and the loop.
    fn is_machinery(&self) -> bool {
        // Inlined functions are named without their paths; most have a location.
        let sources = file!().strip_suffix("runtime/dump.rs").expect("this file");
        let path = self.function.trim_start_matches(['<', '&']);
        let crates = ["bifilar::", "bifilar_coroutine::", "std::", "core::", "alloc::", "__rust"];
        match &self.location {
            Some(location) if location.starts_with(sources) => return true,
            Some(location) if location.contains("/library/") => return true,
            None if !path.contains("::") => return true,
            _ => {}
        }
        crates.iter().any(|name| path.starts_with(name)) || path.contains(" as bifilar::")
    }
}

/// A JSON string.
fn quoted(text: &str) -> String {
    let mut json = String::with_capacity(text.len() + 2);
    json.push('"');
    for character in text.chars() {
        match character {
            '"' => json.push_str("\\\""),
            '\\' => json.push_str("\\\\"),
            '\n' => json.push_str("\\n"),
            control if control < ' ' => {
                let _ = write!(json, "\\u{:04x}", u32::from(control));
            }
            other => json.push(other),
        }
    }
    json.push('"');
    json
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn strings_are_quoted_as_json_demands() {
        let cases = [
            ("", r#""""#),
            ("a \"b\" \\", r#""a \"b\" \\""#),
            ("\n\t\u{1}é", "\"\\n\\u0009\\u0001é\""),
        ];
        for (text, json) in cases {
            assert_eq!(quoted(text), json);
            assert_eq!(serde_json::from_str::<String>(&quoted(text)).unwrap(), text);
        }
    }

    #[test]
    fn only_the_users_calls_are_shown() {
        let text = "   0: bifilar::scheduler::dump::Visit::look_around
             at /src/dump.rs:1:2
   1: bifilar::wait::on_stack
   2: <F as bifilar::wait::Wait>::wait
             at ./src/wait/mod.rs:90:9
   3: app::handler
             at ./src/main.rs:3:4
   4: std::sync::Once::call
   5: app::main::{{closure}}
   6: <bifilar::fiber::Body<F> as core::future::future::Future>::poll
   7: bifilar::cell::raw::Cell<F,S>::poll_future
   8: {closure#0}
             at ./crates/bifilar/src/cell/raw.rs:206:31
   9: <core::panic::unwind_safe::AssertUnwindSafe<F> as core::ops::function::FnOnce<()>>::call_once
  10: std::panicking::catch_unwind
  11: call_once<core::task::poll::Poll<()>>
             at /rustc/1234/library/core/src/panic/unwind_safe.rs:274:9
  12: bifilar::cell::raw::poll
  13: run_loop
  14: bifilar::scheduler::switching::loop_entry
  15: bifilar_coroutine::arch::x86_64::base";
        let calls: Vec<_> = frames(text).iter().map(Frame::to_string).collect();
        assert_eq!(
            calls,
            ["app::handler at src/main.rs:3:4", "std::sync::Once::call", "app::main::{{closure}}",]
        );
    }
}
