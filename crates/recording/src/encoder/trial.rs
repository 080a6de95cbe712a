//! Finds out whether an encoder takes its settings before anything depends on it.

use std::time::Duration;

use longtake_ffmpeg::{Ffmpeg, Input, Level, Output, RunError, Runner};

use super::{arguments, settings::EncoderSettings};
use crate::pts::Pts;

/// A trial takes a tenth of a second; what takes so long does not work.
const PATIENCE: Duration = Duration::from_secs(10);

/// An encoder does not take its settings, or ffmpeg does not work.
#[derive(Debug, thiserror::Error)]
#[error("cannot encode with {encoder} and these settings")]
pub struct TrialError {
    /// ffmpeg's name of the encoder.
    pub encoder: &'static str,
    /// What ffmpeg said.
    pub source: RunError,
}

impl EncoderSettings {
    /// Encodes a few small pictures with these settings and throws them away, which takes about a
    /// tenth of a second. So a preset or pixel format that does not exist is found before a recording
    /// begins, and not by its first frame.
    ///
    /// # Errors
    ///
    /// ffmpeg cannot encode with them.
    pub fn try_out(&self, ffmpeg: &Ffmpeg) -> Result<(), TrialError> {
        let picture = format!(
            "color=size=64x64:rate=30:duration=0.1,format={}",
            self.input_format()
        );
        let rate = arguments::nominal_rate(self, None);
        let command = ffmpeg
            .command()
            .log_level(Level::Warning)
            .input(Input::lavfi(picture))
            .output(arguments::encoding(Output::null(), self, rate, Pts::ZERO));
        match Runner::new(command).deadline(PATIENCE).run(|_| {}) {
            Ok(_) => Ok(()),
            Err(source) => Err(TrialError {
                encoder: self.encoder().name(),
                source,
            }),
        }
    }
}
