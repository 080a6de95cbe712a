//! Takes secrets out of text before it reaches a log, an error or a terminal.
//!
//! Camera addresses carry passwords, and ffmpeg repeats the whole address in its messages. A
//! secret is replaced by `***`; in doubt too much is replaced rather than too little.

use std::borrow::Cow;
use std::ffi::OsStr;

/// What stands in the place of a secret.
const MASK: &str = "***";

/// Names of URL parameters and ffmpeg options whose value is a secret.
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

/// Replaces the credentials of every URL, secret parameters and secret headers in `text`.
///
/// ```
/// assert_eq!(
///     longtake_ffmpeg::redact("rtsp://admin:pw@10.0.0.7/live?token=abc&channel=1"),
///     "rtsp://***@10.0.0.7/live?token=***&channel=1",
/// );
/// ```
#[must_use]
pub fn redact(text: &str) -> Cow<'_, str> {
    let mut secrets = Vec::new();
    url_credentials(text, &mut secrets);
    parameters(text, &mut secrets);
    headers(text, &mut secrets);
    if secrets.is_empty() {
        return Cow::Borrowed(text);
    }
    secrets.sort_unstable();
    let mut clean = String::with_capacity(text.len());
    let mut at = 0;
    for (start, end) in secrets {
        // Overlapping and touching secrets become one mask.
        if start > at || at == 0 {
            clean.push_str(&text[at..start]);
            clean.push_str(MASK);
        }
        at = at.max(end);
    }
    clean.push_str(&text[at..]);
    Cow::Owned(clean)
}

/// The arguments as text for people: redacted and quoted as a shell would need them.
pub(crate) fn display_args(args: &[impl AsRef<OsStr>]) -> String {
    let mut line = String::new();
    let mut secret_follows = false;
    for arg in args {
        if !line.is_empty() {
            line.push(' ');
        }
        let arg = arg.as_ref();
        let text = arg.to_string_lossy();
        if secret_follows {
            line.push_str(MASK);
        } else {
            line.push_str(&quote(&redact(&text)));
        }
        secret_follows = is_secret_option(arg);
    }
    line
}

fn is_secret_option(arg: &OsStr) -> bool {
    let Some(name) = arg.to_str().and_then(|text| text.strip_prefix('-')) else {
        return false;
    };
    let name = name.split(':').next().unwrap_or(name);
    SECRET_NAMES.contains(&name)
}

fn quote(text: &str) -> Cow<'_, str> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_=+./:,@%^".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        Cow::Borrowed(text)
    } else {
        Cow::Owned(format!("'{}'", text.replace('\'', "'\\''")))
    }
}

/// Finds `user:password` in `scheme://user:password@host`.
///
/// Cameras accept passwords with an unescaped `@` or `/` in them, so everything up to the last
/// `@` of the word counts as credentials.
fn url_credentials(text: &str, secrets: &mut Vec<(usize, usize)>) {
    let mut at = 0;
    while let Some(found) = text[at..].find("://") {
        let start = at + found + "://".len();
        let rest = &text[start..];
        let word = &rest[..rest.find(ends_word).unwrap_or(rest.len())];
        if let Some(length) = word.rfind('@').filter(|length| *length > 0) {
            secrets.push((start, start + length));
        }
        at = start + word.len();
    }
}

/// Finds the value in `name=value` where the name is that of a secret.
fn parameters(text: &str, secrets: &mut Vec<(usize, usize)>) {
    for (equals, _) in text.match_indices('=') {
        let before = &text[..equals];
        let name_start = before.rfind(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
        let name = &before[name_start.map_or(0, |at| {
            at + before[at..].chars().next().map_or(1, char::len_utf8)
        })..];
        if !SECRET_NAMES
            .iter()
            .any(|secret| name.eq_ignore_ascii_case(secret))
        {
            continue;
        }
        let value = &text[equals + 1..];
        let length = value
            .find(|c: char| ends_word(c) || "&;,/".contains(c))
            .unwrap_or(value.len());
        if length > 0 {
            secrets.push((equals + 1, equals + 1 + length));
        }
    }
}

fn headers(text: &str, secrets: &mut Vec<(usize, usize)>) {
    let lower = text.to_ascii_lowercase();
    for header in SECRET_HEADERS {
        for (at, _) in lower.match_indices(header) {
            let start = at + header.len();
            let length = lower[start..]
                .find(['\r', '\n'])
                .unwrap_or(lower.len() - start);
            if length > 0 {
                secrets.push((start, start + length));
            }
        }
    }
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
    fn secret_options_and_quotes_in_a_shown_command() {
        let args = ["-decryption_key", "00ff", "-i", "it's", ""];
        assert_eq!(display_args(&args), r"-decryption_key *** -i 'it'\''s' ''");
    }

    proptest! {
        #[test]
        fn any_text_survives(text in "\\PC{0,80}") {
            let _clean = redact(&text);
        }

        #[test]
        fn no_password_survives(user in "[a-z]{1,5}", password in "[A-Z@/:]{0,6}Q[A-Z@/:]{0,6}", tail in "[a-z/ ]{0,9}") {
            let text = format!("x rtsp://{user}:{password}@host/{tail}");
            prop_assert!(!redact(&text).contains(&password));
        }
    }
}
