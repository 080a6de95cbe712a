//! The ffmpeg program itself: where it is, its version and what it can do.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use parking_lot::Mutex;

use crate::command::FfmpegCommand;
use crate::listing;
use crate::tool::{self, Answer, Limits, ToolError};
use crate::version::Version;

/// Answers come within 0.1 s; a loaded machine with a cold disk may take long.
const LIMITS: Limits = Limits {
    time: Duration::from_secs(20),
    bytes: 4 << 20,
};

/// Programs whose answers are remembered. A process knows one or two.
const MAX_REMEMBERED: usize = 32;

/// An ffmpeg that was found and answered with its version.
///
/// The answers are remembered for the life of the process, as long as the program's file stays
/// the same (by device, inode, time of change and size); so asking again costs microseconds.
///
/// ```
/// use longtake_ffmpeg::{Feature, Ffmpeg};
///
/// let ffmpeg = Ffmpeg::find()?;
/// assert!(ffmpeg.supports(Feature::Encoder("ffv1"))?);
/// assert!(!ffmpeg.supports(Feature::Muxer("no such format"))?);
/// # Ok::<(), longtake_ffmpeg::ToolError>(())
/// ```
#[derive(Debug, Clone)]
pub struct Ffmpeg {
    program: PathBuf,
    probed: Arc<Probed>,
}

/// Something that an ffmpeg was built with or without.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Feature<'a> {
    /// An encoder, such as `libx264`.
    Encoder(&'a str),
    /// A decoder, such as `hevc`.
    Decoder(&'a str),
    /// A container that can be written, such as `mp4`.
    Muxer(&'a str),
    /// A container or device that can be read, such as `v4l2`.
    Demuxer(&'a str),
    /// A filter, such as `drawtext`.
    Filter(&'a str),
}

/// What one program file answered; the tables only once somebody asked for them.
#[derive(Debug)]
struct Probed {
    version: Version,
    encoders: OnceLock<BTreeSet<String>>,
    decoders: OnceLock<BTreeSet<String>>,
    muxers: OnceLock<BTreeSet<String>>,
    demuxers: OnceLock<BTreeSet<String>>,
    filters: OnceLock<BTreeSet<String>>,
}

/// Tells one program file from another.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Identity {
    file: PathBuf,
    device: u64,
    inode: u64,
    changed: (i64, i64),
    bytes: u64,
}

#[derive(Debug)]
struct Remembered {
    identity: Identity,
    probed: Arc<Probed>,
}

static REMEMBERED: Mutex<BTreeMap<PathBuf, Remembered>> = Mutex::new(BTreeMap::new());

impl Ffmpeg {
    /// The `ffmpeg` in `PATH`.
    ///
    /// # Errors
    ///
    /// When there is none, or it does not answer; the message says what to do.
    pub fn find() -> Result<Self, ToolError> {
        Self::at("ffmpeg")
    }

    /// The ffmpeg at `program`; a name without a slash is looked for in `PATH`.
    ///
    /// # Errors
    ///
    /// When it is not there, or does not answer like ffmpeg.
    pub fn at(program: impl Into<PathBuf>) -> Result<Self, ToolError> {
        let program = program.into();
        if let Some(probed) = recall(&program) {
            return Ok(Self { program, probed });
        }
        let answer = ask(&program, "-version")?;
        let version = Version::parse(&String::from_utf8_lossy(&answer.stdout))
            .filter(|_| answer.stdout.starts_with(b"ffmpeg"))
            .ok_or_else(|| ToolError::Unexpected {
                program: program.clone(),
                expected: "ffmpeg",
                source: None,
            })?;
        let probed = Arc::new(Probed::new(version));
        if let Some(identity) = Identity::of(&program, answer.exe.as_deref()) {
            remember(&program, identity, Arc::clone(&probed));
        }
        Ok(Self { program, probed })
    }

    /// The program as it was named.
    #[must_use]
    pub fn program(&self) -> &Path {
        &self.program
    }

    /// Its version.
    #[must_use]
    pub fn version(&self) -> &Version {
        &self.probed.version
    }

    /// A new command for this program.
    #[must_use]
    pub fn command(&self) -> FfmpegCommand {
        FfmpegCommand::at(&self.program)
    }

    /// Whether this ffmpeg was built with `feature`.
    ///
    /// That an encoder for hardware is built in does not say that the hardware is there.
    ///
    /// # Errors
    ///
    /// When the program does not answer.
    pub fn supports(&self, feature: Feature<'_>) -> Result<bool, ToolError> {
        let probed = &self.probed;
        let (name, table, option): (_, _, &'static str) = match feature {
            Feature::Encoder(name) => (name, &probed.encoders, "-encoders"),
            Feature::Decoder(name) => (name, &probed.decoders, "-decoders"),
            Feature::Muxer(name) => (name, &probed.muxers, "-muxers"),
            Feature::Demuxer(name) => (name, &probed.demuxers, "-demuxers"),
            Feature::Filter(name) => (name, &probed.filters, "-filters"),
        };
        if let Some(names) = table.get() {
            return Ok(names.contains(name));
        }
        let answer = ask(&self.program, option)?;
        let text = String::from_utf8_lossy(&answer.stdout);
        let names = match feature {
            Feature::Filter(_) => listing::filter_names(&text),
            _ => listing::names(&text),
        };
        Ok(table.get_or_init(|| names).contains(name))
    }
}

impl Probed {
    const fn new(version: Version) -> Self {
        Self {
            version,
            encoders: OnceLock::new(),
            decoders: OnceLock::new(),
            muxers: OnceLock::new(),
            demuxers: OnceLock::new(),
            filters: OnceLock::new(),
        }
    }
}

impl Identity {
    /// The identity of a program with a path, or of the file that ran for a bare name.
    ///
    /// A script runs as its interpreter, which says nothing about the script: then there is none.
    fn of(program: &Path, exe: Option<&Path>) -> Option<Self> {
        let is_bare =
            program.components().count() == 1 && program.file_name() == Some(program.as_os_str());
        let file = match exe {
            _ if !is_bare => program,
            Some(exe) if exe.file_name() == program.file_name() => exe,
            _ => return None,
        };
        Self::read(file)
    }

    fn read(file: &Path) -> Option<Self> {
        let meta = fs::metadata(file).ok()?;
        Some(Self {
            file: file.to_owned(),
            device: meta.dev(),
            inode: meta.ino(),
            changed: (meta.mtime(), meta.mtime_nsec()),
            bytes: meta.len(),
        })
    }
}

fn recall(program: &Path) -> Option<Arc<Probed>> {
    let programs = REMEMBERED.lock();
    let Remembered { identity, probed } = programs.get(program)?;
    (Identity::read(&identity.file).as_ref() == Some(identity)).then(|| Arc::clone(probed))
}

fn remember(program: &Path, identity: Identity, probed: Arc<Probed>) {
    let mut programs = REMEMBERED.lock();
    if programs.len() >= MAX_REMEMBERED {
        programs.clear();
    }
    programs.insert(program.to_owned(), Remembered { identity, probed });
}

fn ask(program: &Path, option: &'static str) -> Result<Answer, ToolError> {
    let answer = tool::ask(program, ["-hide_banner", option], LIMITS)?;
    if answer.exit.success() {
        Ok(answer)
    } else {
        Err(ToolError::failed(program, &answer.log))
    }
}
