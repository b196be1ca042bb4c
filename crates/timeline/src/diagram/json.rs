//! The little of JSON that is written here: strings and numbers.

use std::fmt::Write;

/// A text as a JSON string, quotes included. `<` is escaped as well, so that the string can stand
/// in a page without ending the element it stands in.
pub(super) fn string(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for letter in text.chars() {
        match letter {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '<' | '\u{0}'..='\u{1f}' | '\u{7f}' | '\u{2028}' | '\u{2029}' => {
                let _ = write!(quoted, "\\u{:04x}", letter as u32); // strings don't fail
            }
            other => quoted.push(other),
        }
    }
    quoted.push('"');
    quoted
}

/// Microseconds with nanoseconds behind the point, exactly, without trailing zeros.
pub(super) fn microseconds(ns: u64) -> String {
    match (ns / 1_000, ns % 1_000) {
        (whole, 0) => whole.to_string(),
        (whole, rest) => format!("{whole}.{rest:03}").trim_end_matches('0').to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_read_back_as_they_were() {
        let every: String =
            (0..0x3000).filter_map(char::from_u32).chain(['🧵', '\u{10ffff}']).collect();
        for text in ["", "read", "a \"b\" \\ c", "</script>", &every] {
            let quoted = string(text);
            assert_eq!(serde_json::from_str::<String>(&quoted).unwrap(), text);
            assert!(!quoted.contains('<') && !quoted.contains('\n'));
        }
    }

    #[test]
    fn microseconds_keep_every_nanosecond() {
        for (ns, text) in [(0, "0"), (1, "0.001"), (1_500, "1.5"), (20_000, "20"), (1_001, "1.001")]
        {
            assert_eq!(microseconds(ns), text);
        }
    }
}
