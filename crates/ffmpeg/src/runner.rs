//! Running one ffmpeg job to its end: whole output or none, progress, and a reason if it fails.

mod conclude;
mod container;
mod drive;
mod error;
mod job;
mod replaced;
mod shared;
mod shutdown;
mod staged;
mod stall;
#[cfg(feature = "tokio")]
mod tokio_job;
mod verify;

use std::io::{self, PipeReader};
use std::panic::{self, AssertUnwindSafe};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use longtake_process::{IoPriority, SpawnError, Usage};

use self::conclude::Conclusion;
use self::drive::{Bounds, Driver};
pub use self::error::{Failure, RunError};
use self::job::spawn_thread;
pub use self::job::{Canceller, Changes, Job};
use self::shared::Shared;
use self::staged::Staged;
#[cfg(feature = "tokio")]
pub use self::tokio_job::TokioJob;
use crate::command::{FfmpegCommand, Target};
use crate::ffmpeg::Ffmpeg;
use crate::ffprobe::Ffprobe;
use crate::log_tail::Diagnostic;
use crate::tracker::{Progress, Tracker};

/// Runs an [`FfmpegCommand`] that writes files to its end.
///
/// Every output that is one file is written beside its place and renamed when ffmpeg has
/// succeeded and the file plays as long as expected; then it is on the disk. Otherwise nothing is
/// left of it. An output that exists is replaced only with
/// [`Overwrite::Replace`](crate::Overwrite::Replace); for an [`Output::pattern`](crate::Output::pattern)
/// that is any file of its name or of its name with some number, looked for before the start. Names
/// that a muxer makes up, such as those of the segments of a playlist, or from the time are not
/// looked for.
///
/// ```
/// use longtake_ffmpeg::{FfmpegCommand, Input, Output, Runner};
/// use std::time::Duration;
///
/// # let dir = tempfile::tempdir()?;
/// # let clip = dir.path().join("clip.mp4");
/// let command = FfmpegCommand::new()
///     .input(Input::lavfi("testsrc2=size=320x240:rate=30:duration=2"))
///     .output(Output::file(&clip));
/// let outcome = Runner::new(command)
///     .expect(Duration::from_secs(2))
///     .run(|progress| println!("{:?} {:?} %", progress.phase, progress.percent))?;
/// assert_eq!(outcome.duration, Some(Duration::from_secs(2)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Runner {
    command: FfmpegCommand,
    expected: Option<Duration>,
    verify: Verify,
    partial: Partial,
    priority: Priority,
    stall_after: Option<Duration>,
    deadline: Option<Duration>,
    progress_every: Duration,
    write_in_place: bool,
    ffprobe: Option<Ffprobe>,
}

/// How the output of a successful ffmpeg is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verify {
    /// It must play something; and, if a duration is expected, so long.
    Duration {
        /// How far it may be off, up and down.
        tolerance: Duration,
    },
    /// It is not looked at.
    Off,
}

/// What becomes of a part of the output when a job fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Partial {
    /// It is removed.
    #[default]
    Discard,
    /// If it can be played it is put in its place, and the error names it. A job that stalls or is
    /// late gets time to finish its file.
    Keep,
}

/// How a job competes with other programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Priority {
    /// Like any program.
    #[default]
    Normal,
    /// It runs when nobody else wants the CPU or the disk.
    Low,
}

/// How a job is cancelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cancel {
    /// ffmpeg is killed, and what it wrote is removed. Takes milliseconds.
    Discard,
    /// ffmpeg is asked to finish its files, and what can be played is kept. After `grace` it is
    /// asked again, which ends an input that blocks but may cost an MP4 its index; after `grace`
    /// once more it is killed.
    Finalize {
        /// How long to wait after each step. Encoders with much lookahead take seconds.
        grace: Duration,
    },
}

/// What a successful job did.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Outcome {
    /// The files that were written.
    pub outputs: Vec<PathBuf>,
    /// How long the shortest of them plays, if that was measured.
    pub duration: Option<Duration>,
    /// Errors and warnings that ffmpeg logged nevertheless, such as damage in an input.
    pub warnings: Vec<Diagnostic>,
    /// What ffmpeg took of the machine.
    pub usage: Usage,
    /// How long it all took.
    pub elapsed: Duration,
}

impl Runner {
    /// A runner for `command`, with a normal priority and no limits.
    #[must_use]
    pub const fn new(command: FfmpegCommand) -> Self {
        Self {
            command,
            expected: None,
            verify: Verify::Duration {
                tolerance: Duration::from_millis(500),
            },
            partial: Partial::Discard,
            priority: Priority::Normal,
            stall_after: None,
            deadline: None,
            progress_every: Duration::from_millis(500),
            write_in_place: false,
            ffprobe: None,
        }
    }

    /// Sets how long every output should play. Percent, ETA and the check of the output need it.
    #[must_use]
    pub const fn expect(mut self, duration: Duration) -> Self {
        self.expected = Some(duration);
        self
    }

    /// Sets how the output is checked. Default: a tolerance of 0.5 s.
    #[must_use]
    pub const fn verify(mut self, verify: Verify) -> Self {
        self.verify = verify;
        self
    }

    /// Sets what becomes of the output when the job fails. Default: [`Partial::Discard`].
    #[must_use]
    pub const fn partial(mut self, partial: Partial) -> Self {
        self.partial = partial;
        self
    }

