//! What a child takes of the machine, and what it took.

use std::fs;
use std::io;
use std::time::Duration;

use rustix::process::Pid;

use crate::stat::Stat;

/// What the processes of a child take, as `/proc` shows it at one moment.
///
/// All that descends from it counts: its group, zombies included, and the living processes that left the
/// group, as far as they can be found (see the crate's "Who belongs to a child").
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Usage {
    /// Living processes.
    pub processes: u32,
    /// CPU time spent in the programs, in steps of 10 ms.
    ///
    /// It is the time of all processes that count, and of the children that they have waited for, with
    /// theirs. A process whose parent died before it takes its time along when it
    /// ends, so the sum may fall.
    pub user_time: Duration,
    /// CPU time spent in the kernel for them, counted in the same way.
    pub system_time: Duration,
    /// Memory resident in RAM, pages that several processes share counted for each.
    pub resident_bytes: u64,
    /// Bytes read and written, counted as the CPU time is; `None` if nobody asked
    /// ([`Census::take`](crate::Census::take)), or if we may not know (`/proc/PID/io` is for the same user
    /// only).
    pub io: Option<IoUsage>,
}

/// Bytes that the processes of a child have read and written, see `proc_pid_io(5)`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct IoUsage {
    /// Read by system calls, from whatever file, pipe or terminal.
    pub read_bytes: u64,
    /// Written by system calls, to whatever file, pipe or terminal.
    pub written_bytes: u64,
    /// Of them, fetched from a disk.
    pub disk_read_bytes: u64,
    /// Of them, bound for a disk.
    pub disk_written_bytes: u64,
}

/// What the leader of a child took in its whole life, as the kernel told when it was reaped.
///
/// The children that it waited for count as well, with theirs; those that outlived it do not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Spent {
    /// CPU time spent in the programs, to the microsecond.
    pub user_time: Duration,
    /// CPU time spent in the kernel for them.
    pub system_time: Duration,
    /// The most memory that one process of them ever had resident in RAM; 0 if it is not known, which is when
    /// it was no more than this process ever had itself before it started the child. A new process shares the
    /// memory of the one that starts it until it becomes another program, and the kernel counts that.
    pub peak_resident_bytes: u64,
}

/// Why the usage of a child is not known.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UsageError {
    /// The child is gone and reaped, and with it what `/proc` knew.
    #[error("process {pid} is gone")]
    Gone {
        /// The process id it had.
        pid: u32,
    },
    /// `/proc` cannot be read.
    #[error("cannot look for processes in /proc")]
    Proc {
        /// The kernel's answer.
        source: io::Error,
    },
}

impl Usage {
    /// CPU time in all.
    #[must_use]
    pub fn cpu_time(&self) -> Duration {
        self.user_time.saturating_add(self.system_time)
    }

    pub(crate) fn add(&mut self, stat: &Stat, io: Option<IoUsage>) {
        if !stat.is_dead() {
            self.processes += 1;
        }
        let user_ticks = stat.user_ticks.saturating_add(stat.reaped_user_ticks);
        let system_ticks = stat.system_ticks.saturating_add(stat.reaped_system_ticks);
        self.user_time = self.user_time.saturating_add(time(user_ticks));
        self.system_time = self.system_time.saturating_add(time(system_ticks));
        let page_bytes = rustix::param::page_size() as u64;
        let resident_bytes = stat.resident_pages.saturating_mul(page_bytes);
        self.resident_bytes = self.resident_bytes.saturating_add(resident_bytes);
        if let Some(io) = io {
            self.io.get_or_insert_default().add(io);
        }
    }
}

impl IoUsage {
    /// What one process has read and written; `None` if it is gone, or we may not know.
    pub(crate) fn of(process: Pid) -> Option<Self> {
        Self::parse(&fs::read(format!("/proc/{process}/io")).ok()?)
    }

    fn parse(text: &[u8]) -> Option<Self> {
        let mut io = Self::default();
        for line in str::from_utf8(text).ok()?.lines() {
            let (name, value) = line.split_once(": ")?;
            let bytes = match name {
                "rchar" => &mut io.read_bytes,
                "wchar" => &mut io.written_bytes,
                "read_bytes" => &mut io.disk_read_bytes,
                "write_bytes" => &mut io.disk_written_bytes,
                _ => continue,
            };
            *bytes = value.parse().ok()?;
        }
        Some(io)
    }

