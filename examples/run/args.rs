//! What is ordered on the command line.

use std::ffi::OsString;
use std::io::{self, IsTerminal};
use std::time::Duration;

use clap::{Parser, ValueEnum};
use jiff::SignedDuration;
use longtake_process::{Command, Signal, StopLadder};
use longtake_supervisor::{
    Backoff, ChildSpec, HangPolicy, Reaction, Restart, RestartPolicy, StdinMode,
};

/// Keeps one command running, and ends with its fate.
///
/// Forwards what it prints. State changes go to stderr, or with --json to stdout, one JSON object a line:
/// {"event": STATE, "pid", "t_ms"} with STATE starting, running, restarting, stopping, stopped, failed or
/// zombie; {"event": "exited", …, "report"} with the crash report; {"event": "hang", …}. t_ms counts from
/// the start of this program. The exit code is the command's, or 128 and the number of the signal that
/// ended it, or 127 if it could not be started. SIGTERM and SIGINT stop it in order, a second one at once.
#[derive(Parser)]
pub(crate) struct Args {
    /// What the child is called in messages; the command by default
    #[arg(long)]
    name: Option<String>,
    /// After which ends the command is started again
    #[arg(long, value_enum, default_value = "always")]
    restart: When,
    /// The first delay before a restart, doubled every time; 0s restarts at once
    #[arg(long, default_value = "2s", value_parser = duration)]
    backoff: Duration,
    /// The longest delay before a restart
    #[arg(long, default_value = "60s", value_parser = duration)]
    backoff_max: Duration,
    /// How many failures in a row are answered by a restart
    #[arg(long, default_value_t = 10)]
    max_restarts: u32,
    /// After what time without a failure they are counted from the beginning
    #[arg(long, default_value = "10m", value_parser = duration)]
    healthy_after: Duration,
    /// Restart it when it has printed nothing for this long; never, if not given
    #[arg(long, value_parser = duration)]
    hang_after: Option<Duration>,
    /// How it is asked to end: q is written to its stdin, for ffmpeg
    #[arg(long, value_enum, default_value = "TERM")]
    stop_signal: StopBy,
    /// How long a stop may take in all; what is left after half of it gets SIGKILL
    #[arg(long, default_value = "10s", value_parser = duration)]
    stop_timeout: Duration,
    /// Print state changes as JSON on stdout
    #[arg(long)]
    pub(crate) json: bool,
    /// The command and its arguments
    #[arg(required = true, last = true)]
    command: Vec<OsString>,
}

#[derive(Clone, Copy, ValueEnum)]
enum When {
    Never,
    OnFailure,
    Always,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum StopBy {
    #[value(name = "q")]
    Q,
    #[value(name = "TERM")]
    Term,
    #[value(name = "INT")]
    Int,
}

impl Args {
    /// The child as it is ordered.
    pub(crate) fn spec(&self) -> ChildSpec {
        let argv = self.command.clone();
        let program = argv[0].to_string_lossy().into_owned();
        let policy = RestartPolicy::default()
        .restart(match self.restart {
            When::Never => Restart::Never,
            When::OnFailure => Restart::OnFailure,
            When::Always => Restart::Always,
        })
        // A child alone has nobody to keep a distance from.
        .backoff(Backoff::new(self.backoff).maximum(self.backoff_max).jitter(0.0))
        .max_restarts(self.max_restarts)
        .healthy_after(self.healthy_after);
        let hang_after = self.hang_after.unwrap_or(Duration::ZERO);
        // A child in a process group of its own is stopped by the kernel when it reads from the terminal.
        let stdin = match (self.stop_signal, io::stdin().is_terminal()) {
            (StopBy::Q, _) => StdinMode::Control,
            (_, true) => StdinMode::Null,
            (_, false) => StdinMode::Inherit,
        };
        ChildSpec::new(self.name.clone().unwrap_or(program), move || {
            let mut command = Command::new(&argv[0]);
            command.args(&argv[1..]);
            command
        })
        .policy(policy)
        .hang(HangPolicy::default().silence(hang_after, Reaction::Restart))
        .stdin(stdin)
        .stop_ladder(ladder(self.stop_signal, self.stop_timeout))
        .restart_ladder(ladder(self.stop_signal, self.stop_timeout / 2))
    }
}

fn ladder(by: StopBy, within: Duration) -> StopLadder {
    let kill = StopLadder::kill_only();
    match by {
        StopBy::Q => kill
            .stdin("q", within / 2)
            .signal(Signal::Term, within / 4)
            .kill_within(within / 4),
        StopBy::Term => kill
            .signal(Signal::Term, within / 2)
            .kill_within(within / 2),
        StopBy::Int => kill.signal(Signal::Int, within / 2).kill_within(within / 2),
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    let parsed: SignedDuration = text
        .parse()
        .map_err(|error| format!("{error}; write it like 500ms, 2s or 10m"))?;
    Duration::try_from(parsed).map_err(|_| "it is negative".to_owned())
}
