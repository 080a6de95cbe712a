//! The real ffmpeg, in the version that is installed and in 9.0, against everything that it does
//! unexpectedly.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod cancel;
mod classify;
mod concat;
mod job;
mod log;
mod media;
mod mp4;
mod overwrite;
mod probe;
mod progress;
mod server;
mod signals;
mod streaming;
mod system_calls;
#[cfg(feature = "tokio")]
mod tokio_job;

use std::env;
use std::ffi::OsString;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::thread;
use std::time::{Duration, Instant};

use longtake_ffmpeg::{
    Ending, Ffmpeg, FfmpegCommand, Input, Kind, LogTail, Outcome, RunError, classify,
};
use longtake_process::{Child, LineSplitter};

pub(crate) use self::server::Server;

/// Longer than anything takes here, however busy the machine.
pub(crate) const LONG: Duration = Duration::from_secs(60);

/// The ffmpeg of the system and ffmpeg 9.0.
pub(crate) fn both() -> [Ffmpeg; 2] {
    [Ffmpeg::find().unwrap(), Ffmpeg::at(ffmpeg9()).unwrap()]
}

/// Whether this is the ffmpeg 5.1 that most expectations were noted with.
pub(crate) fn is_old(ffmpeg: &Ffmpeg) -> bool {
    !ffmpeg.version().exits_with_error_number()
}

/// The program of ffmpeg 9.0, which `scripts/setup --tests` installs.
pub(crate) fn ffmpeg9() -> PathBuf {
    if let Some(program) = env::var_os("LONGTAKE_FFMPEG9") {
        return program.into();
    }
    let installed = "../../target/ffmpeg9/imageio_ffmpeg/binaries";
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(installed);
    let programs = fs::read_dir(&folder)
        .into_iter()
        .flatten()
        .filter_map(Result::ok);
    let mut programs =
        programs.filter(|entry| entry.file_name().as_encoded_bytes().starts_with(b"ffmpeg-"));
    match programs.next() {
        Some(program) => program.path(),
        None => panic!(
            "no ffmpeg 9 in {}: run scripts/setup --tests, or set LONGTAKE_FFMPEG9",
            folder.display()
        ),
    }
}

/// What one run of ffmpeg did.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) exit: ExitStatus,
    pub(crate) log: LogTail,
    /// The lines as they came.
    pub(crate) lines: Vec<Vec<u8>>,
}

impl Run {
    /// The class of the failure, if it was one.
    pub(crate) fn kind(&self, ffmpeg: &Ffmpeg, we_signalled: bool) -> Option<Kind> {
        match classify(self.exit, ffmpeg.version(), we_signalled, &self.log) {
            Ending::Failed { kind, .. } => Some(kind),
            Ending::Finished | Ending::Stopped => None,
        }
    }

    pub(crate) fn cause(&self, ffmpeg: &Ffmpeg) -> String {
        match classify(self.exit, ffmpeg.version(), false, &self.log) {
            Ending::Failed {
                cause: Some(cause), ..
            } => cause.to_string(),
            ending => panic!("no cause: {ending:?} {:?}", self.log),
        }
    }
}

/// Runs the command to its end, without the runner.
pub(crate) fn run(command: &FfmpegCommand) -> Run {
    finish(command.to_command().unwrap().spawn().unwrap())
}

/// Reads the log of a child to its end.
pub(crate) fn finish(mut child: Child) -> Run {
    let stderr = child.take_stderr().unwrap();
    finish_reading(child, stderr)
}

/// Reads the rest of the log of a child.
pub(crate) fn finish_reading(mut child: Child, mut stderr: impl Read) -> Run {
    let mut bytes = Vec::new();
    stderr.read_to_end(&mut bytes).unwrap();
    let (mut log, mut lines, mut splitter) = (LogTail::new(), Vec::new(), LineSplitter::default());
    let mut each = |line: longtake_process::Line<'_>| {
        lines.push(line.bytes().to_vec());
        log.push(line);
    };
    splitter.push(&bytes, &mut each);
    splitter.finish(&mut each);
    let exit = child.wait_timeout(LONG).unwrap().expect("ffmpeg ended");
    Run { exit, log, lines }
}

/// A picture source that never ends, as fast as it can be encoded.
pub(crate) fn endless() -> Input {
    Input::lavfi("testsrc2=size=320x240:rate=30")
}

/// So many seconds of pictures.
pub(crate) fn pictures(seconds: u32) -> Input {
    Input::lavfi(format!("testsrc2=size=320x240:rate=30:duration={seconds}"))
}

/// The arguments as a raw command line, for what the builder refuses to say.
pub(crate) fn raw(ffmpeg: &Ffmpeg, args: &[&str]) -> longtake_process::Command {
    use longtake_process::{Command, Output};
    let mut command = Command::new(ffmpeg.program());
    let fixed = [
        "-hide_banner",
        "-nostdin",
        "-nostats",
        "-loglevel",
        "level+info",
    ];
    command.args(
        fixed
            .into_iter()
            .chain(args.iter().copied())
            .map(OsString::from),
    );
    command
        .stdout(Output::Null)
        .stderr(Output::Pipe)
        .env("LC_ALL", "C");
    command
}

/// Waits until `fact` holds.
#[track_caller]
pub(crate) fn wait_until(what: &str, mut fact: impl FnMut() -> bool) {
    let start = Instant::now();
    while !fact() {
        assert!(start.elapsed() < LONG, "waited in vain: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// Class and cause of a job that ffmpeg failed at.
#[track_caller]
pub(crate) fn ending(ended: Result<Outcome, RunError>) -> (Kind, String) {
    let error = ended.unwrap_err();
    let failure = error.failure().unwrap_or_else(|| panic!("{error:?}"));
    (failure.kind, failure.to_string())
}

/// The names in a folder, sorted.
pub(crate) fn names_in(folder: &Path) -> Vec<String> {
    let name =
        |entry: std::io::Result<fs::DirEntry>| entry.unwrap().file_name().into_string().unwrap();
    let mut names: Vec<_> = fs::read_dir(folder).unwrap().map(name).collect();
    names.sort();
    names
}