    /// Sets how the job competes with other programs. Default: [`Priority::Normal`].
    #[must_use]
    pub const fn priority(mut self, priority: Priority) -> Self {
        self.priority = priority;
        self
    }

    /// Ends the job when for this long no value advances and ffmpeg does not work either; it may
    /// take half as long again to notice. Default: never.
    #[must_use]
    pub const fn stall_after(mut self, limit: Duration) -> Self {
        self.stall_after = Some(limit);
        self
    }

    /// Ends the job when it takes longer than this. Default: never.
    #[must_use]
    pub const fn deadline(mut self, limit: Duration) -> Self {
        self.deadline = Some(limit);
        self
    }

    /// Sets how often ffmpeg tells its progress, from 4.4 on. Default: 0.5 s.
    #[must_use]
    pub const fn progress_every(mut self, period: Duration) -> Self {
        self.progress_every = period;
        self
    }

    /// Lets ffmpeg write each output where it belongs, where others see it grow. What a failed job
    /// leaves there stays there.
    #[must_use]
    pub const fn write_in_place(mut self) -> Self {
        self.write_in_place = true;
        self
    }

    /// Sets the ffprobe that measures outputs other than MP4. Default: the one beside ffmpeg.
    /// Without any, what ffmpeg itself said is believed.
    #[must_use]
    pub fn ffprobe(mut self, ffprobe: Ffprobe) -> Self {
        self.ffprobe = Some(ffprobe);
        self
    }

    /// Runs the job, and calls `on_progress` with the newest progress whenever there is a newer.
    ///
    /// It is called on this thread, and a slow one does not hold ffmpeg back. When it panics, the
    /// job is finished all the same, and then the panic goes on.
    ///
    /// # Errors
    ///
    /// When the job does not succeed, see [`RunError`].
    ///
    /// # Panics
    ///
    /// When `on_progress` does.
    pub fn run(self, mut on_progress: impl FnMut(&Progress)) -> Result<Outcome, RunError> {
        let job = self.spawn()?;
        let told = panic::catch_unwind(AssertUnwindSafe(|| {
            for progress in job.changes() {
                on_progress(&progress);
            }
        }));
        let outcome = job.wait();
        match told {
            Ok(()) => outcome,
            Err(panic) => panic::resume_unwind(panic),
        }
    }

    /// Starts the job.
    ///
    /// # Errors
    ///
    /// When it cannot be started. What happens later is told by [`Job::wait`].
    pub fn spawn(self) -> Result<Job, RunError> {
        let mut tracker = Tracker::new(self.expected, Instant::now());
        let shared = Arc::new(Shared::new(tracker.clone()).map_err(RunError::Resources)?);
        let (driver, conclusion) = self.start()?;
        let pid = driver.pid();
        let thread = spawn_thread(Arc::clone(&shared), move |shared| {
            let ended = driver.run(&mut tracker, shared)?;
            conclusion.conclude(ended, &mut tracker, shared)
        })?;
        Ok(Job::new(shared, thread, pid))
    }

    /// Finds ffmpeg, makes the parts of the outputs, and starts it.
    fn start(mut self) -> Result<(Driver, Conclusion), RunError> {
        if self.command.reads_stdin() {
            return Err(RunError::Streaming { pipe: "pipe:0" });
        }
        if self.command.writes_stdout() {
            return Err(RunError::Streaming { pipe: "pipe:1" });
        }
        self.command.args()?;
        replaced::refuse(&self.command)?;
        let started = Instant::now();
        let ffmpeg = Ffmpeg::at(self.command.program())?;
        let (staged, in_place) = if self.write_in_place {
            (Vec::new(), self.in_place())
        } else {
            (Staged::redirect(&mut self.command)?, Vec::new())
        };
        let (child, progress) = self.start_ffmpeg(&ffmpeg)?;
        let bounds = Bounds {
            stall_after: self.stall_after,
            deadline: self.deadline,
            partial: self.partial,
        };
        let driver = Driver::new(child, progress, bounds)?;
        let conclusion = Conclusion {
            version: ffmpeg.version().clone(),
            ffprobe: self
                .ffprobe
                .unwrap_or_else(|| Ffprobe::beside(ffmpeg.program())),
            staged,
            in_place,
            expected: self.expected,
            verify: self.verify,
            bounds,
            started,
        };
        Ok((driver, conclusion))
    }

    /// Outputs that are one file and are written where they belong, with their containers.
    fn in_place(&self) -> Vec<(PathBuf, String)> {
        let files = self
            .command
            .outputs()
            .iter()
            .filter_map(|output| match output.target() {
                Target::File(path) => {
                    let named = output.container().or_else(|| container::muxer_of(path));
                    Some((path.clone(), named.unwrap_or_default().to_owned()))
                }
                _ => None,
            });
        files.collect()
    }

    fn start_ffmpeg(
        &self,
        ffmpeg: &Ffmpeg,
    ) -> Result<(longtake_process::Child, PipeReader), RunError> {
        let (reader, writer) = io::pipe().map_err(RunError::Resources)?;
        let period = ffmpeg
            .version()
            .has_stats_period()
            .then_some(self.progress_every);
        let mut command = self
            .command
            .to_command_with_progress(writer.into(), period)?;
        if self.priority == Priority::Low {
            command.nice(19).io_priority(IoPriority::Idle);
        }
        let child = command
            .spawn()
            .map_err(|source: SpawnError| RunError::Start {
                program: ffmpeg.program().to_owned(),
                source,
            })?;
        Ok((child, reader))
    }
}
