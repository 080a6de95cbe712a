//! What an export will hold, found out before its header is written.

use std::collections::BTreeMap;

use longtake_durable::Storage;
use longtake_matroska::{Track, TrackKind};

use super::{
    lead_in::LeadIn,
    selection::{Selection, Start},
    source::Source,
};
use crate::{
    chunk_file::{ChunkFile, ReadChunkError},
    pts::Pts,
    recording_id::RecordingId,
    stream::Codec,
    survey::Survey,
};

/// What an export will hold.
#[derive(Debug)]
pub(super) struct Plan {
    /// The chunks that are read, each with its place among all.
    pub chunks: Vec<(usize, ChunkFile)>,
    /// How many bytes those chunks have.
    pub bytes: u64,
    /// The names of the streams.
    pub streams: Vec<String>,
    /// The tracks of the file: one for each stream and each set of parameters that it has had.
    pub tracks: Vec<PlannedTrack>,
    starts: Vec<Start>,
    to: Option<Pts>,
}

/// A track of the file.
#[derive(Debug)]
pub(super) struct PlannedTrack {
    /// The track, with its number and name in the file.
    pub track: Track,
    /// The place of its stream.
    pub stream: usize,
    /// The track as the chunks have it.
    source: Track,
}

/// The part of session time that is exported: `from` belongs to it, `to` does not.
#[derive(Debug, Clone, Copy)]
pub(super) struct Range {
    pub from: Option<Pts>,
    pub to: Option<Pts>,
}

/// The chunks of a recording, to be opened as they are needed.
pub(super) struct Chunks<'a> {
    pub storage: &'a dyn Storage,
    pub recording: RecordingId,
    pub survey: &'a Survey,
    /// The names of the streams; those that are declared come first, in order.
    pub streams: Vec<String>,
}

impl Plan {
    /// Looks at as many packets as it takes to know where each stream begins, and which tracks have
    /// any in `range`.
    pub(super) fn make(
        storage: &dyn Storage,
        recording: RecordingId,
        survey: &Survey,
        range: Range,
    ) -> Result<Self, ReadChunkError> {
        let declared = survey.header.iter().flat_map(|header| &header.streams);
        let mut chunks = Chunks {
            storage,
            recording,
            survey,
            streams: declared.map(|stream| stream.name.clone()).collect(),
        };
        let end = match range.to {
            Some(to) => chunks.behind_last(|pts| pts < to)?,
            None => survey.chunks.len(),
        };
        let lead_in = match range.from {
            Some(from) => LeadIn::find(&mut chunks, from)?,
            None => LeadIn::none(),
        };
        let mut plan = Self {
            chunks: (lead_in.first_chunk..end)
                .map(|place| chunks.file(place))
                .collect(),
            bytes: 0,
            streams: Vec::new(),
            tracks: Vec::new(),
            starts: Vec::new(),
            to: range.to,
        };
        for (place, _) in plan.chunks.clone() {
            if let Some(source) = chunks.open(place)? {
                plan.bytes += source.bytes()?;
                plan.add_tracks(source, &lead_in)?;
            }
        }
        plan.number_tracks(chunks.streams.len());
        plan.starts = (0..chunks.streams.len())
            .map(|stream| {
                let mut tracks = plan.tracks.iter().filter(|track| track.stream == stream);
                lead_in.start(stream, tracks.any(|track| is_video(&track.track)))
            })
            .collect();
        plan.streams = chunks.streams;
        Ok(plan)
    }

    /// The selection of each stream, by place.
    pub(super) fn selections(&self) -> Vec<Selection> {
        let starts = self.starts.iter().enumerate();
        starts
            .map(|(stream, start)| {
                let mut tracks = self.tracks.iter().filter(|track| track.stream == stream);
                Selection::new(*start, self.to, tracks.any(|track| reorders(&track.track)))
            })
            .collect()
    }

    /// The number in the file of each track of `source`; tracks without a packet in the range are left
    /// out.
    pub(super) fn numbers(&self, source: &Source) -> BTreeMap<u64, u64> {
        let numbers = source.tracks().iter().filter_map(|track| {
            let stream = source.stream_of(track.number)?;
            let planned = self
                .tracks
                .iter()
                .find(|planned| planned.is(stream, track))?;
            Some((track.number, planned.track.number))
        });
        numbers.collect()
    }

