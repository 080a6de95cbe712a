//! Takes secrets out of text before it reaches a log, an error or a terminal.
//!
//! Camera addresses carry passwords, and programs repeat the whole address in their messages. A
//! secret is replaced by `***`; in doubt too much is replaced rather than too little.

use std::borrow::Cow;
use std::ffi::OsStr;
use std::ops::Range;

/// What stands in the place of a secret.
const MASK: &str = "***";

/// Names of URL parameters and options whose value is a secret; a `-` in a name counts as `_`.
const SECRET_NAMES: [&str; 17] = [
    "access_token",
    "api_key",
    "apikey",
    "auth",
    "cryptokey",
    "decryption_key",
    "encryption_key",
    "key",
    "pass",
    "passphrase",
    "passwd",
    "password",
    "pwd",
    "secret",
    "sig",
    "signature",
    "token",
];

/// Header fields whose whole value is a secret.
const SECRET_HEADERS: [&str; 3] = ["authorization:", "proxy-authorization:", "cookie:"];

/// Replaces the secrets in `text` that can be told by their place: the credentials of URLs, the
/// values of parameters and options such as `password=…` and `--password …`, the headers
/// `Authorization` and `Cookie`, and what follows the word `Bearer`.
///
/// A secret inside a path, as the key of an RTMP stream is, looks like any other word and stays.
///
/// ```
/// assert_eq!(
///     longtake_process::redact("rtsp://admin:pw@10.0.0.7/live?token=abc&channel=1"),
///     "rtsp://***@10.0.0.7/live?token=***&channel=1",
/// );
/// ```
#[must_use]
pub fn redact(text: &str) -> Cow<'_, str> {
    mask(text, secret_ranges(text))
}

/// The arguments as text for people: redacted, and quoted as a shell would need them.
///
/// ```
/// let args = ["--password", "pw", "-i", "rtsp://u:pw@cam/1", "my file.mkv"];
/// assert_eq!(
///     longtake_process::redact_args(&args),
///     "--password *** -i 'rtsp://***@cam/1' 'my file.mkv'",
/// );
/// ```
#[must_use]
pub fn redact_args(args: &[impl AsRef<OsStr>]) -> String {
    redact_args_with(args, redact)
}

/// As [`redact_args`], but each argument is redacted by `redact_one`, for those who know of more
/// secrets. The value of a secret option, `--password VALUE` or `--password=VALUE`, is masked whole
/// without asking.
#[must_use]
pub fn redact_args_with(
    args: &[impl AsRef<OsStr>],
    redact_one: impl Fn(&str) -> Cow<'_, str>,
) -> String {
    let mut line = String::new();
    let mut secret_follows = false;
    for arg in args {
        if !line.is_empty() {
            line.push(' ');
        }
        let text = arg.as_ref().to_string_lossy();
        let (option, value) = match text.split_once('=') {
            Some((option, value)) => (option, Some(value)),
            None => (&*text, None),
        };
        let is_secret = is_secret_option(option);
        if secret_follows {
            line.push_str(MASK);
        } else if is_secret && value.is_some_and(|value| !value.is_empty()) {
            line.push_str(&quote(&redact_one(option)));
            line.push('=');
            line.push_str(MASK);
        } else {
            line.push_str(&quote(&redact_one(&text)));
        }
        secret_follows = is_secret && value.is_none();
    }
    line
}

/// Where the secrets stand that [`redact`] replaces, in bytes; in no order, and they may overlap.
#[must_use]
pub fn secret_ranges(text: &str) -> Vec<Range<usize>> {
    let mut secrets = Vec::new();
    url_credentials(text, &mut secrets);
    parameters(text, &mut secrets);
    options(text, &mut secrets);
    let lower = text.to_ascii_lowercase();
    headers(&lower, &mut secrets);
    bearers(&lower, &mut secrets);
    secrets
}

/// Replaces `ranges` of `text`, in bytes; those that overlap or touch become one mask.
///
/// # Panics
///
/// When a range does not lie on character boundaries of `text`.
#[must_use]
pub fn mask(text: &str, mut ranges: Vec<Range<usize>>) -> Cow<'_, str> {
    ranges.retain(|range| !range.is_empty());
    if ranges.is_empty() {
        return Cow::Borrowed(text);
    }
    ranges.sort_unstable_by_key(|range| range.start);
    let mut clean = String::with_capacity(text.len());
    let mut masked_to = None;
    for Range { start, end } in ranges {
        match masked_to {
            Some(to) if start <= to => masked_to = Some(end.max(to)),
            _ => {
                clean.push_str(&text[masked_to.unwrap_or(0)..start]);
                clean.push_str(MASK);
                masked_to = Some(end);
            }
        }
    }
    clean.push_str(&text[masked_to.unwrap_or(0)..]);
    Cow::Owned(clean)
}

