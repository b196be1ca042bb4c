//! Writing a picture to a file, in the form that its name asks for.

use super::Diagram;
use std::path::Path;
use std::{fs, io};

/// Width of a text that is written to a file.
const COLUMNS: usize = 120;

impl Diagram {
    /// Writes the picture to a file; what comes after the last point of its name says in which
    /// form: `svg`, `html`, `json` (trace events) or `txt` (120 columns).
    ///
    /// ```
    /// # use bifilar_timeline::{Diagram, Recorder};
    /// let diagram = Diagram::from(&Recorder::new(16).snapshot());
    /// let error = diagram.write_to("picture.png").unwrap_err();
    /// assert_eq!(
    ///     error.to_string(),
    ///     "picture.png: a diagram can be written as .svg, .html, .json or .txt"
    /// );
    /// ```
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::InvalidInput`] for another ending, before anything is written; and those of
    /// [`std::fs::write`].
    pub fn write_to(&self, path: impl AsRef<Path>) -> io::Result<()> {
        let path = path.as_ref();
        let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
        let picture = match ending.to_ascii_lowercase().as_str() {
            "svg" => self.svg(),
            "html" => self.html(),
            "json" => self.trace_json(),
            "txt" => self.text(COLUMNS),
            _ => {
                let path = path.display();
                let message =
                    format!("{path}: a diagram can be written as .svg, .html, .json or .txt");
                return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
            }
        };
        fs::write(path, picture)
    }
}
