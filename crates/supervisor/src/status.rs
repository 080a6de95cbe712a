//! What the driver knows of its child, for those who ask.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use crate::exit::Exit;
use crate::hang::HangKind;
use crate::health::{Health, UsageNow};
use crate::last_output::LastOutput;
use crate::report::Report;
use crate::restart::GaveUp;
use crate::state::{Order, State};

/// How many ends are remembered.
const EXITS: usize = 10;

/// What the driver knows of its child.
#[derive(Debug)]
pub(crate) struct Status {
    pub(crate) order: Order,
    pub(crate) state: State,
    pub(crate) pid: Option<u32>,
    pub(crate) started: Option<Instant>,
    pub(crate) restarts: u64,
    pub(crate) last_restart: Option<Instant>,
    pub(crate) failures: u32,
    /// When the failures are forgotten, if it goes on like this.
    pub(crate) healthy_at: Option<Instant>,
    pub(crate) next_start: Option<Instant>,
    pub(crate) gave_up: Option<GaveUp>,
    pub(crate) last_output: Arc<LastOutput>,
    pub(crate) hangs: Vec<HangKind>,
    pub(crate) over_limit: bool,
    pub(crate) usage: Option<UsageNow>,
    pub(crate) left: Vec<u32>,
    pub(crate) text: Option<String>,
    pub(crate) last_report: Option<Arc<Report>>,
    exits: VecDeque<Exit>,
}

impl Default for Status {
    fn default() -> Self {
        Self {
            order: Order::Down,
            state: State::Stopped,
            pid: None,
            started: None,
            restarts: 0,
            last_restart: None,
            failures: 0,
            healthy_at: None,
            next_start: None,
            gave_up: None,
            last_output: Arc::default(),
            hangs: Vec::new(),
            over_limit: false,
            usage: None,
            left: Vec::new(),
            text: None,
            last_report: None,
            exits: VecDeque::new(),
        }
    }
}

impl Status {
    /// Takes note of a start that is not the first.
    pub(crate) fn restarted(&mut self, now: Instant) {
        self.restarts += 1;
        self.last_restart = Some(now);
    }

    /// Takes note of the end of a run.
    pub(crate) fn ended(&mut self, report: &Arc<Report>) {
        if let Some(exit) = report.exit {
            if self.exits.len() == EXITS {
                self.exits.pop_front();
            }
            self.exits.push_back(exit);
        }
        self.last_report = Some(Arc::clone(report));
        self.started = None;
        self.hangs.clear();
        self.over_limit = false;
        self.usage = None;
        self.text = None;
    }

    /// Takes note that nobody looks after the child any more, nor is there one.
    pub(crate) fn abandoned(&mut self) {
        self.order = Order::Down;
        self.state = State::Stopped;
        self.pid = None;
        self.started = None;
        self.next_start = None;
        self.gave_up = None;
        self.hangs.clear();
        self.over_limit = false;
        self.usage = None;
        self.left.clear();
    }

    /// The health but for the lines of the log.
    pub(crate) fn health(&self, name: &Arc<str>, now: Instant) -> Health {
        let ago = |moment: Instant| now.saturating_duration_since(moment);
        let is_healthy = self.healthy_at.is_some_and(|moment| moment <= now);
        Health {
            name: Arc::clone(name),
            order: self.order,
            state: self.state,
            pid: self.pid,
            uptime: self.started.map(ago),
            restart_count: self.restarts,
            last_restart: self.last_restart.map(ago),
            failures: if is_healthy { 0 } else { self.failures },
            next_start: self
                .next_start
                .map(|moment| moment.saturating_duration_since(now)),
            gave_up: self.gave_up,
            last_activity: self.last_output.moment().map(ago),
            hangs: self.hangs.clone(),
            over_limit: self.over_limit,
            usage: self.usage,
            left: self.left.clone(),
            status: self.text.clone(),
            recent_errors: Vec::new(),
            exits: self.exits.iter().copied().collect(),
        }
    }
}
