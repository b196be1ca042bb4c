//! The SVG and the page as a person sees them: in a real browser, light and dark, small and with a
//! hundred thousand boxes, with a mouse and with keys.
//!
//! Needs Chromium (Debian's package `chromium`); without one it says so and checks nothing. The
//! pictures stay in `target/tmp/pictures`, to be looked at.

#[path = "../common/mod.rs"]
mod common;

mod chromium;

#[path = "../../examples/four_styles.rs"]
#[allow(dead_code)] // its `main`
mod four_styles;

use bifilar_timeline::Diagram;
use chromium::{Browser, Page};
use common::{EVERYTHING, busy, parse};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::{
    env, fs,
    io::{self, Write},
    time::{Duration, Instant},
};

/// Where pictures and screenshots go.
fn folder() -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("pictures");
    fs::create_dir_all(&folder).unwrap();
    folder
}

fn url(path: &Path) -> String {
    format!("file://{}", path.display())
}

/// One browser for all, since it takes longest to start.
#[test]
fn pictures_in_a_browser() {
    let Some(mut browser) = Browser::start() else {
        assert!(
            env::var_os("CI").is_none(),
            "CI has no Chromium, so nobody has seen the pictures: .ci/run installs it"
        );
        // Not by `eprintln!`, which is only shown of tests that fail.
        let skipped = "SKIPPED: no Chromium was found, so nobody has seen the pictures; install \
             Debian's package `chromium`, or name a browser in BIFILAR_CHROMIUM";
        writeln!(io::stderr(), "{skipped}").unwrap();
        return;
    };
    let diagram = Diagram::from(&parse(EVERYTHING)).titled("Everything that is drawn");
    for ending in ["svg", "html"] {
        diagram.write_to(folder().join("everything").with_extension(ending)).unwrap();
    }
    svg_is_as_it_says(&mut browser, &diagram);
    svgs_of_other_things_are_legible(&mut browser);
    page_is_as_it_says(&mut browser, &diagram);
    page_can_be_moved_about_in(&mut browser, &diagram);
    page_can_be_searched(&mut browser, &diagram);
    page_comes_back_to_its_address(&mut browser);
    page_of_nothing_opens(&mut browser);
    page_shows_a_hundred_thousand_boxes(&mut browser);
}

/// The trace events in a program that isn't ours: speedscope, which reads them and shows each lane as a
/// profile. Where it is, `BIFILAR_SPEEDSCOPE` tells: the folder of its `index.html`.
#[test]
#[ignore = "`cargo xtask speedscope` fetches speedscope and runs it"]
fn trace_events_in_speedscope() {
    let speedscope = PathBuf::from(env::var_os("BIFILAR_SPEEDSCOPE").expect("BIFILAR_SPEEDSCOPE"));
    let mut browser = Browser::start().expect("Chromium");
    let diagram = Diagram::from(&parse(EVERYTHING)).titled("Everything that is drawn");
    let path = folder().join("everything.json");
    diagram.write_to(&path).unwrap();
    // How speedscope's own command line hands a file over. (`btoa` takes bytes.)
    let json = serde_json::to_string(&fs::read_to_string(&path).unwrap()).unwrap();
    let bytes = format!("btoa(unescape(encodeURIComponent({json})))");
    let script = folder().join("everything.js");
    fs::write(&script, format!("speedscope.loadFileFromBase64('everything.json', {bytes})"))
        .unwrap();
    let mut page = browser.page(1200, 760, 1, false);
    let index = url(&speedscope.join("index.html"));
    page.open(&format!("{index}#localProfilePath={}", script.display()));

    let lanes = &diagram.lanes;
    for (number, lane) in lanes.iter().enumerate() {
        let place = format!("({}/{})", number + 1, lanes.len());
        let begin = Instant::now();
        let text = loop {
            page.painted();
            let text = page.text("document.body.innerText");
            if text.contains(&place) {
                break text;
            }
            assert!(begin.elapsed() < Duration::from_secs(30), "no lane {place} in: {text}");
        };
        assert!(text.contains(&format!("{} (tid ", lane.name)), "{}: {text}", lane.name);
        if number == 0 {
            screenshot(&mut page, "everything-speedscope", false, 1);
        }
        page.key("n"); // the next profile
    }
}

