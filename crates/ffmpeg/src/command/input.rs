//! Inputs of an ffmpeg command.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use longtake_process::redact_args;

use super::options::Options;
use super::{file_name, push_option, seconds};

/// One input of an [`FfmpegCommand`](crate::FfmpegCommand).
#[derive(Clone)]
pub struct Input {
    source: Source,
    format: Option<String>,
    seek: Option<Duration>,
    duration: Option<Duration>,
    realtime: bool,
    loop_forever: bool,
    options: Options,
}

#[derive(Clone)]
enum Source {
    File(PathBuf),
    Concat(PathBuf),
    /// An address, a device name or a lavfi graph: text that is passed as it is.
    Text(OsString),
    Stdin,
}

impl Input {
    /// A file; its name may hold anything, also a colon or a dash in front.
    #[must_use]
    pub fn file(path: impl Into<PathBuf>) -> Self {
        Self::new(Source::File(path.into()))
    }

    /// An address such as `rtsp://camera/stream`.
    #[must_use]
    pub fn url(url: impl Into<OsString>) -> Self {
        Self::new(Source::Text(url.into()))
    }

    /// A list file that [`ConcatList`](crate::ConcatList) wrote.
    #[must_use]
    pub fn concat(list: impl Into<PathBuf>) -> Self {
        Self::new(Source::Concat(list.into())).format("concat")
    }

    /// A libavfilter graph that generates media, such as `testsrc2=rate=30`.
    #[must_use]
    pub fn lavfi(graph: impl Into<OsString>) -> Self {
        Self::new(Source::Text(graph.into())).format("lavfi")
    }

    /// A capture device, such as `("v4l2", "/dev/video0")`.
    #[must_use]
    pub fn device(format: impl Into<String>, name: impl Into<OsString>) -> Self {
        Self::new(Source::Text(name.into())).format(format)
    }

    /// Standard input, in the container `format`.
    #[must_use]
    pub fn stdin(format: impl Into<String>) -> Self {
        Self::new(Source::Stdin).format(format)
    }

    /// Sets the demuxer instead of letting ffmpeg guess it.
    #[must_use]
    pub fn format(mut self, format: impl Into<String>) -> Self {
        self.format = Some(format.into());
        self
    }

    /// Starts at this position of the input.
    #[must_use]
    pub const fn seek(mut self, position: Duration) -> Self {
        self.seek = Some(position);
        self
    }

    /// Reads no more than this much media.
    #[must_use]
    pub const fn duration(mut self, duration: Duration) -> Self {
        self.duration = Some(duration);
        self
    }

    /// Reads at the speed of playing, like a camera.
    #[must_use]
    pub const fn realtime(mut self) -> Self {
        self.realtime = true;
        self
    }

    /// Starts over at the end, for ever.
    #[must_use]
    pub const fn loop_forever(mut self) -> Self {
        self.loop_forever = true;
        self
    }

    /// Sets any other option of this input; `name` goes without its dash.
    #[must_use]
    pub fn option(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.options.set(name, value);
        self
    }

    /// Adds raw arguments before this input, each passed as it is.
    #[must_use]
    pub fn raw_args<A: Into<OsString>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.options.extend(args);
        self
    }

    /// The arguments of this input alone, ending with `-i NAME`; ffprobe takes them too.
    #[must_use]
    pub fn args(&self) -> Vec<OsString> {
        let mut args = Vec::new();
        self.push_to(&mut args);
        args
    }

    pub(crate) fn is_stdin(&self) -> bool {
        matches!(self.source, Source::Stdin)
    }

    pub(super) fn is_nameless(&self) -> bool {
        match &self.source {
            Source::File(path) | Source::Concat(path) => path.as_os_str().is_empty(),
            Source::Text(text) => text.is_empty(),
            Source::Stdin => false,
        }
    }

    pub(super) const fn options(&self) -> &Options {
        &self.options
    }

    pub(super) fn push_to(&self, args: &mut Vec<OsString>) {
        if let Some(format) = &self.format {
            push_option(args, "-f", format);
        }
        if let Source::Concat(_) = self.source {
            // Without it absolute paths in the list are refused.
            push_option(args, "-safe", "0");
        }
        if let Some(position) = self.seek {
            push_option(args, "-ss", seconds(position));
        }
        if let Some(duration) = self.duration {
            push_option(args, "-t", seconds(duration));
        }
        if self.realtime {
            args.push("-re".into());
        }
        if self.loop_forever {
            push_option(args, "-stream_loop", "-1");
        }
        self.options.push_to(args);
        let name = match &self.source {
            Source::File(path) | Source::Concat(path) => file_name(path),
            Source::Text(text) => text.clone(),
            Source::Stdin => OsStr::new("pipe:0").to_owned(),
        };
        push_option(args, "-i", name);
    }

    fn new(source: Source) -> Self {
        Self {
            source,
            format: None,
            seek: None,
            duration: None,
            realtime: false,
            loop_forever: false,
            options: Options::default(),
        }
    }
}

impl fmt::Debug for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Input({})", redact_args(&self.args()))
    }
}
