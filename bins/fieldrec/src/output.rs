//! Standard output.

use std::io::{self, Write as _};

use serde::Serialize;

use crate::failure::Failure;

/// Prints one JSON value in a line of its own, at once.
pub(crate) fn json_line(value: &impl Serialize) -> Result<(), Failure> {
    text(&as_json_line(value)?)
}

/// One JSON value as a line.
pub(crate) fn as_json_line(value: &impl Serialize) -> Result<String, Failure> {
    let mut line = serde_json::to_string(value).map_err(Failure::failed)?;
    line.push('\n');
    Ok(line)
}

/// Prints text, at once.
pub(crate) fn text(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    let printed = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    printed.map_err(|error| Failure::failed(format!("cannot write to standard output: {error}")))
}
