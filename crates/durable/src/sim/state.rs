//! What a simulated disk holds now, and how it came to be.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use rustix::io::Errno;

use super::content::{BLOCK, pieces};
use super::fate::Fate;
use super::log::{Effect, Record};
use super::operation::Operation;
use super::tree::{Change, Inode, Node, Place, Tree};

pub(super) struct State {
    /// What was there before the log began.
    start: Tree,
    log: Vec<Record>,
    /// What `start` and the whole log make, which is what a program sees.
    tree: Tree,
    next_inode: Inode,
    /// How many handles are open, by file.
    open: BTreeMap<Inode, usize>,
    capacity_blocks: u64,
}

impl State {
    pub(super) fn new(tree: Tree) -> Self {
        Self {
            start: tree.clone(),
            log: Vec::new(),
            next_inode: tree.next_inode(),
            tree,
            open: BTreeMap::new(),
            capacity_blocks: u64::MAX,
        }
    }

    pub(super) fn make(
        &mut self,
        path: &Path,
        node: Node,
        operation: Operation,
    ) -> Result<Inode, Errno> {
        let to = self.tree.place(path)?;
        if self.tree.at(&to).is_some() {
            return Err(Errno::EXIST);
        }
        let inode = self.next_inode;
        self.next_inode += 1;
        self.record(operation, Effect::Change(Change::Link { to, inode, node }));
        Ok(inode)
    }

    pub(super) fn rename(
        &mut self,
        from: &Path,
        to: &Path,
        operation: Operation,
    ) -> Result<(), Errno> {
        let (from, to) = (self.tree.place(from)?, self.tree.place(to)?);
        let inode = self.tree.at(&from).ok_or(Errno::NOENT)?;
        if self.tree.is_within(to.folder, inode) {
            return Err(Errno::INVAL);
        }
        match self.tree.at(&to) {
            Some(replaced) if replaced == inode => return Ok(()),
            Some(replaced) => self.may_replace(inode, &from, replaced)?,
            None => {}
        }
        self.record(operation, Effect::Change(Change::Move { from, to, inode }));
        Ok(())
    }

    pub(super) fn remove_file(&mut self, path: &Path, operation: Operation) -> Result<(), Errno> {
        let from = self.tree.place(path)?;
        let inode = self.tree.at(&from).ok_or(Errno::NOENT)?;
        if let Node::Folder(_) = self.tree.node(inode) {
            return Err(Errno::ISDIR);
        }
        self.record(operation, Effect::Change(Change::Unlink { from, inode }));
        Ok(())
    }

    /// Writes as much of `bytes` as there is room for, and says how much that is.
    pub(super) fn write(
        &mut self,
        path: &Path,
        inode: Inode,
        offset: u64,
        bytes: &[u8],
    ) -> Result<u64, Errno> {
        if bytes.is_empty() {
            return Ok(0);
        }
        check_len(offset.saturating_add(bytes.len() as u64))?;
        let content = self.tree.content(inode);
        let mut room = self.capacity_blocks.saturating_sub(self.tree.block_count());
        let mut fitting = 0;
        for (at, piece) in pieces(offset, bytes) {
            if !content.has_block(at / BLOCK) {
                if room == 0 {
                    break;
                }
                room -= 1;
            }
            fitting += piece.len();
        }
        if fitting == 0 {
            return Err(Errno::NOSPC);
        }

        let len = fitting as u64;
        let grows = offset + len > content.len();
        let bytes = Arc::from(&bytes[..fitting]);
        let operation = Operation::Write {
            path: path.to_owned(),
            offset,
            len,
        };
        self.record(
            operation,
            Effect::Write {
                inode,
                offset,
                bytes,
                grows,
            },
        );
        Ok(len)
    }

    pub(super) fn set_len(
        &mut self,
        inode: Inode,
        len: u64,
        operation: Operation,
    ) -> Result<(), Errno> {
        check_len(len)?;
        self.record(operation, Effect::SetLen { inode, len });
        Ok(())
    }

    pub(super) fn record(&mut self, operation: Operation, effect: Effect) {
        effect.apply(&mut self.tree, &Fate::Kept);
        self.log.push(Record { operation, effect });
        self.forget_unreachable();
    }

    pub(super) fn opened(&mut self, inode: Inode) {
        *self.open.entry(inode).or_default() += 1;
    }

    pub(super) fn closed(&mut self, inode: Inode) {
        let count = self
            .open
            .get_mut(&inode)
            .expect("closed only after it was opened");
        *count -= 1;
        if *count == 0 {
            self.open.remove(&inode);
            self.forget_unreachable();
        }
    }

    pub(super) fn set_capacity(&mut self, blocks: u64) {
        self.capacity_blocks = blocks;
    }

    pub(super) fn start(&self) -> &Tree {
        &self.start
    }

    pub(super) fn log(&self) -> &[Record] {
        &self.log
    }

    pub(super) fn tree(&self) -> &Tree {
        &self.tree
    }

    fn forget_unreachable(&mut self) {
        self.tree
            .forget_unreachable(|inode| self.open.contains_key(&inode));
    }

    /// Whether `inode`, whose name is `from`, may take the name of `replaced`.
    fn may_replace(&self, inode: Inode, from: &Place, replaced: Inode) -> Result<(), Errno> {
        match (self.tree.node(inode), self.tree.node(replaced)) {
            _ if self.tree.is_within(from.folder, replaced) => Err(Errno::NOTEMPTY),
            (Node::File(_), Node::Folder(_)) => Err(Errno::ISDIR),
            (Node::Folder(_), Node::File(_)) => Err(Errno::NOTDIR),
            (Node::Folder(_), Node::Folder(names)) if !names.is_empty() => Err(Errno::NOTEMPTY),
            _ => Ok(()),
        }
    }
}

/// Refuses what no `off_t` can say.
fn check_len(len: u64) -> Result<(), Errno> {
    i64::try_from(len).map(drop).map_err(|_| Errno::FBIG)
}
