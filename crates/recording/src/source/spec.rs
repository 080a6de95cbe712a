//! How a user names a source: `testsrc:640x400@30`, `v4l2:/dev/video0`, `rtsp://…`, `file:PATH`,
//! `fake-imu:100`, `jsonl:-`.

use std::{fmt, path::PathBuf, str::FromStr};

use crate::stream::FrameRate;

/// The longest side of a test picture, in pixels.
const MAX_SIDE: u32 = 16_384;

/// The fastest fake sensor, in samples a second.
const MAX_SENSOR_HZ: f64 = 10_000.0;

/// Where pictures come from.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum VideoSource {
    /// `testsrc:WxH@FPS`: ffmpeg's moving test picture, in real time.
    TestPicture {
        /// Width in pixels, even.
        width: u32,
        /// Height in pixels, even.
        height: u32,
        /// Frames a second.
        fps: FrameRate,
    },
    /// `v4l2:/dev/videoN`: a camera that Linux knows.
    V4l2 {
        /// Its device file.
        path: PathBuf,
        /// What it is asked for.
        mode: V4l2Mode,
    },
    /// `rtsp://…` or `rtsps://…`: a network camera, over TCP.
    Rtsp {
        /// Its address, with whatever credentials it needs.
        url: String,
    },
    /// `file:PATH`: a video file, played in real time.
    File {
        /// The file.
        path: PathBuf,
    },
}

/// What a V4L2 camera is asked for. What is not said here is left as the camera has it.
/// `v4l2-ctl --list-formats-ext` shows what a camera can do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct V4l2Mode {
    pub(super) size: Option<(u32, u32)>,
    pub(super) fps: Option<FrameRate>,
    pub(super) format: Option<String>,
}

impl V4l2Mode {
    /// Sets width and height in pixels.
    #[must_use]
    pub const fn size(mut self, width: u32, height: u32) -> Self {
        self.size = Some((width, height));
        self
    }

    /// Sets how many frames a second the camera takes.
    #[must_use]
    pub const fn fps(mut self, fps: FrameRate) -> Self {
        self.fps = Some(fps);
        self
    }

    /// Sets in which form the camera sends its pictures, by ffmpeg's name: `mjpeg`, `yuyv422`, `h264`.
    #[must_use]
    pub fn format(mut self, format: impl Into<String>) -> Self {
        self.format = Some(format.into());
        self
    }
}

/// Where sensor samples come from.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum SensorSource {
    /// `fake-imu:HZ`: a made-up accelerometer and gyroscope, for trying things out.
    FakeImu {
        /// Samples a second, above 0.
        hz: f64,
    },
    /// `jsonl:PATH`: one JSON object a line from a file or a named pipe.
    JsonLines {
        /// The file.
        path: PathBuf,
    },
    /// `jsonl:-`: one JSON object a line from standard input.
    JsonStandardInput,
}

/// A name that is no source.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SourceError {
    /// Nothing of this kind exists.
    #[error("{name:?} is no {what} source: use {known}")]
    Unknown {
        /// What was given, without credentials.
        name: String,
        /// `video` or `sensor`.
        what: &'static str,
        /// What there is.
        known: &'static str,
    },
    /// The kind exists, but what follows it cannot be read.
    #[error("{name:?} is not of the form {form}: {why}")]
    Malformed {
        /// What was given, without credentials.
        name: String,
        /// What it should look like.
        form: &'static str,
        /// What is wrong with it.
        why: &'static str,
    },
}

impl FromStr for VideoSource {
    type Err = SourceError;

    fn from_str(text: &str) -> Result<Self, SourceError> {
        if let Some(picture) = text.strip_prefix("testsrc:") {
            return test_picture(text, picture);
        }
        if text.starts_with("rtsp://") || text.starts_with("rtsps://") {
            return Ok(Self::Rtsp {
                url: text.to_owned(),
            });
        }
        if let Some(path) = text.strip_prefix("v4l2:") {
            let path = existing_name(text, path, "v4l2:/dev/videoN")?;
            let mode = V4l2Mode::default();
            return Ok(Self::V4l2 { path, mode });
        }
        if let Some(path) = text.strip_prefix("file:") {
            let path = existing_name(text, path, "file:PATH")?;
            return Ok(Self::File { path });
        }
        Err(SourceError::Unknown {
            name: without_credentials(text),
            what: "video",
            known: "testsrc:WxH@FPS, v4l2:/dev/videoN, rtsp://HOST/PATH or file:PATH",
        })
    }
}

impl FromStr for SensorSource {
    type Err = SourceError;

    fn from_str(text: &str) -> Result<Self, SourceError> {
        if let Some(rate) = text.strip_prefix("fake-imu:") {
            return match rate.parse::<f64>() {
                Ok(hz) if hz > 0.0 && hz <= MAX_SENSOR_HZ => Ok(Self::FakeImu { hz }),
                _ => Err(SourceError::Malformed {
                    name: text.to_owned(),
                    form: "fake-imu:HZ",
                    why: "HZ is a number above 0 and at most 10000",
                }),
            };
        }
        match text.strip_prefix("jsonl:") {
            Some("-") => Ok(Self::JsonStandardInput),
            Some(path) => {
                let path = existing_name(text, path, "jsonl:PATH or jsonl:-")?;
                Ok(Self::JsonLines { path })
            }
            None => Err(SourceError::Unknown {
                name: without_credentials(text),
                what: "sensor",
                known: "fake-imu:HZ, jsonl:PATH or jsonl:-",
            }),
        }
    }
}

