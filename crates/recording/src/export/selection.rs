//! Which packets of a stream belong to the range that is exported.

use longtake_matroska::Block;

use crate::pts::Pts;

/// After so many packets beyond the end nothing comes any more that belongs before it: H.264 and
/// H.265 reorder at most 16 pictures.
const MAX_REORDERED: usize = 16;

/// Where the export of a stream begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Start {
    /// With its first packet.
    AtOnce,
    /// With the packet of this number, counted from 0, in the chunk of this place.
    Packet { chunk: usize, number: u64 },
    /// With each packet that is not before this time.
    Time(Pts),
}

/// Picks the packets of one stream, in decode order.
///
/// A packet belongs to the range if its time is before `to`. One that comes later in time is taken as
/// well if such a packet follows it in decode order: that one may not be decoded without it.
#[derive(Debug)]
pub(super) struct Selection {
    start: Start,
    to: Option<Pts>,
    /// Whether a packet may be needed to decode one that is shown before it.
    reorders: bool,
    /// Packets beyond the end that are written if one before the end follows.
    held: Vec<Block>,
    beyond: usize,
}

impl Selection {
    pub(super) fn new(start: Start, to: Option<Pts>, reorders: bool) -> Self {
        Self {
            start,
            to,
            reorders,
            held: Vec::new(),
            beyond: 0,
        }
    }

    /// Puts `block`, the packet of this number in the chunk of this place, into `taken`, or keeps or
    /// drops it.
    pub(super) fn offer(
        &mut self,
        chunk: usize,
        number: u64,
        block: Block,
        taken: &mut Vec<Block>,
    ) {
        if self.is_over() || !self.has_begun(chunk, number, Pts(block.pts_us)) {
            return;
        }
        if self.to.is_none_or(|to| Pts(block.pts_us) < to) {
            self.beyond = 0;
            taken.append(&mut self.held);
            taken.push(block);
            return;
        }
        self.beyond += 1;
        if self.is_over() {
            self.held.clear();
        } else if self.reorders {
            self.held.push(block);
        }
    }

    /// Whether the packet would be taken for its own sake.
    pub(super) fn wants(&self, chunk: usize, number: u64, pts: Pts) -> bool {
        self.has_begun(chunk, number, pts) && self.to.is_none_or(|to| pts < to)
    }

    /// Whether no packet will be taken any more.
    pub(super) fn is_over(&self) -> bool {
        self.beyond > MAX_REORDERED
    }

    fn has_begun(&self, chunk: usize, number: u64, pts: Pts) -> bool {
        match self.start {
            Start::AtOnce => true,
            Start::Packet {
                chunk: first_chunk,
                number: first,
            } => (chunk, number) >= (first_chunk, first),
            Start::Time(from) => pts >= from,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(selection: &mut Selection, offered: &[i64], want: &[i64]) {
        let mut taken = Vec::new();
        for (number, pts) in (0..).zip(offered) {
            selection.offer(1, number, Block::new(1, *pts, "data"), &mut taken);
        }
        let times: Vec<_> = taken.iter().map(|block| block.pts_us).collect();
        assert_eq!(times, want, "{offered:?}");
    }

    fn until(to: i64, reorders: bool) -> Selection {
        Selection::new(Start::AtOnce, Some(Pts(to)), reorders)
    }

    #[test]
    fn the_end_does_not_belong_to_the_range() {
        check(&mut until(3, true), &[0, 1, 2, 3, 4], &[0, 1, 2]);
        check(&mut until(3, false), &[0, 1, 2, 3, 4], &[0, 1, 2]);
    }

    #[test]
    fn a_reference_beyond_the_end_is_taken_if_a_picture_before_it_needs_it() {
        check(
            &mut until(5, true),
            &[0, 3, 1, 2, 6, 4, 5, 9, 7, 8],
            &[0, 3, 1, 2, 6, 4],
        );
        check(&mut until(4, true), &[0, 3, 1, 2, 6, 4, 5], &[0, 3, 1, 2]);
        // Samples stand alone.
        check(
            &mut until(5, false),
            &[0, 3, 1, 2, 6, 4, 5],
            &[0, 3, 1, 2, 4],
        );
    }

    #[test]
    fn it_is_over_when_no_reordering_reaches_back() {
        let mut selection = until(3, true);
        check(
            &mut selection,
            &[0, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18],
            &[0],
        );
        assert!(!selection.is_over());
        check(&mut selection, &[19, 2, 1], &[]);
        assert!(selection.is_over());
    }

    #[test]
    fn it_begins_with_a_packet_or_at_a_time() {
        let start = Start::Packet {
            chunk: 1,
            number: 2,
        };
        check(
            &mut Selection::new(start, None, true),
            &[10, 11, 5, 12],
            &[5, 12],
        );
        let start = Start::Packet {
            chunk: 0,
            number: 9,
        };
        check(&mut Selection::new(start, None, true), &[10, 11], &[10, 11]);
        let start = Start::Packet {
            chunk: 2,
            number: 0,
        };
        check(&mut Selection::new(start, None, true), &[10, 11], &[]);
        let start = Start::Time(Pts(11));
        check(
            &mut Selection::new(start, Some(Pts(13)), false),
            &[10, 11, 10, 12, 13],
            &[11, 12],
        );
    }
}
