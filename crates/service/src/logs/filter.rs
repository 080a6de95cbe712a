//! Which events are logged.

use std::str::FromStr;

use serde::Deserialize;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;

/// Which events are logged: a level, and others for some targets, as in
/// `info,longtake_ffmpeg=debug`.
///
/// A target is a crate or a module of one; dashes in it count as underscores, as Rust has it.
///
/// ```
/// # use longtake_service::LogFilter;
/// assert!("warn,longtake-ffmpeg=debug".parse::<LogFilter>().is_ok());
/// assert!("wran".parse::<LogFilter>().is_err());
/// ```
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(try_from = "String")]
pub struct LogFilter {
    pub(crate) targets: Targets,
}

/// A word that is no log level.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{word:?} is no log level; write error, warn, info, debug, trace or off, alone or as \
     TARGET=LEVEL, with commas between"
)]
pub struct UnknownLevel {
    word: String,
}

impl Default for LogFilter {
    fn default() -> Self {
        Self {
            targets: Targets::new().with_default(LevelFilter::INFO),
        }
    }
}

impl FromStr for LogFilter {
    type Err = UnknownLevel;

    fn from_str(text: &str) -> Result<Self, UnknownLevel> {
        // Not the library's own parser: to it a misspelt level is a target, whose events are then
        // all that is logged.
        text.split(',')
            .map(str::trim)
            .try_fold(Self::default(), |filter, part| {
                let targets = match part.split_once('=') {
                    Some((target, word)) => filter
                        .targets
                        .with_target(target.trim().replace('-', "_"), level(word.trim())?),
                    None => filter.targets.with_default(level(part)?),
                };
                Ok(Self { targets })
            })
    }
}

impl TryFrom<String> for LogFilter {
    type Error = UnknownLevel;

    fn try_from(text: String) -> Result<Self, UnknownLevel> {
        text.parse()
    }
}

fn level(word: &str) -> Result<LevelFilter, UnknownLevel> {
    // The library would take 0 to 5 as well, and an empty word as `error`.
    ["off", "error", "warn", "info", "debug", "trace"]
        .into_iter()
        .find(|level| level.eq_ignore_ascii_case(word))
        .and_then(|level| level.parse().ok())
        .ok_or_else(|| UnknownLevel {
            word: word.to_owned(),
        })
}

#[cfg(test)]
mod tests {
    use tracing::Level;

    use super::*;

    #[track_caller]
    fn check(filter: &str, target: &str, least: Option<Level>) {
        let LogFilter { targets } = filter.parse().unwrap();
        for level in [
            Level::ERROR,
            Level::WARN,
            Level::INFO,
            Level::DEBUG,
            Level::TRACE,
        ] {
            let want = least.is_some_and(|least| level <= least);
            assert_eq!(
                targets.would_enable(target, &level),
                want,
                "{filter}: {target} {level}"
            );
        }
    }

    #[test]
    fn levels_and_targets() {
        check("info", "longtake_ffmpeg", Some(Level::INFO));
        check("WARN", "longtake_ffmpeg", Some(Level::WARN));
        check("off", "longtake_ffmpeg", None);
        check(
            "warn,longtake-ffmpeg=debug",
            "longtake_ffmpeg::runner",
            Some(Level::DEBUG),
        );
        check(
            "warn, longtake_ffmpeg = debug",
            "longtake_process",
            Some(Level::WARN),
        );
        check("longtake_process=off", "longtake_process", None);
        check("longtake_process=off", "fieldrec", Some(Level::INFO));
    }

    #[test]
    fn a_misspelt_level_is_refused() {
        for (text, word) in [
            ("inof", "inof"),
            ("", ""),
            ("info,", ""),
            ("a=5", "5"),
            ("a=", ""),
        ] {
            assert_eq!(
                text.parse::<LogFilter>(),
                Err(UnknownLevel {
                    word: word.to_owned()
                })
            );
        }
    }
}
