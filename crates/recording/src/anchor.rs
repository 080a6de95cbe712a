//! Places the timestamps of a source that has a clock of its own on ours.

use std::time::Duration;

use crate::clock::Monotonic;

/// How far a source may leave the arrival of its packets before it is anchored anew.
const MAX_DEVIATION: Duration = Duration::from_millis(500);

/// How long packets may come late without catching up. After a stall of the network they come in a
/// burst and catch up; those of a camera whose clock was set never do.
const LATE_PATIENCE: Duration = Duration::from_secs(5);

/// How much of its delay, in microseconds, a late source must make good to count as catching up.
const CATCHING_UP_US: i64 = 100_000;

/// How long a source may take to come to its own pace.
const MAX_WARM_UP: Duration = Duration::from_secs(3);

/// Turns source timestamps into capture times by adding an offset that is fixed when the source has
/// come to its own pace, so that the spacing of the source survives to the microsecond and network
/// jitter does not enter.
#[derive(Debug)]
pub(crate) struct Anchor {
    follows: bool,
    /// Capture time minus source timestamp, in microseconds.
    offset: Option<i64>,
    /// When the first packet came, until the source has come to its own pace.
    warming_up_since: Option<Monotonic>,
    late: Option<Late>,
    latest: Option<Monotonic>,
    /// Nothing is placed before this: where the last seam is.
    seam: Option<Monotonic>,
}

