//! `manifest.json`: what a recording is and holds, beside its chunks.

mod by_name;

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
};

use jiff::Timestamp;
use longtake_durable::{ReplaceError, Storage};
use serde::{Deserialize, Serialize};

use crate::{
    capture::DeviceSummary,
    clock::ClockPair,
    counts::{Counts, Gap},
    pts::Pts,
    recording_id::RecordingId,
    stream::{Codec, CodecParameters, StreamIndex, StreamKind, StreamSpec},
};

/// The name of the manifest in a recording's folder.
pub const MANIFEST_FILE: &str = "manifest.json";

/// The version of the manifest that this crate writes, and the newest that it reads.
pub const MANIFEST_VERSION: u32 = 1;

/// The largest manifest that is read: a month in chunks of five seconds takes 150 MB.
const MAX_BYTES: usize = 256 << 20;

/// What a recording is and holds. Serialises to `manifest.json`.
///
/// It is rewritten as chunks close, so that a crash leaves one that is true up to then: a recording
/// without [`stopped_at`](Self::stopped_at) is going on, or was never stopped in order.
///
/// Fields that a reader does not know are passed over. A change that would mislead such a reader,
/// also a new codec or reason, comes with a new version, which an older reader refuses.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Manifest {
    /// The version of the format: 1.
    pub version: u32,
    /// The recording's name.
    pub recording_id: RecordingId,
    /// What the wall clock said at session time 0.
    pub started_at: Timestamp,
    /// What the wall clock said at the stop; `null` as long as there was none. A recovered recording
    /// has the time of its last packet.
    pub stopped_at: Option<Timestamp>,
    /// From session time 0 to the stop, in seconds; up to the newest closed chunk before that.
    pub duration_s: f64,
    /// The machine that recorded.
    pub host: String,
    /// The program that recorded, and its version.
    pub program: String,
    /// The devices, in the order in which they were given.
    pub devices: Vec<DeviceSummary>,
    /// The streams by name. A JSON object in the file, in the order of the track numbers; no two
    /// have one name.
    #[serde(with = "by_name")]
    pub streams: Vec<ManifestStream>,
    /// The finished chunks, in the order of time.
    pub chunks: Vec<ManifestChunk>,
    /// Whether the recording had to be recovered after a crash or damage.
    pub recovered: bool,
    /// Bytes that a recovery could not make sense of and kept beside the chunks; absent when there
    /// are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub set_aside: Vec<SetAside>,
}

/// One stream in a [`Manifest`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ManifestStream {
    /// Its name: the key in the JSON object.
    #[serde(skip)]
    pub name: String,
    /// What it carries.
    pub kind: StreamKind,
    /// The codec; `null` before its first packet.
    pub codec: Option<Codec>,
    /// Width in pixels; `null` before the first packet, and for streams that are not video.
    pub width: Option<u32>,
    /// Height in pixels; `null` before the first packet, and for streams that are not video.
    pub height: Option<u32>,
    /// Nominal frames a second, where they are known. PTS say when each frame really was.
    pub fps: Option<f64>,
    /// What the user wanted to be remembered with it.
    pub metadata: BTreeMap<String, String>,
    /// Session time of the first packet in a chunk, in µs.
    pub first_pts_us: Option<Pts>,
    /// Session time of the last packet in a chunk, in µs.
    pub last_pts_us: Option<Pts>,
    /// What became of everything that was captured.
    pub counts: Counts,
    /// Where packets are missing, in the order of time.
    pub gaps: Vec<Gap>,
}

/// One finished chunk in a [`Manifest`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManifestChunk {
    /// Its name in the recording's folder.
    pub file: String,
    /// Session time of its earliest packet, in µs.
    pub first_pts_us: Pts,
    /// Session time of its latest packet, in µs.
    pub last_pts_us: Pts,
    /// Its size.
    pub bytes: u64,
    /// How many packets of each stream it holds; streams without any are absent.
    pub packets: BTreeMap<String, u64>,
    /// What the wall clock said when it was opened.
    pub clock: ClockPair,
}

/// Bytes that are in no chunk any more. Nothing reads them; they may be deleted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetAside {
    /// The file in the recording's folder that keeps them.
    pub file: String,
    /// The chunk that they belonged to, by its finished name.
    pub chunk: String,
    /// Where in that chunk they were, in bytes from its start.
    pub offset: u64,
    /// How many there are.
    pub bytes: u64,
}

