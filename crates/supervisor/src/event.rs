//! What happens to children, in one order.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::broadcast;

use crate::hang::HangKind;
use crate::limits::Exceeded;
use crate::reaction::Reaction;
use crate::report::Report;
use crate::restart::GaveUp;
use crate::state::State;

/// How many events a listener may be behind before it misses some, for each child.
const BACKLOG_A_CHILD: usize = 64;

/// The same in all, whatever the number of children.
const BACKLOG: usize = 16 << 10;

/// Something that happened to a child.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Event {
    /// Counts the events of one supervisor or pool, without a gap.
    pub sequence: u64,
    /// When it happened.
    pub at: Instant,
    /// The name of the child.
    pub child: Arc<str>,
    /// What happened.
    pub kind: EventKind,
}

/// What happened to a child.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum EventKind {
    /// It is in another state.
    State {
        /// The state before.
        from: State,
        /// The state now.
        to: State,
        /// The process id of its leader, if there is one.
        pid: Option<u32>,
        /// How long until it is started, if it waits for that.
        next_start: Option<Duration>,
        /// Why it is `failed`, if it is.
        gave_up: Option<GaveUp>,
        /// What is left of it, if it is a `zombie`.
        left: Vec<u32>,
    },
    /// A run ended. Comes once for every run and every try to start one, before the state that follows.
    Ended(Arc<Report>),
    /// It hangs.
    Hangs {
        /// In what way.
        kind: HangKind,
        /// Since its last sign of life of this kind.
        lasted: Duration,
        /// What follows.
        reaction: Reaction,
    },
    /// It does not hang any more.
    Recovered {
        /// In what way it hung.
        kind: HangKind,
        /// Between the signs of life before and after it.
        lasted: Duration,
    },
    /// It takes more than its limits allow.
    Exceeds(Exceeded),
    /// It says this of itself, by `STATUS=` of `sd_notify(3)`.
    Status(String),
}

/// The state of a child when somebody began to listen.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Snapshot {
    /// The name of the child.
    pub child: Arc<str>,
    /// What it is doing.
    pub state: State,
    /// The process id of its leader, if there is one.
    pub pid: Option<u32>,
}

/// Events of one supervisor or pool, from the moment of a snapshot on.
#[derive(Debug)]
pub struct Events {
    snapshot: Vec<Snapshot>,
    next: broadcast::Receiver<Event>,
}

/// What a listener hears.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Heard {
    /// The next event.
    Event(Event),
    /// It was too slow, and missed so many; subscribe again for a new snapshot.
    Missed(u64),
}

/// Where events come together and get their order.
#[derive(Debug, Default)]
pub(crate) struct Hub {
    state: Mutex<HubState>,
}

#[derive(Debug, Default)]
struct HubState {
    sequence: u64,
    children: BTreeMap<Arc<str>, (State, Option<u32>)>,
    /// Made for the first who listens.
    listeners: Option<broadcast::Sender<Event>>,
}

impl Hub {
    /// Takes note of a child that has no history yet.
    pub(crate) fn introduce(&self, child: &Arc<str>) {
        let mut state = self.state.lock();
        state
            .children
            .insert(Arc::clone(child), (State::Stopped, None));
    }

    pub(crate) fn tell(&self, child: &Arc<str>, kind: EventKind, at: Instant) {
        let mut state = self.state.lock();
        state.sequence += 1;
        if let EventKind::State { to, pid, .. } = &kind {
            state.children.insert(Arc::clone(child), (*to, *pid));
        }
        if let Some(listeners) = &state.listeners {
            // An error says that nobody listens any more.
            drop(listeners.send(Event {
                sequence: state.sequence,
                at,
                child: Arc::clone(child),
                kind,
            }));
        }
    }

    pub(crate) fn listen(&self) -> Events {
        let mut state = self.state.lock();
        let state = &mut *state;
        let listeners = state.listeners.get_or_insert_with(|| {
            let backlog = state.children.len().max(1) * BACKLOG_A_CHILD;
            broadcast::Sender::new(backlog.min(BACKLOG))
        });
        let next = listeners.subscribe();
        let snapshot = state.children.iter();
        let snapshot = snapshot.map(|(child, (state, pid))| Snapshot {
            child: Arc::clone(child),
            state: *state,
            pid: *pid,
        });
        Events {
            snapshot: snapshot.collect(),
            next,
        }
    }
}

impl Events {
    /// The children and their states at the moment from which the events count.
    #[must_use]
    pub fn snapshot(&self) -> &[Snapshot] {
        &self.snapshot
    }

    /// The next event, if there is one already.
    pub(crate) fn try_next(&mut self) -> Option<Heard> {
        match self.next.try_recv() {
            Ok(event) => Some(Heard::Event(event)),
            Err(broadcast::error::TryRecvError::Lagged(missed)) => Some(Heard::Missed(missed)),
            Err(_) => None,
        }
    }

    /// The next event; `None` when all supervisors are gone.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: an event is taken or it stays.
    pub async fn next(&mut self) -> Option<Heard> {
        match self.next.recv().await {
            Ok(event) => Some(Heard::Event(event)),
            Err(broadcast::error::RecvError::Lagged(missed)) => Some(Heard::Missed(missed)),
            Err(broadcast::error::RecvError::Closed) => None,
        }
    }
}
