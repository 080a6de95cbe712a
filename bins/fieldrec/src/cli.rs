//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use longtake_recording::Moment;

use crate::{
    config::{SensorConfig, VideoConfig},
    units::{Size, Span},
};

/// Records cameras and sensors into crash-safe chunks, and recovers, exports and inspects them.
#[derive(Debug, Parser)]
#[command(version, arg_required_else_help = true, after_help = EXIT_CODES)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
    #[command(flatten)]
    pub(crate) logs: longtake_service::LogArgs,
}

const EXIT_CODES: &str = "\
Exit codes: 0 done, 1 failed, 2 wrong usage.

Try it without a camera:
  fieldrec record --video front=testsrc:640x400@30 --sensor imu=fake-imu:100 \\
                  --output recordings --duration 5s";

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Record cameras and sensors until stopped.
    Record(RecordArgs),
    /// Make what a crash left behind whole again. In a folder of recordings, those that are in use are
    /// left alone.
    Recover(RecoverArgs),
    /// Copy a recording, or a range of it, into one file, without re-encoding.
    Export(ExportArgs),
    /// Show what a recording really holds.
    Inspect(InspectArgs),
}

const RECORD_HELP: &str = "\
Sources of --video:
  testsrc:WxH@FPS      ffmpeg's test picture, in real time
  v4l2:/dev/videoN     a camera that Linux knows
  rtsp://HOST/PATH     a network camera; its video is copied, not encoded again
  file:PATH            a video file in real time; copied, not encoded again
KEYs of --video:
  codec=libx264|libx265|ffv1|mjpeg|copy   bitrate=2M   pixel-format=yuv420p
  preset=superfast   tune=zerolatency     fps=15
  input-size=1280x720   input-fps=30      input-format=mjpeg    (what a v4l2 camera is asked for)
  Only trailing ,KEY=VALUE with one of these keys is split off, so a URL may hold commas.
Sources of --sensor:
  fake-imu:HZ          a made-up accelerometer and gyroscope
  jsonl:PATH           one JSON object a line, from a file to its end, or from a named pipe as
                       they come; each gets the time at which it was read
  jsonl:-              one JSON object a line, from standard input

One Ctrl-C (SIGINT) or SIGTERM stops in order: everything captured is written. A second one stops
at once; `fieldrec recover DIR` then makes the recording whole.";

/// `fieldrec record`
#[derive(Debug, Args)]
#[command(after_help = RECORD_HELP)]
pub(crate) struct RecordArgs {
    /// A camera; may be given several times
    #[arg(long, value_name = "NAME=SOURCE[,KEY=VALUE…]")]
    pub(crate) video: Vec<VideoConfig>,
    /// A sensor; may be given several times
    #[arg(long, value_name = "NAME=SOURCE")]
    pub(crate) sensor: Vec<SensorConfig>,
    /// The folder that gets one folder a recording; it is made if it does not exist
    #[arg(long, short, value_name = "DIR", env = "FIELDREC_OUTPUT")]
    pub(crate) output: Option<PathBuf>,
    /// How long a chunk is [default: 60s]
    #[arg(long, value_name = "TIME", env = "FIELDREC_CHUNK_LENGTH")]
    pub(crate) chunk_length: Option<Span>,
    /// Stop by itself after this long [default: record until stopped]
    #[arg(long, value_name = "TIME", env = "FIELDREC_DURATION")]
    pub(crate) duration: Option<Span>,
    /// How much of each stream may wait in memory [default: 64MiB]
    #[arg(long, value_name = "SIZE", env = "FIELDREC_QUEUE_BYTES")]
    pub(crate) queue_bytes: Option<Size>,
    /// A TOML file that says the same and more; flags win over it
    #[arg(long, value_name = "FILE", env = "FIELDREC_CONFIG")]
    pub(crate) config: Option<PathBuf>,
    /// Print one JSON event a line on standard output
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) programs: ProgramArgs,
}

/// Which ffmpeg and ffprobe to run.
#[derive(Debug, Args)]
pub(crate) struct ProgramArgs {
    /// The ffmpeg to run [default: the one in PATH]
    #[arg(long, value_name = "PATH", env = "FIELDREC_FFMPEG")]
    pub(crate) ffmpeg: Option<PathBuf>,
    /// The ffprobe to run [default: the one in PATH]
    #[arg(long, value_name = "PATH", env = "FIELDREC_FFPROBE")]
    pub(crate) ffprobe: Option<PathBuf>,
}

/// `fieldrec recover`
#[derive(Debug, Args)]
pub(crate) struct RecoverArgs {
    /// A recording's folder, or a folder of recordings
    #[arg(value_name = "DIR")]
    pub(crate) folder: PathBuf,
    /// Print the report as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

const EXPORT_HELP: &str = "\
A T is session time in seconds, such as 12.5, or a wall-clock time such as 2026-09-04T12:03:20Z.
The range begins with the last keyframe of each stream at or before --from, and ends before --to.";

/// `fieldrec export`
#[derive(Debug, Args)]
#[command(after_help = EXPORT_HELP)]
pub(crate) struct ExportArgs {
    /// The recording's folder
    #[arg(value_name = "RECORDING")]
    pub(crate) recording: PathBuf,
    /// The file to write
    #[arg(long, short, value_name = "FILE.mkv")]
    pub(crate) output: PathBuf,
    /// Where to begin [default: the beginning]
    #[arg(long, value_name = "T", allow_hyphen_values = true)]
    pub(crate) from: Option<Moment>,
    /// Where to end [default: the end]
    #[arg(long, value_name = "T", allow_hyphen_values = true)]
    pub(crate) to: Option<Moment>,
    /// Replace FILE.mkv if it exists
    #[arg(long)]
    pub(crate) overwrite: bool,
    /// Print the report as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// `fieldrec inspect`
#[derive(Debug, Args)]
pub(crate) struct InspectArgs {
    /// A recording's folder, or one .mkv or .part file
    #[arg(value_name = "PATH")]
    pub(crate) path: PathBuf,
    /// Print what was found as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }
}
