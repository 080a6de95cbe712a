//! Which secrets are taken out of what is logged about a child.

use std::borrow::Cow;
use std::error::Error;
use std::ffi::OsStr;
use std::fmt;
use std::ops::Range;

use longtake_process as process;
use regex::{Regex, RegexBuilder};

/// How many bytes a pattern may take when it is compiled.
const MAX_PATTERN_BYTES: usize = 1 << 20;

/// What is replaced by `***` in the lines and arguments of a child before they are logged.
///
/// Credentials of URLs, secret parameters and options, and the rest that [`process::redact`] knows are
/// always taken out. Stream keys and other words that look like any other must be named here.
///
/// ```
/// use longtake_supervisor::Redaction;
///
/// let redaction = Redaction::default()
///     .secret("hunter2")
///     .pattern(r"rtmp://[^/]+/live/(\S+)")?;
/// assert_eq!(
///     redaction.apply("hunter2 sends to rtmp://u:pw@tube.example/live/abcd-1234"),
///     "*** sends to rtmp://***@tube.example/live/***",
/// );
/// # Ok::<(), longtake_supervisor::PatternError>(())
/// ```
#[derive(Clone, Default)]
pub struct Redaction {
    secrets: Vec<String>,
    patterns: Vec<Regex>,
}

/// Why a pattern cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PatternError {
    /// It is no regular expression.
    #[error("cannot read pattern {pattern:?}")]
    Syntax {
        /// The pattern.
        pattern: String,
        /// Where and why.
        source: Box<dyn Error + Send + Sync>,
    },
    /// It is too large when compiled.
    #[error("pattern {pattern:?} takes more than {max_bytes} bytes")]
    TooLarge {
        /// The pattern.
        pattern: String,
        /// How many it may take.
        max_bytes: usize,
    },
}

impl Redaction {
    /// Adds a regular expression, in the syntax of the crate `regex`. Of each match its first group is
    /// masked, or all of it if it has none.
    ///
    /// The time to look for it grows with the length of the text, never exponentially.
    ///
    /// # Errors
    ///
    /// When it is no regular expression, or takes more than 1 MiB when compiled.
    pub fn pattern(mut self, pattern: &str) -> Result<Self, PatternError> {
        let compiled = RegexBuilder::new(pattern)
            .size_limit(MAX_PATTERN_BYTES)
            .dfa_size_limit(MAX_PATTERN_BYTES)
            .build();
        let pattern = pattern.to_owned();
        self.patterns.push(compiled.map_err(|error| match error {
            regex::Error::CompiledTooBig(max_bytes) => {
                PatternError::TooLarge { pattern, max_bytes }
            }
            error => PatternError::Syntax {
                pattern,
                source: error.into(),
            },
        })?);
        Ok(self)
    }

    /// Adds a secret, which is masked wherever it stands; an empty one is ignored.
    #[must_use]
    pub fn secret(mut self, secret: impl Into<String>) -> Self {
        let secret = secret.into();
        if !secret.is_empty() {
            self.secrets.push(secret);
        }
        self
    }

    /// Replaces the secrets in `text`. Those that overlap become one mask, so that no part of any is
    /// left.
    #[must_use]
    pub fn apply<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let mut found = process::secret_ranges(text);
        for secret in &self.secrets {
            find_all(text, secret, &mut found);
        }
        for pattern in &self.patterns {
            find_matches(text, pattern, &mut found);
        }
        process::mask(text, found)
    }

    /// The arguments as text for people: each redacted for itself, and quoted as a shell would need
    /// them.
    #[must_use]
    pub fn apply_args(&self, args: &[impl AsRef<OsStr>]) -> String {
        process::redact_args_with(args, |arg| self.apply(arg))
    }
}

/// Shows how many there are: the secrets are secret, and patterns may hold some.
impl fmt::Debug for Redaction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redaction")
            .field("secrets", &self.secrets.len())
            .field("patterns", &self.patterns.len())
            .finish()
    }
}

/// Finds every place of `secret`, also those that overlap with each other.
fn find_all(text: &str, secret: &str, found: &mut Vec<Range<usize>>) {
    let step = secret.chars().next().map_or(1, char::len_utf8);
    let mut from = 0;
    while let Some(at) = text[from..].find(secret) {
        let start = from + at;
        found.push(start..start + secret.len());
        from = start + step;
    }
}

