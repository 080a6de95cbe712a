//! How many lines may pass in a time.

use std::time::Instant;

/// What one line costs, in the unit of [`RateLimiter::credit`].
const LINE: u64 = 1_000_000_000;

/// How many lines a second may pass, and how many at once after a calm time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LineRate {
    per_second: u32,
    burst: u32,
}

/// Lets lines pass at a [`LineRate`], and counts those it refuses.
#[derive(Clone, Debug)]
pub(crate) struct RateLimiter {
    rate: LineRate,
    /// What has been saved up, in billionths of a line: then a nanosecond adds `per_second`, a whole
    /// number, and nothing is ever lost to rounding.
    credit: u64,
    counted_to: Option<Instant>,
    refused: u64,
}

impl Default for LineRate {
    /// 5 lines a second, 20 at once.
    fn default() -> Self {
        Self {
            per_second: 5,
            burst: 20,
        }
    }
}

impl LineRate {
    /// Sets how many lines a second pass in the long run; with 0, none after the first burst.
    #[must_use]
    pub fn per_second(mut self, lines: u32) -> Self {
        self.per_second = lines;
        self
    }

    /// Sets how many lines pass at once after a calm time; with 0, none ever.
    #[must_use]
    pub fn burst(mut self, lines: u32) -> Self {
        self.burst = lines;
        self
    }
}

impl RateLimiter {
    /// A limiter that has its whole burst to give.
    pub(crate) fn new(rate: LineRate) -> Self {
        Self {
            rate,
            credit: u64::from(rate.burst) * LINE,
            counted_to: None,
            refused: 0,
        }
    }

    /// Whether one line may pass at `now`. Time that stands still or goes backwards adds nothing.
    pub(crate) fn allow(&mut self, now: Instant) -> bool {
        self.save_up(now);
        let allowed = self.credit >= LINE;
        if allowed {
            self.credit -= LINE;
        } else {
            self.refused += 1;
        }
        allowed
    }

    /// How many lines were refused since this was last asked.
    pub(crate) fn take_refused(&mut self) -> u64 {
        std::mem::take(&mut self.refused)
    }

    fn save_up(&mut self, now: Instant) {
        let from = *self.counted_to.get_or_insert(now);
        let Some(elapsed) = now.checked_duration_since(from) else {
            return;
        };
        let earned = elapsed.as_nanos() * u128::from(self.rate.per_second);
        let most = u64::from(self.rate.burst) * LINE;
        let credit = u128::from(self.credit) + earned;
        self.credit = u64::try_from(credit).unwrap_or(most).min(most);
        self.counted_to = Some(now);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_burst_then_the_rate() {
        let start = Instant::now();
        let mut limiter = RateLimiter::new(LineRate::default());
        let passed = (0..100).filter(|_| limiter.allow(start)).count();
        assert_eq!(passed, 20);
        assert_eq!(limiter.take_refused(), 80);
        assert_eq!(limiter.take_refused(), 0);
        assert!(!limiter.allow(start + Duration::from_millis(199)));
        assert!(limiter.allow(start + Duration::from_millis(200)));
        assert!(!limiter.allow(start + Duration::from_millis(200)));
        assert_eq!(limiter.take_refused(), 2);
    }

    #[test]
    fn a_rate_that_divides_no_second_does_not_drift() {
        let start = Instant::now();
        let mut limiter = RateLimiter::new(LineRate::default().per_second(3).burst(2));
        let seconds = 100_000;
        let asked = (0..seconds * 100).map(|number| start + Duration::from_millis(10) * number);
        let passed = asked.filter(|now| limiter.allow(*now)).count();
        assert_eq!(
            passed, 300_001,
            "two at once and 3 a second, less 10 ms at the end"
        );
    }

    #[test]
    fn nothing_passes_at_no_rate() {
        let start = Instant::now();
        let much_later = start + Duration::from_secs(1_000_000_000);
        let mut limiter = RateLimiter::new(LineRate::default().per_second(0).burst(1));
        assert!(limiter.allow(start));
        assert!(!limiter.allow(much_later));
        let mut limiter = RateLimiter::new(LineRate::default().burst(0));
        assert!(!limiter.allow(start));
        assert!(!limiter.allow(much_later));
        let mut limiter =
            RateLimiter::new(LineRate::default().per_second(u32::MAX).burst(u32::MAX));
        assert!(limiter.allow(start));
        assert!(limiter.allow(much_later));
    }

    proptest! {
        #[test]
        fn never_more_than_the_rate_and_every_line_is_counted(
            times_ms in prop::collection::vec(0_u64..20_000, 0..200),
            per_second in 0_u32..50, burst in 0_u32..50,
        ) {
            let start = Instant::now();
            let mut limiter = RateLimiter::new(LineRate::default().per_second(per_second).burst(burst));
            let mut passed = 0_u64;
            let mut refused = 0;
            for ms in &times_ms {
                if limiter.allow(start + Duration::from_millis(*ms)) {
                    passed += 1;
                }
                refused += limiter.take_refused();
            }
            let first = times_ms.first().copied().unwrap_or(0);
            let latest = times_ms.iter().copied().max().unwrap_or(0);
            let earned = (latest - first) * u64::from(per_second) / 1000;
            prop_assert!(passed <= u64::from(burst) + earned);
            prop_assert_eq!(passed + refused, times_ms.len() as u64);
        }

        #[test]
        fn never_less_than_the_rate_when_always_asked(per_second in 1_u32..50, seconds in 1_u32..20) {
            let start = Instant::now();
            let mut limiter = RateLimiter::new(LineRate::default().per_second(per_second).burst(50));
            while limiter.allow(start) {}
            let passed = (1..=seconds * 1000)
                .filter(|ms| limiter.allow(start + Duration::from_millis(u64::from(*ms))))
                .count();
            prop_assert_eq!(passed as u64, u64::from(per_second) * u64::from(seconds));
        }
    }
}
