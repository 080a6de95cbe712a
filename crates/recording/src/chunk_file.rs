//! The chunk files of a recording's folder, opened for reading.

use std::{
    io::{self, Read},
    path::{Path, PathBuf},
    sync::Arc,
};

use longtake_durable::{Entry, Storage, StoredFile};
use longtake_matroska::{Damage, OpenError, ReadError, Reader, StoredCluster};

use crate::{
    chunk::{CHUNK_TAG, ChunkHeader, ChunkHeaderError},
    manifest::MANIFEST_FILE,
    recording_id::RecordingId,
};

/// What the name of a chunk ends with, unless the embedding program names its chunks otherwise.
const MATROSKA_SUFFIX: &str = ".mkv";

/// What the name of a chunk ends with as long as it is being written.
const OPEN_SUFFIX: &str = ".part";

/// What the name of a file ends with that a recovery has set aside.
pub(crate) const TORN_SUFFIX: &str = ".torn";

/// The first bytes of every Matroska file: the ID of its EBML header.
const MATROSKA_MAGIC: [u8; 4] = [0x1A, 0x45, 0xDF, 0xA3];

/// A file in a recording's folder that may be a chunk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ChunkFile {
    /// Its name in the folder.
    pub name: String,
    pub path: PathBuf,
}

/// A chunk file whose header can be understood.
#[derive(Debug)]
pub(crate) struct Chunk {
    pub file: ChunkFile,
    pub stored: Arc<dyn StoredFile>,
    pub header: ChunkHeader,
    pub reader: Reader<FileReader>,
}

/// What a file in a recording's folder turned out to be.
#[derive(Debug)]
pub(crate) enum Opened {
    Chunk(Box<Chunk>),
    /// A Matroska file that is no chunk of the recording, such as an export.
    Stranger,
    Broken(BrokenChunk),
}

/// A file that should be a chunk, and nothing in it can be understood.
#[derive(Debug)]
pub(crate) struct BrokenChunk {
    pub file: ChunkFile,
    pub reason: String,
}

/// Why a file could not be read, or must not be.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadChunkError {
    /// The disk failed.
    #[error("cannot read {path}")]
    Io {
        /// The file, or the folder.
        path: PathBuf,
        /// What the file system said.
        source: io::Error,
    },
    /// A newer program wrote the file.
    #[error("{path} needs a newer program: {reason}")]
    Newer {
        /// The file.
        path: PathBuf,
        /// What is newer than this program.
        reason: String,
    },
}

/// Where reading a chunk came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct End {
    /// Where the last good cluster ends, in bytes from the start of the file.
    pub good_until: u64,
    pub damage: Option<Damage>,
    /// Whether the file was finished and nothing in it is damaged.
    pub complete: bool,
}

impl ChunkFile {
    pub(crate) fn new(folder: &Path, name: String) -> Self {
        let path = folder.join(&name);
        Self { name, path }
    }

    /// All files in `folder` that may be chunks, sorted by name: those with such a name, and those
    /// that begin as Matroska files do. Hidden ones are left out.
    pub(crate) fn list(storage: &dyn Storage, folder: &Path) -> Result<Vec<Self>, ReadChunkError> {
        let failed = |path: &Path, source| ReadChunkError::Io {
            path: path.to_owned(),
            source,
        };
        let mut files = Vec::new();
        for name in storage.list(folder).map_err(|e| failed(folder, e))? {
            // The name of a chunk is a `String` from the start, so no other name is one.
            let Ok(name) = name.into_string() else {
                continue;
            };
            let is_other = name.starts_with('.') || name.ends_with(TORN_SUFFIX);
            if is_other || name == MANIFEST_FILE {
                continue;
            }
            let file = Self::new(folder, name);
            match file.may_be_chunk(storage) {
                Ok(true) => files.push(file),
                Ok(false) => {}
                // It was renamed since: a recording that goes on finishes its chunks.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(failed(&file.path, error)),
            }
        }
        Ok(files)
    }

    /// Whether its name is that of a chunk that is not finished.
    pub(crate) fn is_open(&self) -> bool {
        self.name.ends_with(OPEN_SUFFIX)
    }

    /// The name that it has once it is finished.
    pub(crate) fn finished_name(&self) -> &str {
        self.name.strip_suffix(OPEN_SUFFIX).unwrap_or(&self.name)
    }

