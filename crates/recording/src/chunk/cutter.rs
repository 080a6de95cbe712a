//! Decides which packet goes into which chunk.
//!
//! Session time is divided by boundaries, the multiples of the chunk length, common to all streams.
//! Each stream goes on to the next chunk by itself, at its own first keyframe at or after a boundary;
//! until then it stays in its old one. So several chunks are open around a boundary, and no stream
//! ever waits for another.
//!
//! A picture that follows a keyframe in decode order but is shown before it (B-frames, open GOP)
//! goes where the keyframe went: it is decoded after it.
//!
//! A chunk fixes the parameters of its streams when it is opened. A stream that has others, or was
//! not known then, opens a chunk in between; the others follow at their next keyframe.
//!
//! A chunk that was left by one stream is finalised when every other is past it, too. A stream that
//! gives nothing is waited for [`grace`](Rules::grace) long after its last packet, one that gives
//! packets but no keyframe until these are [`max_overrun`](Rules::max_overrun) behind the boundary;
//! what it gives after that is dropped up to its next keyframe. Nothing is held back in memory for
//! either.

mod opening;
mod silence;
mod state;
mod storable;

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

use self::{
    opening::{Held, Opening},
    state::{OpenChunk, Stream},
    storable::is_storable,
};
use crate::{
    counts::{DropReason, Gap, GapReason},
    packet::Packet,
    pts::Pts,
    stream::{CodecParameters, StreamIndex},
};

/// How long a chunk that was left waits at least for what other streams captured before its end:
/// encoders take their time, each another one.
const SETTLE: Duration = Duration::from_secs(1);

/// How chunks are cut.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rules {
    /// From one boundary to the next.
    pub(crate) chunk_length: Duration,
    /// How long the first chunk waits, from the first packet on, for parameters of all streams.
    pub(crate) opening_wait: Duration,
    /// How much may be held back meanwhile; with more the chunk is opened at once.
    pub(crate) max_held_bytes: usize,
    /// How long after its last packet a silent stream keeps a chunk open that others have left.
    pub(crate) grace: Duration,
    /// How far behind a boundary a stream without a keyframe may go on in its chunk.
    pub(crate) max_overrun: Duration,
    /// How many chunks are open at most; when one more is opened, the oldest is finalised.
    pub(crate) max_open_chunks: usize,
}

/// What is to be done, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Order {
    /// Begin a chunk. A packet for it follows.
    Open(NewChunk),
    /// Put a packet into a chunk that is open.
    Write { sequence: u64, packet: Packet },
    /// Complete a chunk. Nothing more is written to it.
    Finalise { sequence: u64 },
    /// Count a loss.
    Drop {
        stream: StreamIndex,
        reason: DropReason,
    },
    /// Tell that a stream gives nothing.
    Stalled {
        stream: StreamIndex,
        last_pts: Option<Pts>,
    },
    /// Tell that a span without packets has ended.
    Gap { stream: StreamIndex, gap: Gap },
}

/// A chunk that is to be begun.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NewChunk {
    /// 1 for the first one.
    pub(crate) sequence: u64,
    /// Session time from which on streams go to it.
    pub(crate) begins: Pts,
    /// The streams that it can hold.
    pub(crate) tracks: Vec<(StreamIndex, Arc<CodecParameters>)>,
}

/// Decides which packet goes into which chunk. Packets and times go in, [`Order`]s come out.
#[derive(Debug)]
pub(crate) struct Cutter {
    rules: Rules,
    streams: Vec<Stream>,
    /// Open ones in the order of their sequence.
    chunks: Vec<OpenChunk>,
    last_sequence: u64,
    /// Until the first chunk is opened.
    opening: Option<Opening>,
    first_arrival: Option<Instant>,
    orders: VecDeque<Order>,
}

impl Cutter {
    /// Begins a recording of `streams` streams.
    pub(crate) fn new(rules: Rules, streams: usize) -> Self {
        Self {
            rules,
            streams: (0..streams).map(|_| Stream::new()).collect(),
            chunks: Vec::new(),
            last_sequence: 0,
            opening: Some(Opening::new(streams)),
            first_arrival: None,
            orders: VecDeque::new(),
        }
    }