/// Every combination of light and dark with one dot and four dots for a pixel.
const LOOKS: [(bool, u32); 4] = [(false, 1), (false, 2), (true, 1), (true, 2)];

fn screenshot(page: &mut Page<'_>, name: &str, dark: bool, scale: u32) -> (u32, u32) {
    let scheme = if dark { "dark" } else { "light" };
    page.screenshot(&folder().join(format!("{name}-{scheme}-{scale}x.png")))
}

fn svg_is_as_it_says(browser: &mut Browser, diagram: &Diagram) {
    let mut grounds = Vec::new();
    for (dark, scale) in LOOKS {
        let mut page = browser.page(1200, 640, scale, dark);
        page.open(&url(&folder().join("everything.svg")));
        for (class, count) in [
            ("lane", diagram.lanes.len()),
            ("box", diagram.boxes.len()),
            ("arrow", diagram.arrows.len()),
            ("mark", diagram.marks.len()),
        ] {
            // The legend has samples of them.
            let found = format!("document.querySelectorAll('.{class}:not(.key *)').length");
            assert_eq!(page.number(&found), count as f64, "{class}");
        }
        assert_eq!(page.run(SVG_FAULTS), Value::Array(Vec::new()));
        grounds.push(page.text("getComputedStyle(document.querySelector('.ground')).fill"));
        let size = screenshot(&mut page, "everything-svg", dark, scale);
        assert_eq!(size, (1200 * scale, 640 * scale));
    }
    assert_eq!((&grounds[0], &grounds[2]), (&grounds[1], &grounds[3]));
    assert_ne!(grounds[0], grounds[2], "dark looks like light");
}

/// Texts of an SVG that leave their box, the picture, or lie on one another.
const SVG_FAULTS: &str = r#"(() => {
    const faults = [], place = (e) => e.getBoundingClientRect();
    const texts = [...document.querySelectorAll("text")], all = texts.map(place);
    const picture = place(document.documentElement);
    const boxes = [...document.querySelectorAll(".box:not(.key *)")].map(place);
    const row = (a, b) => Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > 3;
    texts.forEach((text, i) => {
        const at = all[i];
        if (at.left < picture.left || at.right > picture.right || at.bottom > picture.bottom) {
            faults.push(text.textContent + " leaves the picture");
        }
        if (text.matches(".label:not(.beside)")) {
            const within = boxes.some((box) =>
                row(box, at) && box.left <= at.left && at.right <= box.right + 0.5);
            if (!within) faults.push(text.textContent + " leaves its box");
        }
        if (text.matches(".beside") && boxes.some((box) =>
            row(box, at) && box.right > at.left + 1 && box.left < at.right - 1)) {
            faults.push(text.textContent + " lies on a box it isn't in");
        }
        for (let j = 0; j < i; j++) {
            const other = all[j];
            if (row(at, other) && at.left < other.right - 1 && other.left < at.right - 1) {
                faults.push(`${text.textContent} lies on ${texts[j].textContent}`);
            }
        }
    });
    return faults;
})()"#;

fn svgs_of_other_things_are_legible(browser: &mut Browser) {
    for (name, _, diagram) in four_styles::pictures() {
        let path = folder().join(name).with_extension("svg");
        diagram.write_to(&path).unwrap();
        let mut page = browser.page(1200, 480, 1, false);
        page.open(&url(&path));
        assert_eq!(page.run(SVG_FAULTS), Value::Array(Vec::new()), "{name}");
        screenshot(&mut page, name, false, 1);
    }
    let path = folder().join("busy.svg");
    Diagram::from(&busy(2, 3_000, 12)).titled("A busy server").write_to(&path).unwrap();
    let mut page = browser.page(1200, 1200, 1, false);
    page.open(&url(&path));
    assert_eq!(page.run(SVG_FAULTS), Value::Array(Vec::new()));
    screenshot(&mut page, "busy-svg", false, 1);
}

/// A number that the page says of itself.
fn said(page: &mut Page<'_>, what: &str) -> f64 {
    page.number(&format!("Number(document.getElementById('view').dataset.{what})"))
}

