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
/// with eight lines of x264 statistics), so they have room of their own. A line equal to the one before
/// it is not kept again but counted there: lines that came = lines kept + repeats of those + dropped.
///
/// ```
/// use longtake_process::{BoundedLog, Line, LogLimits};
///
/// let mut log = BoundedLog::new(LogLimits::default().first(1).errors(1).last(1));
/// log.push(Line::cut(b"starting", 100));
/// log.push_error(Line::cut(b"no space left", 100));
/// log.push(Line::cut(b"closing", 100));
/// for _ in 0..1000 {
///     log.push_error(Line::cut(b"cannot write", 100));
/// }
/// assert_eq!((log.total_lines(), log.repeated_lines(), log.dropped_lines()), (1003, 999, 1));
/// let errors: Vec<_> = log.errors().map(|line| line.text().into_owned()).collect();
/// assert_eq!(errors, ["no space left", "cannot write"]);
/// assert_eq!(
///     log.to_string(),
///     "starting\nno space left\n[1 lines left out]\ncannot write [repeated 999 times]\n",
/// );
/// ```
#[derive(Clone, Debug)]
pub struct BoundedLog {
    limits: LogLimits,
    first: Vec<KeptLine>,
    errors: Vec<KeptLine>,
    last: VecDeque<KeptLine>,
    newest: Newest,
    lines: u64,
    repeated_lines: u64,
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
    repeats: u64,
}

/// Where the line is kept that came last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Newest {
    Nowhere,
    First,
    Errors,
    Last,
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
            newest: Newest::Nowhere,
            lines: 0,
            repeated_lines: 0,
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

    /// How many of them are not kept because the kept line before them is the same, see
    /// [`KeptLine::repeats`].
    #[must_use]
    pub fn repeated_lines(&self) -> u64 {
        self.repeated_lines
    }

    /// How many of them are lost: neither kept nor the repeat of a line that is.
    #[must_use]
    pub fn dropped_lines(&self) -> u64 {
        self.dropped_lines
    }

    /// How many bytes are lost, of dropped lines and of lines that were cut. Line ends do not count.
    #[must_use]
    pub fn dropped_bytes(&self) -> u64 {
        self.dropped_bytes
    }

    fn add(&mut self, line: Line<'_>, is_error: bool) {
        let number = self.lines;
        self.lines += 1;
        if let Some(newest) = self.newest_line().filter(|kept| kept.is(line, is_error)) {
            newest.repeats += 1;
            self.repeated_lines += 1;
            return;
        }
        if self.first.len() < self.limits.first {
            let kept = self.keep(line, number, is_error, Vec::new());
            self.first.push(kept);
            self.newest = Newest::First;
        } else if is_error && self.errors.len() < self.limits.errors {
            let kept = self.keep(line, number, is_error, Vec::new());
            self.errors.push(kept);
            self.newest = Newest::Errors;
        } else if self.limits.last == 0 {
            self.dropped_lines += 1;
            self.dropped_bytes += line.bytes().len() as u64 + line.cut_bytes();
            self.newest = Newest::Nowhere;
        } else {
            let room = self.make_room();
            let kept = self.keep(line, number, is_error, room);
            self.last.push_back(kept);
            self.newest = Newest::Last;
        }
    }

    fn newest_line(&mut self) -> Option<&mut KeptLine> {
        match self.newest {
            Newest::Nowhere => None,
            Newest::First => self.first.last_mut(),
            Newest::Errors => self.errors.last_mut(),
            Newest::Last => self.last.back_mut(),
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
        self.repeated_lines -= oldest.repeats;
        self.dropped_lines += 1 + oldest.repeats;
        self.dropped_bytes += oldest.bytes.len() as u64 * (1 + oldest.repeats);
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
            repeats: 0,
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
            next = line.number + 1 + line.repeats;
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

    /// How many times more the same line came directly behind it. A line that was cut never counts as
    /// the same.
    #[must_use]
    pub fn repeats(&self) -> u64 {
        self.repeats
    }

    fn is(&self, line: Line<'_>, is_error: bool) -> bool {
        self.is_error == is_error
            && self.cut_bytes + line.cut_bytes() == 0
            && self.bytes == line.bytes()
    }
}

/// Its text, with a note in brackets where it was cut or repeated.
impl fmt::Display for KeptLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text())?;
        if self.cut_bytes > 0 {
            write!(f, " [{} bytes left out]", self.cut_bytes)?;
        }
        match self.repeats {
            0 => Ok(()),
            1 => f.write_str(" [repeated once]"),
            times => write!(f, " [repeated {times} times]"),
        }
    }
}

#[cfg(test)]
mod tests;
