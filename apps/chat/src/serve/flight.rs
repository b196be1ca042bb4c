//! `chat serve --record FILE`: what the runtime did of late, drawn on SIGUSR1, when something panics, and
//! at the end.

use bifilar::{Wait, recording::FlightRecorder, timeline::Recorder};
use signal_hook::consts::SIGUSR1;

use super::{Options, Style};

/// Events that are kept of each thread, 32 bytes each.
const KEPT: usize = 1 << 14;

/// Begins, if it was asked for and the style has a runtime.
///
/// # Errors
///
/// A text for the user, when it can't be drawn so, or the signal can't be watched.
pub fn begin(options: &Options) -> Result<Option<FlightRecorder>, String> {
    let Some(path) = &options.record else { return Ok(None) };
    if matches!(options.style, Style::Threads | Style::Callbacks) {
        tracing::warn!("--record has no effect on the style {}", options.style);
        return Ok(None);
    }
    let flight = FlightRecorder::builder(&Recorder::new(KEPT)).on_panic().on_signal(SIGUSR1);
    let flight = flight.write_to(path).map_err(|error| format!("cannot record: {error}"))?;
    Ok(Some(flight))
}

/// Draws what is there, at the end.
pub fn draw(flight: &FlightRecorder) {
    if let Err(error) = flight.write_now().wait() {
        tracing::error!("cannot draw what ran: {error}");
    }
}
