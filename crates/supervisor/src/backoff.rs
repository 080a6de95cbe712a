//! How long to wait before the next start.

use std::time::Duration;

/// A delay that grows with every attempt: `base × factor^(attempt − 1)`, up to a maximum.
///
/// By default 2, 4, 8, 16, 32, then 60 s, each shortened by up to a tenth at random, so that children
/// that died together do not come back together.
///
/// ```
/// use longtake_supervisor::Backoff;
/// use std::time::Duration;
///
/// let backoff = Backoff::new(Duration::from_millis(500)).maximum(Duration::from_secs(30));
/// let at_once = Backoff::new(Duration::ZERO);
/// # let _ = (backoff, at_once);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Backoff {
    base: Duration,
    factor: f64,
    maximum: Duration,
    jitter: f64,
}

impl Default for Backoff {
    fn default() -> Self {
        Self::new(Duration::from_secs(2))
    }
}

impl Backoff {
    /// A backoff that begins with `base`, doubles up to 60 s (or `base`, if that is longer), and has a
    /// jitter of a tenth. A base of zero restarts at once, for ever.
    #[must_use]
    pub fn new(base: Duration) -> Self {
        Self {
            base,
            factor: 2.0,
            maximum: base.max(Duration::from_secs(60)),
            jitter: 0.1,
        }
    }

    /// Sets by what the delay is multiplied from one attempt to the next; less than 1, or no number,
    /// counts as 1.
    #[must_use]
    pub fn factor(mut self, factor: f64) -> Self {
        self.factor = factor.max(1.0);
        self
    }

    /// Sets the longest delay. It holds for the base too.
    #[must_use]
    pub fn maximum(mut self, maximum: Duration) -> Self {
        self.maximum = maximum;
        self
    }

    /// Sets by what part of itself, from 0 to 1, a delay is shortened at most.
    #[must_use]
    pub fn jitter(mut self, part: f64) -> Self {
        self.jitter = part.clamp(0.0, 1.0);
        self
    }

    /// The delay before an attempt, counted from 1. `random` lies between 0 and 1.
    pub(crate) fn delay(&self, attempt: u32, random: f64) -> Duration {
        let exponent = i32::try_from(attempt.saturating_sub(1)).unwrap_or(i32::MAX);
        // Bounded, since zero times infinity is no number.
        let growth = self.factor.powi(exponent).min(f64::MAX);
        let whole = self.base.as_secs_f64() * growth;
        let whole = Duration::try_from_secs_f64(whole).unwrap_or(self.maximum);
        let whole = whole.min(self.maximum);
        let shorter = whole.as_secs_f64() * self.jitter * random.clamp(0.0, 1.0);
        whole.saturating_sub(Duration::try_from_secs_f64(shorter).unwrap_or(whole))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_default_grows_to_a_minute() {
        let backoff = Backoff::default().jitter(0.0);
        let delays = (1..=7).map(|attempt| backoff.delay(attempt, 0.5).as_secs());
        assert_eq!(delays.collect::<Vec<_>>(), [2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(backoff.delay(u32::MAX, 0.5).as_secs(), 60);
    }

    #[test]
    fn extremes() {
        #[track_caller]
        fn check(backoff: Backoff, attempt: u32, want: Duration) {
            assert_eq!(backoff.jitter(0.0).delay(attempt, 1.0), want, "{backoff:?}");
        }
        let second = Duration::from_secs(1);
        check(Backoff::new(Duration::ZERO), 50, Duration::ZERO);
        check(Backoff::new(Duration::ZERO), 5000, Duration::ZERO);
        check(Backoff::new(second).factor(0.1), 9, second);
        check(Backoff::new(second).factor(f64::NAN), 9, second);
        check(Backoff::new(second).factor(f64::INFINITY), 2, 60 * second);
        check(Backoff::new(100 * second), 1, 100 * second);
        check(Backoff::new(Duration::MAX), 3, Duration::MAX);
        check(Backoff::new(second).maximum(second / 2), 1, second / 2);
    }

    proptest! {
        #[test]
        fn within_its_bounds(
            base_ms in 0_u64..100_000, factor in 1.0_f64..10.0, maximum_ms in 0_u64..1_000_000,
            jitter in 0.0_f64..=1.0, attempt in 1_u32..100, random in 0.0_f64..=1.0,
        ) {
            let maximum = Duration::from_millis(maximum_ms);
            let backoff = Backoff::new(Duration::from_millis(base_ms))
                .factor(factor)
                .maximum(maximum);
            let whole = backoff.jitter(0.0).delay(attempt, random);
            let delay = backoff.jitter(jitter).delay(attempt, random);
            prop_assert!(whole <= maximum);
            prop_assert!(whole <= backoff.jitter(0.0).delay(attempt + 1, random));
            prop_assert!(delay <= whole);
            let nanosecond = Duration::from_nanos(1);
            prop_assert!(delay + nanosecond >= whole.mul_f64(1.0 - jitter));
        }
    }
}
