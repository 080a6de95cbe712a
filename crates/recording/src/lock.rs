//! Who works on a recording's folder.

use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
};

use nix::{
    errno::Errno,
    fcntl::{Flock, FlockArg},
};

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
    /// Somebody holds the lock.
    #[error("{path} is in use: it is being recorded or recovered")]
    InUse {
        /// The recording's folder.
        path: PathBuf,
    },
    /// The folder cannot be opened or locked.
    #[error("cannot lock {path}")]
    Io {
        /// The recording's folder.
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
            std::fs::read_dir(folder.path()).unwrap().count(),
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
