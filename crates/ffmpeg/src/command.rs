//! Typed building of an ffmpeg command line.
//!
//! ffmpeg gives an option a meaning by its place: before an input it belongs to the input, after
//! it to the next output. Here every option is stored with what it belongs to, and the order is
//! made once, in [`FfmpegCommand::args`]. Nothing is ever split at blanks.

mod input;
mod options;
mod output;

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use longtake_process::{self as process, redact_args};

pub use self::input::Input;
use self::options::Options;
pub(crate) use self::output::Target;
pub use self::output::{Codec, Output};
use crate::level::Level;

/// Options that this crate sets itself, exactly once; given again among raw arguments they would
/// silently win over ours, for instance take the progress away.
const RESERVED: [&str; 12] = [
    "hide_banner",
    "loglevel",
    "n",
    "nostats",
    "nostdin",
    "progress",
    "report",
    "stats",
    "stats_period",
    "stdin",
    "v",
    "y",
];

/// Why a command cannot be put into arguments.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CommandError {
    /// ffmpeg needs at least one input.
    #[error("the ffmpeg command has no input")]
    NoInput,
    /// ffmpeg needs at least one output.
    #[error("the ffmpeg command has no output")]
    NoOutput,
    /// A file name or an address is empty.
    #[error("an input or output of the ffmpeg command has an empty name")]
    EmptyName,
    /// An argument holds a NUL byte, which no program argument can.
    #[error("ffmpeg argument {argument:?} holds a NUL byte")]
    NulByte {
        /// The argument, redacted.
        argument: String,
    },
    /// A raw argument repeats an option that only the builder may set.
    #[error(
        "ffmpeg option {option} is set by the command builder, remove it from the raw arguments"
    )]
    Reserved {
        /// The option with its dash.
        option: String,
    },
    /// Two inputs read standard input, or two outputs write standard output.
    #[error("{pipe} is used twice in the ffmpeg command")]
    PipeUsedTwice {
        /// `pipe:0` or `pipe:1`.
        pipe: &'static str,
    },
}

/// What ffmpeg does with an output file that exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Overwrite {
    /// It is left alone and ffmpeg ends (`-n`). The files of an [`Output::pattern`] are looked after
    /// by the [`Runner`](crate::Runner) only: ffmpeg itself replaces them.
    #[default]
    Refuse,
    /// It is written over (`-y`).
    Replace,
}

/// An ffmpeg command line under construction.
///
/// The same builder serves jobs with a [`Runner`](crate::Runner) and streaming jobs without one,
/// such as an encoder that reads Matroska from its standard input and writes NUT to its output.
///
/// Its `Debug` and `Display` forms show the command line with all secrets replaced by `***`.
/// Secrets in arguments are still visible to other users of the machine in `/proc`.
///
/// ```
/// use longtake_ffmpeg::{Codec, FfmpegCommand, Input, Output};
///
/// let command = FfmpegCommand::new()
///     .input(Input::stdin("matroska").option("probesize", "32"))
///     .output(Output::stdout("nut").video_codec(Codec::encoder("libx264")).option("preset", "superfast"));
/// assert!(command.to_string().ends_with(
///     "-f matroska -probesize 32 -i pipe:0 -c:v libx264 -preset superfast -f nut pipe:1"
/// ));
/// # Ok::<(), longtake_ffmpeg::CommandError>(())
/// ```
#[derive(Clone)]
pub struct FfmpegCommand {
    program: PathBuf,
    log_level: Level,
    overwrite: Overwrite,
    global: Options,
    filter_complex: Option<String>,
    inputs: Vec<Input>,
    outputs: Vec<Output>,
}

/// Where the progress goes: a descriptor of the child, and how often.
#[derive(Debug, Clone, Copy)]
struct Progress {
    fd: i32,
    period: Option<Duration>,
}

impl FfmpegCommand {
    /// A command for the `ffmpeg` that is found in `PATH` when it is started.
    #[must_use]
    pub fn new() -> Self {
        Self::at("ffmpeg")
    }

    /// A command for the ffmpeg at `program`.
    #[must_use]
    pub fn at(program: impl Into<PathBuf>) -> Self {
        Self {
            program: program.into(),
            log_level: Level::Info,
            overwrite: Overwrite::default(),
            global: Options::default(),
            filter_complex: None,
            inputs: Vec::new(),
            outputs: Vec::new(),
        }
    }

