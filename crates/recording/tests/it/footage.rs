//! Packets of the real encoder, and recordings made of them as a session lays them out.

use std::{
    collections::BTreeMap,
    fs,
    io::Cursor,
    path::Path,
    process::{Command, Stdio},
    sync::OnceLock,
};

use bytes::Bytes;
use longtake_matroska::{Block, Cluster, Muxer, Reader, SegmentInfo, Track};
use serde_json::{Value, json};

pub(crate) const RECORDING_ID: &str = "20260904T120314.123Z";

/// Session time of frame `number` at 30 frames a second, to the µs as a camera would stamp it.
pub(crate) fn frame_pts(number: usize) -> i64 {
    i64::try_from(number).unwrap() * 1_000_000 / 30
}

/// An encoded stream whose first frame is at 0.
#[derive(Debug, Clone)]
pub(crate) struct Footage {
    /// The track as the encoder describes it, without a number and a name of ours.
    pub track: Track,
    /// In decode order.
    pub packets: Vec<FootagePacket>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FootagePacket {
    pub pts_us: i64,
    pub keyframe: bool,
    pub data: Bytes,
}

impl Footage {
    /// Eight seconds of H.264 at 30 frames a second with a keyframe each second.
    pub(crate) fn h264() -> &'static Self {
        static FOOTAGE: OnceLock<Footage> = OnceLock::new();
        FOOTAGE.get_or_init(|| Self::encode("testsrc2", &["-g", "30", "-bf", "0"]))
    }

    /// As [`Self::h264`], with B-frames and a keyframe each 0.8 s.
    pub(crate) fn h264_with_b_frames() -> &'static Self {
        static FOOTAGE: OnceLock<Footage> = OnceLock::new();
        FOOTAGE.get_or_init(|| {
            let options = ["-g", "24", "-bf", "2", "-x264-params", "open-gop=0"];
            Self::encode("testsrc", &options)
        })
    }

    /// As [`Self::h264`], of another size, so that a decoder needs other parameters.
    pub(crate) fn h264_smaller() -> &'static Self {
        static FOOTAGE: OnceLock<Footage> = OnceLock::new();
        FOOTAGE.get_or_init(|| {
            Self::encode("testsrc2", &["-g", "30", "-bf", "0", "-vf", "scale=32:24"])
        })
    }

    /// A hundred JSON samples a second for eight seconds.
    pub(crate) fn samples() -> Self {
        let packets = (0..800).map(|n| FootagePacket {
            pts_us: n * 10_000 + 7,
            keyframe: true,
            data: json!({"n": n, "g": [0.0, 0.1, 9.81]}).to_string().into(),
        });
        Self {
            track: Track::data(1),
            packets: packets.collect(),
        }
    }

    /// The same, `offset_us` later.
    pub(crate) fn later(&self, offset_us: i64) -> Self {
        let mut later = self.clone();
        for packet in &mut later.packets {
            packet.pts_us += offset_us;
        }
        later
    }

    /// The same without the packets from `from_us` until before `to_us`.
    pub(crate) fn without(&self, from_us: i64, to_us: i64) -> Self {
        let mut rest = self.clone();
        rest.packets
            .retain(|packet| !(from_us..to_us).contains(&packet.pts_us));
        rest
    }

    pub(crate) fn times(&self) -> Vec<i64> {
        self.packets.iter().map(|packet| packet.pts_us).collect()
    }

    fn encode(source: &str, options: &[&str]) -> Self {
        let output = Command::new("ffmpeg")
            .args(["-nostdin", "-v", "error", "-f", "lavfi", "-i"])
            .arg(format!("{source}=size=128x96:rate=30"))
            .args([
                "-frames:v",
                "240",
                "-c:v",
                "libx264",
                "-preset",
                "superfast",
            ])
            .args(["-pix_fmt", "yuv420p", "-b:v", "100k"])
            .args(options)
            .args(["-f", "matroska", "-"])
            .stderr(Stdio::inherit())
            .output()
            .unwrap();
        assert!(output.status.success());
        let mut reader = Reader::new(Cursor::new(output.stdout)).unwrap();
        let track = reader.header().tracks[0].clone();
        let mut packets = Vec::new();
        while let Some(cluster) = reader.next_cluster().unwrap() {
            packets.extend(cluster.blocks().map(|block| FootagePacket {
                // libavformat counts in milliseconds.
                pts_us: frame_pts(usize::try_from((block.pts_us * 3 + 50_000) / 100_000).unwrap()),
                keyframe: block.keyframe,
                data: block.data,
            }));
        }
        assert_eq!(packets.len(), 240);
        Self { track, packets }
    }
}

