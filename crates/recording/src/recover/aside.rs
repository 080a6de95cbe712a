//! Keeps bytes that are in no chunk any more, in files whose names say where they came from.

use std::{
    error::Error,
    io::{self, IoSlice, Read},
    path::Path,
    sync::Arc,
};

use longtake_durable::{Entry, Storage, StoredFile};
use tracing::warn;

use super::RecoverError;
use crate::{
    chunk_file::{FileReader, ReadChunkError, TORN_SUFFIX},
    manifest::SetAside,
};

/// How much is copied and compared at once.
const BLOCK_BYTES: usize = 256 << 10;

/// How much of a chunk's name goes into that of what is set aside; Linux takes 255 bytes for all.
const MAX_CHUNK_NAME_BYTES: usize = 200;

/// Gives the file called `name` the first free name for all of `chunk`.
pub(super) fn rename(
    storage: &dyn Storage,
    folder: &Path,
    name: &str,
    chunk: &str,
) -> Result<SetAside, RecoverError> {
    let path = folder.join(name);
    let failed = |source| RecoverError::Write {
        path: path.clone(),
        source,
    };
    let mut attempt = 1;
    loop {
        let file = torn_name(chunk, 0, attempt);
        match storage.rename_new(&path, &folder.join(&file)) {
            Ok(()) => {
                storage.sync_dir(folder).map_err(failed)?;
                return describe(storage, folder, file, chunk.to_owned(), 0).map_err(failed);
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => attempt += 1,
            Err(error) => return Err(failed(error)),
        }
    }
}

/// Copies what is in `stored` from `offset` on into a file of its own, durably, and compares the two.
///
/// A copy that is there already, as from a run that was killed, is found again.
pub(super) fn copy_tail(
    storage: &dyn Storage,
    folder: &Path,
    chunk: &str,
    stored: &Arc<dyn StoredFile>,
    offset: u64,
) -> Result<SetAside, RecoverError> {
    let mut attempt = 1;
    loop {
        let file = torn_name(chunk, offset, attempt);
        let path = folder.join(&file);
        let failed = |source| RecoverError::Write {
            path: path.clone(),
            source,
        };
        let copy = match storage.open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                write_copy(storage, folder, &file, stored, offset)
            }
            other => other,
        }
        .map_err(failed)?;
        if same_bytes(&mut tail(stored, offset), &mut tail(&copy, 0)).map_err(failed)? {
            // Also of one that was there: whoever wrote it may not have come to this.
            copy.sync_all().map_err(failed)?;
            storage.sync_dir(folder).map_err(failed)?;
            return describe(storage, folder, file, chunk.to_owned(), offset).map_err(failed);
        }
        attempt += 1;
    }
}

/// Everything that was ever set aside in `folder`, as the names there say.
pub(super) fn list(storage: &dyn Storage, folder: &Path) -> Result<Vec<SetAside>, RecoverError> {
    let failed = |source| {
        RecoverError::Chunk(ReadChunkError::Io {
            path: folder.to_owned(),
            source,
        })
    };
    let names = storage.list(folder).map_err(failed)?;
    let names = names.into_iter().filter_map(|name| name.into_string().ok());
    let mut list = Vec::new();
    for file in names {
        if let Some((chunk, offset)) = parse_torn_name(&file) {
            let chunk = chunk.to_owned();
            list.push(describe(storage, folder, file, chunk, offset).map_err(failed)?);
        }
    }
    Ok(list)
}

/// `00003.mkv.4711.torn`, and after that `00003.mkv.4711-2.torn` and so on.
fn torn_name(chunk: &str, offset: u64, attempt: u32) -> String {
    let chunk = &chunk[..chunk.floor_char_boundary(MAX_CHUNK_NAME_BYTES)];
    match attempt {
        1 => format!("{chunk}.{offset}{TORN_SUFFIX}"),
        _ => format!("{chunk}.{offset}-{attempt}{TORN_SUFFIX}"),
    }
}

fn parse_torn_name(name: &str) -> Option<(&str, u64)> {
    let (chunk, place) = name.strip_suffix(TORN_SUFFIX)?.rsplit_once('.')?;
    let offset = place.split_once('-').map_or(place, |(offset, _)| offset);
    Some((chunk, offset.parse().ok()?))
}

fn describe(
    storage: &dyn Storage,
    folder: &Path,
    file: String,
    chunk: String,
    offset: u64,
) -> io::Result<SetAside> {
    let bytes = match storage.entry(&folder.join(&file))? {
        Entry::File { len } => len,
        _ => 0,
    };
    Ok(SetAside {
        file,
        chunk,
        offset,
        bytes,
    })
}

/// Writes the copy under another name first, so that a name always means a whole copy.
fn write_copy(
    storage: &dyn Storage,
    folder: &Path,
    file: &str,
    stored: &Arc<dyn StoredFile>,
    offset: u64,
) -> io::Result<Arc<dyn StoredFile>> {
    let temporary = folder.join(format!(".{file}.tmp"));
    let copy = match storage.create_new(&temporary) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            storage.remove_file(&temporary)?;
            storage.create_new(&temporary)?
        }
        other => other?,
    };
    let written = fill(&copy, &mut tail(stored, offset))
        .and_then(|()| copy.sync_all())
        .and_then(|()| storage.rename_new(&temporary, &folder.join(file)));
    match written {
        Ok(()) => Ok(copy),
        Err(error) => {
            if let Err(kept) = storage.remove_file(&temporary) {
                let path = temporary.display();
                warn!(error = &kept as &dyn Error, %path, "half a copy stays until the next run");
            }
            Err(error)
        }
    }
}

fn fill(copy: &Arc<dyn StoredFile>, from: &mut FileReader) -> io::Result<()> {
    let mut block = vec![0; BLOCK_BYTES];
    let mut written = 0;
    loop {
        let count = from.read(&mut block)?;
        if count == 0 {
            return Ok(());
        }
        copy.write_all_at(written, &mut [IoSlice::new(&block[..count])])
            .map_err(|error| error.source)?;
        written += count as u64;
    }
}

fn same_bytes(one: &mut FileReader, other: &mut FileReader) -> io::Result<bool> {
    let (mut left, mut right) = (Vec::new(), Vec::new());
    loop {
        left.clear();
        right.clear();
        one.by_ref()
            .take(BLOCK_BYTES as u64)
            .read_to_end(&mut left)?;
        other
            .by_ref()
            .take(BLOCK_BYTES as u64)
            .read_to_end(&mut right)?;
        if left != right || left.is_empty() {
            return Ok(left == right);
        }
    }
}

fn tail(stored: &Arc<dyn StoredFile>, offset: u64) -> FileReader {
    FileReader::starting_at(Arc::clone(stored), offset)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_where_the_bytes_came_from() {
        for (chunk, offset) in [
            ("00003.mkv", 4711),
            ("manifest.json", 0),
            ("a-1.b", u64::MAX),
        ] {
            for attempt in [1, 2, 17] {
                let name = torn_name(chunk, offset, attempt);
                assert_eq!(parse_torn_name(&name), Some((chunk, offset)), "{name}");
            }
        }
        for name in [
            "00003.mkv",
            "x.torn",
            ".torn",
            "a.b.torn",
            "a.1-2",
            "a.-2.torn",
        ] {
            assert_eq!(parse_torn_name(name), None, "{name}");
        }
    }
}
