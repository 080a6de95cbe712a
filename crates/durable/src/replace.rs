//! Replace a whole file in one step.

use std::ffi::OsString;
use std::fmt;
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::storage::{Storage, StoredFile};

/// Gives the file at `path` the content `bytes`, so that whoever opens it, also after a crash at
/// any moment, finds the old content or the new one, whole. After `Ok` it is the new one.
///
/// The bytes are written to `.NAME.tmp` beside it, that file is synced and takes the name, and the
/// folder is synced. A `.NAME.tmp` that a crash left behind is removed first. So a name may have at
/// most 250 bytes where the file system allows 255, and only one `replace` of a path may run at a
/// time: a second one would take the first one's half-written file for a leftover.
///
/// The permission bits of the old file are kept; its owner, its attributes and its other hard
/// links are not. A symbolic link is replaced itself, by a file with the permission bits of what
/// it points to, which stays as it is.
///
/// The folder must exist, and must be durable itself if the file is to be.
///
/// # Errors
///
/// [`ReplaceError::Unchanged`] means the old content, [`ReplaceError::NotDurable`] the new one,
/// which a crash may still turn into the old one.
pub fn replace(storage: &dyn Storage, path: &Path, bytes: &[u8]) -> Result<(), ReplaceError> {
    let unchanged = |step, leftover, source| ReplaceError::Unchanged {
        path: path.to_owned(),
        step,
        leftover,
        source,
    };
    let Some(name) = path.file_name() else {
        let source = io::ErrorKind::InvalidInput.into();
        return Err(unchanged(ReplaceStep::Create, None, source));
    };
    let mut temporary_name = OsString::from(".");
    temporary_name.push(name);
    temporary_name.push(".tmp");
    let temporary = path.with_file_name(temporary_name);

    let file = create_over_leftover(storage, &temporary, path)
        .map_err(|source| unchanged(ReplaceStep::Create, None, source))?;
    if let Err((step, source)) = fill_and_rename(storage, &file, &temporary, path, bytes) {
        let leftover = storage
            .remove_file(&temporary)
            .is_err()
            .then_some(temporary);
        return Err(unchanged(step, leftover, source));
    }
    storage
        .sync_dir(folder_of(path))
        .map_err(|source| ReplaceError::NotDurable {
            path: path.to_owned(),
            source,
        })
}

/// Why a file could not be replaced.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReplaceError {
    /// The file has its old content, or is still missing.
    #[error("cannot replace {path}, {step} failed{}", Leftover(leftover.as_deref()))]
    Unchanged {
        /// The file that was to be replaced.
        path: PathBuf,
        /// How far it came.
        step: ReplaceStep,
        /// A file that was written beside it and could not be removed; the next `replace` tries
        /// again to.
        leftover: Option<PathBuf>,
        /// [`StorageFull`](io::ErrorKind::StorageFull) among others.
        source: io::Error,
    },
    /// The file has its new content, but a crash may bring the old one back.
    #[error("replaced {path}, but cannot sync its folder")]
    NotDurable {
        /// The file that was replaced.
        path: PathBuf,
        /// What the sync said.
        source: io::Error,
    },
}

/// What a [`replace`] was doing when it failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReplaceStep {
    /// Creating the file beside the old one.
    Create,
    /// Writing to it.
    Write,
    /// Syncing it.
    Sync,
    /// Giving it the name of the old one.
    Rename,
}

impl fmt::Display for ReplaceStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Create => "creating a file beside it",
            Self::Write => "writing beside it",
            Self::Sync => "syncing the file beside it",
            Self::Rename => "renaming the file beside it",
        })
    }
}

/// Prints the part of a message that concerns a file left behind.
struct Leftover<'a>(Option<&'a Path>);

impl fmt::Display for Leftover<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(path) => write!(f, " and left {} behind", path.display()),
            None => Ok(()),
        }
    }
}

/// Creates `temporary`, after removing one that a crash left behind.
///
/// Removed, not emptied: it may be a link, or have permissions that let others read it.
fn create_over_leftover(
    storage: &dyn Storage,
    temporary: &Path,
    path: &Path,
) -> io::Result<Arc<dyn StoredFile>> {
    match storage.create_like(temporary, path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            storage.remove_file(temporary)?;
            storage.create_like(temporary, path)
        }
        result => result,
    }
}

fn fill_and_rename(
    storage: &dyn Storage,
    file: &Arc<dyn StoredFile>,
    temporary: &Path,
    path: &Path,
    bytes: &[u8],
) -> Result<(), (ReplaceStep, io::Error)> {
    file.write_all_at(0, &mut [IoSlice::new(bytes)])
        .map_err(|error| (ReplaceStep::Write, error.source))?;
    file.sync_all()
        .map_err(|error| (ReplaceStep::Sync, error))?;
    storage
        .rename(temporary, path)
        .map_err(|error| (ReplaceStep::Rename, error))
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}
