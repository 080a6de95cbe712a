//! Lists for ffmpeg's concat demuxer: several files read as one.
//!
//! ffmpeg ends with status 0 when a member is missing, damaged or of another codec, and the
//! output is short or broken. So look first with [`Preflight`], give every member its duration,
//! and let the runner check the duration of the output.

mod preflight;

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{self, Path, PathBuf};
use std::time::Duration;

pub use self::preflight::{Bad, BadReason, Difference, Member, Preflight};
use crate::command::{Input, seconds};

/// Why a concat list cannot be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConcatError {
    /// The list format has no way to say a line break in a name.
    #[error("file name {path:?} holds a line break, which a concat list cannot express")]
    LineBreak {
        /// The file.
        path: PathBuf,
    },
    /// No file name can hold a NUL byte.
    #[error("file name {path:?} holds a NUL byte")]
    Nul {
        /// The file.
        path: PathBuf,
    },
    /// A relative name cannot be made absolute, because the current folder is gone or it is empty.
    #[error("cannot make file name {path:?} absolute")]
    Absolute {
        /// The file.
        path: PathBuf,
        /// The reason.
        source: io::Error,
    },
    /// ffmpeg refuses a list without files.
    #[error("the concat list is empty")]
    Empty,
    /// The list cannot be written.
    #[error("cannot write concat list {}", path.display())]
    Write {
        /// The list file.
        path: PathBuf,
        /// The reason.
        source: io::Error,
    },
}

/// A list of files for ffmpeg's concat demuxer.
///
/// # An exact range without encoding anew
///
/// Seek and limit the *input*, and write plain (not fragmented) MP4: the file carries the
/// pictures from the key frame before the start, hidden by an edit list, and shows exactly the
/// wanted ones. Matroska, MPEG-TS and fragmented MP4 have no edit list and start up to a key
/// frame interval early.
///
/// ```
/// use longtake_ffmpeg::{Codec, ConcatList, FfmpegCommand, Output};
/// use std::time::Duration;
///
/// # let dir = tempfile::tempdir()?;
/// let mut list = ConcatList::new();
/// list.push("/videos/it's 12:00.mp4", Some(Duration::from_secs(10)))?;
/// list.push("/videos/it's 12:10.mp4", Some(Duration::from_secs(10)))?;
/// let input = list.write(dir.path().join("list.txt"))?;
/// let command = FfmpegCommand::new()
///     .input(input.seek(Duration::from_millis(7400)).duration(Duration::from_secs(5)))
///     .output(Output::file("clip.mp4").codec(Codec::Copy));
/// # let _shown = command.to_string();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct ConcatList {
    members: Vec<Entry>,
}

#[derive(Debug, Clone)]
struct Entry {
    path: PathBuf,
    duration: Option<Duration>,
    until: Option<Duration>,
}

impl ConcatList {
    /// A list without files.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a file. It is named by its absolute path: ffmpeg takes a relative `12:30:00.mp4` for
    /// an address.
    ///
    /// `duration` is the time from the start of this file to the start of the next. With the
    /// file's own duration gaps between files collapse; with a longer one the gap is kept. A
    /// range inside of the list is found exactly only when every file has one.
    ///
    /// # Errors
    ///
    /// When the list cannot express the name.
    pub fn push(
        &mut self,
        path: impl AsRef<Path>,
        duration: Option<Duration>,
    ) -> Result<(), ConcatError> {
        let path = absolute(path.as_ref())?;
        self.members.push(Entry {
            path,
            duration,
            until: None,
        });
        Ok(())
    }

    /// Adds the beginning of a file, up to `until`, for one whose end is missing.
    ///
    /// ffmpeg would stop reading the whole list at the packet that is cut off.
    ///
    /// # Errors
    ///
    /// When the list cannot express the name.
    pub fn push_until(
        &mut self,
        path: impl AsRef<Path>,
        until: Duration,
    ) -> Result<(), ConcatError> {
        let path = absolute(path.as_ref())?;
        self.members.push(Entry {
            path,
            duration: Some(until),
            until: Some(until),
        });
        Ok(())
    }

    /// How long all files play together, when every duration is known.
    #[must_use]
    pub fn duration(&self) -> Option<Duration> {
        self.members.iter().map(|member| member.duration).sum()
    }

    /// The list in the form that ffmpeg reads.
    ///
    /// # Errors
    ///
    /// When it has no file.
    pub fn to_bytes(&self) -> Result<Vec<u8>, ConcatError> {
        if self.members.is_empty() {
            return Err(ConcatError::Empty);
        }
        let mut list = b"ffconcat version 1.0\n".to_vec();
        for Entry {
            path,
            duration,
            until,
        } in &self.members
        {
            list.extend_from_slice(b"file ");
            push_quoted(&mut list, path.as_os_str());
            list.push(b'\n');
            if let Some(until) = until {
                list.extend_from_slice(format!("outpoint {}\n", seconds(*until)).as_bytes());
            }
            if let Some(duration) = duration {
                list.extend_from_slice(format!("duration {}\n", seconds(*duration)).as_bytes());
            }
        }
        Ok(list)
    }

