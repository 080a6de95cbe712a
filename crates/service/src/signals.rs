//! SIGINT, SIGTERM and SIGHUP: the first asks the program to stop; a second SIGINT or SIGTERM stops it
//! at once.

use std::{
    fmt, fs, io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
};

use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGTERM},
    flag,
    iterator::{self, Handle},
};

/// The exit code after a second signal: what was asked for was not finished.
const STOPPED_AT_ONCE: i32 = 1;

/// The signals that stop the program. `main` keeps it until its end.
///
/// The first SIGINT or SIGTERM calls what was given to [`Signals::install`]; the program then
/// finishes its work in order. A second one, of either kind, ends the process at once with exit
/// code 1: no destructor runs, and nothing more is written. That happens inside the signal handler,
/// so it works even if every thread hangs. Child processes started through `longtake-process` are
/// then killed by its guardian.
///
/// SIGHUP (the terminal or the ssh session is gone) stops in order too, unless the program was started
/// with it ignored, as `nohup` does. It often comes twice, so it never counts as the second.
///
/// Dropping it waits for the answer to a first signal, if one is being given; from then on one signal
/// ends the process at once.
#[derive(Debug)]
pub struct Signals {
    asked: Arc<AtomicBool>,
    handle: Handle,
    thread: Option<JoinHandle<()>>,
}

/// Which signal asked the program to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum StopSignal {
    /// SIGINT: a Ctrl-C.
    Interrupt,
    /// SIGTERM: systemd, `kill`, a container's stop.
    Terminate,
    /// SIGHUP: the terminal is gone.
    HangUp,
}

/// Why the signals cannot be taken.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SignalsError {
    /// The system refused a handler, a pipe or a thread.
    #[error("cannot take the signals SIGINT, SIGTERM and SIGHUP")]
    Install {
        /// What the system said.
        source: io::Error,
    },
}

impl Signals {
    /// Takes SIGINT, SIGTERM and SIGHUP from now on, and calls `on_stop` at the first of them.
    ///
    /// `on_stop` runs once at most, on a thread of its own. It may send to a channel that the main
    /// loop waits on, or cancel a token. However long it takes, a second signal still works.
    ///
    /// Call it once in a process, before any work begins.
    ///
    /// # Errors
    ///
    /// When the system is out of file descriptors or threads.
    pub fn install(
        on_stop: impl FnOnce(StopSignal) + Send + 'static,
    ) -> Result<Self, SignalsError> {
        Self::try_install(on_stop).map_err(|source| SignalsError::Install { source })
    }

    fn try_install(on_stop: impl FnOnce(StopSignal) + Send + 'static) -> io::Result<Self> {
        let asked = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM] {
            // Handlers run in the order of their registration: the first signal finds the flag
            // down and raises it, the second finds it up.
            flag::register_conditional_shutdown(signal, STOPPED_AT_ONCE, Arc::clone(&asked))?;
            flag::register(signal, Arc::clone(&asked))?;
        }
        let mut signals = iterator::Signals::new([SIGINT, SIGTERM])?;
        if !is_hang_up_ignored()? {
            flag::register(SIGHUP, Arc::clone(&asked))?;
            signals.add_signal(SIGHUP)?;
        }
        let handle = signals.handle();
        let thread = thread::Builder::new()
            .name("signals".to_owned())
            .spawn(move || {
                if let Some(signal) = signals.forever().next() {
                    on_stop(match signal {
                        SIGINT => StopSignal::Interrupt,
                        SIGHUP => StopSignal::HangUp,
                        _ => StopSignal::Terminate,
                    });
                }
            })?;
        Ok(Self {
            asked,
            handle,
            thread: Some(thread),
        })
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        // Nobody listens any more, so from here on one signal is enough.
        self.asked.store(true, Ordering::SeqCst);
        self.handle.close();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::warn!("the answer to a stop signal panicked");
        }
    }
}

impl fmt::Display for StopSignal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Interrupt => "SIGINT",
            Self::Terminate => "SIGTERM",
            Self::HangUp => "SIGHUP",
        })
    }
}

/// Whether the program was started with SIGHUP ignored: `SigIgn` in `proc_pid_status(5)`.
fn is_hang_up_ignored() -> io::Result<bool> {
    let status = fs::read_to_string("/proc/self/status")?;
    let ignored = status
        .lines()
        .find_map(|line| line.strip_prefix("SigIgn:"))
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    Ok(ignored.is_some_and(|mask| mask & (1 << (SIGHUP - 1)) != 0))
}
