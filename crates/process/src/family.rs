//! Who belongs to a child: its group, and the descendants that left it.

use std::fs;
use std::io::{self, Read};

use rustix::process::{Pid, PidfdFlags, pidfd_open, pidfd_send_signal};

use crate::marker::Marker;
use crate::signal::Signal;
use crate::stat::Stat;

/// How the processes of one child are told from all others.
#[derive(Debug)]
pub(crate) struct Kin {
    group: Pid,
    marker: Marker,
    /// When the leader started, in clock ticks since boot: its descendants are not older, so that the
    /// environment of older processes need not be read.
    since_ticks: u64,
}

/// The living processes of a child, as `/proc` showed them.
#[derive(Debug, Default)]
pub(crate) struct Family {
    /// In the group, the leader included.
    pub(crate) group: Vec<Pid>,
    /// Descendants that left it.
    pub(crate) strays: Vec<Pid>,
}

impl Kin {
    /// The kin of a leader that is there, alive or a zombie.
    pub(crate) fn new(leader: Pid, marker: Marker) -> Self {
        let stat = Stat::read(&leader.to_string(), &mut Vec::new());
        let since_ticks = stat.map_or(0, |stat| stat.started_ticks);
        Self {
            group: leader,
            marker,
            since_ticks,
        }
    }

    /// Looks through `/proc`. The zombies among the family are left out: they hold nothing but a number.
    pub(crate) fn living(&self) -> io::Result<Family> {
        let mut family = Family::default();
        let mut environ = Vec::new();
        for_each_process(|stat| {
            let Some(pid) = stat.process().filter(|_| !stat.is_dead()) else {
                return;
            };
            if stat.group == self.group.as_raw_nonzero().get() {
                family.group.push(pid);
            } else if stat.started_ticks >= self.since_ticks && self.is_marked(pid, &mut environ) {
                family.strays.push(pid);
            }
        })?;
        Ok(family)
    }

    /// Signals a stray, and nobody else: if the number went to another process since it was seen,
    /// either the marker is not there, or the pidfd names a process that is gone.
    pub(crate) fn signal_stray(&self, stray: Pid, signal: Signal) {
        let Ok(pidfd) = pidfd_open(stray, PidfdFlags::empty()) else {
            return;
        };
        if !self.is_marked(stray, &mut Vec::new()) {
            return;
        }
        if let Err(error) = pidfd_send_signal(&pidfd, signal.kernel()) {
            tracing::debug!(pid = stray.as_raw_nonzero(), %signal, %error, "stray not signalled");
        }
    }

    fn is_marked(&self, pid: Pid, environ: &mut Vec<u8>) -> bool {
        environ.clear();
        let read = fs::File::open(format!("/proc/{pid}/environ"))
            .and_then(|mut file| file.read_to_end(environ));
        read.is_ok() && self.marker.is_in(environ)
    }
}

impl Family {
    pub(crate) fn is_empty(&self) -> bool {
        self.group.is_empty() && self.strays.is_empty()
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = Pid> {
        self.group.iter().chain(&self.strays).copied()
    }
}

/// Calls `each` for every process of the system that lives long enough to be read.
pub(crate) fn for_each_process(mut each: impl FnMut(&Stat)) -> io::Result<()> {
    let mut line = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let Some(name) = name
            .to_str()
            .filter(|name| name.bytes().all(|b| b.is_ascii_digit()))
        else {
            continue;
        };
        if let Ok(stat) = Stat::read(name, &mut line) {
            each(&stat);
        }
    }
    Ok(())
}
