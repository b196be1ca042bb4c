//! `chat serve --record FILE`: what the runtime did of late, drawn at the end and on SIGUSR1.

use std::path::{Path, PathBuf};

use bifilar::timeline::{Diagram, Recorder};
use signal_hook::consts::SIGUSR1;

use super::{Options, Style};
use crate::signals;

/// Events that are kept of each thread, 32 bytes each.
const KEPT: usize = 1 << 14;

/// The recorder of a server, and where it is drawn to.
#[derive(Debug)]
pub struct Flight {
    pub recorder: Recorder,
    path: PathBuf,
}

impl Flight {
    /// Begins, if it was asked for and the style has a runtime.
    ///
    /// # Errors
    ///
    /// A text for the user, when the signal can't be watched.
    pub fn begin(options: &Options) -> Result<Option<Self>, String> {
        let Some(path) = options.record.clone() else { return Ok(None) };
        if matches!(options.style, Style::Threads | Style::Callbacks) {
            tracing::warn!("--record has no effect on the style {}", options.style);
            return Ok(None);
        }
        let recorder = Recorder::new(KEPT);
        let flight = Flight { recorder: recorder.clone(), path: path.clone() };
        signals::on_each(SIGUSR1, move || draw(&recorder, &path))
            .map_err(|error| format!("cannot watch for SIGUSR1: {error}"))?;
        Ok(Some(flight))
    }

    /// Draws what is there.
    pub fn draw(&self) {
        draw(&self.recorder, &self.path);
    }
}

fn draw(recorder: &Recorder, path: &Path) {
    let diagram = Diagram::from(&recorder.snapshot()).titled("chat serve");
    match diagram.write_to(path) {
        Ok(()) => tracing::info!("what ran of late is drawn in {}", path.display()),
        Err(error) => tracing::error!("cannot draw what ran: {}: {error}", path.display()),
    }
}
