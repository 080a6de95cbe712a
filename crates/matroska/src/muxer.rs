//! The writer: blocks go in, complete clusters come out, and at the end what completes the file.

pub(crate) mod cluster;
pub(crate) mod copy;
mod cues;
pub(crate) mod header;
pub(crate) mod trailer;

use bytes::Bytes;

use crate::{
    block::{Block, MAX_BLOCK_BYTES, MAX_PTS_US},
    segment::SegmentInfo,
    track::{Track, TrackKind},
};
use cluster::{Cluster, Pending};
use cues::CueIndex;
use header::HeaderBytes;
use trailer::Trailer;

/// Lays out a Matroska file with ticks of 1 µs; the caller writes the bytes.
///
/// Write [`header`](Self::header), then each [`Cluster`] as it comes, then the [`Trailer`]. A crash
/// at any point leaves a file that plays up to its last whole cluster. Blocks of several tracks may
/// come in any order of time.
///
/// At most 4 MiB or one block are held back, whichever is more.
#[derive(Debug)]
pub struct Muxer {
    header: HeaderBytes,
    tracks: Vec<TrackUse>,
    /// Where the next cluster goes, in bytes from the start of the file.
    position: u64,
    pending: Pending,
    cues: CueIndex,
    /// The earliest begin and the latest end of a block.
    extent_us: Option<(i64, i64)>,
}

/// Why tracks cannot make a file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TrackError {
    /// A file needs at least one track.
    #[error("no track was given")]
    NoTracks,
    /// The number does not fit one byte of a block's head.
    #[error("track number {number} is not in 1..=126")]
    Number {
        /// The number.
        number: u64,
    },
    /// Two tracks have one number.
    #[error("track number {number} was given twice")]
    Repeated {
        /// The number.
        number: u64,
    },
    /// Matroska does not allow the track to be as it is.
    #[error("track {number} {fault}")]
    Invalid {
        /// The track's number.
        number: u64,
        /// What is wrong, as in "has no codec ID".
        fault: &'static str,
    },
    /// The header would be larger than a [`Reader`](crate::Reader) takes.
    #[error("tracks and tags take {bytes} bytes, more than {MAX_HEADER_BYTES}")]
    TooLarge {
        /// The size that the header would have.
        bytes: usize,
    },
}

/// Why a block cannot be written. The muxer is as if it had not been given.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BlockError {
    /// No track has the number.
    #[error("block for track {track}, which the file does not have")]
    UnknownTrack {
        /// The number that the block gave.
        track: u64,
    },
    /// A file's time starts at zero: clusters have no sign.
    #[error("block of track {track} at {pts_us} µs, before the time zero of the file")]
    BeforeZero {
        /// The block's track.
        track: u64,
        /// The block's time.
        pts_us: i64,
    },
    /// The block's time, or its end, is after [`MAX_PTS_US`].
    #[error("block of track {track} at {pts_us} µs ends after {MAX_PTS_US} µs")]
    TooLate {
        /// The block's track.
        track: u64,
        /// The block's time.
        pts_us: i64,
    },
    /// The payload is larger than [`MAX_BLOCK_BYTES`].
    #[error("block of track {track} has {bytes} bytes, more than {MAX_BLOCK_BYTES}")]
    TooLarge {
        /// The block's track.
        track: u64,
        /// The size of its payload.
        bytes: usize,
    },
}

/// The largest header; a [`Reader`](crate::Reader) takes no larger one.
pub(crate) const MAX_HEADER_BYTES: usize = 4 << 20;

/// The largest track number that takes one byte; 127 would mean "not known".
const MAX_TRACK_NUMBER: u64 = 126;

/// How far the cues of a video track lie apart at least.
const VIDEO_CUE_SPACING_US: u64 = 500_000;

/// How far cues lie apart in a file without video, where every block could have one.
const OTHER_CUE_SPACING_US: u64 = 5_000_000;

/// What must be known of a track to place its blocks.
#[derive(Clone, Copy, Debug)]
struct TrackUse {
    number: u64,
    default_duration_us: i64,
    has_cues: bool,
}

impl Muxer {
    /// Begins a file with `tracks`.
    ///
    /// # Errors
    ///
    /// If Matroska has no room for the tracks as they are.
    pub fn new(info: SegmentInfo, tracks: Vec<Track>) -> Result<Self, TrackError> {
        check_tracks(&tracks)?;
        let header = HeaderBytes::new(&info, &tracks);
        if header.bytes.len() > MAX_HEADER_BYTES {
            let bytes = header.bytes.len();
            return Err(TrackError::TooLarge { bytes });
        }
        Ok(Self::with_header(header, &tracks))
    }

    /// The bytes that the file begins with.
    ///
    /// The Segment's size is not known in them, so that they may also go into a pipe; the [`Trailer`]
    /// patches what is known only at the end.
    pub fn header(&self) -> Bytes {
        self.header.bytes.clone()
    }

    /// Takes a block, and gives the cluster before it if that is now complete.
    ///
    /// A cluster spans at most 32 ms, or holds one block. [`flush`](Self::flush) completes it sooner.
    ///
    /// # Errors
    ///
    /// If the block cannot be written; the muxer is then as before.
    pub fn push(&mut self, block: Block) -> Result<Option<Cluster>, BlockError> {
        let track = self.check_block(&block)?;
        let complete = if self.pending.has_room_for(&block) {
            None
        } else {
            self.flush()
        };
        self.note(track, &block);
        self.pending.push(block);
        Ok(complete)
    }

