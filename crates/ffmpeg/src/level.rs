//! ffmpeg's log levels.

use std::fmt;

/// How severe a line of ffmpeg's log is; [`Level::Panic`] is the most severe and sorts first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// Something that leads to a crash.
    Panic,
    /// ffmpeg cannot go on.
    Fatal,
    /// Something was lost, though ffmpeg may go on.
    Error,
    /// Something looks wrong.
    Warning,
    /// Normal messages.
    Info,
    /// More normal messages.
    Verbose,
    /// For developers of ffmpeg.
    Debug,
    /// Everything.
    Trace,
}

impl Level {
    const ALL: [Self; 8] = [
        Self::Panic,
        Self::Fatal,
        Self::Error,
        Self::Warning,
        Self::Info,
        Self::Verbose,
        Self::Debug,
        Self::Trace,
    ];

    /// The name that ffmpeg uses, such as `warning`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Panic => "panic",
            Self::Fatal => "fatal",
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Info => "info",
            Self::Verbose => "verbose",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }

    /// Finds the level with the name `name`.
    pub(crate) fn from_name(name: &[u8]) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|level| level.as_str().as_bytes() == name)
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
