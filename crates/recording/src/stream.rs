//! What a stream is: its name, its kind, and the parameters a decoder needs.

use std::{collections::BTreeMap, fmt};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// The place of a stream in a recording: 0 for the first one declared, and so on.
///
/// Matroska track numbers are this plus one, in every chunk of a recording.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamIndex(pub usize);

/// A stream as it is declared when a recording begins, before anything is known of its contents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamSpec {
    /// Its name in the manifest, in the files' track names, and in every event.
    pub name: String,
    /// Whether it carries pictures, sound or data.
    pub kind: StreamKind,
    /// What the user wants to be remembered with it, such as the lens or where the camera hangs.
    pub metadata: BTreeMap<String, String>,
}

impl StreamSpec {
    /// A video stream called `name`.
    pub fn video(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            kind: StreamKind::Video,
            metadata: BTreeMap::new(),
        }
    }

    /// A stream of sensor samples called `name`, one JSON object each.
    pub fn data(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            kind: StreamKind::Data,
            metadata: BTreeMap::new(),
        }
    }
}

/// What a stream carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StreamKind {
    /// Pictures.
    Video,
    /// Sound.
    Audio,
    /// Sensor samples: UTF-8 text, one JSON object a packet. Every packet is a keyframe.
    Data,
}

/// A codec that chunks can hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Codec {
    /// H.264, length-prefixed NAL units, `avcC` as codec private.
    H264,
    /// H.265, length-prefixed NAL units, `hvcC` as codec private.
    H265,
    /// FFV1 version 3, its configuration record as codec private.
    Ffv1,
    /// Motion JPEG, one JPEG a packet.
    Mjpeg,
    /// UTF-8 text, one JSON object a packet.
    Json,
}

impl Codec {
    /// Every codec there is.
    pub const ALL: [Self; 5] = [Self::H264, Self::H265, Self::Ffv1, Self::Mjpeg, Self::Json];

    /// The name in manifests and on the command line, as ffprobe has it where it knows the codec.
    pub const fn name(self) -> &'static str {
        match self {
            Self::H264 => "h264",
            Self::H265 => "h265",
            Self::Ffv1 => "ffv1",
            Self::Mjpeg => "mjpeg",
            Self::Json => "json",
        }
    }

    /// Matroska's `CodecID`.
    pub const fn matroska_id(self) -> &'static str {
        match self {
            Self::H264 => "V_MPEG4/ISO/AVC",
            Self::H265 => "V_MPEGH/ISO/HEVC",
            Self::Ffv1 => "V_FFV1",
            Self::Mjpeg => "V_MJPEG",
            Self::Json => "S_TEXT/UTF8",
        }
    }

    /// The codec with this Matroska `CodecID`, if it is one of ours.
    pub fn from_matroska_id(id: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|codec| codec.matroska_id() == id)
    }

    /// Whether every packet stands alone, so that a loss never extends beyond itself.
    pub const fn is_intra_only(self) -> bool {
        matches!(self, Self::Ffv1 | Self::Mjpeg | Self::Json)
    }
}

impl fmt::Display for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What a decoder must know before the first packet. A chunk holds one set for each stream; when a
/// stream's set changes, that stream goes on in a new chunk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CodecParameters {
    /// The codec.
    pub codec: Codec,
    /// Matroska's `CodecPrivate`: `avcC`, `hvcC`, an FFV1 configuration record; empty for others.
    pub codec_private: Bytes,
    /// Size and rate, for video.
    pub video: Option<VideoParameters>,
}

impl CodecParameters {
    /// Parameters of a stream of JSON samples.
    pub const fn json() -> Self {
        Self {
            codec: Codec::Json,
            codec_private: Bytes::new(),
            video: None,
        }
    }
}

/// Size and nominal rate of a video stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VideoParameters {
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// Nominal rate, where it is known. PTS say when each frame really was.
    pub fps: Option<FrameRate>,
}

/// A nominal frame rate as a fraction, such as 30000/1001. Both parts are above 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FrameRate {
    numerator: u32,
    denominator: u32,
}

impl FrameRate {
    /// The rate `numerator / denominator` frames a second; `None` when either is 0.
    pub const fn new(numerator: u32, denominator: u32) -> Option<Self> {
        if numerator == 0 || denominator == 0 {
            None
        } else {
            Some(Self {
                numerator,
                denominator,
            })
        }
    }

    /// Reads `30`, `29.97` or `30000/1001`; `None` for anything else, and for rates that are not
    /// above 0 and at most 100,000.
    pub fn parse(text: &str) -> Option<Self> {
        let rate = match text.split_once('/') {
            Some((numerator, denominator)) => {
                Self::new(numerator.parse().ok()?, denominator.parse().ok()?)?
            }
            None => match text.split_once('.') {
                None => Self::new(text.parse().ok()?, 1)?,
                Some((whole, decimals)) => {
                    if decimals.len() > 4 || !decimals.bytes().all(|byte| byte.is_ascii_digit()) {
                        return None;
                    }
                    let scale = 10_u32.pow(u32::try_from(decimals.len()).ok()?);
                    let whole: u32 = whole.parse().ok()?;
                    let decimals: u32 = decimals.parse().ok()?;
                    Self::new(whole.checked_mul(scale)?.checked_add(decimals)?, scale)?
                }
            },
        };
        (rate.as_f64() <= 100_000.0).then_some(rate)
    }

    /// Numerator and denominator.
    pub const fn as_fraction(self) -> (u32, u32) {
        (self.numerator, self.denominator)
    }

    /// Frames a second.
    pub fn as_f64(self) -> f64 {
        f64::from(self.numerator) / f64::from(self.denominator)
    }

    /// The time from one frame to the next, rounded to the nanosecond.
    pub fn frame_interval(self) -> std::time::Duration {
        std::time::Duration::from_secs_f64(1.0 / self.as_f64())
    }
}

impl fmt::Display for FrameRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.denominator == 1 {
            write!(f, "{}", self.numerator)
        } else {
            write!(f, "{}/{}", self.numerator, self.denominator)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, want: Option<(u32, u32)>) {
        assert_eq!(
            FrameRate::parse(text).map(FrameRate::as_fraction),
            want,
            "{text:?}"
        );
    }

    #[test]
    fn frame_rates() {
        check("30", Some((30, 1)));
        check("29.97", Some((2997, 100)));
        check("30000/1001", Some((30000, 1001)));
        check("0", None);
        check("30/0", None);
        check("-1", None);
        check("1e3", None);
        check("nan", None);
        check("4294967295", None);
        check("30.", None);
        check("30.+1", None);
    }

    #[test]
    fn matroska_ids_lead_back_to_their_codec() {
        for codec in Codec::ALL {
            assert_eq!(Codec::from_matroska_id(codec.matroska_id()), Some(codec));
        }
    }
}
