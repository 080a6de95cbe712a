//! A running child: its pipes, its end, and signals to it.

use std::io::{self, PipeReader, PipeWriter};
use std::os::fd::{AsFd, BorrowedFd};
use std::process::ExitStatus;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;

use crate::census::Census;
use crate::family::Kin;
use crate::ladder::StopLadder;
use crate::leader::{HELD_ZOMBIE, Leader, Lost};
use crate::leftover;
use crate::poll::poll_until;
use crate::signal::Signal;
use crate::stop::{self, StopError, Stopped};
use crate::usage::{Spent, Usage, UsageError};

/// How long a drop waits for a child that it has killed.
const DROP_WITHIN: Duration = Duration::from_secs(1);

/// A child with its whole group.
///
/// # Its end
///
/// [`wait`](Self::wait) and its kin tell when the *leader*, the process that was started, has exited,
/// whatever its descendants do, even if they hold the pipes open. They leave it a zombie, so that its
/// number, which is also the group's, is given to nobody else. [`stop`](Self::stop) and
/// [`kill`](Self::kill) end the descendants as well, and then reap it; so does dropping the child,
/// which kills whatever still runs.
///
/// # With an event loop
///
/// The child is [`AsFd`]: its pidfd becomes readable when the leader has exited, then
/// [`try_wait`](Self::try_wait) gives the status. Our ends of the pipes block unless
/// [`set_nonblocking`] says otherwise. With tokio that is an `AsyncFd` of the pidfd, then
/// `readable().await`, then [`try_wait`](Self::try_wait). A [`Stopping`](crate::Stopping) ends the child
/// without blocking.
///
/// # What the process around it must not do
///
/// Ignore `SIGCHLD` or call `waitpid(-1)`: either reaps the child behind our back, its status is lost
/// ([`WaitError`]), and its number may go to a stranger.
#[derive(Debug)]
pub struct Child {
    leader: Arc<Leader>,
    kin: Kin,
    stdin: Option<PipeWriter>,
    stdout: Option<PipeReader>,
    stderr: Option<PipeReader>,
}

/// Signals a child from any thread, as long as it lives.
///
/// It never reaches a stranger: once the child is reaped every call is answered with
/// [`SignalError::Gone`].
#[derive(Clone, Debug)]
pub struct Killer {
    leader: Arc<Leader>,
}

/// The status of a child is lost, because something else in this process reaped it: `SIGCHLD` is
/// ignored, or somebody calls `waitpid(-1)`.
#[derive(Debug, thiserror::Error)]
#[error("status of process {pid} lost: something else in this process reaped it")]
#[non_exhaustive]
pub struct WaitError {
    /// The process id it had.
    pub pid: u32,
}

/// Why a signal was not sent.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SignalError {
    /// The child is gone and reaped.
    #[error("process {pid} is gone")]
    Gone {
        /// The process id it had.
        pid: u32,
    },
    /// The child runs as a user whom we may not signal.
    #[error("cannot signal process {pid}")]
    Refused {
        /// The process id.
        pid: u32,
        /// The kernel's answer.
        source: io::Error,
    },
}

impl Child {
    pub(crate) fn new(
        leader: Leader,
        kin: Kin,
        stdin: Option<PipeWriter>,
        stdout: Option<PipeReader>,
        stderr: Option<PipeReader>,
    ) -> Self {
        Self {
            leader: Arc::new(leader),
            kin,
            stdin,
            stdout,
            stderr,
        }
    }

