//! Run ffmpeg and ffprobe as processes: typed commands, exact progress, bounded logs, structured errors.

mod cause;
mod command;
mod concat;
mod failure;
mod ffmpeg;
mod ffprobe;
mod level;
mod listing;
mod log_line;
mod log_tail;
mod mp4;
mod pipes;
mod progress;
mod redact;
mod runner;
mod tool;
mod tracker;
mod version;

pub use command::{Codec, CommandError, FfmpegCommand, Input, Output, Overwrite};
pub use concat::{Bad, BadReason, ConcatError, ConcatList, Difference, Member, Preflight};
pub use failure::{Ending, Kind, classify};
pub use ffmpeg::{Feature, Ffmpeg};
pub use ffprobe::{Ffprobe, MediaInfo, Ratio, StreamInfo, StreamKind};
pub use level::Level;
pub use log_line::LogLine;
pub use log_tail::{Diagnostic, LogTail};
pub use mp4::{FourCc, Mp4, Mp4Damage, Mp4Error, Mp4Track, TrackKind};
pub use progress::{Block, ProgressParser};
pub use redact::redact;
#[cfg(feature = "tokio")]
pub use runner::TokioJob;
pub use runner::{
    Cancel, Canceller, Changes, Failure, Job, Outcome, Partial, Priority, RunError, Runner, Verify,
};
pub use tool::ToolError;
pub use tracker::{Phase, Progress};
pub use version::Version;
