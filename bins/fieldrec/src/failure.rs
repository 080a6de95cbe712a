//! Why a command did not do what was asked.

use std::error::Error;

/// What `main` tells the user, and by which exit code.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The command line or the config is wrong: exit code 2.
    Usage(Box<dyn Error>),
    /// Something failed: exit code 1.
    Failed(Box<dyn Error>),
}

impl Failure {
    pub(crate) fn usage(error: impl Into<Box<dyn Error>>) -> Self {
        Self::Usage(error.into())
    }

    pub(crate) fn failed(error: impl Into<Box<dyn Error>>) -> Self {
        Self::Failed(error.into())
    }
}