    fn add(&mut self, other: Self) {
        self.read_bytes = self.read_bytes.saturating_add(other.read_bytes);
        self.written_bytes = self.written_bytes.saturating_add(other.written_bytes);
        self.disk_read_bytes = self.disk_read_bytes.saturating_add(other.disk_read_bytes);
        self.disk_written_bytes = self
            .disk_written_bytes
            .saturating_add(other.disk_written_bytes);
    }
}

impl Spent {
    pub(crate) fn from_kernel(usage: &libc::rusage) -> Self {
        let time = |time: libc::timeval| {
            let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
            let micros = u64::try_from(time.tv_usec).unwrap_or(0);
            Duration::from_secs(seconds).saturating_add(Duration::from_micros(micros))
        };
        Self {
            user_time: time(usage.ru_utime),
            system_time: time(usage.ru_stime),
            peak_resident_bytes: u64::try_from(usage.ru_maxrss)
                .unwrap_or(0)
                .saturating_mul(1024),
        }
    }

    /// Without a peak that may be of the process that started it, whose own was `inherited_bytes`.
    pub(crate) fn without_inherited_peak(mut self, inherited_bytes: u64) -> Self {
        if self.peak_resident_bytes <= inherited_bytes {
            self.peak_resident_bytes = 0;
        }
        self
    }

    /// CPU time in all.
    #[must_use]
    pub fn cpu_time(&self) -> Duration {
        self.user_time.saturating_add(self.system_time)
    }
}

fn time(ticks: u64) -> Duration {
    let per_second = rustix::param::clock_ticks_per_second();
    let part = Duration::from_secs(ticks % per_second) / u32::try_from(per_second).unwrap_or(100);
    Duration::from_secs(ticks / per_second) + part
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stat(state: u8, ticks: [u64; 4], resident_pages: u64) -> Stat {
        let [
            user_ticks,
            system_ticks,
            reaped_user_ticks,
            reaped_system_ticks,
        ] = ticks;
        Stat {
            pid: 1,
            state,
            group: None,
            user_ticks,
            system_ticks,
            reaped_user_ticks,
            reaped_system_ticks,
            threads: 1,
            started_ticks: 0,
            resident_pages,
        }
    }

    #[test]
    fn the_dead_count_by_what_they_took() {
        let mut usage = Usage::default();
        usage.add(&stat(b'R', [100, 50, 25, 1], 10), None);
        usage.add(&stat(b'Z', [10, 5, 0, 0], 0), None);
        assert_eq!(usage.processes, 1);
        assert_eq!(usage.user_time, Duration::from_millis(1350));
        assert_eq!(usage.system_time, Duration::from_millis(560));
        assert_eq!(usage.cpu_time(), Duration::from_millis(1910));
        assert_eq!(usage.resident_bytes, 10 * rustix::param::page_size() as u64);
        assert_eq!(usage.io, None);
    }

    #[test]
    fn nonsense_adds_up_to_nonsense_and_not_to_a_panic() {
        let mut usage = Usage::default();
        for _ in 0..2 {
            let io = IoUsage {
                read_bytes: u64::MAX,
                ..IoUsage::default()
            };
            usage.add(&stat(b'R', [u64::MAX; 4], u64::MAX), Some(io));
        }
        assert_eq!(usage.resident_bytes, u64::MAX);
        assert_eq!(usage.io.unwrap().read_bytes, u64::MAX);
    }

    #[test]
    fn io() {
        #[track_caller]
        fn check(text: &str, want: Option<[u64; 4]>) {
            let io = IoUsage::parse(text.as_bytes());
            let io = io.map(|io| {
                [
                    io.read_bytes,
                    io.written_bytes,
                    io.disk_read_bytes,
                    io.disk_written_bytes,
                ]
            });
            assert_eq!(io, want, "{text:?}");
        }
        let text = "rchar: 1\nwchar: 2\nsyscr: 9\nsyscw: 9\nread_bytes: 3\nwrite_bytes: 4\n\
                    cancelled_write_bytes: -1\n";
        check(text, Some([1, 2, 3, 4]));
        check("", Some([0; 4]));
        check("rchar: x\n", None);
        check("rchar", None);
        check("rchar: 99999999999999999999999\n", None);
        assert_eq!(IoUsage::parse(b"rchar: \xff\n"), None);
    }
}
