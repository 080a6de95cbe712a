//! Where a child's standard streams go.

use std::collections::VecDeque;
use std::fmt;
use std::io::{self, PipeReader, Read};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Instant;

use bytes::Bytes;
use longtake_process::{StopLadder, set_nonblocking};
use tokio::io::{AsyncRead, Interest, ReadBuf};
use tokio::sync::mpsc::{self, error::TrySendError};

use crate::last_output::LastOutput;
use crate::watched::Watched;

/// How many pieces a [`Tail`] holds, each of up to 64 KiB.
const TAIL_PIECES: usize = 64;

/// How much is kept for a [`Tail`] that makes the child wait, of what was read before it could be made to.
const HELD_BYTES: usize = 4 << 20;

/// What a child's stdin is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum StdinMode {
    /// `/dev/null`.
    #[default]
    Null,
    /// Our own.
    Inherit,
    /// A pipe for orders. A stop ladder's stdin step writes its bytes here: `q` ends ffmpeg in order.
    Control,
    /// A pipe for data, such as ffmpeg's `-i pipe:0`. A stop ladder's stdin step closes it and writes
    /// nothing, since what it writes would end up in the data.
    Data,
}

/// Where a child's stdout or stderr goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum OutputMode {
    /// Into the bounded log, and to every [`Tail`].
    #[default]
    Log,
    /// To whoever calls [`Supervisor::take_stdout`](crate::Supervisor::take_stdout) or
    /// [`take_stderr`](crate::Supervisor::take_stderr), for media. Until then, and if nobody reads, the child
    /// blocks when the pipe is full (64 KiB).
    Take,
    /// To our own.
    Inherit,
    /// `/dev/null`.
    Null,
}

/// One of a child's outputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// What becomes of output that finds its [`Tail`] full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenFull {
    /// It is dropped and counted; the child never notices.
    Drop,
    /// The child waits, once its pipe is full too. Not while it is being ended.
    Block,
}

/// The logged outputs of a child, as they come, through all its runs.
///
/// Holds up to 4 MiB, and as much again if the child waits for it. Bytes are as the child wrote them: nothing is redacted.
#[derive(Debug)]
pub struct Tail {
    pieces: mpsc::Receiver<Piece>,
    dropped_bytes: Arc<AtomicU64>,
}

/// A piece of a child's output.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Piece {
    /// Which output.
    pub stream: Stream,
    /// Some bytes of it, cut anywhere.
    pub bytes: Bytes,
    /// How many bytes, of both outputs, were dropped before it.
    pub dropped_bytes: u64,
}

/// The other end of a [`Tail`].
#[derive(Debug)]
pub(crate) struct TailEnd {
    pieces: mpsc::Sender<Piece>,
    when_full: WhenFull,
    /// What was read when there was no room, while the child is made to wait.
    held: VecDeque<Piece>,
    held_bytes: usize,
    /// Since the piece before.
    dropped_bytes: u64,
    all_dropped_bytes: Arc<AtomicU64>,
}

/// Our end of one run's stdout or stderr, as [`OutputMode::Take`] gives it.
///
/// Reading from it counts as output of the child. It ends when nobody holds the other end any more.
#[derive(Debug)]
pub struct TakenOutput {
    pipe: Watched<PipeReader>,
    pid: u32,
    last_output: Arc<LastOutput>,
}

/// Makes, for each run of a child, what reads its progress.
#[derive(Clone)]
pub(crate) struct ProgressReader(Arc<dyn Fn() -> ReadProgress + Send + Sync>);

/// Takes a line, and reports positions of outputs.
pub(crate) type ReadProgress = Box<dyn FnMut(&[u8], &mut dyn FnMut(u32, i64)) + Send>;

impl StdinMode {
    /// The ladder without what it would write into data.
    pub(crate) fn guarded(self, ladder: StopLadder) -> StopLadder {
        match self {
            Self::Data => ladder.closing_stdin(),
            Self::Null | Self::Inherit | Self::Control => ladder,
        }
    }
}

impl Stream {
    pub(crate) const BOTH: [Self; 2] = [Self::Stdout, Self::Stderr];

    /// The name, in lower case.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }
}