    /// Adds an input. Inputs are numbered from 0 in the order of these calls.
    #[must_use]
    pub fn input(mut self, input: Input) -> Self {
        self.inputs.push(input);
        self
    }

    /// Adds an output.
    #[must_use]
    pub fn output(mut self, output: Output) -> Self {
        self.outputs.push(output);
        self
    }

    /// Sets the least severe level that ffmpeg still logs. Default: [`Level::Info`].
    ///
    /// At `Warning` the line that announces the second pass of `faststart` is lost, and with it
    /// [`Phase::Finalizing`](crate::Phase::Finalizing).
    #[must_use]
    pub const fn log_level(mut self, level: Level) -> Self {
        self.log_level = level;
        self
    }

    /// Says what happens to an output file that exists. Default: [`Overwrite::Refuse`].
    #[must_use]
    pub const fn overwrite(mut self, overwrite: Overwrite) -> Self {
        self.overwrite = overwrite;
        self
    }

    /// Sets a filter graph over several inputs or outputs (`-filter_complex`).
    #[must_use]
    pub fn filter_complex(mut self, graph: impl Into<String>) -> Self {
        self.filter_complex = Some(graph.into());
        self
    }

    /// Sets a global option, such as `("filter_threads", "2")`; `name` goes without its dash.
    #[must_use]
    pub fn global_option(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.global.set(name, value);
        self
    }

    /// Adds raw global arguments, such as `["-copyts"]`, each passed as it is.
    #[must_use]
    pub fn global_args<A: Into<OsString>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.global.extend(args);
        self
    }

    /// The program that will be started.
    #[must_use]
    pub fn program(&self) -> &Path {
        &self.program
    }

    /// The arguments, without the program, in the order that ffmpeg needs.
    ///
    /// # Errors
    ///
    /// When a part is missing or something cannot be expressed, see [`CommandError`].
    pub fn args(&self) -> Result<Vec<OsString>, CommandError> {
        self.checked_args(None)
    }

    /// The command as a child process.
    ///
    /// Standard input and output are pipes where the command uses them and null otherwise, the
    /// log is a pipe. Messages are in English and without colours whatever the environment says.
    ///
    /// # Errors
    ///
    /// As [`FfmpegCommand::args`].
    pub fn to_command(&self) -> Result<process::Command, CommandError> {
        let mut command = self.bare_command();
        command.args(self.args()?);
        Ok(command)
    }

    /// The command as a child process that writes its progress into `sink`, every `period` or at
    /// its default of 0.5 s.
    ///
    /// ffmpeg before 4.4 refuses a period, see
    /// [`Version::has_stats_period`](crate::Version::has_stats_period). Whoever asks for
    /// progress must read it to the end: ffmpeg stands still once the pipe is full. The runner
    /// does all of this.
    ///
    /// # Errors
    ///
    /// As [`FfmpegCommand::args`].
    pub fn to_command_with_progress(
        &self,
        sink: OwnedFd,
        period: Option<Duration>,
    ) -> Result<process::Command, CommandError> {
        let mut command = self.bare_command();
        let fd = command.pass_fd(sink);
        command.args(self.checked_args(Some(Progress { fd, period }))?);
        Ok(command)
    }

    pub(crate) fn outputs(&self) -> &[Output] {
        &self.outputs
    }

    pub(crate) fn outputs_mut(&mut self) -> &mut [Output] {
        &mut self.outputs
    }

    pub(crate) fn force_overwrite(&mut self) {
        self.overwrite = Overwrite::Replace;
    }

    pub(crate) fn overwrites(&self) -> bool {
        self.overwrite == Overwrite::Replace
    }

    pub(crate) fn reads_stdin(&self) -> bool {
        self.inputs.iter().any(Input::is_stdin)
    }

    pub(crate) fn writes_stdout(&self) -> bool {
        self.outputs.iter().any(Output::is_stdout)
    }

    fn bare_command(&self) -> process::Command {
        use process::{Input as Stdin, Output as Stdout};
        let stdin = if self.reads_stdin() {
            Stdin::Pipe
        } else {
            Stdin::Null
        };
        let stdout = if self.writes_stdout() {
            Stdout::Pipe
        } else {
            Stdout::Null
        };
        let mut command = process::Command::new(&self.program);
        command.stdin(stdin).stdout(stdout).stderr(Stdout::Pipe);
        set_environment(&mut command);
        command
    }

    fn checked_args(&self, progress: Option<Progress>) -> Result<Vec<OsString>, CommandError> {
        self.check_parts()?;
        let args = self.ordered(progress);
        match args.iter().find(|arg| arg.as_bytes().contains(&0)) {
            None => Ok(args),
            Some(arg) => Err(CommandError::NulByte {
                argument: redact_args(std::slice::from_ref(arg)),
            }),
        }
    }

    fn check_parts(&self) -> Result<(), CommandError> {
        if self.inputs.is_empty() {
            return Err(CommandError::NoInput);
        }
        if self.outputs.is_empty() {
            return Err(CommandError::NoOutput);
        }
        if self.inputs.iter().any(Input::is_nameless)
            || self.outputs.iter().any(Output::is_nameless)
        {
            return Err(CommandError::EmptyName);
        }
        if self.inputs.iter().filter(|input| input.is_stdin()).count() > 1 {
            return Err(CommandError::PipeUsedTwice { pipe: "pipe:0" });
        }
        if self
            .outputs
            .iter()
            .filter(|output| output.is_stdout())
            .count()
            > 1
        {
            return Err(CommandError::PipeUsedTwice { pipe: "pipe:1" });
        }
        let of_inputs = self.inputs.iter().map(Input::options);
        let of_outputs = self.outputs.iter().map(Output::options);
        for options in of_inputs.chain(of_outputs).chain([&self.global]) {
            if let Some(option) = options.names().find(|name| is_reserved(name)) {
                return Err(CommandError::Reserved {
                    option: option.to_string_lossy().into_owned(),
                });
            }
        }
        Ok(())
    }

    fn ordered(&self, progress: Option<Progress>) -> Vec<OsString> {
        let mut args: Vec<OsString> = Vec::with_capacity(32);
        args.extend(["-hide_banner", "-nostdin", "-nostats", "-loglevel"].map(OsString::from));
        args.push(format!("level+{}", self.log_level).into());
        if let Some(progress) = progress {
            if let Some(period) = progress.period {
                push_option(&mut args, "-stats_period", seconds(period));
            }
            push_option(&mut args, "-progress", format!("pipe:{}", progress.fd));
        }
        args.push(if self.overwrites() {
            "-y".into()
        } else {
            "-n".into()
        });
        self.global.push_to(&mut args);
        for input in &self.inputs {
            input.push_to(&mut args);
        }
        if let Some(graph) = &self.filter_complex {
            push_option(&mut args, "-filter_complex", graph);
        }
        for output in &self.outputs {
            output.push_to(&mut args);
        }
        args
    }
}

