//! NUT as ffmpeg writes it, against what ffprobe reads.

use std::{fs, path::Path};

use longtake_recording::{NutFrame, NutKind, NutReader};
use tempfile::tempdir;

use crate::ffmpeg::{both, hash, probe, run_at, words};

/// 40 pictures at times that no coarser tick can hold.
const ODD: &str = "-f lavfi -i testsrc2=s=96x64:r=30 -frames:v 40 -fps_mode passthrough \
                   -enc_time_base 1:1000000 -vf settb=1/1000000,setpts=N*33333+mod(N*7919\\,997)";

const SOUND: &str = "-f lavfi -i sine=d=1:r=44100";

fn read_all(bytes: &[u8], piece: usize) -> (NutReader, Vec<NutFrame>) {
    let mut reader = NutReader::new();
    let mut frames = Vec::new();
    for piece in bytes.chunks(piece) {
        reader.push(piece);
        while let Some(frame) = reader.next_frame().unwrap() {
            frames.push(frame);
        }
    }
    (reader, frames)
}

/// Checks frames against ffprobe, with each ffmpeg, in pieces of several sizes.
#[track_caller]
fn check(input: &str, output: &str, want_frames: usize) {
    let folder = tempdir().unwrap();
    let file = folder.path().join("out.nut");
    for ffmpeg in both() {
        run_at(
            &ffmpeg,
            words(input)
                .into_iter()
                .chain(words(output))
                .chain([file.to_str().unwrap()]),
        );
        check_file(&file, want_frames);
    }
}

#[track_caller]
fn check_file(file: &Path, want_frames: usize) {
    let bytes = fs::read(file).unwrap();
    let probed = probe(file);
    let (reader, frames) = read_all(&bytes, usize::MAX);
    assert_eq!(frames.len(), want_frames);
    assert_eq!(probed.packets.len(), want_frames);
    for (frame, packet) in frames.iter().zip(&probed.packets) {
        assert_eq!(frame.stream, packet.stream);
        assert_eq!(frame.keyframe, packet.keyframe);
        assert_eq!(hash(&frame.data), packet.hash);
        let base = probed.streams[packet.stream]["time_base"].as_str().unwrap();
        let (numerator, denominator) = base.split_once('/').unwrap();
        let scaled = i128::from(packet.pts) * numerator.parse::<i128>().unwrap() * 1_000_000;
        let denominator: i128 = denominator.parse().unwrap();
        let rounded = (2 * scaled + denominator).div_euclid(2 * denominator);
        assert_eq!(i128::from(frame.pts.0), rounded, "{packet:?} of {base}");
    }
    for (stream, told) in reader.streams().iter().zip(&probed.streams) {
        if let NutKind::Video { width, height } = stream.kind {
            assert_eq!(
                (Some(width.into()), Some(height.into())),
                (told["width"].as_u64(), told["height"].as_u64())
            );
        }
        let extradata = told["extradata_hash"].as_str().unwrap_or("none");
        assert!(
            extradata == hash(&stream.extradata)
                || stream.extradata.is_empty() && extradata == "none"
        );
    }
    assert_eq!(reader.streams().len(), probed.streams.len());
    reader.finish().unwrap();
    // A byte at a time only where that takes no minutes.
    for piece in [1, 7, 4096].map(|piece| piece.max(bytes.len() >> 18)) {
        assert_eq!(read_all(&bytes, piece).1, frames, "in pieces of {piece}");
    }
}

fn odd_pts() -> Vec<i64> {
    (0..40).map(|n| n * 33_333 + n * 7919 % 997).collect()
}

#[test]
fn timestamps_of_every_encoder_are_exact() {
    let folder = tempdir().unwrap();
    let file = folder.path().join("out.nut");
    for ffmpeg in both() {
        for encoder in [
            "libx264 -bf 0",
            "libx264 -bf 3 -avoid_negative_ts disabled",
            "libx265 -x265-params log-level=none -avoid_negative_ts disabled",
            "ffv1 -pix_fmt gray16le",
            "mjpeg",
            "rawvideo -pix_fmt gray16le",
        ] {
            let output = format!("-c:v {encoder} -f nut");
            let args = words(ODD).into_iter().chain(words(&output));
            run_at(&ffmpeg, args.chain([file.to_str().unwrap()]));
            check_file(&file, 40);
            let (_, frames) = read_all(&fs::read(&file).unwrap(), 1000);
            let mut pts: Vec<_> = frames.iter().map(|frame| frame.pts.0).collect();
            pts.sort_unstable();
            assert_eq!(pts, odd_pts(), "{encoder}");
        }
    }
}

#[test]
fn large_frames_have_checksums() {
    check(
        "-f lavfi -i testsrc2=s=640x400:r=30",
        "-frames:v 12 -c:v rawvideo -pix_fmt rgb24 -f nut",
        12,
    );
}

#[test]
fn several_streams_with_elided_beginnings() {
    // MP3 and AAC frames begin with the same bytes again and again.
    check(
        &format!("{SOUND} {SOUND} -f lavfi -i testsrc2=s=96x64:r=25:d=1"),
        "-map 0 -map 1 -map 2 -c:a:0 mp2 -c:a:1 pcm_s16le -c:v mpeg4 -f nut",
        39 + 44 + 25,
    );
}

#[test]
fn version_4_with_its_side_data_and_without_syncpoints() {
    for syncpoints in ["none", "timestamped"] {
        check(
            SOUND,
            &format!("-c:a aac -strict experimental -syncpoints {syncpoints} -f nut"),
            45,
        );
    }
}

#[test]
fn headers_repeat_in_a_long_stream() {
    // After 8 MiB.
    check(
        "-f lavfi -i color=s=1280x800:r=30",
        "-frames:v 8 -c:v rawvideo -pix_fmt yuv420p -write_index 0 -f nut",
        8,
    );
}

#[test]
fn the_nominal_rate_is_known() {
    let bytes = run_at(
        Path::new("ffmpeg"),
        words("-f lavfi -i testsrc2=s=96x64:r=30000/1001 -frames:v 2 -c:v mjpeg -f nut -"),
    );
    let (reader, _) = read_all(&bytes, usize::MAX);
    let rate = reader.streams()[0].frame_rate.unwrap();
    assert_eq!(rate.as_fraction(), (30_000, 1001));
}