    /// The process id of the leader, which is also the number of the group.
    ///
    /// For logs. It may be somebody else's once the child is reaped.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.leader.number()
    }

    /// Takes our end of stdin, if it is [`Input::Pipe`](crate::Input::Pipe). Drop it to close it.
    pub fn take_stdin(&mut self) -> Option<PipeWriter> {
        self.stdin.take()
    }

    /// Takes our end of stdout, if it is [`Output::Pipe`](crate::Output::Pipe).
    ///
    /// Whoever takes it must go on reading until the child is stopped, or drop it: a child that writes
    /// more than the pipe holds (64 KiB) blocks until somebody reads, also on its way out.
    pub fn take_stdout(&mut self) -> Option<PipeReader> {
        self.stdout.take()
    }

    /// Takes our end of stderr, if it is [`Output::Pipe`](crate::Output::Pipe). As with
    /// [`take_stdout`](Self::take_stdout), go on reading or drop it.
    pub fn take_stderr(&mut self) -> Option<PipeReader> {
        self.stderr.take()
    }

    /// The status if the leader has exited.
    ///
    /// # Errors
    ///
    /// Fails when the status is lost.
    pub fn try_wait(&mut self) -> Result<Option<ExitStatus>, WaitError> {
        self.leader
            .exited()
            .map_err(|Lost| WaitError { pid: self.pid() })
    }

    /// Waits until the leader exits. Ask again, and the answer is the same.
    ///
    /// Unlike [`std::process::Child::wait`] it leaves stdin open.
    ///
    /// # Errors
    ///
    /// Fails when the status is lost.
    pub fn wait(&mut self) -> Result<ExitStatus, WaitError> {
        loop {
            if let Some(status) = self.wait_until(None)? {
                return Ok(status);
            }
        }
    }

    /// Waits until the leader exits, but no longer than `timeout`; then the answer is `None`.
    ///
    /// # Errors
    ///
    /// Fails when the status is lost.
    pub fn wait_timeout(&mut self, timeout: Duration) -> Result<Option<ExitStatus>, WaitError> {
        self.wait_until(Instant::now().checked_add(timeout))
    }

    /// Signals the leader alone. A zombie takes any signal and ignores it.
    ///
    /// # Errors
    ///
    /// Fails when the child is reaped, or runs as a user whom we may not signal.
    pub fn signal(&self, signal: Signal) -> Result<(), SignalError> {
        self.leader.told(self.leader.signal(signal))
    }

    /// Signals every process of the group.
    ///
    /// # Errors
    ///
    /// Fails when the child is reaped, or when none of its processes may be signalled by us.
    pub fn signal_group(&self, signal: Signal) -> Result<(), SignalError> {
        self.leader.told(self.leader.signal_group(signal))
    }

    /// A handle for signals from other threads.
    #[must_use]
    pub fn killer(&self) -> Killer {
        Killer {
            leader: Arc::clone(&self.leader),
        }
    }

    /// How its processes are told from all others, for a [`Census`] of many children.
    #[must_use]
    pub fn kin(&self) -> Kin {
        self.kin.clone()
    }

    /// What the child and everything that descends from it take of the machine right now; of a zombie in the
    /// group, what it took.
    ///
    /// Looks through all processes of the system for this child alone, which takes milliseconds: sample, do
    /// not poll, and let one [`Census`] serve many children.
    ///
    /// # Errors
    ///
    /// Fails when the child is reaped.
    pub fn usage(&self) -> Result<Usage, UsageError> {
        if self.leader.is_reaped() {
            return Err(UsageError::Gone { pid: self.pid() });
        }
        let census = Census::take_with_io([&self.kin]);
        let census = census.map_err(|source| UsageError::Proc { source })?;
        Ok(census.usage(&self.kin))
    }

    /// What the leader took, with those that it waited for, once it has exited; all zero before, or if its
    /// status is lost.
    #[must_use]
    pub fn spent(&self) -> Spent {
        self.leader.spent().unwrap_or_default()
    }

    /// Ends the child and everything that descends from it, step by step, and reaps it.
    ///
    /// Every step reaches the whole group. Descendants that left the group get the step's signal once
    /// nobody is left in it: until then ending them is the leader's business. What lives at the end of
    /// the last step is killed, wherever it is. Returns as soon as all are gone; a second call tells
    /// the status again and does nothing. It blocks; for an event loop there is
    /// [`Stopping`](crate::Stopping).
    ///
    /// Our ends of stdout and stderr that nobody took are read and thrown away meanwhile, so that a
    /// child with much to say can say it and exit. Whoever took them must go on reading.
    ///
    /// # Errors
    ///
    /// [`StopError::StillAlive`] when even `SIGKILL` has not ended all of them in time (a process in
    /// uninterruptible sleep, or of a user whom we may not signal), and [`StopError::Proc`] when nobody can
    /// tell: nothing is reaped then, and `stop` may be called again. Our ends of the pipes that nobody took are
    /// closed in any case.
    pub fn stop(&mut self, ladder: &StopLadder) -> Result<Stopped, StopError> {
        stop::stop(self, ladder)
    }

    /// Kills the child and everything that descends from it, and reaps it.
    ///
    /// # Errors
    ///
    /// As [`stop`](Self::stop).
    pub fn kill(&mut self) -> Result<Stopped, StopError> {
        self.stop(&StopLadder::kill_only())
    }

    pub(crate) fn leader(&self) -> Arc<Leader> {
        Arc::clone(&self.leader)
    }

    fn wait_until(&self, deadline: Option<Instant>) -> Result<Option<ExitStatus>, WaitError> {
        loop {
            let status = self
                .leader
                .exited()
                .map_err(|Lost| WaitError { pid: self.pid() })?;
            if status.is_some() {
                return Ok(status);
            }
            if deadline.is_some_and(|deadline| deadline <= Instant::now()) {
                return Ok(None);
            }
            let mut pidfd = [PollFd::new(&self.leader, PollFlags::IN)];
            poll_until(&mut pidfd, deadline);
            if !pidfd[0].revents().is_empty() && matches!(self.leader.exited(), Ok(None)) {
                thread::sleep(HELD_ZOMBIE);
            }
        }
    }
}

