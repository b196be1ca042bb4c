//! The colours, once for light and once for dark surroundings.
//!
//! Colour tells what something is doing, never who it is: blue runs, orange is in a system call,
//! green is on the blocking pool; what waits is pale, purple is ready but has no worker, and a red cross
//! is a panic. The
//! hues are those of Okabe and Ito, which people who see fewer colours can tell apart, toned down
//! so that dark text stands well on the light ones and light text on the dark ones; and each kind
//! of waiting also has a pattern of its own.

/// Name, light, dark.
type Colour = (&'static str, &'static str, &'static str);

pub(super) const COLOURS: [Colour; 19] = [
    ("ground", "#ffffff", "#15181c"),
    ("stripe", "#f6f7f9", "#1b1f24"),
    ("grid", "#e3e7ec", "#2b3138"),
    ("ink", "#1c2430", "#e6e9ee"),
    ("faint", "#5f6b7a", "#98a3b1"),
    ("task", "#a9c5e2", "#33567d"),
    ("task-edge", "#6f97c0", "#5c88b8"),
    ("span", "#cfe0f2", "#274463"),
    ("span-edge", "#8db0d3", "#4d7199"),
    ("call", "#f6bd6a", "#8a5410"),
    ("call-edge", "#cf8a1d", "#d2902f"),
    ("pool", "#9ad7bd", "#1d6a50"),
    ("pool-edge", "#4ca782", "#3c9d79"),
    ("parked", "#eef1f4", "#20252b"),
    ("parked-edge", "#d3d9e0", "#373f48"),
    ("wait", "#8a99aa", "#8492a2"),
    ("ready", "#b05c94", "#d78bbd"),
    ("arrow", "#4b3f72", "#b9a9e6"),
    ("broken", "#c2410c", "#ff9466"),
];

/// Declarations of all colours as CSS variables: `--task: #a9c5e2;` and so on.
pub(super) fn variables(dark: bool) -> String {
    let colours = COLOURS
        .iter()
        .map(|(name, light, dimmed)| format!("--{name}: {};", if dark { dimmed } else { light }));
    colours.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Relative luminance as the Web Content Accessibility Guidelines define it.
    fn luminance(colour: &str) -> f64 {
        let channel = |at: usize| {
            let value = f64::from(u8::from_str_radix(&colour[at..at + 2], 16).unwrap()) / 255.0;
            if value <= 0.04045 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
        };
        0.2126 * channel(1) + 0.7152 * channel(3) + 0.0722 * channel(5)
    }

    fn contrast(one: &str, other: &str) -> f64 {
        let (one, other) = (luminance(one) + 0.05, luminance(other) + 0.05);
        if one > other { one / other } else { other / one }
    }

    #[test]
    fn text_can_be_read_on_every_ground() {
        let find = |name| COLOURS.iter().find(|colour| colour.0 == name).unwrap();
        let ink = find("ink");
        for ground in ["ground", "stripe", "task", "span", "call", "pool", "parked"] {
            let ground = find(ground);
            assert!(contrast(ink.1, ground.1) >= 4.5, "{ground:?}");
            assert!(contrast(ink.2, ground.2) >= 4.5, "{ground:?} {}", contrast(ink.2, ground.2));
        }
        let faint = find("faint");
        for ground in ["ground", "stripe"] {
            let ground = find(ground);
            assert!(contrast(faint.1, ground.1) >= 4.5 && contrast(faint.2, ground.2) >= 4.5);
        }
    }
}
