//! How a child ended, and the driver of [`Child::stop`], which blocks.

use std::io::{self, PipeReader, Read};
use std::process::ExitStatus;
use std::time::Instant;

use rustix::event::{PollFd, PollFlags};

use crate::census::Census;
use crate::child::{Child, set_nonblocking};
use crate::ladder::StopLadder;
use crate::poll::poll_until;
use crate::signal::Signal;
use crate::stopping::{Stopping, Wait};
use crate::usage::Spent;

/// How a child ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stopped {
    /// The status of the leader.
    pub status: ExitStatus,
    /// The step after which nothing of the child was left.
    pub by: StoppedBy,
    /// The process ids that were alive when `SIGKILL` was sent, as far as they could be seen.
    pub killed: Vec<u32>,
    /// What the leader took in its life.
    pub spent: Spent,
}

/// What ended a child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StoppedBy {
    /// Nothing was left when the stop began.
    Itself,
    /// The bytes on stdin of this step of the ladder, counted from 0.
    Stdin {
        /// Which step.
        step: usize,
    },
    /// The signal of this step of the ladder, counted from 0.
    Signal {
        /// Which step.
        step: usize,
        /// Its signal.
        signal: Signal,
    },
    /// `SIGKILL`, after all steps of the ladder.
    Kill,
}

/// Why a child is not stopped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StopError {
    /// These processes live on after `SIGKILL`: they hang in the kernel, or we may not signal them.
    #[error("processes {pids:?} still alive after SIGKILL")]
    StillAlive {
        /// Their process ids, the leader's among them if it is one of them.
        pids: Vec<u32>,
    },
    /// The status of the leader is lost, see [`WaitError`](crate::WaitError). Its group is not ours to
    /// signal any more, and whatever is left of it is left alone.
    #[error("status of process {pid} lost: something else in this process reaped it")]
    StatusLost {
        /// The process id it had.
        pid: u32,
    },
    /// `/proc` cannot be read, so nobody can tell what is left. The group got `SIGKILL` all the same.
    #[error("cannot look for processes in /proc")]
    Proc {
        /// The kernel's answer.
        source: io::Error,
    },
}

/// Walks down the ladder, throwing away what the child writes into pipes that nobody took.
pub(crate) fn stop(child: &mut Child, ladder: &StopLadder) -> Result<Stopped, StopError> {
    let kin = child.kin();
    let mut outputs = Outputs::new([child.take_stdout(), child.take_stderr()]);
    let mut stopping = Stopping::new(ladder.clone());
    if let Some(stdin) = child.take_stdin() {
        stopping = stopping.stdin(stdin);
    }
    let mut census = None;
    loop {
        match stopping.go_on(child, census.take().as_ref()) {
            Wait::Readable { fd, until } => {
                outputs.drain(Some(PollFd::new(&fd, PollFlags::IN)), until);
            }
            Wait::Writable { fd, until } => {
                outputs.drain(Some(PollFd::new(&fd, PollFlags::OUT)), until);
            }
            Wait::Until(until) => outputs.drain(None, Some(until)),
            Wait::Census { not_before } => {
                if not_before.is_some() {
                    outputs.drain(None, not_before);
                }
                match Census::take([&kin]) {
                    Ok(taken) => census = Some(taken),
                    Err(error) => stopping.census_failed(error),
                }
            }
            Wait::Over(result) => return result,
        }
    }
}

/// Our ends of the child's outputs that nobody took.
struct Outputs {
    ends: Vec<PipeReader>,
    scratch: Vec<u8>,
}

impl Outputs {
    fn new(ends: [Option<PipeReader>; 2]) -> Self {
        let ends: Vec<_> = ends
            .into_iter()
            .flatten()
            .filter(|end| set_nonblocking(end).is_ok())
            .collect();
        let scratch = vec![0; if ends.is_empty() { 0 } else { 64 << 10 }];
        Self { ends, scratch }
    }

    /// Waits until `file` is ready or the moment has come, reading away what comes meanwhile.
    fn drain(&mut self, file: Option<PollFd<'_>>, until: Option<Instant>) {
        loop {
            let ends = self.ends.iter().map(|end| PollFd::new(end, PollFlags::IN));
            let mut files: Vec<_> = ends.chain(file.clone()).collect();
            poll_until(&mut files, until);
            let mut ready: Vec<bool> = files.iter().map(|f| !f.revents().is_empty()).collect();
            let file_ready = file.is_some() && ready.pop().unwrap_or(false);
            self.read_away(&ready);
            if file_ready || until.is_some_and(|until| until <= Instant::now()) {
                return;
            }
        }
    }

    fn read_away(&mut self, ready: &[bool]) {
        let mut ready = ready.iter();
        self.ends.retain_mut(|end| {
            if !ready.next().copied().unwrap_or(false) {
                return true;
            }
            match end.read(&mut self.scratch) {
                Ok(0) => false,
                Ok(_) => true,
                Err(error) => matches!(
                    error.kind(),
                    io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
                ),
            }
        });
    }
}