/// Packets come too late.
#[derive(Debug)]
struct Late {
    /// The least delay so far, in microseconds.
    least_us: i64,
    /// When it was reached.
    since: Monotonic,
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
        Self::new(true)
    }

    /// For a source that plays by our own clock: however late a packet arrives, its place is right.
    pub(crate) const fn fixed() -> Self {
        Self::new(false)
    }

    const fn new(follows: bool) -> Self {
        Self {
            follows,
            offset: None,
            warming_up_since: None,
            late: None,
            latest: None,
            seam: None,
        }
    }

    /// Whether the source has come to its own pace, so that the spacing of what follows is its own.
    pub(crate) const fn is_settled(&self) -> bool {
        self.offset.is_some() && self.warming_up_since.is_none()
    }

    /// Places a packet with the source's own timestamp `source_us` that arrived at `arrival`.
    ///
    /// At first comes a burst of what was held back on the way; each of its packets was held back
    /// less than the one before, so the offset goes down until packets come at their own pace.
    ///
    /// Then late packets keep their place as long as they catch up. A packet whose place deviates too
    /// far otherwise is placed at its arrival, and those after it follow from there: the camera was
    /// restarted, its clock was set, or it runs at a wrong speed. Time never runs backwards at such a
    /// seam.
    pub(crate) fn place(&mut self, source_us: i64, arrival: Monotonic) -> Placed {
        let at_arrival = arrival.0.saturating_sub(source_us);
        let mut anchored_anew = false;
        let offset = match self.offset {
            None => {
                self.warming_up_since = self.follows.then_some(arrival);
                at_arrival
            }
            Some(offset) if !self.follows => offset,
            Some(offset) => {
                if let Some(since) = self.warming_up_since {
                    if at_arrival >= offset || arrival.since(since) > MAX_WARM_UP {
                        self.warming_up_since = None;
                    }
                    offset.min(at_arrival)
                } else if self.has_left(source_us.saturating_add(offset), arrival) {
                    anchored_anew = true;
                    self.late = None;
                    self.seam = self.latest;
                    at_arrival
                } else {
                    offset
                }
            }
        };
        self.offset = Some(offset);
        // Said in this way because timestamps at the ends of time have no offset that fits.
        let mut at = if offset == at_arrival {
            arrival
        } else {
            Monotonic(source_us.saturating_add(offset))
        };
        if let Some(seam) = &mut self.seam
            && at <= *seam
        {
            at = Monotonic(seam.0.saturating_add(1));
            *seam = at;
        }
        self.latest = self.latest.max(Some(at));
        Placed { at, anchored_anew }
    }

    /// Whether a packet with this place that comes at `arrival` shows that the clocks parted.
    fn has_left(&mut self, place: i64, arrival: Monotonic) -> bool {
        let deviates =
            |from: i64, to: i64| Duration::from_micros(from.abs_diff(to)) > MAX_DEVIATION;
        if !deviates(place, arrival.0) {
            self.late = None;
            return false;
        }
        let runs_back = self
            .latest
            .is_some_and(|latest| latest.0 > place && deviates(latest.0, place));
        if place > arrival.0 || runs_back {
            return true;
        }
        let delay_us = arrival.0.saturating_sub(place);
        match &mut self.late {
            Some(late) if delay_us > late.least_us - CATCHING_UP_US => {
                arrival.since(late.since) > LATE_PATIENCE
            }
            late => {
                *late = Some(Late {
                    least_us: delay_us,
                    since: arrival,
                });
                false
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A packet 30 times a second.
    const FRAME_US: i64 = 33_333;

    #[track_caller]
    fn check(anchor: &mut Anchor, source_us: i64, arrival: i64, want: (i64, bool)) {
        let placed = anchor.place(source_us, Monotonic(arrival));
        assert_eq!(
            (placed.at.0, placed.anchored_anew),
            want,
            "{source_us} at {arrival}"
        );
    }

    /// Settled with an offset of 1 s; the next packet is due at 1.1 s.
    fn settled() -> Anchor {
        let mut anchor = Anchor::following();
        check(&mut anchor, 0, 1_000_000, (1_000_000, false));
        check(&mut anchor, 33_333, 1_033_333, (1_033_333, false));
        assert!(anchor.is_settled());
        anchor
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
    fn a_burst_at_the_start_ends_at_the_sources_own_pace() {
        let mut anchor = Anchor::following();
        for number in 0..60 {
            check(
                &mut anchor,
                number * FRAME_US,
                1_000_000 + number,
                (1_000_000 + number, false),
            );
            assert!(!anchor.is_settled(), "{number}");
        }
        let last = 1_000_059;
        for number in 60..120 {
            let due = last + (number - 59) * FRAME_US;
            check(&mut anchor, number * FRAME_US, due + 900, (due, false));
            assert!(anchor.is_settled(), "{number}");
        }
    }

    #[test]
    fn a_source_that_is_always_early_settles_in_the_end() {
        let mut anchor = Anchor::following();
        for number in 0..200 {
            anchor.place(number * FRAME_US, Monotonic(number * (FRAME_US - 100)));
        }
        assert!(anchor.is_settled());
    }

    #[test]
    fn a_stall_and_its_burst_change_no_place() {
        for stall in [2_000_000, 16_000_000] {
            let mut anchor = settled();
            let held = stall / FRAME_US;
            for number in 2..2 + 2 * held {
                let due = 1_000_000 + number * FRAME_US;
                // What was held back comes 1 ms apart.
                let arrival = due.max(1_000_000 + stall + number * 1_000);
                check(&mut anchor, number * FRAME_US, arrival, (due, false));
            }
        }
    }

    #[test]
    fn a_delay_that_stays_is_anchored_anew_once() {
        let mut anchor = settled();
        let mut seams = 0;
        for number in 2..900 {
            let arrival = 1_800_000 + number * FRAME_US;
            let placed = anchor.place(number * FRAME_US, Monotonic(arrival));
            seams += usize::from(placed.anchored_anew);
            assert_eq!(placed.at.0 == arrival, seams == 1, "{number}");
        }
        assert_eq!(seams, 1);
    }

    #[test]
    fn a_clock_that_jumps_is_anchored_anew_once() {
        let mut anchor = settled();
        check(&mut anchor, -3_600_000_000, 1_066_000, (1_066_000, true));
        check(&mut anchor, -3_599_966_667, 1_100_000, (1_099_333, false));
        check(&mut anchor, i64::MAX, 1_133_000, (1_133_000, true));
        check(&mut anchor, i64::MIN, 1_166_000, (1_166_000, true));
    }

    #[test]
    fn our_own_clock_is_never_left() {
        let mut anchor = Anchor::fixed();
        check(&mut anchor, 0, 1_000_000, (1_000_000, false));
        assert!(anchor.is_settled());
        check(&mut anchor, 33_333, 9_000_000, (1_033_333, false));
    }

    #[test]
    fn a_seam_never_runs_backwards() {
        let mut anchor = settled();
        check(&mut anchor, 450_000, 1_066_000, (1_450_000, false));
        check(&mut anchor, 600_000, 1_090_000, (1_450_001, true));
        check(&mut anchor, 633_333, 1_123_333, (1_450_002, false));
        check(&mut anchor, 1_000_000, 1_490_000, (1_490_000, false));
    }

    proptest! {
        #[test]
        fn any_timestamps_are_placed(
            packets in prop::collection::vec((any::<i64>(), 0..10_000_000_i64), 0..100),
        ) {
            let mut anchor = Anchor::following();
            let mut arrival = 0;
            for (source_us, later) in packets {
                arrival += later;
                let placed = anchor.place(source_us, Monotonic(arrival));
                prop_assert!(!placed.anchored_anew || placed.at.0 >= arrival);
            }
        }

        /// Whatever the network does, if it only recovers: a camera whose clock goes right keeps its
        /// spacing.
        #[test]
        fn stalls_that_pass_change_no_spacing(
            stalls in prop::collection::vec((0..4_900_000_i64, 160..300_usize), 1..12),
            jitter in prop::collection::vec(0..80_000_i64, 1..50),
        ) {
            let mut anchor = settled();
            let mut arrival = 1_033_333;
            let delays = stalls.into_iter().flat_map(|(stall, calm)| {
                std::iter::once(stall).chain(std::iter::repeat_n(0, calm))
            });
            for ((number, delay), jitter) in (2..).zip(delays).zip(jitter.into_iter().cycle()) {
                let due = 1_000_000 + number * FRAME_US;
                // In order, and none before its time.
                arrival = arrival.max(due + delay + jitter);
                let placed = anchor.place(number * FRAME_US, Monotonic(arrival));
                prop_assert_eq!((placed.at.0, placed.anchored_anew), (due, false));
            }
        }
    }
}
