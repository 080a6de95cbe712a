//! Parsing of one line of ffmpeg's log, as written with `-loglevel level+…`.

use crate::level::Level;

/// One line of ffmpeg's log, borrowed from its bytes.
///
/// ```
/// use longtake_ffmpeg::{Level, LogLine};
///
/// let line = LogLine::parse(b"[vost#0:0/libx264 @ 0x55] [enc:libx264 @ 0x56] [error] no memory");
/// assert_eq!(line.level, Some(Level::Error));
/// assert_eq!(line.context, Some(&b"enc:libx264"[..]));
/// assert_eq!(line.text, b"no memory");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogLine<'a> {
    /// How severe it is; lines that a library printed past ffmpeg's log have no level.
    pub level: Option<Level>,
    /// The innermost part of ffmpeg that speaks, such as `libx264` or `out#0/mp4`.
    pub context: Option<&'a [u8]>,
    /// The message. It may hold bytes that are not UTF-8, from file names.
    pub text: &'a [u8],
    /// The line says only that the line before came so many times more.
    pub repeats: Option<u64>,
}

impl<'a> LogLine<'a> {
    /// Reads one line without its line end; any bytes give some line.
    #[must_use]
    pub fn parse(line: &'a [u8]) -> Self {
        // Whatever can be in front of a message has one of these; lines of progress have neither.
        if memchr::memchr2(b'[', b'\r', line).is_none() {
            return Self::unmarked(line);
        }
        let line = without_colours(after_carriage_return(line));
        let (context, rest) = contexts(line);
        if let Some((level, text)) = bracketed_level(rest) {
            return Self {
                level: Some(level),
                context,
                text,
                repeats: None,
            };
        }
        if context.is_some() {
            return Self {
                level: None,
                context,
                text: rest,
                repeats: None,
            };
        }
        library_line(line).unwrap_or_else(|| Self::unmarked(line))
    }

    fn unmarked(line: &'a [u8]) -> Self {
        let text = line.trim_ascii();
        Self {
            level: None,
            context: None,
            text,
            repeats: repeats(text),
        }
    }
}

/// The statistics line ends in `\r`, and the next message sticks to it.
fn after_carriage_return(line: &[u8]) -> &[u8] {
    let line = line.trim_ascii_end();
    match memchr::memrchr(b'\r', line) {
        Some(at) => &line[at + 1..],
        None => line,
    }
}

/// With `AV_LOG_FORCE_COLOR` escape sequences stand in front of the prefix and behind the text.
fn without_colours(mut line: &[u8]) -> &[u8] {
    while let Some(rest) = line.strip_prefix(b"\x1b[") {
        let Some(end) = memchr::memchr(b'm', rest) else {
            break;
        };
        line = &rest[end + 1..];
    }
    line.strip_suffix(b"\x1b[0m").unwrap_or(line)
}

/// Takes `[name @ 0x…] ` off the front as often as it stands there; gives the last name.
fn contexts(mut line: &[u8]) -> (Option<&[u8]>, &[u8]) {
    let mut innermost = None;
    while let Some((name, rest)) = context(line) {
        innermost = Some(name);
        line = without_colours(rest);
    }
    (innermost, line)
}

fn context(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let (inside, rest) = bracketed(line)?;
    let sign = memchr::memchr(b'@', inside)?;
    let name = inside[..sign].strip_suffix(b" ")?;
    let address = inside[sign + 1..].strip_prefix(b" 0x")?;
    address
        .iter()
        .all(u8::is_ascii_hexdigit)
        .then_some((name, rest))
}

fn bracketed_level(line: &[u8]) -> Option<(Level, &[u8])> {
    let (inside, rest) = bracketed(line)?;
    Some((Level::from_name(inside)?, rest))
}

/// Splits `[inside] rest`.
fn bracketed(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let line = line.strip_prefix(b"[")?;
    let end = memchr::memchr(b']', line)?;
    let rest = &line[end + 1..];
    Some((&line[..end], rest.strip_prefix(b" ").unwrap_or(rest)))
}

/// Reads `x264 [error]: text`, which libx264 and libx265 print themselves.
fn library_line(line: &[u8]) -> Option<LogLine<'_>> {
    let end = line.iter().position(|byte| !byte.is_ascii_alphanumeric())?;
    let (name, rest) = line
        .split_at_checked(end)
        .filter(|(name, _)| !name.is_empty())?;
    let (level, rest) = bracketed_level(rest.strip_prefix(b" ")?)?;
    let text = rest.strip_prefix(b":")?.trim_ascii_start();
    Some(LogLine {
        level: Some(level),
        context: Some(name),
        text,
        repeats: None,
    })
}