impl Default for FfmpegCommand {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Display for FfmpegCommand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = [self.program.clone().into_os_string()]
            .into_iter()
            .chain(self.ordered(None));
        f.write_str(&redact_args(&words.collect::<Vec<_>>()))
    }
}

impl fmt::Debug for FfmpegCommand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FfmpegCommand({self})")
    }
}

/// Makes messages English and colourless, and keeps ffmpeg from writing a report file.
pub(crate) fn set_environment(command: &mut process::Command) {
    command
        .env("LC_ALL", "C")
        .env("AV_LOG_FORCE_NOCOLOR", "1")
        .env_remove("FFREPORT");
}

/// A duration in the form that every time option of ffmpeg takes, to the microsecond.
pub(crate) fn seconds(duration: Duration) -> String {
    format!("{}.{:06}", duration.as_secs(), duration.subsec_micros())
}

/// A path that ffmpeg takes for a file whatever its name is.
///
/// ffmpeg would take `12:30:00.mp4` for an address with the scheme `12`, and `-x` for an option.
pub(crate) fn file_name(path: &Path) -> OsString {
    let bytes = path.as_os_str().as_bytes();
    if bytes.starts_with(b"-") || bytes.contains(&b':') {
        let mut name = OsString::from("file:");
        name.push(path);
        name
    } else {
        path.as_os_str().to_owned()
    }
}

fn push_option(args: &mut Vec<OsString>, name: &str, value: impl AsRef<OsStr>) {
    args.push(name.into());
    args.push(value.as_ref().to_owned());
}

fn is_reserved(name: &OsStr) -> bool {
    let Some(name) = name.as_bytes().strip_prefix(b"-") else {
        return false;
    };
    RESERVED.iter().any(|reserved| reserved.as_bytes() == name)
}

#[cfg(test)]
mod tests;
