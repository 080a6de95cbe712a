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

/// A packet as ffprobe sees it, or a block said the same way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Packet {
    pub(crate) stream: usize,
    pub(crate) pts_us: i64,
    pub(crate) keyframe: bool,
    pub(crate) bytes: usize,
    pub(crate) crc: u32,
}

impl Packet {
    /// A block of a file whose track numbers count from 1.
    pub(crate) fn of(block: &Block) -> Self {
        Self {
            stream: usize::try_from(block.track).unwrap() - 1,
            pts_us: block.pts_us,
            keyframe: block.keyframe,
            bytes: block.data.len(),
            crc: crc32fast::hash(&block.data),
        }
    }
}

/// All packets of a file, by an ffprobe that has nothing to complain about.
#[track_caller]
pub(crate) fn ffprobe_packets(path: &str, options: &str) -> Vec<Packet> {
    let entries = "packet=stream_index,pts_time,size,flags,data_hash";
    let options = format!(
        "-v warning {options} -show_packets -show_entries {entries} -show_data_hash crc32 \
         -of compact=p=0:nk=0"
    );
    let mut args: Vec<&str> = options.split_whitespace().collect();
    args.push(path);
    let said = run("ffprobe", &args, Vec::new());
    said.text().lines().map(packet).collect()
}

/// Reads a line such as `stream_index=0|pts_time=0.050000|size=13|flags=__|data_hash=CRC32:da33fe5c`.
fn packet(line: &str) -> Packet {
    let value = |key: &str| {
        let mut pairs = line.split('|').filter_map(|pair| pair.split_once('='));
        pairs.find(|(name, _)| *name == key).unwrap().1
    };
    Packet {
        stream: value("stream_index").parse().unwrap(),
        pts_us: value("pts_time").replace('.', "").parse().unwrap(),
        keyframe: value("flags").starts_with('K'),
        bytes: value("size").parse().unwrap(),
        crc: u32::from_str_radix(value("data_hash").strip_prefix("CRC32:").unwrap(), 16).unwrap(),
    }
}

/// What ffmpeg makes of `arguments`, written as Matroska to a pipe.
#[track_caller]
pub(crate) fn made_by_ffmpeg(arguments: &str) -> Vec<u8> {
    let args = format!("-v error -nostdin {arguments} -f matroska -");
    let said = run(
        "ffmpeg",
        &args.split_whitespace().collect::<Vec<_>>(),
        Vec::new(),
    );
    assert_eq!(said.stderr, "");
    said.stdout
}

/// A file that lives as long as this.
pub(crate) struct File(tempfile::NamedTempFile);

impl File {
    pub(crate) fn new(bytes: &[u8]) -> Self {
        let mut file = tempfile::Builder::new().suffix(".mkv").tempfile().unwrap();
        file.write_all(bytes).unwrap();
        Self(file)
    }

    pub(crate) fn path(&self) -> &str {
        self.0.path().to_str().unwrap()
    }
}

/// Runs ffmpeg on `path` by arguments in which it is `FILE`; it must have nothing to complain about.
#[track_caller]
pub(crate) fn ffmpeg(path: &str, arguments: &str) -> Vec<u8> {
    let args: Vec<&str> = arguments
        .split_whitespace()
        .map(|argument| if argument == "FILE" { path } else { argument })
        .collect();
    let said = run(
        "ffmpeg",
        &[&["-v", "warning", "-nostdin"], &args[..]].concat(),
        Vec::new(),
    );
    assert_eq!(said.stderr, "", "{arguments}");
    said.stdout
}
