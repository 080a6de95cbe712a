//! Whether to start a child again, and when: the policy.

use std::collections::VecDeque;
use std::fmt;
use std::time::{Duration, Instant};

use crate::backoff::Backoff;
use crate::exit::{ExitRules, Verdict};

/// When a child that ended by itself is started again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Restart {
    /// Never.
    Never,
    /// After a failure.
    OnFailure,
    /// After a success as well.
    #[default]
    Always,
}

/// Whether and when a child is started again.
///
/// Two limits are counted apart. `max_restarts` is about one bad phase: it counts the failures since the
/// child was last healthy. [`Intensity`] is about a window of time, whatever happened in it. A restart
/// that somebody ordered uses up neither.
#[derive(Clone, Debug, PartialEq)]
pub struct RestartPolicy {
    restart: Restart,
    backoff: Backoff,
    max_restarts: Option<u32>,
    healthy_after: Duration,
    intensity: Option<Intensity>,
    exits: ExitRules,
}

/// At most so many restarts within a sliding window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Intensity {
    restarts: u32,
    within: Duration,
    then: Exhausted,
}

/// What follows when there are more restarts than [`Intensity`] allows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Exhausted {
    /// The child is `failed`.
    #[default]
    GiveUp,
    /// It is started again after this time, and the window begins anew.
    CoolDown(Duration),
}

impl Default for RestartPolicy {
    /// Always, up to 10 times in a row, with the default [`Backoff`]; healthy after 10 min.
    fn default() -> Self {
        Self {
            restart: Restart::default(),
            backoff: Backoff::default(),
            max_restarts: Some(10),
            healthy_after: Duration::from_secs(600),
            intensity: None,
            exits: ExitRules::default(),
        }
    }
}

impl RestartPolicy {
    /// Sets after which ends the child is started again.
    #[must_use]
    pub fn restart(mut self, restart: Restart) -> Self {
        self.restart = restart;
        self
    }

    /// Sets the delays.
    #[must_use]
    pub fn backoff(mut self, backoff: Backoff) -> Self {
        self.backoff = backoff;
        self
    }

    /// Sets how many failures in a row, without a healthy time between them, are answered by a restart;
    /// the next one is final. `None` is no limit.
    #[must_use]
    pub fn max_restarts(mut self, restarts: impl Into<Option<u32>>) -> Self {
        self.max_restarts = restarts.into();
        self
    }

    /// Sets how long the child must run, once it is ready, to count as healthy: then failures and delays
    /// are counted from the beginning.
    #[must_use]
    pub fn healthy_after(mut self, time: Duration) -> Self {
        self.healthy_after = time;
        self
    }

    /// Sets the second limit, over a window of time. There is none by default.
    #[must_use]
    pub fn intensity(mut self, intensity: Intensity) -> Self {
        self.intensity = Some(intensity);
        self
    }

    /// Sets what the ends of the child count as.
    #[must_use]
    pub fn exits(mut self, exits: ExitRules) -> Self {
        self.exits = exits;
        self
    }

    /// After which ends the child is started again.
    pub(crate) fn rests(&self) -> Restart {
        self.restart
    }

    pub(crate) fn exit_rules(&self) -> &ExitRules {
        &self.exits
    }
}

impl Intensity {
    /// At most `restarts` within every stretch of this length; the next one makes the child `failed`.
    #[must_use]
    pub fn new(restarts: u32, within: Duration) -> Self {
        Self {
            restarts,
            within,
            then: Exhausted::GiveUp,
        }
    }

    /// Sets what follows when there are more.
    #[must_use]
    pub fn then(mut self, then: Exhausted) -> Self {
        self.then = then;
        self
    }
}

/// Why a child is not started again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum GaveUp {
    /// The policy restarts it never.
    Never,
    /// It ended with a code that is declared fatal.
    Fatal,
    /// It failed more often in a row than `max_restarts` allows.
    MaxRestarts,
    /// It was restarted more often within the window than [`Intensity`] allows.
    Intensity,
}

/// A fragment such as `it failed too often in a row`.
impl fmt::Display for GaveUp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Never => "it is not to be restarted",
            Self::Fatal => "its exit code is fatal",
            Self::MaxRestarts => "it failed too often in a row",
            Self::Intensity => "it was restarted too often in too short a time",
        })
    }
}

