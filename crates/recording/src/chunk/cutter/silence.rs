//! Whether a stream gives nothing for longer than is usual for it.

use std::time::{Duration, Instant};

use crate::{packet::Packet, pts::Pts};

/// No stream counts as silent before that.
const MIN_SILENCE: Duration = Duration::from_secs(1);

/// A stream counts as silent at the latest after that, however slow it is.
const MAX_SILENCE: Duration = Duration::from_secs(3600);

/// A stream counts as silent after that many frame intervals.
const INTERVALS: u32 = 3;

/// Watches when the packets of one stream arrive.
#[derive(Debug, Default)]
pub(super) struct Silence {
    last: Option<Heard>,
    /// The latest of all packets; with B-frames that is not always the last one's.
    latest: Option<Pts>,
    is_noted: bool,
    is_over: bool,
}

#[derive(Debug, Clone, Copy)]
struct Heard {
    at: Instant,
    pts: Pts,
    /// From the nominal rate, or where there is none, from the last three packets.
    interval: Duration,
    /// From the packet before.
    distance: Duration,
}

impl Silence {
    /// Takes note of a packet. Returns whether it ends a silence that was noted.
    pub(super) fn hear(&mut self, packet: &Packet, now: Instant) -> bool {
        let rate = packet.parameters.video.and_then(|video| video.fps);
        let distance = self
            .last
            .map_or(Duration::ZERO, |last| packet.pts.distance(last.pts));
        let interval = match (rate, self.last) {
            (Some(rate), _) => rate.frame_interval(),
            // The smaller one: a single long pause does not make a stream slow.
            (None, Some(last)) => distance.min(last.distance),
            (None, None) => Duration::ZERO,
        };
        self.last = Some(Heard {
            at: now,
            pts: packet.pts,
            interval,
            distance,
        });
        self.latest = self.latest.max(Some(packet.pts));
        self.is_over = false;
        std::mem::take(&mut self.is_noted)
    }

    /// Takes note that the silence was told, so that it is told once.
    pub(super) fn note(&mut self) {
        self.is_noted = true;
    }

    /// Takes note that nothing more is to be expected.
    pub(super) fn end(&mut self) {
        self.is_over = true;
    }

    /// When the stream counts as silent, if it gives nothing before; one that never gave anything
    /// does at `started`, but not sooner than any other would. `None` when that was told already.
    pub(super) fn due(&self, started: Instant) -> Option<Instant> {
        if self.is_noted || self.is_over {
            return None;
        }
        let Some(last) = self.last else {
            return Some(started);
        };
        let limit = last.interval.saturating_mul(INTERVALS);
        Some(last.at + limit.clamp(MIN_SILENCE, MAX_SILENCE))
    }

    pub(super) fn last_arrival(&self) -> Option<Instant> {
        self.last.map(|last| last.at)
    }

    pub(super) fn latest(&self) -> Option<Pts> {
        self.latest
    }
}
