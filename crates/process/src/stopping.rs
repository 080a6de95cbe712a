//! Stopping a child without blocking: carries out what [`Descent`] decides.

use std::io::{self, PipeWriter, Write};
use std::mem;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use crate::census::Census;
use crate::child::{Child, set_nonblocking};
use crate::descent::{Descent, EXEC_TIME, LeaderIs, Order, Seen, Wrote};
use crate::family::{Family, Kin};
use crate::ladder::StopLadder;
use crate::leader::{Ended, Leader, Lost};
use crate::signal::Signal;
use crate::stop::{StopError, Stopped, StoppedBy};

/// How soon to try again when there is no file number left to wait with.
const NO_FILES: Duration = Duration::from_millis(10);

/// A stop on its way down the ladder, for event loops: [`Child::stop`] in pieces that do not block.
///
/// Call [`go_on`](Self::go_on), wait for what it says, and call it again, until it is
/// [over](Wait::Over). Any number of children can be stopped at once, all served by the same [`Census`].
///
/// ```
/// use longtake_process::{Census, Command, StopLadder, Stopping, Wait};
/// use std::{thread, time::Duration};
///
/// let mut child = Command::new("sleep").arg("1000").spawn()?;
/// let mut stopping = Stopping::new(StopLadder::default());
/// let mut census = None;
/// let stopped = loop {
///     match stopping.go_on(&mut child, census.take().as_ref()) {
///         Wait::Over(stopped) => break stopped?,
///         Wait::Census { .. } => match Census::take([&child.kin()]) {
///             Ok(taken) => census = Some(taken),
///             Err(error) => stopping.census_failed(error),
///         },
///         // An event loop waits for these, and for other things as well.
///         _ => thread::sleep(Duration::from_millis(1)),
///     }
/// };
/// assert!(stopped.killed.is_empty());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # The child's pipes
///
/// Our ends are the caller's business: whoever holds those of stdout and stderr reads them meanwhile, or
/// drops them. A child that wants to say more than a pipe holds (64 KiB) before it exits cannot exit
/// otherwise.
///
/// # Dropping it
///
/// The child is left as it is, asked to end perhaps, and another stop may be begun.
#[derive(Debug)]
pub struct Stopping {
    descent: Descent,
    stdin: Option<PipeWriter>,
    /// Bytes of a step are on their way to stdin.
    writing: bool,
    due: Due,
    /// As last seen.
    family: Family,
    left: Vec<u32>,
    /// Why the last look failed, if it did.
    blind: Option<io::Error>,
    /// The strays that have had the signal of this step.
    told: Vec<Pid>,
    killed: Vec<u32>,
}

/// What a stop waits for. To go on early does no harm.
#[derive(Debug)]
#[non_exhaustive]
#[must_use]
pub enum Wait {
    /// Until the file is readable (it is a pidfd, and the process has ended), or this moment.
    Readable {
        /// What to wait for.
        fd: OwnedFd,
        /// How long; `None` is for ever.
        until: Option<Instant>,
    },
    /// Until the file is writable (it is the child's stdin), or this moment.
    Writable {
        /// What to wait for.
        fd: OwnedFd,
        /// How long; `None` is for ever.
        until: Option<Instant>,
    },
    /// Until this moment.
    Until(Instant),
    /// Until [`Stopping::go_on`] is handed a [`Census`], begun from now on, but not before this moment; or else
    /// until [`Stopping::census_failed`] is told.
    Census {
        /// `None` is now.
        not_before: Option<Instant>,
    },
    /// For nothing: this is how the stop ended.
    Over(Result<Stopped, StopError>),
}

/// What must have come before there is anything to decide.
#[derive(Debug)]
enum Due {
    Nothing,
    /// A census begun at `since` or later.
    Census {
        since: Instant,
        not_before: Option<Instant>,
    },
    /// A look at those without an environment, at this moment.
    CloserLook(Instant),
    /// Nothing more: the census that was due has failed.
    Blind,
    /// The end of one of the family, or this moment.
    End {
        pidfd: OwnedFd,
        until: Instant,
    },
}

impl Stopping {
    /// Begins nothing yet: the first [`go_on`](Self::go_on) does.
    #[must_use]
    pub fn new(ladder: StopLadder) -> Self {
        Self {
            descent: Descent::new(ladder),
            stdin: None,
            writing: false,
            due: Due::Nothing,
            family: Family::default(),
            left: Vec::new(),
            blind: None,
            told: Vec::new(),
            killed: Vec::new(),
        }
    }

    /// Gives back our end of the child's stdin, for the ladder's steps that write to it; it becomes
    /// non-blocking. An end that nobody took is found without.
    #[must_use]
    pub fn stdin(mut self, pipe: PipeWriter) -> Self {
        self.stdin = Some(pipe);
        self
    }

    /// Ends the present step's grace and goes on at the top of another ladder: a second, harsher stop while
    /// one is under way.
    ///
    /// What the old ladder has done is done. Steps count from 0 in the new one. Nothing changes once
    /// `SIGKILL` is sent. Call [`go_on`](Self::go_on) next.
    pub fn hasten(&mut self, ladder: StopLadder) {
        self.descent.change(ladder);
        self.close_half_written();
        self.due = Due::Nothing;
    }

