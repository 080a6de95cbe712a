//! What holds for the workspace as a whole: which package may depend on which, that the examples run,
//! and that the tests named in the docs exist.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod directions;
mod programs;
mod reliability;
mod run;

use std::path::Path;

/// The repository.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}
