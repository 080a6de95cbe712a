//! Parsing of what ffmpeg writes for `-progress`.
//!
//! ffmpeg writes blocks of `key=value` lines, each closed by a `progress=` line. The parser takes
//! the bytes as they come, split anywhere, and hands out one [`Block`] for each closed block. It
//! knows no pipe and no clock, and its memory does not grow with its input.

mod number;

use memchr::memchr;

use self::number::{clock, decimal, signed, unsigned};

/// A longer line is skipped whole; ffmpeg's own lines have less than 100 bytes.
const MAX_LINE: usize = 4096;

/// An output time before this is one of ffmpeg's "unknown" values. Real ones are negative by some
/// reordered frames, or by the distance of a seek past the end.
const EARLIEST_US: i64 = -24 * 3600 * 1_000_000;

/// What one block of `-progress` said; `None` where it said nothing or `N/A`.
///
/// The values are ffmpeg's own and unchecked: `out_time_us` may go backwards, `total_bytes`
/// counts the first output only, `bits_per_second` may be absurd. [`Progress`](crate::Progress)
/// is made for people from it.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
#[non_exhaustive]
pub struct Block {
    /// Video frames written; an audio-only job has none.
    pub frame: Option<u64>,
    /// Frames a second since the start.
    pub fps: Option<f64>,
    /// Mean bit rate of the first output. Implausible right after the start.
    pub bits_per_second: Option<u64>,
    /// Bytes written to the first output.
    pub total_bytes: Option<u64>,
    /// Media time written, in microseconds. It starts negative with reordered frames, and stays
    /// below the real duration by their delay.
    pub out_time_us: Option<i64>,
    /// Frames that ffmpeg wrote twice to keep the frame rate.
    pub dup_frames: Option<u64>,
    /// Frames that ffmpeg left out to keep the frame rate.
    pub drop_frames: Option<u64>,
    /// Media time per wall time since the start.
    pub speed: Option<f64>,
    /// No more blocks will come. This does **not** mean success: ffmpeg says it after a signal and
    /// on a full disk as well.
    pub end: bool,
}

/// Turns the bytes of a `-progress` pipe into [`Block`]s.
///
/// ```
/// use longtake_ffmpeg::ProgressParser;
///
/// let mut parser = ProgressParser::new();
/// let mut positions = Vec::new();
/// for bytes in ["out_time_us=866", "732\nspeed=1.5x\nprogress=cont", "inue\n"] {
///     parser.push(bytes.as_bytes(), |block| positions.push(block.out_time_us));
/// }
/// assert_eq!(positions, [Some(866_732)]);
/// ```
#[derive(Debug, Clone, Default)]
pub struct ProgressParser {
    block: Block,
    out_time_us_came: bool,
    /// The start of a line whose end has not come yet, at most [`MAX_LINE`] bytes of it.
    partial: Vec<u8>,
    partial_is_too_long: bool,
    malformed: u64,
}

impl ProgressParser {
    /// A parser before the first byte.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next bytes and calls `on_block` for every block they close.
    pub fn push(&mut self, mut bytes: &[u8], mut on_block: impl FnMut(&Block)) {
        while let Some(end) = memchr(b'\n', bytes) {
            let (line, rest) = (&bytes[..end], &bytes[end + 1..]);
            bytes = rest;
            let closed = if self.partial.is_empty() && !self.partial_is_too_long {
                self.line(line)
            } else {
                self.keep(line);
                self.finish_partial()
            };
            if closed {
                on_block(&self.take_block());
            }
        }
        self.keep(bytes);
    }

    /// Takes one whole line without its end, and gives the block that it closes: for a progress that
    /// comes among the lines of a log (`-progress pipe:2`).
    pub fn push_line(&mut self, line: &[u8]) -> Option<Block> {
        self.line(line).then(|| self.take_block())
    }

    /// How many known keys came with a value that cannot be read, and how many lines were too long.
    #[must_use]
    pub const fn malformed(&self) -> u64 {
        self.malformed
    }

    fn take_block(&mut self) -> Block {
        self.out_time_us_came = false;
        std::mem::take(&mut self.block)
    }

    fn keep(&mut self, bytes: &[u8]) {
        if self.partial_is_too_long || self.partial.len() + bytes.len() > MAX_LINE {
            self.partial_is_too_long = true;
            self.partial.clear();
        } else {
            self.partial.extend_from_slice(bytes);
        }
    }

    fn finish_partial(&mut self) -> bool {
        if self.partial_is_too_long {
            self.partial_is_too_long = false;
            self.malformed = self.malformed.saturating_add(1);
            return false;
        }
        let mut line = std::mem::take(&mut self.partial);
        let closed = self.line(&line);
        line.clear();
        self.partial = line;
        closed
    }

    /// Reads one line; true when it closes the block.
    fn line(&mut self, line: &[u8]) -> bool {
        if line.len() > MAX_LINE {
            self.malformed = self.malformed.saturating_add(1);
            return false;
        }
        let Some(equals) = line.iter().position(|&byte| byte == b'=') else {
            return false;
        };
        let (key, value) = (&line[..equals], line[equals + 1..].trim_ascii());
        match key {
            b"frame" => self.block.frame = self.value(value, unsigned),
            b"fps" => self.block.fps = self.value(value, decimal),
            b"bitrate" => self.block.bits_per_second = self.value(value, bits_per_second),
            b"total_size" => self.block.total_bytes = self.value(value, unsigned),
            b"out_time_us" => {
                self.out_time_us_came = true;
                self.block.out_time_us = self.value(value, signed).filter(is_a_time);
            }
            // `out_time_ms` holds microseconds as well (ffmpeg ticket 7345) and is never used;
            // `out_time` serves builds from before `out_time_us`.
            b"out_time" if !self.out_time_us_came => {
                self.block.out_time_us = self.value(value, clock).filter(is_a_time);
            }
            b"dup_frames" => self.block.dup_frames = self.value(value, unsigned),
            b"drop_frames" => self.block.drop_frames = self.value(value, unsigned),
            b"speed" => self.block.speed = self.value(value, speed),
            b"progress" => {
                self.block.end = value == b"end";
                return true;
            }
            _ => {}
        }
        false
    }

    fn value<T>(&mut self, value: &[u8], parse: fn(&[u8]) -> Option<T>) -> Option<T> {
        if value == b"N/A" {
            return None;
        }
        let parsed = parse(value);
        // `frame=  120 fps= 30 …` is the statistics line of the log, not a value.
        if parsed.is_none() && !value.contains(&b'=') {
            self.malformed = self.malformed.saturating_add(1);
        }
        parsed
    }
}

/// ffmpeg prints its "no time" values as times too: the ends of the 64-bit range.
fn is_a_time(us: &i64) -> bool {
    (EARLIEST_US..i64::MAX).contains(us)
}

fn speed(value: &[u8]) -> Option<f64> {
    decimal(value.strip_suffix(b"x")?)
}

fn bits_per_second(value: &[u8]) -> Option<u64> {
    let kilobits = decimal(value.strip_suffix(b"kbits/s")?)?;
    let bits = (kilobits * 1000.0).round();
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the range is checked"
    )]
    (0.0..1e18).contains(&bits).then_some(bits as u64)
}

#[cfg(test)]
mod tests;