    /// Takes note that the [census](Wait::Census) that is waited for could not be taken. Call
    /// [`go_on`](Self::go_on) next.
    ///
    /// Then nobody can tell what is left, and the stop goes on as if somebody were: the group gets the signals
    /// of the steps and `SIGKILL` at their times. Meanwhile a census is asked for ten times a second. If the
    /// last one has failed when the time after `SIGKILL` is over, the stop ends by [`StopError::Proc`].
    pub fn census_failed(&mut self, error: io::Error) {
        if matches!(self.due, Due::Census { .. }) {
            self.due = Due::Blind;
            self.lose_sight(error);
        }
    }

    /// Does what can be done now without blocking, and says what to wait for.
    ///
    /// A census that is too old, or was not taken for this child, is as good as none. After
    /// [`Wait::Over`] with [`StopError::StillAlive`] or [`StopError::Proc`] the child is not reaped, and another
    /// `Stopping` may be begun at any time.
    pub fn go_on(&mut self, child: &mut Child, census: Option<&Census>) -> Wait {
        let (leader, kin) = (child.leader(), child.kin());
        if leader.is_reaped() {
            return self.reap(&leader);
        }
        let mut seen = match self.awaited(&leader, &kin, census) {
            Ok(seen) => seen,
            Err(wait) => return wait,
        };
        loop {
            let now = Instant::now();
            let Ok(state) = leader_is(&leader) else {
                return self.reap(&leader);
            };
            match state {
                LeaderIs::Running if self.left.is_empty() => self.left.push(number(leader.pid())),
                LeaderIs::Exited => self.left.retain(|pid| *pid != number(leader.pid())),
                LeaderIs::Running | LeaderIs::Held => {}
            }
            let order = self.descent.next(now, state, seen.take());
            if !matches!(order, Order::Write { .. }) {
                self.close_half_written();
            }
            match order {
                Order::Signal(signal) => {
                    self.told.clear();
                    signal_group(&leader, signal);
                    signal_group(&leader, Signal::Cont);
                }
                Order::Kill => {
                    self.told.clear();
                    self.killed.clone_from(&self.left);
                    signal_group(&leader, Signal::Kill);
                    kin.signal_strays(&self.family.strays, Signal::Kill, &mut Vec::new());
                }
                Order::Write { bytes, until } => {
                    if self.stdin.is_none() {
                        self.stdin = child.take_stdin();
                    }
                    let wrote = self.write(&bytes);
                    self.descent.wrote(wrote);
                    if let (Wrote::Part(_), Some(stdin)) = (wrote, &self.stdin) {
                        return writable(stdin.as_fd(), until);
                    }
                }
                Order::Look => return self.await_census(now, None),
                Order::LookAgain(at) => return self.await_census(at, Some(at)),
                Order::LookCloser(at) => {
                    self.due = Due::CloserLook(at);
                    return Wait::Until(at);
                }
                Order::Attend { tell, until } => return self.attend(&kin, tell, now, until),
                Order::AwaitLeader(until) => return readable(leader.as_fd(), until),
                Order::Pause(until) => return Wait::Until(until),
                Order::Reap => return self.reap(&leader),
                Order::GiveUp => {
                    return Wait::Over(Err(match self.blind.take() {
                        Some(source) => StopError::Proc { source },
                        None => StopError::StillAlive {
                            pids: self.left.clone(),
                        },
                    }));
                }
            }
        }
    }

    /// The step that is being tried; [`StoppedBy::Itself`] before the first one.
    #[must_use]
    pub fn trying(&self) -> StoppedBy {
        self.descent.by()
    }

    /// The living processes of the child as last seen, for a status display. Until somebody had to look,
    /// that is the leader alone.
    #[must_use]
    pub fn left(&self) -> &[u32] {
        &self.left
    }

    /// What was due since the last call, if it has come: who lives, if that was the question.
    fn awaited(
        &mut self,
        leader: &Leader,
        kin: &Kin,
        census: Option<&Census>,
    ) -> Result<Option<Seen>, Wait> {
        match mem::replace(&mut self.due, Due::Nothing) {
            Due::Nothing => Ok(None),
            Due::Census { since, not_before } => {
                let census = census.filter(|census| census.begun >= since);
                match census.and_then(|census| census.family(kin)) {
                    Some(family) => Ok(Some(self.see(leader, family.clone()))),
                    None => Err(self.await_census(since, not_before)),
                }
            }
            Due::CloserLook(at) => {
                if Instant::now() < at {
                    self.due = Due::CloserLook(at);
                    return Err(Wait::Until(at));
                }
                let family = Census::of_processes(kin, &self.family.unclear);
                Ok(Some(match family {
                    Ok(family) => self.see(leader, family),
                    Err(error) => self.lose_sight(error),
                }))
            }
            Due::Blind => Ok(Some(Seen::Unknown)),
            Due::End { pidfd, until } => {
                if Instant::now() < until && !is_readable(pidfd.as_fd()) {
                    let wait = readable(pidfd.as_fd(), Some(until));
                    self.due = Due::End { pidfd, until };
                    return Err(wait);
                }
                Ok(None)
            }
        }
    }

