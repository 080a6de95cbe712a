//! When an encoder that failed is started again, and when no more.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

/// So many failures within [`WINDOW`] are the last.
const MAX_FAILURES: usize = 6;

const WINDOW: Duration = Duration::from_secs(60);

/// How long to wait after the first, second, … failure within the window.
const PAUSES: [Duration; MAX_FAILURES - 1] = [
    Duration::ZERO,
    Duration::from_millis(250),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(2),
];

/// Counts failures.
#[derive(Debug, Default)]
pub(super) struct Restarts {
    recent: VecDeque<Instant>,
    refused_before: bool,
}

/// How an encoder failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Failure {
    /// It cannot be started at all: the program is missing, or is no program.
    Unstartable,
    /// It ended by itself or talked nonsense without a single packet, as when an option is wrong.
    Refused,
    /// It worked and then died or hung, or it was killed.
    Broken,
}

/// What to do after a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub(super) enum Next {
    /// Start it at this time.
    StartAt(Instant),
    /// Leave it: another start would end no better.
    GiveUp,
}

impl Restarts {
    /// Takes note of a failure at `now`.
    pub(super) fn on_failure(&mut self, failure: Failure, now: Instant) -> Next {
        let refused_twice = failure == Failure::Refused && self.refused_before;
        self.refused_before = failure == Failure::Refused;
        self.recent.push_back(now);
        while self
            .recent
            .front()
            .is_some_and(|&time| now.duration_since(time) > WINDOW)
        {
            self.recent.pop_front();
        }
        if failure == Failure::Unstartable || refused_twice {
            return Next::GiveUp;
        }
        match PAUSES.get(self.recent.len() - 1) {
            Some(&pause) => Next::StartAt(now + pause),
            None => Next::GiveUp,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Failures at so many milliseconds, and the pauses after them in milliseconds.
    #[track_caller]
    fn check(failures: &[(u64, Failure)], want: &[Option<u128>]) {
        let begin = Instant::now();
        let mut restarts = Restarts::default();
        let got: Vec<_> = failures
            .iter()
            .map(|&(ms, failure)| {
                let now = begin + Duration::from_millis(ms);
                match restarts.on_failure(failure, now) {
                    Next::StartAt(time) => Some((time - now).as_millis()),
                    Next::GiveUp => None,
                }
            })
            .collect();
        assert_eq!(got, want, "{failures:?}");
    }

    #[test]
    fn pauses_grow_and_end() {
        let broken = |ms| (ms, Failure::Broken);
        check(
            &[0, 10, 500, 1500, 3000, 6000].map(broken),
            &[Some(0), Some(250), Some(500), Some(1000), Some(2000), None],
        );
        check(
            &[0, 60_001, 120_002].map(broken),
            &[Some(0), Some(0), Some(0)],
        );
        check(
            &[0, 30_000, 60_001].map(broken),
            &[Some(0), Some(250), Some(250)],
        );
    }

    #[test]
    fn what_cannot_work_is_not_tried_for_long() {
        check(&[(0, Failure::Unstartable)], &[None]);
        check(
            &[(0, Failure::Refused), (100, Failure::Refused)],
            &[Some(0), None],
        );
        check(
            &[
                (0, Failure::Refused),
                (100, Failure::Broken),
                (400, Failure::Refused),
            ],
            &[Some(0), Some(250), Some(500)],
        );
    }
}
