//! One look through all processes of the system, for any number of children.

use std::borrow::Borrow;
use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::io;
use std::time::Instant;

use rustix::process::Pid;

use crate::environ::{Environ, Shown};
use crate::family::{Family, Kin, Stray};
use crate::guardian;
use crate::hidden::is_hidden;
use crate::marker::Marker;
use crate::stat::Stat;
use crate::sys;
use crate::usage::{IoUsage, Usage};

/// What `/proc` showed of some children at one moment.
///
/// One pass serves any number of children: their [`usage`](Self::usage), and [`Stopping::go_on`](crate::Stopping::go_on)
/// of those that are being stopped.
///
/// ```
/// use longtake_process::{Census, Command, Kin};
///
/// let mut children = Vec::new();
/// for _ in 0..3 {
///     children.push(Command::new("sleep").arg("1000").spawn()?);
/// }
/// let kin: Vec<Kin> = children.iter().map(|child| child.kin()).collect();
/// let census = Census::take(&kin)?;
/// assert!(kin.iter().all(|kin| census.usage(kin).processes == 1));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Census {
    /// What happened before is seen.
    pub(crate) begun: Instant,
    /// By the number of their groups.
    families: HashMap<Pid, Family>,
}

impl Census {
    /// Looks for these children through all processes of the system.
    ///
    /// Takes some 10 µs for each process of theirs, up to 30 µs for each process of strangers that is younger
    /// than the oldest of them, and hardly anything for those of our other children and for threads of the
    /// kernel.
    ///
    /// # Errors
    ///
    /// Fails when `/proc` cannot be read, or not to its end: file numbers or memory have run out.
    pub fn take(kin: impl IntoIterator<Item: Borrow<Kin>>) -> io::Result<Self> {
        Pass::over(kin, Io::NotAsked).through_all()
    }

    /// As [`take`](Self::take), with the bytes that were read and written in the usage. That is one more
    /// file to read for each process of the children.
    ///
    /// # Errors
    ///
    /// Fails when `/proc` cannot be read, or not to its end: file numbers or memory have run out.
    pub fn take_with_io(kin: impl IntoIterator<Item: Borrow<Kin>>) -> io::Result<Self> {
        Pass::over(kin, Io::Asked).through_all()
    }

    /// What the whole tree of this child takes; all zero if the census was not taken for it.
    #[must_use]
    pub fn usage(&self, kin: &Kin) -> Usage {
        self.families
            .get(&kin.group)
            .map(|family| family.usage)
            .unwrap_or_default()
    }

    /// Which of these processes belong to this child.
    pub(crate) fn of_processes(kin: &Kin, processes: &[Pid]) -> io::Result<Family> {
        let mut pass = Pass::over([kin], Io::NotAsked);
        for &process in processes {
            pass.visit(process)?;
        }
        let mut families = pass.census.families;
        Ok(families.remove(&kin.group).unwrap_or_default())
    }

    /// The processes of this child; `None` if the census was not taken for it.
    pub(crate) fn family(&self, kin: &Kin) -> Option<&Family> {
        self.families.get(&kin.group)
    }
}

/// Whether the files `/proc/PID/io` are to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Io {
    Asked,
    NotAsked,
}

/// A census on its way from process to process.
struct Pass {
    census: Census,
    kin: Vec<Kin>,
    /// Where in `kin` each word leads.
    words: HashMap<Marker, usize>,
    /// The groups of our other children, whose members need not be looked at.
    others: BTreeSet<i32>,
    /// When the oldest leader started.
    since_ticks: u64,
    io: Io,
    line: Vec<u8>,
    environ: Environ,
}

impl Pass {
    fn over(kin: impl IntoIterator<Item: Borrow<Kin>>, io: Io) -> Self {
        let begun = Instant::now();
        let kin: Vec<Kin> = kin.into_iter().map(|kin| kin.borrow().clone()).collect();
        let families = kin.iter().map(|kin| (kin.group, Family::default()));
        let mut others = guardian::groups();
        for kin in &kin {
            others.remove(&kin.group.as_raw_nonzero().get());
        }
        let words = kin.iter().map(|kin| kin.marker).zip(0..);
        Self {
            census: Census {
                begun,
                families: families.collect(),
            },
            words: words.collect(),
            others,
            since_ticks: kin.iter().map(|kin| kin.since_ticks).min().unwrap_or(0),
            kin,
            io,
            line: Vec::new(),
            environ: Environ::default(),
        }
    }

    fn through_all(mut self) -> io::Result<Census> {
        if self.kin.is_empty() {
            return Ok(self.census);
        }
        for entry in fs::read_dir("/proc")? {
            let name = entry?.file_name();
            let number = name.to_str().and_then(|name| name.parse().ok());
            if let Some(process) = number.and_then(Pid::from_raw) {
                self.visit(process)?;
            }
        }
        Ok(self.census)
    }

    /// Looks at one process, which may be gone by now. The cheapest question comes first.
    ///
    /// Fails when it cannot be looked at though it may be there: nobody is taken for gone because there are
    /// no file numbers left.
    fn visit(&mut self, process: Pid) -> io::Result<()> {
        // Who has no group here is a thread of the kernel, or came from outside our pid namespace.
        let Ok(Some(group)) = sys::group_of(process) else {
            return Ok(());
        };
        if self.others.contains(&group.as_raw_nonzero().get()) {
            return Ok(());
        }
        let stat = match Stat::read(process, &mut self.line) {
            Ok(stat) => stat,
            Err(error) if is_hidden(&error) => return Ok(()),
            Err(error) => return Err(error),
        };
        let Some(group) = stat.group else {
            return Ok(());
        };
        if let Some(family) = self.census.families.get_mut(&group) {
            family.usage.add(&stat, read_io(self.io, process));
            if !stat.is_dead() {
                family.group.push(process);
            }
        } else if !stat.is_dead() && stat.started_ticks >= self.since_ticks {
            self.visit_outsider(process, group, &stat)?;
        }
        Ok(())
    }

    /// Looks at one that is in none of the groups, but not older than they are.
    fn visit_outsider(&mut self, process: Pid, group: Pid, stat: &Stat) -> io::Result<()> {
        match self.environ.of(process)? {
            Shown::Variables(environ) => {
                let Some(any) = self.kin.first() else {
                    return Ok(());
                };
                let words = any.marker.siblings_in(environ);
                for kin in words.filter_map(|word| self.kin.get(*self.words.get(&word)?)) {
                    let stray = Stray { process, group };
                    if let Some(family) = self.census.families.get_mut(&kin.group)
                        && family.strays.last() != Some(&stray)
                    {
                        family.usage.add(stat, read_io(self.io, process));
                        family.strays.push(stray);
                    }
                }
            }
            Shown::Nothing => {
                for kin in &self.kin {
                    if stat.started_ticks >= kin.since_ticks
                        && let Some(family) = self.census.families.get_mut(&kin.group)
                    {
                        family.unclear.push(process);
                    }
                }
            }
            Shown::Refused => {}
        }
        Ok(())
    }
}

fn read_io(io: Io, process: Pid) -> Option<IoUsage> {
    match io {
        Io::Asked => IoUsage::of(process),
        Io::NotAsked => None,
    }
}
