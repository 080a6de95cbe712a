//! Files that the event loop waits for.

#![expect(
    unsafe_code,
    reason = "tokio cannot know that a file of ours stays the same"
)]

use std::io::{self, PipeReader, PipeWriter};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixDatagram;
use std::task::{Context, Poll};

use tokio::io::Interest;
use tokio::io::unix::{AsyncFd, AsyncFdReadyGuard};

/// A file of ours in the event loop.
///
/// It gives out no `&mut` of the file, so that nobody can put another one in its place.
#[derive(Debug)]
pub(crate) struct Watched<T: AsRawFd>(AsyncFd<T>);

/// Owns one open file, which a shared reference cannot change.
pub(crate) trait OneFile: AsRawFd {}

impl OneFile for OwnedFd {}
impl OneFile for PipeReader {}
impl OneFile for PipeWriter {}
impl OneFile for UnixDatagram {}

impl<T: OneFile> Watched<T> {
    /// Must be called within a runtime. Reading and writing must not block.
    pub(crate) fn new(file: T, interest: Interest) -> io::Result<Self> {
        // SAFETY: a `OneFile` owns its file from creation to drop, and this type gives out shared references
        // alone, until `into_inner` takes it out of the loop.
        let watched = unsafe { AsyncFd::register_with_interest(file, interest) };
        Ok(Self(watched.map_err(|error| error.into_parts().1)?))
    }

    pub(crate) async fn ready(&self, interest: Interest) -> io::Result<AsyncFdReadyGuard<'_, T>> {
        self.0.ready(interest).await
    }

    pub(crate) fn poll_read_ready<'a>(
        &'a self,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<AsyncFdReadyGuard<'a, T>>> {
        self.0.poll_read_ready(context)
    }

    pub(crate) fn file(&self) -> &T {
        self.0.get_ref()
    }

    pub(crate) fn into_inner(self) -> T {
        self.0.into_inner()
    }
}
