//! What is certain to be on a simulated disk at one point of its log, and what may be.

use std::collections::BTreeSet;

use super::content::BLOCK;
use super::fate::{Fate, Unsynced};
use super::log::{Effect, Record};
use super::tree::{Change, Inode, Tree};

/// A simulated disk as its log is told from the start; [`Self::after_crash`] asks what if it
/// ended here.
#[derive(Debug, Clone)]
pub(super) struct Disk {
    /// What no crash can lose, up to the first thing that it depends on and that can be lost.
    certain: Tree,
    /// Everything else, in the order of the log.
    pending: Vec<Pending>,
    position: usize,
}

#[derive(Debug, Clone)]
struct Pending {
    unsynced: Unsynced,
    effect: Effect,
    standing: Standing,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// The next sync makes it certain.
    Open,
    /// A sync of it failed, so that no later one will cover it.
    Doomed,
    /// Synced, but something that it depends on is not.
    Certain,
}

impl Disk {
    pub(super) fn new(tree: Tree) -> Self {
        Self {
            certain: tree,
            pending: Vec::new(),
            position: 0,
        }
    }

    /// Takes note of the entries of `log` up to `point`, which is not behind the present one.
    pub(super) fn advance_to(&mut self, point: usize, log: &[Record]) {
        for record in &log[self.position..point] {
            self.advance(record);
        }
    }

    /// How many entries of the log it knows.
    pub(super) fn position(&self) -> usize {
        self.position
    }

    /// What a crash now may lose, in the order of the log.
    pub(super) fn unsynced(&self) -> impl Iterator<Item = &Unsynced> {
        self.pending
            .iter()
            .filter(|pending| pending.standing != Standing::Certain)
            .map(|pending| &pending.unsynced)
    }

    /// What is found after a crash now, if `fate` decides on each of [`Self::unsynced`].
    pub(super) fn after_crash(&self, mut fate: impl FnMut(&Unsynced) -> Fate) -> Tree {
        let mut tree = self.certain.clone();
        for pending in &self.pending {
            let fate = match pending.standing {
                Standing::Certain => Fate::Kept,
                Standing::Open | Standing::Doomed => fate(&pending.unsynced),
            };
            pending.effect.apply(&mut tree, &fate);
        }
        tree.forget_unreachable(|_| false);
        tree
    }

    fn advance(&mut self, record: &Record) {
        if let Effect::Sync {
            inode,
            before,
            stored,
        } = record.effect
        {
            self.sync(inode, before, stored);
        } else {
            if let Effect::Change(Change::Link { inode, node, .. }) = &record.effect {
                // What has no name cannot be found, so it may as well exist from the start.
                self.certain.make(*inode, node);
            }
            self.pending.push(Pending {
                unsynced: Unsynced::new(self.position, record),
                effect: record.effect.clone(),
                standing: Standing::Open,
            });
        }
        self.position += 1;
    }

    fn sync(&mut self, inode: Inode, before: usize, stored: bool) {
        for pending in &mut self.pending {
            if pending.unsynced.position < before
                && pending.standing == Standing::Open
                && pending.effect.concerns(inode)
            {
                pending.standing = if stored {
                    Standing::Certain
                } else {
                    Standing::Doomed
                };
            }
        }

        // What is certain leaves the list, unless something uncertain before it may change what
        // it does: writes depend on earlier ones of the same file, names on all earlier names.
        let mut unsettled_files = BTreeSet::new();
        let mut unsettled_names = false;
        self.pending.retain(|pending| {
            let file = pending.effect.file();
            let unsettled = file.map_or(unsettled_names, |file| unsettled_files.contains(&file));
            let settles = pending.standing == Standing::Certain && !unsettled;
            match file {
                _ if settles => pending.effect.apply(&mut self.certain, &Fate::Kept),
                Some(file) => {
                    unsettled_files.insert(file);
                }
                None => unsettled_names = true,
            }
            !settles
        });
    }
}

impl Unsynced {
    fn new(position: usize, record: &Record) -> Self {
        let (blocks, grows) = match &record.effect {
            Effect::Write {
                offset,
                bytes,
                grows,
                ..
            } => {
                let end = offset + bytes.len() as u64;
                let blocks = end.div_ceil(BLOCK) - offset / BLOCK;
                (
                    usize::try_from(blocks).expect("no more than there are bytes"),
                    *grows,
                )
            }
            _ => (0, false),
        };
        Self {
            position,
            operation: record.operation.clone(),
            blocks,
            grows,
        }
    }
}
