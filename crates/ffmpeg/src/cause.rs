//! Finds the line of a log that tells why ffmpeg failed.
//!
//! ffmpeg reports one failure several times, from the inside outwards, between messages about
//! damaged pictures and encoder statistics. Every error line gets a rank by what it says; the
//! first line of the best rank is the cause.

use longtake_process::KeptLine;

use crate::failure::Kind;
use crate::level::Level;
use crate::log_line::LogLine;
use crate::log_tail::{Diagnostic, LogTail};

/// What a log says about a failure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Finding {
    pub(crate) kind: Option<Kind>,
    pub(crate) cause: Option<Diagnostic>,
}

/// Looks for the cause of a failure.
pub(crate) fn find(log: &LogTail) -> Finding {
    let mut best: Option<(Rank, LogLine<'_>)> = None;
    let mut best_kind: Option<(Rank, Kind)> = None;
    for line in error_lines(log) {
        let (rank, kind) = judge(&line);
        if best.as_ref().is_none_or(|(best, _)| rank < *best) {
            best = Some((rank, line));
        }
        if let Some(kind) = kind
            && best_kind.is_none_or(|(best, _)| rank < best)
        {
            best_kind = Some((rank, kind));
        }
    }
    Finding {
        kind: best_kind.map(|(_, kind)| kind),
        cause: best.map(|(_, line)| Diagnostic::from_line(&line)),
    }
}

/// Looks for a failure that ffmpeg's exit status 0 hides: it stopped early or did not finish its
/// file.
pub(crate) fn find_silent(log: &LogTail) -> Option<Finding> {
    error_lines(log)
        .any(|line| is_silent_failure(&line))
        .then(|| find(log))
}

/// How much a line tells; the least is the best.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    /// A row of [`SPECIFIC`] by its place there.
    Specific(usize),
    /// A fatal message that no rule knows.
    UnknownFatal,
    /// An error that no rule knows.
    Unknown,
    /// Damage in the input, which alone ends nothing.
    Noise,
    /// What follows from an error told elsewhere.
    Consequence,
}

/// Messages that name a cause, the surest first.
///
/// A member of a concat list that cannot be opened has no kind here: the next line tells whether
/// it is missing or damaged.
const SPECIFIC: &[(Option<Kind>, &[&str])] = &[
    (
        Some(Kind::NoSpace),
        &[
            "No space left on device",
            "Disk quota exceeded",
            "File too large",
        ],
    ),
    (Some(Kind::OutputExists), &["already exists. Exiting."]),
    (None, &["Impossible to open '"]),
    (
        Some(Kind::Hardware),
        &[
            "Cannot load lib",
            "Could not dynamically load",
            "No capable devices found",
            "OpenEncodeSessionEx failed",
            "No VA display found",
            "Failed to initialise VAAPI",
            "MFX session",
            "Could not find a valid device",
            "No device available for decoder",
            "Device creation failed",
            "evice setup failed for decoder",
        ],
    ),
    (
        Some(Kind::CodecUnavailable),
        &[
            "Unknown encoder",
            "Unknown decoder",
            "Encoder not found",
            "Decoder not found",
            "no decoder found for",
            "Automatic encoder selection failed",
        ],
    ),
    (
        Some(Kind::PermissionDenied),
        &["Permission denied", "401 Unauthorized", "403 Forbidden"],
    ),
    (
        Some(Kind::Network),
        &[
            "Connection refused",
            "Connection timed out",
            "Connection reset by peer",
            "Network is unreachable",
            "No route to host",
            "Failed to resolve hostname",
            "Server returned 5",
            "HTTP error 5",
            "Broken pipe",
        ],
    ),
    (
        Some(Kind::OutputUnwritable),
        &[
            "Error opening output: ",
            "Error opening output ",
            "Failed to open segment",
            "Could not open file :",
            "Read-only file system",
        ],
    ),
    (
        Some(Kind::InputMissing),
        &[
            "404 Not Found",
            "Cannot open video device",
            "No such file or directory",
            "No such device",
        ],
    ),
    (
        Some(Kind::BadArgument),
        &[
            "reserved_moov_size is too small",
            "Unrecognized option",
            "Option not found",
            "No such filter",
            "Unknown input format",
            "Requested output format",
            "Unable to choose an output format",
            "Unable to find a suitable output format",
            "codec not currently supported in container",
            "matches no streams",
            "does not contain any stream",
            "Unknown pixel format",
            "invalid preset",
            "Error setting preset",
            "Error setting option",
            "Unable to parse option",
            "Undefined constant",
            "Missing argument for option",
            "Protocol not found",
            "Is a directory",
            "are supported for WebM",
            "not divisible by",
            "must be an integer multiple of",
            "Could not find tag for codec",
            "unknown keyword",
            "unsafe file name",
        ],
    ),
    (
        Some(Kind::InputInvalid),
        &[
            "moov atom not found",
            "EBML header parsing failed",
            "filter failed to receive output packet",
            "Invalid data found when processing input",
            "ould not find codec parameters",
        ],
    ),
    (Some(Kind::BadArgument), &["Failed to set value"]),
    (
        Some(Kind::Other),
        &[
            "Generic error in an external library",
            "Input/output error",
            "Cannot allocate memory",
        ],
    ),
];

/// Messages about damaged pictures and sound, and others that end nothing.
const NOISE: &[&str] = &[
    "Error closing progress log",
    "Error while decoding stream",
    "Error submitting packet to decoder",
    "Error submitting a packet to the muxer",
    "error while decoding MB",
    "Error splitting the input into NAL units",
    "Invalid NAL unit size",
    "No start code is found",
    "missing picture in access unit",
];

