//! The files and folders of a simulated disk, and what a change of names does to them.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::path::{Component, Path};
use std::sync::Arc;

use rustix::io::Errno;

use super::content::Content;

/// Longest name of a file or folder in bytes (`NAME_MAX` in `include/uapi/linux/limits.h`).
const NAME_MAX: usize = 255;

/// Number of a file or folder, never used twice.
pub(super) type Inode = u64;

#[derive(Debug, Clone)]
pub(super) struct Tree {
    nodes: BTreeMap<Inode, Node>,
}

/// What a number stands for.
#[derive(Debug, Clone)]
pub(super) enum Node {
    File(Arc<Content>),
    Folder(BTreeMap<OsString, Inode>),
}

/// Where a name is or may be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) folder: Inode,
    pub(super) name: OsString,
}

/// One change of names, which happens whole or not at all.
#[derive(Debug, Clone)]
pub(super) enum Change {
    /// The first name of a new file or folder, which is made with it.
    Link {
        to: Place,
        inode: Inode,
        node: Node,
    },
    Move {
        from: Place,
        to: Place,
        inode: Inode,
    },
    Unlink {
        from: Place,
        inode: Inode,
    },
}

impl Node {
    pub(super) fn new_file() -> Self {
        Self::File(Arc::default())
    }

    pub(super) fn new_folder() -> Self {
        Self::Folder(BTreeMap::new())
    }
}

impl Change {
    /// Whether a sync of `folder` makes this durable.
    pub(super) fn concerns(&self, folder: Inode) -> bool {
        match self {
            Self::Link { to, .. } => to.folder == folder,
            Self::Move { from, to, .. } => from.folder == folder || to.folder == folder,
            Self::Unlink { from, .. } => from.folder == folder,
        }
    }
}

impl Tree {
    const ROOT: Inode = 0;

    pub(super) fn new() -> Self {
        Self {
            nodes: BTreeMap::from([(Self::ROOT, Node::new_folder())]),
        }
    }

    /// Makes a file or folder that has no name so far, unless it is there.
    pub(super) fn make(&mut self, inode: Inode, node: &Node) {
        self.nodes.entry(inode).or_insert_with(|| node.clone());
    }

    /// Changes names. Which names are there may differ from when the change was first made, since
    /// a crash may have lost earlier ones.
    pub(super) fn apply(&mut self, change: &Change) {
        match change {
            Change::Link { to, inode, node } => {
                self.make(*inode, node);
                self.link(to, *inode);
            }
            Change::Move { to, inode, .. } => {
                // Without an earlier move this one can lead a folder into itself; no file system
                // would then let go of it.
                if !self.is_within(to.folder, *inode) {
                    for node in self.nodes.values_mut() {
                        if let Node::Folder(names) = node {
                            names.retain(|_, named| named != inode);
                        }
                    }
                    self.link(to, *inode);
                }
            }
            Change::Unlink { from, inode } => {
                let names = self.names_mut(from.folder);
                if names.get(&from.name) == Some(inode) {
                    names.remove(&from.name);
                }
            }
        }
    }

    pub(super) fn content_mut(&mut self, inode: Inode) -> &mut Content {
        match self.nodes.get_mut(&inode) {
            Some(Node::File(content)) => Arc::make_mut(content),
            _ => unreachable!("written only through handles of files, which keep them"),
        }
    }

    /// Forgets what has no name any more, but for what is `open`.
    pub(super) fn forget_unreachable(&mut self, open: impl Fn(Inode) -> bool) {
        let mut reached = BTreeSet::from([Self::ROOT]);
        let mut folders = vec![Self::ROOT];
        while let Some(folder) = folders.pop() {
            for inode in self.names(folder).into_iter().flat_map(BTreeMap::values) {
                if reached.insert(*inode) {
                    folders.push(*inode);
                }
            }
        }
        self.nodes
            .retain(|inode, _| reached.contains(inode) || open(*inode));
    }

    pub(super) fn node(&self, inode: Inode) -> &Node {
        self.nodes
            .get(&inode)
            .expect("names and handles keep what they lead to")
    }

    pub(super) fn find(&self, path: &Path) -> Result<(Inode, &Node), Errno> {
        if path.as_os_str().is_empty() {
            return Err(Errno::NOENT);
        }
        let mut way = Vec::new();
        let mut here = Self::ROOT;
        for component in path.components() {
            let Node::Folder(names) = self.node(here) else {
                return Err(Errno::NOTDIR);
            };
            match component {
                Component::Prefix(_) | Component::RootDir | Component::CurDir => {}
                Component::ParentDir => here = way.pop().unwrap_or(Self::ROOT),
                Component::Normal(name) => {
                    check_name(name)?;
                    way.push(here);
                    here = *names.get(name).ok_or(Errno::NOENT)?;
                }
            }
        }
        Ok((here, self.node(here)))
    }

    /// Where `path` is or could be, in a folder that exists.
    pub(super) fn place(&self, path: &Path) -> Result<Place, Errno> {
        let name = path.file_name().ok_or(Errno::INVAL)?;
        let folder = match path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => match self.find(folder)? {
                (inode, Node::Folder(_)) => inode,
                (_, Node::File(_)) => return Err(Errno::NOTDIR),
            },
            _ => Self::ROOT,
        };
        check_name(name)?;
        Ok(Place {
            folder,
            name: name.to_owned(),
        })
    }

    pub(super) fn at(&self, place: &Place) -> Option<Inode> {
        self.names(place.folder)?.get(&place.name).copied()
    }

    /// Whether `inode` is `folder` or one of those it lies in.
    pub(super) fn is_within(&self, inode: Inode, folder: Inode) -> bool {
        inode == folder
            || self
                .names(folder)
                .is_some_and(|names| names.values().any(|child| self.is_within(inode, *child)))
    }

    /// The content of a file that has a handle.
    pub(super) fn content(&self, inode: Inode) -> &Content {
        match self.node(inode) {
            Node::File(content) => content,
            Node::Folder(_) => unreachable!("folders cannot be opened for writing"),
        }
    }

    pub(super) fn block_count(&self) -> u64 {
        let blocks = |node: &Node| match node {
            Node::File(content) => content.block_count(),
            Node::Folder(_) => 0,
        };
        self.nodes.values().map(blocks).sum()
    }

    pub(super) fn next_inode(&self) -> Inode {
        self.nodes
            .keys()
            .next_back()
            .map_or(Self::ROOT, |last| last + 1)
    }

    fn link(&mut self, to: &Place, inode: Inode) {
        self.names_mut(to.folder).insert(to.name.clone(), inode);
    }

    fn names(&self, folder: Inode) -> Option<&BTreeMap<OsString, Inode>> {
        match self.nodes.get(&folder)? {
            Node::Folder(names) => Some(names),
            Node::File(_) => None,
        }
    }

    fn names_mut(&mut self, folder: Inode) -> &mut BTreeMap<OsString, Inode> {
        match self.nodes.get_mut(&folder) {
            Some(Node::Folder(names)) => names,
            _ => unreachable!("a place is in a folder, and folders are kept"),
        }
    }
}

fn check_name(name: &OsStr) -> Result<(), Errno> {
    if name.len() > NAME_MAX {
        Err(Errno::NAMETOOLONG)
    } else {
        Ok(())
    }
}
