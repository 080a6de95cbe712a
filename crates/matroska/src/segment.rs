//! What a file says about itself as a whole: title, date, writing program and tags.

use std::time::{Duration, SystemTime};

/// What a file says about itself as a whole.
///
/// ```
/// use std::time::SystemTime;
/// use longtake_matroska::SegmentInfo;
///
/// let info = SegmentInfo::default()
///     .title("front door")
///     .date(SystemTime::now())
///     .writing_app("fieldrec 0.1.0")
///     .tag("RECORDING_ID", "20260904T120314.123Z");
/// # assert_eq!(info.tags.len(), 1);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SegmentInfo {
    /// The title; may be empty.
    pub title: String,
    /// When the recording was made; written to the nanosecond, between 1709 and 2292.
    pub date: Option<SystemTime>,
    /// The program that writes the file; may be empty.
    pub writing_app: String,
    /// Facts about the whole file, in the order in which they were given.
    pub tags: Vec<Tag>,
}

/// One fact about the whole file, such as `RECORDING_ID`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Tag {
    /// By convention in capitals, with underscores between words.
    pub name: String,
    /// Any text.
    pub value: String,
}

impl SegmentInfo {
    /// Sets the title.
    #[must_use]
    pub fn title(mut self, title: impl Into<String>) -> Self {
        self.title = title.into();
        self
    }

    /// Sets when the recording was made.
    #[must_use]
    pub fn date(mut self, date: SystemTime) -> Self {
        self.date = Some(date);
        self
    }

    /// Sets the program that writes the file.
    #[must_use]
    pub fn writing_app(mut self, program: impl Into<String>) -> Self {
        self.writing_app = program.into();
        self
    }

    /// Adds a fact about the whole file.
    #[must_use]
    pub fn tag(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.tags.push(Tag {
            name: name.into(),
            value: value.into(),
        });
        self
    }
}

/// Matroska's dates count from 2001-01-01T00:00:00 UTC.
const MATROSKA_EPOCH: Duration = Duration::from_secs(978_307_200);

/// Nanoseconds from Matroska's epoch to `date`, or the nearest that 64 bits hold.
pub(crate) fn matroska_date(date: SystemTime) -> i64 {
    let epoch = SystemTime::UNIX_EPOCH + MATROSKA_EPOCH;
    match date.duration_since(epoch) {
        Ok(after) => i64::try_from(after.as_nanos()).unwrap_or(i64::MAX),
        Err(before) => i64::try_from(before.duration().as_nanos()).map_or(i64::MIN, |ns| -ns),
    }
}

/// The date that lies `ns` nanoseconds from Matroska's epoch, if the system can express it.
pub(crate) fn system_time(ns: i64) -> Option<SystemTime> {
    let epoch = SystemTime::UNIX_EPOCH + MATROSKA_EPOCH;
    let distance = Duration::from_nanos(ns.unsigned_abs());
    if ns < 0 {
        epoch.checked_sub(distance)
    } else {
        epoch.checked_add(distance)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_count_from_2001() {
        let unix = SystemTime::UNIX_EPOCH;
        for (date, ns) in [
            (unix + MATROSKA_EPOCH, 0),
            (unix + MATROSKA_EPOCH + Duration::from_nanos(7), 7),
            (unix, -978_307_200_000_000_000),
        ] {
            assert_eq!(matroska_date(date), ns);
            assert_eq!(system_time(ns), Some(date));
        }
        let in_far_future = unix + Duration::from_secs(20_000_000_000);
        assert_eq!(matroska_date(in_far_future), i64::MAX);
    }
}
