//! Walking down a ladder: the driver of [`Child::stop`](crate::Child::stop).

use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use crate::child::set_nonblocking;
use crate::family::{EXEC_TIME, Family, Kin};
use crate::ladder::{Act, StopLadder};
use crate::leader::{Leader, Lost};
use crate::poll::poll_until;
use crate::signal::Signal;

/// How often the family is looked up anew while a process of it lives on. The end of a known process
/// is seen at once; this is for what it forked meanwhile, and for numbers that changed hands.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// How a child ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stopped {
    /// The status of the leader.
    pub status: ExitStatus,
    /// The step after which nothing of the child was left.
    pub by: StoppedBy,
    /// The process ids that were alive when `SIGKILL` was sent.
    pub killed: Vec<u32>,
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
    /// Everything is gone, but the status of the leader is lost, see [`WaitError`](crate::WaitError).
    #[error("status of process {pid} lost: something else in this process reaped it")]
    StatusLost {
        /// The process id it had.
        pid: u32,
    },
    /// `/proc` cannot be read, so nobody can tell what is left.
    #[error("cannot look for processes in /proc")]
    Proc {
        /// The kernel's answer.
        source: io::Error,
    },
}

pub(crate) fn stop(
    leader: &Leader,
    kin: &Kin,
    stdin: Option<PipeWriter>,
    outputs: [Option<PipeReader>; 2],
    ladder: &StopLadder,
) -> Result<Stopped, StopError> {
    let mut descent = Descent {
        leader,
        kin,
        stdin,
        outputs: Outputs::new(outputs),
    };
    let (by, killed) = descent.walk_down(ladder)?;
    match leader.reap() {
        Ok(Some(status)) => Ok(Stopped { status, by, killed }),
        Ok(None) => Err(StopError::StillAlive {
            pids: vec![number(leader.pid())],
        }),
        Err(Lost) => Err(StopError::StatusLost {
            pid: number(leader.pid()),
        }),
    }
}

struct Descent<'a> {
    leader: &'a Leader,
    kin: &'a Kin,
    stdin: Option<PipeWriter>,
    outputs: Outputs,
}

