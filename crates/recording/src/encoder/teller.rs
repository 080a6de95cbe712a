//! Tells what comes out of an encoder, and counts it.

use std::{collections::BTreeMap, fmt};

use parking_lot::Mutex;

use super::{EncoderFault, EncoderGone};
use crate::{
    counts::{DropReason, Gap, GapReason},
    packet::Packet,
    pts::Pts,
};

/// Something that came out of an encoder.
#[derive(Debug)]
#[non_exhaustive]
pub enum EncoderOutput {
    /// A packet, in decode order. Its time is that of the frame it was made of.
    Packet(Packet),
    /// Frames that there will be no packets for.
    Dropped {
        /// Why.
        reason: DropReason,
        /// How many.
        count: u64,
        /// The time of the first one.
        from: Pts,
        /// The time of the last one.
        to: Pts,
    },
    /// The next packet is the first after an interruption in which frames were lost.
    Gap(Gap),
    /// The encoder died or hung. It is started again with one of the next frames.
    Interrupted(EncoderFault),
    /// The encoder died or hung when it was to let out what it held. That is lost.
    EndedBadly(EncoderFault),
    /// The encoder failed and is not started again.
    Gone(EncoderGone),
}

/// What became of all frames. Always `received` = `encoded` + the sum of `dropped` after the end.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct EncoderSummary {
    /// Frames that were fed.
    pub received: u64,
    /// Packets that came out.
    pub encoded: u64,
    /// Frames that no packet came out for, by reason.
    pub dropped: BTreeMap<DropReason, u64>,
    /// How many times the encoder died or hung.
    pub interruptions: u64,
}

/// The receiving end of everything that the threads of an encoder tell.
pub(super) struct Teller {
    output: Box<dyn Fn(EncoderOutput) + Send + Sync>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    summary: EncoderSummary,
    /// The latest packet.
    latest: Option<Pts>,
    /// The packet before frames that an interruption cost, until the next one.
    gap_from: Option<Pts>,
}

impl Teller {
    pub(super) fn new(output: impl Fn(EncoderOutput) + Send + Sync + 'static) -> Self {
        Self {
            output: Box::new(output),
            state: Mutex::default(),
        }
    }

    pub(super) fn received(&self) {
        self.state.lock().summary.received += 1;
    }

    pub(super) fn packet(&self, packet: Packet) {
        let gap = {
            let mut state = self.state.lock();
            state.summary.encoded += 1;
            state.latest = state.latest.max(Some(packet.pts));
            state.gap_from.take()
        };
        self.gap(gap, packet.pts);
        (self.output)(EncoderOutput::Packet(packet));
    }

    /// Frames were lost or left out, in the order of their times.
    pub(super) fn dropped(&self, reason: DropReason, frames: &[Pts]) {
        let (&[from, ..], &[.., to]) = (frames, frames) else {
            return;
        };
        let count = frames.len() as u64;
        *self.state.lock().summary.dropped.entry(reason).or_insert(0) += count;
        (self.output)(EncoderOutput::Dropped {
            reason,
            count,
            from,
            to,
        });
    }

    /// An interruption cost these frames.
    pub(super) fn lost(&self, frames: &[Pts]) {
        if let Some(&first) = frames.first() {
            let mut state = self.state.lock();
            let before = state.latest.unwrap_or(first);
            state.gap_from.get_or_insert(before);
        }
        self.dropped(DropReason::EncoderFailed, frames);
    }

    pub(super) fn ended_badly(&self, fault: EncoderFault) {
        self.state.lock().summary.interruptions += 1;
        (self.output)(EncoderOutput::EndedBadly(fault));
    }

    pub(super) fn interrupted(&self, fault: EncoderFault) {
        self.state.lock().summary.interruptions += 1;
        (self.output)(EncoderOutput::Interrupted(fault));
    }

    pub(super) fn gone(&self, fault: EncoderFault) {
        let failures = {
            let mut state = self.state.lock();
            state.summary.interruptions += 1;
            state.summary.interruptions
        };
        (self.output)(EncoderOutput::Gone(EncoderGone {
            failures,
            source: fault,
        }));
    }

    /// Ends a gap that no packet will end.
    pub(super) fn end_gap(&self, last_frame: Pts) {
        let gap = self.state.lock().gap_from.take();
        self.gap(gap, last_frame);
    }

    pub(super) fn summary(&self) -> EncoderSummary {
        self.state.lock().summary.clone()
    }

    fn gap(&self, from: Option<Pts>, to: Pts) {
        if let Some(from) = from.filter(|&from| from < to) {
            (self.output)(EncoderOutput::Gap(Gap {
                from_pts_us: from,
                to_pts_us: to,
                reason: GapReason::Encoder,
            }));
        }
    }
}

impl fmt::Debug for Teller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Teller")
            .field("state", &self.state)
            .finish_non_exhaustive()
    }
}
