//! The command line of an encoder.

use std::{path::Path, time::Duration};

use longtake_ffmpeg::{Codec, FfmpegCommand, Input, Level, Output};

use super::settings::{EncoderSettings, VideoEncoder};
use crate::{pts::Pts, stream::FrameRate};

/// What rate control is told where nobody knows the rate. It spreads bits over time by it; every
/// timestamp stays as it is.
const ASSUMED_RATE: (u32, u32) = (30, 1);

/// The rate that rate control is told.
pub(super) fn nominal_rate(settings: &EncoderSettings, source: Option<FrameRate>) -> FrameRate {
    let assumed = || FrameRate::new(ASSUMED_RATE.0, ASSUMED_RATE.1).expect("neither part is 0");
    known_rate(settings, source).unwrap_or_else(assumed)
}

/// The rate of what is encoded, where it is known.
pub(super) fn known_rate(
    settings: &EncoderSettings,
    source: Option<FrameRate>,
) -> Option<FrameRate> {
    match (settings.fps, source) {
        (Some(wanted), Some(source)) if source.as_f64() <= wanted.as_f64() => Some(source),
        (wanted, source) => wanted.or(source),
    }
}

/// ffmpeg as an encoder from Matroska on its input to NUT on its output, whose first frame is at
/// `first`.
pub(super) fn command(
    ffmpeg: &Path,
    settings: &EncoderSettings,
    rate: FrameRate,
    first: Pts,
) -> FfmpegCommand {
    // Without these it waits for about 350 ms of input to learn what the header says already.
    let input = Input::stdin("matroska")
        .option("probesize", "32")
        .option("analyzeduration", "0")
        .option("fpsprobesize", "0");
    FfmpegCommand::at(ffmpeg)
        .log_level(Level::Warning)
        .global_args(["-copyts"])
        .input(input)
        .output(encoding(nut(), settings, rate, first))
}

/// Every packet comes out as soon as it is there. An index would only grow in ffmpeg's memory.
fn nut() -> Output {
    Output::stdout("nut")
        .option("flush_packets", "1")
        .option("write_index", "0")
}

/// An output into which is encoded what comes first in the input.
pub(super) fn encoding(
    output: Output,
    settings: &EncoderSettings,
    rate: FrameRate,
    first: Pts,
) -> Output {
    let encoder = settings.encoder;
    let mut output = output
        .map("0:v:0")
        .video_codec(Codec::encoder(encoder.name()))
        // Every timestamp as it came, to the microsecond, also where B-frames put decoding times
        // below 0.
        .option("fps_mode", "passthrough")
        .option("enc_time_base", "1:1000000")
        .option("avoid_negative_ts", "disabled")
        .option("g", gop_length(settings, rate).to_string());
    if let Some(format) = settings.encoded_format() {
        // The plus makes ffmpeg fail where it would silently choose another format.
        output = output
            .video_filter(format!("scale,format={format}"))
            .option("pix_fmt", format!("+{format}"));
    }
    if let Some(bitrate) = settings.bitrate {
        output = output.option("b:v", bitrate.bits_per_second().to_string());
    }
    if encoder.is_tunable() {
        let preset = settings.preset.as_deref().unwrap_or("superfast");
        output = output
            .option("preset", preset)
            .option("bf", settings.b_frames.to_string())
            .option("forced-idr", "1");
        if let Some(tune) = settings.effective_tune() {
            output = output.option("tune", tune);
        }
        if let Some(length) = settings.chunk_length {
            output = output.option("force_key_frames", keyframes_at_boundaries(length, first));
        }
    }
    match encoder {
        VideoEncoder::X264 => output,
        // It prints its own log. A keyframe must not be referred over, or no file could begin there.
        VideoEncoder::X265 => output.option("x265-params", "log-level=error:open-gop=0"),
        // Version 3 has checksums, which tell damage in an archive.
        VideoEncoder::Ffv1 => output.option("level", "3").option("slicecrc", "1"),
        VideoEncoder::Mjpeg => {
            // Its own tables have codes that JPEG forbids, in 5.1; and several threads would each
            // hold a frame back.
            let output = output.option("huffman", "default").option("threads", "1");
            match settings.bitrate {
                Some(_) => output,
                // The default would be 200 kbit/s, whatever the size.
                None => output.option("q:v", "3"),
            }
        }
    }
}

fn gop_length(settings: &EncoderSettings, rate: FrameRate) -> u32 {
    match settings.encoder {
        VideoEncoder::Ffv1 | VideoEncoder::Mjpeg => 1,
        VideoEncoder::X264 | VideoEncoder::X265 => settings.gop_length.unwrap_or_else(|| {
            let (frames, seconds) = rate.as_fraction();
            frames.saturating_mul(2).div_ceil(seconds).max(1)
        }),
    }
}

