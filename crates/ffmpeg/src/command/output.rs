//! Outputs of an ffmpeg command.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use longtake_process::redact_args;

use super::options::Options;
use super::{file_name, push_option, seconds};

/// How streams get into the output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Codec {
    /// The packets are copied as they are.
    Copy,
    /// The streams are encoded by the encoder of this name, such as `libx264`.
    Encoder(String),
}

impl Codec {
    /// The encoder called `name`.
    #[must_use]
    pub fn encoder(name: impl Into<String>) -> Self {
        Self::Encoder(name.into())
    }

    fn as_str(&self) -> &str {
        match self {
            Self::Copy => "copy",
            Self::Encoder(name) => name,
        }
    }
}

/// One output of an [`FfmpegCommand`](crate::FfmpegCommand).
#[derive(Clone)]
pub struct Output {
    target: Target,
    format: Option<String>,
    maps: Vec<String>,
    codecs: Vec<(&'static str, Codec)>,
    filters: Vec<(&'static str, String)>,
    without: Vec<&'static str>,
    duration: Option<Duration>,
    mov_flags: Vec<&'static str>,
    options: Options,
}

/// Where an output goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Target {
    /// One file, which the runner can write beside and rename.
    File(PathBuf),
    /// A name that ffmpeg makes several files of.
    Pattern(PathBuf),
    Url(OsString),
    Stdout,
    Null,
}

impl Output {
    /// One file; its name may hold anything, also a colon or a dash in front.
    #[must_use]
    pub fn file(path: impl Into<PathBuf>) -> Self {
        Self::new(Target::File(path.into()))
    }

    /// A name that the muxer makes several files of, such as `frame%04d.jpg` or an HLS playlist.
    #[must_use]
    pub fn pattern(path: impl Into<PathBuf>) -> Self {
        Self::new(Target::Pattern(path.into()))
    }

    /// An address, in the container `format`, such as `("rtsp://127.0.0.1/live", "rtsp")`.
    #[must_use]
    pub fn url(url: impl Into<OsString>, format: impl Into<String>) -> Self {
        Self::new(Target::Url(url.into())).format(format)
    }

    /// Standard output, in the container `format`, such as `nut`.
    #[must_use]
    pub fn stdout(format: impl Into<String>) -> Self {
        Self::new(Target::Stdout).format(format)
    }

    /// Nowhere: everything is decoded or encoded and thrown away.
    #[must_use]
    pub fn null() -> Self {
        Self::new(Target::Null).format("null")
    }

    /// Sets the muxer instead of letting ffmpeg guess it from the file name.
    #[must_use]
    pub fn format(mut self, format: impl Into<String>) -> Self {
        self.format = Some(format.into());
        self
    }

    /// Selects a stream for this output, such as `0:v:0`; several calls add up.
    #[must_use]
    pub fn map(mut self, stream: impl Into<String>) -> Self {
        self.maps.push(stream.into());
        self
    }

    /// Sets the codec of all streams.
    #[must_use]
    pub fn codec(mut self, codec: Codec) -> Self {
        self.codecs.push(("-c", codec));
        self
    }

    /// Sets the codec of the video streams.
    #[must_use]
    pub fn video_codec(mut self, codec: Codec) -> Self {
        self.codecs.push(("-c:v", codec));
        self
    }

    /// Sets the codec of the audio streams.
    #[must_use]
    pub fn audio_codec(mut self, codec: Codec) -> Self {
        self.codecs.push(("-c:a", codec));
        self
    }

    /// Sets the filter graph of the video streams.
    #[must_use]
    pub fn video_filter(mut self, graph: impl Into<String>) -> Self {
        self.filters.push(("-filter:v", graph.into()));
        self
    }

    /// Sets the filter graph of the audio streams.
    #[must_use]
    pub fn audio_filter(mut self, graph: impl Into<String>) -> Self {
        self.filters.push(("-filter:a", graph.into()));
        self
    }

    /// Leaves video out.
    #[must_use]
    pub fn without_video(mut self) -> Self {
        self.without.push("-vn");
        self
    }

    /// Leaves audio out.
    #[must_use]
    pub fn without_audio(mut self) -> Self {
        self.without.push("-an");
        self
    }

    /// Ends this output after so much media.
    #[must_use]
    pub const fn duration(mut self, duration: Duration) -> Self {
        self.duration = Some(duration);
        self
    }

    /// Moves the index of an MP4 to its front, so that it plays while it downloads.
    ///
    /// ffmpeg rewrites the whole file for it in a second pass and is silent meanwhile.
    #[must_use]
    pub fn faststart(mut self) -> Self {
        self.mov_flags.push("+faststart");
        self
    }

    /// Writes a fragmented MP4, which plays up to its end even when ffmpeg is killed.
    #[must_use]
    pub fn fragmented(mut self) -> Self {
        self.mov_flags
            .push("+frag_keyframe+empty_moov+default_base_moof");
        self
    }

    /// Sets any other option of this output; `name` goes without its dash.
    #[must_use]
    pub fn option(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.options.set(name, value);
        self
    }

    /// Adds raw arguments before the name of this output, each passed as it is.
    #[must_use]
    pub fn raw_args<A: Into<OsString>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.options.extend(args);
        self
    }

    pub(crate) const fn target(&self) -> &Target {
        &self.target
    }

    pub(crate) fn container(&self) -> Option<&str> {
        self.format.as_deref()
    }

    /// Points a file output at another file, which gets the container `muxer`.
    pub(crate) fn redirect(&mut self, path: &Path, muxer: &str) {
        self.target = Target::File(path.to_owned());
        self.format = Some(muxer.to_owned());
    }

    pub(crate) fn is_stdout(&self) -> bool {
        self.target == Target::Stdout
    }

    pub(super) fn is_nameless(&self) -> bool {
        match &self.target {
            Target::File(path) | Target::Pattern(path) => path.as_os_str().is_empty(),
            Target::Url(url) => url.is_empty(),
            Target::Stdout | Target::Null => false,
        }
    }

    pub(super) const fn options(&self) -> &Options {
        &self.options
    }

    pub(super) fn push_to(&self, args: &mut Vec<OsString>) {
        for map in &self.maps {
            push_option(args, "-map", map);
        }
        args.extend(self.without.iter().map(OsString::from));
        for (name, codec) in &self.codecs {
            push_option(args, name, codec.as_str());
        }
        for (name, graph) in &self.filters {
            push_option(args, name, graph);
        }
        if let Some(duration) = self.duration {
            push_option(args, "-t", seconds(duration));
        }
        if !self.mov_flags.is_empty() {
            push_option(args, "-movflags", self.mov_flags.concat());
        }
        self.options.push_to(args);
        if let Some(format) = &self.format {
            push_option(args, "-f", format);
        }
        args.push(match &self.target {
            Target::File(path) | Target::Pattern(path) => file_name(path),
            Target::Url(url) => url.clone(),
            Target::Stdout => OsStr::new("pipe:1").to_owned(),
            Target::Null => OsStr::new("-").to_owned(),
        });
    }

    fn new(target: Target) -> Self {
        Self {
            target,
            format: None,
            maps: Vec::new(),
            codecs: Vec::new(),
            filters: Vec::new(),
            without: Vec::new(),
            duration: None,
            mov_flags: Vec::new(),
            options: Options::default(),
        }
    }
}

impl fmt::Debug for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut args = Vec::new();
        self.push_to(&mut args);
        write!(f, "Output({})", redact_args(&args))
    }
}
