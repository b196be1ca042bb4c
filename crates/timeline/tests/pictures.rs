//! The pictures of one fixed recording, byte for byte, and what their formats ask for.
//!
//! After a wanted change: `BIFILAR_BLESS=1 cargo test -p bifilar-timeline --test pictures`, and
//! look at the difference.

mod common;

#[path = "../examples/four_styles.rs"]
#[allow(dead_code)] // its `main`
mod four_styles;

use bifilar_timeline::{BoxKind, Diagram, PauseKind};
use common::{EVERYTHING, describe, parse};
use serde_json::Value;
use std::{env, fs, path::Path};

fn everything() -> Diagram {
    Diagram::from(&parse(EVERYTHING)).titled("Everything that is drawn")
}

/// Compares with a file under `tests/pictures`, or writes it.
fn same_as_kept(name: &str, found: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/pictures").join(name);
    if env::var_os("BIFILAR_BLESS").is_some() {
        fs::write(&path, found).unwrap();
    }
    let kept = fs::read_to_string(&path).unwrap();
    let line = (1..).zip(kept.lines().zip(found.lines())).find(|(_, (kept, found))| kept != found);
    if let Some((number, (kept, found))) = line {
        panic!("{name}, line {number}:\nkept:  {kept}\nfound: {found}");
    }
    assert_eq!(kept.len(), found.len(), "{name} has lines more or less");
}

#[test]
fn the_pictures_are_the_ones_that_were_looked_at() {
    let diagram = everything();
    same_as_kept("everything.lanes", &describe(&diagram));
    same_as_kept("everything.svg", &diagram.svg());
    same_as_kept("everything.json", &diagram.trace_json());
    same_as_kept("everything.txt", &diagram.text(80));
    // The page consists of fixed parts and these; the parts are looked at where they are kept.
    same_as_kept("everything.data.json", page_data(&diagram.html()));
}

fn page_data(page: &str) -> &str {
    let (_, data) = page.split_once("id=\"data\">\n").unwrap();
    data.split_once("</script>").unwrap().0
}

/// What the README shows is what the example prints.
#[test]
fn the_readme_shows_what_is_drawn() {
    let readme = include_str!("../README.md");
    for (name, _, diagram) in four_styles::pictures() {
        let text = diagram.text(80);
        let picture = text.split("\n\n").nth(1).unwrap();
        assert!(name == "sync" || readme.contains(picture), "{name}:\n{picture}");
    }
}

/// The same work needs the same calls, whatever the style.
#[test]
fn four_styles_make_the_same_calls() {
    let calls = |diagram: &Diagram, name: &str| {
        let done = diagram.boxes.iter().filter(|drawn| match drawn.kind {
            BoxKind::SystemCall { result, .. } => *drawn.label == *name && result != -11,
            _ => false,
        });
        done.count()
    };
    for (style, _, diagram) in four_styles::pictures() {
        let made = ["connect", "write", "read"].map(|name| calls(&diagram, name));
        assert_eq!(made, [2, 2, 2], "{style}");
        let paused = |kind| diagram.pauses.iter().filter(|pause| pause.kind == kind).count();
        let (kept, away) = (paused(PauseKind::StackKept), paused(PauseKind::StackPutAway));
        match style {
            "fibers" => assert_eq!((kept, away), (4, 2), "put away from spawn to first poll only"),
            "tasks" => assert!(kept == 0 && away >= 6, "{kept} {away}"),
            _ => assert_eq!((kept, away), (0, 0), "{style}"),
        }
    }
}

#[test]
fn nothing_makes_a_picture_too() {
    let diagram = Diagram::from(&parse(""));
    assert!(diagram.svg().contains("data-lanes=\"0\""));
    assert!(diagram.html().contains("data-lanes=\"0\""));
    assert!(diagram.text(80).starts_with("0 ns\n"));
    serde_json::from_str::<Value>(&diagram.trace_json()).unwrap();
}

#[test]
fn a_page_needs_nothing_from_elsewhere() {
    let page = everything().html();
    // Requests are what these would make; the namespace of SVG is only a name.
    for part in ["src=", "href=", "@import", "url(http", "fetch(", "XMLHttpRequest", "import("] {
        assert!(!page.contains(part), "{part}");
    }
    assert_eq!(page.matches("http").count(), 0);
    assert!(!page.contains("{{"), "a place was not filled");
}

