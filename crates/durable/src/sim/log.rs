//! What happened to a simulated disk, one entry after the other.

use std::sync::Arc;

use super::content::pieces;
use super::fate::Fate;
use super::operation::Operation;
use super::tree::{Change, Inode, Tree};

/// One entry of the log.
#[derive(Debug, Clone)]
pub(super) struct Record {
    /// For people.
    pub(super) operation: Operation,
    /// For the simulation.
    pub(super) effect: Effect,
}

#[derive(Debug, Clone)]
pub(super) enum Effect {
    Change(Change),
    Write {
        inode: Inode,
        offset: u64,
        bytes: Arc<[u8]>,
        /// Whether the file was shorter before.
        grows: bool,
    },
    SetLen {
        inode: Inode,
        len: u64,
    },
    /// A sync of a file or folder, of what the first `before` entries of the log did to it.
    Sync {
        inode: Inode,
        before: usize,
        stored: bool,
    },
}

impl Effect {
    /// Does to `tree` what `fate` leaves of this.
    pub(super) fn apply(&self, tree: &mut Tree, fate: &Fate) {
        match (self, fate) {
            (Self::Change(change), Fate::Kept) => tree.apply(change),
            (Self::SetLen { inode, len }, Fate::Kept) => tree.content_mut(*inode).set_len(*len),
            (
                Self::Write {
                    inode,
                    offset,
                    bytes,
                    ..
                },
                Fate::Kept,
            ) => {
                tree.content_mut(*inode).write(*offset, bytes);
            }
            (
                Self::Write {
                    inode,
                    offset,
                    bytes,
                    ..
                },
                Fate::Torn { blocks, grown },
            ) => {
                let content = tree.content_mut(*inode);
                for ((at, piece), kept) in pieces(*offset, bytes).zip(blocks) {
                    if *kept {
                        content.write(at, piece);
                    }
                }
                if *grown {
                    content.grow_to(offset + bytes.len() as u64);
                }
            }
            (_, Fate::Lost | Fate::Torn { .. }) | (Self::Sync { .. }, _) => {}
        }
    }

    /// Whether a sync of `inode` makes this durable.
    pub(super) fn concerns(&self, inode: Inode) -> bool {
        match self {
            Self::Change(change) => change.concerns(inode),
            _ => self.file() == Some(inode),
        }
    }

    /// The file whose content this alters.
    pub(super) fn file(&self) -> Option<Inode> {
        match self {
            Self::Write { inode, .. } | Self::SetLen { inode, .. } => Some(*inode),
            Self::Change(_) | Self::Sync { .. } => None,
        }
    }
}
