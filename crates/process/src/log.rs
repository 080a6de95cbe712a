//! What a child has said, in bounded memory.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::fmt;

use crate::lines::Line;

/// How many lines a [`BoundedLog`] keeps of each kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLimits {
    first: usize,
    errors: usize,
    last: usize,
    line_bytes: usize,
}

/// The first lines of an output, its first errors, and its last lines; the rest is counted.
///
/// The true cause of a failure stands among the first errors more often than at the end (ffmpeg ends
/// with eight lines of x264 statistics), so they have room of their own.
///
/// ```
/// use longtake_process::{BoundedLog, Line, LogLimits};
///
/// let mut log = BoundedLog::new(LogLimits::default().first(1).errors(1).last(1));
/// log.push(Line::cut(b"starting", 100));
/// log.push_error(Line::cut(b"no space left", 100));
/// for _ in 0..1000 {
///     log.push_error(Line::cut(b"cannot write", 100));
/// }
/// assert_eq!(log.dropped_lines(), 999);
/// let errors: Vec<_> = log.errors().map(|line| line.text().into_owned()).collect();
/// assert_eq!(errors, ["no space left", "cannot write"]);
/// assert_eq!(log.to_string(), "starting\nno space left\n[999 lines left out]\ncannot write\n");
/// ```
#[derive(Clone, Debug)]
pub struct BoundedLog {
    limits: LogLimits,
    first: Vec<KeptLine>,
    errors: Vec<KeptLine>,
    last: VecDeque<KeptLine>,
    lines: u64,
    dropped_lines: u64,
    dropped_bytes: u64,
}

/// A line of a [`BoundedLog`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptLine {
    number: u64,
    bytes: Vec<u8>,
    cut_bytes: u64,
    is_error: bool,
}

impl Default for LogLimits {
    /// 32 first lines, 32 errors, 256 last lines, each of up to 4 KiB.
    fn default() -> Self {
        Self {
            first: 32,
            errors: 32,
            last: 256,
            line_bytes: 4 << 10,
        }
    }
}

impl LogLimits {
    /// Sets how many lines are kept from the beginning.
    #[must_use]
    pub fn first(mut self, lines: usize) -> Self {
        self.first = lines;
        self
    }

    /// Sets how many errors are kept that come after the first lines.
    #[must_use]
    pub fn errors(mut self, lines: usize) -> Self {
        self.errors = lines;
        self
    }

    /// Sets how many lines are kept from the end, those kept as errors not counted.
    #[must_use]
    pub fn last(mut self, lines: usize) -> Self {
        self.last = lines;
        self
    }

    /// Sets how many bytes of a line are kept.
    #[must_use]
    pub fn line_bytes(mut self, bytes: usize) -> Self {
        self.line_bytes = bytes;
        self
    }
}

impl Default for BoundedLog {
    fn default() -> Self {
        Self::new(LogLimits::default())
    }
}

impl BoundedLog {
    /// An empty log.
    #[must_use]
    pub fn new(limits: LogLimits) -> Self {
        Self {
            limits,
            first: Vec::new(),
            errors: Vec::new(),
            last: VecDeque::new(),
            lines: 0,
            dropped_lines: 0,
            dropped_bytes: 0,
        }
    }

    /// Adds a line.
    pub fn push(&mut self, line: Line<'_>) {
        self.add(line, false);
    }

    /// Adds a line that tells of an error.
    pub fn push_error(&mut self, line: Line<'_>) {
        self.add(line, true);
    }

    /// All lines that are kept, in their order.
    pub fn lines(&self) -> impl Iterator<Item = &KeptLine> {
        let mut kept: Vec<_> = self.errors.iter().chain(&self.last).collect();
        kept.sort_unstable_by_key(|line| line.number);
        self.first.iter().chain(kept)
    }

    /// The errors among the lines that are kept, in their order.
    pub fn errors(&self) -> impl Iterator<Item = &KeptLine> {
        self.lines().filter(|line| line.is_error)
    }

    /// How many lines came in all.
    #[must_use]
    pub fn total_lines(&self) -> u64 {
        self.lines
    }

    /// How many of them are not kept.
    #[must_use]
    pub fn dropped_lines(&self) -> u64 {
        self.dropped_lines
    }

    /// How many bytes are not kept, of dropped lines and of lines that were cut. Line ends do not count.
    #[must_use]
    pub fn dropped_bytes(&self) -> u64 {
        self.dropped_bytes
    }

    fn add(&mut self, line: Line<'_>, is_error: bool) {
        let number = self.lines;
        self.lines += 1;
        if self.first.len() < self.limits.first {
            let kept = self.keep(line, number, is_error, Vec::new());
            self.first.push(kept);
        } else if is_error && self.errors.len() < self.limits.errors {
            let kept = self.keep(line, number, is_error, Vec::new());
            self.errors.push(kept);
        } else if self.limits.last == 0 {
            self.dropped_lines += 1;
            self.dropped_bytes += line.bytes().len() as u64 + line.cut_bytes();
        } else {
            let room = self.make_room();
            let kept = self.keep(line, number, is_error, room);
            self.last.push_back(kept);
        }
    }

    /// Drops the oldest of the last lines if they are full, and returns its memory for the next one.
    fn make_room(&mut self) -> Vec<u8> {
        if self.last.len() < self.limits.last {
            return Vec::new();
        }
        let Some(oldest) = self.last.pop_front() else {
            return Vec::new();
        };
        self.dropped_lines += 1;
        self.dropped_bytes += oldest.bytes.len() as u64;
        oldest.bytes
    }

