//! What goes wrong with an encoder.

use std::{io, process::ExitStatus, time::Duration};

use longtake_ffmpeg::{CommandError, Ending, Ffmpeg, LogTail, classify};
use longtake_process::SpawnError;

use super::{restarts::Failure, run::Job};
use crate::{bitstream::PackageError, nut::NutError, pts::Pts};

/// Why frames cannot be encoded, seen before the first one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EncoderError {
    /// Frames of this layout cannot be handed to ffmpeg.
    #[error("frames in pixel format {name:?} cannot be encoded: convert them to {instead}")]
    PixelFormat {
        /// ffmpeg's name of the layout.
        name: String,
        /// The one that is best for what was asked for.
        instead: String,
    },
    /// Width or height is 0, or a frame is larger than 256 MiB.
    #[error("frames of {width}x{height} pixels cannot be encoded")]
    Size {
        /// Width in pixels.
        width: u32,
        /// Height in pixels.
        height: u32,
    },
}

/// What went wrong with one ffmpeg process.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EncoderFault {
    /// It cannot be started.
    #[error("cannot start the encoder")]
    Start(#[source] SpawnError),
    /// Its command line cannot be made.
    #[error("cannot start the encoder")]
    Command(#[source] CommandError),
    /// Its pipes cannot be used, or there are no threads for them.
    #[error("cannot talk to the encoder")]
    Pipe(#[source] io::Error),
    /// It ended although it should go on.
    #[error("the encoder failed: {cause}")]
    Ended {
        /// Its exit status, unless that is lost.
        status: Option<ExitStatus>,
        /// What it said of the reason, or else its status.
        cause: String,
    },
    /// It took no frame and gave no packet although it lives.
    #[error("the encoder gave nothing for {silent:?}")]
    Hung {
        /// For how long, at least.
        silent: Duration,
    },
    /// Its output is damaged.
    #[error("the encoder's output cannot be read")]
    Output(#[source] NutError),
    /// Its packets make no sense.
    #[error("the encoder's packets cannot be used")]
    Packets(#[source] PackageError),
    /// A packet has the time of no frame that is inside.
    #[error("the encoder gave a packet for {pts}, where no frame waits for one")]
    NotSent {
        /// The packet's time.
        pts: Pts,
    },
}

/// The encoder is not started again. All frames from here on are lost.
#[derive(Debug, thiserror::Error)]
#[error("the encoder is given up")]
pub struct EncoderGone {
    /// How many times it failed, in all.
    pub failures: u64,
    /// The last failure.
    #[source]
    pub source: EncoderFault,
}

impl EncoderFault {
    /// Whether another start could end better than one that ended like this.
    pub(super) const fn failure_to_start(&self) -> Failure {
        match self {
            // The system may have memory, processes and files to give again soon.
            Self::Pipe(_)
            | Self::Start(SpawnError::Resources { .. } | SpawnError::Files { .. }) => {
                Failure::Broken
            }
            _ => Failure::Unstartable,
        }
    }
}

/// Says why ffmpeg ended, from what it logged.
pub(super) fn cause_of_end(job: &Job, status: ExitStatus, log: &LogTail) -> String {
    let ending =
        Ffmpeg::at(&job.program).map(|ffmpeg| classify(status, ffmpeg.version(), false, log));
    let told = match ending {
        Ok(Ending::Failed { kind, cause: None }) => Some(kind.to_string()),
        Ok(Ending::Failed { cause, .. }) => cause.map(|cause| cause.to_string()),
        Ok(Ending::Finished | Ending::Stopped) => None,
        Err(_) => log.errors().next().map(|error| error.to_string()),
    };
    match told {
        // What newer ones say of a format that the encoder does not have.
        Some(told) if told.contains("automatic conversion is disabled") => {
            format!("{} ({status})", job.refused_format())
        }
        Some(told) => format!("{told} ({status})"),
        None => status.to_string(),
    }
}
