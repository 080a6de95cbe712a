//! Makes one chunk whole: cut at its last good cluster, with its index, under its finished name.

use std::{
    collections::BTreeSet,
    io::{self, IoSlice, Read},
    path::Path,
    sync::Arc,
};

use longtake_durable::{Entry, Storage, StoredFile};
use longtake_matroska::{Muxer, Trailer};

use super::{RecoverError, RecoveredChunk, Repair, aside};
use crate::{
    chunk::hide_unused_tracks,
    chunk_file::{Chunk, ChunkFile, FileReader, Next, Opened, next_cluster},
    content::{ChunkContent, Content},
    inspect::InspectedChunk,
    manifest::SetAside,
    recording_id::RecordingId,
};

/// What came of one chunk.
#[derive(Debug, Default)]
pub(super) struct Mended {
    /// What was done; nothing for a chunk that was whole.
    pub repair: Option<RecoveredChunk>,
    /// What it holds now; nothing if it was set aside.
    pub found: Option<InspectedChunk>,
}

/// What reading a chunk has shown.
struct Scan {
    file: ChunkFile,
    content: ChunkContent,
    /// Knows all good clusters. None if another program has laid out the header, so that there is no
    /// room in it for what completes a chunk.
    muxer: Option<Muxer>,
    /// How long the header is.
    header_bytes: u64,
    /// The numbers of the tracks that have packets.
    used_tracks: BTreeSet<u64>,
    damage: Option<String>,
    complete: bool,
}

/// Reads the chunk in `file`, counts what is in it, and makes it whole where it is not.
pub(super) fn mend(
    storage: &dyn Storage,
    folder: &Path,
    file: ChunkFile,
    recording: RecordingId,
    content: &mut Content,
) -> Result<Mended, RecoverError> {
    let mut scan = match file.open(storage, Some(recording))? {
        Opened::Chunk(chunk) => scan(*chunk, content)?,
        Opened::Stranger => return Ok(Mended::default()),
        Opened::Broken(broken) => {
            return Ok(Mended {
                repair: Some(set_aside(storage, folder, &broken.file, broken.reason)?),
                found: None,
            });
        }
    };
    if scan.complete && !scan.file.is_open() {
        return leave(storage, scan, None);
    }
    if scan.content.packets.is_empty() {
        let nothing = || "there is no packet in it".to_owned();
        let damage = scan.damage.unwrap_or_else(nothing);
        return Ok(Mended {
            repair: Some(set_aside(storage, folder, &scan.file, damage)?),
            found: None,
        });
    }
    if scan.damage.is_some() {
        content.cut();
    }
    match scan.muxer.take() {
        Some(muxer) => finish(storage, folder, scan, muxer),
        None => leave(storage, scan, None),
    }
}

/// Sets a whole file aside.
pub(super) fn set_aside(
    storage: &dyn Storage,
    folder: &Path,
    file: &ChunkFile,
    damage: String,
) -> Result<RecoveredChunk, RecoverError> {
    let chunk = file.finished_name();
    let set_aside = aside::rename(storage, folder, &file.name, chunk)?;
    Ok(RecoveredChunk {
        file: chunk.to_owned(),
        repair: Repair::Unusable { damage, set_aside },
    })
}

fn scan(chunk: Chunk, content: &mut Content) -> Result<Scan, RecoverError> {
    let Chunk {
        file, mut reader, ..
    } = chunk;
    let places = content.begin_chunk(&reader.header().tracks);
    let mut muxer = Muxer::resume(reader.header()).ok();
    let mut found = ChunkContent::default();
    let mut used_tracks = BTreeSet::new();
    let damage = loop {
        match next_cluster(&mut reader, &file.path)? {
            Next::Cluster(cluster) => {
                let kept = muxer.as_mut().map(|muxer| muxer.keep(&cluster));
                if let Some(Err(error)) = kept {
                    break Some(error.to_string());
                }
                content.count(&cluster, &places, &mut found);
                used_tracks.extend(cluster.blocks().map(|block| block.track));
            }
            Next::End => break None,
            Next::Damaged(damage) => break Some(damage.to_string()),
        }
    };
    Ok(Scan {
        file,
        content: found,
        muxer,
        header_bytes: reader.header().len,
        used_tracks,
        complete: damage.is_none() && reader.is_complete(),
        damage,
    })
}