/// Decoders and parsers; what they report is damage, unless a rule says otherwise.
const NOISY_CONTEXTS: &[&str] = &[
    "NULL", "aac", "av1", "h264", "hevc", "mjpeg", "mp3", "mpeg4", "vp9",
];

/// Messages that say only that something failed, as told before.
const CONSEQUENCES: &[&str] = &[
    "Conversion failed!",
    "Could not open encoder before EOF",
    "Could not write header",
    "Error closing file",
    "Error during demuxing",
    "Error initializing output stream",
    "Error initializing the muxer",
    "Error marking filters as finished",
    "Error muxing a packet",
    "Error opening input file",
    "Error opening output file",
    "Error processing filtered frame",
    "Error reinitializing filters",
    "Error selecting an encoder",
    "Error sending frames to consumers",
    "Error splitting the argument list",
    "Error while processing the decoded data",
    "Error writing trailer",
    "Failed to inject frame into filter network",
    "Nothing was written into output file",
];

/// Further consequences, which tell an error number besides.
const NUMBERED_CONSEQUENCES: &[&str] = &[
    "Error parsing ",
    "Error while opening encoder",
    "Task finished with error code",
    "Terminating thread with return code",
    "Error while filtering",
];

/// What the threads of 9.0 say when a neighbour has failed: its error number, which may be too vague
/// to tell what the neighbour has told in words.
const ECHOES: &[&str] = &[
    "Error sending frames to consumers",
    "Task finished with error code",
    "Terminating thread with return code",
];

/// Ends of encoder and decoder names that need hardware.
const HARDWARE_SUFFIXES: &[&str] = &[
    "_amf",
    "_cuvid",
    "_mediacodec",
    "_nvenc",
    "_qsv",
    "_v4l2m2m",
    "_vaapi",
    "_vulkan",
    "_mf",
];

fn error_lines(log: &LogTail) -> impl Iterator<Item = LogLine<'_>> {
    log.kept()
        .map(|line: &KeptLine| LogLine::parse(line.bytes()))
        .filter(|line| line.level.is_some_and(|level| level <= Level::Error))
}

fn judge(line: &LogLine<'_>) -> (Rank, Option<Kind>) {
    let has = |needle: &&str| contains(line.text, needle);
    if NOISE.iter().any(has) {
        return (Rank::Noise, Some(Kind::InputInvalid));
    }
    let is_consequence = CONSEQUENCES.iter().chain(NUMBERED_CONSEQUENCES).any(has);
    // "Error opening output files: …" is about options as often as about files.
    let opens_outputs = contains(line.text, "Error opening output file");
    let is_echo = ECHOES.iter().any(has);
    for (rank, (kind, needles)) in SPECIFIC.iter().enumerate() {
        let excluded = match kind {
            Some(Kind::OutputUnwritable) => opens_outputs,
            Some(Kind::InputInvalid | Kind::Other) => is_echo,
            _ => false,
        };
        if !excluded && needles.iter().any(has) {
            return (Rank::Specific(rank), *kind);
        }
    }
    if is_hardware(line) && is_consequence {
        return (Rank::Unknown, Some(Kind::Hardware));
    }
    if is_consequence || line.text.is_empty() {
        let invalid = contains(line.text, "Invalid argument") || contains(line.text, "code -22 ");
        return (Rank::Consequence, invalid.then_some(Kind::BadArgument));
    }
    if line
        .context
        .is_some_and(|context| NOISY_CONTEXTS.iter().any(|name| name.as_bytes() == context))
    {
        return (Rank::Noise, Some(Kind::InputInvalid));
    }
    let invalid = contains(line.text, "Invalid argument").then_some(Kind::BadArgument);
    match line.level {
        Some(Level::Fatal | Level::Panic) => (Rank::UnknownFatal, invalid),
        _ => (Rank::Unknown, invalid),
    }
}

/// Failures that come with exit status 0.
///
/// When reading an input fails after the start, 5.1 says `[error] NAME: REASON` without a
/// context, 9.0 `Error during demuxing: REASON`; both then finish the file as if all were well.
fn is_silent_failure(line: &LogLine<'_>) -> bool {
    const MESSAGES: &[&str] = &[
        "Impossible to open '",
        "filter failed to receive output packet",
        "Error during demuxing",
        "Error writing trailer",
        "Error closing file",
        "already exists. Exiting.",
    ];
    const READ_ERRORS: &[&str] = &[
        ": Connection timed out",
        ": Connection reset by peer",
        ": Input/output error",
        ": Invalid data found when processing input",
        ": No such file or directory",
        ": End of file",
    ];
    if line.level <= Some(Level::Fatal) {
        return true;
    }
    if NOISE.iter().any(|needle| contains(line.text, needle)) {
        return false;
    }
    MESSAGES.iter().any(|needle| contains(line.text, needle))
        || (line.context.is_none()
            && READ_ERRORS
                .iter()
                .any(|end| line.text.ends_with(end.as_bytes())))
}

fn is_hardware(line: &LogLine<'_>) -> bool {
    line.context.is_some_and(|context| {
        HARDWARE_SUFFIXES
            .iter()
            .any(|suffix| context.ends_with(suffix.as_bytes()))
    })
}

fn contains(text: &[u8], needle: &str) -> bool {
    memchr::memmem::find(text, needle.as_bytes()).is_some()
}

#[cfg(test)]
mod tests;
