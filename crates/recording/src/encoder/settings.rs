//! How raw frames are encoded.

use std::{fmt, str::FromStr, time::Duration};

use longtake_matroska::uncompressed_fourcc;

use crate::stream::{Codec, FrameRate};

/// How long an encoder may give nothing while it is fed, by default.
const DEFAULT_HANG_AFTER: Duration = Duration::from_secs(5);

/// The encoders of ffmpeg that can be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum VideoEncoder {
    /// H.264 by x264. What browsers play.
    #[default]
    X264,
    /// H.265 by x265: smaller, at several times the work.
    X265,
    /// FFV1, lossless, up to 16 bits a channel: for depth and measurements.
    Ffv1,
    /// Motion JPEG: every picture by itself.
    Mjpeg,
}

impl VideoEncoder {
    /// Every encoder there is.
    pub const ALL: [Self; 4] = [Self::X264, Self::X265, Self::Ffv1, Self::Mjpeg];

    /// ffmpeg's name of it, which users write too.
    pub const fn name(self) -> &'static str {
        match self {
            Self::X264 => "libx264",
            Self::X265 => "libx265",
            Self::Ffv1 => "ffv1",
            Self::Mjpeg => "mjpeg",
        }
    }

    /// What comes out of it.
    pub const fn codec(self) -> Codec {
        match self {
            Self::X264 => Codec::H264,
            Self::X265 => Codec::H265,
            Self::Ffv1 => Codec::Ffv1,
            Self::Mjpeg => Codec::Mjpeg,
        }
    }

    /// Whether it has presets, tunes and B-frames.
    pub(super) const fn is_tunable(self) -> bool {
        matches!(self, Self::X264 | Self::X265)
    }
}

impl fmt::Display for VideoEncoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for VideoEncoder {
    type Err = SettingError;

    fn from_str(name: &str) -> Result<Self, SettingError> {
        Self::ALL
            .into_iter()
            .find(|encoder| encoder.name() == name)
            .ok_or_else(|| SettingError::Encoder { name: name.into() })
    }
}

/// Why a setting is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SettingError {
    /// No encoder has this name.
    #[error("no encoder {name:?}: choose libx264, libx265, ffv1 or mjpeg")]
    Encoder {
        /// The name.
        name: String,
    },
    /// This cannot be a bit rate.
    #[error("{text:?} is no bit rate: write bits a second, such as 800k, 2.5M or 2500000")]
    Bitrate {
        /// The text.
        text: String,
    },
    /// This cannot be the name of a pixel format.
    #[error("{name:?} is no pixel format: use ffmpeg's names, such as yuv420p or gray16le")]
    PixelFormat {
        /// The name.
        name: String,
    },
}

/// Bits a second; above 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bitrate(u64);

impl Bitrate {
    /// So many bits a second; `None` for 0, and for more than 2^31 - 1, which ffmpeg does not take.
    pub const fn new(bits_per_second: u64) -> Option<Self> {
        if bits_per_second == 0 || bits_per_second > i32::MAX.unsigned_abs() as u64 {
            None
        } else {
            Some(Self(bits_per_second))
        }
    }

    /// Bits a second.
    pub const fn bits_per_second(self) -> u64 {
        self.0
    }
}

impl FromStr for Bitrate {
    type Err = SettingError;

    /// Reads `800k`, `2.5M` or `2500000`.
    fn from_str(text: &str) -> Result<Self, SettingError> {
        let parse = || {
            let (number, unit) = match text.strip_suffix(['k', 'K']) {
                Some(number) => (number, 1_000),
                None => text
                    .strip_suffix('M')
                    .map_or((text, 1), |number| (number, 1_000_000)),
            };
            let (whole, decimals) = number.split_once('.').unwrap_or((number, "0"));
            let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
            if !digits(whole) || !digits(decimals) || decimals.len() > 6 {
                return None;
            }
            let scale = 10_u64.pow(u32::try_from(decimals.len()).ok()?);
            let parts = whole.parse::<u64>().ok()?.checked_mul(scale)?;
            let parts = parts.checked_add(decimals.parse().ok()?)?;
            Self::new(parts.checked_mul(unit)? / scale)
        };
        parse().ok_or_else(|| SettingError::Bitrate { text: text.into() })
    }
}

