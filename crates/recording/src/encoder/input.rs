//! Frames on their way into ffmpeg: Matroska through a pipe that nobody waits at for ever.

use std::{
    io::{self, IoSlice, PipeWriter, Write},
    os::fd::AsFd,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use longtake_matroska::{Block, Muxer, SegmentInfo, Track};
use longtake_process::set_nonblocking;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use parking_lot::Mutex;

use super::ledger::Ledger;
use crate::{frame::RawFrame, stream::FrameRate};

/// How long to wait at the pipe before looking at the ledger again.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

const TRACK: u64 = 1;

/// What frames are made of.
#[derive(Debug, Clone, Copy)]
pub(super) struct Picture {
    pub(super) fourcc: [u8; 4],
    pub(super) width: u32,
    pub(super) height: u32,
    /// What rate control is told.
    pub(super) rate: FrameRate,
}

/// Where frames go in.
#[derive(Debug)]
pub(super) struct FrameInput {
    muxer: Muxer,
    /// What must be written before the first frame.
    header: Option<Bytes>,
    pipe: PatientPipe,
}

impl FrameInput {
    pub(super) fn new(
        picture: Picture,
        pipe: PipeWriter,
        ledger: Arc<Mutex<Ledger>>,
    ) -> io::Result<Self> {
        set_nonblocking(&pipe)?;
        let track = Track::uncompressed(TRACK, picture.fourcc, picture.width, picture.height)
            .default_duration(picture.rate.frame_interval());
        let muxer = Muxer::new(SegmentInfo::default(), vec![track]).map_err(io::Error::other)?;
        Ok(Self {
            header: Some(muxer.header()),
            muxer,
            pipe: PatientPipe { pipe, ledger },
        })
    }

    /// Writes one frame, each in a cluster of its own, so that ffmpeg has it as soon as it is written.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::TimedOut`] when ffmpeg takes nothing for too long, [`io::ErrorKind::BrokenPipe`]
    /// when it has closed its end. The pipe then holds half a frame.
    pub(super) fn write(&mut self, frame: &RawFrame) -> io::Result<()> {
        if let Some(header) = self.header.take() {
            self.pipe.write_all(&header)?;
        }
        // Raw pictures stand alone, but the writer would note an index entry for each keyframe.
        let block = Block::new(TRACK, frame.pts.0, frame.data.clone()).keyframe(false);
        let before = self.muxer.push(block).map_err(io::Error::other)?;
        for cluster in before.into_iter().chain(self.muxer.flush()) {
            cluster.write_to(&mut self.pipe)?;
        }
        Ok(())
    }
}

/// A pipe whose writer waits as long as there are signs of life behind it.
#[derive(Debug)]
struct PatientPipe {
    pipe: PipeWriter,
    ledger: Arc<Mutex<Ledger>>,
}

impl Write for PatientPipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_vectored(&[IoSlice::new(bytes)])
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        loop {
            match self.pipe.write_vectored(slices) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.wait()?,
                Ok(written) => {
                    self.ledger.lock().takes_bytes(Instant::now());
                    return Ok(written);
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl PatientPipe {
    fn wait(&self) -> io::Result<()> {
        let now = Instant::now();
        let left = self
            .ledger
            .lock()
            .stuck_at(now)
            .saturating_duration_since(now);
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        let millis = u16::try_from(left.min(LOOK_AGAIN).as_millis()).unwrap_or(u16::MAX);
        let mut pipe = [PollFd::new(self.pipe.as_fd(), PollFlags::POLLOUT)];
        match poll(&mut pipe, PollTimeout::from(millis.max(1))) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }
}
