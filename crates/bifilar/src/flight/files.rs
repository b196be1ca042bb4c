//! A file for each recording, with a name that no other has.

use super::Trigger;
use bifilar_timeline::{Diagram, Recording};
use std::{
    ffi::OsString,
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

/// As many names are tried for recordings of the same second with the same trigger.
const MOST_NAMES: u32 = 1_000;

/// The ending of recordings as lines of text.
const LINES: &str = "recording";

pub(super) struct Files {
    directory: PathBuf,
    /// What names begin with.
    stem: OsString,
    ending: String,
}

impl Files {
    /// Named after `path`.
    ///
    /// # Errors
    /// `InvalidInput` if its ending stands for no form.
    pub fn new(path: &Path) -> io::Result<Self> {
        let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
        let Some(stem) = path.file_stem().filter(|_| ending == LINES || Diagram::is_form(ending))
        else {
            let path = path.display();
            let message = format!(
                "{path}: recordings can be written as .svg, .html, .json, .txt or .{LINES}"
            );
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        };
        let directory = path.parent().map_or_else(PathBuf::new, Path::to_path_buf);
        Ok(Files { directory, stem: stem.to_owned(), ending: ending.to_owned() })
    }

    /// Writes a new file.
    pub fn write(&self, trigger: &Trigger, recording: &Recording) -> io::Result<()> {
        let text = if self.ending == LINES {
            recording.to_string()
        } else {
            let title = format!("{}: {trigger}", self.stem.display());
            Diagram::from(recording).titled(&title).to_form(&self.ending)?
        };
        let (path, mut file) = self.create(trigger)?;
        if let Err(error) = file.write_all(text.as_bytes()) {
            // Half of it would only take up space.
            let _ = fs::remove_file(&path);
            return Err(named(&path, &error));
        }
        let path = path.display();
        tracing::info!(target: "bifilar::recording", "what ran of late is in {path}: {trigger}");
        Ok(())
    }

    /// A file that was not there before.
    fn create(&self, trigger: &Trigger) -> io::Result<(PathBuf, File)> {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let (time, word) = (utc(since), trigger.word());
        for number in 1..=MOST_NAMES {
            let mut name = self.stem.clone();
            name.push(format!("-{time}-{word}"));
            if number > 1 {
                name.push(format!("-{number}"));
            }
            name.push(format!(".{}", self.ending));
            let path = self.directory.join(name);
            match File::create_new(&path) {
                Ok(file) => return Ok((path, file)),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(named(&path, &error)),
            }
        }
        let message = format!("{MOST_NAMES} recordings of {time} are there already");
        Err(io::Error::new(io::ErrorKind::AlreadyExists, message))
    }
}

fn named(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

/// A time in seconds since 1970 as "20261122T043739Z". Days are counted from 1 March of the year 0, so
/// that leap days come last in their years (Hinnant, "chrono-compatible low-level date algorithms").
fn utc(seconds: u64) -> String {
    let (days, second) = (seconds / 86_400 + 719_468, seconds % 86_400);
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    format!("{year:04}{month:02}{day:02}T{hour:02}{minute:02}{second:02}Z")
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::utc;

    /// By `date -u -d @SECONDS +%Y%m%dT%H%M%SZ`.
    #[test]
    fn dates() {
        for (seconds, expected) in [
            (0, "19700101T000000Z"),
            (951_782_399, "20000228T235959Z"),
            (951_782_400, "20000229T000000Z"),
            (951_868_800, "20000301T000000Z"),
            (1_795_322_340, "20261122T043900Z"),
            (4_107_542_399, "21000228T235959Z"),
            (4_107_542_400, "21000301T000000Z"),
        ] {
            assert_eq!(utc(seconds), expected);
        }
    }
}
