//! Which crate may depend on which: the table, and the check of the manifests against it.
//!
//! Looks at every kind of dependency (normal, build, dev) between crates of this workspace, and at
//! no others. What a module may import inside `bifilar` is the business of [`crate::layers`].

use serde_json::Value;

/// Each crate of the workspace with the crates of the workspace that it may depend on.
const EDGES: &[(&str, &[&str])] = &[
    // The leaves: usable alone, so none of them knows another.
    ("bifilar-coroutine", &[]),
    ("bifilar-events", &[]),
    ("bifilar-timeline", &[]),
    // Its examples run in a runtime; cargo itself refuses any but a dev dependency here.
    ("bifilar-macros", &["bifilar"]),
    ("bifilar", &["bifilar-coroutine", "bifilar-events", "bifilar-timeline", "bifilar-macros"]),
    ("bifilar-compat", &["bifilar"]),
    ("bifilar-console", &["bifilar"]),
    ("bifilar-chat", &["bifilar", "bifilar-compat", "bifilar-events", "bifilar-timeline"]),
    ("bifilar-get", &["bifilar", "bifilar-compat", "bifilar-timeline"]),
    ("xtask", &[]),
];

/// The dependencies in `metadata` (what `cargo metadata --no-deps` prints) that the table doesn't
/// allow, one line each.
pub fn check(metadata: &Value) -> Result<Vec<String>, String> {
    let packages = metadata["packages"].as_array().ok_or("cargo metadata lists no packages")?;
    let mut faults = Vec::new();
    for package in packages {
        let name = package["name"].as_str().unwrap_or_default();
        let Some((_, allowed)) = EDGES.iter().find(|(from, _)| *from == name) else {
            faults.push(format!("{name}: not in the table of xtask/src/crates.rs; add a line"));
            continue;
        };
        let dependencies = package["dependencies"].as_array().map_or(&[][..], Vec::as_slice);
        for dependency in dependencies {
            let to = dependency["name"].as_str().unwrap_or_default();
            let ours = EDGES.iter().any(|(from, _)| *from == to);
            if ours && !allowed.contains(&to) {
                let kind = dependency["kind"].as_str().unwrap_or("normal");
                faults.push(format!("{name}: may not depend on {to} ({kind} dependency)"));
            }
        }
    }
    Ok(faults)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn edges_against_the_table_are_named() {
        let metadata = json!({"packages": [
            {"name": "bifilar-events", "dependencies": [
                {"name": "libc", "kind": null},
                {"name": "bifilar-timeline", "kind": "dev"},
            ]},
            {"name": "bifilar", "dependencies": [{"name": "bifilar-events", "kind": null}]},
            {"name": "bifilar-new", "dependencies": []},
        ]});
        assert_eq!(
            check(&metadata).unwrap(),
            [
                "bifilar-events: may not depend on bifilar-timeline (dev dependency)",
                "bifilar-new: not in the table of xtask/src/crates.rs; add a line",
            ]
        );
    }
}
