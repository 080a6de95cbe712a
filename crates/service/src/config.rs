//! Config files: TOML, read whole, and refused with the line, the key and what to do.

use std::{
    fs::File,
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use serde::de::DeserializeOwned;

/// The largest config file that [`read_config`] takes. A longer one is hardly a config file.
pub const MAX_CONFIG_BYTES: u64 = 1 << 20;

/// Why a config file cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file cannot be read: it is missing, a folder, or closed to this user.
    #[error("cannot read config file {path}; give the path of a file that this user may read")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file is longer than [`MAX_CONFIG_BYTES`].
    #[error("config file {path} is longer than {MAX_CONFIG_BYTES} bytes; is it a config file?")]
    TooLong {
        /// The file.
        path: PathBuf,
    },
    /// The file is no UTF-8.
    #[error("config file {path}, line {line}: this is not UTF-8; save the file as UTF-8")]
    NotText {
        /// The file.
        path: PathBuf,
        /// The first line that is no UTF-8, counted from 1.
        line: usize,
    },
    /// The file is no TOML, or says something that the program does not understand.
    #[error("config file {path}, line {line}{}: {problem}", in_key(key))]
    Invalid {
        /// The file.
        path: PathBuf,
        /// Where, counted from 1.
        line: usize,
        /// The key, such as `video[0].codec`, unless the file is no TOML at all.
        key: Option<String>,
        /// What is wrong, and what would be right.
        problem: String,
    },
}

/// Reads a TOML file into `T`.
///
/// `T` says `#[serde(deny_unknown_fields)]` at every level, so that a misspelt key is an error and
/// not a setting without effect. Its fields are `Option`s or have defaults; the program lays the
/// command line over it: `flags.output.or(config.output)`.
///
/// # Errors
///
/// [`ConfigError`], which names the file, the line and the key.
pub fn read_config<T: DeserializeOwned>(path: &Path) -> Result<T, ConfigError> {
    let bytes = read_bounded(path)?;
    let text = std::str::from_utf8(&bytes).map_err(|error| ConfigError::NotText {
        path: path.to_owned(),
        line: line_at(&bytes, error.valid_up_to()),
    })?;
    parse(text).map_err(|Problem { at, key, problem }| ConfigError::Invalid {
        path: path.to_owned(),
        line: line_at(&bytes, at),
        key,
        problem,
    })
}

fn read_bounded(path: &Path) -> Result<Vec<u8>, ConfigError> {
    let read = || {
        let mut bytes = Vec::new();
        File::open(path)?
            .take(MAX_CONFIG_BYTES + 1)
            .read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    match read() {
        Ok(bytes) if bytes.len() as u64 > MAX_CONFIG_BYTES => Err(ConfigError::TooLong {
            path: path.to_owned(),
        }),
        Ok(bytes) => Ok(bytes),
        Err(source) => Err(ConfigError::Read {
            path: path.to_owned(),
            source,
        }),
    }
}

/// What is wrong in a text, and where.
#[derive(Debug, PartialEq)]
struct Problem {
    /// The byte where it is.
    at: usize,
    key: Option<String>,
    problem: String,
}

fn parse<T: DeserializeOwned>(text: &str) -> Result<T, Problem> {
    let problem = |error: &toml::de::Error, key| Problem {
        at: error.span().map_or(0, |span| span.start),
        key,
        problem: error.message().to_owned(),
    };
    let document = toml::Deserializer::parse(text).map_err(|error| problem(&error, None))?;
    serde_path_to_error::deserialize(document).map_err(|error| {
        // The path of the file itself is ".", which tells nobody anything.
        let key = Some(error.path().to_string()).filter(|path| path != ".");
        problem(error.inner(), key)
    })
}

/// The number of the line, counted from 1, that holds the byte at `offset`.
fn line_at(bytes: &[u8], offset: usize) -> usize {
    1 + bytes
        .iter()
        .take(offset)
        .filter(|&&byte| byte == b'\n')
        .count()
}

fn in_key(key: &Option<String>) -> String {
    key.as_ref()
        .map_or_else(String::new, |key| format!(", key {key}"))
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(deny_unknown_fields, rename_all = "kebab-case")]
    struct Recorder {
        queue_bytes: Option<u64>,
        #[serde(default)]
        video: Vec<Video>,
    }

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Video {
        name: String,
    }

    #[track_caller]
    fn check(text: &str, line: usize, key: Option<&str>, problem: &str) {
        let error = parse::<Recorder>(text).unwrap_err();
        let told = (line_at(text.as_bytes(), error.at), error.key.as_deref());
        assert_eq!(told, (line, key), "{error:?}");
        assert!(error.problem.contains(problem), "{error:?}");
    }

    #[test]
    fn what_is_said_is_read() {
        let recorder: Recorder = parse("queue-bytes = 5\n[[video]]\nname = \"front\"\n").unwrap();
        let video = vec![Video {
            name: "front".to_owned(),
        }];
        assert_eq!(
            recorder,
            Recorder {
                queue_bytes: Some(5),
                video
            }
        );
        let empty = Recorder {
            queue_bytes: None,
            video: Vec::new(),
        };
        assert_eq!(parse::<Recorder>(""), Ok(empty));
    }

    #[test]
    fn what_is_wrong_is_found() {
        check(
            "\nqueue-byts = 5\n",
            2,
            Some("queue-byts"),
            "expected `queue-bytes` or `video`",
        );
        check(
            "queue-bytes = \"five\"\n",
            1,
            Some("queue-bytes"),
            "expected u64",
        );
        check("queue-bytes = -5\n", 1, Some("queue-bytes"), "expected u64");
        check(
            "# two\n[[video]]\nname = 5\n",
            3,
            Some("video[0].name"),
            "expected a string",
        );
        check(
            "[[video]]\nname = \"a\"\n[[video]]\nname = \"b\"\ncolour = 3\n",
            5,
            Some("video[1].colour"),
            "expected `name`",
        );
        check(
            "[[video]]\nname = \"a\"\n[[video]]\n",
            3,
            Some("video[1]"),
            "missing field `name`",
        );
    }

    #[test]
    fn what_is_no_toml_is_refused() {
        check(
            "queue-bytes = 5\nqueue-bytes = 6\n",
            2,
            None,
            "duplicate key",
        );
        check("queue-bytes = 5\n\nvideo\n", 3, None, "expected `=`");
        check("queue-bytes = ", 1, None, "expected");
    }

    #[test]
    fn deep_nesting_is_refused_before_the_stack_is_used_up() {
        let text = format!("video = {}", "[".repeat(100_000));
        check(&text, 1, None, "recurse");
    }
}
