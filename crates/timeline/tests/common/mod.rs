//! What several tests need: a diagram as lines that can be compared, randomness from a seed, and
//! recordings to draw.
#![allow(dead_code)] // each test uses some of it

use bifilar_timeline::{
    ArrowKind, BoxKind, Diagram, Event, LaneKind, Name, Outcome, PauseKind, Recorder, Recording,
};
use std::fmt::Write;

/// A recording whose every part is drawn: threads, fibers, tasks, the blocking pool, all kinds of
/// events, and both edges cut.
pub const EVERYTHING: &str = include_str!("everything.recording");

pub fn parse(lines: &str) -> Recording {
    lines.parse().unwrap_or_else(|error| panic!("{error} in:\n{lines}"))
}

/// A diagram as lines: lanes, in them boxes and pauses, and the arrows.
pub fn describe(diagram: &Diagram) -> String {
    let mut out = String::new();
    for (number, lane) in diagram.lanes.iter().enumerate() {
        let kind = match lane.kind {
            LaneKind::Thread => "thread".to_owned(),
            LaneKind::Worker => "worker".to_owned(),
            LaneKind::Pool => "pool".to_owned(),
            LaneKind::Task(task) => format!("task {task}"),
        };
        let lost = if lane.lost > 0 { format!(", lost {}", lane.lost) } else { String::new() };
        writeln!(out, "{} ({kind}{lost})", lane.name).unwrap();
        for drawn in diagram.boxes.iter().filter(|drawn| drawn.lane == number) {
            let (open, close) = edges(drawn.cut_start, drawn.cut_end);
            let kind = match drawn.kind {
                BoxKind::Task { outcome: Some(outcome), .. } => {
                    format!("task, {}", format!("{outcome:?}").to_lowercase())
                }
                BoxKind::Task { outcome: None, .. } => "task".to_owned(),
                BoxKind::Span { .. } => "span".to_owned(),
                BoxKind::SystemCall { .. } => "call".to_owned(),
                BoxKind::Blocking { .. } => "blocking".to_owned(),
                BoxKind::Run { .. } => "runs".to_owned(),
                BoxKind::Parked { .. } => "sleeps".to_owned(),
            };
            let (start, end) = (drawn.start_ns, drawn.end_ns);
            let (row, label) = (drawn.row, &drawn.label);
            writeln!(out, "  {row} {open}{start} {end}{close} {label} ({kind})").unwrap();
        }
        for pause in diagram.pauses.iter().filter(|pause| pause.lane == number) {
            let (open, close) = edges(false, pause.cut_end);
            let kind = match pause.kind {
                PauseKind::StackKept => "kept",
                PauseKind::StackPutAway => "put away",
            };
            let woken = pause.woken_ns.map_or(String::new(), |woken| format!(" woken {woken}"));
            let (start, end, waits_for) = (pause.start_ns, pause.end_ns, &pause.waits_for);
            let rows = format!("{}+{}", pause.row, pause.rows);
            let line = format!("  {rows} {open}{start} {end}{close} {kind}{woken} {waits_for}");
            writeln!(out, "{}", line.trim_end()).unwrap();
        }
        for mark in diagram.marks.iter().filter(|mark| mark.lane == number) {
            writeln!(out, "  @{} {}", mark.time_ns, mark.label).unwrap();
        }
    }
    for arrow in &diagram.arrows {
        let verb = if arrow.kind == ArrowKind::Wake { "wakes" } else { "spawns" };
        let name = |lane: usize| &diagram.lanes[lane].name;
        writeln!(out, "{} {} {verb} {}", arrow.time_ns, name(arrow.from), name(arrow.to)).unwrap();
    }
    out
}

fn edges(cut_start: bool, cut_end: bool) -> (char, char) {
    (if cut_start { '«' } else { '[' }, if cut_end { '»' } else { ']' })
}

/// Numbers that look random and are the same for the same seed (SplitMix64, Steele et al. 2014).
pub struct Seeded(pub u64);

impl Seeded {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    pub fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }
}