    fn keep(
        &mut self,
        line: Line<'_>,
        number: u64,
        is_error: bool,
        mut bytes: Vec<u8>,
    ) -> KeptLine {
        let cut = Line::cut(line.bytes(), self.limits.line_bytes);
        bytes.clear();
        bytes.extend_from_slice(cut.bytes());
        let cut_bytes = cut.cut_bytes() + line.cut_bytes();
        self.dropped_bytes += cut_bytes;
        KeptLine {
            number,
            bytes,
            cut_bytes,
            is_error,
        }
    }
}

/// The kept lines, one a line, with a note in brackets where some are left out.
impl fmt::Display for BoundedLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut next = 0;
        for line in self.lines() {
            left_out(f, line.number - next)?;
            writeln!(f, "{line}")?;
            next = line.number + 1;
        }
        left_out(f, self.lines - next)
    }
}

fn left_out(f: &mut fmt::Formatter<'_>, lines: u64) -> fmt::Result {
    if lines > 0 {
        writeln!(f, "[{lines} lines left out]")
    } else {
        Ok(())
    }
}

impl KeptLine {
    /// Its place in the output, counted from 0.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.number
    }

    /// The bytes as they came.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The text, with U+FFFD in place of what is not UTF-8.
    #[must_use]
    pub fn text(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.bytes)
    }

    /// How many bytes at its end are not kept.
    #[must_use]
    pub fn cut_bytes(&self) -> u64 {
        self.cut_bytes
    }

    /// Whether it was pushed as an error.
    #[must_use]
    pub fn is_error(&self) -> bool {
        self.is_error
    }
}

/// Its text, with a note in brackets where it was cut.
impl fmt::Display for KeptLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text())?;
        match self.cut_bytes {
            0 => Ok(()),
            cut => write!(f, " [{cut} bytes left out]"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::lines::LineSplitter;

    #[test]
    fn a_cut_line_says_so() {
        let mut log = BoundedLog::new(LogLimits::default().line_bytes(3));
        log.push(Line::cut(b"abcdef", 5));
        assert_eq!(log.to_string(), "abc [3 bytes left out]\n");
        assert_eq!(log.dropped_bytes(), 3);
        assert_eq!(log.dropped_lines(), 0);
    }

    #[test]
    fn a_flood_stays_bounded() {
        let mut splitter = LineSplitter::default();
        let mut log = BoundedLog::default();
        let chunk = [
            b"error: ".repeat(9).as_slice(),
            b"\n",
            &[b'x'; 6000],
            b"\r\n",
        ]
        .concat();
        let mut bytes = 0;
        while bytes < 100 << 20 {
            splitter.push(&chunk, |line| {
                if line.bytes().starts_with(b"error") {
                    log.push_error(line);
                } else {
                    log.push(line);
                }
            });
            bytes += chunk.len();
        }
        let kept = log.first.iter().chain(&log.errors).chain(&log.last);
        let memory: usize = kept.map(|line| line.bytes.capacity()).sum();
        assert!(memory <= 320 * (8 << 10), "{memory}");
        assert_eq!(log.lines().count(), 320);
        assert_eq!(log.dropped_lines() + 320, log.total_lines());
        assert_eq!(log.errors().count(), 16 + 32 + 128);
    }

    /// What the log must keep, worked out from all lines.
    fn expected(lines: &[(Vec<u8>, bool)], first: usize, errors: usize, last: usize) -> Vec<u64> {
        let numbered = || (0_u64..).zip(lines);
        let first: Vec<u64> = numbered().take(first).map(|(number, _)| number).collect();
        let is_error = |(_, (_, error)): &(u64, &(Vec<u8>, bool))| *error;
        let behind = || numbered().skip(first.len());
        let errors: Vec<u64> = behind()
            .filter(is_error)
            .take(errors)
            .map(|(n, _)| n)
            .collect();
        let others: Vec<u64> = behind()
            .map(|(n, _)| n)
            .filter(|n| !errors.contains(n))
            .collect();
        let last = others[others.len().saturating_sub(last)..].to_vec();
        let mut all = [first, errors, last].concat();
        all.sort_unstable();
        all
    }

    proptest! {
        #[test]
        fn keeps_what_it_must_and_counts_the_rest(
            lines in prop::collection::vec((prop::collection::vec(any::<u8>(), 0..8), any::<bool>()), 0..60),
            first in 0_usize..6, errors in 0_usize..6, last in 0_usize..6, line_bytes in 0_usize..10,
        ) {
            let limits = LogLimits::default().first(first).errors(errors).last(last);
            let mut log = BoundedLog::new(limits.line_bytes(line_bytes));
            for (bytes, error) in &lines {
                let line = Line::cut(bytes, 6);
                if *error { log.push_error(line) } else { log.push(line) }
            }
            let kept: Vec<u64> = log.lines().map(KeptLine::number).collect();
            prop_assert_eq!(&kept, &expected(&lines, first, errors, last));
            for line in log.lines() {
                let (bytes, error) = &lines[usize::try_from(line.number()).unwrap()];
                prop_assert_eq!(line.bytes(), &bytes[..bytes.len().min(6).min(line_bytes)]);
                prop_assert_eq!(line.is_error(), *error);
                prop_assert_eq!(line.cut_bytes() + line.bytes().len() as u64, bytes.len() as u64);
            }
            prop_assert_eq!(log.total_lines(), lines.len() as u64);
            prop_assert_eq!(log.dropped_lines() + kept.len() as u64, lines.len() as u64);
            let total: usize = lines.iter().map(|(bytes, _)| bytes.len()).sum();
            let held: usize = log.lines().map(|line| line.bytes().len()).sum();
            prop_assert_eq!(log.dropped_bytes() + held as u64, total as u64);
        }
    }
}