    /// Completes the cluster of all blocks that are held back; none if there are none.
    pub fn flush(&mut self) -> Option<Cluster> {
        let cluster = self.pending.take(self.position)?;
        self.position += cluster.len();
        Some(cluster)
    }

    /// Ends the file.
    pub fn finish(mut self) -> Trailer {
        let offset = self.position;
        let mut bytes: Vec<u8> = self
            .flush()
            .map(|cluster| cluster.parts().concat())
            .unwrap_or_default();

        let segment_data = self.header.layout.segment_data as u64;
        let cues = self.cues.to_bytes(segment_data);
        let cues_at = cues.is_some().then_some(self.position);
        bytes.extend_from_slice(&cues.unwrap_or_default());

        let file_len = offset + bytes.len() as u64;
        let patch = self.header.completed(file_len, cues_at, self.duration_us());
        Trailer {
            offset,
            bytes: Bytes::from(bytes),
            patches: vec![patch],
        }
    }

    fn with_header(header: HeaderBytes, tracks: &[Track]) -> Self {
        let has_video = tracks.iter().any(Track::is_video);
        let spacing_us = if has_video {
            VIDEO_CUE_SPACING_US
        } else {
            OTHER_CUE_SPACING_US
        };
        Self {
            position: header.bytes.len() as u64,
            header,
            tracks: tracks
                .iter()
                .map(|track| TrackUse {
                    number: track.number,
                    default_duration_us: track
                        .default_duration
                        .map_or(0, |d| i64::try_from(d.as_micros()).unwrap_or(0)),
                    has_cues: track.is_video() || !has_video,
                })
                .collect(),
            pending: Pending::default(),
            cues: CueIndex::new(spacing_us),
            extent_us: None,
        }
    }

    fn check_block(&self, block: &Block) -> Result<TrackUse, BlockError> {
        let &Block { track, pts_us, .. } = block;
        let in_use = self
            .track_use(track)
            .ok_or(BlockError::UnknownTrack { track })?;
        if pts_us < 0 {
            return Err(BlockError::BeforeZero { track, pts_us });
        }
        let end_us = block
            .duration_us()
            .unwrap_or(0)
            .checked_add(pts_us.unsigned_abs());
        if end_us.is_none_or(|end| end > MAX_PTS_US.unsigned_abs()) {
            return Err(BlockError::TooLate { track, pts_us });
        }
        let bytes = block.data.len();
        if bytes > MAX_BLOCK_BYTES {
            return Err(BlockError::TooLarge { track, bytes });
        }
        Ok(in_use)
    }

    fn track_use(&self, number: u64) -> Option<TrackUse> {
        let mut tracks = self.tracks.iter();
        tracks.find(|track| track.number == number).copied()
    }

    /// Takes note of a block in the cluster at `position`, for cues and duration.
    fn note(&mut self, track: TrackUse, block: &Block) {
        let duration_us = block
            .duration_us()
            .and_then(|us| i64::try_from(us).ok())
            .unwrap_or(track.default_duration_us);
        let end_us = block.pts_us.saturating_add(duration_us);
        let (first_us, last_us) = self.extent_us.unwrap_or((block.pts_us, end_us));
        self.extent_us = Some((first_us.min(block.pts_us), last_us.max(end_us)));
        if track.has_cues && block.keyframe {
            self.cues.note(track.number, block.pts_us, self.position);
        }
    }

    /// From the first block to the end of the last one; at least a tick, as Matroska allows no zero.
    #[expect(clippy::cast_precision_loss, reason = "exact below 2^53 µs, 285 years")]
    fn duration_us(&self) -> Option<f64> {
        self.extent_us
            .map(|(first_us, last_us)| last_us.abs_diff(first_us).max(1) as f64)
    }
}

fn check_tracks(tracks: &[Track]) -> Result<(), TrackError> {
    if tracks.is_empty() {
        return Err(TrackError::NoTracks);
    }
    for (index, track) in tracks.iter().enumerate() {
        let number = track.number;
        if !(1..=MAX_TRACK_NUMBER).contains(&number) {
            return Err(TrackError::Number { number });
        }
        if tracks[..index]
            .iter()
            .any(|earlier| earlier.number == number)
        {
            return Err(TrackError::Repeated { number });
        }
        if let Some(fault) = fault(track) {
            return Err(TrackError::Invalid { number, fault });
        }
    }
    Ok(())
}

fn fault(track: &Track) -> Option<&'static str> {
    if track.codec_id.is_empty() {
        return Some("has no codec ID");
    }
    if track.default_duration.is_some_and(|d| d.is_zero()) {
        return Some("has a default duration of zero");
    }
    match track.kind {
        TrackKind::Video { width, height, .. } if width == 0 || height == 0 => {
            Some("has a width or height of zero")
        }
        TrackKind::Video { fourcc: None, .. } if track.codec_id == "V_UNCOMPRESSED" => {
            Some("is uncompressed and does not say how its pixels lie")
        }
        TrackKind::Audio { sampling_hz, .. } if !sampling_hz.is_finite() || sampling_hz <= 0.0 => {
            Some("has no positive sampling rate")
        }
        TrackKind::Audio { channels: 0, .. } => Some("has no channel"),
        _ => None,
    }
}
