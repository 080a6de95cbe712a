//! Tells from exit status, version and log how an ffmpeg run ended.

use std::fmt;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use nix::libc;

use crate::cause::{self, Finding};
use crate::log_tail::{Diagnostic, LogTail};
use crate::version::Version;

/// ffmpeg's exit code after a signal that it obeyed.
const STOPPED_BY_SIGNAL: i32 = 255;

/// What ffmpeg logs (as `info`) when it obeyed a signal and finished its files.
const RECEIVED_SIGNAL: &str = "Exiting normally, received signal";

/// Why ffmpeg failed, by what a caller could do about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// An input or a capture device is not there.
    InputMissing,
    /// An input is damaged or no media.
    InputInvalid,
    /// A file or a server refuses access.
    PermissionDenied,
    /// The disk is full, or a limit on file size or quota is reached.
    NoSpace,
    /// A server cannot be reached or went away. May work later.
    Network,
    /// This ffmpeg has not the encoder or decoder.
    CodecUnavailable,
    /// A GPU or its driver is missing or busy. May work without hardware.
    Hardware,
    /// An option, filter, format or combination of them is wrong.
    BadArgument,
    /// The output exists and may not be replaced.
    OutputExists,
    /// The output cannot be opened for writing.
    OutputUnwritable,
    /// A signal that cannot be obeyed ended ffmpeg, such as `SIGKILL` of the kernel when memory
    /// is short.
    Killed,
    /// ffmpeg crashed.
    Crashed,
    /// None of these.
    Other,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::InputMissing => "an input is missing",
            Self::InputInvalid => "an input is damaged or no media",
            Self::PermissionDenied => "permission denied",
            Self::NoSpace => "no space left",
            Self::Network => "network trouble",
            Self::CodecUnavailable => "a codec is not available",
            Self::Hardware => "hardware acceleration is not available",
            Self::BadArgument => "a bad argument",
            Self::OutputExists => "the output exists",
            Self::OutputUnwritable => "the output cannot be written",
            Self::Killed => "killed",
            Self::Crashed => "crashed",
            Self::Other => "an unknown reason",
        })
    }
}

/// How a run of ffmpeg ended.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub enum Ending {
    /// It did what was asked.
    Finished,
    /// It obeyed a signal. After one signal its files are finished, after more they may not be.
    Stopped,
    /// It failed; also with exit status 0, when it stopped reading early or did not finish a file.
    Failed {
        /// The class of the failure.
        kind: Kind,
        /// The line of the log that tells the reason.
        cause: Option<Diagnostic>,
    },
}

/// Tells how a run ended.
///
/// `we_signalled` says whether this program sent ffmpeg a signal before it ended. The numbers of
/// the exit status mean different things in different versions: 255 is "stopped by a signal" up
/// to 6.0, but also "operation not permitted" (a missing GPU) later, and an output that exists is
/// a 1 or a 0.
pub fn classify(exit: ExitStatus, version: &Version, we_signalled: bool, log: &LogTail) -> Ending {
    match (exit.code(), exit.signal()) {
        // 9.0 exits with 0 when a signal comes while it probes its inputs.
        (Some(0), _) if obeyed_a_signal(log) => Ending::Stopped,
        (Some(0), _) => match cause::find_silent(log) {
            None => Ending::Finished,
            Some(_) if we_signalled => Ending::Stopped,
            Some(found) => failed(found, None),
        },
        _ if we_signalled => Ending::Stopped,
        (Some(STOPPED_BY_SIGNAL), _) => {
            let found = cause::find(log);
            let cannot_be_else = !version.exits_with_error_number();
            if cannot_be_else || obeyed_a_signal(log) || found.cause.is_none() {
                Ending::Stopped
            } else {
                failed(found, None)
            }
        }
        // "Received > 3 system signals, hard exiting".
        (Some(123), _) => failed_as(Kind::Killed, log),
        (Some(code), _) => {
            let told = version
                .exits_with_error_number()
                .then(|| kind_of_code(code))
                .flatten();
            failed(cause::find(log), told)
        }
        (None, Some(libc::SIGXFSZ)) => failed_as(Kind::NoSpace, log),
        (
            None,
            Some(libc::SIGSEGV | libc::SIGBUS | libc::SIGABRT | libc::SIGILL | libc::SIGFPE),
        ) => failed_as(Kind::Crashed, log),
        (None, _) => failed_as(Kind::Killed, log),
    }
}