    /// Opens it and reads its header; `recording` says to which recording it must belong, if that
    /// is known.
    ///
    /// A chunk that was finished and renamed since it was listed is found under its new name.
    pub(crate) fn open(
        mut self,
        storage: &dyn Storage,
        recording: Option<RecordingId>,
    ) -> Result<Opened, ReadChunkError> {
        let mut stored = storage.open_read(&self.path);
        if self.is_open() && matches!(&stored, Err(e) if e.kind() == io::ErrorKind::NotFound) {
            let name = self.finished_name().to_owned();
            self.path.set_file_name(&name);
            self.name = name;
            stored = storage.open_read(&self.path);
        }
        let path = self.path.clone();
        let stored = stored.map_err(|source| ReadChunkError::Io {
            path: path.clone(),
            source,
        })?;
        let reader = match Reader::new(FileReader::new(Arc::clone(&stored))) {
            Ok(reader) => reader,
            Err(OpenError::Io { source }) => return Err(ReadChunkError::Io { path, source }),
            Err(newer @ OpenError::Newer { .. }) => {
                let reason = newer.to_string();
                return Err(ReadChunkError::Newer { path, reason });
            }
            Err(error) => return Ok(self.broken(error.to_string())),
        };
        let tags = &reader.header().info.tags;
        let Some(tag) = tags.iter().find(|tag| tag.name == CHUNK_TAG) else {
            return Ok(Opened::Stranger);
        };
        match ChunkHeader::from_json(&tag.value) {
            Ok(header) if recording.is_some_and(|id| id != header.recording_id) => {
                Ok(Opened::Stranger)
            }
            Ok(header) => Ok(Opened::Chunk(Box::new(Chunk {
                file: self,
                stored,
                header,
                reader,
            }))),
            Err(newer @ ChunkHeaderError::Newer { .. }) => {
                let reason = newer.to_string();
                Err(ReadChunkError::Newer { path, reason })
            }
            Err(error) => Ok(self.broken(error.to_string())),
        }
    }

    fn broken(self, reason: String) -> Opened {
        Opened::Broken(BrokenChunk { file: self, reason })
    }

    fn may_be_chunk(&self, storage: &dyn Storage) -> io::Result<bool> {
        if !matches!(storage.entry(&self.path)?, Entry::File { .. }) {
            return Ok(false);
        }
        if self.finished_name().ends_with(MATROSKA_SUFFIX) || self.is_open() {
            return Ok(true);
        }
        let mut magic = [0; MATROSKA_MAGIC.len()];
        let mut reader = FileReader::new(storage.open_read(&self.path)?);
        match reader.read_exact(&mut magic) {
            Ok(()) => Ok(magic == MATROSKA_MAGIC),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// Reads all clusters that are left, up to the end or the first that is not good.
pub(crate) fn read_to_end(
    reader: &mut Reader<FileReader>,
    path: &Path,
    mut each: impl FnMut(&StoredCluster),
) -> Result<End, ReadChunkError> {
    let damage = loop {
        match next_cluster(reader, path)? {
            Next::Cluster(cluster) => each(&cluster),
            Next::End => break None,
            Next::Damaged(damage) => break Some(damage),
        }
    };
    Ok(End {
        good_until: reader.good_until(),
        damage,
        complete: reader.is_complete(),
    })
}

/// What comes next in a chunk.
#[derive(Debug)]
pub(crate) enum Next {
    Cluster(StoredCluster),
    End,
    Damaged(Damage),
}

pub(crate) fn next_cluster(
    reader: &mut Reader<impl Read>,
    path: &Path,
) -> Result<Next, ReadChunkError> {
    match reader.next_cluster() {
        Ok(Some(cluster)) => Ok(Next::Cluster(cluster)),
        Ok(None) => Ok(Next::End),
        Err(ReadError::Damaged(damage)) => Ok(Next::Damaged(damage)),
        Err(ReadError::Io { source, .. }) => Err(ReadChunkError::Io {
            path: path.to_owned(),
            source,
        }),
        // `ReadError` may grow; whatever comes is no sign that the file is damaged.
        Err(other) => Err(ReadChunkError::Io {
            path: path.to_owned(),
            source: io::Error::other(other),
        }),
    }
}

/// Reads a stored file from some place on.
#[derive(Debug)]
pub(crate) struct FileReader {
    file: Arc<dyn StoredFile>,
    offset: u64,
}

impl FileReader {
    pub(crate) fn new(file: Arc<dyn StoredFile>) -> Self {
        Self::starting_at(file, 0)
    }

    pub(crate) fn starting_at(file: Arc<dyn StoredFile>, offset: u64) -> Self {
        Self { file, offset }
    }
}

impl Read for FileReader {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read_at(self.offset, buf)?;
        self.offset += count as u64;
        Ok(count)
    }
}
