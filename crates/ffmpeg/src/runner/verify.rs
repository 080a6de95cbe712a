//! Measuring what was really written.

use std::path::Path;
use std::time::Duration;

use super::container;
use crate::command::Input;
use crate::ffprobe::Ffprobe;
use crate::mp4::Mp4;
use crate::tool::ToolError;

/// What a file plays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Measured {
    /// So long.
    Plays(Duration),
    /// Nothing: it is damaged, or no media came.
    Nothing,
    /// No time at all, as a picture does.
    Picture,
    /// Nobody can tell: there is no ffprobe, or the container does not say.
    Unknown,
}

/// Measures a file of the container `muxer`; ffprobe is asked where we cannot read it ourselves.
pub(super) fn measure(path: &Path, muxer: &str, ffprobe: &Ffprobe) -> Measured {
    if container::is_picture(muxer) {
        return Measured::Picture;
    }
    if container::is_iso_media(muxer) {
        return match Mp4::open(path) {
            Ok(mp4) if !mp4.duration.is_zero() => Measured::Plays(mp4.duration),
            Ok(_) | Err(_) => Measured::Nothing,
        };
    }
    match ffprobe.probe(&Input::file(path)) {
        Ok(media) => media.duration.map_or(Measured::Unknown, Measured::Plays),
        Err(ToolError::Failed { .. }) => Measured::Nothing,
        Err(error) => {
            let path = path.display();
            tracing::warn!(%error, %path, "the duration of an output is not measured");
            Measured::Unknown
        }
    }
}

/// Whether what is there of a file can be played.
pub(super) fn is_playable(path: &Path, muxer: &str) -> bool {
    if container::is_iso_media(muxer) {
        return Mp4::open(path).is_ok_and(|mp4| !mp4.duration.is_zero());
    }
    path.metadata().is_ok_and(|file| file.len() > 0)
}