/// A busy server with a task for each connection, on four workers: for each request it is woken,
/// reads, computes and writes; every other time it keeps its stack while it waits.
pub fn busy(seed: u64, requests: u64, connections: u64) -> Recording {
    bifilar_timeline::set_enabled(true);
    let mut random = Seeded(seed);
    let recorder = Recorder::with_clock(requests as usize * 16, || 0);
    let workers: Vec<_> = (0..4).map(|n| recorder.thread(&format!("worker {n}"))).collect();
    let mut now = [0_u64; 4];
    let mut left = vec![0_u64; connections as usize]; // when a worker was done with a task
    let names = ["parse", "route", "query", "render", "compress"].map(|name| recorder.name(name));
    let (read, write, waits_for) =
        (recorder.name("read"), recorder.name("write"), recorder.name("readable"));
    for request in 0..requests {
        let task = 1 + request % connections;
        let number = random.below(4) as usize;
        let (worker, time) = (&workers[number], &mut now[number]);
        let connection = (request % connections) as usize;
        *time = (*time).max(left[connection]);
        let at = |time: &mut u64, random: &mut Seeded, most: u64| {
            *time += 200 + random.below(most);
            *time
        };
        let from = 1 + random.below(connections);
        worker.record_at(at(time, &mut random, 900), Event::Wake { from, to: task });
        worker.record_at(at(time, &mut random, 500), Event::PollBegin { task, stack: 0 });
        for (call, name) in [(read, names[random.below(5) as usize]), (write, names[3])] {
            let span = request * 4 + u64::from(call == write);
            worker.record_at(at(time, &mut random, 300), Event::SpanBegin { task, span, name });
            let began = at(time, &mut random, 400);
            let ended = at(time, &mut random, 2_000);
            let took_ns = (ended - began) as u32;
            let (bytes, result) = (4096, random.below(4096) as i32);
            worker
                .record_at(ended, Event::SystemCall { name: call, fd: 9, bytes, result, took_ns });
            worker.record_at(at(time, &mut random, 300), Event::SpanEnd { task, span });
        }
        let ending = match request % 2 {
            0 => Event::StackSuspend { task, stack: 1, waits_for },
            _ => Event::PollEnd { task, outcome: Outcome::Pending },
        };
        worker.record_at(at(time, &mut random, 200), ending);
        left[connection] = *time;
    }
    recorder.snapshot()
}

/// Any event at all: numbers are small, so that events meet.
pub fn any_event(random: &mut Seeded, names: &[Name]) -> Event {
    let task = random.below(5);
    let name = names[random.below(names.len() as u64) as usize];
    let span = random.below(6);
    let stack = random.below(3) as u32;
    let worker = random.below(2) as u32;
    let flag = random.below(2) == 0;
    match random.below(17) {
        0 => Event::Spawn { task, parent: random.below(5), name },
        1 | 2 => Event::PollBegin { task, stack },
        3 | 4 => {
            let outcomes =
                [Outcome::Pending, Outcome::Ready, Outcome::Panicked, Outcome::Cancelled];
            Event::PollEnd { task, outcome: outcomes[random.below(4) as usize] }
        }
        5 => Event::StackSuspend { task, stack, waits_for: name },
        6 => Event::StackResume { task, stack },
        7 => Event::Wake { from: random.below(5), to: task },
        8 => Event::WorkerPark { worker },
        9 => Event::WorkerUnpark { worker },
        10 => {
            Event::IoReady { token: random.next(), readable: flag, writable: !flag, closed: flag }
        }
        11 => Event::TimerFired { deadline_ns: random.next() },
        12 => Event::BlockingBegin { task, name },
        13 => Event::BlockingEnd { task, name },
        14 => {
            let took_ns = [0, 3, 40, 100_000, u32::MAX][random.below(5) as usize];
            let (fd, bytes, result) =
                (random.next() as i32, random.next() as u32, random.next() as i32);
            Event::SystemCall { name, fd, bytes, result, took_ns }
        }
        15 => Event::SpanBegin { task, span, name },
        _ => Event::SpanEnd { task, span },
    }
}
