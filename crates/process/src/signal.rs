//! The signals that are sent to children.

use std::fmt;

/// A signal to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Signal {
    /// `SIGHUP`: reload, or the terminal is gone.
    Hup,
    /// `SIGINT`: what Ctrl-C sends.
    Int,
    /// `SIGQUIT`: end, with a core dump by default.
    Quit,
    /// `SIGABRT`: what a watchdog sends for a core dump.
    Abrt,
    /// `SIGKILL`: ends the process, which cannot refuse.
    Kill,
    /// `SIGUSR1`: means what the program says.
    Usr1,
    /// `SIGUSR2`: means what the program says.
    Usr2,
    /// `SIGTERM`: the polite request to end.
    Term,
    /// `SIGCONT`: go on after [`Signal::Stop`].
    Cont,
    /// `SIGSTOP`: stand still; the process cannot refuse.
    Stop,
}

impl Signal {
    /// The number that the kernel knows it by.
    #[must_use]
    pub fn as_raw(self) -> i32 {
        self.kernel().as_raw()
    }

    pub(crate) fn kernel(self) -> rustix::process::Signal {
        use rustix::process::Signal as Kernel;
        match self {
            Self::Hup => Kernel::HUP,
            Self::Int => Kernel::INT,
            Self::Quit => Kernel::QUIT,
            Self::Abrt => Kernel::ABORT,
            Self::Kill => Kernel::KILL,
            Self::Usr1 => Kernel::USR1,
            Self::Usr2 => Kernel::USR2,
            Self::Term => Kernel::TERM,
            Self::Cont => Kernel::CONT,
            Self::Stop => Kernel::STOP,
        }
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Hup => "SIGHUP",
            Self::Int => "SIGINT",
            Self::Quit => "SIGQUIT",
            Self::Abrt => "SIGABRT",
            Self::Kill => "SIGKILL",
            Self::Usr1 => "SIGUSR1",
            Self::Usr2 => "SIGUSR2",
            Self::Term => "SIGTERM",
            Self::Cont => "SIGCONT",
            Self::Stop => "SIGSTOP",
        })
    }
}