    /// Takes a packet that arrived at `now`. Its stream must be one of those declared.
    pub(crate) fn packet(&mut self, packet: Packet, now: Instant) {
        self.first_arrival.get_or_insert(now);
        let stream = &mut self.streams[packet.stream.0];
        let after_silence = stream.silence.hear(&packet, now);
        if let Some(opening) = &mut self.opening {
            opening.hold(packet, after_silence);
            self.open_first_if_ready(now);
        } else {
            self.place(packet, after_silence, now);
        }
        // As long as nothing was left, there is nothing to finalise.
        if self.chunks.len() > 1 {
            self.finalise_what_is_past(now);
        }
    }

    /// Takes note that a stream gives nothing more, so that nothing waits for it.
    pub(crate) fn end_stream(&mut self, index: StreamIndex, now: Instant) {
        self.streams[index.0].silence.end();
        if let Some(opening) = &mut self.opening {
            opening.end(index);
            self.open_first_if_ready(now);
        } else {
            self.streams[index.0].ended = true;
        }
        self.finalise_what_is_past(now);
    }

    /// Does what is due at `now`. Whatever arrived before must have been taken: a stream whose
    /// packets only wait somewhere is not silent.
    pub(crate) fn tick(&mut self, now: Instant) {
        if self.opens_at().is_some_and(|at| at <= now) {
            self.open_first(now);
        }
        for index in 0..self.streams.len() {
            if self.silent_at(index).is_some_and(|at| at <= now) {
                let silence = &mut self.streams[index].silence;
                silence.note();
                self.orders.push_back(Order::Stalled {
                    stream: StreamIndex(index),
                    last_pts: silence.latest(),
                });
            }
        }
        self.finalise_what_is_past(now);
    }

    /// Ends the recording: what is held back is placed, all chunks are finalised.
    pub(crate) fn finish(&mut self, now: Instant) {
        if self.opening.is_some() {
            self.open_first(now);
        }
        while let Some(chunk) = self.chunks.first() {
            let sequence = chunk.sequence;
            self.orders.push_back(Order::Finalise { sequence });
            self.chunks.remove(0);
        }
    }

    /// The next thing to do.
    pub(crate) fn next_order(&mut self) -> Option<Order> {
        self.orders.pop_front()
    }

    /// When [`tick`](Self::tick) must be called at the latest, if nothing arrives before.
    pub(crate) fn deadline(&self, now: Instant) -> Option<Instant> {
        let silences = (0..self.streams.len()).filter_map(|index| self.silent_at(index));
        let finalisations = self
            .chunks
            .iter()
            .filter_map(|chunk| self.finalise_at(chunk, now));
        silences.chain(finalisations).chain(self.opens_at()).min()
    }

    fn open_first_if_ready(&mut self, now: Instant) {
        let max_held_bytes = self.rules.max_held_bytes;
        let is_ready =
            |opening: &Opening| opening.is_complete() || opening.bytes() > max_held_bytes;
        if self.opening.as_ref().is_some_and(is_ready) {
            self.open_first(now);
        }
    }

    fn open_first(&mut self, now: Instant) {
        let opening = self.opening.take().expect("it is only opened once");
        for (index, parameters) in opening.parameters() {
            self.streams[index.0].parameters = Some(Arc::clone(parameters));
        }
        for held in opening.into_held() {
            match held {
                Held::Packet {
                    packet,
                    after_silence,
                } => self.place(packet, after_silence, now),
                Held::End(index) => self.streams[index.0].ended = true,
            }
        }
    }

