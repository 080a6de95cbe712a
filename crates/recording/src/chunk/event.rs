//! What a chunk writer tells, and why it may fail.

use std::{io, path::PathBuf, sync::Arc};

use longtake_matroska::TrackError;

use super::naming::NameFault;
use crate::{
    clock::ClockPair,
    counts::{DropReason, Gap},
    pts::Pts,
    stream::StreamIndex,
};

/// Something that happened in a [`ChunkWriter`](crate::ChunkWriter).
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum ChunkEvent {
    /// A chunk was begun.
    Opened {
        /// Its number: 1 for the first.
        sequence: u64,
        /// What it is called once it is finished; until then `.part` is appended.
        file: String,
        /// Session time from which on streams go to it.
        begins_pts: Pts,
    },
    /// A chunk has its name, is whole and safe on the disk.
    Finished(ChunkSummary),
    /// A chunk could not be finished. It keeps its `.part`, plays up to the last cluster that could
    /// be written, and a recovery finishes it.
    Unfinished {
        /// What is in it. Its `file` is the name that it should have got, its `bytes` those that
        /// can be read.
        chunk: ChunkSummary,
        /// Why.
        error: Arc<WriteError>,
    },
    /// A chunk is not called what it was asked to be.
    NameRefused {
        /// What it should be called.
        name: String,
        /// Why it is not.
        fault: NameFault,
        /// What it is called instead.
        file: String,
    },
    /// A stream has given nothing for max(1 s, 3 frame intervals). Told once for each silence.
    Stalled {
        /// The stream.
        stream: StreamIndex,
        /// Session time of its latest packet, if it ever gave one.
        last_pts: Option<Pts>,
    },
    /// A span without packets has ended: a silence, or packets that had to be dropped here.
    Gap {
        /// The stream.
        stream: StreamIndex,
        /// From the last packet in a chunk to the next one.
        gap: Gap,
    },
    /// Packets were lost since the last event of this kind for this stream and reason, at least a
    /// second ago.
    Dropped {
        /// The stream.
        stream: StreamIndex,
        /// Why.
        reason: DropReason,
        /// How many packets.
        count: u64,
    },
    /// The disk takes no more. Told once; every packet from then on is counted as dropped.
    WriteFailed {
        /// Why.
        error: Arc<WriteError>,
    },
}

/// What is in a chunk.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ChunkSummary {
    /// Its number: 1 for the first that was opened.
    pub sequence: u64,
    /// Its name in the recording's folder.
    pub file: String,
    /// Session time of its earliest packet.
    pub first_pts: Pts,
    /// Session time of its latest packet.
    pub last_pts: Pts,
    /// Its size.
    pub bytes: u64,
    /// How many packets of each stream it holds, in the order in which streams were declared.
    pub packets: Vec<u64>,
    /// Both clocks at the moment it was opened.
    pub clock: ClockPair,
}

/// Why a chunk could not be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WriteError {
    /// Its file cannot be created.
    #[error("cannot create chunk {path}")]
    Create {
        /// The file.
        path: PathBuf,
        /// What the file system said.
        source: io::Error,
    },
    /// The streams cannot be put into one file.
    #[error("cannot lay out chunk {path}")]
    Layout {
        /// The file.
        path: PathBuf,
        /// What Matroska has no room for.
        source: TrackError,
    },
    /// There is no more room, or no more is allowed.
    #[error("disk full after {kept_bytes} bytes of {path}: make room, then start a new recording")]
    DiskFull {
        /// The file.
        path: PathBuf,
        /// Bytes at its beginning that are whole and can be played.
        kept_bytes: u64,
        /// What the file system said.
        source: io::Error,
    },
    /// The disk fails.
    #[error("cannot write to {path} after {kept_bytes} bytes")]
    Write {
        /// The file.
        path: PathBuf,
        /// Bytes at its beginning that are whole and can be played.
        kept_bytes: u64,
        /// What the file system said.
        source: io::Error,
    },
    /// What was written did not reach the disk, and may be lost.
    #[error("cannot sync {path}")]
    Sync {
        /// The file or folder.
        path: PathBuf,
        /// What the file system said.
        source: io::Error,
    },
    /// A finished chunk cannot get its name. Writing goes on.
    #[error("cannot give {part} its name {name}")]
    Rename {
        /// The file.
        part: PathBuf,
        /// The name that it should have.
        name: String,
        /// What the file system said; [`AlreadyExists`](io::ErrorKind::AlreadyExists) when somebody
        /// else made a file of that name.
        source: io::Error,
    },
}

/// Why no chunk writer could be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CreateWriterError {
    /// A recording has 1 to 126 streams.
    #[error("{count} streams cannot be recorded: a chunk has room for 1 to 126")]
    Streams {
        /// How many there are.
        count: usize,
    },
    /// What each chunk would say of the recording is larger than a reader takes.
    #[error("names and metadata take {bytes} bytes, more than {max_bytes}: say less")]
    HeaderTooLarge {
        /// The size of the header.
        bytes: usize,
        /// The largest that is allowed.
        max_bytes: usize,
    },
    /// The folder for the chunks is missing, or is none.
    #[error("cannot record into {path}")]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What the file system said.
        source: io::Error,
    },
    /// The system gives no more threads.
    #[error("cannot start the thread that syncs chunks")]
    Thread(#[source] io::Error),
}

impl WriteError {
    /// A write that got no further than `kept_bytes`.
    pub(super) fn write(path: PathBuf, kept_bytes: u64, source: io::Error) -> Self {
        use io::ErrorKind::{QuotaExceeded, StorageFull};
        if matches!(source.kind(), StorageFull | QuotaExceeded) {
            Self::DiskFull {
                path,
                kept_bytes,
                source,
            }
        } else {
            Self::Write {
                path,
                kept_bytes,
                source,
            }
        }
    }
}
