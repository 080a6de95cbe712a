//! Logs: where `tracing` events go.

mod filter;
mod journal;
mod json;

use std::{
    env,
    io::{self, IsTerminal as _},
    sync::Arc,
};

use clap::{Args, ValueEnum};
use serde::Deserialize;
use tracing_subscriber::{
    Layer, Registry,
    fmt::{format::Format, layer},
    layer::SubscriberExt as _,
};

pub use self::filter::{LogFilter, UnknownLevel};
use self::{journal::Prioritized, json::Json};
use crate::backlog::{Backlog, Target};

/// The flags `--log` and `--log-format`; a program flattens them into its own command line.
#[derive(Debug, Clone, Default, Args)]
pub struct LogArgs {
    /// What to log: error, warn, info, debug, trace or off, alone or as TARGET=LEVEL, with commas
    /// between [default: info]
    #[arg(long, global = true, value_name = "LEVEL")]
    pub log: Option<LogFilter>,
    /// How to log [default: plain]
    #[arg(long, global = true, value_name = "FORMAT")]
    pub log_format: Option<LogFormat>,
}

/// How a log line looks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Lines to read: time, level, target, message, fields. In colour on a terminal, unless the
    /// environment says `NO_COLOR` or `TERM=dumb`.
    #[default]
    Plain,
    /// One JSON object a line: `time`, `level`, `target`, `message`, `fields`, `spans`.
    Json,
}

/// The running log. `main` keeps it until its end: dropping it writes what is still to be written.
///
/// Lines go to standard error on a thread of their own. Nothing that logs ever waits for a terminal
/// or a pipe that takes no more: 1 MiB of lines is kept, what comes on top of it is dropped, and
/// one warning tells how many lines were. Dropping this waits for at most one second.
#[derive(Debug)]
#[must_use = "dropping it ends the log"]
pub struct Logs {
    backlog: Arc<Backlog>,
}

/// Why logs cannot begin.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LogsError {
    /// Another `tracing` subscriber is already at work in this process.
    #[error("cannot begin the log: this process already has one")]
    AlreadyBegun,
    /// The system refused a thread.
    #[error("cannot start the log's thread")]
    Thread {
        /// What the system said.
        source: io::Error,
    },
}

impl LogArgs {
    /// Begins to write all `tracing` events of this process to standard error.
    ///
    /// When standard error is the systemd journal, lines carry no time, which the journal knows, but
    /// the priority that `journalctl -p` filters by.
    ///
    /// # Errors
    ///
    /// When the process already has a subscriber, or no thread can be started.
    pub fn start(self) -> Result<Logs, LogsError> {
        let backlog = Backlog::start(Target::StandardError, io::stderr())
            .map_err(|source| LogsError::Thread { source })?;
        let logs = Logs {
            backlog: Arc::clone(&backlog),
        };
        let lines = layer()
            .with_writer(move || Backlog::writer(&backlog))
            // It would report what it cannot format with `eprintln!`, which panics when standard
            // error is gone.
            .log_internal_errors(false)
            .with_ansi(self.log_format() == LogFormat::Plain && wants_colour());
        let plain = Format::default();
        let lines: Box<dyn Layer<Registry> + Send + Sync> =
            match (self.log_format(), journal::is_stderr()) {
                (LogFormat::Plain, false) => lines.event_format(plain).boxed(),
                (LogFormat::Plain, true) => lines
                    .event_format(Prioritized(plain.without_time()))
                    .boxed(),
                (LogFormat::Json, false) => lines.event_format(Json).boxed(),
                (LogFormat::Json, true) => lines.event_format(Prioritized(Json)).boxed(),
            };
        let filter = self.log.unwrap_or_default().targets;
        let subscriber = tracing_subscriber::registry().with(lines).with(filter);
        tracing::subscriber::set_global_default(subscriber).map_err(|_| LogsError::AlreadyBegun)?;
        Ok(logs)
    }

    fn log_format(&self) -> LogFormat {
        self.log_format.unwrap_or_default()
    }
}

impl Drop for Logs {
    fn drop(&mut self) {
        self.backlog.finish();
    }
}

/// The end of the environment variable's name, for those flags that are ours.
pub(crate) fn variable(flag: &str) -> Option<&'static str> {
    match flag {
        "log" => Some("LOG"),
        "log_format" => Some("LOG_FORMAT"),
        _ => None,
    }
}

/// See <https://no-color.org>.
fn wants_colour() -> bool {
    let set = |name| env::var_os(name).filter(|value| !value.is_empty());
    io::stderr().is_terminal()
        && set("NO_COLOR").is_none()
        && set("TERM").is_some_and(|term| term != "dumb")
}
