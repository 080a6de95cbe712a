//! Makes a recording whole again after a crash, a power cut, or damage to its files.

mod aside;
mod mend;
mod rebuild;

use std::{
    collections::BTreeMap,
    fmt, io,
    path::{Path, PathBuf},
};

use longtake_durable::{RealStorage, ReplaceError, Storage};
use serde::Serialize;
use tracing::{info, warn};

use crate::{
    chunk_file::ReadChunkError,
    content::Content,
    inspect::{InspectedChunk, differences, in_declared_order},
    lock::{LockError, RecordingLock},
    manifest::{MANIFEST_FILE, Manifest, ManifestStream, ReadManifestError, SetAside},
    pts::Pts,
    recording_id::RecordingId,
    survey::{Survey, SurveyedChunk},
};
use rebuild::{Facts, rebuild};

/// What became of a recording that was recovered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Recovered {
    /// The recording.
    pub recording_id: RecordingId,
    /// Whether anything had to be done. Nothing is changed in a recording that is whole.
    pub changed: bool,
    /// The chunks for which something had to be done.
    pub chunks: Vec<RecoveredChunk>,
    /// All streams.
    pub streams: Vec<RecoveredStream>,
}

/// What was done for one chunk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RecoveredChunk {
    /// The name of the chunk when it is finished.
    pub file: String,
    /// What was done.
    #[serde(flatten)]
    pub repair: Repair,
}

/// What was done for one chunk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "repair", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Repair {
    /// It lacked its end, which it has now; no packet in it was torn.
    Finished,
    /// It was damaged, is now whole up to there, and what is behind was set aside.
    Cut {
        /// What was wrong and where.
        damage: String,
        /// Where the rest is kept.
        set_aside: SetAside,
    },
    /// No packet could be found in it, so all of it was set aside.
    Unusable {
        /// Why.
        damage: String,
        /// Where it is kept.
        set_aside: SetAside,
    },
}

impl fmt::Display for Repair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Finished => f.write_str("finished"),
            Self::Cut { damage, set_aside } => {
                write!(f, "cut ({damage}); the rest is kept in {}", set_aside.file)
            }
            Self::Unusable { damage, set_aside } => {
                write!(f, "unusable ({damage}); it is kept as {}", set_aside.file)
            }
        }
    }
}

/// What is left of one stream, and what is known to be lost.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RecoveredStream {
    /// Its name.
    pub name: String,
    /// Packets in the chunks.
    pub packets: u64,
    /// Packets that the manifest says were received, and that were neither written nor dropped on
    /// purpose.
    ///
    /// It is the least that was lost: a manifest is as old as the last finished chunk, and nobody
    /// counted what the recorder had in memory when it died.
    pub lost: u64,
    /// The latest packet.
    pub last_pts_us: Option<Pts>,
    /// How long before the latest packet of all streams this stream ends, in µs. More than a frame
    /// or two of it is a loss, unless the source had nothing.
    pub ends_early_us: u64,
}

/// Why a recording could not be recovered. What was done until then is right, and running it again
/// goes on from there.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecoverError {
    /// The recording goes on, or is being recovered already.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// A chunk cannot be read or needs a newer program. In the latter case nothing was changed.
    #[error(transparent)]
    Chunk(#[from] ReadChunkError),
    /// The manifest cannot be read or needs a newer program. In both cases nothing was changed.
    #[error(transparent)]
    Manifest(ReadManifestError),
    /// The folder holds neither chunks nor a manifest, and its name is no recording's.
    #[error("{path} holds no recording")]
    NoRecording {
        /// The folder.
        path: PathBuf,
    },
    /// A chunk is there finished and unfinished.
    #[error("{path} cannot be finished: {taken} is there already, move one of them away")]
    NameTaken {
        /// The unfinished chunk.
        path: PathBuf,
        /// The finished one.
        taken: PathBuf,
    },
    /// A file cannot be written. [`StorageFull`](io::ErrorKind::StorageFull) means that room must be
    /// made; nothing is lost.
    #[error("cannot write {path}")]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// What the file system said.
        source: io::Error,
    },
    /// The chunks are whole, but the new manifest cannot be written.
    #[error(transparent)]
    WriteManifest(#[from] ReplaceError),
}

/// Makes the recording in `folder` whole again.
///
/// Every chunk is read; the end of those that were not finished or are damaged is cut at the last
/// cluster whose checksum fits, and they get their index and their name. The manifest is built
/// anew from what the files hold, and from what the old one says of counts and gaps.
///
/// Nothing is thrown away: what is cut off is first copied to a file of its own, synced and
/// compared, and a chunk in which nothing can be understood only gets another name. Such files end
/// in `.torn`; the manifest lists them. A recording that is whole is left as it is.
///
/// It can be killed at any moment, or lose its power, and be run again; running it twice does
/// nothing more. Memory is bounded by one cluster, and some bytes for each chunk.
///
/// # Errors
///
/// See [`RecoverError`]. The folder is locked meanwhile, so a recording that goes on is refused.
pub fn recover(folder: &Path) -> Result<Recovered, RecoverError> {
    let _lock = RecordingLock::take(folder)?;
    recover_on(&RealStorage, folder)
}

