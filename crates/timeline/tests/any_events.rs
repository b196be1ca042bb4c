//! Any sequence of events makes a diagram, and every picture of it; seeded, so that a failure can
//! be had again.

mod common;

use bifilar_timeline::{ArrowKind, Diagram, LaneKind, Name, Recorder, Recording, set_enabled};
use common::{Seeded, any_event, describe};
use std::collections::HashSet;

/// A recording of nonsense: times that hardly or hugely differ, names that are nasty to quote.
fn nonsense(seed: u64) -> Recording {
    set_enabled(true);
    let mut random = Seeded(seed);
    let kept = 1 + random.below(60) as usize;
    let recorder = Recorder::with_clock(kept, || 0);
    let names: Vec<Name> = ["", "read", "<b>&\"'", "a\nb\t\u{1}", "naïve 漢字 🧵", "}}</script>"]
        .map(|name| recorder.name(name))
        .to_vec();
    let threads: Vec<_> =
        ["one", "", "a <thread>"].map(|name| recorder.thread(name)).into_iter().collect();
    let steps: u64 = [1, 3, 1_000, 1_000_000_000_000][random.below(4) as usize];
    let mut time = if random.below(8) == 0 { u64::MAX - 40 * steps } else { random.below(steps) };
    for _ in 0..random.below(150) {
        time = time.saturating_add(random.below(steps));
        let thread = &threads[random.below(3) as usize];
        thread.record_at(time, any_event(&mut random, &names));
    }
    recorder.snapshot()
}

#[test]
fn every_sequence_makes_a_diagram_that_holds_together() {
    for seed in 0..1_000 {
        let recording = nonsense(seed);
        let diagram = Diagram::from(&recording);
        let told = || format!("seed {seed}:\n{recording}\n{}", describe(&diagram));
        let within = |start: u64, end: u64| {
            diagram.start_ns <= start && start <= end && end <= diagram.end_ns
        };
        for drawn in &diagram.boxes {
            assert!(within(drawn.start_ns, drawn.end_ns), "{drawn:?}, {}", told());
            assert!(drawn.row < diagram.lanes[drawn.lane].rows, "{drawn:?}, {}", told());
        }
        for pair in diagram.boxes.windows(2) {
            let (one, next) = (&pair[0], &pair[1]);
            let key = |drawn: &bifilar_timeline::TimeBox| (drawn.lane, drawn.row);
            assert!(key(one) <= key(next), "{}", told());
            if key(one) == key(next) {
                assert!(one.end_ns <= next.start_ns, "{one:?} {next:?}, {}", told());
            }
        }
        for pause in &diagram.pauses {
            assert!(within(pause.start_ns, pause.end_ns), "{pause:?}, {}", told());
            assert!(pause.row + pause.rows <= diagram.lanes[pause.lane].rows, "{}", told());
            let woken = pause.woken_ns.unwrap_or(pause.start_ns);
            assert!(pause.start_ns <= woken && woken <= pause.end_ns, "{pause:?}, {}", told());
        }
        for pair in diagram.pauses.windows(2) {
            let (one, next) = (&pair[0], &pair[1]);
            if (one.lane, one.row, 0) == (next.lane, next.row, one.row) {
                assert!(one.end_ns <= next.start_ns, "{one:?} {next:?}, {}", told());
            }
        }
        let tasks: Vec<_> = diagram
            .lanes
            .iter()
            .filter_map(|lane| match lane.kind {
                LaneKind::Task(task) => Some(task),
                _ => None,
            })
            .collect();
        assert_eq!(tasks.iter().collect::<HashSet<_>>().len(), tasks.len(), "{}", told());
        assert!(diagram.arrows.iter().all(|arrow| within(arrow.time_ns, arrow.time_ns)));
        assert!(diagram.marks.iter().all(|mark| within(mark.time_ns, mark.time_ns)));
        assert_eq!(diagram, Diagram::from(&recording), "{}", told());
        let mut random = Seeded(seed);
        let [from, to] = [0, 0].map(|_: i32| {
            diagram.start_ns.saturating_add(random.below(diagram.end_ns - diagram.start_ns + 1))
        });
        let part = diagram.clone().between(from, to);
        let (from, to) = (part.start_ns, part.end_ns);
        for drawn in &part.boxes {
            assert!(from <= drawn.start_ns && drawn.start_ns <= drawn.end_ns && drawn.end_ns <= to);
            assert!(drawn.row < part.lanes[drawn.lane].rows);
        }
        part.text(80);
        part.svg();
    }
}

