//! The layers of `crates/bifilar/src`: the table, and the check of the sources against it.
//!
//! ```text
//!   lib
//!   runtime            a module may import what stands on a lower line;
//!   net  fs  …         modules of one line see each other only where PEERS says so
//!   …
//!   primitives
//! ```
//!
//! Counted are paths that begin with `crate` or `super`, in code and in macro bodies, and that lead
//! into another module of the crate's root. Comments, strings, documentation and code under
//! `cfg(test)` don't count: tests may look wherever they need to. The table stands here only;
//! ARCHITECTURE.md repeats it between the marks `<!-- layers -->` and `<!-- /layers -->`, and the
//! check compares the two.

use std::{fs, path::Path};

use crate::modules::{self, Import, ROOT};

/// From top to bottom. `lib` stands for the crate's root and whatever it re-exports.
const LAYERS: &[&[&str]] = &[
    &[ROOT, "prelude", "task", "select", "recording"],
    &["runtime"],
    &["net", "fs", "process", "signal", "blocking"],
    &["scope", "fiber", "metrics"],
    &["scheduler"],
    &["wait"],
    &["reactor", "time", "flight"],
    &["sync", "race"],
    &["context", "cell"],
    &["record", "console", "entered", "on_signal"],
    &["primitives"],
];

/// Imports between modules of one line that are wanted: (who, whom).
const PEERS: &[(&str, &str)] = &[
    (ROOT, "prelude"),
    // What its macros name is what users can name.
    ("select", ROOT),
    ("prelude", ROOT),
    ("net", "blocking"),
    ("fs", "blocking"),
    ("process", "signal"),
    ("scope", "fiber"),
    // The timers bound the reactor's sleep; a sleep finds the timers in its worker's reactor.
    ("reactor", "time"),
    ("time", "reactor"),
    // The spans of tasks are not to be moved with the program's own.
    ("console", "entered"),
    // The context names the current task's cell; a cell sets the context while it is polled.
    ("context", "cell"),
    ("cell", "context"),
];

/// The imports in the crate `bifilar` below `root` that the table forbids, one line each.
pub fn check(root: &Path) -> Result<Vec<String>, String> {
    let imports = modules::imports(&root.join("crates/bifilar/src/lib.rs"))?;
    let mut faults: Vec<String> = imports.iter().filter_map(|import| fault(import, root)).collect();
    if let Ok(text) = fs::read_to_string(root.join("ARCHITECTURE.md")) {
        faults.extend(mirror_fault(&text));
    }
    Ok(faults)
}

/// Why `import` is forbidden, or nothing.
fn fault(import: &Import, root: &Path) -> Option<String> {
    let Import { from, to, path, file, line } = import;
    let file = file.strip_prefix(root).unwrap_or(file).display();
    let place = format!("{file}:{line}: `{from}` imports `{path}`");
    let (Some(from_layer), Some(to_layer)) = (layer(from), layer(to)) else {
        let unknown = if layer(from).is_none() { from } else { to };
        return Some(format!(
            "{place}, but `{unknown}` is not in the table of xtask/src/layers.rs"
        ));
    };
    if from_layer < to_layer || PEERS.contains(&(from, to)) {
        return None;
    }
    let reason = if from_layer == to_layer {
        format!("`{to}` stands beside it, and PEERS doesn't list the pair")
    } else {
        format!("`{to}` stands above it")
    };
    Some(format!("{place}, but {reason}"))
}

/// How far from the top `module` stands.
fn layer(module: &str) -> Option<usize> {
    LAYERS.iter().position(|line| line.contains(&module))
}

/// The table as ARCHITECTURE.md shows it.
fn picture() -> String {
    LAYERS.iter().map(|line| line.join(" · ") + "\n").collect()
}

/// What is wrong with the copy of the table in `text`, if it has one.
fn mirror_fault(text: &str) -> Option<String> {
    let (_, rest) = text.split_once("<!-- layers -->")?;
    let copy = rest.split_once("<!-- /layers -->").map_or(rest, |(copy, _)| copy);
    let lines = |text: &str| -> Vec<String> {
        text.lines()
            .map(|line| line.trim().to_string())
            .filter(|line| !line.is_empty() && !line.starts_with("```"))
            .collect()
    };
    let wanted = picture();
    (lines(copy) != lines(&wanted))
        .then(|| format!("ARCHITECTURE.md: the list of layers should read\n{wanted}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    fn import(from: &str, to: &str) -> Option<String> {
        let import = Import {
            from: from.to_string(),
            to: to.to_string(),
            path: format!("crate::{to}::X"),
            file: PathBuf::from("/r/crates/bifilar/src/x.rs"),
            line: 7,
        };
        fault(&import, Path::new("/r"))
    }

    #[test]
    fn who_may_import_whom() {
        for (from, to) in [
            (ROOT, "net"),
            ("runtime", "scheduler"),
            ("net", "reactor"),
            ("net", "blocking"),
            ("scope", "fiber"),
            ("cell", "primitives"),
        ] {
            assert_eq!(import(from, to), None, "{from} → {to}");
        }
        for (from, to, reason) in [
            ("net", ROOT, "`lib` stands above it"),
            ("wait", "scheduler", "`scheduler` stands above it"),
            ("primitives", "sync", "`sync` stands above it"),
            ("fiber", "scope", "PEERS doesn't list the pair"),
            ("blocking", "net", "PEERS doesn't list the pair"),
            ("gadget", "sync", "`gadget` is not in the table"),
            ("net", "gadget", "`gadget` is not in the table"),
        ] {
            let text = import(from, to).unwrap_or_else(|| panic!("{from} → {to} passed"));
            assert!(text.contains(reason), "{text}");
            assert!(text.starts_with("crates/bifilar/src/x.rs:7: "), "{text}");
        }
    }

    #[test]
    fn every_module_stands_once() {
        let mut all: Vec<_> = LAYERS.iter().flat_map(|line| line.iter()).collect();
        let count = all.len();
        all.sort();
        all.dedup();
        assert_eq!(all.len(), count);
        for (from, to) in PEERS {
            assert_eq!(layer(from), layer(to), "{from}, {to}: PEERS is for one line only");
        }
    }

    #[test]
    fn the_copy_is_compared() {
        let good = format!("x\n<!-- layers -->\n```text\n{}```\n<!-- /layers -->\ny", picture());
        assert_eq!(mirror_fault(&good), None);
        assert_eq!(mirror_fault("a text without the mark"), None);
        assert!(mirror_fault(&good.replace("scheduler\n", "")).is_some());
    }

    #[test]
    fn a_planted_violation_is_found() {
        let root = std::env::temp_dir().join(format!("xtask-layers-{}", std::process::id()));
        let source = root.join("crates/bifilar/src");
        fs::create_dir_all(source.join("wait")).unwrap();
        fs::write(source.join("lib.rs"), "mod wait; mod scheduler; pub use wait::Wait;").unwrap();
        fs::write(source.join("scheduler.rs"), "use crate::wait::suspend;").unwrap();
        fs::write(source.join("wait/mod.rs"), "mod park;\npub trait Wait {}").unwrap();
        fs::write(
            source.join("wait/park.rs"),
            "// crate::net\nuse super::super::scheduler::Worker;",
        )
        .unwrap();
        let faults = check(&root).unwrap();
        fs::remove_dir_all(&root).unwrap();
        assert_eq!(
            faults,
            [
                "crates/bifilar/src/wait/park.rs:2: `wait` imports `super::super::scheduler::Worker`, \
              but `scheduler` stands above it"
            ]
        );
    }
}
