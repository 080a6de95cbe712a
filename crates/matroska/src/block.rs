//! One block: a packet of one track with its time.

use std::time::Duration;

use bytes::Bytes;

/// The largest payload of one block: 256 MiB, eight times a raw 4K picture of 8 bits a channel.
pub const MAX_BLOCK_BYTES: usize = 256 << 20;

/// The latest time that a block may have or end at, in µs: 292 years, which still fits 64 bits when
/// a reader counts in nanoseconds.
pub const MAX_PTS_US: i64 = i64::MAX / 1000;

/// A packet of one track: what a decoder gets at once, such as one coded picture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// The number of the track.
    pub track: u64,
    /// Presentation time in µs. A [`Muxer`](crate::Muxer) takes 0 to [`MAX_PTS_US`].
    pub pts_us: i64,
    /// How long the block lasts; written to the whole µs. `None` leaves it to the track's default,
    /// and costs fewer bytes.
    pub duration: Option<Duration>,
    /// Whether decoding can begin here. Audio and data blocks are keyframes.
    pub keyframe: bool,
    /// The payload.
    pub data: Bytes,
}

impl Block {
    /// A keyframe of `track` at `pts_us` without a duration of its own.
    pub fn new(track: u64, pts_us: i64, data: impl Into<Bytes>) -> Self {
        Self {
            track,
            pts_us,
            duration: None,
            keyframe: true,
            data: data.into(),
        }
    }

    /// Sets whether decoding can begin here.
    #[must_use]
    pub fn keyframe(mut self, keyframe: bool) -> Self {
        self.keyframe = keyframe;
        self
    }

    /// Sets how long the block lasts.
    #[must_use]
    pub fn duration(mut self, duration: Duration) -> Self {
        self.duration = Some(duration);
        self
    }

    /// The duration in whole µs, or the largest number if it does not fit.
    pub(crate) fn duration_us(&self) -> Option<u64> {
        self.duration
            .map(|duration| u64::try_from(duration.as_micros()).unwrap_or(u64::MAX))
    }
}
