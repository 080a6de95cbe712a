//! What a muxer refuses, where a cluster ends, and that nothing is lost either way.

use std::{
    io::{self, IoSlice, Write},
    time::Duration,
};

use bytes::Bytes;
use longtake_matroska::{
    Block, BlockError, CopyError, MAX_BLOCK_BYTES, MAX_PTS_US, Muxer, Reader, SegmentInfo, Track,
    TrackError,
};

use crate::tools::{complete, file_of, read, small_recording};

fn muxer() -> Muxer {
    let tracks = vec![Track::video(1, "V_MJPEG", 16, 16), Track::data(2)];
    Muxer::new(SegmentInfo::default(), tracks).unwrap()
}

#[track_caller]
fn check_refused(tracks: Vec<Track>, want: &str) {
    let error: TrackError = Muxer::new(SegmentInfo::default(), tracks).unwrap_err();
    assert_eq!(error.to_string(), want);
}

#[test]
fn tracks_that_matroska_has_no_room_for_are_refused() {
    let video = |width, height| Track::video(1, "V_MJPEG", width, height);
    check_refused(vec![], "no track was given");
    check_refused(vec![Track::data(0)], "track number 0 is not in 1..=126");
    check_refused(vec![Track::data(127)], "track number 127 is not in 1..=126");
    check_refused(
        vec![Track::data(3), Track::data(4), Track::data(3)],
        "track number 3 was given twice",
    );
    check_refused(vec![video(0, 1)], "track 1 has a width or height of zero");
    check_refused(vec![video(1, 0)], "track 1 has a width or height of zero");
    check_refused(vec![Track::video(9, "", 1, 1)], "track 9 has no codec ID");
    check_refused(
        vec![Track::video(1, "V_UNCOMPRESSED", 1, 1)],
        "track 1 is uncompressed and does not say how its pixels lie",
    );
    for hz in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        check_refused(
            vec![Track::audio(1, "A_FLAC", hz, 1)],
            "track 1 has no positive sampling rate",
        );
    }
    check_refused(
        vec![Track::audio(1, "A_FLAC", 8e3, 0)],
        "track 1 has no channel",
    );
    check_refused(
        vec![Track::data(1).default_duration(Duration::ZERO)],
        "track 1 has a default duration of zero",
    );
}

#[test]
fn a_header_is_written_as_large_as_it_is_read() {
    let limit = 4 << 20;
    let with = |bytes: usize| {
        let track = Track::data(1).codec_private(vec![0; bytes]);
        Muxer::new(SegmentInfo::default(), vec![track])
    };
    let Err(TrackError::TooLarge { bytes }) = with(limit) else {
        panic!("a header above the limit was taken");
    };
    let largest = 2 * limit - bytes;
    assert!(with(largest + 1).is_err());
    let file = with(largest).unwrap().header();
    assert_eq!(file.len(), limit);
    assert_eq!(Reader::new(&file[..]).unwrap().header().len, limit as u64);
}

#[test]
fn blocks_that_cannot_be_written_leave_the_muxer_as_it_was() {
    let mut muxer = muxer();
    let held_back = Block::new(1, 40_000, "a picture");
    assert!(muxer.push(held_back.clone()).unwrap().is_none());

    let late = MAX_PTS_US;
    let huge = Bytes::from(vec![0; MAX_BLOCK_BYTES + 1]);
    for (block, want) in [
        (Block::new(3, 0, ""), BlockError::UnknownTrack { track: 3 }),
        (
            Block::new(1, -1, ""),
            BlockError::BeforeZero {
                track: 1,
                pts_us: -1,
            },
        ),
        (
            Block::new(2, late + 1, ""),
            BlockError::TooLate {
                track: 2,
                pts_us: late + 1,
            },
        ),
        (
            Block::new(2, late, "").duration(Duration::from_micros(1)),
            BlockError::TooLate {
                track: 2,
                pts_us: late,
            },
        ),
        (
            Block::new(2, 0, "").duration(Duration::MAX),
            BlockError::TooLate {
                track: 2,
                pts_us: 0,
            },
        ),
        (
            Block::new(1, 0, huge),
            BlockError::TooLarge {
                track: 1,
                bytes: MAX_BLOCK_BYTES + 1,
            },
        ),
    ] {
        assert_eq!(muxer.push(block).unwrap_err(), want);
    }
    assert_eq!(
        BlockError::BeforeZero {
            track: 1,
            pts_us: -1
        }
        .to_string(),
        "block of track 1 at -1 µs, before the time zero of the file"
    );

    let header = muxer.header().to_vec();
    let found = read(&complete(muxer, header));
    assert_eq!(found.blocks(), [held_back]);
}

#[test]
fn the_ends_of_time_are_written_and_read() {
    let blocks = [
        Block::new(1, 0, "first"),
        Block::new(1, MAX_PTS_US, "last"),
        Block::new(1, 0, "").duration(Duration::from_micros(MAX_PTS_US.unsigned_abs())),
    ];
    let found = read(&file_of(muxer(), blocks.clone()));
    assert_eq!(found.blocks(), blocks);
    assert!(found.is_complete);
}

