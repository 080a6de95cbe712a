//! What holds for the workspace as a whole: which package may depend on which.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod directions;
