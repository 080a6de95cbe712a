//! Files that ffmpeg wrote: read here as ffprobe reads them.

use std::time::Duration;

use bytes::Bytes;
use longtake_matroska::{
    Block, CopyError, DamageKind, Muxer, OpenError, Reader, ResumeError, SegmentInfo, Track,
    TrackKind,
};

use crate::tools::{File, Packet, ffprobe_packets, made_by_ffmpeg, read, run};

const PICTURES: &str = "-f lavfi -i testsrc2=s=64x48:r=20:d=2";

#[track_caller]
fn check_same_as_ffprobe(file: &[u8]) {
    let found = read(file);
    assert_eq!(found.damage, None);
    let blocks: Vec<Packet> = found.blocks().iter().map(Packet::of).collect();
    let file = File::new(file);
    let packets = ffprobe_packets(file.path(), "");
    assert!(packets.len() >= 40, "{}", packets.len());
    assert_eq!(blocks, packets);
}

#[test]
fn packets_of_every_codec_are_those_that_ffprobe_sees() {
    for codec in [
        "-c:v libx264 -g 10 -bf 2 -pix_fmt yuv420p",
        "-c:v libx265 -g 10 -preset ultrafast -x265-params log-level=none -pix_fmt yuv420p",
        "-c:v ffv1 -pix_fmt gray16le",
        "-c:v mjpeg -pix_fmt yuvj420p",
        "-c:v rawvideo -pix_fmt yuv420p",
        "-f lavfi -i sine=r=48000:d=2 -c:v libx264 -g 10 -pix_fmt yuv420p -c:a flac",
    ] {
        check_same_as_ffprobe(&made_by_ffmpeg(&format!("{PICTURES} {codec}")));
    }
}

#[test]
fn clusters_of_unknown_size_are_read_but_not_copied() {
    let live = made_by_ffmpeg(&format!(
        "{PICTURES} -c:v mjpeg -live 1 -cluster_time_limit 300"
    ));
    check_same_as_ffprobe(&live);
    let found = read(&live);
    assert!(found.clusters.len() > 3);
    assert!(!found.is_complete);

    let mut muxer = Muxer::new(SegmentInfo::default(), vec![Track::data(1)]).unwrap();
    for cluster in &found.clusters {
        let offset = cluster.offset();
        assert!(!cluster.can_be_copied());
        assert_eq!(
            muxer.copy(cluster).unwrap_err(),
            CopyError::Foreign { offset }
        );
    }
    // Cut inside the last cluster, all others are given.
    let last = found.clusters.last().unwrap();
    let cut = usize::try_from(last.offset() + last.len()).unwrap() - 5;
    let torn = read(&live[..cut]);
    assert_eq!(torn.clusters.len(), found.clusters.len() - 1);
    assert_eq!(torn.damage.unwrap().kind, DamageKind::Torn);
    assert_eq!(torn.damage.unwrap().offset, last.offset());
}

#[test]
fn a_file_with_cues_is_complete_and_its_cues_lead_to_keyframes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("whole.mkv");
    let path = path.to_str().unwrap();
    let args = format!("-v error {PICTURES} -c:v libx264 -g 10 -pix_fmt yuv420p {path}");
    let said = run(
        "ffmpeg",
        &args.split_whitespace().collect::<Vec<_>>(),
        Vec::new(),
    );
    assert_eq!(said.stderr, "");
    let file = std::fs::read(path).unwrap();

    check_same_as_ffprobe(&file);
    let found = read(&file);
    assert!(found.is_complete);
    assert!(!found.cues.is_empty());
    for cue in &found.cues {
        let mut clusters = found.clusters.iter();
        let cluster = clusters.find(|cluster| cluster.offset() == cue.cluster_offset);
        let mut blocks = cluster.unwrap().blocks();
        assert!(blocks.any(|block| block.keyframe && block.pts_us == cue.pts_us));
    }
    let reader = Reader::new(&file[..]).unwrap();
    assert_eq!(reader.header().layout_version, None);
    assert_eq!(reader.header().tick, Duration::from_millis(1));
    assert_eq!(
        Muxer::resume(reader.header()).unwrap_err(),
        ResumeError::Foreign
    );
}

