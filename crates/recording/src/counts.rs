//! What became of everything that was captured.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};

use crate::pts::Pts;

/// Numbers of one stream. Always `received = written + dropped + in flight`, and nothing is in
/// flight after a stop.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Counts {
    /// Frames, packets or samples that the device handed over.
    pub received: u64,
    /// Packets that an encoder gave back; for streams that are not encoded here, those passed on.
    pub encoded: u64,
    /// Packets that are in a chunk.
    pub written: u64,
    /// Losses by reason. A reason that never happened is absent.
    #[serde(default)]
    pub dropped: BTreeMap<DropReason, u64>,
}

impl Counts {
    /// All losses together.
    pub fn dropped_total(&self) -> u64 {
        self.dropped
            .values()
            .fold(0, |sum, count| sum.saturating_add(*count))
    }

    /// What is still between the device and a chunk.
    pub fn in_flight(&self) -> u64 {
        self.received
            .saturating_sub(self.written)
            .saturating_sub(self.dropped_total())
    }

    /// Notes `count` losses for `reason`.
    pub fn lose(&mut self, reason: DropReason, count: u64) {
        if count > 0 {
            *self.dropped.entry(reason).or_insert(0) += count;
        }
    }
}

/// Why something that was captured is in no chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum DropReason {
    /// The stream's queue was full.
    QueueFull,
    /// It depends on a packet that was lost; the loss ends at the next keyframe.
    BrokenGop,
    /// It came after its chunk was finalised.
    Late,
    /// It was inside an encoder that died or hung, or no encoder could be started.
    EncoderFailed,
    /// The disk refused it.
    WriteFailed,
    /// It was malformed, or its timestamp was before session time 0.
    Invalid,
    /// Fewer frames a second are encoded than the source gives, as was asked for.
    Decimated,
    /// It was received, and a crash or damage to the files took it.
    Crash,
    /// A thread of the recorder panicked with it in hand, which is a defect of the recorder.
    Panic,
}

impl DropReason {
    /// The name in manifests and events.
    pub const fn name(self) -> &'static str {
        match self {
            Self::QueueFull => "queue_full",
            Self::BrokenGop => "broken_gop",
            Self::Late => "late",
            Self::EncoderFailed => "encoder_failed",
            Self::WriteFailed => "write_failed",
            Self::Invalid => "invalid",
            Self::Decimated => "decimated",
            Self::Crash => "crash",
            Self::Panic => "panic",
        }
    }
}

impl fmt::Display for DropReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A span in which a stream has no packets although it should have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gap {
    /// Session time of the last packet before it.
    pub from_pts_us: Pts,
    /// Session time of the first packet after it.
    pub to_pts_us: Pts,
    /// Why.
    pub reason: GapReason,
}

/// Why a stream has a gap.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum GapReason {
    /// The source gave nothing for longer than max(1 s, 3 frame intervals).
    Silent,
    /// The source's own clock left ours by more than 500 ms and was anchored anew.
    Clock,
    /// An encoder had to be restarted.
    Encoder,
    /// Packets were dropped.
    Dropped,
    /// The end of a chunk was lost in a crash.
    Crash,
}

impl GapReason {
    /// The name in manifests and events.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Silent => "silent",
            Self::Clock => "clock",
            Self::Encoder => "encoder",
            Self::Dropped => "dropped",
            Self::Crash => "crash",
        }
    }
}

impl fmt::Display for GapReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
