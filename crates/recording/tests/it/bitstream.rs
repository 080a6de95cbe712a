//! Packets in Matroska's form, against those that ffmpeg's own Matroska writer makes.

use std::{fs, path::Path, process::Command};

use longtake_recording::{Codec, NutReader, Packager, SourcePacket, VideoParameters};
use tempfile::tempdir;

use crate::ffmpeg::{matroska, probe, run, words};

fn package(nut: &[u8]) -> Vec<SourcePacket> {
    let mut reader = NutReader::new();
    reader.push(nut);
    let mut packager = None;
    let mut packets = Vec::new();
    while let Some(frame) = reader.next_frame().unwrap() {
        let packager = packager.get_or_insert_with(|| Packager::new(&reader.streams()[0]).unwrap());
        packets.extend(packager.package(frame).unwrap());
    }
    packets
}

/// Encodes with `encoder`, copies the stream into NUT and Matroska through a file of kind `between`,
/// and compares what comes out.
#[track_caller]
fn check(encoder: &str, between: &str) {
    let folder = tempdir().unwrap();
    let file = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (source, copied) = (file(&format!("source.{between}")), file("copied.mkv"));
    run(words(encoder).into_iter().chain([source.as_str()]));
    let input = [&["-i", &source][..], &words("-c copy -map 0:v:0")].concat();
    let packets = package(&run([&input[..], &["-f", "nut", "-"]].concat()));
    run([&input[..], &[copied.as_str()]].concat());
    let (track, blocks) = matroska(fs::read(&copied).unwrap());

    assert_eq!(packets.len(), blocks.len());
    for (packet, block) in packets.iter().zip(&blocks) {
        let codec = packet.parameters.codec;
        let same = if matches!(codec, Codec::H264 | Codec::H265) {
            units(&packet.data) == units(&block.data)
        } else {
            packet.data == block.data
        };
        assert!(same, "{encoder}");
        assert_eq!(packet.keyframe, block.keyframe, "{encoder}");
    }
    let parameters = &packets[0].parameters;
    assert!(
        packets
            .iter()
            .all(|packet| packet.parameters == *parameters)
    );
    if track.codec_id == "V_MS/VFW/FOURCC" {
        // When it copies FFV1, ffmpeg falls back to the form of AVI: a header of 40 bytes before it.
        assert_eq!(parameters.codec, Codec::Ffv1);
        assert_eq!(parameters.codec_private, track.codec_private.slice(40..));
    } else {
        assert_eq!(parameters.codec_private, track.codec_private, "{encoder}");
        assert_eq!(parameters.codec.matroska_id(), track.codec_id);
    }
    let video = parameters.video.unwrap();
    let told = &probe(Path::new(&copied)).streams[0];
    assert_eq!(
        Some(u64::from(video.width)),
        told["width"].as_u64(),
        "{encoder}"
    );
    assert_eq!(
        Some(u64::from(video.height)),
        told["height"].as_u64(),
        "{encoder}"
    );
}

/// The units of a packet without zeros at their end, of which ffmpeg leaves one where a startcode with
/// three zeros follows.
fn units(mut packet: &[u8]) -> Vec<&[u8]> {
    let mut units = Vec::new();
    while let Some((len, rest)) = packet.split_first_chunk() {
        let (unit, rest) = rest.split_at(u32::from_be_bytes(*len).try_into().unwrap());
        let end = unit.iter().rposition(|&byte| byte != 0).unwrap();
        units.push(&unit[..=end]);
        packet = rest;
    }
    assert_eq!(packet, b"");
    units
}

const SOURCE: &str = "-f lavfi -i testsrc2=s=174x98:r=30 -frames:v 40";

#[test]
fn h264_is_as_ffmpeg_writes_it() {
    for options in [
        "-preset superfast -tune zerolatency -pix_fmt yuv420p",
        "-bf 3 -g 10 -pix_fmt yuv420p",
        "-pix_fmt yuv422p10le -x264-params cqm=jvt",
        "-pix_fmt yuv444p -x264-params cqm=jvt",
        "-pix_fmt gray",
        "-profile:v baseline -pix_fmt yuv420p -x264-params aud=1:repeat-headers=1",
        "-pix_fmt yuv420p -flags +ildct -x264-params interlaced=1 -vf scale=176:92",
    ] {
        check(&format!("{SOURCE} -c:v libx264 {options}"), "nut");
    }
}

