//! Real ffmpeg and ffprobe, and files to feed them.

use std::{
    io::{Read, Write},
    process::{Command, Stdio},
    time::Duration,
};

use longtake_matroska::{
    Block, Cue, Damage, Muxer, ReadError, Reader, SegmentInfo, StoredCluster, Track,
};

/// What a program said; it ended well.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: String,
}

impl Said {
    /// The standard output as text, of a program that had nothing to complain about.
    #[track_caller]
    pub(crate) fn text(&self) -> &str {
        assert_eq!(self.stderr, "");
        std::str::from_utf8(&self.stdout).unwrap()
    }
}

/// Runs `program` on `input`, and takes no failure.
#[track_caller]
pub(crate) fn run(program: &str, args: &[&str], input: Vec<u8>) -> Said {
    let mut child = Command::new(program)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let feeder = std::thread::spawn(move || stdin.write_all(&input));
    let output = child.wait_with_output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{program} {args:?}: {stderr}");
    feeder.join().unwrap().unwrap();
    Said {
        stdout: output.stdout,
        stderr,
    }
}

/// The whole file that `muxer` makes of `blocks`, completed.
pub(crate) fn file_of(mut muxer: Muxer, blocks: impl IntoIterator<Item = Block>) -> Vec<u8> {
    let mut file = muxer.header().to_vec();
    for block in blocks {
        if let Some(cluster) = muxer.push(block).unwrap() {
            assert_eq!(cluster.offset(), file.len() as u64);
            cluster.write_to(&mut file).unwrap();
            assert_eq!(cluster.offset() + cluster.len(), file.len() as u64);
        }
    }
    complete(muxer, file)
}

/// Appends and patches what completes `file`.
pub(crate) fn complete(muxer: Muxer, mut file: Vec<u8>) -> Vec<u8> {
    let trailer = muxer.finish();
    assert_eq!(trailer.offset, file.len() as u64);
    file.extend_from_slice(&trailer.bytes);
    for patch in trailer.patches {
        let start = usize::try_from(patch.offset).unwrap();
        file[start..start + patch.bytes.len()].copy_from_slice(&patch.bytes);
    }
    file
}

/// What a reader found in a file.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) clusters: Vec<StoredCluster>,
    pub(crate) damage: Option<Damage>,
    pub(crate) good_until: u64,
    pub(crate) is_complete: bool,
    pub(crate) cues: Vec<Cue>,
}

impl Found {
    pub(crate) fn blocks(&self) -> Vec<Block> {
        self.clusters
            .iter()
            .flat_map(StoredCluster::blocks)
            .collect()
    }
}

/// Reads all that is good of a file whose header is.
#[track_caller]
pub(crate) fn read(file: &[u8]) -> Found {
    read_from(Reader::new(file).unwrap())
}

#[track_caller]
pub(crate) fn read_from<R: Read>(mut reader: Reader<R>) -> Found {
    let mut clusters = Vec::new();
    let damage = loop {
        match reader.next_cluster() {
            Ok(Some(cluster)) => {
                assert!(cluster.offset() + cluster.len() <= reader.good_until());
                clusters.push(cluster);
            }
            Ok(None) => break None,
            Err(ReadError::Damaged(damage)) => break Some(damage),
            Err(error) => panic!("{error}"),
        }
    };
    // Asked again, it says the same.
    match (reader.next_cluster(), damage) {
        (Ok(None), None) => {}
        (Err(ReadError::Damaged(again)), Some(first)) => assert_eq!(again, first),
        (other, _) => panic!("{other:?}"),
    }
    Found {
        clusters,
        damage,
        good_until: reader.good_until(),
        is_complete: reader.is_complete(),
        cues: reader.cues().to_vec(),
    }
}

/// A muxer of a video and a data track, and ten blocks for it of every kind: with and without a
/// duration, keyframes and others, payloads beside their heads and apart.
pub(crate) fn small_recording() -> (Muxer, Vec<Block>) {
    let info = SegmentInfo::default()
        .title("small")
        .tag("RECORDING_ID", "x");
    let video = Track::video(1, "V_MJPEG", 16, 16).name("rgb");
    let data = Track::data(2).name("imu");
    let muxer = Muxer::new(info, vec![video, data]).unwrap();
    let mut blocks = Vec::new();
    for n in 0..5_u8 {
        let pts_us = 1_000_003 + i64::from(n) * 33_367;
        let picture = Block::new(1, pts_us, vec![n; if n == 3 { 600 } else { 20 }]);
        blocks.push(picture.keyframe(n % 2 == 0));
        let json = format!("{{\"n\":{n}}}");
        let reading = Block::new(2, pts_us - 7, json).keyframe(n % 3 == 0);
        blocks.push(reading.duration(Duration::from_micros(u64::from(n) * 10_000)));
    }
    (muxer, blocks)
}
