//! Asking ffprobe what a file or stream holds.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use crate::command::Input;
use crate::tool::{self, Limits, ToolError};
use crate::version::Version;

/// What ffprobe says of a file with hundreds of streams is below 1 MB.
const MAX_BYTES: usize = 8 << 20;

/// The ffprobe program.
///
/// ```
/// use longtake_ffmpeg::{Ffprobe, Input};
///
/// let media = Ffprobe::find().probe(&Input::lavfi("testsrc2=size=320x240:rate=30"))?;
/// let video = media.video().expect("a test source has video");
/// assert_eq!((video.width, video.height), (Some(320), Some(240)));
/// # Ok::<(), longtake_ffmpeg::ToolError>(())
/// ```
#[derive(Debug, Clone)]
pub struct Ffprobe {
    program: PathBuf,
    timeout: Duration,
}

/// What ffprobe says of a file or stream.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct MediaInfo {
    /// The demuxer's names, such as `matroska,webm`.
    pub format: String,
    /// How long it plays, where the container tells.
    pub duration: Option<Duration>,
    /// Where it starts, in microseconds; may be negative.
    pub start_us: Option<i64>,
    /// The size of the file.
    pub bytes: Option<u64>,
    /// The streams in their order.
    pub streams: Vec<StreamInfo>,
}

/// What ffprobe says of a stream.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct StreamInfo {
    /// Its number.
    pub index: u32,
    /// What it carries.
    pub kind: StreamKind,
    /// The decoder's name, such as `h264`; empty when unknown.
    pub codec: String,
    /// The pixel format of video, such as `yuv420p`.
    pub pixel_format: Option<String>,
    /// The width of video in pixels.
    pub width: Option<u32>,
    /// The height of video in pixels.
    pub height: Option<u32>,
    /// The mean frame rate of video.
    pub frame_rate: Option<Ratio>,
    /// The unit of timestamps in seconds.
    pub time_base: Option<Ratio>,
    /// Where it starts, in microseconds; may be negative.
    pub start_us: Option<i64>,
    /// How long it plays, where the container tells.
    pub duration: Option<Duration>,
    /// How many frames it has, where the container tells.
    pub frames: Option<u64>,
    /// Samples a second of audio.
    pub sample_rate: Option<u32>,
    /// Channels of audio.
    pub channels: Option<u32>,
    /// Its metadata.
    pub tags: BTreeMap<String, String>,
}

/// What a stream carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum StreamKind {
    /// Pictures.
    Video,
    /// Sound.
    Audio,
    /// Text, also the sensor data that this project writes.
    Subtitle,
    /// Anything else.
    Other,
}

/// A fraction such as 30000/1001.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Ratio {
    /// The upper number.
    pub numerator: u32,
    /// The lower number, never 0.
    pub denominator: u32,
}

impl Ffprobe {
    /// The `ffprobe` in `PATH`.
    #[must_use]
    pub fn find() -> Self {
        Self::at("ffprobe")
    }

    /// The ffprobe at `program`; a name without a slash is looked for in `PATH`.
    #[must_use]
    pub fn at(program: impl Into<PathBuf>) -> Self {
        Self {
            program: program.into(),
            timeout: Duration::from_secs(30),
        }
    }

    /// The ffprobe in the same folder as this ffmpeg, or in `PATH` for a bare name.
    #[must_use]
    pub fn beside(ffmpeg: &Path) -> Self {
        Self::at(ffmpeg.with_file_name("ffprobe"))
    }

    /// Sets how long an answer may take. Default: 30 s.
    #[must_use]
    pub const fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Its version.
    ///
    /// # Errors
    ///
    /// When it is missing, or does not answer like ffprobe.
    pub fn version(&self) -> Result<Version, ToolError> {
        let limits = Limits {
            time: self.timeout,
            bytes: MAX_BYTES,
        };
        let answer = tool::ask(&self.program, ["-version"], limits)?;
        Version::parse(&String::from_utf8_lossy(&answer.stdout))
            .filter(|_| answer.stdout.starts_with(b"ffprobe"))
            .ok_or_else(|| ToolError::Unexpected {
                program: self.program.clone(),
                expected: "ffprobe",
                source: None,
            })
    }

    /// The program as it was named.
    #[must_use]
    pub fn program(&self) -> &Path {
        &self.program
    }

    /// Asks what `input` holds.
    ///
    /// # Errors
    ///
    /// When ffprobe is missing, cannot read the input, or gives no answer in time; it is killed
    /// then.
    pub fn probe(&self, input: &Input) -> Result<MediaInfo, ToolError> {
        let options = [
            "-hide_banner",
            "-loglevel",
            "level+error",
            "-show_format",
            "-show_streams",
            "-of",
            "json",
        ];
        let args = options.into_iter().map(OsString::from).chain(input.args());
        let limits = Limits {
            time: self.timeout,
            bytes: MAX_BYTES,
        };
        let answer = tool::ask(&self.program, args, limits)?;
        if !answer.exit.success() {
            return Err(ToolError::failed(&self.program, &answer.log));
        }
        MediaInfo::parse(&answer.stdout).map_err(|source| ToolError::Unexpected {
            program: self.program.clone(),
            expected: "ffprobe",
            source: Some(Box::new(source)),
        })
    }
}

impl MediaInfo {
    /// The first video stream.
    #[must_use]
    pub fn video(&self) -> Option<&StreamInfo> {
        self.streams
            .iter()
            .find(|stream| stream.kind == StreamKind::Video)
    }

