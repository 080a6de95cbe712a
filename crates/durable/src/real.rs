//! The file system of the machine.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, IoSlice};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{CWD, RenameFlags};
use rustix::io::Errno;

use crate::storage::{Entry, Storage, StoredFile};

/// The file system of the machine.
///
/// New files get mode 0666 and new folders 0777, both less the umask.
///
/// [`rename_new`](Storage::rename_new) is one `renameat2` with `RENAME_NOREPLACE`. A file system
/// that lacks it (NFS, many that run in user space) is asked whether the name is free and then
/// told to rename: there, and only there, a file that another process gives that name in between
/// is lost.
///
/// [`sync_dir`](Storage::sync_dir) succeeds on file systems that do not sync folders and say so
/// (`EINVAL`), since nothing more can be done there.
#[derive(Debug, Clone, Copy, Default)]
pub struct RealStorage;

impl Storage for RealStorage {
    fn create_new(&self, path: &Path) -> io::Result<Arc<dyn StoredFile>> {
        open_with(read_write().create_new(true), path)
    }

    fn create_like(&self, path: &Path, model: &Path) -> io::Result<Arc<dyn StoredFile>> {
        let mode = match fs::metadata(model) {
            Ok(metadata) if metadata.is_file() => metadata.mode() & 0o777,
            Ok(_) => return self.create_new(path),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return self.create_new(path),
            Err(error) => return Err(error),
        };
        let file = read_write().create_new(true).mode(mode).open(path)?;
        // The umask may have taken away what the model has; nobody can have opened more so far.
        if file.metadata()?.mode() & 0o777 != mode {
            file.set_permissions(fs::Permissions::from_mode(mode))
                .inspect_err(|_| drop(fs::remove_file(path)))?;
        }
        Ok(Arc::new(RealFile(file)))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn StoredFile>> {
        open_with(&read_write(), path)
    }

    fn open_read(&self, path: &Path) -> io::Result<Arc<dyn StoredFile>> {
        open_with(OpenOptions::new().read(true), path)
    }

    fn entry(&self, path: &Path) -> io::Result<Entry> {
        let metadata = fs::metadata(path)?;
        Ok(if metadata.is_file() {
            Entry::File {
                len: metadata.len(),
            }
        } else if metadata.is_dir() {
            Entry::Folder
        } else {
            Entry::Other
        })
    }

    fn list(&self, path: &Path) -> io::Result<Vec<OsString>> {
        let mut names = fs::read_dir(path)?
            .map(|entry| Ok(entry?.file_name()))
            .collect::<io::Result<Vec<_>>>()?;
        names.sort();
        Ok(names)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn rename_new(&self, from: &Path, to: &Path) -> io::Result<()> {
        match rustix::fs::renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
            // The manual page has EINVAL; some kernels and file systems answer otherwise.
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => check_and_rename(from, to),
            result => Ok(result?),
        }
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        fs::create_dir(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let flags = rustix::fs::OFlags::DIRECTORY.bits().cast_signed();
        let folder = OpenOptions::new()
            .read(true)
            .custom_flags(flags)
            .open(path)?;
        match folder.sync_all() {
            Err(error) if Errno::from_io_error(&error) == Some(Errno::INVAL) => Ok(()),
            result => result,
        }
    }
}

#[derive(Debug)]
struct RealFile(File);

impl StoredFile for RealFile {
    fn write_at(&self, offset: u64, parts: &[IoSlice<'_>]) -> io::Result<u64> {
        let count = rustix::io::retry_on_intr(|| rustix::io::pwritev(&self.0, parts, offset))?;
        Ok(count as u64)
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.0.read_at(buf, offset) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => return result,
            }
        }
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn sync_all(&self) -> io::Result<()> {
        self.0.sync_all()
    }
}

fn read_write() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true);
    options
}

fn open_with(options: &OpenOptions, path: &Path) -> io::Result<Arc<dyn StoredFile>> {
    Ok(Arc::new(RealFile(options.open(path)?)))
}

/// What [`RealStorage::rename_new`] does where the file system has no `RENAME_NOREPLACE`.
fn check_and_rename(from: &Path, to: &Path) -> io::Result<()> {
    match fs::symlink_metadata(to) {
        Ok(_) => Err(Errno::EXIST.into()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => fs::rename(from, to),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::check_and_rename;
    use std::{fs, io};

    #[test]
    fn renaming_without_kernel_help_refuses_a_taken_name() {
        let folder = tempfile::tempdir().unwrap();
        let [from, to, dangling] = ["from", "to", "dangling"].map(|name| folder.path().join(name));
        fs::write(&from, "new").unwrap();
        fs::write(&to, "old").unwrap();
        std::os::unix::fs::symlink("nowhere", &dangling).unwrap();

        for taken in [&to, &dangling] {
            let error = check_and_rename(&from, taken).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::AlreadyExists, "{taken:?}");
        }
        assert_eq!(fs::read(&to).unwrap(), b"old");

        fs::remove_file(&to).unwrap();
        check_and_rename(&from, &to).unwrap();
        assert_eq!(fs::read(&to).unwrap(), b"new");
        assert!(!from.exists());
    }
}
