//! From bytes to lines, whatever the bytes.

use std::borrow::Cow;
use std::mem;

use memchr::memchr2;

/// Cuts a stream of bytes into lines, holding no more of one than its limit.
///
/// A line ends with `\n`, `\r` (a progress line that overwrites itself) or `\r\n`. What goes beyond the
/// limit is thrown away up to the line's end, and counted. Nothing is assumed of the bytes: not UTF-8, no
/// line end ever. The lines are the same however the stream is cut into pieces.
///
/// ```
/// use longtake_process::LineSplitter;
///
/// let mut splitter = LineSplitter::default();
/// let mut lines = Vec::new();
/// for piece in [&b"frame=1\rframe=2\r"[..], b"done\r", b"\nrest"] {
///     splitter.push(piece, |line| lines.push(line.text().into_owned()));
/// }
/// splitter.finish(|line| lines.push(line.text().into_owned()));
/// assert_eq!(lines, ["frame=1", "frame=2", "done", "rest"]);
/// ```
#[derive(Clone, Debug)]
pub struct LineSplitter {
    max_bytes: usize,
    /// The line that has begun, up to the limit.
    begun: Vec<u8>,
    /// How much of it went beyond.
    cut_bytes: u64,
    /// The last byte was `\r`: a `\n` now belongs to it.
    after_return: bool,
}

/// One line, without its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line<'a> {
    bytes: &'a [u8],
    cut_bytes: u64,
}

impl Default for LineSplitter {
    /// Lines of up to 4 KiB.
    fn default() -> Self {
        Self::new(4 << 10)
    }
}

impl LineSplitter {
    /// Lines of up to `max_bytes`, the end not counted.
    #[must_use]
    pub fn new(max_bytes: usize) -> Self {
        Self {
            max_bytes,
            begun: Vec::new(),
            cut_bytes: 0,
            after_return: false,
        }
    }