#[test]
fn tracks_and_info_are_as_ffmpeg_wrote_them() {
    let file = made_by_ffmpeg(&format!(
        "{PICTURES} -f lavfi -i sine=r=48000:d=2 -c:v libx264 -pix_fmt yuv420p -c:a libopus -b:a 64k \
         -metadata title=t -metadata:s:a language=deu -metadata:s:v title=rgb \
         -metadata creation_time=2026-09-04T12:03:14Z"
    ));
    let reader = Reader::new(&file[..]).unwrap();
    let header = reader.header();
    assert_eq!(header.info.title, "t");
    assert!(header.muxing_app.starts_with("Lavf"));
    let date = header.info.date.unwrap();
    let since_1970 = date
        .duration_since(std::time::SystemTime::UNIX_EPOCH)
        .unwrap();
    assert_eq!(since_1970, Duration::from_secs(1_788_523_394));

    let [video, audio] = &header.tracks[..] else {
        panic!("{:?}", header.tracks);
    };
    assert_eq!(
        (video.number, video.codec_id.as_str()),
        (1, "V_MPEG4/ISO/AVC")
    );
    assert_eq!(video.name, "rgb");
    assert_eq!(video.codec_private[0], 1);
    assert_eq!(video.default_duration, Some(Duration::from_millis(50)));
    assert!(matches!(
        video.kind,
        TrackKind::Video {
            width: 64,
            height: 48,
            ..
        }
    ));
    assert_eq!((audio.number, audio.codec_id.as_str()), (2, "A_OPUS"));
    assert_eq!(audio.language, "deu");
    assert_eq!(audio.codec_delay, Duration::from_micros(6500));
    assert_eq!(audio.seek_pre_roll, Duration::from_millis(80));
    let TrackKind::Audio {
        sampling_hz,
        channels,
        ..
    } = audio.kind
    else {
        panic!("{:?}", audio.kind);
    };
    assert!((sampling_hz, channels) == (48_000.0, 1));
}

/// The shortest header of another writer that makes sense: a tick of 1 ms, one track that may have
/// `more` in it.
fn foreign_header(more: &[u8]) -> Vec<u8> {
    let track: &[u8] = b"\xD7\x81\x01\x83\x81\x11\x86\x8BS_TEXT/UTF8\x23\xE3\x83\x83\x0F\x42\x40";
    let track_len = u8::try_from(track.len() + more.len()).unwrap();
    [
        &b"\x1A\x45\xDF\xA3\x8B\x42\x82\x88matroska\x18\x53\x80\x67\xFF"[..],
        b"\x15\x49\xA9\x66\x84\x4D\x80\x81x",
        &[
            0x16,
            0x54,
            0xAE,
            0x6B,
            0x80 | (track_len + 2),
            0xAE,
            0x80 | track_len,
        ],
        track,
        more,
    ]
    .concat()
}

#[test]
fn a_block_of_several_frames_gives_each_its_time() {
    let mut file = foreign_header(&[]);
    // A cluster at 7 ms with a SimpleBlock at +1 ms of three frames by EBML lacing: 1, 2 and 1 byte.
    file.extend_from_slice(
        b"\x1F\x43\xB6\x75\x90\xE7\x81\x07\xA3\x8B\x81\x00\x01\x86\x02\x81\xC0abbc",
    );
    let found = read(&file);
    assert_eq!(found.damage, None);
    let lasts = Duration::from_millis(1);
    let want = [(8000, "a"), (9000, "bb"), (10_000, "c")]
        .map(|(pts_us, text)| Block::new(1, pts_us, text).duration(lasts));
    assert_eq!(found.blocks(), want);
}

