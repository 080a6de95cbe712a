//! What every Longtake daemon does at both ends: configuration, logs, signals.
//!
//! A daemon's `main` reads from top to bottom: the command line, the config file under it, the log,
//! the signals, the work, the exit code. A setting comes from a flag, else from the environment
//! variable that the flag names, else from the config file, else from its default.
//!
//! ```
//! use std::{error::Error, path::PathBuf, sync::mpsc};
//!
//! use clap::Parser;
//! use longtake_service::{Exit, LogArgs, Signals, parse_arguments, read_config, report};
//! use serde::Deserialize;
//!
//! /// Watches the sky
//! #[derive(Parser)]
//! #[command(name = "skywatch")]
//! struct Cli {
//!     /// Where pictures go
//!     #[arg(long, env = "SKYWATCH_OUTPUT")]
//!     output: Option<PathBuf>,
//!     /// A TOML file
//!     #[arg(long, env = "SKYWATCH_CONFIG")]
//!     config: Option<PathBuf>,
//!     #[command(flatten)]
//!     logs: LogArgs,
//! }
//!
//! #[derive(Default, Deserialize)]
//! #[serde(deny_unknown_fields, default)]
//! struct Config {
//!     output: Option<PathBuf>,
//! }
//!
//! fn main() -> Exit {
//!     let cli: Cli = match parse_arguments() {
//!         Ok(cli) => cli,
//!         Err(exit) => return exit,
//!     };
//!     let config: Config = match cli.config.as_deref().map(read_config).transpose() {
//!         Ok(config) => config.unwrap_or_default(),
//!         Err(error) => {
//!             report("skywatch", &error);
//!             return Exit::Usage;
//!         }
//!     };
//!     let output = cli.output.or(config.output).unwrap_or_else(|| "pictures".into());
//!     match watch(cli.logs, output) {
//!         Ok(()) => Exit::Done,
//!         Err(error) => {
//!             report("skywatch", &*error);
//!             Exit::Failed
//!         }
//!     }
//! }
//!
//! fn watch(logs: LogArgs, output: PathBuf) -> Result<(), Box<dyn Error>> {
//!     let _logs = logs.start()?;
//!     let (stop, stopped) = mpsc::channel();
//!     let _signals = Signals::install(move |signal| {
//!         tracing::info!(%signal, "stopping");
//!         stop.send(signal).unwrap_or(()); // `main` may be on its way out
//!     })?;
//!     tracing::info!(?output, "watching");
//! #   nix::sys::signal::raise(nix::sys::signal::SIGINT)?;
//!     stopped.recv()?;
//!     Ok(())
//! }
//! ```

mod arguments;
mod config;
mod exit;
mod logs;
mod printer;
mod signals;

mod backlog;

pub use crate::{
    arguments::parse_arguments,
    config::{ConfigError, MAX_CONFIG_BYTES, read_config},
    exit::{Exit, report, with_sources},
    logs::{LogArgs, LogFilter, LogFormat, Logs, LogsError, UnknownLevel},
    printer::Printer,
    signals::{Signals, SignalsError, StopSignal},
};
