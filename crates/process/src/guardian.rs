//! The process that outlives us for a moment, to kill what we leave behind.
//!
//! Every process with children has one: `/bin/sh` running `guardian.sh`, told over a pipe which groups
//! there are. The kernel closes our end of the pipe when we die, by whatever signal; the guardian reads
//! the end of file, kills the groups, and looks for descendants that left them by the marker in their
//! environment.
//!
//! Why not `PR_SET_PDEATHSIG`: it fires when the *thread* that forked ends, it needs code between fork
//! and exec, and grandchildren do not inherit it.
//!
//! There is no moment at which a child escapes. One that we are just starting when we die holds a copy
//! of our end of the pipe until its exec closes it; so the guardian begins when the exec is nearly done,
//! and looks long enough to see the marker.

use std::collections::BTreeSet;
use std::ffi::{CStr, CString};
use std::fs::OpenOptions;
use std::io::{self, PipeWriter, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rustix::event::{PollFd, PollFlags};
use rustix::io::fcntl_dupfd_cloexec;
use rustix::process::{
    Pid, PidfdFlags, WaitId, WaitIdOptions, WaitOptions, kill_process, pidfd_open,
    pidfd_send_signal, waitid, waitpid,
};

use crate::child::set_nonblocking;
use crate::marker;
use crate::poll::poll_until;
use crate::signal::Signal;
use crate::sys::{self, Launch};

const SHELL: &CStr = c"/bin/sh";
const SCRIPT: &str = include_str!("guardian.sh");

/// A guardian that dies younger than this is replaced no sooner, lest a broken one keep us busy.
const PROBATION: Duration = Duration::from_secs(1);

static WATCH: Mutex<Watch> = Mutex::new(Watch {
    groups: BTreeSet::new(),
    guardian: None,
    kept: false,
});

/// What is to be guarded, and by whom.
struct Watch {
    groups: BTreeSet<i32>,
    guardian: Option<Guardian>,
    /// The thread that replaces dead guardians runs.
    kept: bool,
}

/// Sees to it that there is a guardian; the first call starts one.
pub(crate) fn ensure() -> io::Result<()> {
    let mut watch = WATCH.lock();
    if !watch.is_guarded() {
        watch.replace()?;
    }
    if !watch.kept {
        thread::Builder::new()
            .name("longtake-guard".to_owned())
            .spawn(keep)?;
        watch.kept = true;
    }
    Ok(())
}

/// From now on the group dies with us.
pub(crate) fn register(group: Pid) {
    let group = group.as_raw_nonzero().get();
    let mut watch = WATCH.lock();
    watch.groups.insert(group);
    watch.tell(&format!("+{group}\n"));
}

/// The group is gone, and its number about to be free.
pub(crate) fn deregister(group: Pid) {
    let group = group.as_raw_nonzero().get();
    let mut watch = WATCH.lock();
    watch.groups.remove(&group);
    watch.tell(&format!("-{group}\n"));
}

/// The groups of all children that are not reaped.
pub(crate) fn groups() -> BTreeSet<i32> {
    WATCH.lock().groups.clone()
}

/// Keeps everybody waiting who has something to tell the guardian.
#[cfg(test)]
pub(crate) fn hold() -> impl Sized {
    WATCH.lock()
}

/// Replaces guardians that die: the out-of-memory killer may take one, or somebody who tidies up.
///
/// Runs as long as the process, since the guardian must be there until the very end.
fn keep() -> ! {
    loop {
        let current = WATCH
            .lock()
            .guardian
            .as_ref()
            .map(|guardian| Arc::clone(&guardian.pidfd));
        let started = Instant::now();
        if let Some(pidfd) = current {
            while !has_exited(&pidfd) {
                poll_until(&mut [PollFd::new(&*pidfd, PollFlags::IN)], None);
            }
        }
        if started.elapsed() < PROBATION {
            thread::sleep(PROBATION);
        }
        let mut watch = WATCH.lock();
        if !watch.is_guarded() {
            watch.try_replace();
        }
    }
}

impl Watch {
    /// Tells the guardian, or replaces one that does not listen: the new one is told everything.
    fn tell(&mut self, line: &str) {
        let guardian = self.guardian.as_mut();
        if let Some(Err(error)) = guardian.map(|guardian| guardian.pipe.write_all(line.as_bytes()))
        {
            tracing::warn!(%error, "guardian does not listen");
            self.try_replace();
        }
    }

    fn is_guarded(&self) -> bool {
        self.guardian
            .as_ref()
            .is_some_and(|guardian| !has_exited(&guardian.pidfd))
    }

    fn try_replace(&mut self) {
        match self.replace() {
            Ok(()) => tracing::warn!("guardian replaced"),
            Err(error) => tracing::error!(%error, "no guardian: children would outlive us"),
        }
    }

    /// Starts another guardian, and dismisses the old one only then.
    fn replace(&mut self) -> io::Result<()> {
        let next = Guardian::start(SHELL, &self.groups)?;
        if let Some(old) = self.guardian.replace(next) {
            old.dismiss();
        }
        Ok(())
    }
}

struct Guardian {
    pidfd: Arc<OwnedFd>,
    /// Never blocks: a guardian that stands still must not hold us up. It has the 64 KiB of any pipe, room
    /// for the lines of some thousand children that start and end while the guardian does not get to run.
    pipe: PipeWriter,
}

impl Guardian {
    fn start(shell: &CStr, groups: &BTreeSet<i32>) -> io::Result<Self> {
        let (reader, pipe) = io::pipe()?;
        let null = OpenOptions::new().write(true).open("/dev/null")?;
        // Above the numbers that they are to have, as Launch asks.
        let reader = fcntl_dupfd_cloexec(reader, 3)?;
        let null = fcntl_dupfd_cloexec(null, 3)?;
        let argv = [
            "sh",
            "-c",
            SCRIPT,
            "longtake-guardian",
            marker::of_this_process()?,
        ];
        // Not our environment: in it may be the marker of a process above us, which must not take our
        // guardian for a descendant of its child and kill it before its work is done.
        let envp = ["PATH=/usr/bin:/bin:/usr/sbin:/sbin", "LC_ALL=C"];
        let pid = sys::posix_spawn(&Launch {
            file: shell,
            argv: &argv.map(c_string),
            envp: &envp.map(c_string),
            cwd: Some(c"/"),
            files: &[(reader.as_fd(), 0), (null.as_fd(), 1), (null.as_fd(), 2)],
            close_from: 3,
            // Until the trap is set.
            blocked: &[Signal::Hup, Signal::Int, Signal::Quit, Signal::Term],
        })?;
        match pidfd_open(pid, PidfdFlags::empty()) {
            Ok(pidfd) => Self {
                pidfd: Arc::new(pidfd),
                pipe,
            }
            .instruct(groups),
            Err(error) => {
                // As in `dismiss`: the pipe must not end before it is dead.
                let killed = kill_process(pid, rustix::process::Signal::KILL);
                let reaped = waitpid(Some(pid), WaitOptions::empty());
                tracing::debug!(?killed, ?reaped, "guardian taken back");
                Err(error.into())
            }
        }
    }

    fn instruct(mut self, groups: &BTreeSet<i32>) -> io::Result<Self> {
        let lines: String = groups.iter().map(|group| format!("+{group}\n")).collect();
        let told = self.pipe.write_all(lines.as_bytes());
        match told.and_then(|()| set_nonblocking(&self.pipe)) {
            Ok(()) => Ok(self),
            Err(error) => {
                self.dismiss();
                Err(error)
            }
        }
    }

    /// Kills it, and only then closes the pipe, at whose end it would kill our children.
    fn dismiss(self) {
        let killed = pidfd_send_signal(&self.pidfd, rustix::process::Signal::KILL);
        let reaped = waitid(WaitId::PidFd(self.pidfd.as_fd()), WaitIdOptions::EXITED);
        tracing::debug!(?killed, ?reaped, "guardian dismissed");
        drop(self.pipe);
    }
}

fn has_exited(pidfd: &OwnedFd) -> bool {
    let look = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    !matches!(waitid(WaitId::PidFd(pidfd.as_fd()), look), Ok(None))
}

fn c_string(text: &str) -> CString {
    CString::new(text).expect("our own texts have no nul byte")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_shell_there_is_an_answer() {
        let error = Guardian::start(c"/no/such/shell", &BTreeSet::new())
            .err()
            .unwrap();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn a_guardian_that_does_not_read_is_an_error_and_not_a_wait() {
        let mut guardian = Guardian::start(SHELL, &BTreeSet::new()).unwrap();
        pidfd_send_signal(&guardian.pidfd, rustix::process::Signal::STOP).unwrap();
        // A group that never is: the kernel's numbers end below 2^22.
        let line = b"-2147483647\n";
        let lines = (0..64 << 10).map(|_| guardian.pipe.write_all(line));
        let error = lines.filter_map(Result::err).next().unwrap();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        guardian.dismiss();
    }
}