/// How raw frames are encoded.
///
/// By default libx264, preset `superfast`, tune `zerolatency`, no B-frames: a frame comes out of the
/// encoder before the next one is in, so a crash loses no more than one or two. B-frames, another
/// tune or a slower preset hold frames back, and a crash loses those as well.
///
/// ```
/// use longtake_recording::{EncoderSettings, VideoEncoder};
///
/// let settings = EncoderSettings::new(VideoEncoder::X264)
///     .bitrate("2M".parse()?)
///     .pixel_format("yuv420p")?
///     .preset("veryfast");
/// assert_eq!(settings.input_format(), "yuv420p");
/// # Ok::<(), longtake_recording::SettingError>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct EncoderSettings {
    pub(super) encoder: VideoEncoder,
    pub(super) bitrate: Option<Bitrate>,
    pub(super) pixel_format: Option<String>,
    pub(super) preset: Option<String>,
    pub(super) tune: Option<String>,
    pub(super) fps: Option<FrameRate>,
    pub(super) gop_length: Option<u32>,
    pub(super) b_frames: u32,
    pub(super) chunk_length: Option<Duration>,
    pub(super) hang_after: Duration,
    pub(super) nice: Option<i32>,
}

impl Default for EncoderSettings {
    fn default() -> Self {
        Self::new(VideoEncoder::default())
    }
}

impl EncoderSettings {
    /// The defaults for an encoder.
    pub const fn new(encoder: VideoEncoder) -> Self {
        Self {
            encoder,
            bitrate: None,
            pixel_format: None,
            preset: None,
            tune: None,
            fps: None,
            gop_length: None,
            b_frames: 0,
            chunk_length: None,
            hang_after: DEFAULT_HANG_AFTER,
            nice: None,
        }
    }

    /// Sets the mean bit rate. Otherwise the encoder keeps a constant quality.
    #[must_use]
    pub const fn bitrate(mut self, bitrate: Bitrate) -> Self {
        self.bitrate = Some(bitrate);
        self
    }

    /// Sets ffmpeg's name of the layout that is encoded. Otherwise `yuv420p` for H.264 and H.265,
    /// `yuvj420p` for Motion JPEG, and for FFV1 the one that loses nothing of the input.
    ///
    /// # Errors
    ///
    /// If it cannot be such a name. Whether this encoder has the format is seen when it begins.
    pub fn pixel_format(mut self, name: impl Into<String>) -> Result<Self, SettingError> {
        let name = name.into();
        let is_name = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        if name.is_empty() || !name.bytes().all(is_name) {
            return Err(SettingError::PixelFormat { name });
        }
        self.pixel_format = Some(name);
        Ok(self)
    }

    /// Sets the preset of libx264 or libx265, `superfast` by default. Other encoders have none.
    #[must_use]
    pub fn preset(mut self, preset: impl Into<String>) -> Self {
        self.preset = Some(preset.into());
        self
    }

    /// Sets the tune of libx264 or libx265. By default `zerolatency`, or none if there are B-frames.
    #[must_use]
    pub fn tune(mut self, tune: impl Into<String>) -> Self {
        self.tune = Some(tune.into());
        self
    }

    /// Sets how many frames a second are encoded; what the source gives beyond is left out and
    /// counted as decimated. Otherwise all are encoded.
    #[must_use]
    pub const fn fps(mut self, fps: FrameRate) -> Self {
        self.fps = Some(fps);
        self
    }

    /// Sets the largest number of frames from one keyframe to the next, two seconds by default.
    #[must_use]
    pub const fn gop_length(mut self, frames: u32) -> Self {
        self.gop_length = Some(frames);
        self
    }

    /// Sets how many B-frames libx264 or libx265 may put between others, up to 16; 0 by default.
    #[must_use]
    pub fn b_frames(mut self, b_frames: u32) -> Self {
        self.b_frames = b_frames.min(16);
        self
    }

    /// Sets at which multiples of session time a keyframe begins: on the first frame at or after
    /// each. By default there is none but for the group's length.
    #[must_use]
    pub fn chunk_length(mut self, length: Duration) -> Self {
        self.chunk_length = (length >= Duration::from_micros(1)).then_some(length);
        self
    }

    /// Sets how long the encoder may give nothing while it is fed, before it is killed and started
    /// again; 5 s by default. It gets three times as long for its first packet.
    #[must_use]
    pub const fn hang_after(mut self, time: Duration) -> Self {
        self.hang_after = time;
        self
    }

    /// Sets the CPU priority of the encoder, from -20 (first) to 19 (last); ours by default.
    #[must_use]
    pub const fn nice(mut self, nice: i32) -> Self {
        self.nice = Some(nice);
        self
    }

    /// The encoder that was asked for.
    pub const fn encoder(&self) -> VideoEncoder {
        self.encoder
    }

