//! Where a decoder must begin so that it can show the picture of a given moment.

use std::collections::BTreeMap;

use super::{
    plan::{Chunks, is_video},
    selection::Start,
    source::Source,
};
use crate::{chunk_file::ReadChunkError, pace::Pace, pts::Pts, stream::StreamKind};

/// Where each stream of an export begins.
#[derive(Debug)]
pub(super) struct LeadIn {
    /// The place of the first chunk that is needed.
    pub first_chunk: usize,
    from: Option<Pts>,
    video: BTreeMap<usize, Start>,
}

/// What one chunk holds of a stream around a moment.
#[derive(Debug, Clone, Copy, Default)]
struct Around {
    /// The last keyframe at or before it.
    keyframe: Option<u64>,
    /// The time of the latest packet at or before it.
    before: Option<Pts>,
    /// The first packet after it, and whether it is a keyframe.
    after: Option<(u64, bool)>,
    /// Of the packets at or before it.
    pace: Pace,
}

impl LeadIn {
    /// Everything from the first packet on.
    pub(super) fn none() -> Self {
        Self {
            first_chunk: 0,
            from: None,
            video: BTreeMap::new(),
        }
    }

    /// Searches back from `from` for the last keyframe at or before it, in each video stream.
    ///
    /// A stream that is silent at `from` begins behind its silence, if it does so with a keyframe: what
    /// is before would only be shown before `from`.
    pub(super) fn find(chunks: &mut Chunks<'_>, from: Pts) -> Result<Self, ReadChunkError> {
        let end = chunks.behind_last(|pts| pts <= from)?;
        let declared = chunks
            .survey
            .header
            .iter()
            .flat_map(|header| &header.streams);
        let declared_video: Vec<_> = declared
            .enumerate()
            .filter(|(_, stream)| stream.kind == StreamKind::Video)
            .map(|(place, _)| place)
            .collect();
        let mut found = BTreeMap::new();
        let mut later = BTreeMap::new();
        for place in (0..end).rev() {
            if !declared_video.is_empty() && declared_video.iter().all(|s| found.contains_key(s)) {
                break;
            }
            let Some(mut source) = chunks.open(place)? else {
                continue;
            };
            let wanted: Vec<_> = source
                .tracks()
                .iter()
                .filter(|track| is_video(track))
                .filter_map(|track| source.stream_of(track.number))
                .filter(|stream| !found.contains_key(stream))
                .collect();
            if wanted.is_empty() {
                continue;
            }
            let around = around(&mut source, from, chunks.streams.len())?;
            for stream in wanted {
                let here = around[stream];
                let packet = |number| Start::Packet {
                    chunk: place,
                    number,
                };
                if let Some((number, keyframe)) = here.after {
                    later.insert(stream, (packet(number), keyframe));
                }
                let Some(keyframe) = here.keyframe else {
                    continue;
                };
                // What is in none of these chunks goes on in a later one, with a keyframe.
                let next_chunk = Start::Packet {
                    chunk: end,
                    number: 0,
                };
                let goes_on = later.get(&stream).copied().unwrap_or((next_chunk, true));
                let start = match goes_on {
                    (behind_silence, true) if here.is_silent_at(from) => behind_silence,
                    _ => packet(keyframe),
                };
                found.insert(stream, start);
            }
        }
        let needed = found.values().filter_map(|start| match start {
            Start::Packet { chunk, .. } => Some(*chunk),
            Start::AtOnce | Start::Time(_) => None,
        });
        // Samples from `from` on begin in the last of these chunks.
        let last = end.saturating_sub(1);
        Ok(Self {
            first_chunk: needed.min().map_or(last, |first| first.min(last)),
            from: Some(from),
            video: found,
        })
    }

    /// Where the stream of this place begins.
    pub(super) fn start(&self, stream: usize, is_video: bool) -> Start {
        match (self.from, is_video) {
            (None, _) => Start::AtOnce,
            (Some(from), false) => Start::Time(from),
            // A stream that has no keyframe so early begins later, with its first.
            (Some(_), true) => self.video.get(&stream).copied().unwrap_or(Start::AtOnce),
        }
    }
}

impl Around {
    /// Whether the stream gives nothing for longer than is usual for it, as far as that is known.
    fn is_silent_at(&self, moment: Pts) -> bool {
        let silence = self.before.map(|before| moment.since(before));
        !self.pace.interval().is_zero() && silence > Some(self.pace.longest_silence())
    }
}

/// Reads a whole chunk, and says of each stream what it holds around `moment`.
fn around(source: &mut Source, moment: Pts, streams: usize) -> Result<Vec<Around>, ReadChunkError> {
    let mut around = vec![Around::default(); streams];
    let mut intervals = vec![None; streams];
    for track in source.tracks() {
        if let Some(stream) = source.stream_of(track.number) {
            intervals[stream] = track.default_duration;
        }
    }
    while let Some((cluster, mut numbers)) = source.take()? {
        for block in cluster.blocks() {
            let Some(stream) = source.stream_of(block.track) else {
                continue;
            };
            let (number, pts) = (numbers[stream], Pts(block.pts_us));
            numbers[stream] += 1;
            let here = &mut around[stream];
            if pts > moment {
                here.after = here.after.or(Some((number, block.keyframe)));
                continue;
            }
            here.before = here.before.max(Some(pts));
            here.pace.note(pts, intervals[stream]);
            if block.keyframe {
                here.keyframe = Some(number);
                // Only what follows the keyframe counts.
                here.after = None;
            }
        }
    }
    Ok(around)
}
