//! What holds for the workspace as a whole: which package may depend on which, and that the examples
//! run.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod directions;
mod programs;

use std::path::Path;

/// The repository.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}