    /// The layout in which frames had best come in: the one that is encoded, or the nearest to it
    /// that an [`Encoder`](crate::Encoder) takes.
    pub fn input_format(&self) -> &str {
        let encoded = self.encoded_format().unwrap_or("yuv420p");
        if uncompressed_fourcc(encoded).is_some() {
            return encoded;
        }
        let has_prefix = |prefixes: &[&str]| prefixes.iter().any(|&p| encoded.starts_with(p));
        if has_prefix(&["gray1", "gray9", "y2", "p0"]) {
            "gray16le"
        } else if has_prefix(&["yuv422", "yuvj422"]) {
            "yuv422p"
        } else if has_prefix(&["yuv444", "yuvj444", "gbr", "rgb", "bgr"]) {
            "rgb24"
        } else {
            "yuv420p"
        }
    }

    /// The layout that is encoded, if it is not left to ffmpeg.
    pub(super) fn encoded_format(&self) -> Option<&str> {
        self.pixel_format.as_deref().or(match self.encoder {
            VideoEncoder::X264 | VideoEncoder::X265 => Some("yuv420p"),
            VideoEncoder::Mjpeg => Some("yuvj420p"),
            VideoEncoder::Ffv1 => None,
        })
    }

    /// B-frames, where the encoder has them.
    pub(super) const fn effective_b_frames(&self) -> u32 {
        if self.encoder.is_tunable() {
            self.b_frames
        } else {
            0
        }
    }

    pub(super) fn effective_tune(&self) -> Option<&str> {
        if !self.encoder.is_tunable() {
            return None;
        }
        let default = (self.b_frames == 0).then_some("zerolatency");
        self.tune.as_deref().or(default)
    }

    /// Whether a frame comes out as soon as it is in, or little later.
    pub(super) fn has_low_latency(&self) -> bool {
        !self.encoder.is_tunable()
            || (self.b_frames == 0 && self.effective_tune() == Some("zerolatency"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_bitrate(text: &str, want: Option<u64>) {
        let got: Result<Bitrate, _> = text.parse();
        assert_eq!(got.ok().map(Bitrate::bits_per_second), want, "{text:?}");
    }

    #[test]
    fn bitrates() {
        check_bitrate("2500000", Some(2_500_000));
        check_bitrate("800k", Some(800_000));
        check_bitrate("800K", Some(800_000));
        check_bitrate("2.5M", Some(2_500_000));
        check_bitrate("0.5k", Some(500));
        check_bitrate("2147483647", Some(2_147_483_647));
        for text in [
            "",
            "0",
            "k",
            ".5M",
            "5.M",
            "-1",
            "+1",
            "1e6",
            "2 M",
            "2m",
            "2MB",
            "2147483648",
            "99999999999999999999M",
            "0.0000001M",
        ] {
            check_bitrate(text, None);
        }
    }

    #[test]
    fn frames_come_in_as_they_are_encoded_or_nearly() {
        for (encoder, encoded, want) in [
            (VideoEncoder::X264, None, "yuv420p"),
            (VideoEncoder::Mjpeg, None, "yuv420p"),
            (VideoEncoder::Ffv1, None, "yuv420p"),
            (VideoEncoder::Ffv1, Some("gray16le"), "gray16le"),
            (VideoEncoder::X264, Some("gray10le"), "gray16le"),
            (VideoEncoder::X264, Some("yuv422p10le"), "yuv422p"),
            (VideoEncoder::X264, Some("yuv444p"), "rgb24"),
            (VideoEncoder::Ffv1, Some("bgr0"), "rgb24"),
            (VideoEncoder::X265, Some("yuv420p10le"), "yuv420p"),
        ] {
            let settings = EncoderSettings::new(encoder);
            let settings = match encoded {
                Some(format) => settings.pixel_format(format).unwrap(),
                None => settings,
            };
            assert_eq!(settings.input_format(), want, "{encoder} {encoded:?}");
        }
        let error = EncoderSettings::default().pixel_format("-y").unwrap_err();
        assert_eq!(error, SettingError::PixelFormat { name: "-y".into() });
    }

    #[test]
    fn names_lead_back_to_their_encoder() {
        for encoder in VideoEncoder::ALL {
            assert_eq!(encoder.name().parse(), Ok(encoder));
        }
        let error = "vp9".parse::<VideoEncoder>().unwrap_err();
        assert!(error.to_string().contains("libx264"), "{error}");
    }

    #[test]
    fn only_what_holds_frames_back_has_more_than_a_frame_of_latency() {
        let x264 = EncoderSettings::default;
        assert!(x264().has_low_latency());
        assert!(!x264().b_frames(2).has_low_latency());
        assert!(!x264().tune("film").has_low_latency());
        assert!(
            EncoderSettings::new(VideoEncoder::Ffv1)
                .b_frames(2)
                .has_low_latency()
        );
    }
}