    /// Writes the list to `path` and gives the input that reads it.
    ///
    /// ffmpeg reads the list when it starts; it may be removed when ffmpeg has ended.
    ///
    /// # Errors
    ///
    /// When the list has no file or cannot be written.
    pub fn write(&self, path: impl Into<PathBuf>) -> Result<Input, ConcatError> {
        let path = path.into();
        let list = self.to_bytes()?;
        match fs::write(&path, list) {
            Ok(()) => Ok(Input::concat(path)),
            Err(source) => Err(ConcatError::Write { path, source }),
        }
    }
}

/// The absolute form of a name that a list can express.
fn absolute(path: &Path) -> Result<PathBuf, ConcatError> {
    if path.as_os_str().as_bytes().contains(&0) {
        return Err(ConcatError::Nul {
            path: path.to_owned(),
        });
    }
    let absolute = path::absolute(path).map_err(|source| ConcatError::Absolute {
        path: path.to_owned(),
        source,
    })?;
    // ffmpeg ends a line at `\r` as well, and quotes do not help.
    if absolute
        .as_os_str()
        .as_bytes()
        .iter()
        .any(|byte| b"\r\n".contains(byte))
    {
        return Err(ConcatError::LineBreak { path: absolute });
    }
    Ok(absolute)
}

/// Inside of single quotes nothing is special but the quote itself.
fn push_quoted(list: &mut Vec<u8>, name: &OsStr) {
    list.push(b'\'');
    for &byte in name.as_bytes() {
        if byte == b'\'' {
            list.extend_from_slice(br"'\''");
        } else {
            list.push(byte);
        }
    }
    list.push(b'\'');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(name: &[u8], want: &[u8]) {
        let mut list = ConcatList::new();
        list.push(OsStr::from_bytes(name), None).unwrap();
        let want = [b"ffconcat version 1.0\nfile ", want, b"\n"].concat();
        assert_eq!(list.to_bytes().unwrap(), want);
    }

    #[test]
    fn names_are_quoted() {
        check(b"/m/a.mp4", b"'/m/a.mp4'");
        check(b"/m/it's a seg.mp4", br"'/m/it'\''s a seg.mp4'");
        check(b"/m/back\\slash #1.mp4", b"'/m/back\\slash #1.mp4'");
        check(b"/m/caf\xe9.mp4", b"'/m/caf\xe9.mp4'");
        check(b"/m/ -x 12:30:00.mp4", b"'/m/ -x 12:30:00.mp4'");
    }

    #[test]
    fn relative_names_become_absolute() {
        let mut list = ConcatList::new();
        list.push("12:30:00.mp4", None).unwrap();
        let here = std::env::current_dir().unwrap().join("12:30:00.mp4");
        assert_eq!(list.members[0].path, here);
    }

    #[test]
    fn what_cannot_be_expressed_is_refused() {
        let mut list = ConcatList::new();
        assert!(matches!(
            list.push("/m/new\nline.mp4", None),
            Err(ConcatError::LineBreak { .. })
        ));
        assert!(matches!(
            list.push("/m/carriage\rreturn.mp4", None),
            Err(ConcatError::LineBreak { .. })
        ));
        assert!(matches!(
            list.push("/m/nul\0.mp4", None),
            Err(ConcatError::Nul { .. })
        ));
        assert!(matches!(
            list.push("", None),
            Err(ConcatError::Absolute { .. })
        ));
        assert!(matches!(list.to_bytes(), Err(ConcatError::Empty)));
    }

    #[test]
    fn durations() {
        let mut list = ConcatList::new();
        list.push("/a", Some(Duration::from_micros(9_933_333)))
            .unwrap();
        list.push("/b", Some(Duration::from_secs(10))).unwrap();
        assert_eq!(list.duration(), Some(Duration::from_micros(19_933_333)));
        let text = String::from_utf8(list.to_bytes().unwrap()).unwrap();
        assert_eq!(
            text,
            "ffconcat version 1.0\nfile '/a'\nduration 9.933333\nfile '/b'\nduration 10.000000\n"
        );
        list.push_until("/c", Duration::from_secs(4)).unwrap();
        assert_eq!(list.duration(), Some(Duration::from_micros(23_933_333)));
        let text = String::from_utf8(list.to_bytes().unwrap()).unwrap();
        assert!(
            text.ends_with("file '/c'\noutpoint 4.000000\nduration 4.000000\n"),
            "{text}"
        );
        list.push("/d", None).unwrap();
        assert_eq!(list.duration(), None);
    }
}
