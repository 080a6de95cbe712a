//! Names of recordings, and how one is claimed.

use std::{
    fmt, io,
    path::{Path, PathBuf},
    str::FromStr,
};

use jiff::{Timestamp, civil, tz::Offset};
use longtake_durable::{Entry, Storage};
use serde::{Deserialize, Serialize};

/// How many milliseconds after the wanted one are tried before a claim is given up.
const MAX_CLASHES: u32 = 10_000;

/// 0000-01-01T00:00:00Z in Unix time: four digits say no earlier year.
const FIRST_MILLISECOND: i64 = -62_167_219_200_000;

/// 9999-12-30T22:00:00Z in Unix time, where the range of [`Timestamp`] ends.
const LAST_MILLISECOND: i64 = 253_402_207_200_000;

/// The name of a recording: the UTC time to the millisecond at which it was claimed, such as
/// `20260904T120314.123Z`.
///
/// Names sort by time, hold no character that a path or a shell minds, and exactly one text stands
/// for each: whatever else comes from outside is refused by [`from_str`](FromStr::from_str) and so
/// never becomes a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct RecordingId {
    milliseconds: i64,
}

/// A text that is no recording's name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no recording's name; one looks like 20260904T120314.123Z")]
pub struct ParseRecordingIdError {
    /// The text, cut after 64 characters.
    pub text: String,
}

/// Why no folder could be claimed for a recording.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClaimError {
    /// The folder for recordings is missing and cannot be made.
    #[error("cannot make the folder {path} for recordings")]
    Root {
        /// The folder, or one above it.
        path: PathBuf,
        /// What the file system said.
        source: io::Error,
    },
    /// The recording's own folder cannot be made.
    #[error("cannot make a recording's folder {path}")]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What the file system said.
        source: io::Error,
    },
}

impl RecordingId {
    /// The name for a recording that begins at `time`, whatever is below its millisecond cut off.
    ///
    /// Times before the year 0 become its beginning, times at the end of the year 9999 its last but
    /// one day.
    pub fn new(time: Timestamp) -> Self {
        let milliseconds = time.as_millisecond();
        Self {
            milliseconds: milliseconds.clamp(FIRST_MILLISECOND, LAST_MILLISECOND),
        }
    }

    /// Claims a name in the folder `root` by making a folder of that name in it: the one of `time`,
    /// or the next millisecond that is free. `root` is made where it is missing.
    ///
    /// Of several processes that claim at the same time each gets its own. After `Ok` the folder
    /// survives a power cut.
    ///
    /// # Errors
    ///
    /// When a folder cannot be made, or 10,000 milliseconds in a row are taken.
    pub fn claim(
        storage: &dyn Storage,
        root: &Path,
        time: Timestamp,
    ) -> Result<(Self, PathBuf), ClaimError> {
        make_folder(storage, root)?;
        let mut id = Self::new(time);
        let mut clashes = 0;
        loop {
            let path = root.join(id.to_string());
            match storage
                .create_dir(&path)
                .and_then(|()| storage.sync_dir(root))
            {
                Ok(()) => return Ok((id, path)),
                Err(error)
                    if error.kind() == io::ErrorKind::AlreadyExists && clashes < MAX_CLASHES =>
                {
                    clashes += 1;
                    id = id.next();
                }
                Err(source) => return Err(ClaimError::Folder { path, source }),
            }
        }
    }

    /// The time that the name tells.
    ///
    /// # Panics
    ///
    /// Never: a name always tells a time that can be expressed.
    pub fn time(self) -> Timestamp {
        Timestamp::from_millisecond(self.milliseconds).expect("it was clamped to the range")
    }

    /// The name one millisecond later; the last one there is stays.
    fn next(self) -> Self {
        Self {
            milliseconds: (self.milliseconds + 1).min(LAST_MILLISECOND),
        }
    }
}

impl fmt::Display for RecordingId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = Offset::UTC.to_datetime(self.time());
        write!(
            f,
            "{:04}{:02}{:02}T{:02}{:02}{:02}.{:03}Z",
            time.year(),
            time.month(),
            time.day(),
            time.hour(),
            time.minute(),
            time.second(),
            time.millisecond(),
        )
    }
}

impl FromStr for RecordingId {
    type Err = ParseRecordingIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse(text).ok_or_else(|| ParseRecordingIdError {
            text: text.chars().take(64).collect(),
        })
    }
}

impl From<RecordingId> for String {
    fn from(id: RecordingId) -> Self {
        id.to_string()
    }
}

