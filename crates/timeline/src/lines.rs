//! A recording as lines of text, to be kept in a file, compared in a test and read by people.
//!
//! ```text
//! thread worker 0
//! lost 12
//! 1000 spawn task=7 parent=0 name=fetch
//! 1500 poll-begin task=7 stack=0
//! 2900 system-call fd=5 bytes=4096 result=-11 took=900 name=read
//! ```
//!
//! A `thread` line opens a track; what follows belongs to it. A record is its time in nanoseconds,
//! its kind, and its fields; a string comes last and reaches to the end of the line, with `\n`, `\r`
//! and `\\` escaped. Empty lines and those that begin with `#` are skipped. Reading what was written
//! gives an equal list of tracks; the numbers of names may differ.
//!
//! It is no compact format, and nothing is written while the program that is recorded runs.

use crate::event::{Event, Name, Outcome};
use crate::recording::{Record, Recording, Track};
use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

const OUTCOMES: [(&str, Outcome); 4] = [
    ("pending", Outcome::Pending),
    ("ready", Outcome::Ready),
    ("panicked", Outcome::Panicked),
    ("cancelled", Outcome::Cancelled),
];

impl fmt::Display for Recording {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for track in &self.threads {
            writeln!(f, "thread {}", escaped(&track.name))?;
            if track.lost > 0 {
                writeln!(f, "lost {}", track.lost)?;
            }
            for record in &track.events {
                write!(f, "{} ", record.time_ns)?;
                write_event(f, record.event, |name| escaped(self.name(name)))?;
                writeln!(f)?;
            }
        }
        Ok(())
    }
}

fn write_event(
    f: &mut fmt::Formatter<'_>,
    event: Event,
    text: impl Fn(Name) -> String,
) -> fmt::Result {
    match event {
        Event::Spawn { task, parent, name } => {
            write!(f, "spawn task={task} parent={parent} name={}", text(name))
        }
        Event::PollBegin { task, stack } => write!(f, "poll-begin task={task} stack={stack}"),
        Event::PollEnd { task, outcome } => {
            let (word, _) = OUTCOMES[outcome as usize];
            write!(f, "poll-end task={task} outcome={word}")
        }
        Event::StackSuspend { task, stack, waits_for } => {
            write!(f, "stack-suspend task={task} stack={stack} name={}", text(waits_for))
        }
        Event::StackResume { task, stack } => write!(f, "stack-resume task={task} stack={stack}"),
        Event::Wake { from, to } => write!(f, "wake from={from} to={to}"),
        Event::WorkerPark { worker } => write!(f, "worker-park worker={worker}"),
        Event::WorkerUnpark { worker } => write!(f, "worker-unpark worker={worker}"),
        Event::IoReady { token, readable, writable, closed } => write!(
            f,
            "io-ready token={token} readable={readable} writable={writable} closed={closed}"
        ),
        Event::TimerFired { deadline_ns } => write!(f, "timer-fired deadline={deadline_ns}"),
        Event::BlockingBegin { task, name } => {
            write!(f, "blocking-begin task={task} name={}", text(name))
        }
        Event::BlockingEnd { task, name } => {
            write!(f, "blocking-end task={task} name={}", text(name))
        }
        Event::SystemCall { name, fd, bytes, result, took_ns } => write!(
            f,
            "system-call fd={fd} bytes={bytes} result={result} took={took_ns} name={}",
            text(name)
        ),
        Event::SpanBegin { task, span, name } => {
            write!(f, "span-begin task={task} span={span} name={}", text(name))
        }
        Event::SpanEnd { task, span } => write!(f, "span-end task={task} span={span}"),
    }
}

/// Why lines are no recording.
///
/// ```
/// use bifilar_timeline::Recording;
/// let error = "thread main\n5 poll-begin task=7".parse::<Recording>().unwrap_err();
/// assert_eq!(error.to_string(), "line 2: field stack is missing, or not what it should be");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseError {
    /// Counted from 1.
    pub line: usize,
    message: String,
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.message)
    }
}

impl std::error::Error for ParseError {}

/// ```
/// use bifilar_timeline::{Event, Recording};
/// let recording: Recording = "thread worker 0\n5 wake from=0 to=7\n".parse()?;
/// assert_eq!(recording.threads[0].events[0].event, Event::Wake { from: 0, to: 7 });
/// assert_eq!(recording.to_string(), "thread worker 0\n5 wake from=0 to=7\n");
/// # Ok::<(), bifilar_timeline::ParseError>(())
/// ```
impl FromStr for Recording {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let mut names = Names::default();
        let mut threads: Vec<Track> = Vec::new();
        for (line, content) in (1..).zip(text.lines()) {
            let content = content.trim_start();
            let failed = |message: String| ParseError { line, message };
            let (first, rest) = content.split_once(' ').unwrap_or((content, ""));
            if content.is_empty() || content.starts_with('#') {
                continue;
            }
            if first == "thread" {
                threads.push(Track { name: unescaped(rest), events: Vec::new(), lost: 0 });
                continue;
            }
            let Some(track) = threads.last_mut() else {
                return Err(failed("a line `thread NAME` comes first".into()));
            };
            let number =
                |text: &str| text.parse().map_err(|_| failed(format!("{text:?}: no number")));
            if first == "lost" {
                track.lost = number(rest)?;
            } else {
                let event = read_event(rest, &mut names).map_err(failed)?;
                track.events.push(Record { time_ns: number(first)?, event });
            }
        }
        for track in &mut threads {
            track.events.sort_by_key(|record| record.time_ns);
        }
        Ok(Self { threads, names: names.strings })
    }
}

