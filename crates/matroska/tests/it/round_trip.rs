//! What is written is read back, whatever the blocks; and no bytes at all upset the reader.

use std::{
    io::{self, Read},
    time::{Duration, SystemTime},
};

use longtake_matroska::{Block, Muxer, ReadError, Reader, SegmentInfo, Track};
use proptest::{collection::vec, option, prelude::*};

use crate::{
    memory::peak_of,
    tools::{Found, complete, file_of, read, read_from, small_recording},
};

fn tracks() -> Vec<Track> {
    vec![
        Track::video(1, "V_FFV1", 640, 400)
            .name("depth")
            .codec_private(vec![9; 40])
            .default_duration(Duration::from_nanos(33_366_667)),
        Track::uncompressed(2, *b"Y1\x00\x10", 4, 4),
        Track::audio(63, "A_PCM/INT/LIT", 44_100.5, 2)
            .bit_depth(16)
            .language("deu")
            .codec_delay(Duration::from_micros(6500))
            .seek_pre_roll(Duration::from_millis(80)),
        Track::data(126).name("imu"),
    ]
}

fn info() -> SegmentInfo {
    SegmentInfo::default()
        .title("a title: ä")
        .date(SystemTime::UNIX_EPOCH + Duration::from_nanos(1_788_523_394_123_456_789))
        .writing_app("a test")
        .tag("RECORDING_ID", "20260904T120314.123Z")
        .tag("EMPTY", "")
}

/// Blocks whose times go on by small steps, jump, and go back.
fn blocks() -> impl Strategy<Value = Vec<Block>> {
    let step = prop_oneof![
        8 => -40_000..60_000_i64,
        1 => 0..3_000_000_000_i64,
        1 => -3_000_000_i64..0,
    ];
    let data = prop_oneof![
        6 => vec(any::<u8>(), 0..40),
        2 => vec(any::<u8>(), 500..530),
        1 => (any::<u8>(), 0..60_000_usize).prop_map(|(byte, len)| vec![byte; len]),
    ];
    let track = prop_oneof![Just(1_u64), Just(2), Just(63), Just(126)];
    let duration_us = prop_oneof![0..40_000_u64, Just(1 << 52)];
    let block = (
        track,
        step,
        option::weighted(0.3, duration_us),
        any::<bool>(),
        data,
    );
    vec(block, 0..40).prop_map(|drafts| {
        let mut pts_us = 0_i64;
        let mut blocks = Vec::new();
        for (track, step, duration_us, keyframe, data) in drafts {
            pts_us = (pts_us + step).max(0);
            let block = Block {
                track,
                pts_us,
                duration: duration_us.map(Duration::from_micros),
                keyframe,
                data: data.into(),
            };
            blocks.push(block);
        }
        blocks
    })
}

