//! The file that an export becomes: written beside, verified, and only then given its name.

use std::{
    collections::BTreeMap,
    error::Error,
    ffi::{OsStr, OsString},
    io::{self, IoSlice},
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use longtake_durable::{Storage, StoredFile};
use longtake_matroska::{Cluster, Reader, Trailer};
use tracing::warn;

use super::ExportError;
use crate::{
    chunk_file::{ChunkFile, FileReader, Next, Opened, next_cluster},
    lock::{LockError, OutputLock},
};

/// How much is gathered before it is written.
const WRITE_BYTES: usize = 1 << 20;

/// Keeps other processes from exporting to `output`.
pub(super) fn lock(output: &Path) -> Result<OutputLock, ExportError> {
    let failed = |source| ExportError::Write {
        path: output.to_owned(),
        source,
    };
    let temporary = temporary_path(output).map_err(failed)?;
    OutputLock::take(&temporary).map_err(|error| match error {
        LockError::Io { source, .. } => failed(source),
        in_use => ExportError::Lock(in_use),
    })
}

/// The name beside `output` under which the file is written.
fn temporary_path(output: &Path) -> io::Result<PathBuf> {
    let mut name = OsString::from(".");
    name.push(output.file_name().ok_or(io::ErrorKind::InvalidInput)?);
    name.push(".export");
    Ok(output.with_file_name(name))
}

/// A file that is being written.
pub(super) struct Output<'a> {
    pub storage: &'a dyn Storage,
    pub path: &'a Path,
    temporary: PathBuf,
    file: Arc<dyn StoredFile>,
    gathered: Vec<Bytes>,
    gathered_bytes: usize,
    written: u64,
}

