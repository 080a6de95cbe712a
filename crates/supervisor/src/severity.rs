//! Whether a line of a child names an error.

/// Words that make the opposite of the word behind them.
const NEGATIONS: [&[u8]; 4] = [b"0", b"no", b"not", b"without"];

/// How many bytes [`may_hold_errors`] looks at in one go.
const BLOCK: usize = 64;

/// How far beyond its end a block looks: marked bytes are three in a row.
const AHEAD: usize = 2;

/// How far into a word its marked bytes begin at most.
const LEAD: usize = 2;

/// Whether a line says that something went wrong: by ffmpeg's level, `[error]`, `[fatal]` or `[panic]`
/// with whatever stands before it, or by one of the words error, failed, fatal, panic, cannot, unable
/// and denied, in any case.
///
/// A word counts where it stands alone: `errors`, `error_resilience=1` and `-error` do not, nor do
/// `no error`, `0 failed`, `failed: 0` and `error=0`.
pub(crate) fn names_error(line: &[u8]) -> bool {
    may_hold_errors(line) && tells_of_one(line)
}

/// Whether a line of `chunk` may name an error; if not, none does, and no line need be looked at.
///
/// Fast enough to be asked of all that a child writes. A line that lies only partly in the chunk must be
/// looked at by itself.
pub(crate) fn may_hold_errors(chunk: &[u8]) -> bool {
    let mut at = 0;
    while let Some(block) = chunk[at..].first_chunk::<{ BLOCK + AHEAD }>() {
        if has_hint(block) && holds_word(chunk, at) {
            return true;
        }
        at += BLOCK;
    }
    let rest = &chunk[at..];
    let mut block = [0; BLOCK + AHEAD];
    block[..rest.len()].copy_from_slice(rest);
    has_hint(&block) && holds_word(chunk, at)
}

/// Whether three bytes in a row can be the marked ones of **err**or, **fai**led, **fat**al, p**ani**c,
/// ca**nno**t, **una**ble or de**nie**d.
///
/// The form lets the compiler take 16 bytes in one step: no branch, no table, one pass.
fn has_hint(block: &[u8; BLOCK + AHEAD]) -> bool {
    // Only the two cases of a letter become that letter.
    let lower = block.map(|byte| byte | 0x20);
    let mut found = false;
    for at in 0..BLOCK {
        let [a, b, c] = [lower[at], lower[at + 1], lower[at + 2]];
        found |= (a == b'e') & (b == b'r') & (c == b'r')
            | (a == b'f') & (b == b'a') & ((c == b'i') | (c == b't'))
            | (a == b'a') & (b == b'n') & (c == b'i')
            | (a == b'n') & (b == b'n') & (c == b'o')
            | (a == b'u') & (b == b'n') & (c == b'a')
            | (a == b'n') & (b == b'i') & (c == b'e');
    }
    found
}

/// Whether a word stands in `chunk` whose marked bytes begin in the block at `at`.
fn holds_word(chunk: &[u8], at: usize) -> bool {
    let from = at.saturating_sub(LEAD);
    let to = chunk.len().min(at + BLOCK);
    (from..to).any(|at| word_at(chunk, at).is_some())
}

/// The word that names an error whose letters stand at `at`, be it alone or within another.
fn word_at(text: &[u8], at: usize) -> Option<&'static [u8]> {
    let rest = &text[at..];
    let words: &[&[u8]] = match rest.first()?.to_ascii_lowercase() {
        b'c' => &[b"cannot"],
        b'd' => &[b"denied"],
        b'e' => &[b"error"],
        b'f' => &[b"failed", b"fatal"],
        b'p' => &[b"panic"],
        b'u' => &[b"unable"],
        _ => return None,
    };
    let stands = |word: &&&[u8]| {
        rest.get(..word.len())
            .is_some_and(|letters| letters.eq_ignore_ascii_case(word))
    };
    words.iter().find(stands).copied()
}

fn tells_of_one(line: &[u8]) -> bool {
    (0..line.len()).any(|at| word_at(line, at).is_some_and(|word| is_told(line, at, word.len())))
}

/// Whether the letters at `at` are a word of their own that is not denied.
fn is_told(line: &[u8], at: usize, length: usize) -> bool {
    let (before, behind) = (&line[..at], &line[at + length..]);
    let ends = behind.first().is_none_or(|byte| !joins(*byte));
    let begins = before.last().is_none_or(|byte| !joins(*byte)) || ends_in_colour(before);
    begins && ends && !is_negated(before) && !is_zero(behind)
}

fn joins(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-')
}

