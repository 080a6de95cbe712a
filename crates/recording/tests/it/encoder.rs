//! Encoders by the real ffmpeg: every frame comes out, with its own time.

use std::{
    io::Write,
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use longtake_matroska::{Block, Muxer, SegmentInfo, Track};
use longtake_recording::{
    DropReason, EncoderSettings, Ffmpeg, FrameRate, Packet, Pts, RawFormat, RawFrame, VideoEncoder,
};
use tempfile::tempdir;

use crate::{
    encoder_bench::{Bench, Got, format, odd_pts},
    ffmpeg::{both, probe, words},
};

const FRAMES: i64 = 130;

/// Every kind of encoder, each with the layout of its input.
fn every_encoder() -> [(EncoderSettings, RawFormat); 6] {
    let new = EncoderSettings::new;
    let yuv = || format("yuv420p");
    [
        (new(VideoEncoder::X264), yuv()),
        (
            new(VideoEncoder::X264).b_frames(3).preset("veryfast"),
            yuv(),
        ),
        (new(VideoEncoder::X265), yuv()),
        (new(VideoEncoder::X265).b_frames(2), yuv()),
        (new(VideoEncoder::Ffv1), format("gray16le")),
        (new(VideoEncoder::Mjpeg), yuv()),
    ]
}

fn encode(ffmpeg: &Path, settings: EncoderSettings, format: RawFormat, first: i64) -> Got {
    let mut bench = Bench::new(ffmpeg, settings, format);
    for number in 0..FRAMES {
        bench.feed(first, number);
    }
    let (summary, got) = bench.finish();
    assert_eq!(summary.encoded, FRAMES.unsigned_abs(), "{got:?}");
    got
}

fn times(first: i64) -> Vec<Pts> {
    (0..FRAMES).map(|number| odd_pts(first, number)).collect()
}

/// The first frame, and the first at or after each boundary.
fn boundaries(times: &[Pts], length: i64) -> Vec<Pts> {
    let chunk = |pts: Pts| pts.0.div_euclid(length);
    let begins = |at: usize| at == 0 || chunk(times[at]) > chunk(times[at - 1]);
    (0..times.len())
        .filter(|&at| begins(at))
        .map(|at| times[at])
        .collect()
}

#[test]
fn every_frame_has_its_packet_and_keyframes_begin_chunks() {
    // In this order: a stream from the start, one that begins late, and one after ten minutes.
    for (first, length) in [
        (0, 700_000),
        (1_300_001, 1_000_000),
        (600_300_000, 1_234_567),
    ] {
        for ffmpeg in both() {
            for (settings, format) in every_encoder() {
                let encoder = settings.encoder();
                let chunks = Duration::from_micros(length);
                let settings = settings.chunk_length(chunks).gop_length(1000);
                let got = encode(&ffmpeg, settings, format, first);
                let sent = times(first);
                assert_eq!(got.times(), sent, "{encoder}");
                let keyframes = match encoder {
                    VideoEncoder::X264 | VideoEncoder::X265 => {
                        boundaries(&sent, length.try_into().unwrap())
                    }
                    _ => sent,
                };
                assert_eq!(got.keyframes(), keyframes, "{encoder}");
                let parameters = &got.packets[0].parameters;
                assert_eq!(parameters.codec, encoder.codec());
                let video = parameters.video.unwrap();
                assert_eq!(
                    (video.width, video.height, video.fps),
                    (96, 64, FrameRate::new(30, 1))
                );
                assert!(
                    got.packets
                        .iter()
                        .all(|packet| packet.parameters == *parameters)
                );
            }
        }
    }
}

#[test]
fn a_frame_exactly_on_a_boundary_begins_a_chunk() {
    // Sums of these in floating point fall on both sides of the boundary.
    for ffmpeg in both() {
        let settings = EncoderSettings::default()
            .chunk_length(Duration::from_millis(100))
            .gop_length(1000);
        let mut bench = Bench::new(&ffmpeg, settings, format("yuv420p"));
        let sent: Vec<_> = (0..90)
            .map(|number| Pts(12_345_600_000 + number * 25_000))
            .collect();
        for (number, &pts) in sent.iter().enumerate() {
            let data = crate::encoder_bench::picture(&bench.format, number.try_into().unwrap());
            bench.encoder.feed(RawFrame { pts, data });
        }
        let (_, got) = bench.finish();
        assert_eq!(got.keyframes(), boundaries(&sent, 100_000));
    }
}

#[test]
fn a_silent_source_costs_no_keyframes() {
    for ffmpeg in both() {
        let settings = EncoderSettings::default()
            .chunk_length(Duration::from_secs(1))
            .gop_length(1000);
        let mut bench = Bench::new(&ffmpeg, settings, format("yuv420p"));
        let sent: Vec<_> = (0..10)
            .chain(6_020..6_030)
            .map(|number| odd_pts(0, number))
            .collect();
        for (number, &pts) in (0..).zip(&sent) {
            let data = crate::encoder_bench::picture(&bench.format, number);
            bench.encoder.feed(RawFrame { pts, data });
        }
        let (_, got) = bench.finish();
        assert_eq!(got.times(), sent);
        assert_eq!(got.keyframes(), [sent[0], sent[10]]);
    }
}

/// Feeds one frame at a time and waits until all but `inside` have come out.
#[track_caller]
fn check_latency(settings: EncoderSettings, format: RawFormat, inside: i64) {
    for ffmpeg in both() {
        let mut bench = Bench::new(ffmpeg, settings.clone(), format.clone());
        for number in 0..40 {
            bench.feed(0, number);
            let out = usize::try_from(number + 1 - inside).unwrap_or(0);
            bench.wait("the frames before", |got| got.packets.len() >= out);
        }
        let (_, got) = bench.finish();
        assert_eq!(got.packets.len(), 40);
    }
}

#[test]
fn no_encoder_holds_frames_back_by_default() {
    let larger = |pixel_format: &str| RawFormat {
        width: 320,
        height: 240,
        ..format(pixel_format)
    };
    for encoder in VideoEncoder::ALL {
        let settings = EncoderSettings::new(encoder);
        check_latency(settings.clone(), larger(settings.input_format()), 0);
    }
    check_latency(
        EncoderSettings::new(VideoEncoder::Ffv1),
        larger("gray16le"),
        0,
    );
}

#[test]
fn fewer_frames_a_second_are_picked_by_their_times() {
    let settings = EncoderSettings::default().fps(FrameRate::new(10, 1).unwrap());
    let mut bench = Bench::new("ffmpeg", settings, format("yuv420p"));
    for number in 0..90 {
        bench.feed(0, number);
    }
    let (summary, got) = bench.finish();
    let third: Vec<_> = (0..90)
        .step_by(3)
        .map(|number| odd_pts(0, number))
        .collect();
    assert_eq!(got.times(), third);
    assert_eq!(summary.dropped, [(DropReason::Decimated, 60)].into());
    assert_eq!(
        got.packets[0].parameters.video.unwrap().fps,
        FrameRate::new(10, 1)
    );
    assert_eq!(got.gaps, []);
}

#[test]
fn frames_that_cannot_be_encoded_are_told_and_left_out() {
    let mut bench = Bench::new("ffmpeg", EncoderSettings::default(), format("yuv420p"));
    let good = crate::encoder_bench::picture(&bench.format, 0);
    for (pts, data) in [
        (100, good.clone()),
        (100, good.clone()),
        (99, good.clone()),
        (-1, good.clone()),
        (i64::MAX, good.clone()),
        (200, good.slice(1..)),
        (200, good),
    ] {
        bench.encoder.feed(RawFrame {
            pts: Pts(pts),
            data,
        });
    }
    let (summary, got) = bench.finish();
    assert_eq!(got.times(), [Pts(100), Pts(200)]);
    assert_eq!(summary.dropped, [(DropReason::Invalid, 5)].into());
}

#[test]
fn every_layout_goes_in() {
    for pixel_format in [
        "yuv420p", "yuv422p", "yuyv422", "nv12", "gray", "gray16le", "rgb24", "bgr24", "bgra",
        "rgba",
    ] {
        for (encoder, size) in [
            (VideoEncoder::X264, (96, 64)),
            (VideoEncoder::Ffv1, (95, 63)),
        ] {
            let format = RawFormat {
                width: size.0,
                height: size.1,
                ..format(pixel_format)
            };
            let mut bench = Bench::new("ffmpeg", EncoderSettings::new(encoder), format);
            for number in 0..3 {
                bench.feed(0, number);
            }
            let (_, got) = bench.finish();
            assert_eq!(
                got.packets.len(),
                3,
                "{pixel_format} into {encoder}: {got:?}"
            );
        }
    }
}

#[test]
fn what_was_asked_for_is_what_is_encoded() {
    let x264 = EncoderSettings::default;
    for (settings, want) in [
        (x264(), "yuv420p"),
        (x264().pixel_format("yuv422p10le").unwrap(), "yuv422p10le"),
        (
            EncoderSettings::new(VideoEncoder::X265)
                .pixel_format("yuv420p10le")
                .unwrap(),
            "yuv420p10le",
        ),
        (EncoderSettings::new(VideoEncoder::Mjpeg), "yuvj420p"),
        (EncoderSettings::new(VideoEncoder::Ffv1), "yuv422p"),
        (
            EncoderSettings::new(VideoEncoder::Ffv1)
                .pixel_format("gray")
                .unwrap(),
            "gray",
        ),
    ] {
        let got = encode(Path::new("ffmpeg"), settings, format("yuv422p"), 0);
        let file = chunk(&got.packets);
        assert_eq!(probe(&file.1).streams[0]["pix_fmt"], want);
    }
}

#[test]
fn a_bit_rate_is_kept() {
    for encoder in [VideoEncoder::X264, VideoEncoder::X265, VideoEncoder::Mjpeg] {
        let settings = EncoderSettings::new(encoder).bitrate("1M".parse().unwrap());
        let mut bench = Bench::new("ffmpeg", settings, format("yuv420p"));
        let mut noise = 1_u32;
        for number in 0..FRAMES {
            let bytes = usize::try_from(bench.format.frame_bytes().unwrap()).unwrap();
            let data = (0..bytes).map(|_| {
                noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                noise.to_be_bytes()[0]
            });
            let data = data.collect();
            bench.encoder.feed(RawFrame {
                pts: odd_pts(0, number),
                data,
            });
        }
        let (_, got) = bench.finish();
        let bytes: usize = got.packets.iter().map(|packet| packet.data.len()).sum();
        // 4.3 s at 125 kB/s; noise is hard to foresee, but a wrong rate would be far off.
        assert!(
            (270_000..1_100_000).contains(&bytes),
            "{encoder} made {bytes} bytes"
        );
    }
}

/// Writes packets as a chunk.
fn chunk(packets: &[Packet]) -> (tempfile::TempDir, std::path::PathBuf) {
    let parameters = &packets[0].parameters;
    let video = parameters.video.unwrap();
    let track = Track::video(1, parameters.codec.matroska_id(), video.width, video.height)
        .codec_private(parameters.codec_private.clone());
    let mut muxer = Muxer::new(SegmentInfo::default(), vec![track]).unwrap();
    let folder = tempdir().unwrap();
    let path = folder.path().join("chunk.mkv");
    let mut file = std::fs::File::create(&path).unwrap();
    file.write_all(&muxer.header()).unwrap();
    for packet in packets {
        let block = Block::new(1, packet.pts.0, packet.data.clone()).keyframe(packet.keyframe);
        if let Some(cluster) = muxer.push(block).unwrap() {
            cluster.write_to(&mut file).unwrap();
        }
    }
    file.write_all(&muxer.finish().bytes).unwrap();
    (folder, path)
}

#[test]
fn chunks_that_begin_at_a_keyframe_are_read_in_silence() {
    for ffmpeg in both() {
        for (settings, format) in every_encoder() {
            let encoder = settings.encoder();
            let settings = settings
                .chunk_length(Duration::from_secs(2))
                .gop_length(1000);
            let got = encode(&ffmpeg, settings, format, 1_300_000);
            let cut = got
                .packets
                .iter()
                .rposition(|packet| packet.keyframe)
                .unwrap();
            for packets in [&got.packets[..], &got.packets[cut..]] {
                let file = chunk(packets);
                let probed = probe(&file.1);
                assert_eq!(probed.packets.len(), packets.len());
                // What is written is what comes back: ffmpeg reads milliseconds, but all bytes.
                for (probed, packet) in probed.packets.iter().zip(packets) {
                    assert_eq!(probed.hash, crate::ffmpeg::hash(&packet.data));
                    assert_eq!(probed.keyframe, packet.keyframe);
                }
                let output = Command::new("ffmpeg")
                    .args(words("-nostdin -v warning -xerror -i"))
                    .arg(&file.1)
                    .args(words("-f null -fps_mode passthrough -"))
                    .stdin(Stdio::null())
                    .output()
                    .unwrap();
                let told = String::from_utf8_lossy(&output.stderr).into_owned();
                assert!(
                    output.status.success() && told.is_empty(),
                    "{encoder}: {told}"
                );
            }
        }
    }
}

/// What a user can get wrong is found without a recording, and what is right passes.
#[test]
fn settings_are_tried_out() {
    let ffmpeg = Ffmpeg::find().unwrap();
    for encoder in VideoEncoder::ALL {
        EncoderSettings::new(encoder).try_out(&ffmpeg).unwrap();
    }
    let x264 = || EncoderSettings::new(VideoEncoder::X264);
    let boundaries = x264().chunk_length(Duration::from_secs(2)).b_frames(2);
    boundaries.try_out(&ffmpeg).unwrap();
    for (settings, word) in [
        (x264().preset("wrong"), "wrong"),
        (x264().tune("wrong"), "wrong"),
        (x264().pixel_format("gray16le").unwrap(), "gray16le"),
    ] {
        let error = settings.try_out(&ffmpeg).unwrap_err();
        let told = error.source.to_string();
        assert!(told.contains(word), "{told}");
    }
}