#[test]
fn every_picture_of_every_sequence_is_well_formed() {
    for seed in 0..250 {
        let recording = nonsense(seed);
        let diagram = Diagram::from(&recording).titled("a <title> & \"more\"");
        let told = || format!("seed {seed}:\n{recording}");

        let svg = diagram.svg();
        let parsed = roxmltree::Document::parse(&svg).unwrap_or_else(|e| panic!("{e} {}", told()));
        let root = parsed.root_element();
        assert_eq!(root.attribute("data-boxes"), Some(&*diagram.boxes.len().to_string()));
        for attribute in parsed.descendants().flat_map(|node| node.attributes()) {
            let value = attribute.value();
            assert!(!value.contains("NaN") && !value.contains("inf"), "{value} {}", told());
        }

        let trace: serde_json::Value = serde_json::from_str(&diagram.trace_json()).unwrap();
        assert!(trace["traceEvents"].is_array());

        let page = diagram.html();
        let (_, data) = page.split_once("id=\"data\">\n").unwrap();
        let (data, _) = data.split_once("</script>").unwrap();
        let data: serde_json::Value = serde_json::from_str(data).unwrap();
        assert_eq!(data["boxes"].as_array().unwrap().len(), 8 * diagram.boxes.len());
        assert_eq!(data["lanes"].as_array().unwrap().len(), diagram.lanes.len());

        for width in [0, 41, 80, 300] {
            let text = diagram.text(width);
            let (picture, _) = text
                .split_once("\n\n")
                .map(|(_, rest)| rest)
                .map_or((&*text, ""), |r| r.split_once("\n\n").unwrap_or((r, "")));
            let widest = picture.lines().map(|line| line.chars().count()).max().unwrap_or(0);
            assert!(widest <= width.max(40), "{widest} {width}\n{text}\n{}", told());
        }
    }
}

#[test]
fn arrows_are_the_wakes_and_spawns_of_the_recording() {
    use bifilar_timeline::Event;
    for seed in 0..500 {
        let recording = nonsense(seed);
        let diagram = Diagram::from(&recording);
        let events =
            || recording.in_order().into_iter().map(|(_, record)| record.event).collect::<Vec<_>>();
        let pool = events()
            .iter()
            .any(|event| matches!(event, Event::BlockingBegin { .. } | Event::BlockingEnd { .. }));
        if pool {
            continue; // those of the pool's tasks may have no lane yet
        }
        let wakes = events().iter().filter(|e| matches!(e, Event::Wake { to: 1.., .. })).count();
        let spawns =
            events().iter().filter(|e| matches!(e, Event::Spawn { task: 1.., .. })).count();
        let found = |kind| diagram.arrows.iter().filter(|arrow| arrow.kind == kind).count();
        assert_eq!((found(ArrowKind::Wake), found(ArrowKind::Spawn)), (wakes, spawns), "{seed}");
    }
}

#[test]
fn lines_are_read_back_as_they_were_written() {
    for seed in 0..500 {
        let recording = nonsense(seed);
        let lines = recording.to_string();
        let read: Recording = lines.parse().unwrap_or_else(|error| panic!("{seed}: {error}"));
        assert_eq!(read.to_string(), lines, "seed {seed}");
        assert_eq!(Diagram::from(&read), Diagram::from(&recording), "seed {seed}");
    }
}

/// Deep stacks and long pauses must not multiply: both would be half a million boxes' work.
#[test]
fn work_grows_with_the_events_and_not_with_depth_times_events() {
    let mut lines = String::from("thread worker 0\n0 poll-begin task=1 stack=0\n");
    for depth in 0..5_000 {
        lines += &format!("{} span-begin task=1 span={depth} name=f\n", depth + 1);
    }
    for time in 0..5_000 {
        lines += &format!("{} stack-suspend task=1 stack=0 name=x\n", 6_000 + 2 * time);
        lines += &format!("{} stack-resume task=1 stack=0\n", 6_001 + 2 * time);
    }
    let diagram = Diagram::from(&common::parse(&lines));
    assert_eq!((diagram.boxes.len(), diagram.pauses.len()), (5_001 + 5_001, 5_000));
}

/// What isn't a recording is refused, with the number of its line, and never panics.
#[test]
fn lines_that_are_wrong_are_refused() {
    for (lines, error) in [
        ("5 wake from=1 to=2", "line 1: a line `thread NAME` comes first"),
        ("thread a\n# fine\n\nlost", "line 4: \"\": no number"),
        ("thread a\nx wake from=1 to=2", "line 2: \"x\": no number"),
        ("thread a\n5 wink from=1 to=2", "line 2: no event is called \"wink\""),
        ("thread a\n5 wake from=1", "line 2: field to is missing, or not what it should be"),
        ("thread a\n5 wake from=1 to=-2", "line 2: field to is missing, or not what it should be"),
        ("thread a\n5 poll-end task=1 outcome=so", "line 2: no outcome is called \"so\""),
        ("thread a\n5", "line 2: no event is called \"\""),
    ] {
        assert_eq!(lines.parse::<Recording>().unwrap_err().to_string(), error, "{lines}");
    }
    let good = nonsense(7).to_string();
    let mut random = Seeded(1);
    let mut refused = 0;
    for _ in 0..2_000 {
        let mut letters: Vec<char> = good.chars().collect();
        for _ in 0..1 + random.below(3) {
            let at = random.below(letters.len() as u64) as usize;
            letters[at] = ['x', '\n', ' ', '=', '9', '\\'][random.below(6) as usize];
        }
        refused += i32::from(letters.iter().collect::<String>().parse::<Recording>().is_err());
    }
    assert!((100..2_000).contains(&refused), "{refused}");
}