/// Does what the recorder could not do any more, each step durable before the next: sets the torn end
/// aside, cuts it off, writes the index, completes the header, gives the file its name.
fn finish(
    storage: &dyn Storage,
    folder: &Path,
    mut scan: Scan,
    muxer: Muxer,
) -> Result<Mended, RecoverError> {
    let finished = ChunkFile::new(folder, scan.file.finished_name().to_owned());
    let path = scan.file.path.clone();
    let failed = |source| RecoverError::Write {
        path: path.clone(),
        source,
    };
    if scan.file.is_open() && storage.entry(&finished.path).is_ok() {
        let (path, taken) = (path, finished.path);
        return Err(RecoverError::NameTaken { path, taken });
    }
    let stored = storage.open(&path).map_err(failed)?;
    let mut set_aside = None;
    if !scan.complete {
        let trailer = muxer.finish();
        if !is_trailer_begun(&stored, &trailer).map_err(failed)? {
            let (chunk, offset) = (&finished.name, trailer.offset);
            set_aside = Some(aside::copy_tail(storage, folder, chunk, &stored, offset)?);
        }
        complete(&stored, &trailer).map_err(failed)?;
    }
    hide_unused(&stored, &scan).map_err(failed)?;
    stored.sync_all().map_err(failed)?;
    if scan.file.is_open() {
        storage
            .rename_new(&path, &finished.path)
            .and_then(|()| storage.sync_dir(folder))
            .map_err(failed)?;
    }
    let repair = RecoveredChunk {
        file: finished.name.clone(),
        repair: repair(scan.damage.take(), set_aside),
    };
    scan.complete = true;
    scan.file = finished;
    leave(storage, scan, Some(repair))
}

fn repair(damage: Option<String>, set_aside: Option<SetAside>) -> Repair {
    match set_aside {
        Some(set_aside) => Repair::Cut {
            damage: damage.unwrap_or_else(|| "its index did not fit".to_owned()),
            set_aside,
        },
        None => Repair::Finished,
    }
}

/// Whether nothing follows the last cluster but the beginning of what is to follow it: a recorder or
/// a recovery died while it finished the chunk. Blocks that a power cut lost are zeros.
fn is_trailer_begun(stored: &Arc<dyn StoredFile>, trailer: &Trailer) -> io::Result<bool> {
    let limit = trailer.bytes.len() as u64 + 1;
    let mut tail = Vec::new();
    FileReader::starting_at(Arc::clone(stored), trailer.offset)
        .take(limit)
        .read_to_end(&mut tail)?;
    let mut pairs = tail.iter().zip(&trailer.bytes);
    Ok(tail.len() <= trailer.bytes.len() && pairs.all(|(is, ought)| is == ought || *is == 0))
}

/// Puts `trailer` in the place of whatever is behind the last cluster.
fn complete(stored: &Arc<dyn StoredFile>, trailer: &Trailer) -> io::Result<()> {
    stored.set_len(trailer.offset)?;
    // The clusters as well: the recorder may have died before it synced them.
    stored.sync_data()?;
    write(stored, trailer.offset, &trailer.bytes)?;
    stored.sync_data()?;
    for patch in &trailer.patches {
        write(stored, patch.offset, &patch.bytes)?;
    }
    Ok(())
}

/// Hides the tracks without a packet, as the recorder does in a chunk that it finishes.
fn hide_unused(stored: &Arc<dyn StoredFile>, scan: &Scan) -> io::Result<()> {
    let mut header = Vec::new();
    FileReader::new(Arc::clone(stored))
        .take(scan.header_bytes)
        .read_to_end(&mut header)?;
    for patch in hide_unused_tracks(&header, |track| scan.used_tracks.contains(&track)) {
        write(stored, patch.offset, &patch.bytes)?;
    }
    Ok(())
}

fn write(stored: &Arc<dyn StoredFile>, offset: u64, bytes: &[u8]) -> io::Result<()> {
    stored
        .write_all_at(offset, &mut [IoSlice::new(bytes)])
        .map_err(|error| error.source)
}

/// Says what is in a chunk as it is now.
fn leave(
    storage: &dyn Storage,
    scan: Scan,
    repair: Option<RecoveredChunk>,
) -> Result<Mended, RecoverError> {
    let bytes = match storage.entry(&scan.file.path) {
        Ok(Entry::File { len }) => len,
        Ok(_) => 0,
        Err(source) => {
            let path = scan.file.path;
            return Err(RecoverError::Write { path, source });
        }
    };
    Ok(Mended {
        repair,
        found: Some(InspectedChunk::new(
            scan.file.name,
            bytes,
            scan.complete,
            scan.content,
            scan.damage,
        )),
    })
}
