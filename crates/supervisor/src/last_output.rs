//! When a child last said something, whoever reads what it says.

use std::time::Instant;

use parking_lot::Mutex;
use tokio::sync::Notify;

/// The newest moment of output of one run.
#[derive(Debug, Default)]
pub(crate) struct LastOutput {
    moment: Mutex<Option<Instant>>,
    news: Notify,
}

impl LastOutput {
    /// Takes note of output that the driver has read.
    pub(crate) fn note(&self, now: Instant) {
        *self.moment.lock() = Some(now);
    }

    /// Takes note of output that somebody else has read, and tells a driver that waits for it.
    pub(crate) fn tell(&self, now: Instant) {
        self.note(now);
        self.news.notify_one();
    }

    pub(crate) fn moment(&self) -> Option<Instant> {
        *self.moment.lock()
    }

    /// Waits until somebody else has read output, since this was asked last.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: what has not been told is told the next time.
    pub(crate) async fn news(&self) {
        self.news.notified().await;
    }
}
