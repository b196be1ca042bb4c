//! Writing a picture to a file, in the form that its name asks for.

use super::Diagram;
use std::path::Path;
use std::{fs, io};

type Draw = fn(&Diagram) -> String;

const FORMS: [(&str, Draw); 4] = [
    ("svg", Diagram::svg),
    ("html", Diagram::html),
    ("json", Diagram::trace_json),
    ("txt", |diagram| diagram.text(COLUMNS)),
];

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
        let picture = self.to_form(ending).map_err(|error| {
            io::Error::new(error.kind(), format!("{}: {error}", path.display()))
        })?;
        fs::write(path, picture)
    }

    /// The picture in the form that files with this ending have: `svg`, `html`, `json` (trace events)
    /// or `txt` (120 columns).
    ///
    /// ```
    /// # use bifilar_timeline::{Diagram, Recorder};
    /// let diagram = Diagram::from(&Recorder::new(16).snapshot());
    /// assert_eq!(diagram.to_form("svg")?, diagram.svg());
    /// assert!(diagram.to_form("png").is_err());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::InvalidInput`] for another ending.
    pub fn to_form(&self, ending: &str) -> io::Result<String> {
        let Some((_, draw)) = FORMS.iter().find(|(form, _)| form.eq_ignore_ascii_case(ending))
        else {
            let message = "a diagram can be written as .svg, .html, .json or .txt";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        };
        Ok(draw(self))
    }

    /// Whether [`to_form`](Diagram::to_form) knows files with this ending.
    ///
    /// ```
    /// # use bifilar_timeline::Diagram;
    /// assert!(Diagram::is_form("HTML") && !Diagram::is_form("png"));
    /// ```
    pub fn is_form(ending: &str) -> bool {
        FORMS.iter().any(|(form, _)| form.eq_ignore_ascii_case(ending))
    }
}
