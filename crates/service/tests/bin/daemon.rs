//! A small daemon: says its settings, logs what it is told to, and waits for signals.

use std::{
    error::Error,
    io::{self, Read as _, Write as _},
    path::PathBuf,
    sync::mpsc,
    thread,
};

use clap::{Parser, Subcommand};
use longtake_service::{Exit, LogArgs, Signals, parse_arguments, read_config, report};
use serde::Deserialize;

/// Does what a daemon does at both ends
#[derive(Parser)]
#[command(name = "test-daemon", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// Where things go
    #[arg(long, global = true, env = "TEST_DAEMON_OUTPUT")]
    output: Option<PathBuf>,
    /// A TOML file
    #[arg(long, global = true)]
    config: Option<PathBuf>,
    #[command(flatten)]
    logs: LogArgs,
}

#[derive(Subcommand)]
enum Command {
    /// Prints the output folder
    Settings,
    /// Logs a warning with an error, and lesser events
    Log,
    /// Logs this many lines, prints `done`, and ends at the end of standard input
    Flood { lines: u64 },
    /// Prints `ready`, waits for a signal, prints its name, and ends
    Wait,
    /// Prints `ready`, waits for a signal, prints its name, and hangs inside the answer to it
    Hang,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Config {
    output: Option<PathBuf>,
}

#[derive(Debug, thiserror::Error)]
#[error("cannot open camera {name}")]
struct CameraError {
    name: &'static str,
    source: io::Error,
}

fn main() -> Exit {
    let cli: Cli = match parse_arguments() {
        Ok(cli) => cli,
        Err(exit) => return exit,
    };
    let config: Config = match cli.config.as_deref().map(read_config).transpose() {
        Ok(config) => config.unwrap_or_default(),
        Err(error) => {
            report("test-daemon", &error);
            return Exit::Usage;
        }
    };
    let output = cli
        .output
        .or(config.output)
        .unwrap_or_else(|| "default".into());
    match run(&cli.command, cli.logs, &output.display().to_string()) {
        Ok(()) => Exit::Done,
        Err(error) => {
            report("test-daemon", &*error);
            Exit::Failed
        }
    }
}

fn run(command: &Command, logs: LogArgs, output: &str) -> Result<(), Box<dyn Error>> {
    let _logs = logs.start()?;
    match command {
        Command::Settings => say(output)?,
        Command::Log => log(),
        Command::Flood { lines } => {
            for line in 0..*lines {
                tracing::info!(line, "{}", "flood ".repeat(20));
            }
            say("done")?;
            io::stdin().read_to_end(&mut Vec::new())?;
        }
        Command::Wait => {
            let (stop, stopped) = mpsc::channel();
            let _signals = Signals::install(move |signal| stop.send(signal).unwrap_or(()))?;
            say("ready")?;
            say(&stopped.recv()?.to_string())?;
        }
        Command::Hang => {
            let _signals = Signals::install(|signal| {
                say(&signal.to_string()).unwrap_or(());
                hang();
            })?;
            say("ready")?;
            hang();
        }
    }
    Ok(())
}

fn log() {
    let source = io::Error::other("no such device");
    let error = CameraError {
        name: "front",
        source,
    };
    let span = tracing::info_span!("recording", id = 7);
    let _inside = span.enter();
    tracing::warn!(
        error = &error as &dyn Error,
        stream = "front",
        "camera lost"
    );
    tracing::info!(count = 3_u64, "looking on");
    tracing::debug!("details");
}

fn say(line: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{line}")?;
    stdout.flush()
}

fn hang() -> ! {
    loop {
        thread::park();
    }
}