    /// The first audio stream.
    #[must_use]
    pub fn audio(&self) -> Option<&StreamInfo> {
        self.streams
            .iter()
            .find(|stream| stream.kind == StreamKind::Audio)
    }

    fn parse(json: &[u8]) -> Result<Self, serde_json::Error> {
        // Tags may hold bytes that are not UTF-8.
        let answer: Answer = serde_json::from_str(&String::from_utf8_lossy(json))?;
        Ok(Self {
            format: answer.format.format_name,
            duration: answer.format.duration.and_then(|text| duration(&text)),
            start_us: answer.format.start_time.and_then(|text| micros(&text)),
            bytes: answer.format.size.and_then(|text| text.parse().ok()),
            streams: answer.streams.into_iter().map(StreamInfo::from).collect(),
        })
    }
}

impl Ratio {
    /// The fraction as a number.
    #[must_use]
    pub fn as_f64(self) -> f64 {
        f64::from(self.numerator) / f64::from(self.denominator)
    }

    /// Reads `30000/1001`; a denominator of 0 stands for "unknown".
    fn parse(text: &str) -> Option<Self> {
        let (numerator, denominator) = text.split_once('/')?;
        let ratio = Self {
            numerator: numerator.parse().ok()?,
            denominator: denominator.parse().ok()?,
        };
        (ratio.denominator != 0).then_some(ratio)
    }
}

#[derive(Deserialize)]
struct Answer {
    format: Format,
    #[serde(default)]
    streams: Vec<Stream>,
}

#[derive(Deserialize)]
struct Format {
    #[serde(default)]
    format_name: String,
    duration: Option<String>,
    start_time: Option<String>,
    size: Option<String>,
}

#[derive(Deserialize)]
struct Stream {
    index: u32,
    codec_type: Option<String>,
    #[serde(default)]
    codec_name: String,
    pix_fmt: Option<String>,
    width: Option<u32>,
    height: Option<u32>,
    avg_frame_rate: Option<String>,
    time_base: Option<String>,
    start_time: Option<String>,
    duration: Option<String>,
    nb_frames: Option<String>,
    sample_rate: Option<String>,
    channels: Option<u32>,
    #[serde(default)]
    tags: BTreeMap<String, String>,
}

impl From<Stream> for StreamInfo {
    fn from(stream: Stream) -> Self {
        let ratio = |text: Option<String>| text.and_then(|text| Ratio::parse(&text));
        Self {
            index: stream.index,
            kind: match stream.codec_type.as_deref() {
                Some("video") => StreamKind::Video,
                Some("audio") => StreamKind::Audio,
                Some("subtitle") => StreamKind::Subtitle,
                _ => StreamKind::Other,
            },
            codec: stream.codec_name,
            pixel_format: stream.pix_fmt,
            width: stream.width,
            height: stream.height,
            frame_rate: ratio(stream.avg_frame_rate),
            time_base: ratio(stream.time_base),
            start_us: stream.start_time.and_then(|text| micros(&text)),
            duration: stream.duration.and_then(|text| duration(&text)),
            frames: stream.nb_frames.and_then(|text| text.parse().ok()),
            sample_rate: stream.sample_rate.and_then(|text| text.parse().ok()),
            channels: stream.channels,
            tags: stream.tags,
        }
    }
}

/// Reads seconds such as `-1.400000` in microseconds.
fn micros(text: &str) -> Option<i64> {
    let (negative, text) = text
        .strip_prefix('-')
        .map_or((false, text), |rest| (true, rest));
    let time = duration(text)?;
    let us = i64::try_from(time.as_micros()).ok()?;
    Some(if negative { -us } else { us })
}

fn duration(seconds: &str) -> Option<Duration> {
    let (whole, fraction) = seconds.split_once('.').unwrap_or((seconds, ""));
    if fraction.len() > 9 || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let nanos: u32 = format!("{fraction:0<9}").parse().ok()?;
    Some(Duration::new(whole.parse().ok()?, nanos))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        assert_eq!(duration("2.000000"), Some(Duration::from_secs(2)));
        assert_eq!(
            duration("59.933333"),
            Some(Duration::from_micros(59_933_333))
        );
        assert_eq!(duration("7"), Some(Duration::from_secs(7)));
        assert_eq!(micros("-1.400000"), Some(-1_400_000));
        for text in [
            "",
            "N/A",
            "1.x",
            "-1",
            "1.0000000000",
            "99999999999999999999",
        ] {
            assert_eq!(duration(text), None, "{text}");
        }
    }

    #[test]
    fn ratios() {
        assert_eq!(
            Ratio::parse("30000/1001").map(Ratio::as_f64),
            Some(30_000.0 / 1001.0)
        );
        assert_eq!(Ratio::parse("0/0"), None);
        assert_eq!(Ratio::parse("30"), None);
    }

    #[test]
    fn an_answer_with_little_in_it() {
        let media = MediaInfo::parse(
            br#"{"streams": [{"index": 0}], "format": {"filename": "x", "tags": {"a": "b"}}}"#,
        );
        let media = media.unwrap();
        assert_eq!(
            (media.duration, media.bytes, media.streams.len()),
            (None, None, 1)
        );
        assert_eq!(media.streams[0].kind, StreamKind::Other);
        assert!(MediaInfo::parse(b"{}").is_err());
        assert!(MediaInfo::parse(b"{\"format\": {\"format_name\": \"caf\xe9\"}}").is_ok());
    }
}