/// A cluster may say where it lies in its own file, which would be wrong in another.
#[test]
fn clusters_that_know_their_place_are_read_but_not_copied() {
    let info = b"\x15\x49\xA9\x66\x84\x4D\x80\x81x";
    let info_in_us = b"\x15\x49\xA9\x66\x8A\x2A\xD7\xB1\x82\x03\xE8\x4D\x80\x81x";
    let header = foreign_header(&[]);
    let at = header.windows(info.len()).position(|it| it == info);
    let (before, after) = header.split_at(at.unwrap());
    let header = [before, info_in_us, &after[info.len()..]].concat();

    let (position, size_before) = (&b"\xA7\x81\x05"[..], &b"\xAB\x81\x05"[..]);
    for (more, is_copied) in [(&b""[..], true), (position, false), (size_before, false)] {
        let len = u8::try_from(11 + more.len()).unwrap();
        let cluster = [
            &b"\x1F\x43\xB6\x75"[..],
            &[0x80 | len],
            b"\xE7\x81\x07",
            more,
            b"\xA3\x86\x81\x00\x00\x80hi",
        ];
        let found = read(&[&header[..], &cluster.concat()].concat());
        assert_eq!(found.damage, None);
        assert_eq!(found.blocks(), [Block::new(1, 7, "hi")]);
        assert_eq!(found.clusters[0].can_be_copied(), is_copied, "{more:x?}");
    }
}

#[test]
fn void_and_tags_between_clusters_are_passed_over() {
    let mut file = foreign_header(&[]);
    let cluster = b"\x1F\x43\xB6\x75\x8B\xE7\x81\x07\xA3\x86\x81\x00\x00\x80hi";
    file.extend_from_slice(cluster);
    file.extend_from_slice(b"\xEC\x83\x00\x00\x00\x12\x54\xC3\x67\x80");
    file.extend_from_slice(cluster);
    let found = read(&file);
    assert_eq!(found.damage, None);
    assert_eq!(found.clusters.len(), 2);
    assert_eq!(found.good_until, file.len() as u64);
    assert_eq!(
        found.blocks()[1],
        Block::new(1, 7000, Bytes::from_static(b"hi"))
    );
}

#[test]
fn void_inside_any_element_is_passed_over() {
    let file = b"\x1A\x45\xDF\xA3\x8D\xEC\x80\x42\x82\x88matroska\x18\x53\x80\x67\xFF\
        \x15\x49\xA9\x66\x87\xEC\x81\x00\x4D\x80\x81x\
        \x12\x54\xC3\x67\x95\xEC\x81\x00\x73\x73\x8F\xEC\x80\x67\xC8\x8A\xEC\x80\x45\xA3\x81A\x44\x87\x81b\
        \x16\x54\xAE\x6B\x90\xEC\x81\x00\xAE\x8B\xEC\x80\xD7\x81\x01\x83\x81\x11\x86\x81x\
        \x1F\x43\xB6\x75\x92\xEC\x81\x00\xE7\x81\x07\xA0\x8A\xEC\x80\xA1\x86\x81\x00\x00\x00hi\
        \x1C\x53\xBB\x6B\x92\xEC\x80\xBB\x8E\xEC\x80\xB3\x81\x07\xB7\x87\xF7\x81\x01\xF1\x82\x00\x53";
    let found = read(file);
    assert_eq!(found.damage, None);
    assert_eq!(found.blocks(), [Block::new(1, 7000, "hi")]);
    assert_eq!(found.cues.len(), 1);
    let header = Reader::new(&file[..]).unwrap().header().clone();
    assert_eq!(header.info.tags, SegmentInfo::default().tag("A", "b").tags);
    assert_eq!(header.tracks.len(), 1);
}

#[test]
fn a_track_that_the_container_compresses_is_refused() {
    let file = foreign_header(b"\x6D\x80\x80");
    let error = Reader::new(&file[..]).unwrap_err();
    assert!(matches!(error, OpenError::Encoded { track: 1 }), "{error}");
}
