//! What the cutter remembers of a stream and of an open chunk.

use std::{sync::Arc, time::Instant};

use super::silence::Silence;
use crate::{counts::GapReason, packet::Packet, pts::Pts, stream::CodecParameters};

#[derive(Debug)]
pub(super) struct OpenChunk {
    pub(super) sequence: u64,
    pub(super) begins: Pts,
    /// By stream; none for those that it cannot hold.
    pub(super) tracks: Vec<Option<Arc<CodecParameters>>>,
    /// When a later chunk was opened.
    pub(super) left_at: Option<Instant>,
}

#[derive(Debug)]
pub(super) struct Stream {
    pub(super) silence: Silence,
    pub(super) parameters: Option<Arc<CodecParameters>>,
    /// The chunk that it is in; that may be finalised by now.
    pub(super) sequence: Option<u64>,
    pub(super) awaits_keyframe: bool,
    /// A chunk that it may have had packets for was finalised: what is before this is late.
    pub(super) late_before: Pts,
    pub(super) latest: Option<Pts>,
    pub(super) latest_written: Option<Pts>,
    /// Why what is written next does not follow on what was written last.
    pub(super) interrupted: Option<GapReason>,
    pub(super) ended: bool,
}

impl OpenChunk {
    pub(super) fn can_hold(&self, packet: &Packet) -> bool {
        self.tracks[packet.stream.0].as_ref().is_some_and(|known| {
            Arc::ptr_eq(known, &packet.parameters) || *known == packet.parameters
        })
    }
}

impl Stream {
    pub(super) fn new() -> Self {
        Self {
            silence: Silence::default(),
            parameters: None,
            sequence: None,
            awaits_keyframe: true,
            late_before: Pts(i64::MIN),
            latest: None,
            latest_written: None,
            interrupted: None,
            ended: false,
        }
    }

    /// Whether nothing is to be expected from this stream, the `index`th, for `chunk`, which ends
    /// at `end`.
    pub(super) fn is_past(&self, index: usize, chunk: &OpenChunk, end: Pts) -> bool {
        if self.ended || self.sequence > Some(chunk.sequence) {
            return true;
        }
        if self.sequence == Some(chunk.sequence) && !self.awaits_keyframe {
            return false;
        }
        // It comes here at a keyframe or not at all, and keyframes do not go back in time.
        chunk.tracks[index].is_none() || self.latest >= Some(end)
    }
}
