//! Replace files and sync folders so that a crash leaves the old or the new state.
//!
//! A write is on the disk only after the file was synced; a new name only after its folder was
//! synced; and a file that is written in place is for a while neither the old nor the new one.
//! [`replace`] does the three steps in the right order. Programs that do more than that (write a
//! growing file, rename it when it is whole) go through [`Storage`], so that their tests can
//! put a [simulated disk](sim) in its place that loses what was not synced.
//!
//! ```
//! use longtake_durable::{RealStorage, read, replace};
//!
//! let folder = tempfile::tempdir()?;
//! let path = folder.path().join("state.json");
//!
//! replace(&RealStorage, &path, b"{\"version\":1}")?;
//! assert_eq!(read(&RealStorage, &path, 1 << 20)?, b"{\"version\":1}");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod storage;

mod read;
mod real;
mod replace;

pub mod sim;

pub use read::read;
pub use real::RealStorage;
pub use replace::{ReplaceError, ReplaceStep, replace};
pub use storage::{Entry, Storage, StoredFile, WriteAllError};
