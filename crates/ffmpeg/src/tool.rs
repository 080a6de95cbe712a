//! Running ffmpeg or ffprobe for a short question and taking its answer.

use std::error::Error;
use std::ffi::OsStr;
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use longtake_process::{Command, LineSplitter, Output, SpawnError};

use crate::cause::{self, Finding};
use crate::command::set_environment;
use crate::failure::Kind;
use crate::log_tail::{Diagnostic, LogTail};
use crate::pipes::{Source, Turn, wait_readable};

/// Why ffmpeg or ffprobe did not answer a question.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ToolError {
    /// The program is not there.
    #[error(
        "cannot find {}: install ffmpeg (on Debian and Ubuntu: apt install ffmpeg) or say where it is",
        program.display()
    )]
    NotFound {
        /// The program as it was named.
        program: PathBuf,
    },
    /// The program cannot be started.
    #[error("cannot start {}", program.display())]
    Start {
        /// The program as it was named.
        program: PathBuf,
        /// The reason.
        source: SpawnError,
    },
    /// Our end of the pipes failed.
    #[error("cannot talk to {}", program.display())]
    Pipes {
        /// The program as it was named.
        program: PathBuf,
        /// The reason.
        source: io::Error,
    },
    /// The program did not answer in time and was killed.
    #[error("{} gave no answer within {limit:?}", program.display())]
    Timeout {
        /// The program as it was named.
        program: PathBuf,
        /// The time it was given.
        limit: Duration,
    },
    /// The answer is longer than any sensible one; the program was killed.
    #[error("{} answered more than {max_bytes} bytes", program.display())]
    TooLong {
        /// The program as it was named.
        program: PathBuf,
        /// What would have been read.
        max_bytes: usize,
    },
    /// The program said no.
    #[error("{} failed: {}", program.display(), display_cause(*kind, cause.as_ref()))]
    Failed {
        /// The program as it was named.
        program: PathBuf,
        /// The class of the failure.
        kind: Kind,
        /// The line of its log that tells the reason.
        cause: Option<Diagnostic>,
    },
    /// The program ran, but what it said is not what ffmpeg or ffprobe says.
    #[error("{} does not answer like {expected}", program.display())]
    Unexpected {
        /// The program as it was named.
        program: PathBuf,
        /// `ffmpeg` or `ffprobe`.
        expected: &'static str,
        /// Where its answer cannot be read, for an answer in JSON.
        source: Option<Box<dyn Error + Send + Sync>>,
    },
}

impl ToolError {
    /// The program said no, for the reason that its log tells.
    pub(crate) fn failed(program: &Path, log: &LogTail) -> Self {
        let Finding { kind, cause } = cause::find(log);
        Self::Failed {
            program: program.to_owned(),
            kind: kind.unwrap_or(Kind::Other),
            cause,
        }
    }
}

/// The reason of a failure in one line.
pub(crate) fn display_cause(kind: Kind, cause: Option<&Diagnostic>) -> String {
    cause.map_or_else(|| kind.to_string(), ToString::to_string)
}

/// How long and how much a tool may answer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) time: Duration,
    pub(crate) bytes: usize,
}

/// What a tool answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) exit: ExitStatus,
    pub(crate) stdout: Vec<u8>,
    pub(crate) log: LogTail,
    /// The file that ran, where `/proc` could still tell.
    pub(crate) exe: Option<PathBuf>,
}

/// Runs `program` to its end and takes what it prints.
pub(crate) fn ask(
    program: &Path,
    args: impl IntoIterator<Item = impl AsRef<OsStr>>,
    limits: Limits,
) -> Result<Answer, ToolError> {
    let mut command = Command::new(program);
    command.args(args).stdout(Output::Pipe).stderr(Output::Pipe);
    set_environment(&mut command);
    let named = || program.to_owned();
    let mut child = command.spawn().map_err(|source| match source {
        SpawnError::NotFound { .. } => ToolError::NotFound { program: named() },
        source => ToolError::Start {
            program: named(),
            source,
        },
    })?;
    let exe = std::fs::read_link(format!("/proc/{}/exe", child.pid())).ok();
    let pipes = |source| ToolError::Pipes {
        program: named(),
        source,
    };
    let mut stdout = Source::new(child.take_stdout().expect("stdout is a pipe")).map_err(pipes)?;
    let mut stderr = Source::new(child.take_stderr().expect("stderr is a pipe")).map_err(pipes)?;

    let deadline = Instant::now() + limits.time;
    let mut buffer = vec![0; 64 << 10];
    let (mut answer, mut log, mut lines) = (Vec::new(), LogTail::new(), LineSplitter::default());
    let exit = loop {
        // Asked before reading: what an exited child has written is in the pipes already.
        let exit = child
            .try_wait()
            .map_err(|source| pipes(io::Error::other(source)))?;
        let of_stdout = stdout.read_turn(&mut buffer, |bytes| answer.extend_from_slice(bytes));
        let of_stderr = stderr.read_turn(&mut buffer, |bytes| {
            lines.push(bytes, |line| {
                log.push(line);
            });
        });
        if answer.len() > limits.bytes {
            return Err(ToolError::TooLong {
                program: named(),
                max_bytes: limits.bytes,
            });
        }
        let more = of_stdout == Turn::More || of_stderr == Turn::More;
        if let (Some(exit), false) = (exit, more) {
            break exit;
        }
        if Instant::now() >= deadline {
            return Err(ToolError::Timeout {
                program: named(),
                limit: limits.time,
            });
        }
        if !more {
            let files: Vec<_> = [Some(child.as_fd()), stdout.fd(), stderr.fd()]
                .into_iter()
                .flatten()
                .collect();
            wait_readable(&files, Some(deadline));
        }
    };
    lines.finish(|line| {
        log.push(line);
    });
    Ok(Answer {
        exit,
        stdout: answer,
        log,
        exe,
    })
}