    fn await_census(&mut self, since: Instant, not_before: Option<Instant>) -> Wait {
        self.due = Due::Census { since, not_before };
        Wait::Census { not_before }
    }

    /// Takes note that nobody knows who lives.
    fn lose_sight(&mut self, error: io::Error) -> Seen {
        tracing::debug!(%error, "cannot look who is left of a child");
        self.blind = Some(error);
        Seen::Unknown
    }

    /// Takes note of who lives; the leader is in the group until its status can be had.
    fn see(&mut self, leader: &Leader, mut family: Family) -> Seen {
        if matches!(leader.exited(), Ok(None)) && !family.group.contains(&leader.pid()) {
            family.group.push(leader.pid());
        }
        self.left = family.all().map(number).collect();
        self.blind = None;
        self.family = family;
        if !self.family.group.is_empty() {
            Seen::Group
        } else if !self.family.strays.is_empty() {
            Seen::Strays
        } else if !self.family.unclear.is_empty() {
            Seen::Unclear
        } else {
            Seen::Nobody
        }
    }

    fn attend(&mut self, kin: &Kin, tell: Option<Signal>, now: Instant, until: Instant) -> Wait {
        let soon = now + EXEC_TIME;
        let all_told = tell
            .is_none_or(|signal| kin.signal_strays(&self.family.strays, signal, &mut self.told));
        let next = self.family.all().next();
        match next.map(|next| pidfd_open(next, PidfdFlags::empty())) {
            Some(Ok(pidfd)) if all_told => {
                let wait = readable(pidfd.as_fd(), Some(until));
                self.due = Due::End { pidfd, until };
                wait
            }
            // There are no file numbers left.
            Some(Err(error)) if error != Errno::SRCH => self.await_census(until, Some(until)),
            // Somebody executes another program, or is gone by now.
            _ => self.await_census(soon, Some(soon)),
        }
    }

    fn reap(&mut self, leader: &Leader) -> Wait {
        self.left.clear();
        Wait::Over(match leader.reap() {
            Ok(Some(Ended { status, spent })) => Ok(Stopped {
                status,
                by: self.descent.by(),
                killed: self.killed.clone(),
                spent,
            }),
            Ok(None) => Err(StopError::StillAlive {
                pids: vec![number(leader.pid())],
            }),
            Err(Lost) => Err(StopError::StatusLost {
                pid: number(leader.pid()),
            }),
        })
    }

    /// Writes what the pipe takes, and closes it behind the last byte.
    fn write(&mut self, bytes: &[u8]) -> Wrote {
        let Some(stdin) = &mut self.stdin else {
            return Wrote::Refused;
        };
        if !self.writing && set_nonblocking(stdin).is_err() {
            return Wrote::Refused;
        }
        self.writing = true;
        let mut written_bytes = 0;
        while written_bytes < bytes.len() {
            match stdin.write(&bytes[written_bytes..]) {
                Ok(count) => written_bytes += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Wrote::Part(written_bytes);
                }
                // The child closed its end: it will not read what we say.
                Err(_) => return Wrote::Refused,
            }
        }
        Wrote::All
    }

    /// Closes a stdin that was written to as soon as the step is over, however far it got.
    fn close_half_written(&mut self) {
        if mem::take(&mut self.writing) {
            self.stdin = None;
        }
    }
}

fn leader_is(leader: &Leader) -> Result<LeaderIs, Lost> {
    if !is_readable(leader.as_fd()) {
        return Ok(LeaderIs::Running);
    }
    Ok(match leader.exited()? {
        Some(_) => LeaderIs::Exited,
        None => LeaderIs::Held,
    })
}

fn is_readable(fd: BorrowedFd<'_>) -> bool {
    let mut file = [PollFd::from_borrowed_fd(fd, PollFlags::IN)];
    matches!(poll(&mut file, Some(&Timespec::default())), Ok(1..))
}

fn readable(fd: BorrowedFd<'_>, until: Option<Instant>) -> Wait {
    match fd.try_clone_to_owned() {
        Ok(fd) => Wait::Readable { fd, until },
        Err(_) => soon(until),
    }
}

fn writable(fd: BorrowedFd<'_>, until: Option<Instant>) -> Wait {
    match fd.try_clone_to_owned() {
        Ok(fd) => Wait::Writable { fd, until },
        Err(_) => soon(until),
    }
}

fn soon(until: Option<Instant>) -> Wait {
    let soon = Instant::now() + NO_FILES;
    Wait::Until(until.map_or(soon, |until| soon.min(until)))
}

fn signal_group(leader: &Leader, signal: Signal) {
    if let Err(error) = leader.signal_group(signal) {
        let group = number(leader.pid());
        tracing::debug!(group, %signal, %error, "group not signalled");
    }
}

fn number(pid: Pid) -> u32 {
    pid.as_raw_nonzero().get().unsigned_abs()
}
