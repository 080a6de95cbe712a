//! How chunk files are called.

use std::{
    collections::HashSet,
    fmt, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use longtake_durable::{Storage, StoredFile};

use super::{event::WriteError, header::ChunkHeader};

/// What the name of a chunk ends with until it is finished.
const PART_SUFFIX: &str = ".part";

/// Linux allows 255 bytes, and the suffix of an unfinished chunk must fit in.
const MAX_NAME_BYTES: usize = 255 - PART_SUFFIX.len();

/// How many names are tried for a chunk beside the one that was asked for.
const MAX_SPARE_NAMES: u32 = 99;

/// How other parts of a recording are called, or end.
const RESERVED: [&str; 4] = ["manifest.json", PART_SUFFIX, ".torn", ".tmp"];

/// A function that names chunks.
pub(super) type NameChunk = dyn Fn(&ChunkHeader) -> String + Send + Sync;

/// Why a chunk is not called what it was asked to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NameFault {
    /// It is empty, begins with a dot, or holds a slash, a backslash or a control character.
    #[error("it is no plain file name")]
    NotPlain,
    /// It has more than 250 bytes.
    #[error("it is longer than {MAX_NAME_BYTES} bytes")]
    TooLong,
    /// It is the manifest's, or ends as names of unfinished files do.
    #[error("it is reserved")]
    Reserved,
    /// Another chunk of this recording has or had it.
    #[error("it was given to another chunk")]
    Repeated,
    /// A file of that name exists.
    #[error("a file of that name exists")]
    Taken,
}

/// Gives names to chunks, none of them twice.
pub(super) struct Names {
    choose: Option<Arc<NameChunk>>,
    /// Also those of files that somebody has moved away since.
    given: HashSet<String>,
}

/// A new, empty file of a chunk.
#[derive(Debug)]
pub(super) struct Created {
    /// What it is called once it is finished.
    pub(super) name: String,
    /// Where it is as long as it is not.
    pub(super) part: PathBuf,
    pub(super) file: Arc<dyn StoredFile>,
    /// The name that it should have had, and why it does not.
    pub(super) refused: Option<(String, NameFault)>,
}

/// What came of one name.
enum Attempt {
    Created(PathBuf, Arc<dyn StoredFile>),
    Refused(NameFault),
}

impl Names {
    pub(super) fn new(choose: Option<Arc<NameChunk>>) -> Self {
        Self {
            choose,
            given: HashSet::new(),
        }
    }

    /// Creates the file for a chunk in `folder`. A name that will not do is replaced: a wall clock
    /// that was set back must not end the recording because chunks are named by it.
    pub(super) fn create(
        &mut self,
        storage: &dyn Storage,
        folder: &Path,
        header: &ChunkHeader,
    ) -> Result<Created, WriteError> {
        let sequence = header.sequence;
        let chosen = self.choose.as_ref().map(|choose| choose(header));
        let usual = format!("{sequence:05}.mkv");
        let spare = (2..=MAX_SPARE_NAMES).map(|n| format!("{sequence:05}-{n}.mkv"));
        let mut refused = None;
        for name in chosen.into_iter().chain([usual]).chain(spare) {
            match self.try_name(storage, folder, &name)? {
                Attempt::Created(part, file) => {
                    self.given.insert(name.clone());
                    return Ok(Created {
                        name,
                        part,
                        file,
                        refused,
                    });
                }
                Attempt::Refused(fault) => {
                    refused.get_or_insert((name, fault));
                }
            }
        }
        Err(WriteError::Create {
            path: folder.join(format!("{sequence:05}.mkv")),
            source: io::ErrorKind::AlreadyExists.into(),
        })
    }

    fn try_name(
        &self,
        storage: &dyn Storage,
        folder: &Path,
        name: &str,
    ) -> Result<Attempt, WriteError> {
        if let Err(fault) = check_name(name) {
            return Ok(Attempt::Refused(fault));
        }
        if self.given.contains(name) {
            return Ok(Attempt::Refused(NameFault::Repeated));
        }
        let failed = |path: PathBuf, source| WriteError::Create { path, source };
        let finished = folder.join(name);
        match storage.entry(&finished) {
            Ok(_) => return Ok(Attempt::Refused(NameFault::Taken)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(source) => return Err(failed(finished, source)),
        }
        let part = folder.join(format!("{name}{PART_SUFFIX}"));
        match storage.create_new(&part) {
            Ok(file) => Ok(Attempt::Created(part, file)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                Ok(Attempt::Refused(NameFault::Taken))
            }
            Err(source) => Err(failed(part, source)),
        }
    }
}

impl fmt::Debug for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Names")
            .field("given", &self.given.len())
            .finish_non_exhaustive()
    }
}

/// Whether a chunk may be called so, as far as the name itself goes.
fn check_name(name: &str) -> Result<(), NameFault> {
    let is_plain = !name.is_empty()
        && !name.starts_with('.')
        && !name.contains(['/', '\\'])
        && !name.contains(char::is_control);
    if !is_plain {
        Err(NameFault::NotPlain)
    } else if name.len() > MAX_NAME_BYTES {
        Err(NameFault::TooLong)
    } else if RESERVED.iter().any(|reserved| name.ends_with(reserved)) {
        Err(NameFault::Reserved)
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(name: &str, want: Result<(), NameFault>) {
        assert_eq!(check_name(name), want, "{name:?}");
    }

    #[test]
    fn only_plain_file_names_will_do() {
        check("00001.mkv", Ok(()));
        check("front door 12:03 übersicht.mkv", Ok(()));
        check("chunk", Ok(()));
        check("a..b", Ok(()));
        for name in [
            "",
            ".",
            "..",
            ".hidden.mkv",
            "a/b",
            "/etc/passwd",
            "../x.mkv",
            "a\0b",
            "a\nb",
            "a\\b",
        ] {
            check(name, Err(NameFault::NotPlain));
        }
        check(&"x".repeat(250), Ok(()));
        check(&"x".repeat(251), Err(NameFault::TooLong));
        check(&"ü".repeat(126), Err(NameFault::TooLong));
        for name in ["manifest.json", "00001.mkv.part", "00001.mkv.torn", "x.tmp"] {
            check(name, Err(NameFault::Reserved));
        }
    }
}
