//! How a child is asked to end: politely first, at last by force.

use std::time::Duration;

use crate::signal::Signal;

/// The steps of [`Child::stop`](crate::Child::stop), each with the time it is given.
///
/// By default `SIGTERM` with 5 s. `SIGKILL` is always the last step.
///
/// ```
/// use longtake_process::{Signal, StopLadder};
/// use std::time::Duration;
///
/// // ffmpeg: `q` ends it in order with status 0. A second SIGTERM gets it out of a stalled input.
/// let ladder = StopLadder::kill_only()
///     .stdin("q", Duration::from_secs(5))
///     .signal(Signal::Term, Duration::from_secs(5))
///     .signal(Signal::Term, Duration::from_secs(2));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StopLadder {
    steps: Vec<Step>,
    kill_within: Duration,
}

/// One step before the last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) act: Act,
    pub(crate) grace: Duration,
}

/// What a step does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    Write(Vec<u8>),
    Signal(Signal),
}

impl Default for StopLadder {
    fn default() -> Self {
        Self::kill_only().signal(Signal::Term, Duration::from_secs(5))
    }
}

impl StopLadder {
    /// No step before `SIGKILL`.
    #[must_use]
    pub fn kill_only() -> Self {
        Self {
            steps: Vec::new(),
            kill_within: Duration::from_secs(5),
        }
    }

    /// Adds a step: `bytes` are written to stdin, which is then closed.
    ///
    /// It is skipped when stdin is no pipe, somebody took it, or the child closed it. Do not use it
    /// where stdin carries data: the bytes would end up in them.
    #[must_use]
    pub fn stdin(mut self, bytes: impl Into<Vec<u8>>, grace: Duration) -> Self {
        self.steps.push(Step {
            act: Act::Write(bytes.into()),
            grace,
        });
        self
    }

    /// Adds a step: `signal` to the whole group, and `SIGCONT` after it, since a stopped process
    /// acts on nothing but `SIGKILL`.
    #[must_use]
    pub fn signal(mut self, signal: Signal, grace: Duration) -> Self {
        self.steps.push(Step {
            act: Act::Signal(signal),
            grace,
        });
        self
    }

    /// The same ladder for a child whose stdin carries data: its steps on stdin write nothing and only
    /// close it.
    #[must_use]
    pub fn closing_stdin(mut self) -> Self {
        for step in &mut self.steps {
            if let Act::Write(bytes) = &mut step.act {
                bytes.clear();
            }
        }
        self
    }

    /// Sets how long after `SIGKILL` to wait for the kernel to end the processes, 5 s by default.
    #[must_use]
    pub fn kill_within(mut self, time: Duration) -> Self {
        self.kill_within = time;
        self
    }

    /// The longest that a stop by this ladder takes, but for the time that looking through `/proc`
    /// takes.
    #[must_use]
    pub fn longest(&self) -> Duration {
        let steps = self.steps.iter().map(|step| step.grace);
        steps.fold(self.kill_within, Duration::saturating_add)
    }

    pub(crate) fn steps(&self) -> &[Step] {
        &self.steps
    }

    pub(crate) fn kill_time(&self) -> Duration {
        self.kill_within
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_stop_is_the_sum_of_the_steps() {
        const SECOND: Duration = Duration::from_secs(1);
        #[track_caller]
        fn check(ladder: &StopLadder, want: Duration) {
            assert_eq!(ladder.longest(), want, "{ladder:?}");
        }
        check(&StopLadder::default(), 10 * SECOND);
        check(&StopLadder::kill_only(), 5 * SECOND);
        check(
            &StopLadder::kill_only()
                .stdin("q", SECOND)
                .kill_within(SECOND),
            2 * SECOND,
        );
        check(
            &StopLadder::default().signal(Signal::Int, Duration::MAX),
            Duration::MAX,
        );
    }
}
