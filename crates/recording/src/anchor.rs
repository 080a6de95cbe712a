//! Places the timestamps of a source that has a clock of its own on ours.

use std::time::Duration;

use crate::clock::Monotonic;

/// How far a source may drift from the arrival of its packets before it is anchored anew.
pub(crate) const MAX_DEVIATION: Duration = Duration::from_millis(500);

/// Turns source timestamps into capture times by adding an offset that is fixed at the first
/// packet, so that the spacing of the source survives to the microsecond and network jitter does
/// not enter.
#[derive(Debug)]
pub(crate) struct Anchor {
    max_deviation: Option<Duration>,
    offset: Option<i64>,
    latest: Option<Monotonic>,
}

/// Where a packet was placed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Placed {
    /// Its capture time on our clock.
    pub at: Monotonic,
    /// Whether the source's clock had left ours, so that this packet begins a new spacing.
    pub anchored_anew: bool,
}

impl Anchor {
    /// For a source with a clock of its own: it is anchored anew when it leaves ours by more than
    /// [`MAX_DEVIATION`].
    pub(crate) const fn following() -> Self {
        Self {
            max_deviation: Some(MAX_DEVIATION),
            offset: None,
            latest: None,
        }
    }

    /// For a source that plays by our own clock: however late a packet arrives, its place is right.
    pub(crate) const fn fixed() -> Self {
        Self {
            max_deviation: None,
            offset: None,
            latest: None,
        }
    }

    /// Places a packet with the source's own timestamp `source_us` that arrived at `arrival`.
    ///
    /// A packet whose place deviates too far from its arrival is placed at
    /// its arrival, and those after it follow from there: the camera was restarted, its clock was
    /// set, or it runs at a wrong speed. Time never runs backwards at such a seam.
    pub(crate) fn place(&mut self, source_us: i64, arrival: Monotonic) -> Placed {
        if let Some(offset) = self.offset {
            let at = Monotonic(source_us.saturating_add(offset));
            let deviation = Duration::from_micros(at.0.abs_diff(arrival.0));
            if self.max_deviation.is_none_or(|max| deviation <= max) {
                self.latest = self.latest.max(Some(at));
                return Placed {
                    at,
                    anchored_anew: false,
                };
            }
        }
        let anchored_anew = self.offset.is_some();
        let after_latest = self
            .latest
            .map(|latest| Monotonic(latest.0.saturating_add(1)));
        let at = after_latest.map_or(arrival, |after| after.max(arrival));
        self.offset = Some(at.0.saturating_sub(source_us));
        self.latest = Some(at);
        Placed { at, anchored_anew }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(anchor: &mut Anchor, source_us: i64, arrival: i64, want: (i64, bool)) {
        let placed = anchor.place(source_us, Monotonic(arrival));
        assert_eq!(
            (placed.at.0, placed.anchored_anew),
            want,
            "{source_us} at {arrival}"
        );
    }

    #[test]
    fn the_spacing_of_the_source_survives_jitter() {
        let mut anchor = Anchor::following();
        check(&mut anchor, 90_000, 5_000_000, (5_000_000, false));
        check(&mut anchor, 123_333, 5_049_000, (5_033_333, false));
        check(&mut anchor, 156_667, 5_061_000, (5_066_667, false));
        check(&mut anchor, 190_000, 5_600_000, (5_100_000, false));
    }

    #[test]
    fn a_clock_that_jumps_is_anchored_anew_once() {
        let mut anchor = Anchor::following();
        check(&mut anchor, 0, 1_000_000, (1_000_000, false));
        check(&mut anchor, -3_600_000_000, 1_033_000, (1_033_000, true));
        check(&mut anchor, -3_599_966_667, 1_070_000, (1_066_333, false));
        check(&mut anchor, i64::MAX, 1_100_000, (1_100_000, true));
        check(&mut anchor, i64::MIN, 1_133_000, (1_133_000, true));
    }

    #[test]
    fn our_own_clock_is_never_left() {
        let mut anchor = Anchor::fixed();
        check(&mut anchor, 0, 1_000_000, (1_000_000, false));
        check(&mut anchor, 33_333, 9_000_000, (1_033_333, false));
    }

    #[test]
    fn a_seam_never_runs_backwards() {
        let mut anchor = Anchor::following();
        check(&mut anchor, 0, 1_000_000, (1_000_000, false));
        check(&mut anchor, 450_000, 1_010_000, (1_450_000, false));
        check(&mut anchor, -9_000_000, 1_020_000, (1_450_001, true));
    }
}
