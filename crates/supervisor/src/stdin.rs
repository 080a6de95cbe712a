//! Writing to a child's stdin: bounded, and without waiting for the child in anybody's place.

use std::collections::VecDeque;
use std::future::pending;
use std::io::{self, PipeWriter, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::{Buf, Bytes};
use longtake_process::set_nonblocking;
use tokio::io::Interest;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, TryAcquireError, mpsc};

use crate::reply::Reply;
use crate::watched::Watched;

/// Why bytes did not reach the stdin of a child.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StdinError {
    /// Its stdin is no pipe of ours.
    #[error("stdin of the child is no pipe of ours")]
    NoPipe,
    /// It does not run, or ended before it took them.
    #[error("the child does not run any more")]
    Gone,
    /// It runs, and has closed its stdin.
    #[error("the child has closed its stdin")]
    Closed,
    /// There is no room for so many bytes right now, or never.
    #[error("no room for so many bytes on the way to the child's stdin")]
    Full,
}

/// Bytes on their way, with their place in the bound.
#[derive(Debug)]
pub(crate) struct Pending {
    bytes: Bytes,
    /// The run they are meant for.
    run: u64,
    _room: OwnedSemaphorePermit,
    reply: Option<Reply<Result<(), StdinError>>>,
}

/// Where bytes for a child's stdin are handed in.
#[derive(Clone, Debug)]
pub(crate) struct StdinQueue {
    room: Arc<Semaphore>,
    bytes: usize,
    /// The newest run.
    run: Arc<AtomicU64>,
    writes: mpsc::UnboundedSender<Pending>,
}

impl StdinQueue {
    pub(crate) fn new(bytes: usize) -> (Self, mpsc::UnboundedReceiver<Pending>) {
        let bytes = bytes.min(Semaphore::MAX_PERMITS);
        let (writes, receiver) = mpsc::unbounded_channel();
        let queue = Self {
            room: Arc::new(Semaphore::new(bytes)),
            bytes,
            run: Arc::default(),
            writes,
        };
        (queue, receiver)
    }

    /// The number of the newest run, for whoever counts them.
    pub(crate) fn run(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.run)
    }

    /// Waits for room, then until the child's pipe has taken everything.
    pub(crate) async fn write(&self, bytes: Bytes) -> Result<(), StdinError> {
        let size = self.size(&bytes)?;
        let run = self.run.load(Ordering::Relaxed);
        let room = Arc::clone(&self.room).acquire_many_owned(size).await;
        let room = room.map_err(|_| StdinError::Gone)?;
        let (reply, answer) = Reply::new();
        self.send(bytes, run, room, Some(reply))?;
        answer.await.unwrap_or(Err(StdinError::Gone))
    }

    /// Hands in without waiting, if there is room.
    pub(crate) fn push(&self, bytes: Bytes) -> Result<(), StdinError> {
        let size = self.size(&bytes)?;
        let room = Arc::clone(&self.room).try_acquire_many_owned(size);
        let room = room.map_err(|error| match error {
            TryAcquireError::NoPermits => StdinError::Full,
            TryAcquireError::Closed => StdinError::Gone,
        })?;
        self.send(bytes, self.run.load(Ordering::Relaxed), room, None)
    }

    /// The room it takes. Nothing takes some too: it has to be remembered.
    fn size(&self, bytes: &Bytes) -> Result<u32, StdinError> {
        let fits = u32::try_from(bytes.len().max(1)).ok();
        fits.filter(|size| *size as usize <= self.bytes)
            .ok_or(StdinError::Full)
    }

    fn send(
        &self,
        bytes: Bytes,
        run: u64,
        room: OwnedSemaphorePermit,
        reply: Option<Reply<Result<(), StdinError>>>,
    ) -> Result<(), StdinError> {
        let write = Pending {
            bytes,
            run,
            _room: room,
            reply,
        };
        self.writes.send(write).map_err(|_| StdinError::Gone)
    }
}

impl Pending {
    pub(crate) fn is_for(&self, run: u64) -> bool {
        self.run == run
    }

    pub(crate) fn answer(self, result: Result<(), StdinError>) {
        if let Some(reply) = self.reply {
            reply.give(result);
        }
    }
}

/// The pipe to one run's stdin, and what waits for it.
#[derive(Debug)]
pub(crate) struct StdinPipe {
    /// `None` when it is closed.
    pipe: Option<Watched<PipeWriter>>,
    waiting: VecDeque<Pending>,
    /// Close it when nothing waits any more.
    close: Option<Reply<Result<(), StdinError>>>,
}

impl StdinPipe {
    /// Must be called within a runtime.
    pub(crate) fn new(pipe: PipeWriter) -> io::Result<Self> {
        set_nonblocking(&pipe)?;
        Ok(Self {
            pipe: Some(Watched::new(pipe, Interest::WRITABLE)?),
            waiting: VecDeque::new(),
            close: None,
        })
    }

    pub(crate) fn push(&mut self, write: Pending) {
        if self.pipe.is_none() || self.close.is_some() {
            write.answer(Err(StdinError::Closed));
        } else {
            self.waiting.push_back(write);
        }
    }

    /// Closes it when what waits is written.
    pub(crate) fn close(&mut self, reply: Reply<Result<(), StdinError>>) {
        if self.pipe.is_none() || self.close.is_some() {
            reply.give(Err(StdinError::Closed));
        } else {
            self.close = Some(reply);
            self.close_if_done();
        }
    }

    /// Writes what the pipe takes; waits for ever if there is nothing to write.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: what was written is taken off what waits.
    pub(crate) async fn go_on(&mut self) {
        let Some(pipe) = self.pipe.as_ref().filter(|_| !self.waiting.is_empty()) else {
            return pending().await;
        };
        let mut open = true;
        if let Ok(mut guard) = pipe.ready(Interest::WRITABLE).await {
            while let Some(first) = self.waiting.front_mut() {
                match guard.try_io(|pipe| pipe.get_ref().write(&first.bytes)) {
                    Ok(Ok(written)) => {
                        first.bytes.advance(written);
                        if first.bytes.is_empty()
                            && let Some(done) = self.waiting.pop_front()
                        {
                            done.answer(Ok(()));
                        }
                    }
                    Ok(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                    Ok(Err(_)) => {
                        open = false;
                        break;
                    }
                    Err(_would_block) => break,
                }
            }
        }
        if open {
            self.close_if_done();
        } else {
            // The child has closed its end.
            self.refuse(StdinError::Closed);
            self.pipe = None;
        }
    }

    /// Gives the pipe back, for the last bytes of a stop; what waits is not written any more.
    pub(crate) fn into_pipe(mut self) -> Option<PipeWriter> {
        self.refuse(StdinError::Gone);
        self.pipe.take().map(Watched::into_inner)
    }

    fn close_if_done(&mut self) {
        if self.waiting.is_empty()
            && let Some(reply) = self.close.take()
        {
            self.pipe = None;
            reply.give(Ok(()));
        }
    }

    fn refuse(&mut self, error: StdinError) {
        for write in self.waiting.drain(..) {
            write.answer(Err(error));
        }
        if let Some(reply) = self.close.take() {
            reply.give(Err(error));
        }
    }
}

/// Whoever waits for a write to a run that is gone hears of it.
impl Drop for StdinPipe {
    fn drop(&mut self) {
        self.refuse(StdinError::Gone);
    }
}
