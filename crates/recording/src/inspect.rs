//! What a recording's files really hold, and whether its manifest says the same.

mod compare;

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use longtake_durable::{Entry, RealStorage, Storage, StoredFile};
use longtake_matroska::{OpenError, Reader};
use serde::Serialize;

use crate::{
    chunk::DeclaredStream,
    chunk_file::{BrokenChunk, Chunk, ChunkFile, FileReader, Opened, ReadChunkError, read_to_end},
    content::{ChunkContent, Content, StreamContent},
    manifest::{Manifest, ReadManifestError},
    pts::Pts,
    stream::StreamKind,
    survey::Survey,
};

pub(crate) use compare::differences;

/// What the files of a recording, or one file, really hold. Serialises to what
/// `fieldrec inspect --json` prints.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Inspection {
    /// The streams, in the order of their track numbers.
    pub streams: Vec<InspectedStream>,
    /// The chunks, in order.
    pub chunks: Vec<InspectedChunk>,
    /// The manifest beside the chunks; absent for a single file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub manifest: Option<InspectedManifest>,
    /// The verdict on the manifest once more; absent for a single file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub consistent: Option<bool>,
}

/// One stream over all chunks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct InspectedStream {
    /// Its name; `track N` for a track of a foreign file that has none.
    pub name: String,
    /// What it carries.
    pub kind: StreamKind,
    /// Our name for the codec, or Matroska's for one that chunks cannot hold; `null` for a stream
    /// that is in no chunk.
    pub codec: Option<String>,
    /// How many packets there are.
    pub packets: u64,
    /// How many of them decoding can begin with.
    pub keyframes: u64,
    /// The earliest.
    pub first_pts_us: Option<Pts>,
    /// The latest.
    pub last_pts_us: Option<Pts>,
    /// Where there is nothing for longer than max(1 s, 3 frame intervals); at most 10,000.
    pub gaps: Vec<InspectedGap>,
}

/// A span without packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct InspectedGap {
    /// The last packet before it.
    pub from_pts_us: Pts,
    /// The first packet after it.
    pub to_pts_us: Pts,
}

/// One chunk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct InspectedChunk {
    /// Its name in the folder, as it is now.
    pub file: String,
    /// Whether it was finished and is whole.
    pub complete: bool,
    /// The length of the file.
    pub bytes: u64,
    /// The earliest packet.
    pub first_pts_us: Option<Pts>,
    /// The latest packet.
    pub last_pts_us: Option<Pts>,
    /// How many packets of each stream; streams without any are absent.
    pub packets: BTreeMap<String, u64>,
    /// What is wrong and where; what is behind was not looked at. Absent when nothing is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub damage: Option<String>,
}

/// Whether a manifest says what the files hold.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct InspectedManifest {
    /// Whether the recording was stopped in order, or recovered, and its manifest says what the
    /// files hold.
    pub consistent: bool,
    /// Where they differ, in words.
    pub differences: Vec<String>,
    /// The manifest itself; absent when there is none that can be read.
    #[serde(flatten)]
    pub manifest: Option<Box<Manifest>>,
}

