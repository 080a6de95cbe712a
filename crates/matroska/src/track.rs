//! What a track is: its number, name, codec and kind.

use std::time::Duration;

use bytes::Bytes;

/// One track of a file.
///
/// Made by [`Track::video`], [`Track::uncompressed`], [`Track::audio`] or [`Track::data`]; what is
/// optional is set by chained setters.
///
/// ```
/// use longtake_matroska::Track;
///
/// let rgb = Track::video(1, "V_MPEG4/ISO/AVC", 640, 400)
///     .name("rgb")
///     .codec_private(&[1, 0x64, 0, 0x1F][..]);
/// assert_eq!(rgb.name, "rgb");
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Track {
    /// The number that blocks name the track by. A [`Muxer`](crate::Muxer) takes 1 to 126.
    pub number: u64,
    /// What users call the track.
    pub name: String,
    /// The Matroska codec ID, such as `V_MPEG4/ISO/AVC`, `V_MPEGH/ISO/HEVC`, `V_FFV1`, `V_MJPEG`,
    /// `V_UNCOMPRESSED` or `S_TEXT/UTF8`.
    pub codec_id: String,
    /// What a decoder needs before the first block, in the codec's own form; may be empty.
    pub codec_private: Bytes,
    /// What kind of data the track carries.
    pub kind: TrackKind,
    /// The time that a block without a duration of its own lasts, to the nanosecond.
    pub default_duration: Option<Duration>,
    /// An ISO 639-2 language code; `und` (undetermined) if nothing was said.
    pub language: String,
    /// How long the decoder's output lags behind its input, for audio.
    pub codec_delay: Duration,
    /// How much must be decoded before a seek target, for audio.
    pub seek_pre_roll: Duration,
}

/// What a track carries.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum TrackKind {
    /// Pictures.
    Video {
        /// Width in pixels.
        width: u32,
        /// Height in pixels.
        height: u32,
        /// The pixel layout of `V_UNCOMPRESSED`; see [`uncompressed_fourcc`](crate::uncompressed_fourcc).
        fourcc: Option<[u8; 4]>,
    },
    /// Sound.
    Audio {
        /// Samples a second.
        sampling_hz: f64,
        /// Number of channels.
        channels: u16,
        /// Bits a sample, for uncompressed audio.
        bit_depth: Option<u16>,
    },
    /// Text, such as one JSON object a block: a subtitle track that players do not select unasked.
    Data,
    /// A kind that this crate only reads past, such as buttons or menus.
    Other {
        /// The number that Matroska gives the kind.
        track_type: u64,
    },
}

impl Track {
    /// A track of compressed pictures of `width` by `height` pixels.
    pub fn video(number: u64, codec_id: impl Into<String>, width: u32, height: u32) -> Self {
        let kind = TrackKind::Video {
            width,
            height,
            fourcc: None,
        };
        Self::new(number, codec_id, kind)
    }

    /// A `V_UNCOMPRESSED` track, whose blocks are whole pictures of `width` by `height` pixels.
    ///
    /// `fourcc` says how the pixels lie; [`uncompressed_fourcc`](crate::uncompressed_fourcc) knows
    /// those that FFmpeg takes.
    pub fn uncompressed(number: u64, fourcc: [u8; 4], width: u32, height: u32) -> Self {
        let kind = TrackKind::Video {
            width,
            height,
            fourcc: Some(fourcc),
        };
        Self::new(number, "V_UNCOMPRESSED", kind)
    }

    /// A track of sound with `sampling_hz` samples a second.
    pub fn audio(
        number: u64,
        codec_id: impl Into<String>,
        sampling_hz: f64,
        channels: u16,
    ) -> Self {
        let kind = TrackKind::Audio {
            sampling_hz,
            channels,
            bit_depth: None,
        };
        Self::new(number, codec_id, kind)
    }

    /// A track of text, such as sensor data: `S_TEXT/UTF8`, not selected unasked.
    ///
    /// FFmpeg reads it in silence and gives it back by `-map 0:s -c copy -f data`; `D_JSON` would
    /// make it warn.
    pub fn data(number: u64) -> Self {
        Self::new(number, "S_TEXT/UTF8", TrackKind::Data)
    }

    /// Sets what users call the track.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// Sets what a decoder needs before the first block.
    #[must_use]
    pub fn codec_private(mut self, codec_private: impl Into<Bytes>) -> Self {
        self.codec_private = codec_private.into();
        self
    }

    /// Sets how long a block lasts that has no duration of its own.
    #[must_use]
    pub fn default_duration(mut self, duration: Duration) -> Self {
        self.default_duration = Some(duration);
        self
    }

    /// Sets the ISO 639-2 language code.
    #[must_use]
    pub fn language(mut self, language: impl Into<String>) -> Self {
        self.language = language.into();
        self
    }

    /// Sets the bits a sample of an audio track; no other kind has them.
    #[must_use]
    pub fn bit_depth(mut self, bits: u16) -> Self {
        if let TrackKind::Audio { bit_depth, .. } = &mut self.kind {
            *bit_depth = Some(bits);
        }
        self
    }

    /// Sets how long the decoder's output lags behind its input.
    #[must_use]
    pub fn codec_delay(mut self, delay: Duration) -> Self {
        self.codec_delay = delay;
        self
    }

    /// Sets how much must be decoded before a seek target.
    #[must_use]
    pub fn seek_pre_roll(mut self, pre_roll: Duration) -> Self {
        self.seek_pre_roll = pre_roll;
        self
    }

    pub(crate) fn new(number: u64, codec_id: impl Into<String>, kind: TrackKind) -> Self {
        Self {
            number,
            name: String::new(),
            codec_id: codec_id.into(),
            codec_private: Bytes::new(),
            kind,
            default_duration: None,
            language: "und".to_owned(),
            codec_delay: Duration::ZERO,
            seek_pre_roll: Duration::ZERO,
        }
    }

    pub(crate) fn is_video(&self) -> bool {
        matches!(self.kind, TrackKind::Video { .. })
    }
}
