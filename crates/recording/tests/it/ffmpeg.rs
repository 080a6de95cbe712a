//! The real ffmpeg: what it writes, and what ffprobe reads.

use std::{
    env,
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use bytes::Bytes;
use longtake_matroska::{Block, Reader, Track};
use serde_json::Value;

/// The ffmpeg of the system and ffmpeg 9.0, which `scripts/setup` installs.
pub(crate) fn both() -> [PathBuf; 2] {
    [PathBuf::from("ffmpeg"), ffmpeg9()]
}

fn ffmpeg9() -> PathBuf {
    if let Some(program) = env::var_os("LONGTAKE_FFMPEG9") {
        return program.into();
    }
    let installed = "../../target/ffmpeg9/imageio_ffmpeg/binaries";
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(installed);
    let mut programs = fs::read_dir(&folder).into_iter().flatten().flatten();
    programs
        .find(|entry| entry.file_name().as_encoded_bytes().starts_with(b"ffmpeg-"))
        .unwrap_or_else(|| panic!("no ffmpeg 9 in {}: run scripts/setup", folder.display()))
        .path()
}

/// Runs `ffmpeg` quietly on `args` and gives what it writes to standard output.
#[track_caller]
pub(crate) fn run_at(ffmpeg: &Path, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Vec<u8> {
    let output = Command::new(ffmpeg)
        .args(["-nostdin", "-v", "error", "-y"])
        .args(args)
        .stderr(Stdio::inherit())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", output.status);
    output.stdout
}

/// Runs the system's ffmpeg.
#[track_caller]
pub(crate) fn run(args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Vec<u8> {
    run_at(Path::new("ffmpeg"), args)
}

/// Splits at blanks; for arguments that have none.
pub(crate) fn words(line: &str) -> Vec<&str> {
    line.split_ascii_whitespace().collect()
}

/// What ffprobe says of a file.
#[derive(Debug)]
pub(crate) struct Probed {
    pub streams: Vec<Value>,
    pub packets: Vec<ProbedPacket>,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ProbedPacket {
    pub stream: usize,
    /// In ticks of the stream.
    pub pts: i64,
    pub keyframe: bool,
    /// `CRC32:` and the checksum of the bytes.
    pub hash: String,
}

#[track_caller]
pub(crate) fn probe(file: &Path) -> Probed {
    let output = Command::new("ffprobe")
        .args(words(
            "-v error -of json -show_streams -show_packets -show_data_hash CRC32",
        ))
        .arg(file)
        .stderr(Stdio::inherit())
        .output()
        .unwrap();
    assert!(output.status.success());
    let mut told: Value = serde_json::from_slice(&output.stdout).unwrap();
    let list = |value: Value| match value {
        Value::Array(values) => values,
        _ => Vec::new(),
    };
    let packets = list(told["packets"].take())
        .into_iter()
        .map(|packet| ProbedPacket {
            stream: packet["stream_index"].as_u64().unwrap().try_into().unwrap(),
            pts: packet["pts"].as_i64().unwrap(),
            keyframe: packet["flags"].as_str().unwrap().starts_with('K'),
            hash: packet["data_hash"].as_str().unwrap().to_owned(),
        });
    let packets = packets.collect();
    Probed {
        streams: list(told["streams"].take()),
        packets,
    }
}

/// As ffprobe writes it.
pub(crate) fn hash(bytes: &[u8]) -> String {
    format!("CRC32:{:08x}", crc32fast::hash(bytes))
}

/// The only track of a Matroska file, and its blocks.
pub(crate) fn matroska(file: Vec<u8>) -> (Track, Vec<Block>) {
    let mut reader = Reader::new(std::io::Cursor::new(Bytes::from(file))).unwrap();
    let [track] = &reader.header().tracks[..] else {
        panic!("{:?}", reader.header().tracks);
    };
    let track = track.clone();
    let mut blocks = Vec::new();
    while let Some(cluster) = reader.next_cluster().unwrap() {
        blocks.extend(cluster.blocks());
    }
    (track, blocks)
}

/// Checks that ffprobe and ffmpeg read a file without a word, and that it has `frames` packets of video.
#[track_caller]
pub(crate) fn check_plays(file: &Path, frames: usize) {
    let probed = Command::new("ffprobe")
        .args(words(
            "-v warning -select_streams v -show_entries packet=pts -of csv=p=0",
        ))
        .arg(file)
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&probed.stderr), "", "{file:?}");
    let packets = String::from_utf8_lossy(&probed.stdout).lines().count();
    assert_eq!(packets, frames, "{file:?}");
    let decoded = Command::new("ffmpeg")
        .args(words("-nostdin -v warning -xerror -copyts -i"))
        .arg(file)
        .args(words("-map 0:v -fps_mode passthrough -f null -"))
        .output()
        .unwrap();
    assert!(decoded.status.success(), "{file:?}");
    assert_eq!(String::from_utf8_lossy(&decoded.stderr), "", "{file:?}");
}