impl TryFrom<String> for RecordingId {
    type Error = ParseRecordingIdError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

fn parse(text: &str) -> Option<RecordingId> {
    let (date, rest) = text.split_once('T')?;
    let (time, rest) = rest.split_once('.')?;
    let millisecond = rest.strip_suffix('Z')?;
    let date = digits(date, 8)?;
    let time = digits(time, 6)?;
    let date_time = civil::DateTime::new(
        i16::try_from(date / 10_000).ok()?,
        i8::try_from(date / 100 % 100).ok()?,
        i8::try_from(date % 100).ok()?,
        i8::try_from(time / 10_000).ok()?,
        i8::try_from(time / 100 % 100).ok()?,
        i8::try_from(time % 100).ok()?,
        digits(millisecond, 3)? * 1_000_000,
    )
    .ok()?;
    let time = Offset::UTC.to_timestamp(date_time).ok()?;
    Some(RecordingId::new(time))
}

/// The number that exactly `count` ASCII digits say.
fn digits(text: &str, count: usize) -> Option<i32> {
    let only_digits = text.len() == count && text.bytes().all(|byte| byte.is_ascii_digit());
    only_digits.then(|| text.parse().ok()).flatten()
}

/// Makes a folder and those above it where they are missing, each durable before the next.
fn make_folder(storage: &dyn Storage, path: &Path) -> Result<(), ClaimError> {
    let failed = |source| ClaimError::Root {
        path: path.to_owned(),
        source,
    };
    match storage.entry(path) {
        Ok(Entry::Folder) => return Ok(()),
        Ok(_) => return Err(failed(io::ErrorKind::NotADirectory.into())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed(error)),
    }
    let above = match path.parent() {
        Some(above) if !above.as_os_str().is_empty() => above,
        _ => Path::new("."),
    };
    make_folder(storage, above)?;
    match storage.create_dir(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(failed(error)),
        _ => storage.sync_dir(above).map_err(failed),
    }
}

#[cfg(test)]
mod tests {
    use longtake_durable::RealStorage;

    use super::*;

    #[track_caller]
    fn check(text: &str, want: bool) {
        let id = text.parse::<RecordingId>();
        assert_eq!(id.is_ok(), want, "{text:?}");
        if let Ok(id) = id {
            assert_eq!(id.to_string(), text);
        }
    }

    #[test]
    fn one_text_for_each_name() {
        check("20260904T120314.123Z", true);
        check("00000101T000000.000Z", true);
        check("20240229T235959.999Z", true);
        check("20230229T000000.000Z", false);
        check("20260904T120360.123Z", false);
        check("20260904T240000.000Z", false);
        check("20260904T120314Z", false);
        check("20260904T120314.12Z", false);
        check("20260904T120314.1234Z", false);
        check("20260904t120314.123z", false);
        check("20260904T120314.123", false);
        check("+2026904T120314.123Z", false);
        check("2026090T120314.0123Z", false);
        check("../20260904T120314.123Z", false);
        check("20260904T120314.123Z/..", false);
        check("20260904T120314.123Z\n", false);
        check("٢٠٢٦٠٩٠٤T120314.123Z", false);
        check("", false);
    }

    #[test]
    fn cuts_below_the_millisecond_and_stays_in_four_digit_years() {
        let check = |time: Timestamp, want: &str| {
            assert_eq!(RecordingId::new(time).to_string(), want);
        };
        check(
            "2026-09-04T12:03:14.1239999Z".parse().unwrap(),
            "20260904T120314.123Z",
        );
        check(Timestamp::MIN, "00000101T000000.000Z");
        check(Timestamp::MAX, "99991230T220000.000Z");
    }

    #[test]
    fn names_that_clash_move_on_by_a_millisecond() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("made/on/the/way");
        let time = "2026-12-31T23:59:59.9985Z".parse().unwrap();
        let claimed: Vec<_> = (0..3)
            .map(|_| RecordingId::claim(&RealStorage, &root, time).unwrap())
            .collect();
        let names: Vec<_> = claimed.iter().map(|(id, _)| id.to_string()).collect();
        assert_eq!(
            names,
            [
                "20261231T235959.998Z",
                "20261231T235959.999Z",
                "20270101T000000.000Z"
            ]
        );
        for (id, path) in claimed {
            assert_eq!(path, root.join(id.to_string()));
            assert!(path.is_dir());
        }
    }

    #[test]
    fn a_root_that_is_a_file_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("file");
        std::fs::write(&root, "").unwrap();
        for root in [root.clone(), root.join("below")] {
            let error = RecordingId::claim(&RealStorage, &root, Timestamp::UNIX_EPOCH);
            assert!(
                matches!(error, Err(ClaimError::Root { .. })),
                "{root:?}: {error:?}"
            );
        }
    }
}
