//! A simulated disk that loses what was not synced.
//!
//! [`SimStorage`] keeps its files in memory and a log of everything that changed them. A crash
//! after any number of operations gives another `SimStorage`: the disk as the next start finds
//! it. [`SimStorage::crashes`] goes through the crashes, and whatever must hold after a crash is
//! asserted on each of them:
//!
//! ```
//! use longtake_durable::sim::SimStorage;
//! use longtake_durable::{read, replace};
//!
//! let disk = SimStorage::new();
//! let path = "/state".as_ref();
//! replace(&disk, path, b"old")?;
//! let acknowledged = disk.now();
//! replace(&disk, path, b"new")?;
//!
//! for crash in disk.crashes(acknowledged.., 1000) {
//!     let found = read(&crash.storage, path, 100)?;
//!     assert!(found == b"old" || found == b"new", "{crash}");
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What a crash may do
//!
//! The disk keeps what POSIX makes a file system keep, and nothing more. That is less than any
//! journalled one (ext4, XFS, Btrfs, F2FS) keeps in practice: those store names in the order in
//! which they changed, and more than was asked for. What is safe here is safe on them.
//!
//! - Of the writes and changes of length of a file since its last sync, any subset is on the disk,
//!   so that an earlier one may be missing and a later one there.
//! - A write of several 4096-byte blocks may be there with any subset of its blocks. The file may
//!   have grown to the end of the write and hold zeros there.
//! - Of the names that were created, renamed and removed in a folder since its last sync, any
//!   subset is on the disk. A synced file whose name is not there is gone; so is everything in a
//!   folder whose name is not there. A file whose name is there may be empty.
//! - A rename is atomic: the old name or the new one, never both, never none. A sync of either
//!   folder makes it durable.
//! - A sync covers what was done before it began. One that fails covers nothing, and no later one
//!   covers what it should have, as on Linux, where a page is clean after a failed write-back.
//!
//! What was synced stays as it is; unsynced bytes are never garbage and never those of another
//! file; a block is never torn itself. Disks that lie about a flush are not simulated.
//!
//! # Faults
//!
//! [`SimStorage::set_capacity`] makes the disk fill up, [`SimStorage::fail_nth`] lets one
//! operation fail, and [`SimStorage::before_each`] is called before every one and may block it,
//! as a slow disk would.

mod storage;

mod file;
mod operation;
mod state;

mod content;
mod tree;

mod crashes;
mod disk;
mod fate;
mod log;
mod plan;

pub use crashes::{Crash, Crashes};
pub use fate::{Fate, Unsynced};
pub use operation::Operation;
pub use storage::SimStorage;