/// Why a manifest could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadManifestError {
    /// The file cannot be read; [`NotFound`](io::ErrorKind::NotFound) when there is none.
    #[error("cannot read {path}")]
    Io {
        /// The manifest.
        path: PathBuf,
        /// What the file system said.
        source: io::Error,
    },
    /// A newer program wrote it.
    #[error(
        "{path} has version {version}, and this program reads versions up to {MANIFEST_VERSION}: \
         use a newer one"
    )]
    Newer {
        /// The manifest.
        path: PathBuf,
        /// Its version.
        version: u64,
    },
    /// It is torn, or was never a manifest.
    #[error("{path} is no manifest: {reason}")]
    Damaged {
        /// The manifest.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}

impl Manifest {
    /// The manifest of a recording that begins.
    pub fn new(
        recording_id: RecordingId,
        started_at: Timestamp,
        streams: &[StreamSpec],
        devices: Vec<DeviceSummary>,
    ) -> Self {
        Self {
            version: MANIFEST_VERSION,
            recording_id,
            started_at,
            stopped_at: None,
            duration_s: 0.0,
            host: String::new(),
            program: String::new(),
            devices,
            streams: streams.iter().map(ManifestStream::new).collect(),
            chunks: Vec::new(),
            recovered: false,
            set_aside: Vec::new(),
        }
    }

    /// Sets the machine that records.
    #[must_use]
    pub fn host(mut self, host: impl Into<String>) -> Self {
        self.host = host.into();
        self
    }

    /// Sets the program that records, and its version.
    #[must_use]
    pub fn program(mut self, program: impl Into<String>) -> Self {
        self.program = program.into();
        self
    }

    /// Takes note of a chunk that was finished.
    pub fn add_chunk(&mut self, chunk: ManifestChunk) {
        self.duration_s = self.duration_s.max(seconds(chunk.last_pts_us));
        let later = |other: &ManifestChunk| {
            (other.first_pts_us, &other.file) > (chunk.first_pts_us, &chunk.file)
        };
        // Chunks mostly finish in the order of time.
        let behind = self.chunks.iter().rev().take_while(|other| later(other));
        let place = self.chunks.len() - behind.count();
        self.chunks.insert(place, chunk);
    }

    /// Takes note that the recording was stopped at session time `pts`, when the wall clock said
    /// `realtime`.
    pub fn stop(&mut self, pts: Pts, realtime: Timestamp) {
        self.duration_s = seconds(pts);
        self.stopped_at = Some(realtime);
    }

    /// The stream at `index`.
    ///
    /// # Panics
    ///
    /// Panics if there is no such stream: indices are those of the declared streams.
    pub fn stream_mut(&mut self, index: StreamIndex) -> &mut ManifestStream {
        &mut self.streams[index.0]
    }

    /// The stream called `name`, if there is one.
    pub fn stream(&self, name: &str) -> Option<&ManifestStream> {
        self.streams.iter().find(|stream| stream.name == name)
    }

    /// Writes the manifest into the recording's folder, in one step and durably: a crash leaves the
    /// one before or this one.
    ///
    /// # Errors
    ///
    /// Those of [`longtake_durable::replace`].
    ///
    /// # Panics
    ///
    /// Never: every manifest can be expressed as JSON.
    pub fn write(&self, storage: &dyn Storage, folder: &Path) -> Result<(), ReplaceError> {
        let mut json = serde_json::to_vec_pretty(self).expect("all keys are text");
        json.push(b'\n');
        longtake_durable::replace(storage, &folder.join(MANIFEST_FILE), &json)
    }

    /// Reads the manifest in a recording's folder.
    ///
    /// # Errors
    ///
    /// When there is none, when it is torn or larger than 256 MiB, and when its version is newer
    /// than [`MANIFEST_VERSION`].
    pub fn read(storage: &dyn Storage, folder: &Path) -> Result<Self, ReadManifestError> {
        let path = folder.join(MANIFEST_FILE);
        match longtake_durable::read(storage, &path, MAX_BYTES) {
            Ok(json) => parse(&json, path),
            Err(source) => Err(ReadManifestError::Io { path, source }),
        }
    }
}

impl ManifestStream {
    /// A stream that has no packet yet.
    pub fn new(spec: &StreamSpec) -> Self {
        Self {
            name: spec.name.clone(),
            kind: spec.kind,
            codec: None,
            width: None,
            height: None,
            fps: None,
            metadata: spec.metadata.clone(),
            first_pts_us: None,
            last_pts_us: None,
            counts: Counts::default(),
            gaps: Vec::new(),
        }
    }

    /// Takes note of what its packets are encoded with.
    pub fn set_parameters(&mut self, parameters: &CodecParameters) {
        self.codec = Some(parameters.codec);
        self.width = parameters.video.map(|video| video.width);
        self.height = parameters.video.map(|video| video.height);
        self.fps = parameters
            .video
            .and_then(|video| video.fps)
            .map(|fps| fps.as_f64());
    }

    /// Takes note of a packet at `pts` that went into a chunk.
    pub fn note_packet(&mut self, pts: Pts) {
        self.first_pts_us = Some(self.first_pts_us.map_or(pts, |first| first.min(pts)));
        self.last_pts_us = Some(self.last_pts_us.map_or(pts, |last| last.max(pts)));
    }
}

#[derive(Deserialize)]
struct Versioned {
    version: u64,
}

fn parse(json: &[u8], path: PathBuf) -> Result<Manifest, ReadManifestError> {
    let damaged = |path, reason: &dyn ToString| ReadManifestError::Damaged {
        path,
        reason: reason.to_string(),
    };
    let manifest: Manifest = match serde_json::from_slice::<Versioned>(json) {
        Ok(Versioned { version }) if version > u64::from(MANIFEST_VERSION) => {
            return Err(ReadManifestError::Newer { path, version });
        }
        Ok(Versioned { version: 0 }) => return Err(damaged(path, &"there is no version 0")),
        Ok(_) => match serde_json::from_slice(json) {
            Ok(manifest) => manifest,
            Err(error) => return Err(damaged(path, &error)),
        },
        Err(error) => return Err(damaged(path, &error)),
    };
    let files = manifest.chunks.iter().map(|chunk| &chunk.file);
    let files = files.chain(manifest.set_aside.iter().map(|aside| &aside.file));
    for file in files {
        if !is_plain_file_name(file) {
            return Err(damaged(path, &format!("{file:?} is no plain file name")));
        }
    }
    Ok(manifest)
}

/// Whether `name` names a file in a folder, and nothing else.
fn is_plain_file_name(name: &str) -> bool {
    !name.contains(['/', '\0']) && !matches!(name, "" | "." | "..")
}

#[expect(
    clippy::cast_precision_loss,
    reason = "exact below 2^53 µs, which is 285 years"
)]
pub(crate) fn seconds(pts: Pts) -> f64 {
    pts.0 as f64 / 1_000_000.0
}