    /// Adds the tracks of a chunk that are not known and have a packet in the range.
    fn add_tracks(&mut self, mut source: Source, lead_in: &LeadIn) -> Result<(), ReadChunkError> {
        let mut unknown: Vec<(usize, Track)> = source
            .tracks()
            .iter()
            .filter_map(|track| Some((source.stream_of(track.number)?, track.clone())))
            .filter(|(stream, track)| !self.tracks.iter().any(|known| known.is(*stream, track)))
            .collect();
        let place = source.place;
        while !unknown.is_empty() {
            let Some((cluster, mut numbers)) = source.take()? else {
                break;
            };
            for block in cluster.blocks() {
                let Some(stream) = source.stream_of(block.track) else {
                    continue;
                };
                let number = numbers[stream];
                numbers[stream] += 1;
                let mut tracks = unknown.iter();
                let Some(at) = tracks.position(|(_, track)| track.number == block.track) else {
                    continue;
                };
                let start = lead_in.start(stream, is_video(&unknown[at].1));
                let selection = Selection::new(start, self.to, false);
                if selection.wants(place, number, Pts(block.pts_us)) {
                    let (stream, track) = unknown.remove(at);
                    self.tracks.push(PlannedTrack {
                        track: track.clone(),
                        stream,
                        source: track,
                    });
                }
            }
        }
        Ok(())
    }

    /// Gives a second set of parameters of a stream a name and a number of its own; the first one keeps
    /// those that it has in the chunks.
    fn number_tracks(&mut self, streams: usize) {
        let in_chunks = self.tracks.iter().map(|track| track.source.number);
        let mut taken = in_chunks.max().unwrap_or(0).max(streams as u64);
        let mut sets = BTreeMap::new();
        for planned in &mut self.tracks {
            let set = sets.entry(planned.stream).or_insert(0_u32);
            *set += 1;
            if *set > 1 {
                planned.track.name = format!("{} ({set})", planned.source.name);
                // Beyond what a file can have this is refused when its header is laid out.
                taken = taken.saturating_add(1);
                planned.track.number = taken;
            }
        }
        self.tracks.sort_by_key(|planned| planned.track.number);
    }
}

impl PlannedTrack {
    /// Whether `track` of a chunk goes on in this one: it needs the same decoder.
    fn is(&self, stream: usize, track: &Track) -> bool {
        self.stream == stream
            && self.source.codec_id == track.codec_id
            && self.source.codec_private == track.codec_private
            && self.source.kind == track.kind
    }
}

impl Chunks<'_> {
    pub(super) fn file(&self, place: usize) -> (usize, ChunkFile) {
        (place, self.survey.chunks[place].file.clone())
    }

    pub(super) fn open(&mut self, place: usize) -> Result<Option<Source>, ReadChunkError> {
        let file = self.file(place);
        Source::open(self.storage, self.recording, file, &mut self.streams)
    }

    /// The place behind the last chunk with a time that `is_before` accepts.
    ///
    /// A chunk may have packets from before its own beginning, of a stream that had to enter it ahead
    /// of the others.
    pub(super) fn behind_last(
        &mut self,
        is_before: impl Fn(Pts) -> bool,
    ) -> Result<usize, ReadChunkError> {
        let mut chunks = self.survey.chunks.iter();
        let begun = chunks.rposition(|chunk| is_before(chunk.begins));
        let mut place = begun.map_or(0, |last| last + 1);
        while place < self.survey.chunks.len() {
            let first = self.open(place)?.and_then(|source| source.next_pts());
            if !first.is_some_and(&is_before) {
                break;
            }
            place += 1;
        }
        Ok(place)
    }
}

pub(super) fn is_video(track: &Track) -> bool {
    matches!(track.kind, TrackKind::Video { .. })
}

/// Whether packets may be decoded in another order than they are shown.
fn reorders(track: &Track) -> bool {
    let codec = Codec::from_matroska_id(&track.codec_id);
    is_video(track) && codec.is_none_or(|codec| !codec.is_intra_only())
}
