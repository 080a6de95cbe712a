//! The order in which ffmpeg is told to end, pure of signals and clocks.
//!
//! One SIGTERM lets ffmpeg finish its file. It does not end an input that blocks: ffmpeg gives up
//! blocking input at the second signal, and then leaves an MP4 without its index. After SIGKILL
//! only what is written is there.

use std::time::{Duration, Instant};

/// As good as for ever, and no overflow.
const LONGEST_GRACE: Duration = Duration::from_secs(365 * 24 * 3600);

/// What to do to ffmpeg now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Blow {
    /// Ask it to end.
    Terminate,
    /// End it.
    Kill,
}

/// A shutdown under way.
#[derive(Debug)]
pub(super) struct Shutdown {
    grace: Duration,
    terms_left: u8,
    next_at: Instant,
}

impl Shutdown {
    /// Kills at once.
    pub(super) const fn kill(now: Instant) -> Self {
        Self {
            grace: Duration::ZERO,
            terms_left: 0,
            next_at: now,
        }
    }

    /// Asks twice, and kills then; each time after `grace`.
    pub(super) fn finalize(grace: Duration, now: Instant) -> Self {
        Self {
            grace: grace.min(LONGEST_GRACE),
            terms_left: 2,
            next_at: now,
        }
    }

    /// What to do at `now`, if anything. What was done is not asked for again, but for the kill,
    /// which is repeated every second: a process may have been forked meanwhile.
    pub(super) fn next(&mut self, now: Instant) -> Option<Blow> {
        if now < self.next_at {
            return None;
        }
        if self.terms_left > 0 {
            self.terms_left -= 1;
            self.next_at = now + self.grace;
            return Some(Blow::Terminate);
        }
        self.next_at = now + Duration::from_secs(1);
        Some(Blow::Kill)
    }

    /// When to ask again.
    pub(super) const fn next_at(&self) -> Instant {
        self.next_at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_finalize_asks_twice_and_then_kills() {
        let start = Instant::now();
        let mut shutdown = Shutdown::finalize(5 * SECOND, start);
        assert_eq!(shutdown.next(start), Some(Blow::Terminate));
        assert_eq!(shutdown.next(start + 4 * SECOND), None);
        assert_eq!(shutdown.next_at(), start + 5 * SECOND);
        assert_eq!(shutdown.next(start + 5 * SECOND), Some(Blow::Terminate));
        assert_eq!(shutdown.next(start + 9 * SECOND), None);
        assert_eq!(shutdown.next(start + 10 * SECOND), Some(Blow::Kill));
        assert_eq!(shutdown.next(start + 10 * SECOND), None);
        assert_eq!(shutdown.next(start + 11 * SECOND), Some(Blow::Kill));
    }

    #[test]
    fn a_kill_comes_at_once() {
        let start = Instant::now();
        assert_eq!(Shutdown::kill(start).next(start), Some(Blow::Kill));
    }

    #[test]
    fn an_endless_grace_is_no_panic() {
        let start = Instant::now();
        let mut shutdown = Shutdown::finalize(Duration::MAX, start);
        assert_eq!(shutdown.next(start), Some(Blow::Terminate));
        assert_eq!(shutdown.next(start + 3600 * SECOND), None);
    }
}
