//! What is kept of ffmpeg's log.

use std::fmt;

use longtake_process::{BoundedLog, KeptLine, Line, LogLimits, redact};

use crate::level::Level;
use crate::log_line::LogLine;

/// How many warnings are kept for [`LogTail::warnings`].
const MAX_WARNINGS: usize = 32;

/// One message of ffmpeg, with secrets taken out.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Diagnostic {
    /// How severe it is; a library's own messages may have no level.
    pub level: Option<Level>,
    /// The part of ffmpeg that speaks, such as `libx264` or `out#0/mp4`.
    pub context: Option<String>,
    /// The message, with U+FFFD in place of what is not UTF-8.
    pub text: String,
}

/// The first lines, the first errors and the last lines of a log; the rest is counted.
///
/// The reason of a failure is often not at the end: behind it come statistics of the encoder.
/// Whatever ffmpeg prints, this stays below about 1.5 MB. Its `Display` and `Debug` forms show
/// the lines with secrets taken out.
#[derive(Clone, Default)]
pub struct LogTail {
    lines: BoundedLog,
    warnings: Vec<Diagnostic>,
}

impl LogTail {
    /// An empty log.
    #[must_use]
    pub fn new() -> Self {
        Self {
            lines: BoundedLog::new(LogLimits::default()),
            warnings: Vec::new(),
        }
    }

    /// Takes the next line, and says what it is.
    pub fn push<'a>(&mut self, line: Line<'a>) -> LogLine<'a> {
        let parsed = LogLine::parse(line.bytes());
        match parsed.level {
            Some(level) if level <= Level::Error => self.lines.push_error(line),
            Some(Level::Warning) => {
                if self.warnings.len() < MAX_WARNINGS {
                    self.warnings.push(Diagnostic::from_line(&parsed));
                }
                self.lines.push(line);
            }
            _ => self.lines.push(line),
        }
        parsed
    }

    /// The errors among the kept lines, the first ones surely.
    pub fn errors(&self) -> impl Iterator<Item = Diagnostic> {
        self.lines
            .errors()
            .map(|line| Diagnostic::from_line(&LogLine::parse(line.bytes())))
    }

    /// The first warnings.
    #[must_use]
    pub fn warnings(&self) -> &[Diagnostic] {
        &self.warnings
    }

    /// The kept lines in their order, with secrets taken out.
    pub fn lines(&self) -> impl Iterator<Item = String> {
        self.kept().map(|line| redact(&line.text()).into_owned())
    }

    /// How many lines were left out.
    #[must_use]
    pub fn dropped_lines(&self) -> u64 {
        self.lines.dropped_lines()
    }

    /// The kept lines as they came.
    pub(crate) fn kept(&self) -> impl Iterator<Item = &KeptLine> {
        self.lines.lines()
    }
}

impl fmt::Display for LogTail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&redact(&self.lines.to_string()))
    }
}

impl fmt::Debug for LogTail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.lines()).finish()
    }
}

impl Diagnostic {
    pub(crate) fn from_line(line: &LogLine<'_>) -> Self {
        Self {
            level: line.level,
            context: line
                .context
                .map(|context| String::from_utf8_lossy(context).into_owned()),
            text: redact(&String::from_utf8_lossy(line.text)).into_owned(),
        }
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.context {
            Some(context) => write!(f, "{context}: {}", self.text),
            None => f.write_str(&self.text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(lines: impl IntoIterator<Item = String>) -> LogTail {
        let mut log = LogTail::new();
        for line in lines {
            log.push(Line::cut(line.as_bytes(), 4096));
        }
        log
    }

    #[test]
    fn errors_survive_a_flood() {
        let flood = (0..100_000).map(|number| format!("[info] line {number}"));
        let log = log(["[h264 @ 0x1] [error] bad".to_owned()]
            .into_iter()
            .chain(flood));
        let first = log.errors().next().unwrap();
        assert_eq!(first.to_string(), "h264: bad");
        assert_eq!(log.dropped_lines(), 100_001 - 32 - 256);
        assert_eq!(log.lines().last().unwrap(), "[info] line 99999");
    }

    #[test]
    fn warnings_are_kept_apart_and_bounded() {
        let log = log((0..1000).map(|number| format!("[mp4 @ 0x1] [warning] DTS {number}")));
        assert_eq!(log.warnings().len(), MAX_WARNINGS);
        assert_eq!(log.warnings()[0].to_string(), "mp4: DTS 0");
        assert_eq!(log.errors().count(), 0);
    }

    #[test]
    fn no_secret_gets_out() {
        let log = log(["[error] rtsp://u:pw@cam/1: Connection refused".to_owned()]);
        for text in [
            log.to_string(),
            format!("{log:?}"),
            log.errors().next().unwrap().to_string(),
        ] {
            assert!(
                text.contains("rtsp://***@cam/1") && !text.contains("pw"),
                "{text}"
            );
        }
    }
}
