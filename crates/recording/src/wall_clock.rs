//! From wall-clock times to session times and back, over all clock pairs of a recording.

use std::str::FromStr;

use jiff::{SignedDuration, Timestamp};

use crate::{clock::ClockPair, pts::Pts};

/// From how much on two pairs that disagree are a step of the wall clock; reading both clocks takes
/// less.
const STEP: SignedDuration = SignedDuration::from_millis(1);

const MAX_STEPS: usize = 10_000;

/// What the wall clock said all through a recording, from the pair that each chunk stores.
///
/// Each pair counts from its own session time to that of the next one. Where the wall clock was
/// set in between, a time that it passed twice leads to the first moment, and one that it skipped
/// to the moment of the next pair.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct WallClock {
    pairs: Vec<ClockPair>,
}

/// A moment of a recording, as a user says it: session seconds such as `12.5`, or a wall-clock time
/// as RFC 3339 has it, such as `2026-09-04T12:03:14.123Z`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// A session time.
    Session(Pts),
    /// A wall-clock time.
    Wall(Timestamp),
}

/// A text that says no moment.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no time: write session seconds (12.5) or RFC 3339 (2026-09-04T12:03:14Z)")]
pub struct ParseMomentError {
    /// The text, cut after 64 characters.
    pub text: String,
}

impl WallClock {
    /// The clock of a recording with these pairs, in any order.
    pub fn new(pairs: impl IntoIterator<Item = ClockPair>) -> Self {
        let mut pairs: Vec<_> = pairs.into_iter().collect();
        pairs.sort_by_key(|pair| pair.pts_us);
        pairs.dedup_by_key(|pair| pair.pts_us);
        Self { pairs }
    }

    /// The first pair, and each from which on the wall clock was off by more than a millisecond from
    /// what the ones before had let expect: few enough to be kept with a file, at most 10,000.
    pub(crate) fn steps(&self) -> Vec<ClockPair> {
        let mut steps: Vec<ClockPair> = Vec::new();
        for pair in &self.pairs {
            let expected = steps.last().and_then(|last| last.realtime_at(pair.pts_us));
            let error = expected.map(|expected| pair.realtime.duration_since(expected).abs());
            if error.is_none_or(|error| error > STEP) && steps.len() < MAX_STEPS {
                steps.push(*pair);
            }
        }
        steps
    }

    /// What the wall clock said at session time `pts`. `None` when there is no pair, or the time
    /// cannot be expressed.
    pub fn realtime_at(&self, pts: Pts) -> Option<Timestamp> {
        let after = self.pairs.partition_point(|pair| pair.pts_us <= pts);
        self.pairs.get(after.saturating_sub(1))?.realtime_at(pts)
    }

    /// The session time at which the wall clock said `time`: below 0 for times before the
    /// recording, beyond its end for later ones. `None` when there is no pair.
    pub fn pts_at(&self, time: Timestamp) -> Option<Pts> {
        let mut seam = None;
        for (index, pair) in self.pairs.iter().enumerate() {
            let pts = pts_by(pair, time);
            let next = self.pairs.get(index + 1);
            if index > 0 && pts < pair.pts_us {
                // Before this pair, but not before the end of the one in front of it: skipped.
                return seam;
            }
            if next.is_none_or(|next| pts < next.pts_us) {
                return Some(pts);
            }
            seam = next.map(|next| next.pts_us);
        }
        None
    }

    /// The session time of `moment`; `None` for a wall-clock time when there is no pair.
    pub fn resolve(&self, moment: Moment) -> Option<Pts> {
        match moment {
            Moment::Session(pts) => Some(pts),
            Moment::Wall(time) => self.pts_at(time),
        }
    }
}

impl FromStr for Moment {
    type Err = ParseMomentError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        session_seconds(text)
            .map(Self::Session)
            .or_else(|| text.parse().ok().map(Self::Wall))
            .ok_or_else(|| ParseMomentError {
                text: text.chars().take(64).collect(),
            })
    }
}

fn pts_by(pair: &ClockPair, time: Timestamp) -> Pts {
    let micros = time.duration_since(pair.realtime).as_micros();
    let micros = i64::try_from(micros).expect("all of jiff's range is within i64 microseconds");
    Pts(pair.pts_us.0.saturating_add(micros))
}