/// The fields that the Trace Event Format asks for, by phase.
#[test]
fn every_trace_event_has_the_fields_of_its_phase() {
    let diagram = everything();
    let trace: Value = serde_json::from_str(&diagram.trace_json()).unwrap();
    let events = trace["traceEvents"].as_array().unwrap();
    for event in events {
        let object = event.as_object().unwrap();
        let phase = event["ph"].as_str().unwrap();
        let (numbers, strings): (&[&str], &[&str]) = match phase {
            "M" => (&["pid"], &["name"]),
            "X" => (&["pid", "tid", "ts", "dur"], &["name", "cat"]),
            "b" | "e" => (&["pid", "tid", "ts"], &["name", "cat", "id"]),
            "i" => (&["pid", "tid", "ts"], &["name", "s"]),
            "s" => (&["pid", "tid", "ts", "id"], &["name", "cat"]),
            "f" => (&["pid", "tid", "ts", "id"], &["name", "cat", "bp"]),
            other => panic!("phase {other}: {event}"),
        };
        assert!(numbers.iter().all(|key| object[*key].is_number()), "{event}");
        assert!(strings.iter().all(|key| object[*key].is_string()), "{event}");
        for key in ["ts", "dur"] {
            assert!(object.get(key).is_none_or(|time| time.as_f64().unwrap() >= 0.0), "{event}");
        }
        if phase == "M" {
            let name = event["name"].as_str().unwrap();
            let arg = if name.ends_with("_name") { "name" } else { "sort_index" };
            assert!(event["args"].get(arg).is_some(), "{event}");
        }
    }
    let count = |phase: &str| events.iter().filter(|event| event["ph"] == phase).count();
    assert_eq!((count("s"), count("f")), (diagram.arrows.len(), diagram.arrows.len()));
    assert_eq!(count("i"), diagram.marks.len());
    assert_eq!(count("b"), count("e"));
    let pauses = events.iter().filter(|event| event["cat"] == "pause").count();
    assert_eq!(count("X") + count("b") - pauses, diagram.boxes.len());
    assert!(count("b") > 0, "the recording has a box that doesn't nest");
}

/// Slices of one thread must nest, or Perfetto and speedscope put them where they don't belong.
#[test]
fn complete_events_nest() {
    for diagram in [everything(), Diagram::from(&common::busy(1, 200, 8))] {
        let trace: Value = serde_json::from_str(&diagram.trace_json()).unwrap();
        let mut open: Vec<(Value, f64)> = Vec::new();
        for event in trace["traceEvents"].as_array().unwrap() {
            if event["ph"] != "X" {
                continue;
            }
            let start = event["ts"].as_f64().unwrap();
            let end = start + event["dur"].as_f64().unwrap();
            open.retain(|(thread, until)| *thread == event["tid"] && *until > start + 1e-6);
            if let Some((_, until)) = open.last() {
                assert!(end <= until + 1e-6, "{event} goes on after {until}");
            }
            open.push((event["tid"].clone(), end));
        }
    }
}

/// Arrows are bound to the slice that encloses their ends; without one they are dropped.
#[test]
fn flows_begin_and_end_in_slices() {
    let trace: Value = serde_json::from_str(&everything().trace_json()).unwrap();
    let events = trace["traceEvents"].as_array().unwrap();
    let slices: Vec<_> = events.iter().filter(|event| event["ph"] == "X").collect();
    let ends = events.iter().filter(|event| event["ph"] == "f");
    for flow in ends {
        let at = flow["ts"].as_f64().unwrap();
        let encloses = slices.iter().any(|slice| {
            let start = slice["ts"].as_f64().unwrap();
            slice["tid"] == flow["tid"]
                && (start..=start + slice["dur"].as_f64().unwrap()).contains(&at)
        });
        assert!(encloses, "{flow}");
    }
}

#[test]
fn a_name_says_what_is_written() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("written");
    fs::create_dir_all(&folder).unwrap();
    let diagram = everything();
    for (name, picture) in [
        ("a.svg", diagram.svg()),
        ("a.HTML", diagram.html()),
        ("a.b.json", diagram.trace_json()),
        ("a.txt", diagram.text(120)),
    ] {
        diagram.write_to(folder.join(name)).unwrap();
        assert_eq!(fs::read_to_string(folder.join(name)).unwrap(), picture);
    }
    for name in ["a.png", "a", ".svg", "svg"] {
        let error = diagram.write_to(folder.join(name)).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput, "{name}");
        assert!(error.to_string().ends_with("as .svg, .html, .json or .txt"), "{error}");
        assert!(!folder.join(name).exists());
    }
    let nowhere = diagram.write_to(folder.join("missing").join("a.svg")).unwrap_err();
    assert_eq!(nowhere.kind(), std::io::ErrorKind::NotFound);
}

/// However long the recording, a static picture has a bounded size.
#[test]
fn static_pictures_are_bounded() {
    let (small, large) = (common::busy(1, 10_000, 3), common::busy(1, 20_000, 3));
    let [small, large] = [small, large].map(|recording| Diagram::from(&recording));
    assert!(large.boxes.len() > 100_000, "{}", large.boxes.len());
    let (small_size, large_size) = (small.svg().len(), large.svg().len());
    assert!(large_size < small_size * 5 / 4, "{small_size} {large_size}");
    assert!(large.text(80).len() < small.text(80).len() * 5 / 4);

    let many: String = (1..1_000)
        .map(|task| {
            format!(
                "{task} poll-begin task={task} stack=0\n{task} poll-end task={task} outcome=ready\n"
            )
        })
        .collect();
    let many = Diagram::from(&parse(&format!("thread worker 0\n{many}")));
    assert_eq!(many.lanes.len(), 1_000);
    assert!(many.svg().contains("and 800 more lanes"));
    assert!(many.text(80).contains("and 800 more lanes"));
    assert!(many.html().contains("and 500 more lanes"));
}
