//! Reading several pipes of a child without ever standing still at one of them.

use std::io::{self, PipeReader, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Instant;

use longtake_process::set_nonblocking;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// How much is read from one pipe before the others get their turn: a few times what a pipe holds.
const TURN_BYTES: usize = 256 << 10;

/// The read end of a pipe from a child, until its end.
#[derive(Debug)]
pub(crate) struct Source {
    pipe: Option<PipeReader>,
}

impl Source {
    /// Takes over the read end.
    pub(crate) fn new(pipe: PipeReader) -> io::Result<Self> {
        set_nonblocking(&pipe)?;
        Ok(Self { pipe: Some(pipe) })
    }

    /// Hands what is there to `sink`, at most one turn of it.
    ///
    /// At the end of the pipe, and on an error, our end is closed: a child that writes on gets an
    /// error instead of standing still.
    pub(crate) fn read_turn(&mut self, buffer: &mut [u8], mut sink: impl FnMut(&[u8])) -> Turn {
        let Some(pipe) = &mut self.pipe else {
            return Turn::Drained;
        };
        let mut taken = 0;
        while taken < TURN_BYTES {
            match pipe.read(buffer) {
                Ok(0) => {
                    self.pipe = None;
                    return Turn::Drained;
                }
                Ok(count) => {
                    sink(&buffer[..count]);
                    taken += count;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Turn::Drained,
                Err(error) => {
                    tracing::warn!(%error, "reading a pipe of ffmpeg failed, it is closed");
                    self.pipe = None;
                    return Turn::Drained;
                }
            }
        }
        Turn::More
    }

    pub(crate) fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.pipe.as_ref().map(AsFd::as_fd)
    }
}

/// Whether something is left to read now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turn {
    /// Nothing for now, or for ever.
    Drained,
    /// Perhaps.
    More,
}

/// Waits until one of the files can be read or has ended, or until `deadline`.
pub(crate) fn wait_readable(files: &[BorrowedFd<'_>], deadline: Option<Instant>) {
    let mut files: Vec<_> = files
        .iter()
        .map(|file| PollFd::new(*file, PollFlags::POLLIN))
        .collect();
    let timeout = deadline.map_or(PollTimeout::NONE, |deadline| {
        let left = deadline.saturating_duration_since(Instant::now());
        // Rounded up, or the last millisecond would be spent spinning.
        PollTimeout::try_from(left.as_micros().div_ceil(1000)).unwrap_or(PollTimeout::MAX)
    });
    match poll(&mut files, timeout) {
        Ok(_) | Err(Errno::EINTR) => {}
        Err(error) => {
            tracing::warn!(%error, "poll failed");
            std::thread::yield_now();
        }
    }
}
