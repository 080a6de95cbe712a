//! How a child ended, and what that counts as.

use std::collections::BTreeSet;
use std::fmt;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

/// How a process ended: by itself with a code, or by a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Exit {
    /// It exited with this code, 0 to 255.
    Code(u8),
    /// It was ended by the signal of this number.
    Signal {
        /// Such as 9 for `SIGKILL`.
        number: i32,
        /// It left a core dump.
        core: bool,
    },
}

/// What the ends of a child count as.
///
/// By default code 0 is a success and everything else a failure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExitRules {
    success: BTreeSet<u8>,
    success_signals: BTreeSet<i32>,
    fatal: BTreeSet<u8>,
    prevent: BTreeSet<u8>,
}

/// What one end of a child counts as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Success,
    Failure,
    /// Never started again: trying again cannot help.
    Fatal,
    /// Not started again, and no failure either.
    Prevent,
}

impl Exit {
    /// The exit code.
    #[must_use]
    pub fn code(self) -> Option<u8> {
        match self {
            Self::Code(code) => Some(code),
            Self::Signal { .. } => None,
        }
    }

    /// The number of the signal.
    #[must_use]
    pub fn signal(self) -> Option<i32> {
        match self {
            Self::Code(_) => None,
            Self::Signal { number, .. } => Some(number),
        }
    }
}

impl From<ExitStatus> for Exit {
    fn from(status: ExitStatus) -> Self {
        match (status.code(), status.signal()) {
            (Some(code), _) => Self::Code(u8::try_from(code & 0xff).unwrap_or(u8::MAX)),
            (None, signal) => Self::Signal {
                number: signal.unwrap_or(0),
                core: status.core_dumped(),
            },
        }
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exit code {code}"),
            Self::Signal { number, core } => {
                write!(f, "signal {number}")?;
                let name = nix::sys::signal::Signal::try_from(*number);
                if let Ok(name) = name {
                    write!(f, " ({name})")?;
                }
                f.write_str(if *core { ", core dumped" } else { "" })
            }
        }
    }
}

impl Default for ExitRules {
    fn default() -> Self {
        Self {
            success: BTreeSet::from([0]),
            success_signals: BTreeSet::new(),
            fatal: BTreeSet::new(),
            prevent: BTreeSet::new(),
        }
    }
}

impl ExitRules {
    /// These exit codes are successes, beside 0. ffmpeg ends with 255 after a signal that asked it to.
    #[must_use]
    pub fn success(mut self, codes: impl IntoIterator<Item = u8>) -> Self {
        self.success.extend(codes);
        self
    }

    /// To be ended by these signals, given by number, is a success.
    #[must_use]
    pub fn success_signals(mut self, signals: impl IntoIterator<Item = i32>) -> Self {
        self.success_signals.extend(signals);
        self
    }

    /// These exit codes are failures that no restart can mend: the child is `failed` at once.
    #[must_use]
    pub fn fatal(mut self, codes: impl IntoIterator<Item = u8>) -> Self {
        self.fatal.extend(codes);
        self
    }

    /// After these exit codes the child is not started again, whatever the policy; it is `stopped`.
    #[must_use]
    pub fn prevent(mut self, codes: impl IntoIterator<Item = u8>) -> Self {
        self.prevent.extend(codes);
        self
    }

    /// What an end that nobody ordered counts as. A code that is in several sets counts as the
    /// harshest: fatal before prevent before success.
    pub(crate) fn judge(&self, exit: Exit) -> Verdict {
        match exit {
            Exit::Code(code) if self.fatal.contains(&code) => Verdict::Fatal,
            Exit::Code(code) if self.prevent.contains(&code) => Verdict::Prevent,
            Exit::Code(code) if self.success.contains(&code) => Verdict::Success,
            Exit::Signal { number, .. } if self.success_signals.contains(&number) => {
                Verdict::Success
            }
            Exit::Code(_) | Exit::Signal { .. } => Verdict::Failure,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KILLED: Exit = Exit::Signal {
        number: 9,
        core: false,
    };

    #[test]
    fn verdicts() {
        let rules = ExitRules::default()
            .success([255])
            .success_signals([9])
            .fatal([2, 3])
            .prevent([3, 4, 255]);
        #[track_caller]
        fn check(rules: &ExitRules, exit: Exit, want: Verdict) {
            assert_eq!(rules.judge(exit), want, "{exit}");
        }
        check(&rules, Exit::Code(0), Verdict::Success);
        check(&rules, Exit::Code(1), Verdict::Failure);
        check(&rules, Exit::Code(2), Verdict::Fatal);
        check(&rules, Exit::Code(3), Verdict::Fatal);
        check(&rules, Exit::Code(4), Verdict::Prevent);
        check(&rules, Exit::Code(255), Verdict::Prevent);
        check(&rules, KILLED, Verdict::Success);
        check(&ExitRules::default(), KILLED, Verdict::Failure);
        check(&ExitRules::default(), Exit::Code(255), Verdict::Failure);
    }

    #[test]
    fn from_the_kernels_word() {
        #[track_caller]
        fn check(word: i32, want: Exit, text: &str) {
            let exit = Exit::from(ExitStatus::from_raw(word));
            assert_eq!((exit, exit.to_string().as_str()), (want, text));
        }
        check(0, Exit::Code(0), "exit code 0");
        check(255 << 8, Exit::Code(255), "exit code 255");
        check(9, KILLED, "signal 9 (SIGKILL)");
        let core = Exit::Signal {
            number: 11,
            core: true,
        };
        check(11 | 0x80, core, "signal 11 (SIGSEGV), core dumped");
        let real_time = Exit::Signal {
            number: 40,
            core: false,
        };
        check(40, real_time, "signal 40");
    }
}