impl<'a> Output<'a> {
    /// Creates the file beside `path`, over one that an export has left that was killed.
    pub(super) fn create(storage: &'a dyn Storage, path: &'a Path) -> Result<Self, ExportError> {
        let failed = |source| ExportError::Write {
            path: path.to_owned(),
            source,
        };
        let temporary = temporary_path(path).map_err(failed)?;
        let file = match storage.create_new(&temporary) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => storage
                .open(&temporary)
                .and_then(|file| file.set_len(0).map(|()| file)),
            other => other,
        }
        .map_err(failed)?;
        Ok(Self {
            storage,
            path,
            temporary,
            file,
            gathered: Vec::new(),
            gathered_bytes: 0,
            written: 0,
        })
    }

    /// Puts `bytes` behind what is there.
    pub(super) fn append(&mut self, bytes: Bytes) -> Result<(), ExportError> {
        self.gathered_bytes += bytes.len();
        self.gathered.push(bytes);
        if self.gathered_bytes >= WRITE_BYTES {
            self.flush()?;
        }
        Ok(())
    }

    pub(super) fn append_cluster(&mut self, cluster: &Cluster) -> Result<(), ExportError> {
        let mut parts = cluster.parts().iter();
        parts.try_for_each(|part| self.append(part.clone()))
    }

    /// Completes the file and makes it durable; it does not have its name yet.
    pub(super) fn complete(&mut self, trailer: &Trailer) -> Result<u64, ExportError> {
        self.append(trailer.bytes.clone())?;
        self.flush()?;
        self.file
            .sync_data()
            .map_err(|source| self.failed(source))?;
        for patch in &trailer.patches {
            self.write(patch.offset, &mut [IoSlice::new(&patch.bytes)])?;
        }
        self.file.sync_all().map_err(|source| self.failed(source))?;
        Ok(self.written)
    }

    /// Reads the file back, and compares the packets of each track with what was put in.
    pub(super) fn verify(
        &self,
        packets: &BTreeMap<u64, u64>,
        mut each: impl FnMut(u64) -> Result<(), ExportError>,
    ) -> Result<(), ExportError> {
        let wrong = |reason: String| ExportError::Verify {
            path: self.path.to_owned(),
            reason,
        };
        let mut reader = Reader::new(FileReader::new(Arc::clone(&self.file)))
            .map_err(|error| wrong(error.to_string()))?;
        let mut found = BTreeMap::new();
        loop {
            match next_cluster(&mut reader, &self.temporary)? {
                Next::Cluster(cluster) => {
                    for block in cluster.blocks() {
                        *found.entry(block.track).or_insert(0) += 1;
                    }
                    each(cluster.len())?;
                }
                Next::Damaged(damage) => return Err(wrong(damage.to_string())),
                Next::End if found != *packets => {
                    return Err(wrong(format!(
                        "packets by track {found:?}, not {packets:?}"
                    )));
                }
                Next::End if !reader.is_complete() => return Err(wrong("no index".to_owned())),
                Next::End => return Ok(()),
            }
        }
    }

    /// Gives the file its name, durably; over another file only if told so.
    pub(super) fn publish(&self, over_another: bool) -> Result<(), ExportError> {
        let renamed = if over_another {
            self.storage.rename(&self.temporary, self.path)
        } else {
            self.storage.rename_new(&self.temporary, self.path)
        };
        match renamed {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                let path = self.path.to_owned();
                return Err(ExportError::Exists { path });
            }
            Err(source) => return Err(self.failed(source)),
        }
        let folder = match self.path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        let synced = self.storage.sync_dir(folder);
        synced.map_err(|source| self.failed(source))
    }

    /// Removes what was written.
    pub(super) fn discard(self) {
        if let Err(error) = self.storage.remove_file(&self.temporary) {
            let path = self.temporary.display();
            warn!(error = &error as &dyn Error, %path, "half an export stays until the next one");
        }
    }

    fn flush(&mut self) -> Result<(), ExportError> {
        let gathered = std::mem::take(&mut self.gathered);
        let mut slices: Vec<_> = gathered.iter().map(|part| IoSlice::new(part)).collect();
        self.write(self.written, &mut slices)?;
        self.written += self.gathered_bytes as u64;
        self.gathered_bytes = 0;
        Ok(())
    }

    fn write(&self, offset: u64, slices: &mut [IoSlice<'_>]) -> Result<(), ExportError> {
        let written = self.file.write_all_at(offset, slices);
        written.map_err(|error| self.failed(error.source))
    }

    /// The error for a packet that the file cannot hold.
    pub(super) fn cannot_hold(&self, error: impl Error) -> ExportError {
        ExportError::Layout {
            path: self.path.to_owned(),
            reason: error.to_string(),
        }
    }

    fn failed(&self, source: io::Error) -> ExportError {
        let path = self.path.to_owned();
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                let written_bytes = self.written;
                ExportError::DiskFull {
                    path,
                    written_bytes,
                }
            }
            _ => ExportError::Write { path, source },
        }
    }
}

/// Refuses a name that is taken, and always that of a chunk.
pub(super) fn check_name(
    storage: &dyn Storage,
    output: &Path,
    may_exist: bool,
) -> Result<(), ExportError> {
    if storage.entry(output).is_err() {
        return Ok(());
    }
    let path = output.to_owned();
    let file = ChunkFile {
        name: String::new(),
        path: output.to_owned(),
    };
    match file.open(storage, None) {
        Ok(Opened::Chunk(_)) => Err(ExportError::IsChunk { path }),
        _ if !may_exist => Err(ExportError::Exists { path }),
        _ => Ok(()),
    }
}

/// Refuses a name in the recording's own folder that its chunks will have, such as `00007.mkv`.
pub(super) fn check_place(folder: &Path, output: &Path) -> Result<(), ExportError> {
    let is_number = |stem: &OsStr| stem.as_encoded_bytes().iter().all(u8::is_ascii_digit);
    if !output.file_stem().is_some_and(is_number) {
        return Ok(());
    }
    let parent = match output.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    match (folder.canonicalize(), parent.canonicalize()) {
        (Ok(folder), Ok(parent)) if folder == parent => Err(ExportError::IsChunk {
            path: output.to_owned(),
        }),
        _ => Ok(()),
    }
}
