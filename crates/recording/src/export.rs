//! One file from a recording, or from a part of it, without touching a timestamp.

mod plan;

mod lead_in;
mod selection;

mod copy;
mod header;
mod interleave;
mod order;
mod output;
mod source;

use std::{
    io,
    ops::ControlFlow,
    path::{Path, PathBuf},
};

use longtake_durable::{RealStorage, Storage};
use longtake_matroska::Muxer;
use serde::Serialize;

use crate::{
    chunk_file::ReadChunkError,
    lock::LockError,
    manifest::Manifest,
    pts::Pts,
    recording_id::RecordingId,
    survey::Survey,
    wall_clock::{Moment, WallClock},
};
use copy::{Copied, Progress, copy};
use interleave::Interleave;
use output::Output;
use plan::{Plan, Range};

pub use header::{EXPORT_HEADER_VERSION, EXPORT_TAG};

/// What is exported, and over what.
#[derive(Debug, Clone, Copy, Default)]
pub struct ExportOptions {
    from: Option<Moment>,
    to: Option<Moment>,
    overwrites: bool,
}

impl ExportOptions {
    /// Leaves out what is before `from`. Video begins with the last keyframe at or before it, so that
    /// the picture at `from` can be decoded.
    #[must_use]
    pub fn from(mut self, from: Moment) -> Self {
        self.from = Some(from);
        self
    }

    /// Leaves out what is at `to` or after it. A picture from there stays if an earlier one cannot be
    /// decoded without it.
    #[must_use]
    pub fn to(mut self, to: Moment) -> Self {
        self.to = Some(to);
        self
    }

    /// Replaces a file that is there already, in one step at the end.
    #[must_use]
    pub fn overwrite(mut self) -> Self {
        self.overwrites = true;
        self
    }
}

/// How far an export is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExportProgress {
    /// What is done at present.
    pub phase: ExportPhase,
    /// How much of the chunks was read in this phase, or of the export.
    pub done_bytes: u64,
    /// How much there is to read in this phase; of a range less may be needed.
    pub total_bytes: u64,
}

/// What an export does at present.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ExportPhase {
    /// It copies.
    Copying,
    /// It reads back what it has copied.
    Verifying,
}

/// What was exported.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Exported {
    /// The file.
    pub path: PathBuf,
    /// Its size.
    pub bytes: u64,
    /// The earliest packet.
    pub first_pts_us: Pts,
    /// The latest packet.
    pub last_pts_us: Pts,
    /// Its tracks.
    pub tracks: Vec<ExportedTrack>,
    /// Chunks that could be read only up to some damage, in words.
    pub damage: Vec<String>,
}

/// A track of an export.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ExportedTrack {
    /// Its number.
    pub number: u64,
    /// The stream's name; behind it ` (2)` and so on for further sets of parameters that the stream
    /// has had.
    pub name: String,
    /// How many packets it has.
    pub packets: u64,
}

