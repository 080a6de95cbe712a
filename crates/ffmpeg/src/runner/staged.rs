//! Output files that appear whole or not at all.
//!
//! ffmpeg writes `.NAME.part` in the folder of the output. When all is well that is brought to
//! the disk and renamed, and the folder is brought to the disk too. A lock on it keeps two jobs
//! from writing the same output, and a part that a crash left behind is used again by the next
//! job of that name.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};

use super::container;
use super::error::RunError;
use crate::command::{FfmpegCommand, Target};

/// One output file on its way.
#[derive(Debug)]
pub(super) struct Staged {
    /// Where it belongs.
    pub(super) path: PathBuf,
    /// Its container.
    pub(super) muxer: String,
    part: PathBuf,
    /// Keeps the lock.
    file: File,
    overwrite: bool,
    committed: bool,
}

impl Staged {
    /// Points every file output of `command` at its part.
    pub(super) fn redirect(command: &mut FfmpegCommand) -> Result<Vec<Self>, RunError> {
        let overwrite = command.overwrites();
        let mut all = Vec::new();
        for output in command.outputs_mut() {
            let Target::File(path) = output.target() else {
                continue;
            };
            if fs::metadata(path).is_ok_and(|found| !found.is_file()) {
                // A device or a named pipe is written as it is.
                continue;
            }
            let path = path.clone();
            let muxer = match output.container() {
                Some(muxer) => muxer.to_owned(),
                None => container::muxer_of(&path)
                    .ok_or_else(|| RunError::UnknownContainer { path: path.clone() })?
                    .to_owned(),
            };
            if !overwrite && path.symlink_metadata().is_ok() {
                return Err(RunError::OutputExists { path });
            }
            let part =
                part_of(&path).ok_or_else(|| RunError::UnknownContainer { path: path.clone() })?;
            let file = lock(&part, &path)?;
            output.redirect(&part, &muxer);
            all.push(Self {
                path,
                muxer,
                part,
                file,
                overwrite,
                committed: false,
            });
        }
        if !all.is_empty() {
            // The parts exist: we have just made them.
            command.force_overwrite();
        }
        Ok(all)
    }

    /// Where ffmpeg writes.
    pub(super) fn part(&self) -> &Path {
        &self.part
    }

    /// Puts the file in its place, durably.
    pub(super) fn commit(&mut self) -> Result<(), RunError> {
        let failed = |source| RunError::Commit {
            path: self.path.clone(),
            source,
        };
        self.file.sync_all().map_err(failed)?;
        self.rename()?;
        self.committed = true;
        let synced = File::open(parent(&self.path)).and_then(|folder| folder.sync_all());
        match synced {
            // A folder that cannot be synced has nothing to lose.
            Err(error) if Errno::from_raw(error.raw_os_error().unwrap_or(0)) == Errno::EINVAL => {
                Ok(())
            }
            result => result.map_err(failed),
        }
    }

    fn rename(&self) -> Result<(), RunError> {
        let failed = |source| RunError::Commit {
            path: self.path.clone(),
            source,
        };
        let exists = || RunError::OutputExists {
            path: self.path.clone(),
        };
        if self.overwrite {
            return fs::rename(&self.part, &self.path).map_err(failed);
        }
        match renameat2(
            AT_FDCWD,
            &self.part,
            AT_FDCWD,
            &self.path,
            RenameFlags::RENAME_NOREPLACE,
        ) {
            Ok(()) => Ok(()),
            Err(Errno::EEXIST) => Err(exists()),
            // Not every file system can rename without replacing.
            Err(Errno::EINVAL | Errno::ENOSYS | Errno::EOPNOTSUPP) => {
                if self.path.symlink_metadata().is_ok() {
                    return Err(exists());
                }
                fs::rename(&self.part, &self.path).map_err(failed)
            }
            Err(error) => Err(failed(error.into())),
        }
    }
}

/// Removes the part of a file that was not committed.
impl Drop for Staged {
    fn drop(&mut self) {
        if self.committed {
            return;
        }
        if let Err(error) = fs::remove_file(&self.part)
            && error.kind() != io::ErrorKind::NotFound
        {
            let part = self.part.display();
            tracing::warn!(%error, %part, "the part of an output was not removed");
        }
    }
}

fn part_of(path: &Path) -> Option<PathBuf> {
    let mut name = OsString::from(".");
    name.push(path.file_name()?);
    name.push(".part");
    Some(path.with_file_name(name))
}

pub(super) fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

/// Makes the part and locks it for us alone.
fn lock(part: &Path, path: &Path) -> Result<File, RunError> {
    let failed = |source| RunError::Output {
        path: path.to_owned(),
        source,
    };
    loop {
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .open(part)
            .map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(RunError::OutputBusy {
                    path: path.to_owned(),
                });
            }
            Err(TryLockError::Error(source)) => return Err(failed(source)),
        }
        // Another job may have renamed or removed it while we opened it.
        let ours = file.metadata().map_err(failed)?;
        match fs::symlink_metadata(part) {
            Ok(there) if (there.dev(), there.ino()) == (ours.dev(), ours.ino()) => return Ok(file),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed(error)),
        }
    }
}
