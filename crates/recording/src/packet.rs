//! The unit that travels from an encoder or a sensor into a chunk.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;

use crate::{
    pts::Pts,
    stream::{CodecParameters, StreamIndex},
};

/// One encoded frame, or one sensor sample.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packet {
    /// The stream it belongs to.
    pub stream: StreamIndex,
    /// When it was captured.
    pub pts: Pts,
    /// How long it lasts, where that is known.
    pub duration: Option<Duration>,
    /// Whether decoding can begin with it.
    pub keyframe: bool,
    /// The encoded bytes, in Matroska's form for its codec.
    pub data: Bytes,
    /// What a decoder must know. Packets of one run share the `Arc`; a different value begins a new
    /// chunk for the stream.
    pub parameters: Arc<CodecParameters>,
}