/// What holds for every file that this crate wrote.
fn check_sound(found: &Found) {
    assert_eq!(found.damage, None);
    for cluster in &found.clusters {
        let span = cluster.last_pts_us() - cluster.first_pts_us();
        assert!(span <= 32_000, "a cluster spans {span} µs");
        assert!(cluster.can_be_copied());
    }
    for cue in &found.cues {
        let mut clusters = found.clusters.iter();
        let cluster = clusters.find(|cluster| cluster.offset() == cue.cluster_offset);
        let is_it =
            |block: Block| block.keyframe && (block.track, block.pts_us) == (cue.track, cue.pts_us);
        assert!(cluster.unwrap().blocks().any(is_it), "{cue:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn blocks_come_back_as_they_were(blocks in blocks()) {
        let file = file_of(Muxer::new(info(), tracks()).unwrap(), blocks.clone());
        let found = read(&file);
        check_sound(&found);
        prop_assert!(found.is_complete);
        prop_assert!(found.blocks() == blocks);

        let video = blocks.iter().filter(|block| block.keyframe && block.track <= 2);
        prop_assert_eq!(found.cues.is_empty(), video.count() == 0);
        prop_assert!(found.cues.iter().all(|cue| cue.track <= 2));
        prop_assert_eq!(found.cues.len() <= blocks.len(), true);
    }

    #[test]
    fn a_source_may_give_its_bytes_in_any_pieces(
        sizes in vec(1..50_usize, 1..20),
        blocks in blocks(),
    ) {
        let file = file_of(Muxer::new(info(), tracks()).unwrap(), blocks.clone());
        let pieces = Pieces { rest: &file, sizes: sizes.iter().cycle() };
        let found = read_from(Reader::new(pieces).unwrap());
        prop_assert!(found.is_complete);
        prop_assert!(found.blocks() == blocks);
    }

    #[test]
    fn copied_clusters_keep_their_bytes(first in blocks(), second in blocks()) {
        let mut muxer = Muxer::new(info(), tracks()).unwrap();
        let mut file = muxer.header().to_vec();
        let mut raw = Vec::new();
        for blocks in [&first, &second] {
            let chunk = file_of(Muxer::new(info(), tracks()).unwrap(), blocks.clone());
            for cluster in read(&chunk).clusters {
                let copied = muxer.copy(&cluster).unwrap();
                prop_assert_eq!(copied.offset(), file.len() as u64);
                copied.write_to(&mut file).unwrap();
                raw.push(cluster.raw().clone());
            }
        }
        let file = complete(muxer, file);
        let found = read(&file);
        check_sound(&found);
        prop_assert!(found.is_complete);
        prop_assert!(found.blocks() == [first, second].concat());
        prop_assert!(found.clusters.iter().map(|cluster| cluster.raw()).eq(raw.iter()));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn no_bytes_upset_the_reader(file in any_file()) {
        check_bounded(&file);
    }
}

/// Bytes that are nothing, and bytes that are nearly a file.
fn any_file() -> impl Strategy<Value = Vec<u8>> {
    let (muxer, blocks) = small_recording();
    let ours = file_of(muxer, blocks);
    let header_len = usize::try_from(Reader::new(&ours[..]).unwrap().header().len).unwrap();
    // Another writer's file is not held to checksums, so that damage gets further.
    let foreign = {
        let mut file = ours.clone();
        file.extend_from_within(header_len..);
        let name = b"longtake-matroska layout";
        let at = file
            .windows(name.len())
            .position(|bytes| bytes == name)
            .unwrap();
        file[at] = b'L';
        without_checksums(file)
    };
    assert!(!read(&foreign).clusters.is_empty());
    let bent = (
        prop_oneof![Just(ours), Just(foreign)],
        vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        option::of((
            any::<prop::sample::Index>(),
            any::<prop::sample::Index>(),
            vec(any::<u8>(), 0..12),
        )),
    );
    let bent = bent.prop_map(|(mut file, bytes, spliced)| {
        for (at, byte) in bytes {
            let at = at.index(file.len());
            file[at] = byte;
        }
        if let Some((from, len, with)) = spliced {
            let from = from.index(file.len());
            let to = file.len().min(from + len.index(20));
            file.splice(from..to, with);
        }
        file
    });
    let signature = b"\x1A\x45\xDF\xA3\x8B\x42\x82\x88matroska\x18\x53\x80\x67\xFF";
    prop_oneof![
        1 => vec(any::<u8>(), 0..300),
        1 => vec(any::<u8>(), 0..300).prop_map(|rest| [&signature[..], &rest].concat()),
        6 => bent,
    ]
}

/// Makes each CRC-32 element a Void.
fn without_checksums(mut file: Vec<u8>) -> Vec<u8> {
    for at in 0..file.len() - 1 {
        if file[at..at + 2] == [0xBF, 0x84] {
            file[at] = 0xEC;
        }
    }
    file
}

/// Reads all of `file`, and holds the reader to its bound: 1 MiB of room that it makes before it sees
/// the bytes, and a multiple of what it has seen.
#[track_caller]
fn check_bounded(file: &[u8]) {
    let (_, peak) = peak_of(|| {
        let Ok(mut reader) = Reader::new(file) else {
            return;
        };
        while let Ok(Some(cluster)) = reader.next_cluster() {
            assert!(cluster.offset() + cluster.len() <= file.len() as u64);
            for block in cluster.blocks() {
                assert!(block.data.len() <= cluster.raw().len());
            }
        }
        assert!(reader.good_until() <= file.len() as u64);
    });
    let bound = (1 << 20) + (64 << 10) + 40 * file.len();
    assert!(peak <= bound, "{peak} bytes for a file of {}", file.len());
}

#[test]
fn memory_follows_the_bytes_and_not_their_claims() {
    let (muxer, _) = small_recording();
    let header = muxer.header();
    let claim = |id: &[u8], size: u64| [&header, id, &(size | 1 << 56).to_be_bytes()[..]].concat();
    // Of a cluster of 256 MiB only the head is there.
    check_bounded(&claim(b"\x1F\x43\xB6\x75", 256 << 20));
    check_bounded(&claim(b"\x1C\x53\xBB\x6B", 16 << 20));
    check_bounded(&claim(b"\xEC", 1 << 40));

    // As many tracks, tags, cues and blocks as fit.
    let signature = b"\x1A\x45\xDF\xA3\x8B\x42\x82\x88matroska\x18\x53\x80\x67\xFF";
    let info = b"\x15\x49\xA9\x66\x84\x4D\x80\x81x";
    let element = |id: &[u8], data: &[u8], times: usize| {
        let data = data.repeat(times);
        [id, &(data.len() as u64 | 1 << 56).to_be_bytes(), &data].concat()
    };
    let track = b"\xAE\x89\xD7\x81\x01\x83\x81\x11\x86\x81x";
    let tracks = |times| element(b"\x16\x54\xAE\x6B", track, times);
    let tags = |times| {
        let simple = element(b"\x73\x73", b"\x67\xC8\x83\x45\xA3\x80", times);
        element(b"\x12\x54\xC3\x67", &simple, 1)
    };
    let cluster = element(b"\x1F\x43\xB6\x75", b"\xE7\x81\x00", 1);
    let blocks = {
        let many = b"\xA3\x84\x81\x00\x00\x80".repeat(300_000);
        element(
            b"\x1F\x43\xB6\x75",
            &[b"\xE7\x81\x00", &many[..]].concat(),
            1,
        )
    };
    let point = element(b"\xBB", b"\xB7\x86\xF7\x81\x01\xF1\x81\x00", 300_000);
    let cues = element(
        b"\x1C\x53\xBB\x6B",
        &[b"\xBB\x83\xB3\x81\x00", &point[..]].concat(),
        1,
    );
    check_bounded(&[&signature[..], info, &tracks(300_000)].concat());
    check_bounded(&[&signature[..], info, &tags(500_000), &tracks(1), &cluster].concat());
    check_bounded(&[&signature[..], info, &tracks(1), &blocks].concat());
    check_bounded(&[&signature[..], info, &tracks(1), &cluster, &cues].concat());
}

#[test]
fn header_comes_back_as_it_was() {
    let muxer = Muxer::new(info(), tracks()).unwrap();
    let bytes = muxer.header();
    let reader = Reader::new(&bytes[..]).unwrap();
    let header = reader.header();
    assert_eq!(header.info, info());
    assert_eq!(header.tracks, tracks());
    assert_eq!(header.layout_version, Some(1));
    assert_eq!(header.tick, Duration::from_micros(1));
    assert_eq!(header.duration, None);
    assert_eq!(header.len, bytes.len() as u64);
}

#[test]
fn a_source_that_fails_is_not_taken_for_damage() {
    let (muxer, blocks) = small_recording();
    let file = file_of(muxer, blocks);
    let whole = read(&file);
    let end_of_second = whole.clusters[2].offset();
    let cut = usize::try_from(end_of_second).unwrap() + 20;
    let mut reader = Reader::new((&file[..cut]).chain(Failing)).unwrap();
    assert!(reader.next_cluster().unwrap().is_some());
    assert!(reader.next_cluster().unwrap().is_some());
    for _ in 0..2 {
        let error = reader.next_cluster().unwrap_err();
        let ReadError::Io { offset, source } = error else {
            panic!("{error}");
        };
        assert_eq!(offset, end_of_second);
        assert_eq!(source.kind(), io::ErrorKind::TimedOut);
    }
    assert_eq!(reader.good_until(), end_of_second);
    assert!(!reader.is_complete());
}

struct Failing;

impl Read for Failing {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Err(io::ErrorKind::TimedOut.into())
    }
}

/// Gives its bytes in pieces of the given sizes.
struct Pieces<'a, S> {
    rest: &'a [u8],
    sizes: S,
}

impl<'a, S: Iterator<Item = &'a usize>> Read for Pieces<'a, S> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let size = (*self.sizes.next().unwrap()).min(buf.len());
        self.rest.read(&mut buf[..size])
    }
}