fn page_is_as_it_says(browser: &mut Browser, diagram: &Diagram) {
    for (dark, scale) in LOOKS {
        let mut page = browser.page(1200, 760, scale, dark);
        page.open(&url(&folder().join("everything.html")));
        for (what, count) in [
            ("lanes", diagram.lanes.len()),
            ("boxes", diagram.boxes.len()),
            ("pauses", diagram.pauses.len()),
            ("arrows", diagram.arrows.len()),
            ("drawn", diagram.boxes.len()),
        ] {
            assert_eq!(said(&mut page, what), count as f64, "{what}");
        }
        let rows = page.number("document.querySelectorAll('#table tbody tr').length");
        assert_eq!(rows, diagram.lanes.len() as f64);
        // The dots of the canvas: as many as the screen has, and of many colours.
        let (dots, colours) = (page.number("document.querySelector('canvas').width"), COLOURS);
        assert_eq!(dots, f64::from(1200 * scale));
        assert!(page.number(colours) > 30.0, "{}", page.number(colours));
        screenshot(&mut page, "everything-html", dark, scale);
    }
    let mut page = browser.page(420, 760, 2, true);
    page.open(&url(&folder().join("everything.html")));
    assert!(page.number("document.documentElement.scrollWidth") <= 420.0, "wider than a telephone");
    screenshot(&mut page, "everything-html-narrow", true, 2);
}

/// How many colours the canvas shows.
const COLOURS: &str = "(() => {
    const canvas = document.querySelector('canvas');
    const dots = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
    return new Set(new Uint32Array(dots.buffer)).size;
})()";

fn page_can_be_moved_about_in(browser: &mut Browser, diagram: &Diagram) {
    let mut page = browser.page(1200, 760, 1, false);
    page.open(&url(&folder().join("everything.html")));
    let span = (diagram.end_ns - diagram.start_ns) as f64;
    let shown = |page: &mut Page<'_>| (said(page, "from"), said(page, "to"));
    assert_eq!(shown(&mut page), (0.0, span));

    // The wheel zooms, about where the pointer is.
    page.wheel(600.0, 300.0, -400.0);
    let (from, to) = shown(&mut page);
    assert!(from > 0.0 && to < span && to - from < span / 2.0, "{from} {to}");
    // A drag to the left goes to what is later, and nothing gets longer by it.
    page.mouse("mousePressed", 600.0, 500.0);
    page.mouse("mouseMoved", 500.0, 500.0);
    page.mouse("mouseReleased", 500.0, 500.0);
    page.painted();
    let (later, end) = shown(&mut page);
    assert!(later > from && ((end - later) - (to - from)).abs() < 2.0, "{later} {end}");
    // Keys do the same; 0 shows all again.
    page.key("ArrowLeft");
    assert!(shown(&mut page).0 < later);
    page.key("+");
    let (from, to) = shown(&mut page);
    assert!(to - from < end - later);
    page.key("0");
    assert_eq!(shown(&mut page), (0.0, span));
    page.key("-");
    assert_eq!(shown(&mut page), (0.0, span), "there is nothing outside");

    // Pointing tells what is there.
    let (x, y) = place_of_box(&mut page, diagram, "epoll_wait");
    page.hover(x, y);
    let tip = page.text("document.getElementById('tip').innerText");
    assert!(tip.contains("epoll_wait") && tip.contains("5.6 µs") && tip.contains("fd 3"), "{tip}");
    screenshot(&mut page, "everything-html-hover", false, 1);
    // A click selects it, Enter zooms to it, Tab goes to the next of the lane.
    page.click(x, y);
    let selected = "document.getElementById('view').dataset.selected";
    let box_number = page.text(selected);
    assert!(box_number.starts_with("box "), "{box_number}");
    page.run("document.querySelector('canvas').focus()");
    page.key("Enter");
    let (from, to) = shown(&mut page);
    assert!(to - from < 6_500.0, "{from} {to}");
    page.key("Tab");
    assert_ne!(page.text(selected), box_number);
    page.key("0");

    // A click on an arrow, and F, go from one end of it to the other.
    page.run("document.querySelector('main').style.flex = '0 0 150px'");
    page.painted();
    let arrow = diagram.arrows.iter().find(|arrow| arrow.to > arrow.from + 2).unwrap();
    let number = diagram.arrows.iter().position(|other| other == arrow).unwrap();
    let x = place_of_time(&mut page, diagram, arrow.time_ns);
    let (_, floor) = place_of_row(&mut page, diagram, arrow.from, 0);
    page.click(x, floor + 8.0);
    assert_eq!(page.text(selected), format!("arrow {number}"));
    let top = said(&mut page, "top");
    assert!(top > 0.0, "the other end is in view");
    page.key("f");
    assert!(said(&mut page, "top") < top, "and the first again");
    page.key("Escape");
    assert_eq!(page.text(selected), "");

    // The button turns dark to light, and back.
    let ground = "getComputedStyle(document.body).backgroundColor";
    let before = page.text(ground);
    page.run("document.getElementById('theme').click()");
    assert_ne!(page.text(ground), before);
    page.run("document.getElementById('theme').click()");
    assert_eq!(page.text(ground), before);
    page.key("?");
    assert_eq!(page.run("document.getElementById('keys').open"), true);
    screenshot(&mut page, "everything-html-help", false, 1);
    page.run("document.getElementById('keys').close()");
    page.run("document.querySelector('main').style.flex = ''");
    page.run("document.getElementById('table').open = true");
    page.painted();
    let row = "document.querySelector('#table tbody tr:nth-child(6)').innerText";
    let cells = page.text(row).split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(cells.starts_with("fetch <a> & co task 7 "), "{cells}");
    screenshot(&mut page, "everything-html-table", false, 1);
}