/// Why nothing could be inspected.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InspectError {
    /// There is no such file or folder, or it cannot be read.
    #[error("cannot read {path}")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the file system said.
        source: io::Error,
    },
    /// A chunk cannot be read or needs a newer program.
    #[error(transparent)]
    Chunk(#[from] ReadChunkError),
    /// The manifest cannot be read or needs a newer program.
    #[error(transparent)]
    Manifest(ReadManifestError),
    /// The file is no Matroska file, or its head is damaged.
    #[error("nothing in {path} can be understood: {reason}")]
    NotMatroska {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The folder holds neither chunks nor a manifest.
    #[error("{path} holds no recording")]
    NoRecording {
        /// The folder.
        path: PathBuf,
    },
}

/// Reads all of a recording's folder, or of one Matroska file, and says what is there.
///
/// Every byte is read and every checksum verified; each file is read up to its end or its first
/// damage. Nothing is changed. A recording may go on meanwhile: what is inspected of it is what was
/// there at some moment.
///
/// # Errors
///
/// When the disk fails, when a file needs a newer program, and when nothing there is a recording.
pub fn inspect(path: &Path) -> Result<Inspection, InspectError> {
    inspect_on(&RealStorage, path)
}

/// As [`inspect`], on any storage.
///
/// # Errors
///
/// As for [`inspect`].
pub fn inspect_on(storage: &dyn Storage, path: &Path) -> Result<Inspection, InspectError> {
    match storage.entry(path) {
        Ok(Entry::Folder) => inspect_folder(storage, path),
        Ok(_) => inspect_file(storage, path),
        Err(source) => Err(InspectError::Io {
            path: path.to_owned(),
            source,
        }),
    }
}

fn inspect_folder(storage: &dyn Storage, folder: &Path) -> Result<Inspection, InspectError> {
    // The manifest comes first: of a recording that goes on it is then at most older than the
    // chunks, never newer.
    let (manifest, fault) = match Manifest::read(storage, folder) {
        Ok(manifest) => (Some(manifest), None),
        Err(damaged @ ReadManifestError::Damaged { .. }) => (None, Some(damaged.to_string())),
        Err(ReadManifestError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            (None, Some("there is no manifest".to_owned()))
        }
        Err(error) => return Err(InspectError::Manifest(error)),
    };
    let id = manifest.as_ref().map(|manifest| manifest.recording_id);
    let survey = Survey::read(storage, folder, manifest.as_ref())?;
    if manifest.is_none() && survey.header.is_none() && survey.broken.is_empty() {
        let path = folder.to_owned();
        return Err(InspectError::NoRecording { path });
    }

    let mut content = Content::default();
    let mut chunks = Vec::new();
    for surveyed in survey.chunks {
        match surveyed.file.open(storage, id)? {
            Opened::Chunk(chunk) => {
                let Chunk {
                    file,
                    stored,
                    reader,
                    ..
                } = *chunk;
                chunks.push(inspect_chunk(file, &stored, reader, &mut content)?);
            }
            Opened::Stranger => {}
            Opened::Broken(broken) => chunks.push(InspectedChunk::broken(storage, broken)?),
        }
    }
    for broken in survey.broken {
        chunks.push(InspectedChunk::broken(storage, broken)?);
    }
    let declared = survey.header.map_or_else(Vec::new, |header| header.streams);
    let streams = in_declared_order(&content, &declared);
    let differences = match &manifest {
        Some(manifest) => differences(manifest, &streams, &chunks),
        None => Vec::from_iter(fault),
    };
    let consistent = differences.is_empty();
    Ok(Inspection {
        streams,
        chunks,
        manifest: Some(InspectedManifest {
            consistent,
            differences,
            manifest: manifest.map(Box::new),
        }),
        consistent: Some(consistent),
    })
}

fn inspect_file(storage: &dyn Storage, path: &Path) -> Result<Inspection, InspectError> {
    let failed = |source| InspectError::Io {
        path: path.to_owned(),
        source,
    };
    let stored = storage.open_read(path).map_err(failed)?;
    let reader = match Reader::new(FileReader::new(Arc::clone(&stored))) {
        Ok(reader) => reader,
        Err(OpenError::Io { source }) => return Err(failed(source)),
        Err(error) => {
            return Err(InspectError::NotMatroska {
                path: path.to_owned(),
                reason: error.to_string(),
            });
        }
    };
    let name = path.file_name().unwrap_or(path.as_os_str());
    let file = ChunkFile {
        name: name.to_string_lossy().into_owned(),
        path: path.to_owned(),
    };
    let mut content = Content::default();
    let chunk = inspect_chunk(file, &stored, reader, &mut content)?;
    Ok(Inspection {
        streams: content.streams.iter().map(InspectedStream::new).collect(),
        chunks: vec![chunk],
        manifest: None,
        consistent: None,
    })
}

fn inspect_chunk(
    file: ChunkFile,
    stored: &Arc<dyn StoredFile>,
    mut reader: Reader<FileReader>,
    content: &mut Content,
) -> Result<InspectedChunk, ReadChunkError> {
    let places = content.begin_chunk(&reader.header().tracks);
    let mut found = ChunkContent::default();
    let end = read_to_end(&mut reader, &file.path, |cluster| {
        content.count(cluster, &places, &mut found);
    })?;
    let bytes = stored.len().map_err(|source| ReadChunkError::Io {
        path: file.path,
        source,
    })?;
    let damage = end.damage.map(|damage| damage.to_string());
    Ok(InspectedChunk::new(
        file.name,
        bytes,
        end.complete,
        found,
        damage,
    ))
}

/// The streams of `content` as they were declared, and those that are in no chunk.
pub(crate) fn in_declared_order(
    content: &Content,
    declared: &[DeclaredStream],
) -> Vec<InspectedStream> {
    let mut streams: Vec<_> = content.streams.iter().map(InspectedStream::new).collect();
    for stream in declared {
        if streams.iter().all(|found| found.name != stream.name) {
            streams.push(InspectedStream::without_packets(stream));
        }
    }
    streams.sort_by_key(|found| {
        let mut names = declared.iter().map(|stream| &stream.name);
        names
            .position(|name| *name == found.name)
            .unwrap_or(usize::MAX)
    });
    streams
}

impl InspectedStream {
    fn new(content: &StreamContent) -> Self {
        let gaps = content.silences.iter().map(|silence| InspectedGap {
            from_pts_us: silence.from,
            to_pts_us: silence.to,
        });
        Self {
            name: content.name.clone(),
            kind: content.kind,
            codec: Some(content.codec.clone()),
            packets: content.packets,
            keyframes: content.keyframes,
            first_pts_us: content.extent.map(|extent| extent.first),
            last_pts_us: content.extent.map(|extent| extent.last),
            gaps: gaps.collect(),
        }
    }

    fn without_packets(declared: &DeclaredStream) -> Self {
        Self {
            name: declared.name.clone(),
            kind: declared.kind,
            codec: None,
            packets: 0,
            keyframes: 0,
            first_pts_us: None,
            last_pts_us: None,
            gaps: Vec::new(),
        }
    }
}

impl InspectedChunk {
    pub(crate) fn new(
        file: String,
        bytes: u64,
        complete: bool,
        content: ChunkContent,
        damage: Option<String>,
    ) -> Self {
        Self {
            file,
            complete,
            bytes,
            first_pts_us: content.extent.map(|extent| extent.first),
            last_pts_us: content.extent.map(|extent| extent.last),
            packets: content.packets,
            damage,
        }
    }

    fn broken(storage: &dyn Storage, broken: BrokenChunk) -> Result<Self, ReadChunkError> {
        let BrokenChunk { file, reason } = broken;
        let bytes = match storage.entry(&file.path) {
            Ok(Entry::File { len }) => len,
            Ok(_) => 0,
            Err(source) => {
                let path = file.path;
                return Err(ReadChunkError::Io { path, source });
            }
        };
        Ok(Self {
            file: file.name,
            complete: false,
            bytes,
            first_pts_us: None,
            last_pts_us: None,
            packets: BTreeMap::new(),
            damage: Some(reason),
        })
    }
}
