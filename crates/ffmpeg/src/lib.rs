//! Run ffmpeg and ffprobe as processes: typed commands, exact progress, bounded logs, structured errors.

mod command;
mod level;
mod log_line;
mod progress;
mod redact;
mod version;

pub use command::{Codec, CommandError, FfmpegCommand, Input, Output, Overwrite};
pub use level::Level;
pub use log_line::LogLine;
pub use progress::{Block, ProgressParser};
pub use redact::redact;
pub use version::Version;
