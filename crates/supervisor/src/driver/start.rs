//! Starting a run, on a thread where that may block.

use std::error::Error;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use longtake_process::{Child, Command, Input, Output, SpawnError};
use tokio::sync::{Notify, Semaphore};
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::timeout;

use crate::output::{OutputMode, StdinMode};
use crate::run::{Files, Run, Taken};
use crate::spec::ChildSpec;

/// How many children of this process are started at once: more would only take more threads, each with memory of
/// its own.
static STARTS: Semaphore = Semaphore::const_new(4);

/// How long a start holds up those that wait for their turn. One that takes longer hangs, at an exec from a disk
/// that does, say; it keeps its thread, and the others go on.
const TURN: Duration = Duration::from_secs(1);

/// A start under way. If it is dropped, what was started is killed.
pub(super) struct Starting {
    done: JoinHandle<Result<Started, NotStarted>>,
    call_back: Arc<Notify>,
    hangs_at: Option<Instant>,
}

/// What was started.
pub(super) struct Started {
    pub(super) run: Box<Run>,
    pub(super) taken: Taken,
}

/// Why nothing was started.
#[derive(Debug)]
pub(super) enum NotStarted {
    /// It was not wanted any more before it had begun.
    CalledBack,
    Failed {
        reason: String,
        errno: Option<i32>,
    },
}

impl Starting {
    /// Begins to start a run.
    pub(super) fn begin(spec: ChildSpec, run: u64) -> Self {
        let call_back = Arc::new(Notify::new());
        let called_back = Arc::clone(&call_back);
        let done = tokio::spawn(async move {
            let turn = tokio::select! {
                biased;
                () = called_back.notified() => return Err(NotStarted::CalledBack),
                turn = STARTS.acquire() => turn,
            };
            let mut start = spawn_blocking(move || try_start(&spec, run));
            let started = match timeout(TURN, &mut start).await {
                Ok(started) => started,
                Err(_) => {
                    drop(turn);
                    start.await
                }
            };
            // A panic in the function that builds the command is an answer too.
            started.unwrap_or_else(|error| {
                Err(NotStarted::Failed {
                    reason: format!("the command was not built: {error}"),
                    errno: None,
                })
            })
        });
        Self {
            done,
            call_back,
            hangs_at: None,
        }
    }

    /// Waits until it is done.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe. Not to be called again after the answer.
    pub(super) async fn done(&mut self) -> Result<Started, NotStarted> {
        (&mut self.done).await.unwrap_or_else(|error| {
            Err(NotStarted::Failed {
                reason: format!("the start was given up: {error}"),
                errno: None,
            })
        })
    }

    /// It is not wanted any more: if it has not begun, it shall not. If it has, it is said to hang after this
    /// time.
    pub(super) fn call_back(&mut self, hangs_after: Duration) {
        self.call_back.notify_one();
        let hangs_at = tokio::time::Instant::now()
            .into_std()
            .checked_add(hangs_after);
        self.hangs_at = self.hangs_at.or(hangs_at);
    }

    /// When it is to be said that it hangs.
    pub(super) fn hangs_at(&self) -> Option<Instant> {
        self.hangs_at
    }

    /// That was said.
    pub(super) fn forget_to_hang(&mut self) {
        self.hangs_at = None;
    }
}

fn try_start(spec: &ChildSpec, run: u64) -> Result<Started, NotStarted> {
    let mut command = (spec.build)();
    command
        .stdin(input(spec.stdin))
        .stdout(output(spec.stdout))
        .stderr(output(spec.stderr));
    let waiting = spec
        .readiness
        .prepare(&mut command, spec.hang.silence_after())?;
    log_argv(spec, &command);
    let mut child = command.spawn()?;
    match Files::open(&mut child, spec) {
        Ok((files, taken)) => Ok(Started {
            run: Box::new(Run::new(run, child, files, waiting, spec)),
            taken,
        }),
        Err(error) => {
            end_for_sure(spec, &mut child);
            Err(error.into())
        }
    }
}

/// Ends a child that nobody can wait for. Nothing is started in its place as long as this takes.
fn end_for_sure(spec: &ChildSpec, child: &mut Child) {
    while let Err(error) = child.kill() {
        tracing::warn!(child = %spec.name, error = &error as &dyn Error, "half-started child not killed");
        std::thread::sleep(Duration::from_secs(1));
    }
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

fn output(mode: OutputMode) -> Output {
    match mode {
        OutputMode::Log | OutputMode::Take => Output::Pipe,
        OutputMode::Inherit => Output::Inherit,
        OutputMode::Null => Output::Null,
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
        let (reason, errno) = explained(&error);
        Self::Failed {
            reason,
            errno: errno.or(known),
        }
    }
}

impl From<io::Error> for NotStarted {
    fn from(error: io::Error) -> Self {
        let (reason, errno) = explained(&error);
        Self::Failed { reason, errno }
    }
}

/// The whole chain of causes, and the kernel's number where it stands.
fn explained(error: &(dyn Error + 'static)) -> (String, Option<i32>) {
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
    (reason, errno)
}
