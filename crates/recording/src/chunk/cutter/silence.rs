//! Whether a stream gives nothing for longer than is usual for it.

use std::time::Instant;

use crate::{pace::Pace, packet::Packet, pts::Pts, stream::FrameRate};

/// Watches when the packets of one stream arrive.
#[derive(Debug, Default)]
pub(super) struct Silence {
    last_arrival: Option<Instant>,
    pace: Pace,
    /// The latest of all packets; with B-frames that is not always the last one's.
    latest: Option<Pts>,
    is_noted: bool,
    is_over: bool,
}

impl Silence {
    /// Takes note of a packet. Returns whether it ends a silence that was noted.
    pub(super) fn hear(&mut self, packet: &Packet, now: Instant) -> bool {
        let rate = packet.parameters.video.and_then(|video| video.fps);
        self.pace
            .note(packet.pts, rate.map(FrameRate::frame_interval));
        self.last_arrival = Some(now);
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
        Some(match self.last_arrival {
            Some(last) => last + self.pace.longest_silence(),
            None => started,
        })
    }

    pub(super) fn last_arrival(&self) -> Option<Instant> {
        self.last_arrival
    }

    pub(super) fn latest(&self) -> Option<Pts> {
        self.latest
    }
}
