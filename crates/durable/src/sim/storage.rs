//! The simulated disk as a program sees it.

use std::ffi::OsString;
use std::fmt;
use std::io;
use std::ops::RangeBounds;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use rustix::io::Errno;

use super::content::BLOCK;
use super::crashes::Crashes;
use super::disk::Disk;
use super::fate::{Fate, Unsynced};
use super::file::{Access, SimFile};
use super::log::Effect;
use super::operation::Operation;
use super::state::State;
use super::tree::{Inode, Node, Tree};
use crate::storage::{Entry, Storage, StoredFile};

/// A disk in memory that can crash.
///
/// It begins with the folder `/`, to which relative paths belong too, and knows no links,
/// permissions or times. Errors carry the same numbers as those of Linux. For its log it keeps every
/// byte ever written. Clones are the same disk; it may be used from several threads.
#[derive(Clone)]
pub struct SimStorage {
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    hooks: Mutex<Vec<Hook>>,
}

type Hook = Arc<dyn Fn(&Operation) -> io::Result<()> + Send + Sync>;

impl SimStorage {
    /// An empty disk of unlimited size.
    #[must_use]
    pub fn new() -> Self {
        Self::from_tree(Tree::new())
    }

    /// Limits the disk to `bytes`, rounded down to 4096.
    ///
    /// Only the blocks of files count that were written. A write that needs more gets in as far as
    /// there is room, or fails with [`StorageFull`](io::ErrorKind::StorageFull); what is there
    /// can be overwritten. A disk that is fuller already keeps what it has.
    pub fn set_capacity(&self, bytes: u64) {
        self.state().set_capacity(bytes / BLOCK);
    }

    /// Calls `hook` before every operation from now on, in the thread that asked for it.
    ///
    /// It may count, it may block, as a sync on a slow disk does, while other threads go on using
    /// the disk, and it may fail the operation, which then changes nothing. A sync covers what was
    /// done before its hooks were called.
    pub fn before_each(&self, hook: impl Fn(&Operation) -> io::Result<()> + Send + Sync + 'static) {
        self.hooks().push(Arc::new(hook));
    }

    /// Lets one operation fail: the `nth` from now on, counted from 1, of those that `is_meant`
    /// picks, with the operating system's error number `errno`, such as 5 for `EIO`.
    pub fn fail_nth(
        &self,
        nth: usize,
        errno: i32,
        is_meant: impl Fn(&Operation) -> bool + Send + Sync + 'static,
    ) {
        let seen = AtomicUsize::new(0);
        self.before_each(move |operation| {
            if is_meant(operation) && seen.fetch_add(1, Ordering::Relaxed) + 1 == nth {
                return Err(io::Error::from_raw_os_error(errno));
            }
            Ok(())
        });
    }

    /// The point in time of a crash now: how many operations are in the log.
    #[must_use]
    pub fn now(&self) -> usize {
        self.state().log().len()
    }

    /// The log: every operation that changed something, and every sync, also one that failed, in
    /// the order in which they ended.
    #[must_use]
    pub fn operations(&self) -> Vec<Operation> {
        self.state()
            .log()
            .iter()
            .map(|record| record.operation.clone())
            .collect()
    }

    /// The disk after a crash that came when the first `point` operations of the log were done,
    /// and that left of each unsynced one what `fate` says.
    ///
    /// # Panics
    ///
    /// When `point` is greater than [`now`](Self::now).
    #[must_use]
    pub fn crash_at(&self, point: usize, fate: impl FnMut(&Unsynced) -> Fate) -> Self {
        let mut disk = Disk::new(self.state().start().clone());
        let log = self.state().log().to_vec();
        disk.advance_to(point, &log);
        Self::from_tree(disk.after_crash(fate))
    }

    /// The crashes at each of `points`, in order; 0 is before the first operation,
    /// [`now`](Self::now) after the last one.
    ///
    /// At each point there are at most `limit` of them (at least one), the same in every run:
    ///
    /// - all combinations of [`Unsynced::fates`] if they are no more than `limit`;
    /// - else all lost, all kept, and then, as far as `limit` goes, all combinations of lost and
    ///   kept, or if those are more than `limit`, every single operation lost, every single one
    ///   kept, and every prefix kept; then every single write torn in each way among kept ones,
    ///   among lost ones, and at the end of a prefix; then random combinations, in which any subset
    ///   of a write's blocks may be kept.
    pub fn crashes(&self, points: impl RangeBounds<usize>, limit: usize) -> Crashes {
        let state = self.state();
        Crashes::new(
            state.log(),
            Disk::new(state.start().clone()),
            &points,
            limit,
        )
    }

    pub(super) fn from_tree(tree: Tree) -> Self {
        let state = Mutex::new(State::new(tree));
        Self {
            shared: Arc::new(Shared {
                state,
                hooks: Mutex::new(Vec::new()),
            }),
        }
    }

