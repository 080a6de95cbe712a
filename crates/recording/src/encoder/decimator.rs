//! Which frames are encoded when fewer are asked for than the source gives.

use crate::{pts::Pts, stream::FrameRate};

/// How early a frame may come; never more than a quarter of the interval.
const MAX_EARLY_US: i128 = 10_000;

/// Picks frames by their timestamps.
///
/// The frames picked follow a grid that begins at the first one, so that no rounding adds up. Cameras
/// jitter, so a frame may come a little before its place on the grid.
#[derive(Debug)]
pub(super) struct Decimator {
    rate: FrameRate,
    grid: Option<Grid>,
}

#[derive(Debug, Clone, Copy)]
struct Grid {
    begin: Pts,
    picked: i64,
}

impl Decimator {
    /// Picks `wanted` frames a second; `None` where the source gives no more than that.
    pub(super) fn new(source: Option<FrameRate>, wanted: Option<FrameRate>) -> Option<Self> {
        let rate = wanted?;
        let is_needed = source.is_none_or(|source| source.as_f64() > rate.as_f64());
        is_needed.then_some(Self { rate, grid: None })
    }

    /// Whether the frame at `pts` is picked. Times go up.
    pub(super) fn picks(&mut self, pts: Pts) -> bool {
        let Some(grid) = &mut self.grid else {
            self.grid = Some(Grid {
                begin: pts,
                picked: 1,
            });
            return true;
        };
        let since_begin = i128::from(pts.0) - i128::from(grid.begin.0);
        let due = self.rate.micros_of(grid.picked);
        let interval = self.rate.micros_of(1);
        if since_begin + MAX_EARLY_US.min(interval / 4) < due {
            return false;
        }
        if since_begin > due + interval {
            // The source was silent: the grid begins anew, or all would be picked to catch up.
            *grid = Grid {
                begin: pts,
                picked: 1,
            };
        } else {
            grid.picked += 1;
        }
        true
    }
}

impl FrameRate {
    /// How long so many frames last, in µs.
    fn micros_of(self, frames: i64) -> i128 {
        let (numerator, denominator) = self.as_fraction();
        i128::from(frames) * i128::from(denominator) * 1_000_000 / i128::from(numerator)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rate(text: &str) -> FrameRate {
        FrameRate::parse(text).unwrap()
    }

    /// The numbers of the frames picked out of the first `frames` of a source.
    fn picked(source: &str, wanted: &str, frames: i64) -> Vec<i64> {
        let (source, wanted) = (rate(source), rate(wanted));
        let mut decimator = Decimator::new(None, Some(wanted)).unwrap();
        let pts = |n| Pts(i64::try_from(source.micros_of(n)).unwrap() + 600_300_000);
        (0..frames).filter(|&n| decimator.picks(pts(n))).collect()
    }

    #[test]
    fn frames_are_picked_evenly() {
        assert_eq!(picked("30", "15", 7), [0, 2, 4, 6]);
        assert_eq!(picked("30", "20", 7), [0, 2, 3, 5, 6]);
        assert_eq!(picked("25", "20", 11), [0, 1, 3, 4, 5, 6, 8, 9, 10]);
        assert_eq!(picked("30", "1", 95), [0, 30, 60, 90]);
        assert_eq!(picked("30000/1001", "30", 4), [0, 1, 2, 3]);
        assert_eq!(picked("5", "30", 4), [0, 1, 2, 3]);
    }

    #[test]
    fn no_rounding_adds_up() {
        for (source, wanted, seconds) in [
            ("30", "7", 600),
            ("30000/1001", "29", 1001),
            ("60", "23.976", 1000),
        ] {
            let frames =
                i64::try_from(1_000_000 * i128::from(seconds) / rate(source).micros_of(1)).unwrap();
            let want = rate(wanted).as_f64() * f64::from(seconds);
            let got = picked(source, wanted, frames).len();
            assert!((want - got as f64).abs() <= 2.0, "{got} of {want}");
        }
    }

    #[test]
    fn after_a_silence_it_does_not_catch_up() {
        let mut decimator = Decimator::new(None, Some(rate("10"))).unwrap();
        let mut picks = |ms: i64| decimator.picks(Pts(ms * 1000));
        assert!(picks(0));
        assert!(picks(60_000));
        assert!(!picks(60_033));
        assert!(!picks(60_066));
        assert!(picks(60_100));
    }

    #[test]
    fn a_source_that_is_slow_enough_is_left_alone() {
        assert!(Decimator::new(Some(rate("30")), Some(rate("30"))).is_none());
        assert!(Decimator::new(Some(rate("30")), Some(rate("60"))).is_none());
        assert!(Decimator::new(Some(rate("30")), None).is_none());
        assert!(Decimator::new(Some(rate("30")), Some(rate("15"))).is_some());
    }

    proptest! {
        #[test]
        fn jitter_changes_nothing(jitter in prop::collection::vec(-7_000_i64..7_000, 300)) {
            let mut decimator = Decimator::new(Some(rate("30")), Some(rate("15"))).unwrap();
            let picked: Vec<_> = (0..300)
                .filter(|&n| {
                    let jitter = if n == 0 { 0 } else { jitter[usize::try_from(n).unwrap()] };
                    decimator.picks(Pts(n * 1_000_000 / 30 + jitter))
                })
                .collect();
            let want: Vec<_> = (0..300).step_by(2).collect();
            prop_assert_eq!(picked, want);
        }
    }
}
