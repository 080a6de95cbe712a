//! The process that was started, which leads its group.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::Duration;

use parking_lot::Mutex;
use rustix::io::Errno;
use rustix::process::{
    Pid, PidfdFlags, WaitId, WaitIdOptions, WaitIdStatus, kill_process_group, pidfd_open,
    pidfd_send_signal, waitid,
};

use crate::guardian;
use crate::signal::Signal;
use crate::sys;
use crate::usage::Spent;

/// How soon to look again for the status of a leader whose pidfd is readable, but whose zombie a debugger
/// holds: the kernel tells nobody when it lets go.
pub(crate) const HELD_ZOMBIE: Duration = Duration::from_millis(10);

/// The leader of a child's group, alive or a zombie or gone.
///
/// Single processes are signalled by pidfd, which names a process for ever. A group has no such
/// handle: it is signalled by number, and the kernel gives the number to nobody else as long as a
/// process of the group exists, the unreaped leader among them (`alloc_pid` in the kernel's
/// `kernel/pid.c` hands out numbers that no task uses in any role). So [`reap`](Self::reap) comes
/// last, and under the lock that every signal to the group takes.
#[derive(Debug)]
pub(crate) struct Leader {
    pid: Pid,
    pidfd: OwnedFd,
    /// The most memory that this process had when the child began: the kernel counts it as the child's.
    inherited_peak_bytes: u64,
    tie: Mutex<Tie>,
}

/// Whether the group's number is still ours.
#[derive(Debug)]
enum Tie {
    Held,
    /// With its end, unless somebody else reaped the leader.
    Reaped(Option<Ended>),
}

/// How a leader ended that we have reaped.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    pub(crate) spent: Spent,
}

/// The status is lost: somebody else reaped the process.
#[derive(Debug)]
pub(crate) struct Lost;

impl Leader {
    /// Takes charge of a child of ours that nobody has reaped; from now on its group dies with us.
    pub(crate) fn adopt(pid: Pid) -> io::Result<Self> {
        let pidfd = pidfd_open(pid, PidfdFlags::empty())?;
        guardian::register(pid);
        Ok(Self {
            pid,
            pidfd,
            inherited_peak_bytes: sys::spent_by_us().peak_resident_bytes,
            tie: Mutex::new(Tie::Held),
        })
    }

    pub(crate) fn pid(&self) -> Pid {
        self.pid
    }

    /// The status if the leader has exited, leaving it a zombie.
    pub(crate) fn exited(&self) -> Result<Option<ExitStatus>, Lost> {
        let mut tie = self.tie.lock();
        match *tie {
            Tie::Reaped(Some(ended)) => Ok(Some(ended.status)),
            Tie::Reaped(None) => Err(Lost),
            Tie::Held => self.look(&mut tie),
        }
    }

    /// What it took, if it has exited and its status is not lost.
    pub(crate) fn spent(&self) -> Option<Spent> {
        let tie = self.tie.lock();
        match *tie {
            Tie::Reaped(ended) => ended.map(|ended| ended.spent),
            Tie::Held => {
                let spent = sys::spent_by(self.pidfd.as_fd()).ok();
                spent.map(|spent| spent.without_inherited_peak(self.inherited_peak_bytes))
            }
        }
    }

    pub(crate) fn is_reaped(&self) -> bool {
        matches!(*self.tie.lock(), Tie::Reaped(_))
    }

    /// Signals the leader alone.
    pub(crate) fn signal(&self, signal: Signal) -> Result<(), Errno> {
        pidfd_send_signal(&self.pidfd, signal.kernel())
    }

    /// Signals every process of the group at once; `ESRCH` when it is no longer ours.
    pub(crate) fn signal_group(&self, signal: Signal) -> Result<(), Errno> {
        let tie = self.tie.lock();
        match *tie {
            Tie::Held => kill_process_group(self.pid, signal.kernel()),
            Tie::Reaped(_) => Err(Errno::SRCH),
        }
    }

    /// Reaps the leader if it has exited; from then on the group cannot be signalled.
    pub(crate) fn reap(&self) -> Result<Option<Ended>, Lost> {
        let mut tie = self.tie.lock();
        match *tie {
            Tie::Reaped(Some(ended)) => return Ok(Some(ended)),
            Tie::Reaped(None) => return Err(Lost),
            Tie::Held => {}
        }
        let Some(status) = self.look(&mut tie)? else {
            return Ok(None);
        };
        // First the guardian forgets the number, then the kernel may give it to somebody else.
        guardian::deregister(self.pid);
        let ended = sys::reap(self.pid).map(|spent| Ended {
            status,
            spent: spent.without_inherited_peak(self.inherited_peak_bytes),
        });
        *tie = Tie::Reaped(ended.as_ref().ok().copied());
        ended.map(Some).map_err(|_| Lost)
    }

