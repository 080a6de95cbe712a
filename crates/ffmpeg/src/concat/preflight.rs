//! Looks at MP4 files before they are joined without encoding anew.

use std::path::{Path, PathBuf};
use std::{fmt, mem};

use super::{ConcatError, ConcatList};
use crate::mp4::{Mp4, Mp4Error, Mp4Track};

/// Which files can be joined to which, and which not at all.
#[derive(Debug)]
#[non_exhaustive]
pub struct Preflight {
    /// Runs of files that can be joined by copying, in the order given. A new run begins where
    /// the pictures or the sound change; joining over that border makes a broken file, and gives
    /// exit status 0.
    pub runs: Vec<Vec<Member>>,
    /// Files that cannot be used.
    pub bad: Vec<Bad>,
}

/// A file that can be joined to the others of its run.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Member {
    /// The file.
    pub path: PathBuf,
    /// What it holds.
    pub mp4: Mp4,
}

/// A file that cannot be used.
#[derive(Debug)]
#[non_exhaustive]
pub struct Bad {
    /// The file.
    pub path: PathBuf,
    /// Why.
    pub reason: BadReason,
}

/// Why a file cannot be joined to others.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BadReason {
    /// It is missing, damaged or no MP4.
    #[error(transparent)]
    Unreadable(#[from] Mp4Error),
    /// The end of its media is missing.
    #[error("the end of {} is missing", path.display())]
    CutOff {
        /// The file.
        path: PathBuf,
    },
    /// It plays no time at all.
    #[error("{} holds no media", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
}

/// What keeps two files from being joined by copying.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Difference {
    /// Number or kinds of the tracks.
    Tracks,
    /// The codec of a track.
    Codec,
    /// The size of the pictures.
    Size,
    /// The unit of timestamps.
    Timescale,
    /// The rate of the sound.
    Sound,
    /// What the decoder must know beforehand.
    Parameters,
}

impl Preflight {
    /// Reads the index of every file.
    #[must_use]
    pub fn of<P: AsRef<Path>>(paths: impl IntoIterator<Item = P>) -> Self {
        let read = |path: P| (path.as_ref().to_owned(), Mp4::open(path));
        Self::sort(paths.into_iter().map(read))
    }

    /// Sorts files by what is known of them.
    fn sort(files: impl IntoIterator<Item = (PathBuf, Result<Mp4, Mp4Error>)>) -> Self {
        let (mut runs, mut run, mut bad) = (Vec::new(), Vec::<Member>::new(), Vec::new());
        for (path, mp4) in files {
            let mp4 = match usable(&path, mp4) {
                Ok(mp4) => mp4,
                Err(reason) => {
                    bad.push(Bad { path, reason });
                    continue;
                }
            };
            if run
                .last()
                .is_some_and(|last| last.mp4.difference(&mp4).is_some())
            {
                runs.push(mem::take(&mut run));
            }
            run.push(Member { path, mp4 });
        }
        runs.extend((!run.is_empty()).then_some(run));
        Self { runs, bad }
    }
}

impl ConcatList {
    /// A list of one run of a [`Preflight`], with the duration of every file: gaps collapse. Of
    /// fragmented files that are cut off it takes the whole fragments.
    ///
    /// # Errors
    ///
    /// When the list cannot express a name.
    pub fn of_run(run: &[Member]) -> Result<Self, ConcatError> {
        let mut list = Self::new();
        for member in run {
            if member.mp4.truncated {
                list.push_until(&member.path, member.mp4.duration)?;
            } else {
                list.push(&member.path, Some(member.mp4.duration))?;
            }
        }
        Ok(list)
    }
}

impl Mp4 {
    /// What keeps this file and `other` from being joined by copying, if anything does.
    #[must_use]
    pub fn difference(&self, other: &Self) -> Option<Difference> {
        if self.tracks.len() != other.tracks.len() {
            return Some(Difference::Tracks);
        }
        self.tracks
            .iter()
            .zip(&other.tracks)
            .find_map(|(own, other)| difference(own, other))
    }
}

fn difference(one: &Mp4Track, other: &Mp4Track) -> Option<Difference> {
    let checks = [
        (one.kind == other.kind, Difference::Tracks),
        (one.codec == other.codec, Difference::Codec),
        (one.size == other.size, Difference::Size),
        (one.timescale == other.timescale, Difference::Timescale),
        (one.sample_rate == other.sample_rate, Difference::Sound),
        (one.parameters == other.parameters, Difference::Parameters),
    ];
    checks
        .into_iter()
        .find(|(same, _)| !same)
        .map(|(_, difference)| difference)
}

fn usable(path: &Path, mp4: Result<Mp4, Mp4Error>) -> Result<Mp4, BadReason> {
    let mp4 = mp4?;
    // The fragments before the cut are whole, and only they count in the duration.
    if mp4.truncated && !mp4.fragmented {
        return Err(BadReason::CutOff {
            path: path.to_owned(),
        });
    }
    if mp4.duration.is_zero() {
        return Err(BadReason::Empty {
            path: path.to_owned(),
        });
    }
    Ok(mp4)
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tracks => "different tracks",
            Self::Codec => "another codec",
            Self::Size => "another picture size",
            Self::Timescale => "another timescale",
            Self::Sound => "another sound format",
            Self::Parameters => "other decoder parameters",
        })
    }
}