/// Where the middle of a box is. The layout is that of `layout.js`.
fn place_of_box(page: &mut Page<'_>, diagram: &Diagram, label: &str) -> (f64, f64) {
    let drawn = diagram.boxes.iter().find(|drawn| *drawn.label == *label).unwrap();
    let x = place_of_time(page, diagram, drawn.start_ns.midpoint(drawn.end_ns));
    (x, place_of_row(page, diagram, drawn.lane, drawn.row).0)
}

/// Where a time is while all is shown.
fn place_of_time(page: &mut Page<'_>, diagram: &Diagram, time_ns: u64) -> f64 {
    let part = (time_ns - diagram.start_ns) as f64 / (diagram.end_ns - diagram.start_ns) as f64;
    // The gutter is as wide as the widest name asks for; the page measures it.
    let gutter = page.number(
        "(() => { const pen = document.createElement('canvas').getContext('2d');
            pen.font = \"12px system-ui, -apple-system, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif\";
            const names = JSON.parse(document.getElementById('data').textContent).lanes;
            const widest = Math.max(...names.map(lane => pen.measureText(lane.name).width));
            return Math.min(Math.max(widest + 30, 96), 240, innerWidth * 0.35); })()",
    );
    gutter + part * (1200.0 - gutter - 12.0)
}

/// The middle of a row, and the floor of its lane, while nothing is scrolled.
fn place_of_row(page: &mut Page<'_>, diagram: &Diagram, lane: usize, row: u32) -> (f64, f64) {
    let is_task =
        |lane: usize| matches!(diagram.lanes[lane].kind, bifilar_timeline::LaneKind::Task(_));
    let mut floor = page.number("document.querySelector('canvas').getBoundingClientRect().top");
    floor += 26.0 - 13.0 / 2.0;
    for number in 0..=lane {
        floor += f64::from(diagram.lanes[number].rows.max(1)) * 20.0 + 13.0;
        if number > 0 && is_task(number) && !is_task(number - 1) {
            floor += 13.0;
        }
    }
    (floor - f64::from(row) * 20.0 - 10.0, floor)
}

fn page_can_be_searched(browser: &mut Browser, diagram: &Diagram) {
    let mut page = browser.page(1200, 760, 1, false);
    page.open(&url(&folder().join("everything.html")));
    page.key("/");
    for letter in ["w", "r", "i", "t", "e"] {
        page.key(letter);
    }
    let matching = diagram.boxes.iter().filter(|drawn| drawn.label.contains("write"));
    assert_eq!(said(&mut page, "matches"), matching.count() as f64);
    let output = "document.querySelector('#search output').textContent";
    assert_eq!(page.text(output), "2 matches");
    page.key("Enter");
    assert_eq!(page.text(output), "1 of 2");
    let status = page.text("document.getElementById('status').textContent");
    assert!(status.starts_with("write_request · 1.7 µs"), "{status}");
    screenshot(&mut page, "everything-html-search", false, 1);
    page.key("Escape");
    assert_eq!(page.text("document.getElementById('view').dataset.matches"), "");
}

