//! Who works on a recording's folder.

use std::{
    error::Error,
    fs::{self, File},
    io,
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use nix::{
    errno::Errno,
    fcntl::{Flock, FlockArg, OFlag},
};
use tracing::warn;

/// The right to write in a recording's folder, held by the session that records into it and by
/// whoever recovers it.
///
/// It is an advisory lock (`flock`) on the folder itself, so that nothing is left in the folder and
/// nothing needs to be cleaned up: the kernel drops it with its holder, however that ends. It holds
/// among the processes of one machine.
#[derive(Debug)]
pub struct RecordingLock {
    _folder: Flock<File>,
}

/// Why a folder could not be locked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LockError {
    /// Somebody holds the lock: the folder is being recorded or recovered, the file exported.
    #[error("{path} is in use by another process")]
    InUse {
        /// The recording's folder, or the file.
        path: PathBuf,
    },
    /// The folder or file cannot be opened or locked.
    #[error("cannot lock {path}")]
    Io {
        /// The recording's folder, or the file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl RecordingLock {
    /// Takes the lock on `folder`, or says at once that somebody else has it.
    ///
    /// It is released when this value is dropped. Children that this process starts do not keep it.
    ///
    /// # Errors
    ///
    /// See [`LockError`].
    pub fn take(folder: &Path) -> Result<Self, LockError> {
        let path = || folder.to_owned();
        let file = File::open(folder).map_err(|source| LockError::Io {
            path: path(),
            source,
        })?;
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(folder) => Ok(Self { _folder: folder }),
            Err((_, Errno::EWOULDBLOCK)) => Err(LockError::InUse { path: path() }),
            Err((_, errno)) => Err(LockError::Io {
                path: path(),
                source: errno.into(),
            }),
        }
    }
}

/// The right to write the file of one path, held while an export writes it.
///
/// The file itself is locked; it is created where there is none, and removed in the end unless it has
/// got another name by then.
#[derive(Debug)]
pub(crate) struct OutputLock {
    file: Flock<File>,
    path: PathBuf,
}

impl OutputLock {
    /// Takes the lock on the file at `path`, or says at once that somebody else has it.
    pub(crate) fn take(path: &Path) -> Result<Self, LockError> {
        let io = |source| LockError::Io {
            path: path.to_owned(),
            source,
        };
        loop {
            let file = File::options()
                .create(true)
                .truncate(false)
                .write(true)
                .custom_flags(OFlag::O_NOFOLLOW.bits())
                .open(path)
                .map_err(io)?;
            let file = match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
                Ok(file) => file,
                Err((_, Errno::EWOULDBLOCK)) => {
                    let path = path.to_owned();
                    return Err(LockError::InUse { path });
                }
                Err((_, errno)) => return Err(io(errno.into())),
            };
            // Whoever held it may have removed it or given it another name in between.
            if is_at(&file, path).map_err(io)? {
                let path = path.to_owned();
                return Ok(Self { file, path });
            }
        }
    }
}

impl Drop for OutputLock {
    fn drop(&mut self) {
        if matches!(is_at(&self.file, &self.path), Ok(true))
            && let Err(error) = fs::remove_file(&self.path)
        {
            let path = self.path.display();
            warn!(error = &error as &dyn Error, %path, "file stays until the next export");
        }
    }
}

/// Whether `path` leads to `file`.
fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    let ours = file.metadata()?;
    match fs::symlink_metadata(path) {
        Ok(found) => Ok((found.dev(), found.ino()) == (ours.dev(), ours.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_holder_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let held = RecordingLock::take(folder.path()).unwrap();
        let refused = RecordingLock::take(folder.path());
        assert!(
            matches!(refused, Err(LockError::InUse { .. })),
            "{refused:?}"
        );
        drop(held);
        RecordingLock::take(folder.path()).unwrap();
        assert_eq!(
            fs::read_dir(folder.path()).unwrap().count(),
            0,
            "a lock leaves nothing behind"
        );
    }

    #[test]
    fn a_folder_that_is_not_there_cannot_be_locked() {
        let folder = tempfile::tempdir().unwrap();
        let refused = RecordingLock::take(&folder.path().join("missing"));
        assert!(matches!(refused, Err(LockError::Io { .. })), "{refused:?}");
    }
}