/// Reads `Last message repeated 3 times`.
fn repeats(text: &[u8]) -> Option<u64> {
    let count = text.strip_prefix(b"Last message repeated ")?;
    std::str::from_utf8(count.strip_suffix(b" times")?)
        .ok()?
        .parse()
        .ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(line: &[u8], level: Option<Level>, context: Option<&str>, text: &[u8]) {
        let context = context.map(str::as_bytes);
        assert_eq!(
            LogLine::parse(line),
            LogLine {
                level,
                context,
                text,
                repeats: None
            }
        );
    }

    #[test]
    fn every_form_that_ffmpeg_prints() {
        let error = Some(Level::Error);
        check(
            b"[info] Stream mapping:",
            Some(Level::Info),
            None,
            b"Stream mapping:",
        );
        check(
            b"[h264 @ 0x55cf453d8f00] [error] no frame!",
            error,
            Some("h264"),
            b"no frame!",
        );
        check(
            b"[vost#0:0/libx264 @ 0x55b3d377cd80] [enc:libx264 @ 0x55b3d377d7c0] [error] Could not open encoder",
            error,
            Some("enc:libx264"),
            b"Could not open encoder",
        );
        check(
            b"x264 [error]: invalid preset 'nosuch'",
            error,
            Some("x264"),
            b"invalid preset 'nosuch'",
        );
        check(
            b"x265 [warning]: text",
            Some(Level::Warning),
            Some("x265"),
            b"text",
        );
        check(b"[error] ", error, None, b"");
        check(b"[error]", error, None, b"");
        check(
            b"[info]   Duration: N/A",
            Some(Level::Info),
            None,
            b"  Duration: N/A",
        );
    }

    #[test]
    fn without_a_level() {
        check(
            b"error while decoding MB 0 16",
            None,
            None,
            b"error while decoding MB 0 16",
        );
        check(
            b"[h264 @ 0x55cf] error while decoding",
            None,
            Some("h264"),
            b"error while decoding",
        );
        check(
            b"To ignore this, add a trailing '?' to the map.",
            None,
            None,
            b"To ignore this, add a trailing '?' to the map.",
        );
        check(b"", None, None, b"");
    }

    #[test]
    fn glued_behind_the_statistics_line() {
        check(
            b"frame=  120 fps= 30 q=23.0 size=     256kB time=00:00:04.00    \r[h264 @ 0x55] [error] bad",
            Some(Level::Error),
            Some("h264"),
            b"bad",
        );
        check(b"[info] text\r", Some(Level::Info), None, b"text");
    }

    #[test]
    fn coloured() {
        check(
            b"\x1b[1;31m[error] red\x1b[0m",
            Some(Level::Error),
            None,
            b"red",
        );
        check(
            b"\x1b[48;5;0m\x1b[38;5;69m[mp4 @ 0x1] \x1b[0m\x1b[1;31m[error] red\x1b[0m",
            Some(Level::Error),
            Some("mp4"),
            b"red",
        );
        check(b"\x1b[unfinished", None, None, b"\x1b[unfinished");
    }

    #[test]
    fn repeats() {
        let line = LogLine::parse(b"    Last message repeated 3 times");
        assert_eq!(line.repeats, Some(3));
        assert_eq!(
            LogLine::parse(b"[info] Last message repeated 3 times").repeats,
            None
        );
    }

    #[test]
    fn text_that_looks_like_a_prefix() {
        check(
            b"[error] [mp4 @ 0x55] text",
            Some(Level::Error),
            None,
            b"[mp4 @ 0x55] text",
        );
        check(
            b"[info] progress=end",
            Some(Level::Info),
            None,
            b"progress=end",
        );
        check(
            b"[file @ home] [error] x",
            None,
            None,
            b"[file @ home] [error] x",
        );
        check(b"a/b [error]: x", None, None, b"a/b [error]: x");
    }

    #[test]
    fn bytes_that_are_no_utf8() {
        check(
            b"[error] caf\xe9.mp4: No such file",
            Some(Level::Error),
            None,
            b"caf\xe9.mp4: No such file",
        );
    }

    proptest! {
        #[test]
        fn any_bytes_give_some_line(line in prop::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(LogLine::parse(&line).text.len() <= line.len());
        }

        #[test]
        fn any_prefixes_give_some_line(line in "(\\[[a-z @0x]{0,8}\\]? ?|\\x1b\\[[0-9]{0,2}m?|x264 |\\r){0,6}.{0,9}") {
            prop_assert!(LogLine::parse(line.as_bytes()).text.len() <= line.len());
        }
    }
}
