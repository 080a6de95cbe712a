//! What is really in a chunk, and in a stream over all chunks, counted packet by packet.

use std::{collections::BTreeMap, time::Duration};

use longtake_matroska::{StoredCluster, Track, TrackKind};

use crate::{
    pace::Pace,
    pts::Pts,
    stream::{Codec, StreamKind, StreamSpec},
};

/// How many silences of a stream are remembered: a damaged or hostile file could have one a block.
const MAX_SILENCES: usize = 10_000;

/// What is in one chunk.
#[derive(Debug, Default)]
pub(crate) struct ChunkContent {
    /// Where each packet of the streams lies in time.
    pub extent: Option<Extent>,
    /// How many packets of each stream there are; streams without any are absent.
    pub packets: BTreeMap<String, u64>,
}

/// The earliest and the latest of some packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Extent {
    pub first: Pts,
    pub last: Pts,
}

/// What is in one stream, over as many chunks as were counted.
#[derive(Debug)]
pub(crate) struct StreamContent {
    pub name: String,
    pub kind: StreamKind,
    /// Our name of the codec, or Matroska's ID of one that is not ours.
    pub codec: String,
    pub width: Option<u32>,
    pub height: Option<u32>,
    pub frame_interval: Option<Duration>,
    pub packets: u64,
    pub keyframes: u64,
    pub extent: Option<Extent>,
    /// Spans without a packet that are longer than the source is silent in order.
    pub silences: Vec<Silence>,
    /// Something behind the last packet was lost with the end of its chunk.
    cut: bool,
    pace: Pace,
}

/// A span without packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Silence {
    /// The last packet before.
    pub from: Pts,
    /// The first packet after.
    pub to: Pts,
    /// Whether the end of a chunk was lost in it.
    pub after_cut: bool,
}

/// Everything that was counted.
#[derive(Debug, Default)]
pub(crate) struct Content {
    pub streams: Vec<StreamContent>,
}

impl Content {
    /// Takes note of the tracks of a chunk, and gives the place of each track's stream by number.
    pub(crate) fn begin_chunk(&mut self, tracks: &[Track]) -> TrackPlaces {
        TrackPlaces(
            tracks
                .iter()
                .map(|track| (track.number, self.place_of(track)))
                .collect(),
        )
    }

    /// Counts the packets of one cluster of the chunk that has `places`.
    pub(crate) fn count(
        &mut self,
        cluster: &StoredCluster,
        places: &TrackPlaces,
        chunk: &mut ChunkContent,
    ) {
        for block in cluster.blocks() {
            let Some(stream) = places.of(block.track).map(|place| &mut self.streams[place]) else {
                continue;
            };
            let pts = Pts(block.pts_us);
            stream.note(pts, block.keyframe);
            chunk.extent = Some(Extent::with(chunk.extent, pts));
            match chunk.packets.get_mut(&stream.name) {
                Some(packets) => *packets += 1,
                None => drop(chunk.packets.insert(stream.name.clone(), 1)),
            }
        }
    }

    pub(crate) fn stream(&self, name: &str) -> Option<&StreamContent> {
        self.streams.iter().find(|stream| stream.name == name)
    }

    /// Takes note that the end of a chunk is lost, and with it packets of unknown streams.
    pub(crate) fn cut(&mut self) {
        for stream in &mut self.streams {
            stream.cut = true;
        }
    }

    fn place_of(&mut self, track: &Track) -> usize {
        let name = if track.name.is_empty() {
            format!("track {}", track.number)
        } else {
            track.name.clone()
        };
        let known = self.streams.iter().position(|stream| stream.name == name);
        let place = known.unwrap_or_else(|| {
            self.streams.push(StreamContent::new(name, track));
            self.streams.len() - 1
        });
        self.streams[place].set_parameters(track);
        place
    }
}

/// Which stream each track number of a chunk means.
#[derive(Debug)]
pub(crate) struct TrackPlaces(Vec<(u64, usize)>);

impl TrackPlaces {
    fn of(&self, number: u64) -> Option<usize> {
        let mut places = self.0.iter();
        places
            .find(|(known, _)| *known == number)
            .map(|(_, place)| *place)
    }
}

impl Extent {
    /// `before`, widened to hold `pts`.
    pub(crate) fn with(before: Option<Self>, pts: Pts) -> Self {
        before.map_or(
            Self {
                first: pts,
                last: pts,
            },
            |extent| Self {
                first: extent.first.min(pts),
                last: extent.last.max(pts),
            },
        )
    }
}

impl StreamContent {
    fn new(name: String, track: &Track) -> Self {
        Self {
            name,
            kind: match track.kind {
                TrackKind::Video { .. } => StreamKind::Video,
                TrackKind::Audio { .. } => StreamKind::Audio,
                _ => StreamKind::Data,
            },
            codec: String::new(),
            width: None,
            height: None,
            frame_interval: None,
            packets: 0,
            keyframes: 0,
            extent: None,
            silences: Vec::new(),
            cut: false,
            pace: Pace::default(),
        }
    }

    /// The stream as if it had been declared.
    pub(crate) fn spec(&self) -> StreamSpec {
        StreamSpec {
            name: self.name.clone(),
            kind: self.kind,
            metadata: BTreeMap::new(),
        }
    }

    fn set_parameters(&mut self, track: &Track) {
        self.codec = Codec::from_matroska_id(&track.codec_id)
            .map_or_else(|| track.codec_id.clone(), |codec| codec.name().to_owned());
        if let TrackKind::Video { width, height, .. } = track.kind {
            self.width = Some(width);
            self.height = Some(height);
        }
        self.frame_interval = track.default_duration;
    }

    fn note(&mut self, pts: Pts, keyframe: bool) {
        self.packets += 1;
        self.keyframes += u64::from(keyframe);
        if let Some(Extent { last, .. }) = self.extent {
            let silence = pts.since(last);
            let is_longer_than_usual = silence > self.pace.interval().saturating_mul(3) / 2;
            let after_cut = self.cut && is_longer_than_usual;
            let is_gap = after_cut || silence > self.pace.longest_silence();
            if is_gap && self.silences.len() < MAX_SILENCES {
                self.silences.push(Silence {
                    from: last,
                    to: pts,
                    after_cut,
                });
            }
        }
        self.pace.note(pts, self.frame_interval);
        self.cut = false;
        self.extent = Some(Extent::with(self.extent, pts));
    }
}
