//! An error in one line, for an event or a manifest.

use std::error::Error;

/// The error and all its sources, joined by `: `.
pub(crate) fn with_sources(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