    /// Asks the hooks, and then does `change` to the disk at one go.
    pub(super) fn run<T>(
        &self,
        operation: Operation,
        change: impl FnOnce(&mut State, Operation) -> Result<T, Errno>,
    ) -> io::Result<T> {
        self.ask_hooks(&operation)?;
        Ok(change(&mut self.state(), operation)?)
    }

    /// Syncs a file or folder: what is in the log before the hooks are asked.
    pub(super) fn sync(&self, inode: Inode, operation: Operation) -> io::Result<()> {
        let before = self.state().log().len();
        let result = self.ask_hooks(&operation);
        let stored = result.is_ok();
        self.state().record(
            operation,
            Effect::Sync {
                inode,
                before,
                stored,
            },
        );
        result
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.shared
            .state
            .lock()
            .expect("nothing panics while it holds the disk")
    }

    fn hooks(&self) -> MutexGuard<'_, Vec<Hook>> {
        self.shared
            .hooks
            .lock()
            .expect("nothing panics while it holds the list of hooks")
    }

    fn ask_hooks(&self, operation: &Operation) -> io::Result<()> {
        // They may block, or use the disk themselves.
        let hooks = self.hooks().clone();
        hooks.iter().try_for_each(|hook| hook(operation))
    }

    fn open_for(&self, access: Access, path: &Path) -> io::Result<Arc<dyn StoredFile>> {
        let inode = self.run(Operation::Open(path.to_owned()), |state, _| {
            match (access, state.tree().find(path)?) {
                (Access::ReadWrite, (_, Node::Folder(_))) => Err(Errno::ISDIR),
                (_, (inode, _)) => {
                    state.opened(inode);
                    Ok(inode)
                }
            }
        })?;
        Ok(self.handle(inode, path, access))
    }

    fn handle(&self, inode: Inode, path: &Path, access: Access) -> Arc<dyn StoredFile> {
        Arc::new(SimFile::new(self.clone(), inode, path.to_owned(), access))
    }
}

impl Default for SimStorage {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for SimStorage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimStorage")
            .field("now", &self.now())
            .finish_non_exhaustive()
    }
}

impl Storage for SimStorage {
    fn create_new(&self, path: &Path) -> io::Result<Arc<dyn StoredFile>> {
        let inode = self.run(Operation::Create(path.to_owned()), |state, operation| {
            state
                .make(path, Node::new_file(), operation)
                .inspect(|inode| state.opened(*inode))
        })?;
        Ok(self.handle(inode, path, Access::ReadWrite))
    }

    fn create_like(&self, path: &Path, model: &Path) -> io::Result<Arc<dyn StoredFile>> {
        match self.state().tree().find(model) {
            Ok(_) | Err(Errno::NOENT) => {}
            Err(error) => return Err(error.into()),
        }
        self.create_new(path)
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn StoredFile>> {
        self.open_for(Access::ReadWrite, path)
    }

    fn open_read(&self, path: &Path) -> io::Result<Arc<dyn StoredFile>> {
        self.open_for(Access::Read, path)
    }

    fn entry(&self, path: &Path) -> io::Result<Entry> {
        self.run(Operation::Entry(path.to_owned()), |state, _| {
            Ok(match state.tree().find(path)? {
                (_, Node::File(content)) => Entry::File { len: content.len() },
                (_, Node::Folder(_)) => Entry::Folder,
            })
        })
    }

    fn list(&self, path: &Path) -> io::Result<Vec<OsString>> {
        self.run(Operation::List(path.to_owned()), |state, _| {
            match state.tree().find(path)? {
                (_, Node::File(_)) => Err(Errno::NOTDIR),
                (_, Node::Folder(names)) => Ok(names.keys().cloned().collect()),
            }
        })
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let operation = Operation::Rename {
            from: from.to_owned(),
            to: to.to_owned(),
        };
        self.run(operation, |state, operation| {
            state.rename(from, to, operation)
        })
    }

    fn rename_new(&self, from: &Path, to: &Path) -> io::Result<()> {
        let operation = Operation::Rename {
            from: from.to_owned(),
            to: to.to_owned(),
        };
        self.run(operation, |state, operation| {
            let from_exists = state.tree().find(from);
            match state.tree().find(to) {
                Ok(_) => from_exists.and(Err(Errno::EXIST)),
                Err(_) => state.rename(from, to, operation),
            }
        })
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.run(
            Operation::RemoveFile(path.to_owned()),
            |state, operation| state.remove_file(path, operation),
        )
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.run(Operation::CreateDir(path.to_owned()), |state, operation| {
            state.make(path, Node::new_folder(), operation).map(drop)
        })
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let inode = match self.state().tree().find(path)? {
            (_, Node::File(_)) => return Err(Errno::NOTDIR.into()),
            (inode, Node::Folder(_)) => inode,
        };
        self.sync(inode, Operation::SyncDir(path.to_owned()))
    }
}