/// Whether the argument behind `arg` is a secret: `-token`, `--api-key`, `-decryption_key:v`.
fn is_secret_option(arg: &str) -> bool {
    let name = arg.trim_start_matches('-');
    let name = name.split(':').next().unwrap_or(name);
    arg.starts_with('-') && is_secret_name(name)
}

fn is_secret_name(name: &str) -> bool {
    let same = |(a, b): (u8, u8)| a.to_ascii_lowercase() == b || (a, b) == (b'-', b'_');
    SECRET_NAMES
        .iter()
        .any(|secret| secret.len() == name.len() && name.bytes().zip(secret.bytes()).all(same))
}

fn quote(text: &str) -> Cow<'_, str> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_=+./:,@%^".contains(c);
    if text == MASK || !text.is_empty() && text.chars().all(plain) {
        Cow::Borrowed(text)
    } else {
        Cow::Owned(format!("'{}'", text.replace('\'', "'\\''")))
    }
}

/// Finds `user:password` in `scheme://user:password@host`.
///
/// Cameras accept passwords with an unescaped `@` or `/` in them, so everything up to the last
/// `@` of the word counts as credentials.
fn url_credentials(text: &str, secrets: &mut Vec<Range<usize>>) {
    let mut at = 0;
    while let Some(found) = text[at..].find("://") {
        let start = at + found + "://".len();
        let rest = &text[start..];
        let word = &rest[..rest.find(ends_word).unwrap_or(rest.len())];
        if let Some(length) = word.rfind('@') {
            secrets.push(start..start + length);
        }
        at = start + word.len();
    }
}

/// Finds the value in `name=value` where the name is that of a secret.
fn parameters(text: &str, secrets: &mut Vec<Range<usize>>) {
    let mut behind = 0;
    for (equals, _) in text.match_indices('=') {
        let before = &text[..equals];
        let name = before.trim_end_matches(|c: char| c.is_ascii_alphanumeric() || c == '_');
        if equals < behind || !is_secret_name(&before[name.len()..]) {
            continue;
        }
        let start = equals + 1;
        let ends = |c| ends_word(c) || "&;,/".contains(c);
        behind = start + value_len(&text[start..], ends);
        secrets.push(start..behind);
    }
}

/// Finds the value in `--name value` and `-name value` where the name is that of a secret.
fn options(text: &str, secrets: &mut Vec<Range<usize>>) {
    let mut behind = 0;
    for (blank, _) in text.match_indices([' ', '\t']) {
        if blank < behind {
            continue;
        }
        let before = &text[behind..blank];
        let word = before.trim_end_matches(|c: char| !ends_word(c));
        if !is_secret_option(&before[word.len()..]) {
            continue;
        }
        let start = text.len() - text[blank..].trim_start_matches([' ', '\t']).len();
        behind = start + value_len(&text[start..], ends_word);
        secrets.push(start..behind);
    }
}

/// Finds all of the line behind the name of a secret header.
fn headers(lower: &str, secrets: &mut Vec<Range<usize>>) {
    for header in SECRET_HEADERS {
        let mut at = 0;
        while let Some(found) = lower[at..].find(header) {
            let start = at + found + header.len();
            let rest = &lower[start..];
            at = start + rest.find(['\r', '\n']).unwrap_or(rest.len());
            secrets.push(start..at);
        }
    }
}

/// Finds the word behind `bearer`.
fn bearers(lower: &str, secrets: &mut Vec<Range<usize>>) {
    for (found, bearer) in lower.match_indices("bearer") {
        let rest = &lower[found + bearer.len()..];
        let token = rest.trim_start_matches([' ', '\t']);
        let is_word = !lower[..found].ends_with(|c: char| c.is_alphanumeric());
        if is_word && token.len() < rest.len() {
            let start = lower.len() - token.len();
            secrets.push(start..start + token.find(ends_word).unwrap_or(token.len()));
        }
    }
}

/// How long the value at the beginning of `text` is. One that begins with a quote is read as a shell
/// would: it may go on behind the closing one.
fn value_len(text: &str, ends: impl Fn(char) -> bool) -> usize {
    if !text.starts_with(['\'', '"']) {
        return text.find(ends).unwrap_or(text.len());
    }
    let mut open = None;
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match open {
            _ if c == '\n' => return at,
            Some(mark) if c == mark => open = None,
            Some(_) => {}
            None if matches!(c, '\'' | '"') => open = Some(c),
            None if c == '\\' => drop(chars.next()),
            None if ends(c) => return at,
            None => {}
        }
    }
    text.len()
}

