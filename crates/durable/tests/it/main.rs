//! The real and the simulated file system, and what replacing a file leaves on them.

#![expect(
    clippy::unwrap_used,
    reason = "helpers outside of #[test] functions unwrap too"
)]

use std::path::Path;

use longtake_durable::sim::SimStorage;
use longtake_durable::{RealStorage, Storage};

mod crashes;
mod faults;
mod real;
mod replace;
mod same;
mod system_calls;
mod write_all;

/// Errors with these numbers mean the same on every Linux (`asm-generic/errno-base.h`).
const EIO: i32 = 5;

/// Runs `test` with an empty folder of the real and of the simulated file system.
#[track_caller]
fn on_both(test: impl Fn(&dyn Storage, &Path)) {
    let folder = tempfile::tempdir().unwrap();
    test(&RealStorage, folder.path());
    test(&SimStorage::new(), Path::new("/"));
}
