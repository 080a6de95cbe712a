//! What is wanted of one child, what it is doing, and what is to be done about it.
//!
//! The machine knows no process and no clock. The driver tells it what happened and when, and does what it
//! answers. It holds three things together that otherwise race: orders from outside, the child's own
//! doings, and the delay before a restart. Its one promise: it never says [`Act::Spawn`] while anything of
//! the child before may be alive.

use std::time::{Duration, Instant};

use crate::exit::Verdict;
use crate::restart::{GaveUp, Next, RestartPolicy, Restarts};
use crate::state::{Order, State};

/// The order and the state of one child.
#[derive(Debug)]
pub(crate) struct Machine {
    restarts: Restarts,
    start_timeout: Option<Duration>,
    order: Order,
    phase: Phase,
}

/// What the driver is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum Act {
    Nothing,
    /// Start the child; answer with `spawned`, `not_spawned` or `called_back`.
    Spawn,
    /// End everything of the child; answer with `gone`, and with `left` as long as that takes.
    End(Way),
    /// It is being ended, and somebody wants it gone.
    Hasten,
}

/// In what way to end a child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// It shall not run any more.
    Stop,
    /// It shall be started again.
    Restart,
    /// It is dead; what it left behind is in the way.
    Sweep,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Phase {
    Stopped,
    Failed(GaveUp),
    Spawning,
    /// It runs, and has not said yet that it is ready.
    Unready {
        since: Instant,
    },
    Running {
        since: Instant,
    },
    Ending {
        then: Then,
        /// The leader is dead, and these of its tree are not.
        zombies: Vec<u32>,
    },
    Waiting {
        until: Instant,
    },
}

/// What follows when the tree is gone, if the order is up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Then {
    Start,
    /// What the policy says of this end, the child having been ready for so long.
    Judge(Verdict, Option<Duration>),
}

impl Machine {
    pub(crate) fn new(policy: RestartPolicy, start_timeout: Option<Duration>, seed: u64) -> Self {
        Self {
            restarts: Restarts::new(policy, seed),
            start_timeout,
            order: Order::Down,
            phase: Phase::Stopped,
        }
    }

    /// Somebody wants it to run.
    pub(crate) fn start(&mut self) -> Act {
        let was = std::mem::replace(&mut self.order, Order::Up);
        match &mut self.phase {
            Phase::Stopped | Phase::Failed(_) => {
                self.restarts.begin_anew();
                self.spawn()
            }
            Phase::Ending { then, .. } if was == Order::Down => {
                *then = Then::Start;
                self.restarts.begin_anew();
                Act::Nothing
            }
            Phase::Ending { .. }
            | Phase::Spawning
            | Phase::Unready { .. }
            | Phase::Running { .. }
            | Phase::Waiting { .. } => Act::Nothing,
        }
    }

    /// Somebody wants it not to run.
    pub(crate) fn stop(&mut self) -> Act {
        self.order = Order::Down;
        match &self.phase {
            Phase::Stopped => Act::Nothing,
            Phase::Failed(_) | Phase::Waiting { .. } => {
                self.phase = Phase::Stopped;
                Act::Nothing
            }
            // It is called back if it has not begun, and else ended as soon as it is there.
            Phase::Spawning => Act::Nothing,
            Phase::Unready { .. } | Phase::Running { .. } => self.end(Way::Stop, Then::Start),
            Phase::Ending { .. } => Act::Hasten,
        }
    }

    /// Somebody wants it to run anew.
    pub(crate) fn restart(&mut self, now: Instant) -> Act {
        self.order = Order::Up;
        self.restarts.on_order(self.ready_for(now));
        match &mut self.phase {
            Phase::Stopped | Phase::Failed(_) => {
                self.restarts.begin_anew();
                self.spawn()
            }
            Phase::Waiting { .. } => self.spawn(),
            Phase::Spawning => Act::Nothing,
            Phase::Unready { .. } | Phase::Running { .. } => self.end(Way::Restart, Then::Start),
            Phase::Ending { then, .. } => {
                *then = Then::Start;
                Act::Nothing
            }
        }
    }

    /// The child was started.
    pub(crate) fn spawned(&mut self, now: Instant) -> Act {
        debug_assert_eq!(self.phase, Phase::Spawning);
        self.phase = Phase::Unready { since: now };
        if self.order == Order::Down {
            return self.end(Way::Stop, Then::Start);
        }
        Act::Nothing
    }

    /// The child could not be started.
    pub(crate) fn not_spawned(&mut self, now: Instant) -> Act {
        debug_assert_eq!(self.phase, Phase::Spawning);
        self.follow(Then::Judge(Verdict::Failure, None), now)
    }

    /// The child was not started, as it was not wanted any more when its turn came.
    pub(crate) fn called_back(&mut self, now: Instant) -> Act {
        debug_assert_eq!(self.phase, Phase::Spawning);
        self.follow(Then::Start, now)
    }

    /// The child is ready for what it is there for.
    pub(crate) fn ready(&mut self, now: Instant) -> Act {
        if let Phase::Unready { .. } = self.phase {
            self.phase = Phase::Running { since: now };
        }
        Act::Nothing
    }