/// A stream of a [`Recorded`] recording.
#[derive(Debug, Clone)]
pub(crate) struct RecordedStream {
    pub name: &'static str,
    pub kind: &'static str,
    pub footage: Footage,
    /// How long its packets are on their way to the chunk writer.
    pub latency_us: i64,
}

pub(crate) fn video(name: &'static str, footage: Footage) -> RecordedStream {
    RecordedStream {
        name,
        kind: "video",
        footage,
        latency_us: 60_000,
    }
}

pub(crate) fn sensor(name: &'static str) -> RecordedStream {
    RecordedStream {
        name,
        kind: "data",
        footage: Footage::samples(),
        latency_us: 0,
    }
}

/// A recording that was made in memory: which packets are in which chunk, in which order.
#[derive(Debug, Clone)]
pub(crate) struct Recorded {
    pub streams: Vec<RecordedStream>,
    /// By sequence number.
    pub chunks: BTreeMap<u64, Vec<Block>>,
}

/// How long the chunks of a [`Recorded`] are.
pub(crate) const CHUNK_US: i64 = 2_000_000;

impl Recorded {
    /// Cuts as the chunk writer does: each stream goes on in the next chunk at its own first keyframe
    /// at or after the boundary, and packets are written as they arrive.
    pub(crate) fn new(streams: Vec<RecordedStream>) -> Self {
        let mut arrivals = Vec::new();
        for (index, stream) in streams.iter().enumerate() {
            let mut chunk = 0;
            let mut clock = i64::MIN;
            for packet in &stream.footage.packets {
                if packet.keyframe {
                    chunk = chunk.max(1 + u64::try_from(packet.pts_us / CHUNK_US).unwrap());
                }
                let block = Block::new(index as u64 + 1, packet.pts_us, packet.data.clone())
                    .keyframe(packet.keyframe);
                clock = clock.max(packet.pts_us + stream.latency_us);
                arrivals.push((clock, chunk, block));
            }
        }
        arrivals.sort_by_key(|(arrival, ..)| *arrival);
        let mut chunks: BTreeMap<u64, Vec<Block>> = BTreeMap::new();
        for (_, chunk, block) in arrivals {
            chunks.entry(chunk).or_default().push(block);
        }
        Self { streams, chunks }
    }

    /// One camera from the start, one that begins half a second later and has other keyframes, and a
    /// sensor.
    pub(crate) fn usual() -> Self {
        Self::new(vec![
            video("front", Footage::h264().clone()),
            video("side", Footage::h264_with_b_frames().later(500_000)),
            sensor("imu"),
        ])
    }

    /// Four small frames and as many samples: one chunk that is short enough to be cut at every byte.
    pub(crate) fn tiny() -> Self {
        let mut front = Footage::h264_smaller().clone();
        front.packets.truncate(4);
        let mut imu = sensor("imu");
        imu.footage.packets.truncate(4);
        Self::new(vec![video("front", front), imu])
    }

    /// The tracks of every chunk.
    pub(crate) fn tracks(&self) -> Vec<Track> {
        let numbered = self.streams.iter().zip(1..);
        numbered
            .map(|(stream, number)| {
                let mut track = stream.footage.track.clone().name(stream.name);
                track.number = number;
                track
            })
            .collect()
    }