/// Why nothing was exported. Nothing is left of it, and what was at the path before is still there.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExportError {
    /// The folder has no chunk in it.
    #[error("{path} holds no recording")]
    NoRecording {
        /// The folder.
        path: PathBuf,
    },
    /// A chunk cannot be read or needs a newer program.
    #[error(transparent)]
    Chunk(#[from] ReadChunkError),
    /// The range ends before it begins.
    #[error("the range from {from} s to {to} s is empty")]
    EmptyRange {
        /// Its beginning in session time.
        from: Pts,
        /// Its end in session time.
        to: Pts,
    },
    /// The recording has no packet in the range.
    #[error("the recording has nothing in this range")]
    NothingInRange,
    /// The file exists.
    #[error("{path} exists already")]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// The file is a chunk of a recording, or is called like one of this recording.
    #[error("{path} is, or will be, a chunk of a recording: choose another name")]
    IsChunk {
        /// The file.
        path: PathBuf,
    },
    /// Another export to the same path goes on.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The packets do not fit into one file.
    #[error("cannot lay out {path}: {reason}")]
    Layout {
        /// The file.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// There is no room for the file.
    #[error("the disk is full after {written_bytes} bytes for {path}, which were removed again")]
    DiskFull {
        /// The file.
        path: PathBuf,
        /// How much got in.
        written_bytes: u64,
    },
    /// The file cannot be written.
    #[error("cannot write {path}")]
    Write {
        /// The file.
        path: PathBuf,
        /// What the file system said.
        source: io::Error,
    },
    /// What was read back is not what was written.
    #[error("{path} was not stored as it was written: {reason}")]
    Verify {
        /// The file.
        path: PathBuf,
        /// Where they differ.
        reason: String,
    },
    /// The callback broke it off.
    #[error("the export was cancelled")]
    Cancelled,
}

/// Writes the recording in `folder`, or a part of it, into one Matroska file at `output`.
///
/// Packets keep their bytes and their timestamps, which are session time also in a part of a
/// recording: the offsets between streams and the gaps are what they were, and an export from second
/// 60 on begins at 60 s. Each stream becomes a track; one whose parameters changed becomes several.
/// Clusters that are wanted whole are copied as they are.
///
/// The file is written beside `output`, synced, read back and compared, and then takes its name. It can
/// be killed at any moment and run again. Chunks that are not finished are read up to where they
/// are; nothing in `folder` is changed.
///
/// `progress` is called about once for each MiB; breaking there cancels the export.
///
/// # Errors
///
/// See [`ExportError`].
pub fn export(
    folder: &Path,
    output: &Path,
    options: ExportOptions,
    progress: impl FnMut(ExportProgress) -> ControlFlow<()>,
) -> Result<Exported, ExportError> {
    output::check_place(folder, output)?;
    let _lock = output::lock(output)?;
    export_on(&RealStorage, folder, output, options, progress)
}

/// As [`export`], on any storage, and without the lock that keeps two exports to one path apart.
///
/// # Errors
///
/// As for [`export`].
pub fn export_on(
    storage: &dyn Storage,
    folder: &Path,
    output: &Path,
    options: ExportOptions,
    progress: impl FnMut(ExportProgress) -> ControlFlow<()>,
) -> Result<Exported, ExportError> {
    output::check_name(storage, output, options.overwrites)?;
    let no_recording = || ExportError::NoRecording {
        path: folder.to_owned(),
    };
    // It only helps to tell chunks from other files, so it need not be true, nor be there.
    let manifest = Manifest::read(storage, folder).ok();
    let survey = Survey::read(storage, folder, manifest.as_ref())?;
    let header = survey.header.as_ref().ok_or_else(no_recording)?;
    let range = resolve(&survey.wall_clock(), options).ok_or_else(no_recording)?;
    if let (Some(from), Some(to)) = (range.from, range.to)
        && from >= to
    {
        return Err(ExportError::EmptyRange { from, to });
    }
    let plan = Plan::make(storage, header.recording_id, &survey, range)?;
    if plan.tracks.is_empty() {
        return Err(ExportError::NothingInRange);
    }
    let info = header::segment_info(header, &survey.wall_clock(), range);
    let tracks = plan.tracks.iter().map(|planned| planned.track.clone());
    let muxer = Muxer::new(info, tracks.collect()).map_err(|error| ExportError::Layout {
        path: output.to_owned(),
        reason: error.to_string(),
    })?;

    let mut progress = Progress::new(progress);
    let mut file = Output::create(storage, output)?;
    let written = write(&mut file, &plan, header.recording_id, muxer, &mut progress)
        .and_then(|exported| file.publish(options.overwrites).map(|()| exported));
    if written.is_err() {
        file.discard();
    }
    written
}

/// Copies, completes and verifies the file.
fn write<F: FnMut(ExportProgress) -> ControlFlow<()>>(
    file: &mut Output<'_>,
    plan: &Plan,
    recording: RecordingId,
    mut muxer: Muxer,
    progress: &mut Progress<F>,
) -> Result<Exported, ExportError> {
    progress.begin(ExportPhase::Copying, plan.bytes)?;
    file.append(muxer.header())?;
    let mut chunks = Interleave::new(file.storage, recording, plan);
    let Copied { packets, extent } = copy(plan, &mut chunks, &mut muxer, file, progress)?;
    let extent = extent.ok_or(ExportError::NothingInRange)?;
    let bytes = file.complete(&muxer.finish())?;

    progress.begin(ExportPhase::Verifying, bytes)?;
    file.verify(&packets, |read_bytes| progress.advance(read_bytes))?;
    let tracks = plan.tracks.iter().map(|planned| ExportedTrack {
        number: planned.track.number,
        name: planned.track.name.clone(),
        packets: packets.get(&planned.track.number).copied().unwrap_or(0),
    });
    Ok(Exported {
        path: file.path.to_owned(),
        bytes,
        first_pts_us: extent.first,
        last_pts_us: extent.last,
        tracks: tracks.collect(),
        damage: chunks.into_damage(),
    })
}

fn resolve(clock: &WallClock, options: ExportOptions) -> Option<Range> {
    let resolve = |moment: Option<Moment>| match moment {
        Some(moment) => clock.resolve(moment).map(Some),
        None => Some(None),
    };
    Some(Range {
        from: resolve(options.from)?,
        to: resolve(options.to)?,
    })
}
