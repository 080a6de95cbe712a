//! What a program did to a simulated disk, in the words of the trait.

use std::fmt;
use std::path::PathBuf;

/// One call to a [`SimStorage`](super::SimStorage) or to one of its files.
///
/// The path of a file is the one it was opened by.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Operation {
    /// `create_new` or `create_like`.
    Create(PathBuf),
    /// `open` or `open_read`.
    Open(PathBuf),
    /// `entry`.
    Entry(PathBuf),
    /// `list`.
    List(PathBuf),
    /// `rename` or `rename_new`.
    Rename {
        /// The old name.
        from: PathBuf,
        /// The new name.
        to: PathBuf,
    },
    /// `remove_file`.
    RemoveFile(PathBuf),
    /// `create_dir`.
    CreateDir(PathBuf),
    /// `sync_dir`.
    SyncDir(PathBuf),
    /// `write_at`.
    Write {
        /// The file.
        path: PathBuf,
        /// Its first byte that is written.
        offset: u64,
        /// Bytes asked for, and in the log those that got in.
        len: u64,
    },
    /// `read_at`.
    Read {
        /// The file.
        path: PathBuf,
        /// Its first byte that is read.
        offset: u64,
        /// Bytes asked for.
        len: u64,
    },
    /// `set_len`.
    SetLen {
        /// The file.
        path: PathBuf,
        /// Its new length in bytes.
        len: u64,
    },
    /// `sync_data`.
    SyncData(PathBuf),
    /// `sync_all`.
    SyncAll(PathBuf),
}

impl Operation {
    /// Whether this is a sync of a file or folder.
    #[must_use]
    pub fn is_sync(&self) -> bool {
        matches!(
            self,
            Self::SyncDir(_) | Self::SyncData(_) | Self::SyncAll(_)
        )
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Create(path) => write!(f, "create {}", path.display()),
            Self::Open(path) => write!(f, "open {}", path.display()),
            Self::Entry(path) => write!(f, "examine {}", path.display()),
            Self::List(path) => write!(f, "list {}", path.display()),
            Self::Rename { from, to } => {
                write!(f, "rename {} to {}", from.display(), to.display())
            }
            Self::RemoveFile(path) => write!(f, "remove {}", path.display()),
            Self::CreateDir(path) => write!(f, "create folder {}", path.display()),
            Self::SyncDir(path) => write!(f, "sync folder {}", path.display()),
            Self::Write { path, offset, len } => {
                write!(f, "write {len} bytes at {offset} of {}", path.display())
            }
            Self::Read { path, offset, len } => {
                write!(f, "read {len} bytes at {offset} of {}", path.display())
            }
            Self::SetLen { path, len } => write!(f, "set length {len} of {}", path.display()),
            Self::SyncData(path) => write!(f, "sync data of {}", path.display()),
            Self::SyncAll(path) => write!(f, "sync all of {}", path.display()),
        }
    }
}