#[test]
fn a_cluster_ends_at_32_ms_in_either_direction() {
    for (times, clusters) in [
        (&[10_000, 42_000][..], 1),
        (&[10_000, 42_001], 2),
        (&[42_000, 10_000], 1),
        (&[42_001, 10_000], 2),
        (&[20_000, 42_000, 10_000], 1),
        (&[20_000, 42_000, 9_999], 2),
    ] {
        let blocks = times.iter().map(|pts_us| Block::new(2, *pts_us, "x"));
        let found = read(&file_of(muxer(), blocks));
        assert_eq!(found.clusters.len(), clusters, "{times:?}");
        let got: Vec<i64> = found.blocks().iter().map(|block| block.pts_us).collect();
        assert_eq!(got, times);
    }
}

#[test]
fn a_cluster_holds_4_mib_or_one_block_and_goes_into_one_writev() {
    let mut muxer = muxer();
    let mib = Bytes::from(vec![7; 1 << 20]);
    for _ in 0..4 {
        assert!(muxer.push(Block::new(1, 0, mib.clone())).unwrap().is_none());
    }
    let full = muxer
        .push(Block::new(1, 0, "one byte more"))
        .unwrap()
        .unwrap();
    assert!(full.len() > 4 << 20);
    let large = Bytes::from(vec![7; 5 << 20]);
    let small = muxer
        .push(Block::new(1, 0, large.clone()))
        .unwrap()
        .unwrap();
    assert!(small.len() < 100);
    let large_alone = muxer.push(Block::new(1, 0, "x")).unwrap().unwrap();
    // The payload itself, not a copy of it.
    let same = |part: &Bytes| part.as_ptr() == large.as_ptr();
    assert!(large_alone.parts().iter().any(same));

    let apart = Bytes::from(vec![1; 600]);
    let mut clusters = vec![];
    for _ in 0..1200 {
        clusters.extend(muxer.push(Block::new(1, 0, apart.clone())).unwrap());
    }
    clusters.extend(muxer.flush());
    assert_eq!(clusters.len(), 3);
    assert!(
        clusters
            .iter()
            .all(|cluster| cluster.io_slices().len() <= 1024)
    );
    assert!(muxer.flush().is_none());
}

#[test]
fn a_writer_that_takes_little_at_a_time_gets_all_bytes() {
    let (mut muxer, blocks) = small_recording();
    for block in blocks {
        muxer.push(block).unwrap();
        let Some(cluster) = muxer.flush() else {
            continue;
        };
        let mut slow = Slow::default();
        cluster.write_to(&mut slow).unwrap();
        assert_eq!(slow.taken, cluster.parts().concat());
        assert_eq!(slow.taken.len() as u64, cluster.len());
        let mut full = &mut [0; 30][..];
        let error = cluster.write_to(&mut full).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WriteZero);
    }
}

#[test]
fn clusters_that_do_not_fit_are_neither_kept_nor_copied() {
    let (muxer_of_small, blocks) = small_recording();
    let found = read(&file_of(muxer_of_small, blocks.clone()));
    let [first, second, ..] = &found.clusters[..] else {
        panic!("{found:?}");
    };

    let mut pending = muxer();
    pending.push(blocks[0].clone()).unwrap();
    assert_eq!(pending.copy(first).unwrap_err(), CopyError::NotFlushed);

    let mut without_data = Muxer::new(
        SegmentInfo::default(),
        vec![Track::video(1, "V_MJPEG", 16, 16)],
    )
    .unwrap();
    let error = without_data.copy(first).unwrap_err();
    assert_eq!(error, CopyError::UnknownTrack { track: 2 });

    let (mut same, _) = small_recording();
    let (offset, expected) = (second.offset(), first.offset());
    let error = same.keep(second).unwrap_err();
    assert_eq!(error, CopyError::OutOfPlace { offset, expected });
    same.keep(first).unwrap();
    same.keep(second).unwrap();
}

#[test]
fn a_file_without_blocks_is_complete_and_has_no_cues() {
    let muxer = muxer();
    let header = muxer.header().to_vec();
    let file = complete(muxer, header.clone());
    assert_eq!(file.len(), header.len());
    let found = read(&file);
    assert!(found.is_complete && found.clusters.is_empty() && found.cues.is_empty());
}

#[test]
fn a_file_without_video_has_sparse_cues() {
    let muxer = Muxer::new(SegmentInfo::default(), vec![Track::data(1)]).unwrap();
    let blocks = (0..2000).map(|n| Block::new(1, n * 10_000, "{}"));
    let found = read(&file_of(muxer, blocks));
    let times: Vec<i64> = found.cues.iter().map(|cue| cue.pts_us).collect();
    assert_eq!(times, [0, 5_000_000, 10_000_000, 15_000_000]);
}

#[test]
fn the_patch_lies_in_the_first_sector() {
    let (muxer, blocks) = small_recording();
    let header_len = muxer.header().len() as u64;
    let mut muxer = muxer;
    for block in blocks {
        muxer.push(block).unwrap();
    }
    let trailer = muxer.finish();
    assert!(trailer.offset >= header_len);
    let [patch] = &trailer.patches[..] else {
        panic!("{trailer:?}");
    };
    assert!(patch.offset + patch.bytes.len() as u64 <= 512);
}

/// Takes a few bytes at a time, and is interrupted every other time.
#[derive(Default)]
struct Slow {
    taken: Vec<u8>,
    calls: usize,
}

impl Write for Slow {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.write_vectored(&[IoSlice::new(buf)])
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.calls += 1;
        if self.calls.is_multiple_of(2) {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let all: Vec<u8> = slices.iter().flat_map(|slice| slice.to_vec()).collect();
        let taken = &all[..all.len().min(17)];
        self.taken.extend_from_slice(taken);
        Ok(taken.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