/// What follows when a child has ended by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum Next {
    StartAt(Instant),
    /// It has done what it was to do.
    Rest,
    GiveUp(GaveUp),
}

/// Counts the ends of one child against its [`RestartPolicy`].
#[derive(Clone, Debug)]
pub(crate) struct Restarts {
    policy: RestartPolicy,
    /// Failures since the child was last healthy.
    failures: u32,
    /// Restarts since then, after successes too: what the delay grows with.
    attempts: u32,
    /// The restarts in the window, no more than the intensity allows.
    window: VecDeque<Instant>,
    random: SplitMix,
}

impl Restarts {
    pub(crate) fn new(policy: RestartPolicy, seed: u64) -> Self {
        Self {
            policy,
            failures: 0,
            attempts: 0,
            window: VecDeque::new(),
            random: SplitMix(seed),
        }
    }

    /// The child ended by itself, after it had been ready for `ran`.
    pub(crate) fn on_end(&mut self, verdict: Verdict, ran: Option<Duration>, now: Instant) -> Next {
        if ran.is_some_and(|ran| ran >= self.policy.healthy_after) {
            self.forget_failures();
        }
        match (verdict, self.policy.restart) {
            (Verdict::Fatal, _) => return Next::GiveUp(GaveUp::Fatal),
            (Verdict::Prevent, _) | (Verdict::Success, Restart::Never | Restart::OnFailure) => {
                return Next::Rest;
            }
            (Verdict::Failure, Restart::Never) => return Next::GiveUp(GaveUp::Never),
            (Verdict::Failure, Restart::OnFailure | Restart::Always) => {
                self.failures = self.failures.saturating_add(1);
                if self
                    .policy
                    .max_restarts
                    .is_some_and(|most| self.failures > most)
                {
                    return Next::GiveUp(GaveUp::MaxRestarts);
                }
            }
            (Verdict::Success, Restart::Always) => {}
        }
        self.attempts = self.attempts.saturating_add(1);
        let delay = self.policy.backoff.delay(self.attempts, self.random.next());
        // A time beyond what the clock can express is never.
        let Some(start) = now.checked_add(delay) else {
            return Next::GiveUp(GaveUp::Never);
        };
        self.enter_window(start)
    }

    /// The child is ended by order, after it had been ready for `ran`.
    pub(crate) fn on_order(&mut self, ran: Option<Duration>) {
        if ran.is_some_and(|ran| ran >= self.policy.healthy_after) {
            self.forget_failures();
        }
    }

    /// Somebody ordered a start after a stop or a failure: whatever was before counts no more.
    pub(crate) fn begin_anew(&mut self) {
        self.forget_failures();
        self.window.clear();
    }

    /// Failures since the child was last healthy, if it has been ready for `ran` by now.
    pub(crate) fn failures(&self, ran: Option<Duration>) -> u32 {
        if ran.is_some_and(|ran| ran >= self.policy.healthy_after) {
            0
        } else {
            self.failures
        }
    }

    pub(crate) fn healthy_after(&self) -> Duration {
        self.policy.healthy_after
    }

    fn forget_failures(&mut self) {
        self.failures = 0;
        self.attempts = 0;
    }

    fn enter_window(&mut self, start: Instant) -> Next {
        let Some(intensity) = self.policy.intensity else {
            return Next::StartAt(start);
        };
        while self
            .window
            .front()
            .is_some_and(|first| start.saturating_duration_since(*first) >= intensity.within)
        {
            self.window.pop_front();
        }
        if self.window.len() < intensity.restarts as usize {
            self.window.push_back(start);
            return Next::StartAt(start);
        }
        match intensity.then {
            Exhausted::GiveUp => Next::GiveUp(GaveUp::Intensity),
            Exhausted::CoolDown(time) => {
                self.window.clear();
                let Some(start) = start.checked_add(time) else {
                    return Next::GiveUp(GaveUp::Intensity);
                };
                self.window.push_back(start);
                Next::StartAt(start)
            }
        }
    }
}

/// Sebastiano Vigna's SplitMix64, public domain: enough to spread delays, and the same for the same seed.
#[derive(Clone, Debug)]
struct SplitMix(u64);

impl SplitMix {
    /// A number from 0 up to 1.
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        f64::from(u32::try_from(mixed >> 32).unwrap_or(0)) / f64::from(u32::MAX)
    }
}

#[cfg(test)]
mod tests;