impl Descent<'_> {
    fn walk_down(&mut self, ladder: &StopLadder) -> Result<(StoppedBy, Vec<u32>), StopError> {
        let running = matches!(self.leader.exited(), Ok(None));
        if self.leader.is_reaped() || (!running && self.left()?.is_empty()) {
            return Ok((StoppedBy::Itself, Vec::new()));
        }
        for (step, rung) in ladder.steps().iter().enumerate() {
            let until = after(rung.grace);
            let (by, signal) = match &rung.act {
                Act::Write(bytes) => {
                    self.signal_group(Signal::Cont);
                    if !self.write(bytes, until) {
                        continue;
                    }
                    (StoppedBy::Stdin { step }, None)
                }
                Act::Signal(signal) => {
                    self.signal_group(*signal);
                    self.signal_group(Signal::Cont);
                    (
                        StoppedBy::Signal {
                            step,
                            signal: *signal,
                        },
                        Some(*signal),
                    )
                }
            };
            if self.gone(until, signal)?.is_empty() {
                return Ok((by, Vec::new()));
            }
        }
        let doomed = self.left()?;
        self.signal_group(Signal::Kill);
        self.kin
            .signal_strays(&doomed.strays, Signal::Kill, &mut Vec::new());
        let left = self.gone(after(ladder.kill_time()), Some(Signal::Kill))?;
        if left.is_empty() {
            Ok((StoppedBy::Kill, numbers(&doomed)))
        } else {
            Err(StopError::StillAlive {
                pids: numbers(&left),
            })
        }
    }

    /// Waits until nothing of the child lives, and returns what does at `until`.
    ///
    /// Strays get `signal` too, once nobody else is left.
    fn gone(
        &mut self,
        until: Option<Instant>,
        signal: Option<Signal>,
    ) -> Result<Family, StopError> {
        let mut told = Vec::new();
        loop {
            // While the leader lives there is no need to look for the others.
            if matches!(self.leader.exited(), Ok(None)) {
                self.wait(self.leader.pid(), until);
                if !passed(until) {
                    continue;
                }
            }
            let left = self.left()?;
            if left.is_empty() || passed(until) {
                return Ok(left);
            }
            let all_told = match signal {
                Some(signal) if left.group.is_empty() => {
                    self.kin.signal_strays(&left.strays, signal, &mut told)
                }
                _ => true,
            };
            let again = if all_told { LOOK_AGAIN } else { EXEC_TIME };
            let next = left.all().next().expect("the family is not empty");
            self.wait(next, after(again).into_iter().chain(until).min());
        }
    }

    /// What lives of the child; the leader is in the group until its status can be had.
    fn left(&self) -> Result<Family, StopError> {
        let mut family = self
            .kin
            .living()
            .map_err(|source| StopError::Proc { source })?;
        let leader = self.leader.pid();
        if matches!(self.leader.exited(), Ok(None)) && !family.group.contains(&leader) {
            family.group.push(leader);
        }
        Ok(family)
    }

    /// Waits until `process` ends, throwing away what the child writes meanwhile.
    fn wait(&mut self, process: Pid, until: Option<Instant>) {
        let soon = || {
            after(Duration::from_millis(1))
                .into_iter()
                .chain(until)
                .min()
        };
        let Ok(pidfd) = pidfd_open(process, PidfdFlags::empty()) else {
            // It is gone already, or there is no file number left to wait with.
            self.outputs.drain(None, soon());
            return;
        };
        let ended = self
            .outputs
            .drain(Some(PollFd::new(&pidfd, PollFlags::IN)), until);
        if ended && matches!(self.leader.exited(), Ok(None)) && process == self.leader.pid() {
            // A debugger holds the zombie: readable, but not to be had yet.
            self.outputs.drain(None, soon());
        }
    }

    fn signal_group(&self, signal: Signal) {
        if let Err(error) = self.leader.signal_group(signal) {
            let group = number(self.leader.pid());
            tracing::debug!(group, %signal, %error, "group not signalled");
        }
    }

    /// Writes to the child's stdin and closes it; false when that cannot be done in time.
    fn write(&mut self, mut bytes: &[u8], until: Option<Instant>) -> bool {
        let Some(mut stdin) = self.stdin.take() else {
            return false;
        };
        if set_nonblocking(&stdin).is_err() {
            return false;
        }
        while !bytes.is_empty() {
            match stdin.write(bytes) {
                Ok(written) => bytes = &bytes[written..],
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if passed(until) || matches!(self.leader.exited(), Ok(Some(_)) | Err(Lost)) {
                        return false;
                    }
                    self.outputs
                        .drain(Some(PollFd::new(&stdin, PollFlags::OUT)), until);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // The child closed its end: it will not read what we say.
                Err(_) => return false,
            }
        }
        true
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

    /// Waits until `file` is ready, reading away what comes meanwhile; false at `until`.
    fn drain(&mut self, file: Option<PollFd<'_>>, until: Option<Instant>) -> bool {
        loop {
            let ends = self.ends.iter().map(|end| PollFd::new(end, PollFlags::IN));
            let mut files: Vec<_> = ends.chain(file.clone()).collect();
            poll_until(&mut files, until);
            let mut ready: Vec<bool> = files.iter().map(|f| !f.revents().is_empty()).collect();
            let file_ready = file.is_some() && ready.pop().unwrap_or(false);
            self.read_away(&ready);
            if file_ready || passed(until) {
                return file_ready;
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

/// The moment after a time from now; `None` is never.
fn after(time: Duration) -> Option<Instant> {
    Instant::now().checked_add(time)
}

fn passed(until: Option<Instant>) -> bool {
    until.is_some_and(|until| until <= Instant::now())
}

fn numbers(family: &Family) -> Vec<u32> {
    family.all().map(number).collect()
}

fn number(pid: Pid) -> u32 {
    pid.as_raw_nonzero().get().unsigned_abs()
}