fn find_matches(text: &str, pattern: &Regex, found: &mut Vec<Range<usize>>) {
    if pattern.captures_len() == 1 {
        found.extend(pattern.find_iter(text).map(|whole| whole.range()));
    } else {
        let secret =
            |groups: regex::Captures<'_>| groups.get(1).or(groups.get(0)).map(|m| m.range());
        found.extend(pattern.captures_iter(text).filter_map(secret));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_secret_is_masked_wherever_it_stands() {
        let redaction = Redaction::default().secret("aba").secret("häß").secret("");
        assert_eq!(redaction.apply("xabay"), "x***y");
        assert_eq!(redaction.apply("xababay"), "x***y", "overlaps with itself");
        assert_eq!(redaction.apply("hähäßß"), "hä***ß");
        assert!(matches!(redaction.apply("abba"), Cow::Borrowed("abba")));
    }

    #[test]
    fn a_pattern_masks_its_group_or_all_of_it() {
        let redaction = Redaction::default()
            .pattern(r"key-\w+")
            .and_then(|redaction| redaction.pattern(r"pin (\d+)|PIN"))
            .unwrap();
        assert_eq!(redaction.apply("a key-12 b"), "a *** b");
        assert_eq!(redaction.apply("pin 1234 PIN"), "pin *** ***");
        let empty = Redaction::default().pattern("x*").unwrap();
        assert_eq!(empty.apply("axxb"), "a***b");
    }

    #[test]
    fn what_is_known_is_always_masked_too() {
        let redaction = Redaction::default().secret("admin");
        assert_eq!(redaction.apply("rtsp://admin:pw@c/1"), "rtsp://***@c/1");
        // A secret that hides the name of an option does not uncover its value.
        let redaction = Redaction::default().secret("password");
        assert_eq!(redaction.apply("x password=pw"), "x ***=***");
        assert_eq!(redaction.apply_args(&["--password", "pw"]), "'--***' ***");
    }

    #[test]
    fn arguments_are_masked_before_they_are_quoted() {
        let redaction = Redaction::default().secret("it's").pattern("^k.*").unwrap();
        assert_eq!(
            redaction.apply_args(&["-f", "it's mine", "k1", "ak"]),
            "-f '*** mine' *** ak"
        );
    }

    #[test]
    fn patterns_that_cannot_be_used() {
        let error = Redaction::default().pattern("(").unwrap_err();
        assert_eq!(error.to_string(), "cannot read pattern \"(\"");
        assert!(error.source().is_some());
        let error = Redaction::default().pattern(r"\w{10000}").unwrap_err();
        assert!(matches!(error, PatternError::TooLarge { .. }), "{error:?}");
    }

    #[test]
    fn debug_tells_no_secret() {
        let redaction = Redaction::default()
            .secret("hunter2")
            .pattern("tr3e")
            .unwrap();
        let shown = format!("{redaction:?}");
        assert_eq!(shown, "Redaction { secrets: 1, patterns: 1 }");
    }

    proptest! {
        #[test]
        fn no_secret_survives(
            secrets in prop::collection::vec("[ab]{1,4}|[ä@:/]{1,2}", 1..4),
            pieces in prop::collection::vec("[abä@:/= ]{0,4}|key=|rtsp://", 0..20),
            picks in prop::collection::vec(any::<prop::sample::Index>(), 0..20),
        ) {
            let mut text = String::new();
            for (piece, pick) in pieces.iter().zip(&picks) {
                text.push_str(piece);
                text.push_str(pick.get::<String>(&secrets));
            }
            let redaction = secrets.iter().fold(Redaction::default(), Redaction::secret);
            let clean = redaction.apply(&text);
            let args: Vec<_> = text.split(' ').collect();
            let shown = redaction.apply_args(&args);
            for secret in &secrets {
                prop_assert!(!clean.contains(secret.as_str()), "{secret:?} in {clean:?}");
                prop_assert!(!shown.contains(secret.as_str()), "{secret:?} in {shown:?}");
            }
        }

        #[test]
        fn no_match_of_a_pattern_survives(text in "[a-z0-9 ]{0,80}") {
            let redaction = Redaction::default().pattern("[a-z]+[0-9]").unwrap();
            let clean = redaction.apply(&text);
            let left = Regex::new("[a-z][0-9]").unwrap();
            prop_assert!(!left.is_match(&clean), "{clean:?}");
        }

        #[test]
        fn any_text_survives(text in "\\PC{0,80}", secret in "\\PC{0,3}") {
            let redaction = Redaction::default().secret(secret).pattern(".(.)?").unwrap();
            let _clean = redaction.apply(&text);
            let _shown = redaction.apply_args(&[&text]);
        }
    }
}
