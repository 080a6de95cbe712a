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
        Some(match name {
            b"panic" => Self::Panic,
            b"fatal" => Self::Fatal,
            b"error" => Self::Error,
            b"warning" => Self::Warning,
            b"info" => Self::Info,
            b"verbose" => Self::Verbose,
            b"debug" => Self::Debug,
            b"trace" => Self::Trace,
            _ => return None,
        })
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written() {
        for name in [
            "panic", "fatal", "error", "warning", "info", "verbose", "debug", "trace",
        ] {
            assert_eq!(
                Level::from_name(name.as_bytes()).map(Level::as_str),
                Some(name)
            );
        }
        assert_eq!(Level::from_name(b"quiet"), None);
    }
}