fn page_comes_back_to_its_address(browser: &mut Browser) {
    let mut page = browser.page(1200, 300, 1, false);
    let address = url(&folder().join("everything.html"));
    page.open(&format!("{address}#from=1000&to=9000&top=40&search=read&box=3"));
    let view = ["from", "to", "top", "matches"].map(|what| said(&mut page, what));
    assert_eq!(view, [1000.0, 9000.0, 40.0, 3.0]);
    assert_eq!(page.text("document.getElementById('view').dataset.selected"), "box 3");
    // What makes no sense shows all.
    page.open(&format!("{address}#from=9&to=1&top=x&box=99999&arrow=-1"));
    assert_eq!((said(&mut page, "from"), said(&mut page, "top")), (0.0, 0.0));
    assert_eq!(page.text("document.getElementById('view').dataset.selected"), "");
}

/// Nothing at all, and one moment: neither has a length to divide by.
fn page_of_nothing_opens(browser: &mut Browser) {
    for (name, lines) in
        [("nothing.html", ""), ("moment.html", "thread main\n5 span-begin task=0 span=1 name=a")]
    {
        let path = folder().join(name);
        let diagram = Diagram::from(&parse(lines));
        diagram.write_to(&path).unwrap();
        let mut page = browser.page(800, 400, 1, false);
        page.open(&url(&path));
        for key in ["+", "-", "ArrowRight", "ArrowDown", "Home", "n", "f", "Enter", "Tab"] {
            page.key(key);
        }
        page.wheel(400.0, 200.0, -4_000.0);
        page.click(400.0, 200.0);
        assert_eq!(said(&mut page, "drawn"), diagram.boxes.len() as f64);
        assert_eq!((said(&mut page, "from"), said(&mut page, "to")), (0.0, 1.0));
    }
}

fn page_shows_a_hundred_thousand_boxes(browser: &mut Browser) {
    let path = folder().join("busy.html");
    let diagram = Diagram::from(&busy(1, 20_000, 64)).titled("A busy server");
    diagram.write_to(&path).unwrap();
    assert!(diagram.boxes.len() > 100_000);
    let mut page = browser.page(1200, 900, 1, false);
    page.open(&url(&path));
    assert_eq!(said(&mut page, "boxes"), diagram.boxes.len() as f64);
    screenshot(&mut page, "busy-html", false, 1);
    // Painting all of them is the most there is to do; the median of several.
    let milliseconds = page.number(
        "(async () => {
            const times = [];
            const canvas = document.querySelector('canvas');
            for (let n = 0; n < 15; n++) {
                const frame = () => new Promise(done => requestAnimationFrame(done));
                await frame();
                canvas.dispatchEvent(new WheelEvent('wheel', { deltaY: 1, clientX: 600, clientY: 400, cancelable: true }));
                const start = performance.now();
                await frame();
                await new Promise(done => setTimeout(done));
                times.push(performance.now() - start);
            }
            return times.sort((a, b) => a - b)[7];
        })()",
    );
    eprintln!("{} boxes: {milliseconds:.0} ms a frame", diagram.boxes.len());
    // Some 60 on a quiet machine without a graphics card; the tests share theirs.
    assert!(milliseconds < 1_000.0, "{milliseconds} ms a frame");
    let address = url(&path);
    page.open(&format!("{address}#from=2000000&to=2150000&search=render"));
    assert!(said(&mut page, "drawn") < 2_000.0, "what isn't seen isn't drawn");
    page.open(&format!("{address}#from=2000000&to=2005000"));
    page.key("l");
    let shown = said(&mut page, "shown");
    assert!((4.0..20.0).contains(&shown), "{shown} lanes are lively within five microseconds");
    screenshot(&mut page, "busy-html-lively", false, 1);
    page.key("l");
    assert_eq!(said(&mut page, "shown"), diagram.lanes.len() as f64);
    page.open(&format!("{address}#from=2000000&to=2005000&lanes=lively"));
    assert_eq!(said(&mut page, "shown"), shown);
    page.open(&format!("{address}#from=2000000&to=2150000&search=render"));
    screenshot(&mut page, "busy-html-close", false, 1);
}
