//! How a child is doing.

use std::sync::Arc;
use std::time::Duration;

use serde::{Serialize, Serializer};

use crate::exit::Exit;
use crate::hang::HangKind;
use crate::restart::GaveUp;
use crate::state::{Order, State};

/// How a child is doing at one moment.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Health {
    /// The name of the child.
    pub name: Arc<str>,
    /// What is wanted of it.
    pub order: Order,
    /// What it is doing.
    pub state: State,
    /// The process id of its leader, as long as there is one.
    pub pid: Option<u32>,
    /// How long the run has lasted.
    #[serde(rename = "uptime_seconds", serialize_with = "seconds_or_zero")]
    pub uptime: Option<Duration>,
    /// How often it was started again, by policy or by order.
    pub restart_count: u64,
    /// How long ago the last of them was.
    #[serde(rename = "last_restart_ago", serialize_with = "seconds")]
    pub last_restart: Option<Duration>,
    /// Failures since it was last healthy.
    pub failures: u32,
    /// How long until it is started, in the delay before a restart.
    #[serde(rename = "next_start_in", serialize_with = "seconds")]
    pub next_start: Option<Duration>,
    /// Why it is `failed`.
    #[serde(serialize_with = "text")]
    pub gave_up: Option<GaveUp>,
    /// How long ago it last said something on stdout or stderr.
    #[serde(rename = "last_activity_ago", serialize_with = "seconds")]
    pub last_activity: Option<Duration>,
    /// In what ways it hangs.
    pub hangs: Vec<HangKind>,
    /// It takes more than its limits allow.
    pub over_limit: bool,
    /// What its tree takes, if that is sampled.
    pub usage: Option<UsageNow>,
    /// The processes that are left of a [`State::Zombie`].
    pub left: Vec<u32>,
    /// What it says of itself by `STATUS=` of `sd_notify(3)`.
    pub status: Option<String>,
    /// Its last five lines on stderr, redacted.
    pub recent_errors: Vec<String>,
    /// How its last ten runs ended, the newest last.
    #[serde(serialize_with = "texts")]
    pub exits: Vec<Exit>,
}

/// What the tree of a child takes.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct UsageNow {
    /// CPU use since the sample before, in percent of one core; `None` in the first sample.
    pub cpu_percent: Option<f64>,
    /// Resident memory, pages that several processes share counted for each.
    pub resident_bytes: u64,
    /// Living processes.
    pub processes: u32,
}

impl Health {
    /// It runs, is ready, does not hang, and takes no more than it may.
    #[must_use]
    pub fn is_healthy(&self) -> bool {
        self.state == State::Running && self.hangs.is_empty() && !self.over_limit
    }
}

fn seconds<S: Serializer>(time: &Option<Duration>, to: S) -> Result<S::Ok, S::Error> {
    time.map(|time| time.as_secs_f64()).serialize(to)
}

fn seconds_or_zero<S: Serializer>(time: &Option<Duration>, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_f64(time.unwrap_or_default().as_secs_f64())
}

fn text<S: Serializer>(why: &Option<GaveUp>, to: S) -> Result<S::Ok, S::Error> {
    why.map(|why| why.to_string()).serialize(to)
}

fn texts<S: Serializer>(exits: &[Exit], to: S) -> Result<S::Ok, S::Error> {
    to.collect_seq(exits.iter().map(ToString::to_string))
}
