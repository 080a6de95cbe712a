//! A job for tasks of tokio: the same thread, waited for by futures.

use std::sync::Arc;
use std::time::Instant;

use super::job::{JobThread, join, spawn_thread};
use super::shared::{News, Shared};
use super::{Cancel, Canceller, Outcome, RunError, Runner};
use crate::tracker::{Progress, Tracker};

/// A running job that tasks can wait for; made by [`Runner::spawn_tokio`].
///
/// The futures need no particular runtime and no timer. Dropping the job cancels it with
/// [`Cancel::Discard`] and does not wait: its thread kills ffmpeg and removes the part within
/// milliseconds.
#[derive(Debug)]
pub struct TokioJob {
    shared: Arc<Shared>,
    thread: Option<JobThread>,
    seen: u64,
}

impl Runner {
    /// Starts the job without blocking this thread: also finding ffmpeg happens on the job's own.
    ///
    /// # Errors
    ///
    /// When there are no resources for a thread. What else keeps the job from starting is told by
    /// [`TokioJob::wait`].
    pub fn spawn_tokio(self) -> Result<TokioJob, RunError> {
        let mut tracker = Tracker::new(self.expected, Instant::now());
        let shared = Arc::new(Shared::new(tracker.clone()).map_err(RunError::Resources)?);
        let thread = spawn_thread(Arc::clone(&shared), move |shared| {
            let (driver, conclusion) = self.start()?;
            let ended = driver.run(&mut tracker, shared)?;
            conclusion.conclude(ended, &mut tracker, shared)
        })?;
        Ok(TokioJob {
            shared,
            thread: Some(thread),
            seen: 0,
        })
    }
}

impl TokioJob {
    /// The newest progress.
    #[must_use]
    pub fn progress(&self) -> Progress {
        self.shared.progress()
    }

    /// Waits for newer progress; `None` when the job is over.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: dropping the future loses nothing.
    pub async fn changed(&mut self) -> Option<Progress> {
        match self.shared.news_async(self.seen).await {
            News::Progress(progress, change) => {
                self.seen = change;
                Some(progress)
            }
            News::None | News::Over => None,
        }
    }

    /// Cancels the job, as [`Job::cancel`](crate::Job::cancel) does.
    pub fn cancel(&self, cancel: Cancel) {
        self.shared.cancel(cancel);
    }

    /// A handle that cancels the job from elsewhere.
    #[must_use]
    pub fn canceller(&self) -> Canceller {
        Canceller::new(Arc::clone(&self.shared))
    }

    /// Waits for the end of the job.
    ///
    /// # Errors
    ///
    /// When the job did not succeed, see [`RunError`].
    ///
    /// # Panics
    ///
    /// When the thread of the job did: a bug of this crate.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future drops the job, which discards it. To wait and do something else
    /// besides, wait for [`TokioJob::changed`] until it gives `None`, which is cancel safe; then
    /// this answers at once.
    pub async fn wait(mut self) -> Result<Outcome, RunError> {
        while !matches!(self.shared.news_async(u64::MAX).await, News::Over) {}
        // The thread has nothing left to do but to end.
        join(self.thread.take().expect("only wait and drop take it"))
    }
}

impl Drop for TokioJob {
    fn drop(&mut self) {
        if self.thread.is_some() {
            self.shared.cancel(Cancel::Discard);
        }
    }
}
