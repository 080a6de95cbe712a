//! Who belongs to a child: its group, and the descendants that left it.

use std::fs;
use std::io::{self, Read};
use std::mem;
use std::os::fd::AsFd;
use std::thread;
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open, pidfd_send_signal};

use crate::marker::Marker;
use crate::signal::Signal;
use crate::stat::Stat;
use crate::sys;

/// How soon to look again for the environment of a process that executes another program.
pub(crate) const EXEC_TIME: Duration = Duration::from_millis(1);

/// How often to look for it, as there are processes without any.
const EXEC_LOOKS: u32 = 20;

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
    pub(crate) strays: Vec<Stray>,
    /// Who may belong to it, but shows no environment right now.
    unclear: Vec<Pid>,
}

/// A descendant that left the group.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stray {
    process: Pid,
    group: i32,
}

/// Whether a process has our word in its environment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Marked {
    Yes,
    No,
    /// It shows no environment.
    Unclear,
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
        let stat = Stat::read(&leader.to_string(), &mut Vec::new());
        let since_ticks = stat.map_or(0, |stat| stat.started_ticks);
        Self {
            group: leader,
            marker,
            since_ticks,
        }
    }

    /// Looks through `/proc`. The zombies among the family are left out: they hold nothing but a number.
    ///
    /// Before it says that nobody is left, it looks again at processes without an environment: one that is
    /// in the middle of an exec will have it soon, and one that is exiting will be gone.
    pub(crate) fn living(&self) -> io::Result<Family> {
        let mut family = Family::default();
        let mut environ = Environ::default();
        for_each_process(|stat| self.place(stat, &mut environ, &mut family))?;
        let mut line = Vec::new();
        for _ in 0..EXEC_LOOKS {
            if !family.is_empty() || family.unclear.is_empty() {
                break;
            }
            thread::sleep(EXEC_TIME);
            for process in mem::take(&mut family.unclear) {
                if let Ok(stat) = Stat::read(&process.to_string(), &mut line) {
                    self.place(&stat, &mut environ, &mut family);
                }
            }
        }
        Ok(family)
    }

    /// Signals those strays that are not in `told` yet, and adds those whom it reached. The signal goes
    /// to a stray's whole group if it leads one, to everybody once, and is followed by `SIGCONT`. False if
    /// somebody was not reached: it is gone, or shows no marker right now.
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
        if self.marked(stray.process, &mut Environ::default()) != Marked::Yes {
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

    fn place(&self, stat: &Stat, environ: &mut Environ, family: &mut Family) {
        let Some(process) = stat.process().filter(|_| !stat.is_dead()) else {
            return;
        };
        if stat.group == self.group.as_raw_nonzero().get() {
            family.group.push(process);
        } else if stat.started_ticks >= self.since_ticks && !stat.is_of_the_kernel() {
            match self.marked(process, environ) {
                Marked::Yes => family.strays.push(Stray {
                    process,
                    group: stat.group,
                }),
                Marked::No => {}
                Marked::Unclear => family.unclear.push(process),
            }
        }
    }

    fn marked(&self, process: Pid, environ: &mut Environ) -> Marked {
        match environ.read(process) {
            Ok([]) => Marked::Unclear,
            Ok(environ) if self.marker.is_in(environ) => Marked::Yes,
            Ok(_) => Marked::No,
            // How newer kernels say that there is no memory where an environment could be.
            Err(error) if Errno::from_io_error(&error) == Some(Errno::SRCH) => Marked::Unclear,
            // It is gone, or not ours to look at.
            Err(_) => Marked::No,
        }
    }
}

impl Family {
    pub(crate) fn is_empty(&self) -> bool {
        self.group.is_empty() && self.strays.is_empty()
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = Pid> {
        let strays = self.strays.iter().map(|stray| stray.process);
        self.group.iter().copied().chain(strays)
    }
}

/// Room for the environment of one process after the other.
///
/// An exec in between two reads ends the file early, and hides what had not been read yet. The room is
/// so large that one read is enough for all but extreme environments.
struct Environ(Vec<u8>);

impl Default for Environ {
    fn default() -> Self {
        Self(vec![0; 256 << 10])
    }
}

impl Environ {
    fn read(&mut self, process: Pid) -> io::Result<&[u8]> {
        let mut file = fs::File::open(format!("/proc/{process}/environ"))?;
        let mut length = 0;
        loop {
            let read = file.read(&mut self.0[length..])?;
            length += read;
            if read == 0 {
                return Ok(&self.0[..length]);
            }
            if length == self.0.len() {
                self.0.resize(2 * length, 0);
            }
        }
    }
}

impl Stray {
    fn leads(&self) -> bool {
        self.process.as_raw_nonzero().get() == self.group
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