impl AsFd for Child {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.leader.as_fd()
    }
}

/// Kills whatever of the child still runs and reaps it, in about a second at most.
impl Drop for Child {
    fn drop(&mut self) {
        if self.leader.is_reaped() {
            return;
        }
        let pid = self.pid();
        let running = matches!(self.leader.exited(), Ok(None));
        match self.stop(&StopLadder::kill_only().kill_within(DROP_WITHIN)) {
            Ok(_) if running => tracing::warn!(pid, "child dropped while running, killed"),
            Ok(_) => {}
            Err(error) => {
                tracing::warn!(
                    pid,
                    error = &error as &dyn std::error::Error,
                    "child dropped and not yet gone"
                );
                leftover::keep(&self.leader);
            }
        }
    }
}

impl Killer {
    /// Signals the leader alone. A zombie takes any signal and ignores it.
    ///
    /// # Errors
    ///
    /// Fails when the child is reaped, or runs as a user whom we may not signal.
    pub fn signal(&self, signal: Signal) -> Result<(), SignalError> {
        self.leader.told(self.leader.signal(signal))
    }

    /// Signals every process of the group.
    ///
    /// # Errors
    ///
    /// Fails when the child is reaped, or when none of its processes may be signalled by us.
    pub fn signal_group(&self, signal: Signal) -> Result<(), SignalError> {
        self.leader.told(self.leader.signal_group(signal))
    }

    /// Kills the group at once. The owner of the [`Child`] sees it exit, and reaps it as ever.
    ///
    /// # Errors
    ///
    /// As [`signal_group`](Self::signal_group).
    pub fn kill(&self) -> Result<(), SignalError> {
        self.signal_group(Signal::Kill)
    }
}

/// Makes our end of a pipe non-blocking: reading or writing then answers
/// [`WouldBlock`](io::ErrorKind::WouldBlock) instead of waiting.
///
/// The child's end is another open file and goes on blocking. Never use it on a file that the child
/// has too, such as an inherited terminal: the flag would be the child's as well.
///
/// # Errors
///
/// Fails only when `end` is no pipe of ours.
pub fn set_nonblocking(end: &impl AsFd) -> io::Result<()> {
    let flags = rustix::fs::fcntl_getfl(end)?;
    rustix::fs::fcntl_setfl(end, flags | rustix::fs::OFlags::NONBLOCK)?;
    Ok(())
}

impl Leader {
    fn number(&self) -> u32 {
        self.pid().as_raw_nonzero().get().unsigned_abs()
    }

    fn told(&self, result: Result<(), Errno>) -> Result<(), SignalError> {
        let pid = self.number();
        result.map_err(|errno| match errno {
            Errno::SRCH => SignalError::Gone { pid },
            errno => SignalError::Refused {
                pid,
                source: errno.into(),
            },
        })
    }
}