impl fmt::Display for VideoSource {
    /// The name as a user would write it, without the credentials of a URL.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TestPicture { width, height, fps } => write!(f, "testsrc:{width}x{height}@{fps}"),
            Self::V4l2 { path, .. } => write!(f, "v4l2:{}", path.display()),
            Self::Rtsp { url } => f.write_str(&without_credentials(url)),
            Self::File { path } => write!(f, "file:{}", path.display()),
        }
    }
}

impl fmt::Display for SensorSource {
    /// The name as a user would write it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::FakeImu { hz } => write!(f, "fake-imu:{hz}"),
            Self::JsonLines { path } => write!(f, "jsonl:{}", path.display()),
            Self::JsonStandardInput => f.write_str("jsonl:-"),
        }
    }
}

fn test_picture(text: &str, picture: &str) -> Result<VideoSource, SourceError> {
    let malformed = |why| SourceError::Malformed {
        name: text.to_owned(),
        form: "testsrc:WxH@FPS",
        why,
    };
    let (size, fps) = picture
        .split_once('@')
        .ok_or_else(|| malformed("there is no @FPS"))?;
    let (width, height) = size
        .split_once('x')
        .ok_or_else(|| malformed("there is no WxH"))?;
    let side = |side: &str| match side.parse::<u32>() {
        Ok(pixels) if (16..=MAX_SIDE).contains(&pixels) && pixels % 2 == 0 => Ok(pixels),
        _ => Err(malformed("W and H are even numbers from 16 to 16384")),
    };
    Ok(VideoSource::TestPicture {
        width: side(width)?,
        height: side(height)?,
        fps: FrameRate::parse(fps)
            .ok_or_else(|| malformed("FPS is a rate such as 30 or 30000/1001"))?,
    })
}

fn existing_name(text: &str, path: &str, form: &'static str) -> Result<PathBuf, SourceError> {
    if path.is_empty() {
        let name = text.to_owned();
        return Err(SourceError::Malformed {
            name,
            form,
            why: "the path is empty",
        });
    }
    Ok(PathBuf::from(path))
}

/// The URL with `user:password@` replaced: it goes into logs and manifests.
fn without_credentials(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else {
        return url.to_owned();
    };
    let end = rest.find('/').unwrap_or(rest.len());
    match rest[..end].rfind('@') {
        Some(at) => format!("{scheme}://***@{}", &rest[at + 1..]),
        None => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_video(text: &str, want: &str) {
        let got = match text.parse::<VideoSource>() {
            Ok(source) => source.to_string(),
            Err(error) => format!("error: {error}"),
        };
        assert_eq!(got, want, "{text}");
    }

    #[track_caller]
    fn check_sensor(text: &str, want: &str) {
        let got = match text.parse::<SensorSource>() {
            Ok(source) => source.to_string(),
            Err(error) => format!("error: {error}"),
        };
        assert_eq!(got, want, "{text}");
    }

    #[test]
    fn video_sources() {
        check_video("testsrc:640x400@30", "testsrc:640x400@30");
        check_video("testsrc:640x400@30000/1001", "testsrc:640x400@30000/1001");
        check_video(
            "testsrc:641x400@30",
            "error: \"testsrc:641x400@30\" is not of the form testsrc:WxH@FPS: \
             W and H are even numbers from 16 to 16384",
        );
        check_video(
            "testsrc:640x400",
            "error: \"testsrc:640x400\" is not of the form testsrc:WxH@FPS: there is no @FPS",
        );
        check_video("v4l2:/dev/video0", "v4l2:/dev/video0");
        check_video("file:a,b.mp4", "file:a,b.mp4");
        check_video("rtsp://10.0.0.1/a@b", "rtsp://10.0.0.1/a@b");
        check_video("rtsp://me:p@ss@cam/a", "rtsp://***@cam/a");
        check_video(
            "v4l2:",
            "error: \"v4l2:\" is not of the form v4l2:/dev/videoN: the path is empty",
        );
        check_video(
            "http://me:secret@cam/",
            "error: \"http://***@cam/\" is no video source: use testsrc:WxH@FPS, \
             v4l2:/dev/videoN, rtsp://HOST/PATH or file:PATH",
        );
    }

    #[test]
    fn sensor_sources() {
        check_sensor("fake-imu:100", "fake-imu:100");
        check_sensor("jsonl:-", "jsonl:-");
        check_sensor("jsonl:./-", "jsonl:./-");
        for wrong in [
            "fake-imu:0",
            "fake-imu:-1",
            "fake-imu:nan",
            "fake-imu:inf",
            "fake-imu:",
        ] {
            let want = format!(
                "error: {wrong:?} is not of the form fake-imu:HZ: \
                 HZ is a number above 0 and at most 10000"
            );
            check_sensor(wrong, &want);
        }
        check_sensor(
            "imu",
            "error: \"imu\" is no sensor source: use fake-imu:HZ, jsonl:PATH or jsonl:-",
        );
    }
}
