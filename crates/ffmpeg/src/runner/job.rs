//! A job under way: its progress, cancelling it, and waiting for its end.

use std::panic;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::shared::{News, Shared};
use super::{Cancel, Outcome, RunError};
use crate::tracker::Progress;

/// How long dropping a job waits for ffmpeg to be gone. It takes milliseconds.
const DROP_WITHIN: Duration = Duration::from_secs(5);

/// A running job.
///
/// Dropping it cancels with [`Cancel::Discard`] and waits for the milliseconds that it takes.
#[derive(Debug)]
pub struct Job {
    shared: Arc<Shared>,
    thread: Option<JobThread>,
    pid: u32,
}

/// The thread of a job, which ends with its result.
pub(super) type JobThread = JoinHandle<Result<Outcome, RunError>>;

/// Cancels a job from anywhere; holding it does not keep the job.
#[derive(Debug, Clone)]
pub struct Canceller {
    shared: Arc<Shared>,
}

/// The progress of a job as it comes: an iterator that ends with the job.
///
/// Whoever is slow gets the newest progress, without those in between.
#[derive(Debug, Clone)]
pub struct Changes {
    shared: Arc<Shared>,
    seen: u64,
}

impl Job {
    pub(super) fn new(shared: Arc<Shared>, thread: JobThread, pid: u32) -> Self {
        Self {
            shared,
            thread: Some(thread),
            pid,
        }
    }

    /// The process id of ffmpeg.
    #[must_use]
    pub const fn pid(&self) -> u32 {
        self.pid
    }

    /// The newest progress.
    #[must_use]
    pub fn progress(&self) -> Progress {
        self.shared.progress()
    }

    /// The progress from now on.
    #[must_use]
    pub fn changes(&self) -> Changes {
        Changes {
            shared: Arc::clone(&self.shared),
            seen: 0,
        }
    }

    /// Cancels the job; [`Job::wait`] tells when it is over. Cancelling again does nothing, but a
    /// discard outdoes a finalize.
    pub fn cancel(&self, cancel: Cancel) {
        self.shared.cancel(cancel);
    }

    /// A handle that cancels the job from elsewhere.
    #[must_use]
    pub fn canceller(&self) -> Canceller {
        Canceller {
            shared: Arc::clone(&self.shared),
        }
    }

    /// Whether the job is over, so that [`Job::wait`] answers at once.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.shared.is_over()
    }

    /// Waits for the end of the job: ffmpeg is gone and the output is in its place, or not.
    ///
    /// # Errors
    ///
    /// When the job did not succeed, see [`RunError`].
    ///
    /// # Panics
    ///
    /// When the thread of the job did: a bug of this crate.
    pub fn wait(mut self) -> Result<Outcome, RunError> {
        let thread = self.thread.take().expect("only wait and drop take it");
        join(thread)
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        let Some(thread) = self.thread.take() else {
            return;
        };
        self.shared.cancel(Cancel::Discard);
        if !self.shared.wait_over(DROP_WITHIN) {
            tracing::warn!(pid = self.pid, "a dropped job does not end");
            return;
        }
        if thread.join().is_err() {
            tracing::error!(pid = self.pid, "the thread of a dropped job panicked");
        }
    }
}

impl Canceller {
    #[cfg(feature = "tokio")]
    pub(super) const fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// Cancels the job. Does nothing when it is over.
    pub fn cancel(&self, cancel: Cancel) {
        self.shared.cancel(cancel);
    }
}

impl Changes {
    /// Waits for newer progress, but no longer than `timeout`; `None` then and at the end.
    pub fn next_timeout(&mut self, timeout: Duration) -> Option<Progress> {
        self.look(Instant::now().checked_add(timeout))
    }

    fn look(&mut self, deadline: Option<Instant>) -> Option<Progress> {
        match self.shared.news(self.seen, deadline) {
            News::Progress(progress, change) => {
                self.seen = change;
                Some(progress)
            }
            News::None | News::Over => None,
        }
    }
}

impl Iterator for Changes {
    type Item = Progress;

    fn next(&mut self) -> Option<Progress> {
        self.look(None)
    }
}

/// Says that a job is over, also when its thread panics.
struct EndOnDrop(Arc<Shared>);

impl Drop for EndOnDrop {
    fn drop(&mut self) {
        self.0.end();
    }
}

/// Starts the thread of a job.
pub(super) fn spawn_thread(
    shared: Arc<Shared>,
    work: impl FnOnce(&Arc<Shared>) -> Result<Outcome, RunError> + Send + 'static,
) -> Result<JobThread, RunError> {
    let thread = move || {
        let end = EndOnDrop(shared);
        work(&end.0)
    };
    thread::Builder::new()
        .name("ffmpeg-job".to_owned())
        .spawn(thread)
        .map_err(RunError::Resources)
}

/// Waits for the thread of a job.
pub(super) fn join(thread: JobThread) -> Result<Outcome, RunError> {
    match thread.join() {
        Ok(outcome) => outcome,
        Err(panic) => panic::resume_unwind(panic),
    }
}
