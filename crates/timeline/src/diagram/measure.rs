//! How wide a text is, without a font: an upper bound for the sans-serif fonts that pictures ask
//! for, so that a text that is said to fit does fit.

/// Width of a text in pixels, when the font is `size` pixels high.
pub(super) fn width(text: &str, size: f64) -> f64 {
    text.chars().map(ems).sum::<f64>() * size
}

/// In units of the font's height; DejaVu Sans is the widest of the usual fonts.
fn ems(letter: char) -> f64 {
    match letter {
        'i' | 'j' | 'l' | '\'' | '|' | ' ' | '.' | ',' | ':' | ';' | '!' | 'I' => 0.34,
        'f' | 't' | 'r' | '(' | ')' | '[' | ']' | '/' | '-' => 0.42,
        'm' | 'w' | 'M' | 'W' | '%' | '@' | '…' | '—' | '→' => 1.0,
        'a'..='z' | '0'..='9' | '_' | '·' | '?' | '"' | '*' => 0.64,
        'A'..='Z' | '+' | '=' | '<' | '>' | '&' | '#' | '~' | '{' | '}' => 0.84,
        'À'..='ɏ' | 'Ͱ'..='ӿ' => 0.9,
        _ => 1.35, // wide scripts and pictures
    }
}

/// As much of a text as fits into `room` pixels, with an ellipsis where it is cut; `None` if
/// fewer than two letters would be left.
pub(super) fn fit(text: &str, room: f64, size: f64) -> Option<String> {
    if width(text, size) <= room {
        return Some(text.to_owned()).filter(|text| !text.is_empty());
    }
    let room = room - width("…", size);
    let mut kept = String::new();
    let mut used = 0.0;
    for letter in text.chars() {
        used += ems(letter) * size;
        if used > room {
            break;
        }
        kept.push(letter);
    }
    (kept.chars().count() >= 2).then(|| kept.trim_end().to_owned() + "…")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_cut_or_left_out() {
        for (text, room, fitted) in [
            ("read", 100.0, Some("read")),
            ("read", 26.0, Some("read")),
            ("read_to_string", 60.0, Some("read_to…")),
            ("read", 5.0, None),
            ("", 100.0, None),
            ("x", 100.0, Some("x")),
            ("go on and on", 48.0, Some("go on…")),
        ] {
            assert_eq!(fit(text, room, 11.0).as_deref(), fitted, "{text} {room}");
            assert!(fitted.is_none_or(|fitted| width(fitted, 11.0) <= room), "{text} {room}");
        }
    }
}
