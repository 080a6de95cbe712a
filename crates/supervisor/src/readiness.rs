//! When a child that was started is ready for what it is there for.

mod notify;
mod probe;

use std::fmt;
use std::future::pending;
use std::io::{self, PipeReader, Read};
use std::time::Duration;

use longtake_process::{Command, set_nonblocking};
use memchr::memmem;
use tokio::io::Interest;
use tokio::task::JoinHandle;

pub(crate) use self::notify::Notification;
use self::notify::NotifySocket;
use self::probe::{http, tcp};
use crate::watched::Watched;

/// The variable that tells a child the number of its notification file.
const NOTIFY_FD: &str = "NOTIFY_FD";

/// The variable that tells a child how long it may be silent.
const WATCHDOG_USEC: &str = "WATCHDOG_USEC";

/// What our own supervisor may have told us. A child that inherited it would speak for us.
const OURS: [&str; 4] = ["NOTIFY_SOCKET", NOTIFY_FD, WATCHDOG_USEC, "WATCHDOG_PID"];

/// When a child that was started counts as ready.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Readiness {
    /// As soon as it runs.
    #[default]
    Started,
    /// When it prints a line that contains this text, on an output that is logged.
    Line(Vec<u8>),
    /// When it writes a line break to a file that it inherits, as services for s6 do. The number of the file
    /// is in the variable `NOTIFY_FD`: 3, unless the command passes others.
    NotifyFd,
    /// When it sends `READY=1` as `sd_notify(3)` says. The address is in the variable `NOTIFY_SOCKET`. Only
    /// what our user, root or the child's user sends counts. `WATCHDOG=1` counts as output of the child,
    /// whose variable `WATCHDOG_USEC` says how long it may be silent; `STATUS=` is told in events, once a
    /// second at most, and in health.
    SdNotify,
    /// When something listens at this `HOST:PORT`. It is tried every 200 ms.
    Tcp(String),
    /// When a `GET` of this path at this `HOST:PORT` is answered with a status from 200 to 399, in plain
    /// HTTP. It is tried every 200 ms.
    Http {
        /// Such as `127.0.0.1:5000`.
        address: String,
        /// Such as `/api/version`.
        path: String,
    },
}

/// Why a child will never be ready.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum NeverReady {
    /// It closed its notification file without a word.
    Closed,
}

/// What one run of a child is waited for.
#[derive(Debug)]
pub(crate) enum Waiting {
    Nothing,
    Line(Vec<u8>),
    NotifyFd(Watched<PipeReader>),
    Notify(NotifySocket),
    Probe {
        what: Readiness,
        task: Option<Probing>,
    },
}

/// A probe that is given up when nobody waits for it any more.
#[derive(Debug)]
pub(crate) struct Probing(JoinHandle<()>);

impl fmt::Display for NeverReady {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("it closed its notification file without a line break"),
        }
    }
}

impl Readiness {
    /// Prepares a command that is about to be started; `silence` is how long it may be silent. Must be called
    /// within a runtime.
    pub(crate) fn prepare(
        &self,
        command: &mut Command,
        silence: Option<Duration>,
    ) -> io::Result<Waiting> {
        for name in OURS {
            command.env_remove(name);
        }
        Ok(match self {
            Self::Started => Waiting::Nothing,
            Self::Line(text) => Waiting::Line(text.clone()),
            Self::NotifyFd => {
                let (reader, writer) = io::pipe()?;
                set_nonblocking(&reader)?;
                let number = command.pass_fd(writer.into());
                command.env(NOTIFY_FD, number.to_string());
                Waiting::NotifyFd(Watched::new(reader, Interest::READABLE)?)
            }
            Self::SdNotify => {
                // Whoever finds it sends `WATCHDOG=1` twice in that time, see `sd_watchdog_enabled(3)`.
                if let Some(silence) = silence {
                    command.env(WATCHDOG_USEC, silence.as_micros().to_string());
                }
                Waiting::Notify(NotifySocket::open(command)?)
            }
            Self::Tcp(_) | Self::Http { .. } => Waiting::Probe {
                what: self.clone(),
                task: None,
            },
        })
    }
}

impl Waiting {
    /// Whether [`on_line`](Self::on_line) is to be asked.
    pub(crate) fn wants_lines(&self) -> bool {
        matches!(self, Self::Line(_))
    }

    /// Whether this line says that the child is ready.
    pub(crate) fn on_line(&self, line: &[u8]) -> bool {
        matches!(self, Self::Line(text) if memmem::find(line, text).is_some())
    }

    /// Whether the child is ready as soon as it runs.
    pub(crate) fn is_over(&self) -> bool {
        matches!(self, Self::Nothing)
    }

    /// Whether there is something to hear after it is ready.
    pub(crate) fn goes_on(&self) -> bool {
        matches!(self, Self::Notify(_))
    }

    /// Waits until the child is ready; for ever, if a line is to tell that.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub(crate) async fn ready(&mut self) -> Result<Said, NeverReady> {
        match self {
            Self::Nothing => Ok(Said::Ready),
            Self::Line(_) => pending().await,
            Self::NotifyFd(pipe) => line_break(pipe).await.map(|()| Said::Ready),
            Self::Notify(socket) => Ok(match socket.next().await {
                Notification::Ready => Said::Ready,
                other => Said::Notification(other),
            }),
            Self::Probe { what, task } => {
                let Probing(task) = task.get_or_insert_with(|| probe(what.clone()));
                if let Err(error) = task.await {
                    tracing::error!(%error, "probe ended");
                    return pending().await;
                }
                Ok(Said::Ready)
            }
        }
    }

    /// Waits for what the child tells of itself after it is ready.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub(crate) async fn notification(&mut self) -> Notification {
        match self {
            Self::Notify(socket) => socket.next().await,
            _ => pending().await,
        }
    }
}

/// What came while the child was waited for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Said {
    Ready,
    /// Not that it is ready, but something else.
    Notification(Notification),
}

fn probe(what: Readiness) -> Probing {
    Probing(tokio::spawn(async move {
        match what {
            Readiness::Tcp(address) => tcp(&address).await,
            Readiness::Http { address, path } => http(&address, &path).await,
            _ => {}
        }
    }))
}

impl Drop for Probing {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Waits for a line break; what comes before it says nothing.
async fn line_break(pipe: &Watched<PipeReader>) -> Result<(), NeverReady> {
    let mut bytes = [0; 64];
    loop {
        let Ok(mut guard) = pipe.ready(Interest::READABLE).await else {
            return Err(NeverReady::Closed);
        };
        match guard.try_io(|pipe| pipe.get_ref().read(&mut bytes)) {
            Ok(Ok(0)) => return Err(NeverReady::Closed),
            Ok(Ok(read)) if bytes[..read].contains(&b'\n') => return Ok(()),
            Ok(Err(error)) if error.kind() != io::ErrorKind::Interrupted => {
                return Err(NeverReady::Closed);
            }
            Ok(_) | Err(_) => {}
        }
    }
}