    /// The JSON of a chunk's header.
    pub(crate) fn chunk_header(&self, sequence: u64) -> Value {
        let begins_us = i64::try_from(sequence - 1).unwrap() * CHUNK_US;
        let streams = self.streams.iter().map(
            |stream| json!({"name": stream.name, "kind": stream.kind, "metadata": {"at": "gate"}}),
        );
        json!({
            "version": 1,
            "recording_id": RECORDING_ID,
            "started_at": "2026-09-04T12:03:14.123Z",
            "sequence": sequence,
            "begins_pts_us": begins_us,
            "chunk_length_us": CHUNK_US,
            "clock": {
                "pts_us": begins_us,
                "realtime": jiff::Timestamp::from_microsecond(1_788_523_394_123_000 + begins_us)
                    .unwrap(),
            },
            "devices": [{"label": "gate", "type": "test"}],
            "streams": streams.collect::<Vec<_>>(),
            "host": "box",
            "program": "fieldrec 0.1.0",
        })
    }

    /// The bytes of a chunk that is still being written: the header, and each cluster.
    pub(crate) fn open_chunk(&self, sequence: u64) -> (Muxer, Vec<Bytes>) {
        self.open_chunk_with(sequence, &self.chunk_header(sequence))
    }

    /// As [`Self::open_chunk`], with another chunk header.
    pub(crate) fn open_chunk_with(&self, sequence: u64, header: &Value) -> (Muxer, Vec<Bytes>) {
        let info = SegmentInfo::default()
            .title(RECORDING_ID)
            .writing_app("fieldrec 0.1.0")
            .tag("LONGTAKE", header.to_string());
        let mut muxer = Muxer::new(info, self.tracks()).unwrap();
        let mut parts = vec![muxer.header()];
        for block in &self.chunks[&sequence] {
            parts.extend(muxer.push(block.clone()).unwrap().map(cluster_bytes));
        }
        parts.extend(muxer.flush().map(cluster_bytes));
        (muxer, parts)
    }

    /// Where each cluster of a chunk ends, and how many packets are whole by then.
    pub(crate) fn cluster_ends(&self, sequence: u64) -> ClusterEnds {
        let (_, parts) = self.open_chunk(sequence);
        let mut reader = Reader::new(Cursor::new(parts.concat())).unwrap();
        let mut ends = Vec::new();
        let mut packets = 0;
        while let Some(cluster) = reader.next_cluster().unwrap() {
            packets += cluster.blocks().count() as u64;
            ends.push((cluster.offset() + cluster.len(), packets));
        }
        ClusterEnds(ends)
    }

    /// The bytes of a finished chunk.
    pub(crate) fn finished_chunk(&self, sequence: u64) -> Vec<u8> {
        let (muxer, parts) = self.open_chunk(sequence);
        let mut bytes = parts.concat();
        let trailer = muxer.finish();
        assert_eq!(trailer.offset, bytes.len() as u64);
        bytes.extend_from_slice(&trailer.bytes);
        for patch in trailer.patches {
            let at = usize::try_from(patch.offset).unwrap();
            bytes[at..at + patch.bytes.len()].copy_from_slice(&patch.bytes);
        }
        bytes
    }

    /// Writes the chunks into `folder`, the last as the `.part` that a crash leaves, without a manifest.
    pub(crate) fn write_crashed(&self, folder: &Path) {
        let last = *self.chunks.keys().last().unwrap();
        for sequence in self.chunks.keys().copied().filter(|chunk| *chunk < last) {
            let path = folder.join(format!("{sequence:05}.mkv"));
            fs::write(path, self.finished_chunk(sequence)).unwrap();
        }
        let path = folder.join(format!("{last:05}.mkv.part"));
        fs::write(path, self.open_chunk(last).1.concat()).unwrap();
    }

    /// Writes the chunks into `folder`, all of them finished, without a manifest.
    pub(crate) fn write_finished(&self, folder: &Path) {
        for sequence in self.chunks.keys() {
            let path = folder.join(format!("{sequence:05}.mkv"));
            fs::write(path, self.finished_chunk(*sequence)).unwrap();
        }
    }
}

/// Where the clusters of a chunk end.
pub(crate) struct ClusterEnds(Vec<(u64, u64)>);

impl ClusterEnds {
    /// How many packets are whole in the first `len` bytes.
    pub(crate) fn packets_within(&self, len: usize) -> u64 {
        let whole = self.0.iter().rev().find(|(end, _)| *end <= len as u64);
        whole.map_or(0, |(_, packets)| *packets)
    }
}

fn cluster_bytes(cluster: Cluster) -> Bytes {
    cluster.parts().concat().into()
}
