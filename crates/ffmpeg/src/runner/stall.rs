//! Tells a job that stands still from one that works in silence.
//!
//! No value advances while an input stalls, but neither does one while an encoder flushes, while
//! ffmpeg decodes its way to a seek position, or rewrites a file for `faststart`. Those take CPU
//! time or write bytes; a stalled input does neither.

use std::time::{Duration, Instant};

/// CPU time of this part of the wall time is work. A stalled ffmpeg takes a thousandth (5.1 and
/// 9.0, an input over TCP); one at the lowest priority on a busy machine still gets 1 %.
const BUSY_PART: u32 = 200;

/// More bytes written than a stalled ffmpeg's own chatter.
const BUSY_BYTES: u64 = 256 << 10;

/// Nobody waits longer, and clocks reach as far.
const LONGEST_LIMIT: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// What ffmpeg has done since its start.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Work {
    pub(super) cpu_time: Duration,
    pub(super) written_bytes: u64,
}

/// Watches one job.
#[derive(Debug)]
pub(super) struct StallWatch {
    limit: Duration,
    alive_at: Instant,
    looked_at: Instant,
    seen: Work,
}

impl StallWatch {
    /// A job that starts `now` and may stand still for `limit`.
    pub(super) fn new(limit: Duration, now: Instant) -> Self {
        Self {
            limit: limit.min(LONGEST_LIMIT),
            alive_at: now,
            looked_at: now,
            seen: Work::default(),
        }
    }

    /// Takes note that a value advanced.
    pub(super) fn on_advance(&mut self, now: Instant) {
        self.alive_at = now;
    }

    /// When to call [`StallWatch::is_stalled`] next.
    pub(super) fn next_look(&self) -> Instant {
        self.looked_at + self.limit / 2
    }

    /// Looks at what ffmpeg has done since the last look.
    pub(super) fn is_stalled(&mut self, work: Work, now: Instant) -> bool {
        let wall = now.saturating_duration_since(self.looked_at);
        let cpu_time = work.cpu_time.saturating_sub(self.seen.cpu_time);
        let written = work.written_bytes.saturating_sub(self.seen.written_bytes);
        if cpu_time * BUSY_PART >= wall || written >= BUSY_BYTES {
            self.alive_at = now;
        }
        self.looked_at = now;
        self.seen = work;
        now.saturating_duration_since(self.alive_at) >= self.limit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endless_limit_is_no_panic() {
        let now = Instant::now();
        assert!(StallWatch::new(Duration::MAX, now).next_look() > now);
    }

    const SECOND: Duration = Duration::from_secs(1);

    fn work(cpu_ms: u64, written_bytes: u64) -> Work {
        Work {
            cpu_time: Duration::from_millis(cpu_ms),
            written_bytes,
        }
    }

    #[test]
    fn silence_without_work_is_a_stall() {
        let start = Instant::now();
        let mut watch = StallWatch::new(10 * SECOND, start);
        assert_eq!(watch.next_look(), start + 5 * SECOND);
        assert!(!watch.is_stalled(work(4, 400), start + 5 * SECOND));
        assert!(watch.is_stalled(work(8, 2800), start + 10 * SECOND));
    }

    #[test]
    fn an_advance_puts_it_off() {
        let start = Instant::now();
        let mut watch = StallWatch::new(10 * SECOND, start);
        watch.on_advance(start + 9 * SECOND);
        assert!(!watch.is_stalled(Work::default(), start + 10 * SECOND));
        assert!(!watch.is_stalled(Work::default(), start + 15 * SECOND));
        assert!(watch.is_stalled(Work::default(), start + 20 * SECOND));
    }

    #[test]
    fn work_in_silence_puts_it_off() {
        let start = Instant::now();
        let mut flushing = StallWatch::new(10 * SECOND, start);
        let mut rewriting = StallWatch::new(10 * SECOND, start);
        for look in 1..10 {
            let now = start + 5 * SECOND * look;
            assert!(!flushing.is_stalled(work(u64::from(look) * 4000, 0), now));
            assert!(!rewriting.is_stalled(work(0, u64::from(look) << 20), now));
        }
        let now = start + 55 * SECOND;
        assert!(flushing.is_stalled(work(36_000, 0), now));
    }
}