    /// The leader has exited. Before it was ready, a success is none.
    pub(crate) fn exited(&mut self, verdict: Verdict, now: Instant) -> Act {
        let verdict = match (&self.phase, verdict) {
            (Phase::Unready { .. }, Verdict::Success) => Verdict::Failure,
            (_, verdict) => verdict,
        };
        self.fall(Way::Sweep, verdict, now)
    }

    /// The child hangs, takes too much, or will never be ready: it is ended as a failure.
    pub(crate) fn faulty(&mut self, now: Instant) -> Act {
        self.fall(Way::Restart, Verdict::Failure, now)
    }

    /// The leader is dead, and these of its tree live on.
    pub(crate) fn left(&mut self, pids: &[u32]) {
        if let Phase::Ending { zombies, .. } = &mut self.phase {
            pids.clone_into(zombies);
        }
    }

    /// Nothing of the child is left.
    pub(crate) fn gone(&mut self, now: Instant) -> Act {
        let Phase::Ending { then, .. } = self.phase else {
            debug_assert!(false, "gone in {:?}", self.phase);
            return Act::Nothing;
        };
        self.follow(then, now)
    }

    /// The [`deadline`](Self::deadline) has come.
    pub(crate) fn due(&mut self, now: Instant) -> Act {
        if self.deadline().is_none_or(|deadline| now < deadline) {
            return Act::Nothing;
        }
        match self.phase {
            Phase::Waiting { .. } => self.spawn(),
            _ => self.faulty(now),
        }
    }

    /// When [`due`](Self::due) wants to be called: at the end of a delay, or when a child that is not ready
    /// has had its time.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        match self.phase {
            Phase::Waiting { until } => Some(until),
            Phase::Unready { since } => since.checked_add(self.start_timeout?),
            _ => None,
        }
    }

    pub(crate) fn order(&self) -> Order {
        self.order
    }

    pub(crate) fn state(&self) -> State {
        match &self.phase {
            Phase::Stopped => State::Stopped,
            Phase::Failed(_) => State::Failed,
            Phase::Spawning | Phase::Unready { .. } => State::Starting,
            Phase::Running { .. } => State::Running,
            Phase::Ending { zombies, .. } if !zombies.is_empty() => State::Zombie,
            Phase::Ending {
                then: Then::Start, ..
            } if self.order == Order::Up => State::Restarting,
            Phase::Ending { .. } => State::Stopping,
            Phase::Waiting { .. } => State::Restarting,
        }
    }

    /// Those who are left of a [`State::Zombie`].
    pub(crate) fn zombies(&self) -> &[u32] {
        match &self.phase {
            Phase::Ending { zombies, .. } => zombies,
            _ => &[],
        }
    }

    /// When the next start is, in a delay.
    pub(crate) fn next_start(&self) -> Option<Instant> {
        match self.phase {
            Phase::Waiting { until } => Some(until),
            _ => None,
        }
    }

    /// Failures since the child was last healthy.
    pub(crate) fn failures(&self, now: Instant) -> u32 {
        self.restarts.failures(self.ready_for(now))
    }

    /// When it will be healthy, and its failures forgotten, if it goes on like this.
    pub(crate) fn healthy_at(&self) -> Option<Instant> {
        match self.phase {
            Phase::Running { since } => since.checked_add(self.restarts.healthy_after()),
            _ => None,
        }
    }

    /// Why it is not started any more.
    pub(crate) fn gave_up(&self) -> Option<GaveUp> {
        match self.phase {
            Phase::Failed(why) => Some(why),
            _ => None,
        }
    }

    fn spawn(&mut self) -> Act {
        self.phase = Phase::Spawning;
        Act::Spawn
    }

    fn end(&mut self, way: Way, then: Then) -> Act {
        self.phase = Phase::Ending {
            then,
            zombies: Vec::new(),
        };
        Act::End(way)
    }

    fn fall(&mut self, way: Way, verdict: Verdict, now: Instant) -> Act {
        match self.phase {
            Phase::Unready { .. } | Phase::Running { .. } => {
                let ran = self.ready_for(now);
                self.end(way, Then::Judge(verdict, ran))
            }
            _ => Act::Nothing,
        }
    }

    fn follow(&mut self, then: Then, now: Instant) -> Act {
        if self.order == Order::Down {
            self.phase = Phase::Stopped;
            return Act::Nothing;
        }
        let Then::Judge(verdict, ran) = then else {
            return self.spawn();
        };
        match self.restarts.on_end(verdict, ran, now) {
            Next::StartAt(until) if until <= now => return self.spawn(),
            Next::StartAt(until) => self.phase = Phase::Waiting { until },
            Next::Rest => self.phase = Phase::Stopped,
            Next::GiveUp(why) => self.phase = Phase::Failed(why),
        }
        Act::Nothing
    }

    fn ready_for(&self, now: Instant) -> Option<Duration> {
        match self.phase {
            Phase::Running { since } => Some(now.saturating_duration_since(since)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests;