struct Names {
    numbers: HashMap<String, Name>,
    strings: Vec<Arc<str>>,
}

impl Default for Names {
    fn default() -> Self {
        Self { numbers: HashMap::from([(String::new(), Name::NONE)]), strings: vec!["".into()] }
    }
}

impl Names {
    fn number(&mut self, text: String) -> Name {
        let next = Name(self.strings.len() as u32);
        let strings = &mut self.strings;
        *self.numbers.entry(text).or_insert_with_key(|text| {
            strings.push(text.as_str().into());
            next
        })
    }
}

/// What stands behind a record's time.
fn read_event(text: &str, names: &mut Names) -> Result<Event, String> {
    let (text, string) = text.split_once(" name=").unwrap_or((text, ""));
    let (kind, fields) = text.split_once(' ').unwrap_or((text, ""));
    let fields = Fields(fields);
    let mut name = || names.number(unescaped(string));
    Ok(match kind {
        "spawn" => {
            Event::Spawn { task: fields.get("task")?, parent: fields.get("parent")?, name: name() }
        }
        "poll-begin" => Event::PollBegin { task: fields.get("task")?, stack: fields.get("stack")? },
        "poll-end" => Event::PollEnd { task: fields.get("task")?, outcome: fields.outcome()? },
        "stack-suspend" => Event::StackSuspend {
            task: fields.get("task")?,
            stack: fields.get("stack")?,
            waits_for: name(),
        },
        "stack-resume" => {
            Event::StackResume { task: fields.get("task")?, stack: fields.get("stack")? }
        }
        "wake" => Event::Wake { from: fields.get("from")?, to: fields.get("to")? },
        "worker-park" => Event::WorkerPark { worker: fields.get("worker")? },
        "worker-unpark" => Event::WorkerUnpark { worker: fields.get("worker")? },
        "io-ready" => Event::IoReady {
            token: fields.get("token")?,
            readable: fields.get("readable")?,
            writable: fields.get("writable")?,
            closed: fields.get("closed")?,
        },
        "timer-fired" => Event::TimerFired { deadline_ns: fields.get("deadline")? },
        "blocking-begin" => Event::BlockingBegin { task: fields.get("task")?, name: name() },
        "blocking-end" => Event::BlockingEnd { task: fields.get("task")?, name: name() },
        "system-call" => Event::SystemCall {
            fd: fields.get("fd")?,
            bytes: fields.get("bytes")?,
            result: fields.get("result")?,
            took_ns: fields.get("took")?,
            name: name(),
        },
        "span-begin" => {
            Event::SpanBegin { task: fields.get("task")?, span: fields.get("span")?, name: name() }
        }
        "span-end" => Event::SpanEnd { task: fields.get("task")?, span: fields.get("span")? },
        other => return Err(format!("no event is called {other:?}")),
    })
}

/// `key=value` pairs with spaces between.
#[derive(Clone, Copy)]
struct Fields<'a>(&'a str);

impl<'a> Fields<'a> {
    fn find(self, key: &str) -> Option<&'a str> {
        let mut pairs = self.0.split(' ').filter_map(|pair| pair.split_once('='));
        pairs.find(|(found, _)| *found == key).map(|(_, value)| value)
    }

    fn get<T: FromStr>(self, key: &str) -> Result<T, String> {
        let value = self.find(key).and_then(|value| value.parse().ok());
        value.ok_or_else(|| format!("field {key} is missing, or not what it should be"))
    }

    fn outcome(self) -> Result<Outcome, String> {
        let word = self.find("outcome").unwrap_or_default();
        let known = OUTCOMES.iter().find(|(known, _)| *known == word);
        known.map(|(_, outcome)| *outcome).ok_or_else(|| format!("no outcome is called {word:?}"))
    }
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('\n', "\\n").replace('\r', "\\r")
}

fn unescaped(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        plain.push(match letter {
            '\\' => match letters.next() {
                Some('n') => '\n',
                Some('r') => '\r',
                Some(other) => other,
                None => '\\',
            },
            other => other,
        });
    }
    plain
}