    /// The status if the leader has exited. It stays a zombie.
    fn look(&self, tie: &mut Tie) -> Result<Option<ExitStatus>, Lost> {
        let how = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        match waitid(WaitId::PidFd(self.pidfd.as_fd()), how) {
            Ok(status) => Ok(status.map(|status| exit_status(&status))),
            // The call does not block, so EINTR cannot come; ECHILD is the one error of a valid
            // pidfd: SIGCHLD is ignored in this process, or somebody calls waitpid(-1).
            Err(_) => {
                guardian::deregister(self.pid);
                *tie = Tie::Reaped(None);
                Err(Lost)
            }
        }
    }
}

impl AsFd for Leader {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }
}

/// Puts together the word that `wait(2)` would have given.
fn exit_status(status: &WaitIdStatus) -> ExitStatus {
    const CORE_DUMPED: i32 = 0x80;
    let raw = match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => (code & 0xff) << 8,
        (None, Some(signal)) if status.dumped() => signal | CORE_DUMPED,
        (None, signal) => signal.unwrap_or(0),
    };
    ExitStatus::from_raw(raw)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::process::CommandExt;
    use std::process::Command;
    use std::sync::mpsc;
    use std::thread;

    use super::*;

    /// The kernel gave the number of a reaped leader to a stranger: it is not signalled.
    #[test]
    fn a_stranger_with_the_same_number_is_left_alone() {
        let mut stranger = Command::new("sleep")
            .arg("1000")
            .process_group(0)
            .spawn()
            .unwrap();
        let mut gone = Command::new("true").spawn().unwrap();
        let pidfd = pidfd_open(Pid::from_child(&gone), PidfdFlags::empty()).unwrap();
        gone.wait().unwrap();
        let pid = Pid::from_child(&stranger);
        let leader = Leader {
            pid,
            pidfd,
            inherited_peak_bytes: 0,
            tie: Mutex::new(Tie::Reaped(None)),
        };

        assert_eq!(leader.signal(Signal::Kill), Err(Errno::SRCH));
        assert_eq!(leader.signal_group(Signal::Kill), Err(Errno::SRCH));
        assert!(leader.exited().is_err());
        assert!(leader.reap().is_err());
        assert_eq!(stranger.try_wait().unwrap(), None);
        stranger.kill().unwrap();
        stranger.wait().unwrap();
    }

    /// Otherwise the guardian might kill a stranger that got the number.
    #[test]
    fn the_guardian_forgets_the_group_before_the_reaping() {
        let mut child = Command::new("true").process_group(0).spawn().unwrap();
        let leader = Leader::adopt(Pid::from_child(&child)).unwrap();
        while leader.exited().unwrap().is_none() {
            thread::yield_now();
        }
        let state = |process: String| {
            let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
            stat.rsplit_once(") ")
                .and_then(|(_, rest)| rest.chars().next())
        };
        let (tell, told) = mpsc::channel();
        thread::scope(|scope| {
            let held = guardian::hold();
            let reaper = scope.spawn(|| {
                tell.send(rustix::thread::gettid()).unwrap();
                leader.reap().unwrap().unwrap().status
            });
            let thread = format!("self/task/{}", told.recv().unwrap());
            while !leader.tie.is_locked() || state(thread.clone()) != Some('S') {
                thread::yield_now();
            }
            assert_eq!(state(leader.pid().to_string()), Some('Z'), "not yet");
            drop(held);
            assert!(reaper.join().unwrap().success());
        });
        assert_eq!(state(leader.pid().to_string()), None);
        child.wait().expect_err("it is reaped");
    }

    #[test]
    fn a_leader_reaped_by_somebody_else_is_let_go_at_the_first_look() {
        let mut child = Command::new("true").process_group(0).spawn().unwrap();
        let leader = Leader::adopt(Pid::from_child(&child)).unwrap();
        child.wait().unwrap();
        assert!(!leader.is_reaped(), "nobody has looked yet");
        assert!(leader.exited().is_err());
        assert!(leader.is_reaped());
        assert_eq!(leader.signal_group(Signal::Kill), Err(Errno::SRCH));
    }
}