/// Whether a colour is set directly before: `ESC [ 1 ; 3 1 m`.
fn ends_in_colour(before: &[u8]) -> bool {
    let Some(codes) = before.strip_suffix(b"m") else {
        return false;
    };
    let is_code = |byte: &u8| byte.is_ascii_digit() || *byte == b';';
    let start = codes.iter().rposition(|byte| !is_code(byte));
    start.is_some_and(|start| codes[..=start].ends_with(b"\x1b["))
}

/// Whether the word before, behind blanks, is a negation.
fn is_negated(before: &[u8]) -> bool {
    let words = before.trim_ascii_end();
    let start = words.iter().rposition(|byte| !joins(*byte));
    let word = &words[start.map_or(0, |at| at + 1)..];
    words.len() < before.len() && NEGATIONS.iter().any(|no| word.eq_ignore_ascii_case(no))
}

/// Whether it is a count and the count is zero: `: 0`, `=0`.
fn is_zero(behind: &[u8]) -> bool {
    let Some(value) = behind.strip_prefix(b":").or(behind.strip_prefix(b"=")) else {
        return false;
    };
    let value = value.trim_ascii_start();
    value.starts_with(b"0") && value.get(1).is_none_or(|byte| !joins(*byte))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(line: &str, want: bool) {
        assert_eq!(names_error(line.as_bytes()), want, "{line:?}");
        assert!(!want || may_hold_errors(line.as_bytes()), "{line:?}");
    }

    #[test]
    fn levels_of_ffmpeg() {
        check("[error] x", true);
        check("[fatal] x", true);
        check("[panic] x", true);
        check("[h264 @ 0x55cf453d8f00] [error] no frame!", true);
        check(
            "[vost#0:0/libx264 @ 0x5] [enc:libx264 @ 0x0] [fatal] x",
            true,
        );
        check(
            "\x1b[48;5;0m\x1b[38;5;69m[mp4 @ 0x1] \x1b[0m\x1b[1;31m[error] red\x1b[0m",
            true,
        );
        check("x264 [error]: invalid preset", true);
        check("[warning] deprecated pixel format", false);
        check("[info] Stream mapping:", false);
    }

    #[test]
    fn words() {
        check("Error opening input: No such file", true);
        check("rtsp://cam/1: Permission DENIED", true);
        check("thread 'main': panic!", true);
        check("Conversion failed!", true);
        check("cannot open", true);
        check("Unable to find a decoder", true);
        check("I/O error", true);
        check("(error)", true);
        check("error", true);
        check("level=error msg=x", true);
        check("error=refused", true);
        check("\x1b[31merror\x1b[0m: x", true);
        check("“error”", true);
        check("errors: 0, but failed", true);
        check("error: 0x80 is not a code", true);
    }

    #[test]
    fn not_errors() {
        check("", false);
        check("0 errors", false);
        check("3 errors", false);
        check("error_resilience=1", false);
        check("no error", false);
        check("without error", false);
        check("-err_detect explode", false);
        check("-xerror", false);
        check("--error-level 3", false);
        check("non-fatal", false);
        check("test result: ok. 5 passed; 0 failed; 0 ignored", false);
        check("failed=0 error: 0, denied:0", false);
        check("terror mirrorederror errorless", false);
        check(
            "frame=  120 fps= 30 q=23.0 size=     256kB time=00:00:04.00",
            false,
        );
    }

    #[test]
    fn a_negation_belongs_to_its_own_word_only() {
        check("no error, but failed", true);
        check("no such file: error", true);
        check("piano error", true);
        check("10 failed", true);
        check("no.error", true);
    }

    #[test]
    fn a_chunk_without_a_hint_is_passed_by() {
        let calm =
            b"frame=  120 fps= 30 enabled announced company manifest hidden scan\n".repeat(1000);
        assert!(!may_hold_errors(&calm));
        for at in 0..200 {
            let mut chunk = calm.clone();
            chunk[at..at + 6].copy_from_slice(b"CanNOt");
            assert!(may_hold_errors(&chunk), "{at}");
            chunk.truncate(at + 6);
            assert!(may_hold_errors(&chunk), "{at} at the end");
        }
    }

    proptest! {
        #[test]
        fn no_line_that_names_an_error_is_passed_by(
            pieces in prop::collection::vec(
                prop_oneof![
                    5 => "[ -~]{0,40}",
                    2 => "[\\[ \n:=]",
                    1 => "(?i:error|failed|fatal|panic|cannot|unable|denied)",
                    1 => "no |0 |err|nno",
                ],
                0..30,
            ),
        ) {
            let chunk = pieces.concat();
            let any = chunk.lines().any(|line| tells_of_one(line.as_bytes()));
            prop_assert!(!any || may_hold_errors(chunk.as_bytes()));
        }

        #[test]
        fn any_bytes_are_survived(line in prop::collection::vec(any::<u8>(), 0..300)) {
            prop_assert_eq!(names_error(&line), tells_of_one(&line));
        }
    }
}