    fn place(&mut self, packet: Packet, after_silence: bool, now: Instant) {
        let index = packet.stream;
        let stream = &mut self.streams[index.0];
        stream.ended = false;
        if after_silence {
            stream.interrupted = Some(GapReason::Silent);
        }
        let starts_gop = packet.keyframe || packet.parameters.codec.is_intra_only();
        let place = if !is_storable(&packet) {
            Err(DropReason::Invalid)
        } else if starts_gop {
            self.place_of_keyframe(&packet, now)
        } else {
            self.place_of_dependent(&packet)
        };
        match place {
            Ok(sequence) => self.write(sequence, packet),
            Err(reason) => self.lose(index, reason),
        }
    }

    /// The chunk for a packet that can be decoded alone: that of its time, which is opened if need
    /// be, but never one before the stream's present one.
    fn place_of_keyframe(&mut self, packet: &Packet, now: Instant) -> Result<u64, DropReason> {
        let Packet { stream, pts, .. } = *packet;
        let boundary = self.boundary_at(pts);
        let state = &mut self.streams[stream.0];
        state.latest = state.latest.max(Some(pts));
        if pts < state.late_before {
            return Err(DropReason::Late);
        }
        state.parameters = Some(Arc::clone(&packet.parameters));
        let present = state.sequence;
        let in_reach = || {
            let is_in_reach = move |chunk: &&OpenChunk| {
                chunk.begins >= boundary
                    && (present == Some(chunk.sequence)
                        || (present < Some(chunk.sequence) && chunk.begins <= pts))
            };
            self.chunks.iter().filter(is_in_reach)
        };
        let newest = in_reach()
            .filter(|chunk| chunk.can_hold(packet))
            .max_by_key(|chunk| (chunk.begins, chunk.sequence))
            .map(|chunk| chunk.sequence);
        let sequence = match newest {
            Some(sequence) => sequence,
            // The chunk of this time cannot hold the stream. The new one begins where all others
            // will follow: not before what is open already.
            None if in_reach().next().is_some() => {
                let newest_begin = self.chunks.last().map_or(pts, |chunk| chunk.begins);
                self.open(newest_begin.max(pts), stream, now)
            }
            None => self.open(boundary, stream, now),
        };
        let state = &mut self.streams[stream.0];
        state.sequence = Some(sequence);
        state.awaits_keyframe = false;
        while self.chunks.len() > self.rules.max_open_chunks.max(1) {
            self.finalise(0);
        }
        Ok(sequence)
    }

    /// The chunk for a packet that needs the one before it: where that went.
    fn place_of_dependent(&mut self, packet: &Packet) -> Result<u64, DropReason> {
        let stream = &mut self.streams[packet.stream.0];
        stream.latest = stream.latest.max(Some(packet.pts));
        if stream.awaits_keyframe {
            return Err(DropReason::BrokenGop);
        }
        let present = stream.sequence.expect("a keyframe went before it");
        let Some(chunk) = self.chunks.iter().find(|chunk| chunk.sequence == present) else {
            return Err(DropReason::Late);
        };
        let last_pts = self.boundary_after(chunk.begins) + self.rules.max_overrun;
        if packet.pts >= last_pts || !chunk.can_hold(packet) {
            return Err(DropReason::BrokenGop);
        }
        Ok(present)
    }

    fn write(&mut self, sequence: u64, packet: Packet) {
        let stream = &mut self.streams[packet.stream.0];
        let before = stream.latest_written;
        stream.latest_written = before.max(Some(packet.pts));
        if let (Some(reason), Some(from)) = (stream.interrupted.take(), before)
            && from < packet.pts
        {
            self.orders.push_back(Order::Gap {
                stream: packet.stream,
                gap: Gap {
                    from_pts_us: from,
                    to_pts_us: packet.pts,
                    reason,
                },
            });
        }
        self.orders.push_back(Order::Write { sequence, packet });
    }

    fn lose(&mut self, index: StreamIndex, reason: DropReason) {
        let stream = &mut self.streams[index.0];
        stream.awaits_keyframe = true;
        stream.interrupted.get_or_insert(GapReason::Dropped);
        self.orders.push_back(Order::Drop {
            stream: index,
            reason,
        });
    }

