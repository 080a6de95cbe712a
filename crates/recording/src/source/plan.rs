//! The ffmpeg command that captures a source.

use std::path::Path;

use longtake_ffmpeg::{Codec as FfmpegCodec, FfmpegCommand, Input, Output};

use super::{V4l2Mode, VideoSource};

/// How long a network camera may say nothing before ffmpeg gives up, in microseconds.
const RTSP_TIMEOUT_US: &str = "10000000";

/// What is taken from a source.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Delivery {
    /// Its packets as they are: no quality is lost and hardly any CPU time.
    Copied,
    /// Decoded pictures in one of ffmpeg's pixel formats, to be encoded again.
    Decoded {
        /// Such as `yuv420p`.
        pixel_format: String,
    },
}

impl VideoSource {
    /// Whether this source gives packets that are worth copying, rather than pictures.
    pub const fn is_compressed(&self) -> bool {
        matches!(self, Self::Rtsp { .. } | Self::File { .. })
    }

    /// Whether this source plays by the clock of this machine, so that it needs no anchoring.
    pub(super) const fn plays_by_our_clock(&self) -> bool {
        matches!(self, Self::TestPicture { .. } | Self::File { .. })
    }

    /// The kind of device this is, as manifests name it.
    pub const fn device_type(&self) -> &'static str {
        match self {
            Self::TestPicture { .. } => "testsrc",
            Self::V4l2 { .. } => "v4l2",
            Self::Rtsp { .. } => "rtsp",
            Self::File { .. } => "file",
        }
    }
}

/// Builds the command that writes `source` as NUT to its standard output, timestamps untouched.
pub(super) fn capture_command(
    ffmpeg: &Path,
    source: &VideoSource,
    delivery: &Delivery,
) -> FfmpegCommand {
    let output = Output::stdout("nut")
        .map("0:v:0")
        .raw_args(["-fps_mode", "passthrough", "-avoid_negative_ts", "disabled"])
        .option("flush_packets", "1");
    let output = match delivery {
        Delivery::Copied => output.video_codec(FfmpegCodec::Copy),
        Delivery::Decoded { pixel_format } => output
            .video_codec(FfmpegCodec::encoder("rawvideo"))
            .option("pix_fmt", pixel_format.as_str())
            .raw_args(["-enc_time_base", "1:1000000"]),
    };
    FfmpegCommand::at(ffmpeg)
        .log_level(longtake_ffmpeg::Level::Warning)
        .global_args(["-copyts"])
        .input(input(source, delivery))
        .output(output)
}

fn input(source: &VideoSource, delivery: &Delivery) -> Input {
    match source {
        VideoSource::TestPicture { width, height, fps } => {
            Input::lavfi(format!("testsrc2=size={width}x{height}:rate={fps}")).realtime()
        }
        VideoSource::V4l2 { path, mode } => v4l2(path, mode, delivery),
        VideoSource::Rtsp { url } => Input::url(url)
            .option("rtsp_transport", "tcp")
            .option("timeout", RTSP_TIMEOUT_US)
            .option("fflags", "nobuffer"),
        VideoSource::File { path } => Input::file(path).realtime(),
    }
}

fn v4l2(path: &Path, mode: &V4l2Mode, delivery: &Delivery) -> Input {
    // The kernel's own monotonic timestamps: -timestamps abs would take the wall clock.
    let mut camera = Input::device("v4l2", path).option("timestamps", "default");
    let copied = matches!(delivery, Delivery::Copied).then_some("mjpeg");
    if let Some(format) = mode.format.as_deref().or(copied) {
        camera = camera.option("input_format", format);
    }
    if let Some((width, height)) = mode.size {
        camera = camera.option("video_size", format!("{width}x{height}"));
    }
    if let Some(fps) = mode.fps {
        camera = camera.option("framerate", fps.to_string());
    }
    camera
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::FrameRate;

    /// Compares the command from its inputs on.
    #[track_caller]
    fn check(source: &str, delivery: &Delivery, want_input: &str, want_codec: &str) {
        let source = source.parse().unwrap();
        check_command(&source, delivery, want_input, want_codec);
    }

    #[track_caller]
    fn check_command(
        source: &VideoSource,
        delivery: &Delivery,
        want_input: &str,
        want_codec: &str,
    ) {
        let command = capture_command(Path::new("ffmpeg"), source, delivery).to_string();
        let pixel_format = match delivery {
            Delivery::Copied => "",
            Delivery::Decoded { .. } => " -pix_fmt gray16le",
        };
        let time_base = match delivery {
            Delivery::Copied => "",
            Delivery::Decoded { .. } => " -enc_time_base 1:1000000",
        };
        let want = format!(
            "-copyts {want_input} -map 0:v:0 {want_codec} -flush_packets 1{pixel_format} \
             -fps_mode passthrough -avoid_negative_ts disabled{time_base} -f nut pipe:1"
        );
        assert!(
            command.ends_with(&want),
            "{command}\nshould end with\n{want}"
        );
    }

    #[test]
    fn commands() {
        let gray = Delivery::Decoded {
            pixel_format: "gray16le".into(),
        };
        check(
            "testsrc:640x400@30000/1001",
            &gray,
            "-f lavfi -re -i testsrc2=size=640x400:rate=30000/1001",
            "-c:v rawvideo",
        );
        check(
            "v4l2:/dev/video2",
            &gray,
            "-f v4l2 -timestamps default -i /dev/video2",
            "-c:v rawvideo",
        );
        check(
            "v4l2:/dev/video2",
            &Delivery::Copied,
            "-f v4l2 -timestamps default -input_format mjpeg -i /dev/video2",
            "-c:v copy",
        );
        check(
            "rtsp://me:secret@cam/1",
            &Delivery::Copied,
            "-rtsp_transport tcp -timeout 10000000 -fflags nobuffer -i 'rtsp://***@cam/1'",
            "-c:v copy",
        );
        check(
            "file:-x:1.mp4",
            &Delivery::Copied,
            "-re -i file:-x:1.mp4",
            "-c:v copy",
        );
    }

    #[test]
    fn what_a_camera_is_asked_for() {
        let mode = V4l2Mode::default()
            .size(1280, 720)
            .fps(FrameRate::new(30, 1).unwrap())
            .format("h264");
        let path = "/dev/video0".into();
        check_command(
            &VideoSource::V4l2 { path, mode },
            &Delivery::Copied,
            "-f v4l2 -timestamps default -input_format h264 -video_size 1280x720 -framerate 30 \
             -i /dev/video0",
            "-c:v copy",
        );
    }
}
