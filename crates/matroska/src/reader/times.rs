//! From a file's ticks to µs.

use std::{sync::Arc, time::Duration};

use crate::{reader::damage::DamageKind, track::Track};

/// How a file counts time.
#[derive(Clone, Debug)]
pub(crate) struct Times {
    tick_ns: u64,
    /// Number and default duration of the tracks that have one.
    default_durations: Arc<[(u64, Duration)]>,
}

impl Times {
    pub(crate) fn new(tick: Duration, tracks: &[Track]) -> Self {
        Self {
            tick_ns: u64::try_from(tick.as_nanos()).unwrap_or(u64::MAX),
            default_durations: tracks
                .iter()
                .filter_map(|track| Some((track.number, track.default_duration?)))
                .collect(),
        }
    }

    pub(crate) fn tick_ns(&self) -> u64 {
        self.tick_ns
    }

    /// The time of a block `offset` ticks from a cluster at `timestamp`, to the nearest µs.
    pub(crate) fn pts_us(&self, timestamp: u64, offset: i16) -> Result<i64, DamageKind> {
        let ns = (i128::from(timestamp) + i128::from(offset))
            .checked_mul(i128::from(self.tick_ns))
            .ok_or(DamageKind::Malformed)?;
        let us = ns.div_euclid(1000) + i128::from(ns.rem_euclid(1000) >= 500);
        i64::try_from(us).map_err(|_| DamageKind::Malformed)
    }

    pub(crate) fn duration(&self, ticks: u64) -> Result<Duration, DamageKind> {
        ticks
            .checked_mul(self.tick_ns)
            .map(Duration::from_nanos)
            .ok_or(DamageKind::Malformed)
    }

    pub(crate) fn default_duration(&self, track: u64) -> Option<Duration> {
        let mut durations = self.default_durations.iter();
        durations
            .find(|(number, _)| *number == track)
            .map(|(_, duration)| *duration)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(tick_ns: u64, timestamp: u64, offset: i16, want: Option<i64>) {
        let times = Times::new(Duration::from_nanos(tick_ns), &[]);
        assert_eq!(times.pts_us(timestamp, offset).ok(), want);
    }

    #[test]
    fn ticks_of_any_length_become_the_nearest_microsecond() {
        check(1000, 1_000_000, -1, Some(999_999));
        check(1_000_000, 7, 3, Some(10_000));
        check(1_000_000, 0, -5, Some(-5000));
        check(100, 12, 3, Some(2));
        check(100, 0, -4, Some(0));
        check(100, 0, -6, Some(-1));
        check(u64::MAX, u64::MAX, 0, None);
        check(1000, u64::MAX, 0, None);
    }
}