    /// Opens a chunk that begins at `begins` for all streams whose parameters are known.
    fn open(&mut self, begins: Pts, opener: StreamIndex, now: Instant) -> u64 {
        for chunk in &mut self.chunks {
            chunk.left_at.get_or_insert(now);
        }
        self.last_sequence += 1;
        let sequence = self.last_sequence;
        let tracks: Vec<_> = self
            .streams
            .iter()
            .enumerate()
            .map(|(index, stream)| {
                let is_awaited = !stream.ended || index == opener.0;
                stream.parameters.clone().filter(|_| is_awaited)
            })
            .collect();
        self.orders.push_back(Order::Open(NewChunk {
            sequence,
            begins,
            tracks: (0..)
                .map(StreamIndex)
                .zip(&tracks)
                .filter_map(|(index, parameters)| Some((index, parameters.clone()?)))
                .collect(),
        }));
        self.chunks.push(OpenChunk {
            sequence,
            begins,
            tracks,
            left_at: None,
        });
        sequence
    }

    fn finalise_what_is_past(&mut self, now: Instant) {
        let mut place = 0;
        while let Some(chunk) = self.chunks.get(place) {
            if self.finalise_at(chunk, now).is_some_and(|at| at <= now) {
                self.finalise(place);
            } else {
                place += 1;
            }
        }
    }

    /// Finalises an open chunk, whoever may still have packets for it.
    fn finalise(&mut self, place: usize) {
        let end = self.end_of(&self.chunks[place]);
        let chunk = self.chunks.remove(place);
        for (index, stream) in self.streams.iter_mut().enumerate() {
            if !stream.is_past(index, &chunk, end) {
                stream.late_before = stream.late_before.max(end);
            }
        }
        self.orders.push_back(Order::Finalise {
            sequence: chunk.sequence,
        });
    }

    /// When `chunk` can be finalised, as far as can be seen: `now` if nobody holds it, `None` if it
    /// is the present chunk.
    fn finalise_at(&self, chunk: &OpenChunk, now: Instant) -> Option<Instant> {
        if self.streams.iter().all(|stream| stream.ended) {
            return Some(now);
        }
        let left_at = chunk.left_at?;
        let end = self.end_of(chunk);
        let settled = left_at + SETTLE.min(self.rules.grace);
        self.streams
            .iter()
            .enumerate()
            .filter(|(index, stream)| !stream.is_past(*index, chunk, end))
            .map(|(_, stream)| {
                let arrival = stream.silence.last_arrival();
                arrival.map_or(settled, |at| settled.max(at + self.rules.grace))
            })
            .max()
            .or(Some(now))
    }

    /// When the first chunk is opened at the latest.
    fn opens_at(&self) -> Option<Instant> {
        let first = self.first_arrival.filter(|_| self.opening.is_some())?;
        Some(first + self.rules.opening_wait)
    }

    /// When a stream counts as silent, unless it gives something before.
    fn silent_at(&self, index: usize) -> Option<Instant> {
        let started = self.first_arrival? + self.rules.opening_wait;
        self.streams[index].silence.due(started)
    }

    /// The first session time that is no longer in `chunk`.
    fn end_of(&self, chunk: &OpenChunk) -> Pts {
        self.chunks
            .iter()
            .filter(|later| later.sequence > chunk.sequence && later.begins >= chunk.begins)
            .map(|later| later.begins)
            .fold(self.boundary_after(chunk.begins), Pts::min)
    }

    fn boundary_at(&self, pts: Pts) -> Pts {
        Pts(pts.0 - pts.0.rem_euclid(self.chunk_length_us()))
    }

    fn boundary_after(&self, pts: Pts) -> Pts {
        self.boundary_at(pts) + self.rules.chunk_length
    }

    fn chunk_length_us(&self) -> i64 {
        i64::try_from(self.rules.chunk_length.as_micros())
            .unwrap_or(i64::MAX)
            .max(1)
    }
}

#[cfg(test)]
mod histories;
#[cfg(test)]
mod tests;