/// An encoder in hardware tells nothing but its packets.
#[test]
fn a_byte_stream_alone_gives_the_same_packets() {
    for (codec, options) in [
        (
            Codec::H264,
            "-c:v libx264 -g 10 -pix_fmt yuv420p -x264-params repeat-headers=1",
        ),
        (
            Codec::H265,
            "-c:v libx265 -g 10 -pix_fmt yuv420p -x265-params log-level=none:repeat-headers=1",
        ),
        (Codec::Mjpeg, "-c:v mjpeg -pix_fmt yuvj420p"),
    ] {
        let nut = run(words(&format!("{SOURCE} {options} -f nut -")));
        let mut reader = NutReader::new();
        reader.push(&nut);
        let video = VideoParameters {
            width: 174,
            height: 98,
            fps: None,
        };
        let mut packager = Packager::for_stream(codec, video).unwrap();
        let mut packets = Vec::new();
        while let Some(frame) = reader.next_frame().unwrap() {
            packets.extend(packager.package_bytes(frame.data, frame.keyframe).unwrap());
        }
        let told = package(&nut);
        assert_eq!(packets.len(), 40, "{codec}");
        for (packet, told) in packets.iter().zip(&told) {
            assert_eq!(
                (&packet.data, packet.keyframe),
                (&told.data, told.keyframe),
                "{codec}"
            );
        }
        let parameters = &packets[0].parameters;
        assert_eq!(
            parameters.codec_private, told[0].parameters.codec_private,
            "{codec}"
        );
        assert_eq!(parameters.video, Some(video), "{codec}");
    }
    assert!(
        Packager::for_stream(
            Codec::Ffv1,
            VideoParameters {
                width: 8,
                height: 8,
                fps: None
            }
        )
        .is_err()
    );
}

#[test]
fn h264_from_byte_streams_and_mp4_is_as_ffmpeg_writes_it() {
    for between in ["h264", "ts", "mp4", "mkv"] {
        let options = "-g 10 -bf 0 -pix_fmt yuv420p";
        check(&format!("{SOURCE} -c:v libx264 {options}"), between);
    }
}

#[test]
fn h265_is_as_ffmpeg_writes_it() {
    // Without `info=0` ffmpeg puts the encoder's greeting into the configuration too.
    for (options, between) in [
        ("-tune zerolatency -pix_fmt yuv420p", "nut"),
        ("-g 10 -pix_fmt yuv422p10le", "nut"),
        ("-g 10 -pix_fmt yuv444p12le", "nut"),
        ("-g 10 -pix_fmt gray", "nut"),
        ("-g 10 -pix_fmt yuv420p -bf 0", "hevc"),
        ("-g 10 -pix_fmt yuv420p", "mp4"),
    ] {
        let x265 = "-c:v libx265 -preset superfast -x265-params log-level=none:info=0";
        check(&format!("{SOURCE} {x265} {options}"), between);
    }
}

#[test]
fn other_codecs_are_as_ffmpeg_writes_them() {
    check(
        &format!("{SOURCE} -c:v ffv1 -g 1 -level 3 -pix_fmt gray16le"),
        "nut",
    );
    check(&format!("{SOURCE} -c:v mjpeg"), "nut");
}

#[test]
fn a_source_that_changes_its_size_has_new_parameters_from_a_keyframe_on() {
    for (encoder, format) in [
        ("libx264 -preset superfast -bf 0", "h264"),
        (
            "libx265 -preset superfast -x265-params log-level=none:bframes=0",
            "hevc",
        ),
    ] {
        let part = |size: &str| {
            let line = format!(
                "-f lavfi -i testsrc2=s={size}:r=30 -frames:v 12 -c:v {encoder} -pix_fmt yuv420p -f {format} -"
            );
            run(words(&line))
        };
        let folder = tempdir().unwrap();
        let both = folder.path().join("both");
        fs::write(&both, [part("96x64"), part("128x80")].concat()).unwrap();
        let input = ["-f", format, "-i", both.to_str().unwrap()];
        let packets = package(&run([&input[..], &words("-c copy -f nut -")].concat()));
        assert_eq!(packets.len(), 24);
        let sizes: Vec<_> = packets
            .iter()
            .map(|packet| packet.parameters.video.unwrap())
            .map(|video| (video.width, video.height))
            .collect();
        assert_eq!(sizes[..12], [(96, 64); 12]);
        assert_eq!(sizes[12..], [(128, 80); 12]);
        assert!(packets[12].keyframe);
    }
}

#[test]
fn the_first_packets_of_a_camera_that_is_joined_late_wait_for_its_parameters() {
    let line = format!("{SOURCE} -c:v libx264 -g 20 -bf 0 -pix_fmt yuv420p -f h264 -");
    let stream = run(words(&line));
    // As RTSP without parameter sets in its description: the stream begins inside a group.
    let units: Vec<_> = memchr::memmem::find_iter(&stream, &[0, 0, 1]).collect();
    let second = units
        .iter()
        .find(|&&at| stream[at + 3] & 0x1F == 1)
        .unwrap();
    let nut = {
        let folder = tempdir().unwrap();
        let file = folder.path().join("late.h264");
        fs::write(&file, &stream[*second..]).unwrap();
        let output = Command::new("ffmpeg")
            .args(words("-v quiet -nostdin -f h264 -i"))
            .arg(&file)
            .args(words("-c copy -copyinkf -f nut -"))
            .output()
            .unwrap();
        output.stdout
    };
    let packets = package(&nut);
    let first_key = packets.iter().position(|packet| packet.keyframe).unwrap();
    assert!(packets.len() - first_key >= 20);
    assert_eq!(packets[first_key].parameters.video.unwrap().width, 174);
}
