//! Waiting for files until a moment.

use std::time::Instant;

use rustix::event::{PollFd, Timespec, poll};
use rustix::io::Errno;

/// Waits until one of `files` is ready or the deadline is over, or a signal comes in between.
pub(crate) fn poll_until(files: &mut [PollFd<'_>], deadline: Option<Instant>) {
    let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
    // A time too long for the kernel is as good as none.
    let left = left.and_then(|left| Timespec::try_from(left).ok());
    match poll(files, left.as_ref()) {
        Ok(_) | Err(Errno::INTR) => {}
        // ENOMEM: the caller looks again; EINVAL: more files than RLIMIT_NOFILE, which a handful
        // of open ones cannot be.
        Err(error) => {
            tracing::warn!(%error, "poll failed");
            std::thread::yield_now();
        }
    }
}
