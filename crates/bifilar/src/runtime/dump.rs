//! Dumps: every task of a runtime, what it does, what it waits for, and where.

use super::Handle;
use crate::{
    cell::{Id, TaskReport},
    scheduler::{self, Shared, Trace},
};
use std::{
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
    /// for; and for those that are suspended in a [`wait`](crate::Wait::wait), the backtrace of their
    /// stack.
    ///
    /// It disturbs nobody: suspended stacks are looked at by their workers between two polls, and stay
    /// suspended. Tasks go on meanwhile, so each is seen at a moment of its own. A worker that is busy
    /// for a second doesn't answer, and the stacks on it are listed without backtraces.
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
}

/// A call on a suspended stack.
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
            .map(|report| TaskDump {
                waits_for: report.waiting.map(|waiting| waiting.in_words(name)),
                trace: traces.remove(&report.id()),
                report,
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
    ///    "backtrace": [{"function": "app::write", "location": "src/main.rs:30:9"}]}
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
            Some(Trace::Captured(trace)) => frames(&trace.to_string()),
            _ => Vec::new(),
        }
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
            Some(Trace::Captured(_)) => {
                let calls: Vec<_> = self.backtrace().iter().map(Frame::json).collect();
                let _ = write!(json, "[{}]}}", calls.join(", "));
            }
            _ => json.push_str("null}"),
        }
    }
}

impl Frame {
    fn json(&self) -> String {
        let location = self.location.as_deref().map_or("null".into(), quoted);
        format!("{{\"function\": {}, \"location\": {location}}}", quoted(&self.function))
    }
}

impl fmt::Display for Dump {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.tasks.len();
        let tasks = if count == 1 { "task" } else { "tasks" };
        write!(f, "{count} {tasks} of the runtime '{}'", self.runtime)?;
        // Many tasks stand at the same place: each trace is turned into text once.
        let mut texts = HashMap::new();
        for task in &self.tasks {
            write!(f, "\n\n{}", task.report.without_wait())?;
            if let Some(what) = &task.waits_for {
                write!(f, ", waits for {what}")?;
            }
            match &task.trace {
                Some(Trace::Captured(trace)) => {
                    let text = texts.entry(Arc::as_ptr(trace)).or_insert_with(|| {
                        task.backtrace()
                            .iter()
                            .map(|call| format!("\n    {call}"))
                            .collect::<String>()
                    });
                    f.write_str(text)?;
                }
                Some(Trace::NoRoom) => f.write_str("\n    (its stack is too full to be walked)")?,
                None if task.report.stack().is_some() => {
                    f.write_str("\n    (it has moved on, or its worker is busy: no backtrace)")?;
                }
                None => {}
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

/// The user's calls in the text of a `std::backtrace::Backtrace`: what stands between the machinery of
/// `wait` and that of the worker.
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
    let is_base = |frame: &Frame| frame.function.starts_with("bifilar::cell::raw::poll");
    let is_wait = |frame: &Frame| {
        let function = frame.function.as_str();
        function.starts_with("bifilar::wait::") || function.contains(" as bifilar::wait::")
    };
    if let Some(base) = frames.iter().position(is_base) {
        frames.truncate(base);
        // What catches the body's panics.
        let machinery = ["core::ops::function::", "std::panicking::", "__rust_try", "std::panic::"];
        while frames.last().is_some_and(|frame| {
            frame.function.contains("AssertUnwindSafe")
                || machinery
                    .iter()
                    .any(|begin| frame.function.trim_start_matches('<').starts_with(begin))
                || frame.function.starts_with("bifilar::cell::raw")
        }) {
            frames.pop();
        }
    }
    match frames.iter().rposition(is_wait) {
        Some(wait) => frames.split_off(wait + 1),
        None => frames,
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
   4: app::main::{{closure}}
   5: <bifilar::fiber::Body<F> as core::future::future::Future>::poll
   6: bifilar::cell::raw::Cell<F,S>::poll_future
   7: <core::panic::unwind_safe::AssertUnwindSafe<F> as core::ops::function::FnOnce<()>>::call_once
   8: std::panicking::catch_unwind
   9: bifilar::cell::raw::poll
  10: bifilar::scheduler::switching::loop_entry
  11: bifilar_coroutine::arch::x86_64::base";
        let calls: Vec<_> = frames(text).iter().map(Frame::to_string).collect();
        assert_eq!(
            calls,
            [
                "app::handler at src/main.rs:3:4",
                "app::main::{{closure}}",
                "<bifilar::fiber::Body<F> as core::future::future::Future>::poll",
            ]
        );
    }
}
