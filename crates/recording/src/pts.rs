//! Media time within one recording.

use std::{fmt, ops::Add, time::Duration};

use serde::{Deserialize, Serialize};

/// A presentation timestamp: microseconds since session time 0, the first capture of a recording.
///
/// It is an integer, so that no arithmetic on the way from a camera to a file can round it. The
/// reference design lost up to 499 µs to the millisecond ticks of libavformat's Matroska muxer.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Pts(pub i64);

impl Pts {
    /// Session time 0.
    pub const ZERO: Self = Self(0);

    /// The time in whole microseconds.
    pub const fn micros(self) -> i64 {
        self.0
    }

    /// How long after `earlier` this is; zero when it is not after it.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// How far the two are apart, whichever is first.
    pub fn distance(self, other: Self) -> Duration {
        Duration::from_micros(self.0.abs_diff(other.0))
    }
}

impl Add<Duration> for Pts {
    type Output = Self;

    /// Saturates at the ends of the range, 292,000 years away.
    fn add(self, span: Duration) -> Self {
        Self(
            self.0
                .saturating_add(i64::try_from(span.as_micros()).unwrap_or(i64::MAX)),
        )
    }
}

impl fmt::Display for Pts {
    /// Seconds with six decimals, as ffprobe prints them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        let micros = self.0.unsigned_abs();
        write!(f, "{sign}{}.{:06}", micros / 1_000_000, micros % 1_000_000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_seconds() {
        assert_eq!(Pts(1_300_001).to_string(), "1.300001");
        assert_eq!(Pts(-1).to_string(), "-0.000001");
    }

    #[test]
    fn differences_never_wrap() {
        assert_eq!(Pts(5).since(Pts(9)), Duration::ZERO);
        assert_eq!(Pts(9).distance(Pts(5)), Duration::from_micros(4));
        assert_eq!(Pts(i64::MAX) + Duration::MAX, Pts(i64::MAX));
    }
}