/// Reads `12` or `12.345678`, exactly; decimals below the microsecond are cut off.
fn session_seconds(text: &str) -> Option<Pts> {
    let (seconds, decimals) = match text.split_once('.') {
        Some((_, "")) => return None,
        Some((seconds, decimals)) => (seconds, decimals),
        None => (text, ""),
    };
    let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if seconds.is_empty() || !is_number(seconds) || !is_number(decimals) {
        return None;
    }
    let micros = format!("{:0<6}", &decimals[..decimals.len().min(6)]);
    let seconds: i64 = seconds.parse().ok()?;
    let micros: i64 = micros.parse().ok()?;
    Some(Pts(seconds.checked_mul(1_000_000)?.checked_add(micros)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    fn clock(pairs: &[(i64, i64)]) -> WallClock {
        WallClock::new(pairs.iter().map(|(seconds, wall)| ClockPair {
            pts_us: Pts(seconds * 1_000_000),
            realtime: at(*wall),
        }))
    }

    #[track_caller]
    fn check(clock: &WallClock, wall: i64, want_seconds: i64) {
        assert_eq!(
            clock.pts_at(at(wall)),
            Some(Pts(want_seconds * 1_000_000)),
            "{wall}"
        );
    }

    #[test]
    fn a_clock_that_nobody_set() {
        let clock = clock(&[(20, 120), (0, 100), (10, 110)]);
        for seconds in [-5, 0, 9, 10, 19, 20, 500] {
            check(&clock, 100 + seconds, seconds);
            assert_eq!(
                clock.realtime_at(Pts(seconds * 1_000_000)),
                Some(at(100 + seconds))
            );
        }
    }

    #[test]
    fn a_clock_that_was_set_back_passes_times_twice() {
        let clock = clock(&[(0, 100), (10, 105), (20, 115)]);
        check(&clock, 107, 7);
        check(&clock, 109, 9);
        check(&clock, 110, 15);
        check(&clock, 116, 21);
        assert_eq!(clock.realtime_at(Pts(15_000_000)), Some(at(110)));
    }

    #[test]
    fn a_clock_that_was_set_forward_skips_times() {
        let clock = clock(&[(0, 100), (10, 3_600), (20, 3_610)]);
        check(&clock, 109, 9);
        check(&clock, 110, 10);
        check(&clock, 2_000, 10);
        check(&clock, 3_600, 10);
        check(&clock, 3_611, 21);
    }

    #[test]
    fn the_ends_of_time_do_not_wrap() {
        let far = clock(&[(0, 100), (i64::MAX / 1_000_000, 200)]);
        assert!(far.pts_at(Timestamp::MAX).is_some());
        assert!(far.pts_at(Timestamp::MIN).is_some());
        let clock = clock(&[(0, 100)]);
        assert_eq!(clock.realtime_at(Pts(i64::MAX)), None);
        assert_eq!(clock.realtime_at(Pts(i64::MIN)), None);
        assert_eq!(WallClock::default().pts_at(at(0)), None);
        assert_eq!(WallClock::default().realtime_at(Pts::ZERO), None);
    }

    #[test]
    fn only_steps_are_kept() {
        let mut pairs: Vec<_> = (0..1000).map(|n| (n * 10, n * 10)).collect();
        for (seconds, wall) in &mut pairs {
            *wall += if *seconds >= 5_000 { 3_600 } else { 0 };
        }
        let steps = clock(&pairs).steps();
        assert_eq!(WallClock::new(steps), clock(&[(0, 0), (5_000, 8_600)]));
    }

    #[test]
    fn moments() {
        #[track_caller]
        fn check(text: &str, want: Option<Moment>) {
            assert_eq!(text.parse().ok(), want, "{text:?}");
        }
        let session = |micros| Some(Moment::Session(Pts(micros)));
        check("0", session(0));
        check("12.5", session(12_500_000));
        check("1.3000019", session(1_300_001));
        check("0.000001", session(1));
        check("2027-01-15T09:00:00+01:00", Some(Moment::Wall(at(0))));
        check(
            "2027-01-15T08:00:00.000001Z",
            Some(Moment::Wall(at(0) + SignedDuration::from_micros(1))),
        );
        check("2027-01-15T08:00:00", None);
        check("-1", None);
        check("1e3", None);
        check("12.", None);
        check(".5", None);
        check("99999999999999", None);
        check("1.5٣", None);
        check("", None);
    }
}
