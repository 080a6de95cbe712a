//! What waits until the first chunk is opened.

use std::sync::Arc;

use super::storable::are_storable;
use crate::{
    packet::Packet,
    stream::{CodecParameters, StreamIndex},
};

/// What arrived before the first chunk was opened, in order.
#[derive(Debug)]
pub(super) struct Opening {
    held: Vec<Held>,
    bytes: usize,
    streams: Vec<Known>,
}

#[derive(Debug)]
pub(super) enum Held {
    Packet { packet: Packet, after_silence: bool },
    End(StreamIndex),
}

/// What is known of a stream.
#[derive(Debug, Clone)]
enum Known {
    Nothing,
    Parameters(Arc<CodecParameters>),
    Ended,
}

impl Opening {
    pub(super) fn new(streams: usize) -> Self {
        Self {
            held: Vec::new(),
            bytes: 0,
            streams: vec![Known::Nothing; streams],
        }
    }

    pub(super) fn hold(&mut self, packet: Packet, after_silence: bool) {
        let known = &mut self.streams[packet.stream.0];
        if !matches!(known, Known::Parameters(_)) && are_storable(&packet.parameters) {
            *known = Known::Parameters(Arc::clone(&packet.parameters));
        }
        // A packet without a single byte takes room, too.
        self.bytes = self
            .bytes
            .saturating_add(packet.data.len())
            .saturating_add(size_of::<Held>());
        self.held.push(Held::Packet {
            packet,
            after_silence,
        });
    }

    pub(super) fn end(&mut self, index: StreamIndex) {
        let known = &mut self.streams[index.0];
        if matches!(known, Known::Nothing) {
            *known = Known::Ended;
        }
        self.bytes = self.bytes.saturating_add(size_of::<Held>());
        self.held.push(Held::End(index));
    }

    /// Whether there is nothing left to wait for.
    pub(super) fn is_complete(&self) -> bool {
        self.streams
            .iter()
            .all(|known| !matches!(known, Known::Nothing))
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The first parameters of each stream that has some.
    pub(super) fn parameters(&self) -> impl Iterator<Item = (StreamIndex, &Arc<CodecParameters>)> {
        (0..)
            .map(StreamIndex)
            .zip(&self.streams)
            .filter_map(|(index, known)| match known {
                Known::Parameters(parameters) => Some((index, parameters)),
                Known::Nothing | Known::Ended => None,
            })
    }

    pub(super) fn into_held(self) -> Vec<Held> {
        self.held
    }
}
