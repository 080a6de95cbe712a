//! How a daemon ends, and how it says why.

use std::{
    error::Error,
    io::{self, Write as _},
    process::{ExitCode, Termination},
};

/// How a daemon ended. `main` returns it, so that every destructor has run before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// All that was asked for is done. Code 0.
    Done,
    /// Something failed; [`report`] said what. Code 1.
    Failed,
    /// The command line or the config file is wrong; nothing was begun. Code 2.
    Usage,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Done => 0,
            Exit::Failed => 1,
            Exit::Usage => 2,
        })
    }
}

impl Termination for Exit {
    fn report(self) -> ExitCode {
        self.into()
    }
}

/// Writes one line to standard error: the program, the error, and each of its sources.
///
/// Unlike `eprintln!` it does not panic when standard error is gone or its disk is full.
pub fn report(program: &str, error: &dyn Error) {
    let line = format!("{program}: {}\n", with_sources(error));
    // One write, so that the line stays whole beside those of other threads. Should it fail,
    // nobody is left to tell.
    io::stderr().write_all(line.as_bytes()).unwrap_or(());
}

/// The error and all its sources, joined by `: `.
pub fn with_sources(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("cannot open camera front")]
    struct Camera {
        source: io::Error,
    }

    #[test]
    fn an_error_is_told_with_its_cause() {
        let error = Camera {
            source: io::Error::other("no such device"),
        };
        assert_eq!(
            with_sources(&error),
            "cannot open camera front: no such device"
        );
    }
}