fn failed(found: Finding, told_by_code: Option<Kind>) -> Ending {
    Ending::Failed {
        kind: found.kind.or(told_by_code).unwrap_or(Kind::Other),
        cause: found.cause,
    }
}

fn failed_as(kind: Kind, log: &LogTail) -> Ending {
    Ending::Failed {
        kind,
        cause: cause::find(log).cause,
    }
}

fn obeyed_a_signal(log: &LogTail) -> bool {
    log.kept()
        .any(|line| memchr::memmem::find(line.bytes(), RECEIVED_SIGNAL.as_bytes()).is_some())
}

/// Since 6.1 the exit code is the low byte of ffmpeg's negative error number: of `errno`, or of a
/// tag whose first letter counts (`INDA` for invalid data, 0xF8 for things not found).
fn kind_of_code(code: i32) -> Option<Kind> {
    Some(match 256 - code {
        libc::ENOENT | libc::ENODEV | libc::ENXIO => Kind::InputMissing,
        libc::EACCES => Kind::PermissionDenied,
        libc::EEXIST => Kind::OutputExists,
        libc::ENOSPC | libc::EDQUOT | libc::EFBIG => Kind::NoSpace,
        libc::EROFS => Kind::OutputUnwritable,
        libc::EINVAL | libc::EISDIR => Kind::BadArgument,
        libc::ECONNREFUSED
        | libc::ETIMEDOUT
        | libc::ECONNRESET
        | libc::EHOSTUNREACH
        | libc::ENETUNREACH
        | libc::EPIPE => Kind::Network,
        0xF8 => Kind::BadArgument,
        code if code == i32::from(b'I') => Kind::InputInvalid,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use longtake_process::Line;

    use super::*;

    const CODE: fn(i32) -> i32 = |code| code << 8;

    fn version(number: &str) -> Version {
        Version::parse(&format!("ffmpeg version {number} Copyright")).unwrap()
    }

    fn log(lines: &[&str]) -> LogTail {
        let mut log = LogTail::new();
        for line in lines {
            log.push(Line::cut(line.as_bytes(), 4096));
        }
        log
    }

    /// `raw` is a wait status: an exit code shifted by 8, or a signal.
    #[track_caller]
    fn check(number: &str, raw: i32, we_signalled: bool, lines: &[&str], want: Option<Kind>) {
        let ending = classify(
            ExitStatus::from_raw(raw),
            &version(number),
            we_signalled,
            &log(lines),
        );
        let got = match &ending {
            Ending::Failed { kind, .. } => Some(*kind),
            Ending::Finished | Ending::Stopped => None,
        };
        assert_eq!(got, want, "{number} {raw:#x} {lines:?}: {ending:?}");
    }

    #[track_caller]
    fn check_stopped(number: &str, raw: i32, we_signalled: bool, lines: &[&str]) {
        let ending = classify(
            ExitStatus::from_raw(raw),
            &version(number),
            we_signalled,
            &log(lines),
        );
        assert_eq!(ending, Ending::Stopped, "{number} {raw:#x}");
    }

    #[test]
    fn signals_that_are_obeyed() {
        const NORMALLY: &str = "[info] Exiting normally, received signal 15.";
        for number in ["4.1", "5.1", "9.0"] {
            check_stopped(number, CODE(255), true, &[]);
            check_stopped(number, CODE(255), false, &[NORMALLY]);
            check_stopped(number, CODE(0), false, &[NORMALLY]);
            check_stopped(
                number,
                CODE(0),
                true,
                &["[fatal] could not find codec parameters"],
            );
            check(number, CODE(0), true, &[], None);
        }
        check_stopped("5.1", CODE(255), false, &["[error] whatever"]);
        // While probing, and four signals at once, and 4.1 whose handler is gone after one.
        check_stopped("5.1", CODE(1), true, &[]);
        check_stopped("5.1", CODE(123), true, &[]);
        check_stopped("4.1", 15, true, &[]);
    }

    #[test]
    fn signals_that_kill() {
        check(
            "5.1",
            CODE(123),
            false,
            &["[fatal] Received > 3 system signals, hard exiting"],
            Some(Kind::Killed),
        );
        for signal in [libc::SIGHUP, libc::SIGQUIT, libc::SIGKILL, libc::SIGTERM] {
            check("5.1", signal, false, &[], Some(Kind::Killed));
        }
        check("5.1", libc::SIGXFSZ, false, &[], Some(Kind::NoSpace));
        check("9.0", libc::SIGSEGV | 0x80, false, &[], Some(Kind::Crashed));
    }

    #[test]
    fn a_missing_gpu_exits_like_a_signal_since_6_1() {
        let cuda = [
            "[CUDA @ 0x1] [error] Cannot load libcuda.so.1",
            "[error] Device creation failed: -1.",
        ];
        check("9.0", CODE(255), false, &cuda, Some(Kind::Hardware));
        check("5.1", CODE(1), false, &cuda, Some(Kind::Hardware));
    }

    #[test]
    fn codes_of_6_1_tell_the_reason_without_a_log() {
        for (code, want) in [
            (228, Kind::NoSpace),
            (254, Kind::InputMissing),
            (243, Kind::PermissionDenied),
            (235, Kind::BadArgument),
            (183, Kind::InputInvalid),
            (234, Kind::BadArgument),
            (8, Kind::BadArgument),
            (145, Kind::Network),
            (187, Kind::Other),
            (69, Kind::Other),
        ] {
            check("9.0", CODE(code), false, &[], Some(want));
        }
        check("5.1", CODE(1), false, &[], Some(Kind::Other));
    }

    #[test]
    fn failures_with_status_0() {
        let exists = "[fatal] File 'file:x.mp4' already exists. Exiting.";
        check(
            "9.0",
            CODE(0),
            false,
            &[exists, "[error] Error opening output file file:x.mp4."],
            Some(Kind::OutputExists),
        );
        let impossible = "[concat @ 0x1] [error] Impossible to open 'nosuch.mp4'";
        let missing = "[error] list.txt: No such file or directory";
        check(
            "5.1",
            CODE(0),
            false,
            &[impossible, missing],
            Some(Kind::InputMissing),
        );
        let demuxing = "[in#0/concat @ 0x1] [error] Error during demuxing: Invalid data found when processing input";
        check(
            "9.0",
            CODE(0),
            false,
            &[impossible, demuxing],
            Some(Kind::InputInvalid),
        );
        let rot = "[concat @ 0x1] [error] h264_mp4toannexb filter failed to receive output packet";
        check("5.1", CODE(0), false, &[rot], Some(Kind::InputInvalid));
        check(
            "5.1",
            CODE(0),
            false,
            &["[error] tcp://10.0.0.7:1: Connection timed out"],
            Some(Kind::Network),
        );
        check(
            "9.0",
            CODE(0),
            false,
            &["[in#0/mpegts @ 0x1] [error] Error during demuxing: Connection timed out"],
            Some(Kind::Network),
        );
        let moov = "[mp4 @ 0x1] [error] reserved_moov_size is too small, needed 1333 additional";
        check(
            "5.1",
            CODE(0),
            false,
            &[
                moov,
                "[error] Error writing trailer of x.mp4: Invalid argument",
            ],
            Some(Kind::BadArgument),
        );
        check(
            "5.1",
            CODE(0),
            false,
            &["[error] Error writing trailer of x.mkv: No space left on device"],
            Some(Kind::NoSpace),
        );
    }

    #[test]
    fn damage_alone_is_no_failure() {
        let lines = [
            "[h264 @ 0x1] [error] error while decoding MB 0 16, bytestream 6302",
            "[error] Error while decoding stream #0:0: Invalid data found when processing input",
            "[dec:h264 @ 0x1] [error] Error submitting packet to decoder: Invalid data found when processing input",
            "[mp4 @ 0x1] [warning] Non-monotonous DTS in output stream 0:0",
            "[libx264 @ 0x1] [info] kb/s:284.33",
        ];
        let ending = classify(
            ExitStatus::from_raw(0),
            &version("5.1"),
            false,
            &log(&lines),
        );
        assert_eq!(ending, Ending::Finished);
    }
}
