//! An open file of the simulated disk.

use std::io::{self, IoSlice};
use std::path::PathBuf;

use rustix::io::Errno;

use super::operation::Operation;
use super::storage::SimStorage;
use super::tree::{Inode, Node};
use crate::storage::StoredFile;

/// A handle, which keeps the file also when it has lost its name.
#[derive(Debug)]
pub(super) struct SimFile {
    disk: SimStorage,
    inode: Inode,
    path: PathBuf,
    access: Access,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    Read,
    ReadWrite,
}

impl SimFile {
    /// Takes over a handle that the disk has counted.
    pub(super) fn new(disk: SimStorage, inode: Inode, path: PathBuf, access: Access) -> Self {
        Self {
            disk,
            inode,
            path,
            access,
        }
    }
}

impl StoredFile for SimFile {
    fn write_at(&self, offset: u64, parts: &[IoSlice<'_>]) -> io::Result<u64> {
        let bytes = parts
            .iter()
            .flat_map(|part| part.iter().copied())
            .collect::<Vec<_>>();
        let len = bytes.len() as u64;
        let operation = Operation::Write {
            path: self.path.clone(),
            offset,
            len,
        };
        self.disk.run(operation, |state, _| match self.access {
            Access::Read => Err(Errno::BADF),
            Access::ReadWrite => state.write(&self.path, self.inode, offset, &bytes),
        })
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        let len = buf.len() as u64;
        let operation = Operation::Read {
            path: self.path.clone(),
            offset,
            len,
        };
        self.disk
            .run(operation, |state, _| match state.tree().node(self.inode) {
                Node::File(content) => Ok(content.read(offset, buf)),
                Node::Folder(_) => Err(Errno::ISDIR),
            })
    }

    fn len(&self) -> io::Result<u64> {
        Ok(match self.disk.state().tree().node(self.inode) {
            Node::File(content) => content.len(),
            Node::Folder(_) => 0,
        })
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let operation = Operation::SetLen {
            path: self.path.clone(),
            len,
        };
        self.disk
            .run(operation, |state, operation| match self.access {
                Access::Read => Err(Errno::INVAL),
                Access::ReadWrite => state.set_len(self.inode, len, operation),
            })
    }

    fn sync_data(&self) -> io::Result<()> {
        self.disk
            .sync(self.inode, Operation::SyncData(self.path.clone()))
    }

    fn sync_all(&self) -> io::Result<()> {
        self.disk
            .sync(self.inode, Operation::SyncAll(self.path.clone()))
    }
}

impl Drop for SimFile {
    fn drop(&mut self) {
        self.disk.state().closed(self.inode);
    }
}
