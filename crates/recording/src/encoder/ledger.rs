//! Which frames are inside an encoder.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use crate::pts::Pts;

/// The first packet may take so many times as long as a later one: the program must start.
const FIRST_PACKET_TAKES: u32 = 3;

/// The frames that went into an encoder and have not come out, and when it last gave a sign of life.
#[derive(Debug)]
pub(super) struct Ledger {
    limits: Limits,
    inside: VecDeque<Frame>,
    last_bytes: Instant,
    last_packet: Instant,
    gave_packets: bool,
    /// The packet that came out last is still being taken by whoever wanted it.
    delivering: bool,
}

/// What is normal for an encoder.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// How many later frames may come out before a frame.
    pub(super) reordered: u32,
    /// How many frames it may hold back.
    pub(super) held: usize,
    /// How long it may give nothing while it holds more.
    pub(super) hang_after: Duration,
}

#[derive(Debug, Clone, Copy)]
struct Frame {
    pts: Pts,
    since: Instant,
    /// How many later frames have come out.
    overtaken: u32,
}

/// A packet came out for a frame that is not inside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NotInside;

impl Ledger {
    pub(super) const fn new(limits: Limits, now: Instant) -> Self {
        Self {
            limits,
            inside: VecDeque::new(),
            last_bytes: now,
            last_packet: now,
            gave_packets: false,
            delivering: false,
        }
    }

    /// A frame goes in. Times go up.
    pub(super) fn goes_in(&mut self, pts: Pts, now: Instant) {
        self.inside.push_back(Frame {
            pts,
            since: now,
            overtaken: 0,
        });
    }

    /// The encoder took some bytes of a frame.
    pub(super) fn takes_bytes(&mut self, now: Instant) {
        self.last_bytes = now;
    }

    /// A packet came out, and is being delivered. Gives the frames that are now known to be lost.
    pub(super) fn comes_out(&mut self, pts: Pts, now: Instant) -> Result<Vec<Pts>, NotInside> {
        let at = self
            .inside
            .binary_search_by_key(&pts, |frame| frame.pts)
            .map_err(|_| NotInside)?;
        self.inside.remove(at);
        for earlier in self.inside.range_mut(..at) {
            earlier.overtaken += 1;
        }
        let reordered = self.limits.reordered;
        let is_lost = |frame: &Frame| frame.overtaken > reordered;
        let lost = self.inside.iter().filter(|frame| is_lost(frame));
        let lost = lost.map(|frame| frame.pts).collect();
        self.inside.retain(|frame| !is_lost(frame));
        self.last_packet = now;
        self.gave_packets = true;
        self.delivering = true;
        Ok(lost)
    }

    /// The packet was taken.
    pub(super) fn delivered(&mut self, now: Instant) {
        self.last_packet = now;
        self.delivering = false;
    }

    /// Takes a frame out that did not go in whole; false if it is not inside.
    pub(super) fn take_back(&mut self, pts: Pts) -> bool {
        let is_last = self.inside.back().is_some_and(|frame| frame.pts == pts);
        if is_last {
            self.inside.pop_back();
        }
        is_last
    }

    /// Takes out all frames, in their order.
    pub(super) fn take_all(&mut self) -> Vec<Pts> {
        self.inside.drain(..).map(|frame| frame.pts).collect()
    }

    pub(super) const fn gave_packets(&self) -> bool {
        self.gave_packets
    }

    /// When an encoder counts as hung that neither takes a byte of the frame before it nor gives a
    /// packet until then.
    pub(super) fn stuck_at(&self, now: Instant) -> Instant {
        // It cannot be blamed while nobody takes its packets.
        let since = if self.delivering {
            now
        } else {
            self.last_bytes.max(self.last_packet)
        };
        since + self.patience()
    }

    /// Whether the encoder holds more frames than it should for longer than it may.
    pub(super) fn is_hung(&self, now: Instant) -> bool {
        self.waits_too_long(self.limits.held, now)
    }

    /// Whether the encoder holds any frame for longer than it may, although no more come.
    pub(super) fn is_hung_at_end(&self, now: Instant) -> bool {
        self.waits_too_long(0, now)
    }

    fn waits_too_long(&self, held: usize, now: Instant) -> bool {
        let Some(oldest) = self.inside.front().filter(|_| self.inside.len() > held) else {
            return false;
        };
        let since = self.last_packet.max(oldest.since);
        !self.delivering && now.saturating_duration_since(since) >= self.patience()
    }

