//! What a program that must survive a crash asks of a file system.

use std::ffi::OsString;
use std::fmt;
use std::io::{self, IoSlice};
use std::path::Path;
use std::sync::Arc;

/// A tree of files and folders, real or simulated.
///
/// Nothing here is durable by itself: the bytes and the length of a file are after
/// [`StoredFile::sync_data`], a name that was created, renamed or removed is after
/// [`Storage::sync_dir`] of its folder. A folder's own name belongs to the folder above it.
///
/// The errors are those of the operating system and name no path; the caller adds it.
pub trait Storage: fmt::Debug + Send + Sync {
    /// Creates an empty file, open for reading and writing.
    ///
    /// # Errors
    ///
    /// [`AlreadyExists`](io::ErrorKind::AlreadyExists) when `path` exists, whatever it is.
    fn create_new(&self, path: &Path) -> io::Result<Arc<dyn StoredFile>>;

    /// Creates an empty file that is to take the place of `model`, with the permission bits of
    /// `model` from the first moment on; like [`create_new`](Self::create_new) when `model` does
    /// not exist.
    ///
    /// # Errors
    ///
    /// Those of [`create_new`](Self::create_new), and that `model` cannot be examined.
    fn create_like(&self, path: &Path, model: &Path) -> io::Result<Arc<dyn StoredFile>>;

    /// Opens an existing file for reading and writing.
    ///
    /// # Errors
    ///
    /// When it does not exist, is a folder, or may not be written.
    fn open(&self, path: &Path) -> io::Result<Arc<dyn StoredFile>>;

    /// Opens an existing file for reading.
    ///
    /// # Errors
    ///
    /// When it does not exist or may not be read. A folder may open and then fail to be read.
    fn open_read(&self, path: &Path) -> io::Result<Arc<dyn StoredFile>>;

    /// Says what `path` is, following symbolic links, as [`open`](Self::open) does.
    ///
    /// # Errors
    ///
    /// [`NotFound`](io::ErrorKind::NotFound) when it does not exist.
    fn entry(&self, path: &Path) -> io::Result<Entry>;

    /// Names in a folder, sorted by their bytes, without `.` and `..`.
    ///
    /// # Errors
    ///
    /// When it does not exist or is not a folder.
    fn list(&self, path: &Path) -> io::Result<Vec<OsString>>;

    /// Gives `from` the name `to` in one step; a file of that name is gone afterwards.
    ///
    /// # Errors
    ///
    /// When `from` does not exist, or `to` cannot be replaced by it.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Gives `from` the name `to` in one step, unless that name is taken.
    ///
    /// # Errors
    ///
    /// [`AlreadyExists`](io::ErrorKind::AlreadyExists) when `to` exists, whatever it is.
    fn rename_new(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes the name of a file; the bytes stay until the last handle is dropped.
    ///
    /// # Errors
    ///
    /// When it does not exist or is a folder.
    fn remove_file(&self, path: &Path) -> io::Result<()>;

    /// Creates an empty folder in an existing one.
    ///
    /// # Errors
    ///
    /// [`AlreadyExists`](io::ErrorKind::AlreadyExists) when `path` exists, whatever it is: of
    /// several that try, one succeeds.
    fn create_dir(&self, path: &Path) -> io::Result<()>;

    /// Makes durable every name that was created, renamed or removed in this folder.
    ///
    /// Says nothing about what is in the files, nor about the folder's own name.
    ///
    /// # Errors
    ///
    /// When the folder cannot be opened, or the device fails. After that the names may be on the
    /// disk or not, and syncing again may succeed without having stored them.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;
}

/// What a path leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entry {
    /// A regular file.
    File {
        /// Length in bytes.
        len: u64,
    },
    /// A folder.
    Folder,
    /// A device, a pipe, a socket.
    Other,
}

/// An open file; every method takes `&self`, so that one thread may sync while another writes.
#[expect(
    clippy::len_without_is_empty,
    reason = "asking may fail, so `is_empty` would not be used"
)]
pub trait StoredFile: fmt::Debug + Send + Sync {
    /// Writes `parts` one behind the other from byte `offset` on, and returns how many bytes got in.
    ///
    /// That may be fewer than asked, as when the disk fills up halfway or there are very many parts. A gap between the old end
    /// and `offset` reads as zeros.
    ///
    /// # Errors
    ///
    /// When not a single byte got in.
    fn write_at(&self, offset: u64, parts: &[IoSlice<'_>]) -> io::Result<u64>;

    /// Writes all of `parts` one behind the other from byte `offset` on, in as many calls as it
    /// takes.
    ///
    /// `parts` is used up: afterwards the slices no longer say what they did.
    ///
    /// # Errors
    ///
    /// Says how many bytes are in the file from `offset` on.
    fn write_all_at(
        &self,
        offset: u64,
        mut parts: &mut [IoSlice<'_>],
    ) -> Result<(), WriteAllError> {
        let mut written = 0;
        // Empty slices at the front would make a write of nothing look like a full disk.
        IoSlice::advance_slices(&mut parts, 0);
        while !parts.is_empty() {
            match self.write_at(offset + written, parts) {
                Ok(0) => {
                    let source = io::ErrorKind::WriteZero.into();
                    return Err(WriteAllError { written, source });
                }
                Ok(count) => {
                    written += count;
                    let count = usize::try_from(count).expect("no more than the slices hold");
                    IoSlice::advance_slices(&mut parts, count);
                }
                Err(source) => return Err(WriteAllError { written, source }),
            }
        }
        Ok(())
    }

    /// Reads from byte `offset` on and returns how many bytes it were; 0 at the end of the file,
    /// and maybe fewer than `buf` holds elsewhere.
    ///
    /// # Errors
    ///
    /// When the device fails, or this is a folder.
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize>;

    /// Length in bytes.
    ///
    /// # Errors
    ///
    /// When the file system cannot say.
    fn len(&self) -> io::Result<u64>;

    /// Cuts the file at `len` bytes, or lengthens it to that with zeros.
    ///
    /// # Errors
    ///
    /// When the file is not open for writing, or the file system refuses that length.
    fn set_len(&self, len: u64) -> io::Result<()>;

    /// Makes durable what was written before the call, and the length needed to read it back.
    ///
    /// # Errors
    ///
    /// When the device fails. What was not durable by then may be lost for good, although it can
    /// still be read: a later sync that succeeds does not cover it.
    fn sync_data(&self) -> io::Result<()>;

    /// Like [`sync_data`](Self::sync_data), and the rest of the metadata such as permissions.
    ///
    /// # Errors
    ///
    /// As for [`sync_data`](Self::sync_data).
    fn sync_all(&self) -> io::Result<()>;
}

/// Why [`StoredFile::write_all_at`] stopped.
#[derive(Debug, thiserror::Error)]
#[error("stopped after {written} bytes")]
pub struct WriteAllError {
    /// Bytes that did get in, from the offset of the call on.
    pub written: u64,
    /// What the first write that failed said.
    pub source: io::Error,
}
