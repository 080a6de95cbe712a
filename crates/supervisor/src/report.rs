//! How one run of a child ended, with everything that tells why: the crash report.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::{Serialize, Serializer};

use crate::exit::Exit;
use crate::hang::HangKind;
use crate::limits::Exceeded;

/// The end of one run of a child, from its start (or the try) to its exit.
///
/// Every run is reported once, ordered ends too.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Report {
    /// The name of the child.
    pub name: Arc<str>,
    /// Which run it was, counted from 1.
    pub run: u64,
    /// The process id it had, if it was started.
    pub pid: Option<u32>,
    /// Why it ended.
    pub cause: Cause,
    /// How it ended. `None` if it was not started, or something else in this process reaped it.
    #[serde(serialize_with = "as_text")]
    pub exit: Option<Exit>,
    /// It ended by itself, after it had been ready, and that counts as a success.
    pub success: bool,
    /// It left a core dump.
    pub core_dumped: bool,
    /// From its start to its end.
    #[serde(rename = "uptime_seconds", serialize_with = "as_seconds")]
    pub uptime: Duration,
    /// It was ready for what it is there for.
    pub was_ready: bool,
    /// CPU time that it and the children it waited for took.
    #[serde(rename = "cpu_seconds", serialize_with = "as_seconds")]
    pub cpu_time: Duration,
    /// The highest CPU use of its tree between two samples, in percent of one core; `None` if nobody asked
    /// for samples.
    pub peak_cpu_percent: Option<f64>,
    /// The most memory that was resident: of its tree in a sample, or of its largest process at any moment,
    /// as far as that is beyond what this process had when it started the child. 0 if nothing is known.
    pub peak_resident_bytes: u64,
    /// The last lines it said, redacted, those of stderr last.
    pub last_lines: Vec<String>,
}

/// Why a run of a child ended.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Cause {
    /// It ended by itself, or somebody else ended it.
    Exit,
    /// It was to be stopped or restarted.
    Ordered,
    /// It was ended because it hung.
    Hang(HangKind),
    /// It was ended because it took too much.
    Limit(Exceeded),
    /// It was ended because it was not ready in time, or said that it never will be.
    NotReady,
    /// It could not be started.
    Exec {
        /// What stood in the way.
        reason: String,
        /// The kernel's error number, if it was the kernel.
        errno: Option<i32>,
    },
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exit => f.write_str("it ended"),
            Self::Ordered => f.write_str("it was ordered to end"),
            Self::Hang(hang) => write!(f, "it hung: {hang}"),
            Self::Limit(exceeded) => write!(f, "it took too much: {exceeded}"),
            Self::NotReady => f.write_str("it was not ready in time"),
            Self::Exec { reason, .. } => write!(f, "it could not be started: {reason}"),
        }
    }
}

/// One line, such as `camera (pid 123) after 4.2s: it ended, signal 9 (SIGKILL)`.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        if let Some(pid) = self.pid {
            write!(f, " (pid {pid}) after {:.1?}", self.uptime)?;
        }
        write!(f, ": {}", self.cause)?;
        match self.exit {
            Some(exit) => write!(f, ", {exit}"),
            None => Ok(()),
        }
    }
}

pub(crate) fn as_seconds<S: Serializer>(time: &Duration, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_f64(time.as_secs_f64())
}

fn as_text<S: Serializer>(exit: &Option<Exit>, to: S) -> Result<S::Ok, S::Error> {
    exit.map(|exit| exit.to_string()).serialize(to)
}
