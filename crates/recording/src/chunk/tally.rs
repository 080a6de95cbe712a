//! How many packets of each stream are in a cluster, in a chunk, and in all chunks.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use crate::{
    counts::{Counts, DropReason},
    pts::Pts,
    stream::StreamIndex,
};

/// How often losses are summed up for the listener.
const DROPS_PERIOD: Duration = Duration::from_secs(1);

/// What became of the packets of one stream.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct StreamTally {
    /// How many came in (as both received and encoded), and what became of them. `written` are those
    /// that the file system took.
    pub counts: Counts,
    /// Session time of the earliest packet that was written.
    pub first_pts: Option<Pts>,
    /// Session time of the latest packet that was written.
    pub last_pts: Option<Pts>,
}

/// Packets of one cluster or one chunk.
#[derive(Debug, Clone)]
pub(super) struct Tally {
    /// By stream.
    packets: Vec<Span>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Span {
    packets: u64,
    /// The earliest and the latest.
    pts: Option<(Pts, Pts)>,
}

/// What became of all packets of a recording.
#[derive(Debug)]
pub(super) struct Totals {
    streams: Vec<StreamTally>,
    /// Losses that the listener has not heard of.
    untold: Vec<BTreeMap<DropReason, u64>>,
    tell_at: Option<Instant>,
}

impl Tally {
    pub(super) fn new(streams: usize) -> Self {
        Self {
            packets: vec![Span::default(); streams],
        }
    }

    pub(super) fn note(&mut self, stream: StreamIndex, pts: Pts) {
        self.packets[stream.0].add(1, Some((pts, pts)));
    }

    pub(super) fn add(&mut self, other: &Self) {
        for (span, other) in self.packets.iter_mut().zip(&other.packets) {
            span.add(other.packets, other.pts);
        }
    }

    pub(super) fn clear(&mut self) {
        self.packets.fill(Span::default());
    }

    /// By stream.
    pub(super) fn packets(&self) -> Vec<u64> {
        self.packets.iter().map(|span| span.packets).collect()
    }

    /// The earliest and the latest of all streams.
    pub(super) fn pts(&self) -> Option<(Pts, Pts)> {
        self.packets
            .iter()
            .filter_map(|span| span.pts)
            .reduce(widest)
    }
}

impl Span {
    fn add(&mut self, packets: u64, pts: Option<(Pts, Pts)>) {
        self.packets += packets;
        self.pts = match (self.pts, pts) {
            (Some(mine), Some(other)) => Some(widest(mine, other)),
            (mine, other) => mine.or(other),
        };
    }
}

impl Totals {
    pub(super) fn new(streams: usize) -> Self {
        Self {
            streams: vec![StreamTally::default(); streams],
            untold: vec![BTreeMap::new(); streams],
            tell_at: None,
        }
    }

    pub(super) fn receive(&mut self, stream: StreamIndex) {
        let counts = &mut self.streams[stream.0].counts;
        counts.received += 1;
        counts.encoded += 1;
    }

    pub(super) fn write(&mut self, tally: &Tally) {
        for (total, span) in self.streams.iter_mut().zip(&tally.packets) {
            total.counts.written += span.packets;
            if let Some((first, last)) = span.pts {
                total.first_pts = Some(total.first_pts.map_or(first, |known| known.min(first)));
                total.last_pts = total.last_pts.max(Some(last));
            }
        }
    }

    pub(super) fn lose(&mut self, stream: StreamIndex, reason: DropReason, count: u64) {
        if count > 0 {
            self.streams[stream.0].counts.lose(reason, count);
            *self.untold[stream.0].entry(reason).or_default() += count;
        }
    }

    pub(super) fn lose_all(&mut self, tally: &Tally, reason: DropReason) {
        for (index, span) in tally.packets.iter().enumerate() {
            self.lose(StreamIndex(index), reason, span.packets);
        }
    }

    pub(super) fn streams(&self) -> &[StreamTally] {
        &self.streams
    }

    /// Losses that the listener has not heard of, if it is time to tell them.
    pub(super) fn due_drops(&mut self, now: Instant) -> Vec<(StreamIndex, DropReason, u64)> {
        if self.has_untold() && self.tell_at.is_none_or(|at| at <= now) {
            self.tell_at = Some(now + DROPS_PERIOD);
            self.untold_drops()
        } else {
            Vec::new()
        }
    }

    /// Losses that the listener has not heard of.
    pub(super) fn untold_drops(&mut self) -> Vec<(StreamIndex, DropReason, u64)> {
        let mut drops = Vec::new();
        for (index, untold) in self.untold.iter_mut().enumerate() {
            for (reason, count) in std::mem::take(untold) {
                drops.push((StreamIndex(index), reason, count));
            }
        }
        drops
    }

    /// When [`due_drops`](Self::due_drops) has something.
    pub(super) fn drops_due_at(&self) -> Option<Instant> {
        self.tell_at.filter(|_| self.has_untold())
    }

    fn has_untold(&self) -> bool {
        self.untold.iter().any(|untold| !untold.is_empty())
    }
}

fn widest((first, last): (Pts, Pts), (earlier, later): (Pts, Pts)) -> (Pts, Pts) {
    (first.min(earlier), last.max(later))
}