    fn patience(&self) -> Duration {
        if self.gave_packets {
            self.limits.hang_after
        } else {
            self.limits.hang_after * FIRST_PACKET_TAKES
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    const LIMITS: Limits = Limits {
        reordered: 0,
        held: 2,
        hang_after: SECOND,
    };

    fn ledger(reordered: u32, frames: i64) -> (Ledger, Instant) {
        let now = Instant::now();
        let mut ledger = Ledger::new(
            Limits {
                reordered,
                ..LIMITS
            },
            now,
        );
        for pts in 0..frames {
            ledger.goes_in(Pts(pts), now);
        }
        (ledger, now)
    }

    /// Packets come out for `packets`; tells the frames that each shows to be lost.
    #[track_caller]
    fn check(
        reordered: u32,
        packets: &[i64],
        want: &[Result<&[i64], NotInside>],
        want_inside: &[i64],
    ) {
        let (mut ledger, now) = ledger(reordered, 6);
        for (&pts, want) in packets.iter().zip(want) {
            let lost = ledger.comes_out(Pts(pts), now);
            let want = want.map(|lost| lost.iter().copied().map(Pts).collect());
            assert_eq!(lost, want, "{packets:?} at {pts}");
        }
        let inside: Vec<_> = ledger.take_all().into_iter().map(|pts| pts.0).collect();
        assert_eq!(inside, want_inside, "{packets:?}");
    }

    #[test]
    fn frames_that_were_overtaken_too_often_are_lost() {
        check(0, &[0, 1, 2], &[Ok(&[]), Ok(&[]), Ok(&[])], &[3, 4, 5]);
        check(0, &[0, 3], &[Ok(&[]), Ok(&[1, 2])], &[4, 5]);
        check(2, &[0, 3, 2, 1, 5, 4], &[Ok(&[][..]); 6], &[]);
        check(
            2,
            &[0, 3, 4, 5],
            &[Ok(&[]), Ok(&[]), Ok(&[]), Ok(&[1, 2])],
            &[],
        );
    }

    #[test]
    fn doubled_and_foreign_packets_are_noticed() {
        check(0, &[0, 0], &[Ok(&[]), Err(NotInside)], &[1, 2, 3, 4, 5]);
        check(0, &[9], &[Err(NotInside)], &[0, 1, 2, 3, 4, 5]);
        check(0, &[2, 1], &[Ok(&[0, 1]), Err(NotInside)], &[3, 4, 5]);
    }

    #[test]
    fn a_frame_that_did_not_go_in_whole_can_be_taken_back() {
        let (mut ledger, now) = ledger(0, 2);
        assert!(ledger.take_back(Pts(1)));
        assert!(!ledger.take_back(Pts(1)));
        assert_eq!(ledger.comes_out(Pts(0), now), Ok(vec![]));
        assert_eq!(ledger.take_all(), []);
    }

    #[test]
    fn an_encoder_that_holds_more_than_it_may_for_too_long_is_hung() {
        let (mut ledger, begin) = ledger(0, 3);
        assert!(
            !ledger.is_hung(begin + SECOND),
            "the first packet takes longer"
        );
        assert!(ledger.is_hung(begin + 3 * SECOND));
        let first = begin + SECOND;
        ledger.comes_out(Pts(0), first).unwrap();
        assert!(!ledger.is_hung(first + 9 * SECOND), "it is being delivered");
        assert!(!ledger.is_hung_at_end(first + 9 * SECOND));
        ledger.delivered(first);
        assert!(!ledger.is_hung(first + 9 * SECOND), "it may hold two");
        assert!(ledger.is_hung_at_end(first + SECOND));
        let later = first + 9 * SECOND;
        ledger.goes_in(Pts(3), later);
        assert!(ledger.is_hung(later));
    }

    #[test]
    fn silence_of_the_source_is_no_hang() {
        let (mut ledger, begin) = ledger(0, 1);
        ledger.comes_out(Pts(0), begin).unwrap();
        ledger.delivered(begin);
        let later = begin + 60 * SECOND;
        for pts in 1..9 {
            ledger.goes_in(Pts(pts), later);
        }
        assert!(!ledger.is_hung(later));
        assert!(ledger.is_hung(later + SECOND));
    }

    #[test]
    fn an_encoder_that_takes_nothing_is_stuck() {
        let (mut ledger, begin) = ledger(0, 1);
        assert_eq!(ledger.stuck_at(begin), begin + 3 * SECOND);
        ledger.takes_bytes(begin + SECOND);
        assert_eq!(ledger.stuck_at(begin + SECOND), begin + 4 * SECOND);
        ledger.comes_out(Pts(0), begin + 2 * SECOND).unwrap();
        let later = begin + 9 * SECOND;
        assert_eq!(ledger.stuck_at(later), later + SECOND);
        ledger.delivered(begin + 2 * SECOND);
        assert_eq!(ledger.stuck_at(later), begin + 3 * SECOND);
    }

    proptest! {
        #[test]
        fn every_frame_has_one_fate(
            packets in prop::collection::vec(0_i64..40, 0..80),
            reordered in 0_u32..5,
        ) {
            let (mut ledger, now) = ledger(reordered, 30);
            let mut fates = [0; 30];
            for pts in packets {
                match ledger.comes_out(Pts(pts), now) {
                    Ok(lost) => {
                        fates[usize::try_from(pts).unwrap()] += 1;
                        for pts in lost { fates[usize::try_from(pts.0).unwrap()] += 1 }
                    }
                    Err(NotInside) => prop_assert!(pts >= 30 || fates[usize::try_from(pts).unwrap()] == 1),
                }
            }
            for pts in ledger.take_all() { fates[usize::try_from(pts.0).unwrap()] += 1 }
            prop_assert!(fates.iter().all(|&fate| fate == 1));
        }
    }
}