/// Forces a keyframe on the first frame at or after each multiple of `length`.
///
/// In the expression `t` counts from the first frame that this encoder gets. A frame is forced when
/// it is in another chunk than the one forced before it; counting the forced ones instead (`n_forced`)
/// would force a frame for every chunk that passed while the source was silent. Half a microsecond
/// keeps sums of floating-point numbers from falling below a boundary that they should hit.
fn keyframes_at_boundaries(length: Duration, first: Pts) -> String {
    let length = format!("{}.{:06}", length.as_secs(), length.subsec_micros());
    let first = format!("{first}5");
    format!(
        "expr:if(isnan(prev_forced_t),1,\
         gt(floor((t+{first})/{length}),floor((prev_forced_t+{first})/{length})))"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(text: &str) -> Option<FrameRate> {
        FrameRate::parse(text)
    }

    #[track_caller]
    fn check(settings: &EncoderSettings, want: &str) {
        let rate = nominal_rate(settings, rate("30"));
        let line = command(Path::new("ffmpeg"), settings, rate, Pts(600_300_001)).to_string();
        let head = "ffmpeg -hide_banner -nostdin -nostats -loglevel level+warning -n -copyts \
                    -f matroska -probesize 32 -analyzeduration 0 -fpsprobesize 0 -i pipe:0 -map 0:v:0 ";
        let exact = "-flush_packets 1 -write_index 0 -fps_mode passthrough \
                     -enc_time_base 1:1000000 -avoid_negative_ts disabled ";
        let tail = line
            .strip_prefix(head)
            .unwrap_or(&line)
            .replacen(exact, "… ", 1);
        assert_eq!(tail, format!("{want} -f nut pipe:1"));
    }

    #[test]
    fn the_defaults_have_no_latency() {
        check(
            &EncoderSettings::default().chunk_length(Duration::from_millis(2500)),
            "-c:v libx264 -filter:v scale,format=yuv420p … -g 60 -pix_fmt +yuv420p \
             -preset superfast -bf 0 -forced-idr 1 -tune zerolatency -force_key_frames \
             'expr:if(isnan(prev_forced_t),1,gt(floor((t+600.3000015)/2.500000),\
             floor((prev_forced_t+600.3000015)/2.500000)))'",
        );
    }

    #[test]
    fn everything_that_can_be_asked_for() {
        let x265 = EncoderSettings::new(VideoEncoder::X265)
            .bitrate("2M".parse().unwrap())
            .pixel_format("yuv420p10le")
            .unwrap()
            .preset("slow")
            .b_frames(3)
            .fps(rate("10").unwrap());
        check(
            &x265,
            "-c:v libx265 -filter:v scale,format=yuv420p10le … -g 20 -pix_fmt +yuv420p10le \
             -b:v 2000000 -preset slow -bf 3 -forced-idr 1 -x265-params log-level=error:open-gop=0",
        );
        check(
            &x265.tune("grain").gop_length(7),
            "-c:v libx265 -filter:v scale,format=yuv420p10le … -g 7 -pix_fmt +yuv420p10le \
             -b:v 2000000 -preset slow -bf 3 -forced-idr 1 -tune grain \
             -x265-params log-level=error:open-gop=0",
        );
    }

    #[test]
    fn pictures_by_themselves() {
        let ask_too_much = |encoder| {
            EncoderSettings::new(encoder)
                .b_frames(2)
                .preset("slow")
                .chunk_length(Duration::from_secs(2))
        };
        check(
            &ask_too_much(VideoEncoder::Ffv1),
            "-c:v ffv1 … -g 1 -level 3 -slicecrc 1",
        );
        check(
            &ask_too_much(VideoEncoder::Mjpeg),
            "-c:v mjpeg -filter:v scale,format=yuvj420p … -g 1 -pix_fmt +yuvj420p \
             -huffman default -threads 1 -q:v 3",
        );
    }

    #[test]
    fn rates() {
        let wants = |fps: &str| EncoderSettings::default().fps(rate(fps).unwrap());
        let any = EncoderSettings::default();
        for (settings, source, known, nominal) in [
            (&any, None, None, "30"),
            (&any, Some("25"), Some("25"), "25"),
            (&wants("10"), Some("25"), Some("10"), "10"),
            (&wants("50"), Some("25"), Some("25"), "25"),
            (&wants("10"), None, Some("10"), "10"),
        ] {
            let source = source.and_then(rate);
            assert_eq!(known_rate(settings, source), known.and_then(rate));
            assert_eq!(Some(nominal_rate(settings, source)), rate(nominal));
        }
    }
}