    /// Takes the next piece of the stream, and calls `each` for every line that ends in it.
    pub fn push(&mut self, mut bytes: &[u8], mut each: impl FnMut(Line<'_>)) {
        if bytes.is_empty() {
            return;
        }
        if mem::take(&mut self.after_return) {
            bytes = bytes.strip_prefix(b"\n").unwrap_or(bytes);
        }
        while let Some(end) = memchr2(b'\n', b'\r', bytes) {
            let (line, rest) = (&bytes[..end], &bytes[end + 1..]);
            if self.begun.is_empty() && self.cut_bytes == 0 {
                each(Line::cut(line, self.max_bytes));
            } else {
                self.go_on(line);
                self.end(&mut each);
            }
            if bytes[end] == b'\r' {
                self.after_return = rest.is_empty();
                bytes = rest.strip_prefix(b"\n").unwrap_or(rest);
            } else {
                bytes = rest;
            }
        }
        self.go_on(bytes);
    }

    /// Ends the stream: calls `each` for a last line that had no end.
    pub fn finish(&mut self, mut each: impl FnMut(Line<'_>)) {
        self.after_return = false;
        if !self.begun.is_empty() || self.cut_bytes > 0 {
            self.end(&mut each);
        }
    }

    /// The line that has begun and not ended, up to the limit.
    #[must_use]
    pub fn begun(&self) -> &[u8] {
        &self.begun
    }

    fn go_on(&mut self, bytes: &[u8]) {
        let more = Line::cut(bytes, self.max_bytes - self.begun.len());
        self.begun.extend_from_slice(more.bytes);
        self.cut_bytes += more.cut_bytes;
    }

    fn end(&mut self, each: &mut impl FnMut(Line<'_>)) {
        each(Line {
            bytes: &self.begun,
            cut_bytes: self.cut_bytes,
        });
        self.begun.clear();
        self.cut_bytes = 0;
    }
}

impl<'a> Line<'a> {
    /// A line of these bytes, of which only `max_bytes` are kept.
    #[must_use]
    pub fn cut(bytes: &'a [u8], max_bytes: usize) -> Self {
        let kept = bytes.len().min(max_bytes);
        Self {
            bytes: &bytes[..kept],
            cut_bytes: (bytes.len() - kept) as u64,
        }
    }

    /// The bytes as they came.
    #[must_use]
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The text, with U+FFFD in place of what is not UTF-8.
    #[must_use]
    pub fn text(&self) -> Cow<'a, str> {
        String::from_utf8_lossy(self.bytes)
    }

    /// How many bytes went beyond the limit and were thrown away.
    #[must_use]
    pub fn cut_bytes(&self) -> u64 {
        self.cut_bytes
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    type Lines = Vec<(Vec<u8>, u64)>;

    fn split(max_bytes: usize, pieces: &[&[u8]]) -> Lines {
        let mut splitter = LineSplitter::new(max_bytes);
        let mut lines = Vec::new();
        let mut take = |line: Line<'_>| lines.push((line.bytes().to_vec(), line.cut_bytes()));
        for piece in pieces {
            splitter.push(piece, &mut take);
            assert!(splitter.begun().len() <= max_bytes);
        }
        splitter.finish(&mut take);
        lines
    }

    #[track_caller]
    fn check(stream: &[u8], want: &[(&str, u64)]) {
        let want: Lines = want
            .iter()
            .map(|(line, cut)| (line.as_bytes().to_vec(), *cut))
            .collect();
        for at in 0..=stream.len() {
            let (one, other) = stream.split_at(at);
            assert_eq!(split(4, &[one, other]), want, "{stream:?} split at {at}");
        }
        let bytes: Vec<&[u8]> = stream.chunks(1).collect();
        assert_eq!(split(4, &bytes), want, "{stream:?} byte by byte");
    }

    #[test]
    fn ends() {
        check(b"", &[]);
        check(b"a", &[("a", 0)]);
        check(b"a\n", &[("a", 0)]);
        check(b"a\r", &[("a", 0)]);
        check(b"a\r\n", &[("a", 0)]);
        check(b"a\n\r", &[("a", 0), ("", 0)]);
        check(b"a\rb\r\nc\nd", &[("a", 0), ("b", 0), ("c", 0), ("d", 0)]);
        check(b"\n\n", &[("", 0), ("", 0)]);
        check(b"\r\r", &[("", 0), ("", 0)]);
        check(b"\r\n\r\n\n", &[("", 0), ("", 0), ("", 0)]);
    }

    #[test]
    fn long_lines_are_cut_and_the_cut_is_told() {
        check(b"abcd\n", &[("abcd", 0)]);
        check(b"abcde\n", &[("abcd", 1)]);
        check(b"abcdefghij\rk", &[("abcd", 6), ("k", 0)]);
        check(b"abcdefghij", &[("abcd", 6)]);
    }

    #[test]
    fn bytes_stay_bytes() {
        let line = Line::cut(b"caf\xe9 \0", 100);
        assert_eq!(line.bytes(), b"caf\xe9 \0");
        assert_eq!(line.text(), "caf\u{fffd} \0");
        assert_eq!(
            split(4, &[b"\xff\0\n\xc3"]),
            [(vec![0xff, 0], 0), (vec![0xc3], 0)]
        );
    }

    #[test]
    fn a_limit_of_nothing_still_counts() {
        assert_eq!(split(0, &[b"abc\nde"]), [(vec![], 3), (vec![], 2)]);
    }

    #[test]
    fn a_flood_without_an_end_is_bounded() {
        let mut splitter = LineSplitter::default();
        let chunk = [b'x'; 64 << 10];
        for _ in 0..1600 {
            splitter.push(&chunk, |_| panic!("there is no line end"));
            assert!(splitter.begun.capacity() <= 8 << 10);
        }
        let mut cut = 0;
        splitter.finish(|line| cut = line.cut_bytes());
        assert_eq!(cut, 1600 * (64 << 10) - (4 << 10));
    }

    proptest! {
        #[test]
        fn any_split_gives_the_same_lines(
            stream in prop::collection::vec(prop_oneof![Just(b'\n'), Just(b'\r'), any::<u8>()], 0..200),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
            max_bytes in 0_usize..20,
        ) {
            let mut ends: Vec<usize> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).collect();
            ends.push(stream.len());
            ends.sort_unstable();
            let mut begin = 0;
            let pieces: Vec<&[u8]> = ends
                .iter()
                .map(|&end| &stream[mem::replace(&mut begin, end)..end])
                .collect();
            let whole = split(max_bytes, &[&stream]);
            prop_assert_eq!(&split(max_bytes, &pieces), &whole);
            let ends = stream.iter().filter(|byte| matches!(byte, b'\n' | b'\r')).count();
            let kept: usize = whole.iter().map(|(line, cut)| line.len() + usize::try_from(*cut).unwrap()).sum();
            prop_assert_eq!(kept + ends, stream.len(), "every byte is in a line, cut from one, or an end");
        }
    }
}