impl Tail {
    pub(crate) fn new(when_full: WhenFull) -> (Self, TailEnd) {
        let (sender, pieces) = mpsc::channel(TAIL_PIECES);
        let dropped_bytes = Arc::new(AtomicU64::new(0));
        let end = TailEnd {
            pieces: sender,
            when_full,
            held: VecDeque::new(),
            held_bytes: 0,
            dropped_bytes: 0,
            all_dropped_bytes: Arc::clone(&dropped_bytes),
        };
        let tail = Self {
            pieces,
            dropped_bytes,
        };
        (tail, end)
    }

    /// How many bytes were dropped so far, also those behind the newest piece.
    #[must_use]
    pub fn dropped_bytes(&self) -> u64 {
        self.dropped_bytes.load(Ordering::Relaxed)
    }

    /// The next piece; `None` when the child's supervisor is gone.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: a piece is taken or it stays.
    pub async fn next(&mut self) -> Option<Piece> {
        self.pieces.recv().await
    }
}

impl TailEnd {
    pub(crate) fn is_closed(&self) -> bool {
        self.pieces.is_closed()
    }

    /// Whether it demands that the child waits.
    pub(crate) fn is_blocked(&self) -> bool {
        let is_full = self.pieces.capacity() == 0 || self.is_holding();
        self.when_full == WhenFull::Block && is_full && !self.is_closed()
    }

    /// Whether it has something to hand over to somebody who listens.
    pub(crate) fn is_holding(&self) -> bool {
        !self.held.is_empty() && !self.is_closed()
    }

    /// Waits until there is room, or nobody listens.
    pub(crate) async fn room(&self) {
        if self.is_blocked() {
            drop(self.pieces.reserve().await);
        }
    }

    pub(crate) fn push(&mut self, stream: Stream, bytes: &Bytes) {
        self.hand_over();
        let piece = Piece {
            stream,
            bytes: bytes.clone(),
            dropped_bytes: self.dropped_bytes,
        };
        let size = bytes.len();
        let refused = if self.held.is_empty() {
            self.pieces
                .try_send(piece)
                .err()
                .map(TrySendError::into_inner)
        } else {
            Some(piece)
        };
        let may_hold = self.when_full == WhenFull::Block && self.held_bytes + size <= HELD_BYTES;
        match refused {
            Some(piece) if may_hold => {
                self.held_bytes += size;
                self.held.push_back(piece);
            }
            Some(_) => {
                self.dropped_bytes += size as u64;
                self.all_dropped_bytes
                    .fetch_add(size as u64, Ordering::Relaxed);
                return;
            }
            None => {}
        }
        self.dropped_bytes = 0;
    }

    /// Hands over what is held, as far as there is room.
    pub(crate) fn hand_over(&mut self) {
        while !self.held.is_empty()
            && let Ok(place) = self.pieces.try_reserve()
            && let Some(piece) = self.held.pop_front()
        {
            self.held_bytes -= piece.bytes.len();
            place.send(piece);
        }
    }
}

impl TakenOutput {
    /// Must be called within a runtime.
    pub(crate) fn new(
        pipe: PipeReader,
        pid: u32,
        last_output: Arc<LastOutput>,
    ) -> io::Result<Self> {
        set_nonblocking(&pipe)?;
        Ok(Self {
            pipe: Watched::new(pipe, Interest::READABLE)?,
            pid,
            last_output,
        })
    }

    /// The process id of the run that it belongs to.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid
    }
}

impl AsyncRead for TakenOutput {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            let mut guard = ready!(self.pipe.poll_read_ready(context))?;
            let free = buffer.initialize_unfilled();
            match guard.try_io(|pipe| pipe.get_ref().read(free)) {
                Ok(Ok(read)) => {
                    buffer.advance(read);
                    if read > 0 {
                        self.last_output.tell(Instant::now());
                    }
                    return Poll::Ready(Ok(()));
                }
                Ok(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(Err(error)) => return Poll::Ready(Err(error)),
                Err(_would_block) => {}
            }
        }
    }
}

impl ProgressReader {
    pub(crate) fn new(make: impl Fn() -> ReadProgress + Send + Sync + 'static) -> Self {
        Self(Arc::new(make))
    }

    pub(crate) fn make(&self) -> ReadProgress {
        (self.0)()
    }
}

impl fmt::Debug for ProgressReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ProgressReader")
    }
}