/// As [`recover`], on any storage, and without the lock: the caller knows that nobody else writes in
/// the folder.
///
/// # Errors
///
/// As for [`recover`].
pub fn recover_on(storage: &dyn Storage, folder: &Path) -> Result<Recovered, RecoverError> {
    let old = read_manifest(storage, folder)?;
    let known_id = old.manifest().map(|manifest| manifest.recording_id);
    let survey = Survey::read(storage, folder, old.manifest())?;
    let Some(recording_id) = known_id
        .or(survey.header.as_ref().map(|header| header.recording_id))
        .or_else(|| id_of_folder(folder))
    else {
        let path = folder.to_owned();
        return Err(RecoverError::NoRecording { path });
    };

    refuse_doubles(folder, &survey)?;

    let wall_clock = survey.wall_clock();
    let mut content = Content::default();
    let mut chunks = Vec::new();
    let mut repairs = Vec::new();
    for first in &survey.chunks {
        let is_copy = |copy: &&SurveyedChunk| copy.sequence == first.sequence;
        let copies = survey.doubles.iter().filter(is_copy);
        // A copy counts when nothing could be found in those before it.
        for surveyed in std::iter::once(first).chain(copies) {
            let file = surveyed.file.clone();
            let mended = mend::mend(storage, folder, file, recording_id, &mut content)?;
            repairs.extend(mended.repair);
            if let Some(found) = mended.found {
                chunks.push((found, surveyed.clock));
                break;
            }
        }
    }
    for broken in survey.broken {
        repairs.push(mend::set_aside(
            storage,
            folder,
            &broken.file,
            broken.reason,
        )?);
    }
    for chunk in &repairs {
        warn!(recording = %recording_id, chunk = chunk.file, repair = %chunk.repair, "chunk repaired");
    }

    let declared = survey
        .header
        .as_ref()
        .map_or(&[][..], |header| &header.streams);
    let streams = in_declared_order(&content, declared);
    let found: Vec<InspectedChunk> = chunks.iter().map(|(found, _)| found.clone()).collect();
    let is_whole = repairs.is_empty()
        && old
            .manifest()
            .is_some_and(|old| differences(old, &streams, &found).is_empty());
    let lost_before = old.manifest().map(rebuild::lost).unwrap_or_default();

    let manifest = match old {
        OldManifest::Good(manifest) if is_whole => *manifest,
        old => {
            let facts = Facts {
                recording_id,
                header: survey.header,
                content: &content,
                chunks,
                set_aside: aside::list(storage, folder)?,
                wall_clock,
            };
            let manifest = rebuild(old.into_manifest(storage, folder)?, facts);
            manifest.write(storage, folder)?;
            info!(recording = %recording_id, "manifest rebuilt");
            manifest
        }
    };
    Ok(Recovered {
        recording_id,
        changed: !is_whole,
        chunks: repairs,
        streams: report(&manifest, &lost_before),
    })
}

/// The manifest as a crash left it.
enum OldManifest {
    Good(Box<Manifest>),
    Damaged,
    Missing,
}

impl OldManifest {
    fn manifest(&self) -> Option<&Manifest> {
        match self {
            Self::Good(manifest) => Some(manifest),
            Self::Damaged | Self::Missing => None,
        }
    }

    /// Makes room for a new manifest: a damaged one is set aside.
    fn into_manifest(
        self,
        storage: &dyn Storage,
        folder: &Path,
    ) -> Result<Option<Manifest>, RecoverError> {
        match self {
            Self::Good(manifest) => Ok(Some(*manifest)),
            Self::Damaged => {
                aside::rename(storage, folder, MANIFEST_FILE, MANIFEST_FILE).map(|_| None)
            }
            Self::Missing => Ok(None),
        }
    }
}

fn read_manifest(storage: &dyn Storage, folder: &Path) -> Result<OldManifest, RecoverError> {
    match Manifest::read(storage, folder) {
        Ok(manifest) => Ok(OldManifest::Good(Box::new(manifest))),
        Err(ReadManifestError::Damaged { path, reason }) => {
            warn!(path = %path.display(), reason, "manifest damaged");
            Ok(OldManifest::Damaged)
        }
        Err(ReadManifestError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            Ok(OldManifest::Missing)
        }
        Err(error) => Err(RecoverError::Manifest(error)),
    }
}

/// Refuses a chunk that is there finished and unfinished: nobody knows which of the two is right.
fn refuse_doubles(folder: &Path, survey: &Survey) -> Result<(), RecoverError> {
    for SurveyedChunk { file, .. } in &survey.doubles {
        let finished = file.finished_name();
        let mut chunks = survey.chunks.iter();
        if file.is_open() && chunks.any(|chunk| chunk.file.name == finished) {
            return Err(RecoverError::NameTaken {
                path: file.path.clone(),
                taken: folder.join(finished),
            });
        }
    }
    Ok(())
}

/// The name of the folder, if it is a recording's.
fn id_of_folder(folder: &Path) -> Option<RecordingId> {
    folder.file_name()?.to_str()?.parse().ok()
}

fn report(manifest: &Manifest, lost_before: &BTreeMap<String, u64>) -> Vec<RecoveredStream> {
    let ends = manifest
        .streams
        .iter()
        .filter_map(|stream| stream.last_pts_us);
    let end = ends.max().unwrap_or_default();
    let lost = rebuild::lost(manifest);
    let of = |lost: &BTreeMap<String, u64>, name: &str| lost.get(name).copied().unwrap_or(0);
    let report = |stream: &ManifestStream| RecoveredStream {
        name: stream.name.clone(),
        packets: stream.counts.written,
        lost: of(&lost, &stream.name).saturating_sub(of(lost_before, &stream.name)),
        last_pts_us: stream.last_pts_us,
        ends_early_us: micros(end.since(stream.last_pts_us.unwrap_or_default())),
    };
    manifest.streams.iter().map(report).collect()
}

fn micros(span: std::time::Duration) -> u64 {
    u64::try_from(span.as_micros()).unwrap_or(u64::MAX)
}
