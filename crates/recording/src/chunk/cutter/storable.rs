//! What a chunk can hold at all.

use std::time::Duration;

use longtake_matroska::{MAX_BLOCK_BYTES, MAX_PTS_US};

use crate::{
    packet::Packet,
    pts::Pts,
    stream::{Codec, CodecParameters},
};

/// Far more than any decoder's configuration takes. With it, the header of a chunk of the most
/// streams stays within what a reader takes.
const MAX_CODEC_PRIVATE_BYTES: usize = 16 << 10;

/// Whether a chunk can hold this packet.
pub(super) fn is_storable(packet: &Packet) -> bool {
    let end = packet.pts + packet.duration.unwrap_or(Duration::ZERO);
    packet.pts >= Pts::ZERO
        && end <= Pts(MAX_PTS_US)
        && packet.data.len() <= MAX_BLOCK_BYTES
        && are_storable(&packet.parameters)
}

/// Whether a chunk can have a track with these parameters.
pub(super) fn are_storable(parameters: &CodecParameters) -> bool {
    let has_size = parameters
        .video
        .is_some_and(|video| video.width > 0 && video.height > 0);
    (parameters.codec == Codec::Json || has_size)
        && parameters.codec_private.len() <= MAX_CODEC_PRIVATE_BYTES
}
