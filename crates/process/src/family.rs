//! Who belongs to a child: its group, and the descendants that left it.

use std::os::fd::AsFd;

use rustix::process::{Pid, PidfdFlags, pidfd_open, pidfd_send_signal};

use crate::environ::{Environ, Shown};
use crate::marker::Marker;
use crate::signal::Signal;
use crate::stat::Stat;
use crate::sys;
use crate::usage::Usage;

/// How the processes of one [`Child`](crate::Child) are told from all others, for a
/// [`Census`](crate::Census).
///
/// Cheap to clone, and it keeps nothing alive or open. It is good until the child is reaped: after that
/// the number of the group may go to a stranger.
#[derive(Clone, Debug)]
pub struct Kin {
    pub(crate) group: Pid,
    pub(crate) marker: Marker,
    /// When the leader started, in clock ticks since boot: its descendants are not older, so that the
    /// environment of older processes need not be read.
    pub(crate) since_ticks: u64,
}

/// The processes of a child, as `/proc` showed them.
///
/// Zombies count only in what they took: they hold nothing but a number.
#[derive(Clone, Debug, Default)]
pub(crate) struct Family {
    /// In the group and alive, the leader included.
    pub(crate) group: Vec<Pid>,
    pub(crate) strays: Vec<Stray>,
    /// Who may belong to it, but shows no environment right now.
    pub(crate) unclear: Vec<Pid>,
    pub(crate) usage: Usage,
}

/// A living descendant that left the group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stray {
    pub(crate) process: Pid,
    pub(crate) group: Pid,
}

/// Whom a signal to a stray has reached.
enum Reached {
    Nobody,
    Process,
    Group,
}

impl Kin {
    /// The kin of a leader that is there, alive or a zombie.
    pub(crate) fn new(leader: Pid, marker: Marker) -> Self {
        let stat = Stat::read(leader, &mut Vec::new());
        let since_ticks = stat.map_or(0, |stat| stat.started_ticks);
        Self {
            group: leader,
            marker,
            since_ticks,
        }
    }

    /// Signals those strays that are not in `told` yet, and adds those whom it reached. The signal goes
    /// to a stray's whole group if it leads one, to everybody once, and is followed by `SIGCONT`. False if
    /// somebody was not reached: it is gone, or shows no marker right now, or no file number is left.
    ///
    /// No stranger is reached: if the number went to another process since the stray was seen, either the
    /// marker is not there, or the pidfd, which is older than that look, names a process that is gone.
    pub(crate) fn signal_strays(
        &self,
        strays: &[Stray],
        signal: Signal,
        told: &mut Vec<Pid>,
    ) -> bool {
        let mut strays = strays.to_vec();
        strays.sort_by_key(|stray| !stray.leads());
        let mut groups = Vec::new();
        let mut all = true;
        for stray in strays {
            if told.contains(&stray.process) {
                continue;
            }
            if !groups.contains(&stray.group) {
                match self.signal_stray(stray, signal) {
                    Reached::Nobody => {
                        all = false;
                        continue;
                    }
                    Reached::Process => {}
                    Reached::Group => groups.push(stray.group),
                }
            }
            told.push(stray.process);
        }
        all
    }

    fn signal_stray(&self, stray: Stray, signal: Signal) -> Reached {
        let Ok(pidfd) = pidfd_open(stray.process, PidfdFlags::empty()) else {
            return Reached::Nobody;
        };
        if !self.claims(stray.process) {
            return Reached::Nobody;
        }
        // Members of its group may have no marker. Before Linux 6.9 the group cannot be reached by pidfd,
        // and by number it might be a stranger's.
        if stray.leads() && sys::signal_group_by_pidfd(pidfd.as_fd(), signal).is_ok() {
            let continued = sys::signal_group_by_pidfd(pidfd.as_fd(), Signal::Cont);
            tracing::debug!(%stray.process, %signal, ?continued, "group of a stray signalled");
            return Reached::Group;
        }
        let told = pidfd_send_signal(&pidfd, signal.kernel());
        let continued = pidfd_send_signal(&pidfd, Signal::Cont.kernel());
        tracing::debug!(%stray.process, %signal, ?told, ?continued, "stray signalled");
        Reached::Process
    }

    /// Whether a process has our word in its environment.
    fn claims(&self, process: Pid) -> bool {
        match Environ::default().of(process) {
            Ok(Shown::Variables(environ)) => self
                .marker
                .siblings_in(environ)
                .any(|word| word == self.marker),
            Ok(Shown::Nothing | Shown::Refused) | Err(_) => false,
        }
    }
}

impl Family {
    pub(crate) fn all(&self) -> impl Iterator<Item = Pid> {
        let strays = self.strays.iter().map(|stray| stray.process);
        self.group.iter().copied().chain(strays)
    }
}

impl Stray {
    fn leads(&self) -> bool {
        self.process == self.group
    }
}
