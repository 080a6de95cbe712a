//! Starting a run, on a thread where that may block.

use std::error::Error;
use std::io;

use longtake_process::{Child, Command, Input, Output, SpawnError};
use tokio::sync::Semaphore;
use tokio::task::{JoinError, JoinHandle, spawn_blocking};

use crate::output::{StdinMode, StdoutMode};
use crate::readiness::Waiting;
use crate::spec::ChildSpec;

/// How many children of this process are started at once: an exec from a disk that hangs holds up one thread
/// of the runtime's, and must not take them all.
static STARTS: Semaphore = Semaphore::const_new(8);

/// What was started.
pub(super) struct Started {
    pub(super) child: Child,
    pub(super) waiting: Waiting,
}

/// Why nothing was started.
#[derive(Debug)]
pub(super) struct NotStarted {
    pub(super) reason: String,
    pub(super) errno: Option<i32>,
}

/// Begins to start a run. If the handle is dropped first, what was started is killed.
pub(super) fn start(spec: ChildSpec) -> JoinHandle<Result<Started, NotStarted>> {
    tokio::spawn(async move {
        let _turn = STARTS.acquire().await;
        let started = spawn_blocking(move || try_start(&spec)).await;
        flatten(started)
    })
}

/// A panic in the function that builds the command is an answer too.
pub(super) fn flatten(
    result: Result<Result<Started, NotStarted>, JoinError>,
) -> Result<Started, NotStarted> {
    result.unwrap_or_else(|error| {
        Err(NotStarted {
            reason: format!("the command was not built: {error}"),
            errno: None,
        })
    })
}

fn try_start(spec: &ChildSpec) -> Result<Started, NotStarted> {
    let mut command = (spec.build)();
    command
        .stdin(input(spec.stdin))
        .stdout(output(spec.stdout))
        .stderr(output(spec.stderr));
    let waiting = spec.readiness.prepare(&mut command)?;
    log_argv(spec, &command);
    let child = command.spawn()?;
    Ok(Started { child, waiting })
}

fn log_argv(spec: &ChildSpec, command: &Command) {
    if tracing::enabled!(tracing::Level::INFO) {
        let argv = spec.redaction.apply_args(&command.argv());
        tracing::info!(child = %spec.name, %argv, "starting child");
    }
}

fn input(mode: StdinMode) -> Input {
    match mode {
        StdinMode::Null => Input::Null,
        StdinMode::Inherit => Input::Inherit,
        StdinMode::Control | StdinMode::Data => Input::Pipe,
    }
}

fn output(mode: StdoutMode) -> Output {
    match mode {
        StdoutMode::Log | StdoutMode::Take => Output::Pipe,
        StdoutMode::Inherit => Output::Inherit,
        StdoutMode::Null => Output::Null,
    }
}

impl From<SpawnError> for NotStarted {
    fn from(error: SpawnError) -> Self {
        // What was found out before the kernel was asked has the number that it would have given.
        let known = match &error {
            SpawnError::NotFound { .. } | SpawnError::ToolMissing { .. } => Some(nix::libc::ENOENT),
            SpawnError::NotPrivileged { .. } => Some(nix::libc::EPERM),
            _ => None,
        };
        let mut this = Self::of(&error);
        this.errno = this.errno.or(known);
        this
    }
}

impl From<io::Error> for NotStarted {
    fn from(error: io::Error) -> Self {
        Self {
            errno: error.raw_os_error(),
            ..Self::of(&error)
        }
    }
}

impl NotStarted {
    /// The whole chain of causes, and the kernel's number where it stands.
    fn of(error: &(dyn Error + 'static)) -> Self {
        let chain = std::iter::successors(Some(error), |&error| error.source());
        let mut reason = String::new();
        let mut errno = None;
        for error in chain {
            if !reason.is_empty() {
                reason.push_str(": ");
            }
            reason.push_str(&error.to_string());
            let io = error.downcast_ref::<io::Error>();
            errno = errno.or(io.and_then(io::Error::raw_os_error));
        }
        Self { reason, errno }
    }
}
