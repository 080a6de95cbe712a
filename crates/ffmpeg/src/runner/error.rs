//! Why a job did not succeed.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

use longtake_process::{SpawnError, StopError};

use crate::command::CommandError;
use crate::failure::Kind;
use crate::log_tail::{Diagnostic, LogTail};
use crate::tool::{ToolError, display_cause};

/// Why a job did not succeed.
///
/// No process of the job is left in any case, but for [`RunError::Stop`]. Whatever was to
/// be written whole is not there, but for what `kept` names.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// The command makes no sense.
    #[error(transparent)]
    Command(#[from] CommandError),
    /// ffmpeg is missing or does not answer.
    #[error(transparent)]
    Tool(#[from] ToolError),
    /// The command uses standard input or output, which a job has not. Start it by
    /// [`FfmpegCommand::to_command`](crate::FfmpegCommand::to_command).
    #[error("a job cannot use {pipe}")]
    Streaming {
        /// `pipe:0` or `pipe:1`.
        pipe: &'static str,
    },
    /// The name of an output does not tell its container.
    #[error("cannot tell the container of {}: set the output's format", path.display())]
    UnknownContainer {
        /// The output.
        path: PathBuf,
    },
    /// An output exists and may not be replaced.
    #[error("output {} exists", path.display())]
    OutputExists {
        /// The output.
        path: PathBuf,
    },
    /// Another job writes the same output.
    #[error("output {} is being written by another job", path.display())]
    OutputBusy {
        /// The output.
        path: PathBuf,
    },
    /// The folder of an output is missing or closed to us.
    #[error("cannot write into the folder of {}", path.display())]
    Output {
        /// The output.
        path: PathBuf,
        /// The reason.
        source: io::Error,
    },
    /// ffmpeg cannot be started.
    #[error("cannot start {}", program.display())]
    Start {
        /// The program as it was named.
        program: PathBuf,
        /// The reason.
        source: SpawnError,
    },
    /// The pipes or the thread of the job cannot be made.
    #[error("no resources left for the job")]
    Resources(#[source] io::Error),
    /// Somebody cancelled the job.
    #[error("the job was cancelled")]
    Cancelled {
        /// Outputs that were finished and kept, as [`Cancel::Finalize`](crate::Cancel) asked.
        kept: Vec<PathBuf>,
    },
    /// Nothing advanced and ffmpeg did not work for as long as was allowed; it was ended.
    #[error("the job stood still for {limit:?}: {failure}")]
    Stalled {
        /// What was allowed.
        limit: Duration,
        /// What ffmpeg said.
        failure: Box<Failure>,
    },
    /// The job took longer than it was given; it was ended.
    #[error("the job took longer than {limit:?}")]
    Deadline {
        /// What was allowed.
        limit: Duration,
        /// What ffmpeg said.
        failure: Box<Failure>,
    },
    /// ffmpeg failed.
    #[error("ffmpeg failed: {failure}")]
    Failed {
        /// How and why.
        failure: Box<Failure>,
    },
    /// ffmpeg ended as if all were well, but the output does not play as long as it should.
    #[error("the output plays {got:?} instead of {}: {failure}", Wanted(*expected))]
    Incomplete {
        /// How long it should play, if that was known.
        expected: Option<Duration>,
        /// How long it plays.
        got: Duration,
        /// What ffmpeg said.
        failure: Box<Failure>,
    },
    /// The output is whole, but could not be put in its place.
    #[error("cannot put {} in its place", path.display())]
    Commit {
        /// The output.
        path: PathBuf,
        /// The reason.
        source: io::Error,
    },
    /// ffmpeg lives on after SIGKILL, in a system call that does not return; or how it ended is
    /// lost.
    #[error("cannot tell how ffmpeg ended")]
    Stop(#[source] StopError),
}

/// What is known of a job that did not succeed.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Failure {
    /// The class of the failure.
    pub kind: Kind,
    /// How ffmpeg ended.
    pub exit: ExitStatus,
    /// The line of the log that tells the reason.
    pub cause: Option<Diagnostic>,
    /// The log.
    pub log: LogTail,
    /// Outputs that play as far as they go and were kept, as [`Partial::Keep`](crate::Partial)
    /// asked.
    pub kept: Vec<PathBuf>,
}

impl RunError {
    /// What ffmpeg said, if it ran and failed.
    #[must_use]
    pub fn failure(&self) -> Option<&Failure> {
        match self {
            Self::Stalled { failure, .. }
            | Self::Deadline { failure, .. }
            | Self::Failed { failure }
            | Self::Incomplete { failure, .. } => Some(failure),
            _ => None,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&display_cause(self.kind, self.cause.as_ref()))
    }
}

/// An expected duration for people.
struct Wanted(Option<Duration>);

impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(expected) => write!(f, "{expected:?}"),
            None => f.write_str("some time"),
        }
    }
}