fn ends_word(c: char) -> bool {
    c.is_whitespace() || c.is_control() || "'\"|<>".contains(c)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(text: &str, want: &str) {
        assert_eq!(redact(text), want);
    }

    #[test]
    fn credentials_of_urls() {
        check("rtsp://cam/1", "rtsp://cam/1");
        check("rtsp://u:p@cam/1", "rtsp://***@cam/1");
        check("rtsp://u@cam/1", "rtsp://***@cam/1");
        check("rtsp://u:p@ss/w@cam/1", "rtsp://***@cam/1");
        check("rtsp://u:://@cam/1", "rtsp://***@cam/1");
        check(
            "http://a:b@c/ and http://d:e@f/",
            "http://***@c/ and http://***@f/",
        );
        check(
            "'rtsp://u:p@cam/1': Connection refused",
            "'rtsp://***@cam/1': Connection refused",
        );
        check(
            "[f=mpegts]tcp://u:p@a|[f=nut]tcp://u:p@b",
            "[f=mpegts]tcp://***@a|[f=nut]tcp://***@b",
        );
        check("/videos/a@b.mp4", "/videos/a@b.mp4");
    }

    #[test]
    fn secret_parameters_and_headers() {
        check(
            "rtsp://c:554/user=admin&password=pw&channel=1",
            "rtsp://c:554/user=admin&password=***&channel=1",
        );
        check(
            "srt://h:1?passphrase=0123456789&mode=caller",
            "srt://h:1?passphrase=***&mode=caller",
        );
        check("https://h/x?TOKEN=abc", "https://h/x?TOKEN=***");
        check("keyint=30:monkey=3", "keyint=30:monkey=3");
        check("password=", "password=");
        check(
            "Authorization: Basic dTpw\r\nAccept: */*",
            "Authorization:***\r\nAccept: */*",
        );
        check("rtsp://u:p@h/?token=a@b", "rtsp://***");
    }

    #[test]
    fn secret_options_in_a_line() {
        check("run --password pw -v", "run --password *** -v");
        check("run --api-key\tpw", "run --api-key\t***");
        check("--Token=pw -v", "--Token=*** -v");
        check("-decryption_key 00ff -i a", "-decryption_key *** -i a");
        check("--password 'a b' c", "--password *** c");
        check("--key=''Bearer x", "--key=*** ***");
        check("password=\"a b\" c", "password=*** c");
        check(r"--password 'it'\''s'you c", "--password *** c");
        check("--password --token pw", "--password *** pw");
        check("-p 80 --passwordless x", "-p 80 --passwordless x");
        check("my-password x", "my-password x");
        check("--password\nnext line", "--password\nnext line");
        check("ends with --password ", "ends with --password ");
    }

    #[test]
    fn bearer_tokens() {
        check("sent Bearer eyJh.bGc, got 401", "sent Bearer *** got 401");
        check("'bearer  abc'", "'bearer  ***'");
        check("forbearer abc Bearer", "forbearer abc Bearer");
        check("Bearer:abc", "Bearer:abc");
    }

    #[test]
    fn secrets_that_overlap_or_touch_become_one() {
        assert_eq!(mask("abcdef", vec![3..5, 0..2, 1..3]), "***f");
        assert_eq!(mask("abcdef", vec![4..6, 1..2, 2..2]), "a***cd***");
        assert_eq!(mask("abc", vec![1..1, 2..2]), "abc");
    }

    #[test]
    fn a_shown_command_is_quoted_and_has_no_secret() {
        #[track_caller]
        fn check(args: &[&str], want: &str) {
            assert_eq!(redact_args(args), want);
        }
        check(
            &["-decryption_key", "00ff", "-i", "it's", ""],
            r"-decryption_key *** -i 'it'\''s' ''",
        );
        check(&["--password", "a b", "c"], "--password *** c");
        check(&["--password=a b&c", "d"], "--password=*** d");
        check(&["--password=", "d"], "--password= d");
        check(&["-key:v", "--token", "x"], "-key:v *** ***");
        check(&["token=a b"], "'token=*** b'");
        check(&["-p", "80"], "-p 80");
    }

    proptest! {
        #[test]
        fn any_text_survives(text in "(\\PC|[-='\" :/@]|Bearer |--key|cookie:){0,30}") {
            let args: Vec<_> = text.split(' ').collect();
            let _shown = redact_args(&args);
            let clean = redact(&text);
            prop_assert_eq!(&redact(&clean), &clean, "what is clean stays as it is");
        }

        #[test]
        fn no_password_survives(user in "[a-z]{1,5}", password in "[A-Z@/:]{0,6}Q[A-Z@/:]{0,6}", tail in "[a-z/ ]{0,9}") {
            let text = format!("x rtsp://{user}:{password}@host/{tail}");
            prop_assert!(!redact(&text).contains(&password));
        }
    }
}
