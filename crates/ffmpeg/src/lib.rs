//! Runs ffmpeg and ffprobe as processes: typed commands, exact progress, bounded logs, and errors that
//! name the true cause.
//!
//! ffmpeg stays outside: when it crashes, the program that embeds this does not.
//!
//! ```
//! use std::time::Duration;
//!
//! use longtake_ffmpeg::{Codec, Ffmpeg, Input, Output, Runner};
//!
//! # let folder = tempfile::tempdir()?;
//! # let clip = folder.path().join("clip.mp4");
//! let command = Ffmpeg::find()?
//!     .command()
//!     .input(Input::lavfi("testsrc2=size=160x120:rate=25").duration(Duration::from_secs(1)))
//!     .output(Output::file(&clip).video_codec(Codec::encoder("libx264")));
//! let outcome = Runner::new(command)
//!     .expect(Duration::from_secs(1))
//!     .run(|progress| println!("{:?} {:?}", progress.phase, progress.percent))?;
//! assert_eq!(outcome.outputs, [clip]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! From the outside in:
//!
//! - [`Ffmpeg`] and [`Ffprobe`] find the programs and ask what they can do.
//! - [`FfmpegCommand`], [`Input`] and [`Output`] build a command line in which every option stands
//!   where it must. It also serves streaming jobs that have no end, such as an encoder.
//! - [`Runner`] runs a job to its end: progress, stall, deadline, cancel, an output that is whole or not
//!   there. With the feature `tokio` there are futures over the same thread.
//! - [`Mp4`], [`ConcatList`] and [`Preflight`] look at segments before they are joined.
//! - Pure parts, for those who run ffmpeg by themselves: [`ProgressParser`], [`LogLine`], [`LogTail`],
//!   [`classify`].

mod ffmpeg;
mod ffprobe;
mod version;

mod command;

mod runner;
mod tracker;

mod progress;

mod level;
mod log_line;
mod log_tail;

mod cause;
mod failure;

mod concat;
mod mp4;

mod listing;
mod pipes;
mod tool;

pub use command::{Codec, CommandError, FfmpegCommand, Input, Output, Overwrite};
pub use concat::{Bad, BadReason, ConcatError, ConcatList, Difference, Member, Preflight};
pub use failure::{Ending, Kind, classify};
pub use ffmpeg::{Feature, Ffmpeg};
pub use ffprobe::{Ffprobe, MediaInfo, Ratio, StreamInfo, StreamKind};
pub use level::Level;
pub use log_line::LogLine;
pub use log_tail::{Diagnostic, LogTail};
pub use longtake_process::redact;
pub use mp4::{FourCc, Mp4, Mp4Damage, Mp4Error, Mp4Track, TrackKind};
pub use progress::{Block, ProgressParser};
#[cfg(feature = "tokio")]
pub use runner::TokioJob;
pub use runner::{
    Cancel, Canceller, Changes, Failure, Job, Outcome, Partial, Priority, RunError, Runner, Verify,
};
pub use tool::ToolError;
pub use tracker::{Phase, Progress};
pub use version::Version;
